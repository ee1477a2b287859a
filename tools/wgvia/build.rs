// SPDX-License-Identifier: GPL-2.0

//! Generates the constants of the netlink family, the manual page and the bash
//! completion.

#[allow(dead_code)] // what only the program itself asks
#[path = "src/cli.rs"]
mod cli;
#[path = "gen/man.rs"]
mod man;
#[path = "gen/uapi.rs"]
mod uapi;

use clap::{Arg, Command, CommandFactory};
use clap_complete::{generate, Shell};
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const HEADER: &str = "../../include/uapi/linux/wgvia.h";

fn main() {
    for input in ["build.rs", "gen", "src/cli.rs", HEADER] {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));

    let header = fs::read_to_string(HEADER).unwrap_or_else(|e| panic!("{HEADER}: {e}"));
    fs::write(out.join("uapi.rs"), uapi::constants(&header)).unwrap();

    let share = profile_dir(&out).join("share");
    let mut page = create(&share.join("man/man8/wgvia.8"));
    man::render(&mut page).unwrap();
    let mut completion = create(&share.join("bash-completion/completions/wgvia"));
    generate(
        Shell::Bash,
        &mut completed(cli::Cli::command()),
        "wgvia",
        &mut completion,
    );
}

/// The commands with the names of devices as the values of DEV.
///
/// The generator puts values into a list of words in double quotes, which bash
/// expands when it completes.
fn completed(command: Command) -> Command {
    const DEVICES: &str = "$(ip -br link show type wireguard 2>/dev/null | cut -d' ' -f1)";
    let device = |arg: Arg| arg.value_parser([DEVICES]);
    command
        .mut_subcommand("set", |set| set.mut_arg("device", device))
        .mut_subcommand("show", |show| show.mut_arg("device", device))
}

/// The directory in which cargo puts the program, for OUT_DIR has no fixed name
/// from which an installation could take the files.
fn profile_dir(out: &Path) -> &Path {
    // PROFILE/build/wgvia-HASH/out
    out.ancestors()
        .nth(3)
        .expect("OUT_DIR is below the profile's directory")
}

fn create(path: &Path) -> File {
    fs::create_dir_all(path.parent().expect("a file has a directory")).unwrap();
    File::create(path).unwrap()
}
