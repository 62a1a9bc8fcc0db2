//! Makes the project's test vectors anew: `vectors <directory>`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        return ExitCode::from(2);
    };
    match hardsign_test_support::vectors::write_all(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
