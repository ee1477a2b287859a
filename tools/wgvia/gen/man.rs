// SPDX-License-Identifier: GPL-2.0

//! The manual page, from the definitions of the command line.

use crate::cli;
use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use clap_mangen::roff::{bold, italic, roman, Inline, Roff};
use clap_mangen::Man;
use std::io::{self, Write};

/// Write wgvia(8): one page for all commands, as they are few.
pub fn render(out: &mut dyn Write) -> io::Result<()> {
    let mut command = cli::Cli::command();
    command.build();
    let man = Man::new(command.clone())
        .title("WGVIA")
        .section("8")
        .manual("wgvia");
    man.render_title(out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    let about = command.get_about().expect("the command says what it is");
    let about = about.to_string();
    let about = about.replacen("Let", "let", 1);
    roff.text([roman(format!("wgvia - {}", about.trim_end_matches('.')))]);
    roff.to_writer(out)?;
    man.render_synopsis_section(out)?;

    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    paragraphs(&mut roff, &details(&command));
    roff.control("SH", ["COMMANDS"]);
    for sub in command.get_subcommands() {
        describe(&mut roff, sub);
    }
    roff.control("SH", ["COUNTERS"]);
    paragraphs(
        &mut roff,
        "Each has this name in the output of show -j. Without -j, those that begin with tx are \
         the column of packets sent and those with rx the column of packets accepted; those with \
         drop are the lines of packets that were dropped, in this order. Sent is what the peer was \
         found for: WireGuard may drop it after that, as when the peer has no endpoint.",
    );
    for (name, meaning) in cli::COUNTERS {
        roff.control("TP", ["24"]);
        roff.text([bold(*name)]);
        roff.text([roman(*meaning)]);
    }
    roff.to_writer(out)?;
    man.render_options_section(out)?;

    let mut roff = Roff::new();
    roff.control("SH", ["PRIVILEGES"]);
    paragraphs(&mut roff, cli::PRIVILEGES);
    roff.control("SH", ["EXIT STATUS"]);
    paragraphs(&mut roff, cli::EXIT_STATUS);
    roff.control("SH", ["EXAMPLES"]);
    for (command, meaning) in cli::EXAMPLES {
        roff.control("PP", []);
        paragraphs(&mut roff, meaning);
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        for line in command.lines() {
            roff.text([bold(line)]);
        }
        roff.control("fi", []);
        roff.control("RE", []);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text(list(cli::SEE_ALSO));
    roff.to_writer(out)
}

fn describe(roff: &mut Roff, command: &Command) {
    let usage = command
        .get_overridden_usage()
        .expect("each command says its usage");
    roff.control("SS", [usage.to_string().as_str()]);
    if let Some(about) = command.get_about() {
        paragraphs(roff, &about.to_string());
        roff.control("PP", []);
    }
    paragraphs(roff, &details(command));
    for keyword in command.get_subcommands() {
        for arg in keyword.get_positionals() {
            heading(roff, arg, vec![bold(keyword.get_name()), roman(" ")]);
            values(roff, arg);
        }
    }
    // The text above says what DEV is, and -h is the same everywhere.
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    for arg in options.filter(|arg| arg.get_id() != "help") {
        heading(roff, arg, vec![]);
    }
}

/// The name of an argument and what it is for.
fn heading(roff: &mut Roff, arg: &Arg, mut head: Vec<Inline>) {
    if let (Some(short), Some(long)) = (arg.get_short(), arg.get_long()) {
        head.extend([
            bold(format!("-{short}")),
            roman(", "),
            bold(format!("--{long}")),
        ]);
    } else {
        for name in arg.get_value_names().unwrap_or_default() {
            head.push(italic(name.as_str()));
        }
    }
    roff.control("TP", []);
    roff.text(head);
    if let Some(help) = arg.get_help() {
        roff.text([roman(format!("{help}."))]);
    }
}

fn values(roff: &mut Roff, arg: &Arg) {
    roff.control("RS", []);
    for value in arg.get_possible_values() {
        roff.control("TP", ["8"]);
        roff.text([bold(value.get_name())]);
        if let Some(help) = value.get_help() {
            roff.text([roman(format!("{help}."))]);
        }
    }
    roff.control("RE", []);
}

/// The long description less the short one with which it begins.
fn details(command: &Command) -> String {
    let text = |about: Option<&StyledStr>| about.map_or_else(String::new, ToString::to_string);
    let long = text(command.get_long_about());
    let short = text(command.get_about());
    long.strip_prefix(&short).unwrap_or(&long).trim().to_owned()
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        if line.trim().is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(line)]);
        }
    }
}

/// `ip-route(8)` and so on, the name in bold.
fn list(pages: &[&str]) -> Vec<Inline> {
    let mut line = Vec::new();
    for (i, page) in pages.iter().enumerate() {
        let (name, section) = page.split_once('(').expect("name(section)");
        if i > 0 {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(format!("({section}"))]);
    }
    line
}
