//! The arguments of `nvbind run`, with NUL between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nvbind::fuzzing::command_line;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

fuzz_target!(|bytes: &[u8]| {
    let arguments = bytes.split(|byte| *byte == 0).map(|argument| OsString::from_vec(argument.to_vec()));
    command_line(arguments.collect());
});
