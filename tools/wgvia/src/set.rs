// SPDX-License-Identifier: GPL-2.0

//! Settings of devices, from the command line and from files.

use crate::error::Error;
use crate::keywords::{device_name, SET};
use crate::wgvia::Wgvia;
use std::fs;

/// The name that stands for devices to come. No device can have it: neither would
/// net.ipv4.conf have a place for one.
pub const DEFAULT: &str = "default";

/// Change settings of a device, or of devices to come, and print warnings.
pub fn set(name: &str, words: &[String]) -> Result<(), Error> {
    let settings = SET.read(words).map_err(Error::Usage)?;
    let mut wgvia = Wgvia::open()?;
    match name {
        DEFAULT => wgvia.set_default(&settings)?,
        name => wgvia.set_device(name, &settings)?,
    }
    crate::warn(wgvia.warnings(), Some(name));
    Ok(())
}

/// Do what the lines of a file say. A line that fails is printed with the reason and
/// keeps none of the others from being done.
pub fn load(file: &str) -> Result<(), Error> {
    let bytes = fs::read(file).map_err(|error| Error::File(file.to_owned(), error))?;
    let mut failed = 0;
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if let Err(error) = read(line).and_then(|line| line.map_or(Ok(()), do_line)) {
            crate::say(format_args!("{file}:{number}: {error}"));
            failed += 1;
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Error::Lines(file.to_owned(), failed)),
    }
}

/// A line `set DEV SETTING...`
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    words: Vec<String>,
}

/// Read a line; None if there is nothing in it but a comment.
fn read(line: &[u8]) -> Result<Option<Line>, Error> {
    // A comment may be in any encoding.
    let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| {
        Error::Usage("the line is not UTF-8: only a comment may have other bytes".to_owned())
    })?;
    let mut words = line.split_whitespace().map(str::to_owned);
    match (words.next().as_deref(), words.next()) {
        (None, _) => Ok(None),
        (Some("set"), Some(name)) => Ok(Some(Line {
            name: device_name(&name).map_err(Error::Usage)?,
            words: words.collect(),
        })),
        _ => Err(Error::Usage(
            "a line is: set DEV|default SETTING...".to_owned(),
        )),
    }
}

fn do_line(line: Line) -> Result<(), Error> {
    match line.words.as_slice() {
        [] => Err(Error::Usage(format!("nothing to set: {SET}"))),
        words => set(&line.name, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for line in ["", "  ", "\r", "# set wg0 mode on", "\t# none"] {
            assert_eq!(read(line.as_bytes()).unwrap(), None, "{line}");
        }
        assert_eq!(read(b"# caf\xe9").unwrap(), None);
        let line = read(b" set  wg0 mode on filter loose # why\r")
            .unwrap()
            .unwrap();
        assert_eq!(line.name, "wg0");
        assert_eq!(line.words.join(" "), "mode on filter loose");
        for line in [
            "set",
            "show wg0",
            "wgvia set wg0 mode on",
            "mode on",
            "set sixteen--letters mode on",
        ] {
            assert!(
                matches!(read(line.as_bytes()), Err(Error::Usage(_))),
                "{line}"
            );
        }
        assert!(matches!(read(b"set wg0\xe9 mode on"), Err(Error::Usage(_))));
    }
}
