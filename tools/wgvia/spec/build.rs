// SPDX-License-Identifier: GPL-2.0

//! Translates the netlink spec to Rust.
//!
//! Numbers are given as YNL's generator for C gives them: enumerators from 0,
//! attributes and operations from 1, or as `value` says. A property of the spec
//! that would change this and that is not known here fails the build.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use yaml_rust2::{Yaml, YamlLoader};

const SPEC: &str = "../../../netlink/specs/wgvia.yaml";

/// Properties that decide numbers and that this translation does not know.
const UNKNOWN: &[&str] = &[
    "enum-model",
    "max-by-define",
    "name-prefix",
    "subset-of",
    "value-start",
    "version",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SPEC}");
    let text = fs::read_to_string(SPEC).unwrap_or_else(|e| panic!("{SPEC}: {e}"));
    let documents = YamlLoader::load_from_str(&text).unwrap_or_else(|e| panic!("{SPEC}: {e}"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("spec.rs"), translate(&documents[0])).unwrap();
}

fn translate(spec: &Yaml) -> String {
    let mut out = String::new();
    known(spec);
    writeln!(out, "pub const FAMILY: &str = {:?};", string(spec, "name")).unwrap();
    for definition in list(spec, "definitions") {
        known(definition);
        let name = upper(string(definition, "name"));
        match string(definition, "type") {
            "const" => {
                let value = definition["value"].as_i64().expect("a number");
                writeln!(out, "pub const {name}: usize = {value};").unwrap();
            }
            "enum" => table(&mut out, definition, &numbered(definition, "entries", 0)),
            other => panic!("{name}: type {other}"),
        }
    }
    for set in list(spec, "attribute-sets") {
        known(set);
        let attributes = numbered(set, "attributes", 1);
        table(&mut out, set, &attributes);
        constants(&mut out, string(set, "name"), "u16", &attributes);
    }
    known(&spec["operations"]);
    let operations = numbered(&spec["operations"], "list", 1);
    constants(&mut out, "command", "u8", &operations);
    let groups = list(&spec["mcast-groups"], "list").iter();
    let groups: Vec<_> = groups.map(|group| string(group, "name")).collect();
    writeln!(out, "pub const GROUPS: &[&str] = &{groups:?};").unwrap();
    out
}

/// Give each entry of a list its number.
fn numbered<'a>(of: &'a Yaml, key: &str, first: i64) -> Vec<(i64, &'a Yaml)> {
    let mut next = first;
    let entries = list(of, key).iter().map(|entry| {
        let number = entry["value"].as_i64().unwrap_or(next);
        next = number + 1;
        (number, entry)
    });
    entries.collect()
}

fn table(out: &mut String, of: &Yaml, entries: &[(i64, &Yaml)]) {
    let name = upper(string(of, "name"));
    let doc = text(of);
    writeln!(
        out,
        "pub const {name}: Table = Table {{ doc: {doc:?}, entries: &["
    )
    .unwrap();
    for (number, entry) in entries {
        let name = string(entry, "name");
        let doc = text(entry);
        writeln!(
            out,
            "    Entry {{ name: {name:?}, number: {number}, doc: {doc:?} }},"
        )
        .unwrap();
    }
    writeln!(out, "] }};").unwrap();
}

fn constants(out: &mut String, module: &str, ty: &str, entries: &[(i64, &Yaml)]) {
    let module = module.replace('-', "_");
    writeln!(out, "pub mod {module} {{").unwrap();
    for (number, entry) in entries {
        let name = upper(string(entry, "name"));
        writeln!(out, "    pub const {name}: {ty} = {number};").unwrap();
    }
    writeln!(out, "}}").unwrap();
}

fn known(of: &Yaml) {
    for key in UNKNOWN {
        assert!(of[*key].is_badvalue(), "{SPEC}: {key} is not supported");
    }
}

fn list<'a>(of: &'a Yaml, key: &str) -> &'a [Yaml] {
    of[key]
        .as_vec()
        .unwrap_or_else(|| panic!("{SPEC}: no list {key}"))
}

fn string<'a>(of: &'a Yaml, key: &str) -> &'a str {
    of[key]
        .as_str()
        .unwrap_or_else(|| panic!("{SPEC}: no text {key} in {of:?}"))
}

/// The documentation, one line for each paragraph and without markup.
fn text(of: &Yaml) -> String {
    let doc = string(of, "doc").replace("``", "");
    let paragraphs = doc.split("\n\n");
    let lines = paragraphs.map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}
