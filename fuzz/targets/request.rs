//! Annotations, an image's variables, and names of GPUs: a value a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind_core::message::{line, printable};
use nvbind_core::request::Request;

fuzz_target!(|text: &str| {
    let mut values = text.split('\n');
    let mut next = || values.next().filter(|value| !value.is_empty());
    let request = Request::parse(next().unwrap_or_default(), next(), next())
        .and_then(|request| request.with_capabilities(next()))
        .and_then(|request| request.with_extras(next()))
        .and_then(|request| request.with_isolation(next()))
        .and_then(|request| request.narrowed(next()));
    if let Err(error) = request {
        let said = printable(&line(&error));
        assert!(!said.contains(char::is_control), "{said:?}");
    }
});
