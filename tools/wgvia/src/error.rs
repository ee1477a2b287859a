// SPDX-License-Identifier: GPL-2.0

//! What can go wrong, in sentences for people.

use netlink_packet_core::DecodeError;
use std::fmt::{self, Display, Formatter};
use std::io;

#[derive(Debug)]
pub enum Error {
    /// A system call on the netlink socket failed.
    Socket(io::Error),
    /// The kernel has no such generic netlink family, nor a module for it.
    NoFamily,
    /// The kernel refused a request.
    Refused {
        errno: i32,
        /// What the kernel says about it.
        text: Option<String>,
        /// The device that the request named.
        device: Option<String>,
    },
    /// A reply does not follow the spec.
    Malformed(DecodeError),
    /// Standard output did not take what was written.
    Output(io::Error),
}

impl Error {
    /// Say which device the request named.
    pub fn about(mut self, name: &str) -> Self {
        if let Self::Refused { device, .. } = &mut self {
            *device = Some(name.to_owned());
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
            Self::Socket(error) => write!(f, "netlink socket: {error}"),
            Self::NoFamily => f.write_str(
                "the wgvia kernel module is not loaded: run modprobe wgvia, \
                 and install the module for the running kernel if that does not find it",
            ),
            Self::Refused {
                errno,
                text,
                device,
            } => {
                if let Some(device) = device {
                    write!(f, "{device}: ")?;
                }
                match text {
                    Some(text) => f.write_str(text)?,
                    None if *errno == libc::EPERM => f.write_str("permission denied")?,
                    None => write!(f, "{}", io::Error::from_raw_os_error(*errno))?,
                }
                match *errno {
                    libc::EPERM => f.write_str(
                        ": CAP_NET_ADMIN in the user namespace that owns \
                         the network namespace is needed, try as root",
                    ),
                    libc::ENODEV | libc::EOPNOTSUPP if device.is_some() => {
                        f.write_str(" (list WireGuard devices with: ip link show type wireguard)")
                    }
                    _ => Ok(()),
                }
            }
            Self::Malformed(error) => write!(
                f,
                "the kernel's reply is not understood ({error}): \
                 install the kernel module and this tool from the same version"
            ),
            Self::Output(error) => write!(f, "standard output: {error}"),
        }
    }
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
        let error = refused(libc::ERANGE, Some("integer out of range"));
        assert_eq!(error.to_string(), "integer out of range");
    }

    #[test]
    fn the_tool_speaks_when_it_is_silent() {
        let error = refused(libc::EPERM, None).to_string();
        assert!(error.starts_with("permission denied"), "{error}");
        assert!(error.contains("CAP_NET_ADMIN"), "{error}");
    }
}
