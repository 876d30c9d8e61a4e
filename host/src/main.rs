//! The program `symphonyd`: the Symphony host, a supervisor without Python in it.

use std::process::ExitCode;

use symphony_host::options::{Command, USAGE};
use symphony_host::{daemon, query};

fn main() -> ExitCode {
    match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Command::Version) => {
            println!("symphonyd {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Command::Serve(options)) => daemon::serve(options),
        Ok(Command::Query { home, method, parameters }) => query::query(home, &method, &parameters),
        Err(failure) => {
            println!("{}", serde_json::json!({"error": failure.document()}));
            eprintln!("symphonyd: {}", failure.message);
            ExitCode::from(failure.exit)
        }
    }
}
