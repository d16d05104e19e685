//! The program `nvbind`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nvbind::main()
}
