// SPDX-License-Identifier: GPL-2.0

//! The program as it is run, as far as no kernel is asked.

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};

const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

fn wgvia(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgvia"));
    command.args(words);
    command
}

/// Return a device to which nothing can be written.
fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// Have the program load a file with these bytes, which is called NAME.
fn load(name: &str, bytes: &[u8], stderr: Stdio) -> Output {
    let path = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    fs::write(&path, bytes).unwrap();
    wgvia(&["load", &path]).stderr(stderr).output().unwrap()
}

#[test]
fn exit_status_without_standard_error() {
    for words in [&["frobnicate"][..], &["addr", "no-key-and-no-device"], &[]] {
        let status = wgvia(words).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{words:?}");
    }
    let status = wgvia(&["load", "/nonexistent"]).stderr(full()).status();
    assert_eq!(status.unwrap().code(), Some(1));
    let output = load("silent.conf", b"set\nset wg0\n", full());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn exit_status_without_standard_output() {
    for words in [&["--help"][..], &["--version"], &["addr", KEY]] {
        let output = wgvia(words).stdout(full()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("wgvia: standard output: "), "{text}");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
    }
}

#[test]
fn each_line_of_a_file_is_judged() {
    let bytes = b"# caf\xe9\nshow\n\nset wg0\xff mode on\nset default\n";
    let output = load("latin.conf", bytes, Stdio::piped());
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("latin.conf:"))
        .collect();
    let starts = [
        "2: a line is: ",
        "4: the line is not UTF-8",
        "5: nothing to set: ",
    ];
    assert_eq!(lines.len(), starts.len() + 1, "{text}");
    for ((_, line), start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{text}");
    }
    assert!(
        text.ends_with("latin.conf: lines that failed: 3\n"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn no_name_of_a_device() {
    for words in [
        &["addr", ""][..],
        &["monitor", ""],
        &["show", ""],
        &["resolve", "wg0", "::1", "oif", ""],
        &["route", "show", "dev", "sixteen--letters"],
    ] {
        let status = wgvia(words).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{words:?}");
    }
}
