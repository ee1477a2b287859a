// SPDX-License-Identifier: GPL-2.0

//! Rust constants from the uapi header that YNL generated.

use std::fmt::Write;

const COUNTERS: &str = "WGVIA_A_COUNTERS_";

/// Translate the defines and the enums of the header.
///
/// The header is the output of a generator, so its form is known; anything
/// else makes the build fail instead of being skipped.
pub fn constants(header: &str) -> String {
    let mut out = String::new();
    let mut counters = String::new();
    let mut next = None;

    for line in header.lines().map(str::trim) {
        if let Some(define) = line.strip_prefix("#define WGVIA_") {
            let (name, value) = define
                .split_once('\t')
                .unwrap_or_else(|| panic!("not a constant: {line}"));
            let ty = if value.starts_with('"') { "&str" } else { "u8" };
            emit(&mut out, &format!("WGVIA_{name}"), ty, value);
        } else if line.starts_with("enum ") {
            next = Some(0);
        } else if line == "};" {
            next = None;
        } else if let Some(entry) = line.strip_prefix("WGVIA_") {
            let value = next.unwrap_or_else(|| panic!("not in an enum: {line}"));
            let entry = entry.trim_end_matches(',');
            let (name, value) = match entry.split_once(" = ") {
                // The greatest value of an enum: no use for it here.
                Some((_, max)) if max.starts_with('(') => continue,
                Some((name, value)) => (name, value.parse().expect("a number")),
                None => (entry, value),
            };
            let name = format!("WGVIA_{name}");
            emit(&mut out, &name, wire_type(&name), &value.to_string());
            if let Some(counter) = name.strip_prefix(COUNTERS) {
                let counter = counter.to_lowercase();
                writeln!(counters, "    ({name}, \"{counter}\"),").unwrap();
            }
            next = Some(value + 1);
        }
    }
    write!(
        out,
        "/// Attribute and name of each counter, in the order of the spec.\n\
         pub const COUNTERS: &[(u16, &str)] = &[\n{counters}];\n"
    )
    .unwrap();
    out
}

fn wire_type(name: &str) -> &'static str {
    if name.starts_with("WGVIA_CMD_") {
        "u8"
    } else if name.starts_with("WGVIA_A_") {
        "u16"
    } else {
        "u32"
    }
}

fn emit(out: &mut String, name: &str, ty: &str, value: &str) {
    writeln!(out, "pub const {name}: {ty} = {value};").unwrap();
}
