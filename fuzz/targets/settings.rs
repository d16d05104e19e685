//! `/etc/nvbind/config.toml`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_core::message::{line, printable};
use nvbind_core::settings::Settings;

fuzz_target!(|text: &str| {
    if let Err(error) = Settings::parse(text, "config.toml") {
        let said = printable(&line(&error));
        assert!(!said.contains(char::is_control), "{said:?}");
    }
});
