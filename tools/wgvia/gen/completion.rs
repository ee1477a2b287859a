// SPDX-License-Identifier: GPL-2.0

//! The bash completion, from the definitions of the command line.
//!
//! Not with clap_complete, which knows no keywords.

use crate::cli::{self, Action};
use crate::keywords::{Grammar, RESOLVE, ROUTE, ROUTE_SHOW, SET};
use clap::{CommandFactory, ValueEnum};

const TEMPLATE: &str = include_str!("completion.bash");

pub fn render() -> String {
    let mut command = cli::Cli::command();
    command.build();
    let commands = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned());
    let options = command.get_arguments().flat_map(|arg| {
        let short = arg.get_short().map(|short| format!("-{short}"));
        let long = arg.get_long().map(|long| format!("--{long}"));
        short.into_iter().chain(long)
    });
    let actions = Action::value_variants().iter();
    let actions =
        actions.filter_map(|action| Some(action.to_possible_value()?.get_name().to_owned()));
    let show = words(ROUTE_SHOW.keywords().map(|keyword| keyword.name.to_owned()));
    let keywords = [
        case("set *", &names(&SET)),
        case("\"route show \"*", &show),
        case("route *", &names(&ROUTE)),
        case("resolve *", &names(&RESOLVE)),
    ];
    let with_choices = SET.keywords().chain(RESOLVE.keywords());
    let with_choices = with_choices.filter(|keyword| !keyword.choices.is_empty());
    let values = with_choices.map(|keyword| {
        let choices = keyword.choices.iter().map(|choice| choice.name.to_owned());
        case(keyword.name, &words(choices))
    });
    TEMPLATE
        .replace("@VALUES@", &values.collect::<Vec<_>>().join("\n"))
        .replace("@KEYWORDS@", &keywords.join("\n"))
        .replace("@OPTIONS@", &words(options))
        .replace("@COMMANDS@", &words(commands))
        .replace("@ACTIONS@", &words(actions))
        .replace("@SHOW@", &show)
}

fn names(grammar: &Grammar) -> String {
    words(grammar.keywords().map(|keyword| keyword.name.to_owned()))
}

fn words(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

fn case(pattern: &str, words: &str) -> String {
    let pattern = pattern.replace(" *", "\\ *");
    format!("\t{pattern}) echo {words} ;;")
}
