// SPDX-License-Identifier: GPL-2.0

//! The manual page, from the definitions of the command line.

use crate::cli;
use crate::keywords::Grammar;
use clap::builder::StyledStr;
use clap::{Command, CommandFactory};
use clap_mangen::roff::{bold, italic, roman, Inline, Roff};
use clap_mangen::Man;
use std::io::{self, Write};
use wgvia_spec::COUNTERS;

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
    paragraphs(&mut roff, COUNTERS.doc);
    for counter in COUNTERS.entries {
        entry(&mut roff, "20", &counter.word(), counter.doc);
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
    for form in cli::forms(command.get_name()) {
        roff.control("SS", [form.to_string().as_str()]);
    }
    if let Some(about) = command.get_about() {
        paragraphs(roff, &about.to_string());
        roff.control("PP", []);
    }
    paragraphs(roff, &details(command));
    let first = cli::forms(command.get_name()).next();
    let grammar = first.and_then(|form| form.grammar);
    for keyword in grammar.into_iter().flat_map(Grammar::keywords) {
        roff.control("TP", []);
        roff.text([bold(keyword.name), roman(" "), italic(keyword.value)]);
        roff.text([roman(keyword.help)]);
        roff.control("RS", []);
        for choice in keyword.choices {
            entry(roff, "8", choice.name, choice.doc);
        }
        roff.control("RE", []);
    }
}

/// A name and its meaning, indented by so much.
fn entry(roff: &mut Roff, indent: &str, name: &str, meaning: &str) {
    roff.control("TP", [indent]);
    roff.text([bold(name)]);
    roff.text([roman(meaning)]);
}

/// Return the long description without the short one with which it begins.
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

/// Return `ip-route(8)` and so on, the name in bold.
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
