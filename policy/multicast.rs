// SPDX-License-Identifier: GPL-2.0

//! Copies of packets to link-scope groups, for the peers of a device.
//!
//! A peer with a session gets every copy. One that has an endpoint and no session would start a
//! handshake with each: those get a copy in turn, [`PER_SECOND`] of them a second. A packet makes
//! [`AT_ONCE`] copies where it is sent, the rest from a work item.

#![deny(unsafe_code)]

use crate::{
    net::{
        packet::{
            OwnedPacket,
            Packet, //
        },
        packet_path::with_packet_path,
        time::uptime_ms,
        wireguard::{
            Device,
            Peer,
            PeerRef, //
        },
        workqueue, //
    },
    policy::{
        counters::Counter,
        via::{
            Via,
            COPIES, //
        }, //
    },
};
use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        SpinLockIrq, //
    },
    workqueue::WorkItem, //
};

/// The most copies that a packet makes where it is sent, and the most slots it looks at for them.
const AT_ONCE: usize = 64;
const LOOKED_AT_ONCE: usize = 1024;

/// The most packets that may wait for the rest of their copies.
const WAITING: usize = 16;

/// The most peers without a session that get a copy in any second.
const PER_SECOND: usize = 16;

/// The slots of peers that a packet has not come to yet. It begins with another one each time, and
/// goes round.
#[derive(Clone, Copy)]
struct Rest {
    next: usize,
    left: usize,
    /// The number of slots that there were.
    len: usize,
}

/// A packet that waits for the rest of its copies.
struct Waiting {
    packet: OwnedPacket,
    rest: Rest,
}

struct State {
    /// The time in milliseconds at which each of the last [`PER_SECOND`] peers without a session
    /// got a copy, from `oldest` on round.
    given: [Option<u64>; PER_SECOND],
    oldest: usize,
    /// The slot after that of the last such peer.
    next: usize,
    /// In the order in which they came, without gaps.
    waiting: [Option<Waiting>; WAITING],
}

impl State {
    fn new() -> Self {
        Self {
            given: [None; PER_SECOND],
            oldest: 0,
            next: 0,
            waiting: [const { None }; WAITING],
        }
    }

    /// Tell whether one more peer without a session may get a copy, and take note that it does.
    fn give(&mut self, now: u64, slot: usize) -> bool {
        let Some(oldest) = self.given.get_mut(self.oldest) else {
            return false;
        };
        if oldest.is_some_and(|then| now.saturating_sub(then) < 1000) {
            return false;
        }
        *oldest = Some(now);
        self.oldest = (self.oldest + 1) % PER_SECOND;
        self.next = slot + 1;
        true
    }

    /// Have a packet wait; return it if too many do.
    fn wait(&mut self, waiting: Waiting) -> Result<(), Waiting> {
        match self.waiting.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(waiting);
                Ok(())
            }
            None => Err(waiting),
        }
    }

    /// Take out the packet that has waited longest.
    fn take(&mut self) -> Option<Waiting> {
        let longest = self.waiting.first_mut()?.take();
        self.waiting.rotate_left(1);
        longest
    }
}

/// The state that a device needs to make copies, part of its [`Via`].
#[pin_data]
pub(super) struct Multicast {
    #[pin]
    state: SpinLockIrq<State>,
}

impl Multicast {
    /// Make the state of a device that has copied nothing.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_spinlock_irq!(State::new(), "wgvia::Multicast::state"),
        })
    }

    /// Drop the packets that wait.
    pub(super) fn clear(&self) {
        while let Some(waiting) = self.take() {
            drop(waiting);
        }
    }

    fn take(&self) -> Option<Waiting> {
        self.state.lock().take()
    }
}

