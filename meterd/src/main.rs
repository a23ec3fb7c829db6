//! The `meterd` binary: hands over to `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    meterd::cli::main()
}
