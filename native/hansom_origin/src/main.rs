//! The command line of the bundled server; see [`hansom_origin::cli`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    hansom_origin::cli::run(std::env::args().skip(1))
}
