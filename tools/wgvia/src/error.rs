// SPDX-License-Identifier: GPL-2.0

//! Everything that can go wrong, in sentences for people.

use netlink_packet_core::DecodeError;
use std::fmt::{self, Display, Formatter};
use std::io;

/// A device, by its name.
#[derive(Debug)]
pub enum Device {
    /// Named where a WireGuard device has to be.
    Wireguard(String),
    /// Named where any device may be, or in a request that is not WireGuard's or wgvia's.
    Any(String),
}

#[derive(Debug)]
pub enum Error {
    /// The command line is wrong.
    Usage(String),
    /// A system call on a netlink socket failed.
    Socket(io::Error),
    /// The kernel has no generic netlink family of this name, nor a module of
    /// this name that has one.
    NoFamily(String),
    /// This kernel has no events of this kind.
    NoEvents(String),
    /// The kernel refused a request.
    Refused {
        errno: i32,
        /// The kernel's own words about it.
        text: Option<String>,
        /// The device that the request named.
        device: Option<Device>,
    },
    /// Something else has the type of encapsulation in which routes would name peers.
    TypeIsTaken,
    /// The configuration of a device does not allow what was asked for.
    Configuration { device: String, text: String },
    /// A reply does not follow the spec.
    Malformed(DecodeError),
    /// A file could not be read.
    File(String, io::Error),
    /// So many lines of a file failed.
    Lines(String, usize),
    /// Standard output did not take what was written.
    Output(io::Error),
}

impl Error {
    /// Say which device the request named where a WireGuard device has to be.
    pub fn about(self, name: &str) -> Self {
        self.of(Device::Wireguard(name.to_owned()))
    }

    /// Say which device the request named where any may be.
    pub fn about_any(self, name: &str) -> Self {
        self.of(Device::Any(name.to_owned()))
    }

    fn of(mut self, named: Device) -> Self {
        if let Self::Refused { device, .. } = &mut self {
            *device = Some(named);
        }
        self
    }

    /// Say in words that the kernel answered with a number alone.
    pub fn or_text(mut self, number: i32, words: &str) -> Self {
        if let Self::Refused { errno, text, .. } = &mut self {
            if *errno == number && text.is_none() {
                *text = Some(words.to_owned());
            }
        }
        self
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::File(file, error) => write!(f, "{file}: {error}"),
            Self::Lines(file, failed) => write!(f, "{file}: lines that failed: {failed}"),
            Self::Socket(error) => write!(f, "netlink socket: {error}"),
            Self::NoFamily(name) => write!(
                f,
                "the {name} kernel module is not loaded: run modprobe {name}, \
                 and install the module for the running kernel if that does not find it",
            ),
            Self::NoEvents(name) => write!(
                f,
                "this kernel does not tell of {name}: that takes one with the patches of wgvia",
            ),
            Self::Refused {
                errno,
                text,
                device,
            } => {
                if let Some(Device::Wireguard(name) | Device::Any(name)) = device {
                    write!(f, "{name}: ")?;
                }
                match text {
                    Some(text) => f.write_str(text)?,
                    None => f.write_str(&strerror(*errno))?,
                }
                match (*errno, device) {
                    (libc::EPERM, _) => f.write_str(
                        ": CAP_NET_ADMIN in the user namespace that owns \
                         the network namespace is needed, try as root",
                    ),
                    (libc::ENODEV | libc::EOPNOTSUPP, Some(Device::Wireguard(_))) => {
                        f.write_str(" (list WireGuard devices with: ip link show type wireguard)")
                    }
                    _ => Ok(()),
                }
            }
            Self::TypeIsTaken => f.write_str(
                "routes cannot name peers: something else has the type of encapsulation \
                 that wgvia would use on this kernel (dmesg); routes with gateways work",
            ),
            Self::Configuration { device, text } => write!(f, "{device}: {text}"),
            Self::Malformed(error) => write!(
                f,
                "the kernel's reply is not understood ({error}): \
                 install the kernel module and this tool from the same version"
            ),
            Self::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

/// Return the words for an errno.
fn strerror(errno: i32) -> String {
    if errno == libc::EPERM {
        return "permission denied".to_owned();
    }
    let text = io::Error::from_raw_os_error(errno).to_string();
    let end = text.rfind(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32, text: Option<&str>) -> Error {
        Error::Refused {
            errno,
            text: text.map(str::to_owned),
            device: None,
        }
    }

    #[test]
    fn the_kernel_has_the_first_word() {
        let error = refused(libc::ENODEV, Some("no such device")).about("wg7");
        assert_eq!(
            error.to_string(),
            "wg7: no such device (list WireGuard devices with: ip link show type wireguard)"
        );
        let error = refused(libc::ENODEV, Some("no such device")).about_any("vrf7");
        assert_eq!(error.to_string(), "vrf7: no such device");
        let error = refused(libc::ERANGE, Some("integer out of range"));
        let error = error.or_text(libc::ERANGE, "too much");
        assert_eq!(error.to_string(), "integer out of range");
    }

    #[test]
    fn the_tool_speaks_when_it_is_silent() {
        let error = refused(libc::EPERM, None).to_string();
        assert!(
            error.starts_with("permission denied: CAP_NET_ADMIN"),
            "{error}"
        );
        let error = refused(libc::EEXIST, None);
        assert_eq!(error.to_string(), "file exists");
        let error = error.or_text(libc::EEXIST, "the route exists");
        assert_eq!(error.to_string(), "the route exists");
    }
}
