// SPDX-License-Identifier: GPL-2.0

//! Generates the manual page and the bash completion.

#[allow(dead_code)] // the program alone needs some of it
#[path = "src/cli.rs"]
mod cli;
#[path = "gen/completion.rs"]
mod completion;
#[allow(dead_code)] // the program alone needs some of it
#[path = "src/keywords.rs"]
mod keywords;
#[path = "gen/man.rs"]
mod man;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    for input in ["build.rs", "gen", "src/cli.rs", "src/keywords.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let share = profile_dir(&out).join("share");
    let mut page = Vec::new();
    man::render(&mut page).expect("memory takes what is written");
    write(&share.join("man/man8/wgvia.8"), &page);
    let completion = completion::render();
    write(
        &share.join("bash-completion/completions/wgvia"),
        completion.as_bytes(),
    );
}

/// Return the directory of the program: OUT_DIR has no fixed name from which an
/// installation could take the files.
fn profile_dir(out: &Path) -> &Path {
    // PROFILE/build/wgvia-HASH/out
    out.ancestors()
        .nth(3)
        .expect("OUT_DIR is below the profile's directory")
}

fn write(path: &Path, contents: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file has a directory")).unwrap();
    fs::write(path, contents).unwrap();
}
