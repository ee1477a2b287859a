// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: families by their name.

use crate::error::Error;
use crate::netlink::{Connection, Listener};
use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::ctrl::nlas::{GenlCtrlAttrs, McastGrpAttrs};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::protocols::NETLINK_GENERIC;
use std::fmt::Debug;
use std::marker::PhantomData;

/// The payload of a message of some family.
pub trait Payload:
    GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Clone + Debug
{
}

impl<P> Payload for P where
    P: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Clone + Debug
{
}

/// A family that the kernel has, and a connection to it.
pub struct Family<P> {
    connection: Connection,
    id: u16,
    payload: PhantomData<P>,
}

impl<P: Payload> Family<P> {
    /// Look a family up by its name; the kernel loads its module if there is one.
    pub fn open() -> Result<Self, Error> {
        let mut connection = Connection::open(NETLINK_GENERIC)?;
        Ok(Self {
            id: resolve(&mut connection, P::family_name())?,
            connection,
            payload: PhantomData,
        })
    }

    /// Have one thing done.
    pub fn call(&mut self, request: P) -> Result<Vec<P>, Error> {
        let replies = self.connection.call(message(self.id, request), 0)?;
        Ok(replies.into_iter().map(|reply| reply.payload).collect())
    }

    /// Get a whole list.
    pub fn dump(&mut self, request: P) -> Result<Vec<P>, Error> {
        let payload = |reply: GenlMessage<P>| Ok(Some(reply.payload));
        self.connection.dump(message(self.id, request), payload)
    }

    /// Tell whether the family has a group of this name.
    pub fn has_group(&mut self, name: &str) -> Result<bool, Error> {
        let attributes = describe(&mut self.connection, P::family_name())?;
        Ok(attributes.iter().any(|nla| group(nla, name).is_some()))
    }

    /// Listen to those of the groups, given by their names, that the family has; return which.
    pub fn listen<'n>(&mut self, names: &[&'n str]) -> Result<(Events<P>, Vec<&'n str>), Error> {
        let attributes = describe(&mut self.connection, P::family_name())?;
        let mut listener = Listener::open(NETLINK_GENERIC)?;
        let mut found = Vec::new();
        for name in names {
            if let Some(group) = attributes.iter().find_map(|nla| group(nla, name)) {
                listener.join(group)?;
                found.push(*name);
            }
        }
        let payload = PhantomData;
        Ok((Events { listener, payload }, found))
    }

    /// Take the warnings that came with successes.
    pub fn warnings(&mut self) -> Vec<String> {
        self.connection.warnings()
    }

    /// Tell whether each list is whole that was read since this was asked.
    pub fn whole(&mut self) -> bool {
        self.connection.whole()
    }
}

/// The notifications of a family.
pub struct Events<P> {
    listener: Listener,
    payload: PhantomData<P>,
}

impl<P: Payload> Events<P> {
    /// Wait for the next ones; [`None`] if some were lost.
    pub fn next(&mut self) -> Result<Option<Vec<P>>, Error> {
        let messages = self.listener.next::<GenlMessage<P>>()?;
        Ok(messages.map(|messages| messages.into_iter().map(|m| m.payload).collect()))
    }
}

/// Return the number of the group of this name, if this is the attribute that has it.
fn group(attribute: &GenlCtrlAttrs, name: &str) -> Option<u32> {
    let GenlCtrlAttrs::McastGroups(groups) = attribute else {
        return None;
    };
    let group = groups
        .iter()
        .find(|group| group.contains(&McastGrpAttrs::Name(name.to_owned())))?;
    group.iter().find_map(|nla| match nla {
        McastGrpAttrs::Id(id) => Some(*id),
        _ => None,
    })
}

fn message<P: Payload>(id: u16, payload: P) -> GenlMessage<P> {
    let mut message = GenlMessage::from_payload(payload);
    message.set_resolved_family_id(id);
    message
}

/// Return what the kernel says of a family.
fn describe(connection: &mut Connection, family: &str) -> Result<Vec<GenlCtrlAttrs>, Error> {
    let request = GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(family.to_owned())],
    };
    let replies = match connection.call(GenlMessage::from_payload(request), 0) {
        Err(Error::Refused { errno, .. }) if errno == libc::ENOENT => {
            return Err(Error::NoFamily(family.to_owned()));
        }
        replies => replies?,
    };
    let replies = replies.into_iter();
    Ok(replies.flat_map(|reply| reply.payload.nlas).collect())
}

/// Return the number that the kernel gave to a family.
fn resolve(connection: &mut Connection, family: &str) -> Result<u16, Error> {
    let attributes = describe(connection, family)?;
    let id = attributes.iter().find_map(|nla| match nla {
        GenlCtrlAttrs::FamilyId(id) => Some(*id),
        _ => None,
    });
    id.ok_or_else(|| DecodeError::from("no number of the family").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_generic::constants::GENL_ID_CTRL;

    #[test]
    fn the_running_kernel() {
        let mut control = Family::<GenlCtrl>::open().unwrap();
        assert_eq!(control.id, GENL_ID_CTRL);
        let absent = resolve(&mut control.connection, "wgvia-absent");
        assert!(matches!(absent, Err(Error::NoFamily(_))), "{absent:?}");

        let every = GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![],
        };
        let families = control.dump(every).unwrap();
        let name = GenlCtrlAttrs::FamilyName("nlctrl".to_owned());
        assert!(families.iter().any(|family| family.nlas.contains(&name)));

        let long = "a name longer than the kernel allows";
        match resolve(&mut control.connection, long) {
            Err(Error::Refused { text: Some(_), .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
