// SPDX-License-Identifier: GPL-2.0

//! wgvia: lets routing choose the WireGuard peer.

mod attributes;
mod binding;
mod cli;
mod counters;
mod device;
mod error;
mod family;
mod genl;
mod show;
mod uapi;

use cli::{Cli, Command};
use error::Error;
use family::Family;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            eprint!("wgvia: {}", text.strip_prefix("error: ").unwrap_or(&text));
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wgvia: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Error> {
    let mut family = Family::open()?;
    match command {
        Command::Set(set) => {
            family.set_device(&set.device, set.mode(), set.filter())?;
            warn(&mut family, Some(&set.device));
            Ok(())
        }
        Command::Show(show) => {
            let devices = family.devices(show.device.as_deref())?;
            warn(&mut family, show.device.as_deref());
            let text = if show.json {
                let json = serde_json::to_string(&devices);
                json.map_err(|error| Error::Output(error.into()))? + "\n"
            } else {
                let devices: Vec<String> = devices.iter().map(ToString::to_string).collect();
                devices.join("\n")
            };
            print(&text)
        }
    }
}

fn warn(family: &mut Family, device: Option<&str>) {
    let about = device.map_or_else(String::new, |device| format!("{device}: "));
    for warning in family.warnings() {
        eprintln!("wgvia: warning: {about}{warning}");
    }
}

fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough, such as head, is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}
