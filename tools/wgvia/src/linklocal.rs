// SPDX-License-Identifier: GPL-2.0

//! Link-local addresses from keys.

use crate::error::Error;
use crate::event::{Event, What};
use crate::key::Key;
use crate::rtnetlink::{Rtnetlink, NO_IPV6};
use crate::wgvia::Wgvia;
use crate::wireguard::{Device, HostEntry, Wireguard};
use siphasher::sip128::SipHasher24;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

/// The key under which cunicu hashes, so that both give the same addresses.
const HASH_KEY: [u8; 16] = [
    0x67, 0x67, 0x2c, 0x05, 0xd1, 0x3e, 0x11, 0x94, 0xbb, 0x38, 0x91, 0xff, 0x4f, 0x80, 0xb3, 0x97,
];

/// Return the link-local address of a key: fe80::/64 and the first 8 bytes of
/// the key's SipHash-2-4 of 128 bits.
pub fn address(key: &Key) -> Ipv6Addr {
    let hash = SipHasher24::new_with_key(&HASH_KEY).hash(&key.0).as_bytes();
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&hash[..8]);
    octets.into()
}

/// Return a device's own public key.
pub fn own_key(name: &str, device: &Device) -> Result<Key, Error> {
    device.key.ok_or_else(|| Error::Configuration {
        device: name.to_owned(),
        text: format!("the device has no key: give it one with wg set {name} private-key FILE"),
    })
}

/// Give a device its own link-local address, and each of its peers its own in
/// AllowedIPs. Nothing else changes; after an error nothing has changed.
pub fn apply(wireguard: &mut Wireguard, name: &str) -> Result<(), Error> {
    let device = wireguard.device(name)?;
    crate::warn(wireguard.warnings(), Some(name));
    let key = own_key(name, &device)?;
    let missing = missing(&key, &device).map_err(|text| Error::Configuration {
        device: name.to_owned(),
        text,
    })?;
    let mut rtnetlink = Rtnetlink::open()?;
    let own = address(&key);
    let added = rtnetlink
        .add_address(device.ifindex, own, 64)
        .map_err(|e| e.or_text(libc::EOPNOTSUPP, NO_IPV6).about_any(name))?;
    wireguard.add(name, &missing).inspect_err(|_| {
        if added {
            // The first error is the one to tell.
            let _ = rtnetlink.del_address(device.ifindex, own, 64);
        }
    })
}

/// The same, again and again when the device or its peers have changed, until the device goes.
///
/// Errors: a sentence, before anything has changed, if this kernel does not tell of peers.
pub fn follow(wireguard: &mut Wireguard, name: &str) -> Result<(), Error> {
    let mut wgvia = Wgvia::open()?;
    if !wgvia.tells_of_peers()? {
        return Err(Error::Configuration {
            device: name.to_owned(),
            text: format!(
                "this kernel does not tell of peers, which takes one with the patches of wgvia: \
                 run wgvia linklocal {name} each time that peers were added"
            ),
        });
    }
    // Before the first time, so that nothing is missed after it.
    let (mut events, _) = wgvia.listen(&["config"])?;
    let ifindex = wireguard.device(name)?.ifindex;
    apply(wireguard, name)?;
    loop {
        // If some were lost, the device may have changed.
        let mut changed = true;
        if let Some(messages) = events.next()? {
            changed = false;
            for message in messages {
                let event =
                    Event::parse(message.command, &message.attributes, |_| name.to_owned())?;
                match event.filter(|event| event.ifindex == ifindex) {
                    Some(event) if event.what == What::DeviceDel => return Ok(()),
                    Some(_) => changed = true,
                    None => {}
                }
            }
        }
        if changed {
            match apply(wireguard, name) {
                // It went after the change.
                Err(Error::Refused { errno, .. }) if errno == libc::ENODEV => return Ok(()),
                applied => applied?,
            }
        }
    }
}

/// Return the host entries that are still to be added.
///
/// Errors: a sentence, if two keys have one address, or if a peer has another
/// peer's address in its AllowedIPs, from where an addition would take it.
fn missing(key: &Key, device: &Device) -> Result<Vec<HostEntry>, String> {
    let mut keys = BTreeMap::from([(address(key), *key)]);
    for peer in device.peers.keys() {
        if let Some(other) = keys.insert(address(peer), *peer) {
            return Err(format!(
                "the keys {other} and {peer} have the same address {}: \
                 give one of the two a new key",
                address(peer),
            ));
        }
    }
    for (holder, hosts) in &device.peers {
        for host in hosts {
            match keys.get(host) {
                Some(peer) if peer != holder => {
                    return Err(format!(
                        "{host} is the address of {peer} and in the AllowedIPs of {holder}: \
                         remove it there",
                    ));
                }
                _ => {}
            }
        }
    }
    let entries = device
        .peers
        .iter()
        .map(|(peer, hosts)| (peer, address(peer), hosts));
    let missing = entries.filter(|(_, address, hosts)| !hosts.contains(address));
    Ok(missing.map(|(peer, address, _)| (*peer, address)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "SAyMLIWTO+DSnTx/JDak+lRR5huci8m4JsEabkkIxFY=";
    const B: &str = "Hxm0/KTFRGFirpOoTWO2iMde/gJX+oVswUXEzVN5En8=";
    /// Two keys that were searched for, with one address.
    const TWINS: [&str; 2] = [
        "xQ516DMFqAsAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "i5Vvhq7PJycAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ];

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn device(peers: &[(&str, &[Ipv6Addr])]) -> Device {
        let peers = peers
            .iter()
            .map(|(peer, hosts)| (key(peer), hosts.to_vec()));
        Device {
            peers: peers.collect(),
            ..Device::default()
        }
    }

    #[test]
    fn as_cunicu_derives_them() {
        for (text, expected) in [
            (A, "fe80::66cb:4991:f495:62ef"),
            (B, "fe80::93fc:7799:3002:eeba"),
            (TWINS[0], "fe80::7be2:7ff7:bfb0:58c2"),
            (TWINS[1], "fe80::7be2:7ff7:bfb0:58c2"),
        ] {
            assert_eq!(address(&key(text)).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing() {
        let device = device(&[
            (A, &[]),
            (B, &[address(&key(B)), "fd00::1".parse().unwrap()]),
        ]);
        let expected = vec![(key(A), address(&key(A)))];
        assert_eq!(missing(&key(TWINS[0]), &device), Ok(expected));
    }

    #[test]
    fn two_keys_with_one_address() {
        let both = |error: Result<_, String>| {
            let error = error.unwrap_err();
            assert!(TWINS.iter().all(|key| error.contains(key)), "{error}");
        };
        both(missing(
            &key(A),
            &device(&[(TWINS[0], &[]), (TWINS[1], &[]), (B, &[])]),
        ));
        both(missing(
            &key(TWINS[0]),
            &device(&[(TWINS[1], &[]), (B, &[])]),
        ));
    }

    #[test]
    fn an_address_in_the_allowedips_of_another_peer() {
        for owner in [A, TWINS[0]] {
            let hosts = [address(&key(owner))];
            let device = device(&[(A, &[]), (B, &hosts)]);
            let error = missing(&key(TWINS[0]), &device).unwrap_err();
            assert!(error.contains(owner) && error.contains(B), "{error}");
        }
    }
}