impl Via {
    /// Send copies of a packet to the peers; return one that is to get the packet itself, [`None`]
    /// if none can have it now.
    pub(crate) fn copy_to_peers<'p>(
        self: ArcBorrow<'_, Self>,
        wg: Device<'_>,
        packet: &Packet<'p>,
    ) -> Option<Peer<'p>> {
        let len = self.peers.len();
        let next = self.multicast.state.lock().next;
        let mut rest = Rest {
            next: next.checked_rem(len)?,
            left: len,
            len,
        };
        let mut first = None;
        self.copies(packet, &mut rest, |peer| {
            if first.is_none() {
                first = peer.get();
                return first.is_some();
            }
            wg.send_copy(packet, peer)
        });
        if rest.left > 0 {
            let waits = packet.copy().is_some_and(|packet| {
                let mut state = self.multicast.state.lock();
                let waits = state.wait(Waiting { packet, rest });
                drop(state);
                waits.is_ok()
            });
            if waits {
                workqueue::enqueue::<Arc<Self>, COPIES>(self.into(), packet.path());
            } else {
                self.counters().add(Counter::MulticastDrops, 1);
            }
        }
        first
    }

    /// Call `send` for each peer that is to get a copy, as far as one packet goes at once.
    fn copies<'p>(
        &self,
        packet: &Packet<'p>,
        rest: &mut Rest,
        mut send: impl FnMut(PeerRef<'p>) -> bool,
    ) {
        let (mut sent, mut failed, mut looked) = (0, 0, 0);
        // To the end of the slots, and then from the first on.
        for _ in 0..2 {
            let end = rest.len.min(rest.next + rest.left);
            for (slot, peer) in self.peers.from(rest.next, packet.path()) {
                if slot >= end {
                    break;
                }
                if sent + failed == AT_ONCE || looked == LOOKED_AT_ONCE {
                    break;
                }
                rest.left = rest.left.saturating_sub(slot + 1 - rest.next);
                rest.next = slot + 1;
                looked += 1;
                if let Some(peer) = peer.filter(|peer| self.may_have_copy(slot, *peer)) {
                    if send(peer) {
                        sent += 1;
                    } else {
                        failed += 1;
                    }
                }
            }
            if sent + failed == AT_ONCE || looked == LOOKED_AT_ONCE {
                break;
            }
            rest.left = rest.left.saturating_sub(end.saturating_sub(rest.next));
            rest.next = 0;
        }
        if sent + failed < AT_ONCE && looked < LOOKED_AT_ONCE {
            rest.left = 0;
        }
        let segments = packet.segments();
        self.counters()
            .add(Counter::MulticastCopies, sent as u64 * segments);
        self.counters()
            .add(Counter::MulticastDrops, failed as u64 * segments);
    }

    /// Tell whether the peer in a slot is to get a copy now.
    fn may_have_copy(&self, slot: usize, peer: PeerRef<'_>) -> bool {
        peer.has_session()
            || peer.has_endpoint() && self.multicast.state.lock().give(uptime_ms(), slot)
    }

    /// Drop the packets that wait for the rest of their copies, and wait for the one that is being
    /// copied. Process context.
    pub(super) fn clear_copies(&self) {
        self.with_hook(|_| self.multicast.clear());
    }

    /// Send the rest of the copies of one of the packets that wait. Process context.
    fn copy_waiting(&self, wg: Device<'_>) {
        let Some(Waiting { packet, mut rest }) = self.multicast.take() else {
            return;
        };
        while rest.left > 0 {
            // Whoever takes the device down waits for packet paths, and then purges what they left.
            with_packet_path(|path| match packet.packet(path) {
                Some(packet) if wg.netdev().is_running() => {
                    self.copies(&packet, &mut rest, |peer| wg.send_copy(&packet, peer));
                }
                _ => rest.left = 0,
            });
        }
    }
}

impl WorkItem<COPIES> for Via {
    type Pointer = Arc<Via>;

    fn run(this: Arc<Via>) {
        // A packet that begins to wait meanwhile has this run again. Whoever wants to detach the
        // hook, with RTNL, waits for one packet at the most.
        for _ in 0..WAITING {
            this.with_hook(|attachment| this.copy_waiting(attachment.device()));
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_multicast)]
mod tests {
    use super::*;

    /// However the times of asking lie, no second sees more than [`PER_SECOND`].
    #[test]
    fn few_in_any_second() -> Result {
        let mut state = State::new();
        let mut given = KVec::new();
        for time in (0..10_000).step_by(7) {
            for slot in 0..3 {
                if state.give(time, slot) {
                    given.push(time, GFP_KERNEL)?;
                }
            }
        }
        for (i, time) in given.iter().enumerate() {
            let same_second = given.iter().skip(i).filter(|t| **t < time + 1000).count();
            assert!(same_second <= PER_SECOND);
        }
        // And all that may are.
        assert!(given.len() >= 9 * PER_SECOND);
        Ok(())
    }

    #[test]
    fn goes_on_behind_the_last() {
        let mut state = State::new();
        for slot in [5, 9] {
            assert!(state.give(1, slot));
        }
        assert_eq!(state.next, 10);
    }
}
