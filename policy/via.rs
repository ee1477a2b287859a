// SPDX-License-Identifier: GPL-2.0

//! The state of wgvia for one WireGuard device: settings, counters, bindings, and the hook.

#![deny(unsafe_code)]

use crate::{
    net::{
        fib_rules::TableCache,
        packet_path::PacketPath,
        read_once::read_once,
        rtnl::{
            synchronize,
            Rtnl,
            RtnlGuard, //
        },
        wireguard::{
            Attachment,
            Device,
            DeviceSlot,
            Peer,
            PublicKey, //
        },
        workqueue, //
    },
    policy::{
        bindings::Bindings,
        counters::Counters,
        multicast::Multicast,
        peers::Peers,
        settings::{
            Change,
            Mode,
            Settings, //
        },
    },
};
use kernel::{
    impl_has_work,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        new_mutex,
        rcu,
        Arc,
        ArcBorrow,
        Mutex, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// The part that each packet reads, on a cache line without locks and counts: those change with
/// every route, these hardly ever.
#[repr(align(64))]
pub(super) struct PerPacket {
    /// [`Settings`]; written under [`Via::attachment`].
    settings: Atomic<u32>,
    /// Whether a state names a peer of the device. Written under the lock of the table of bindings.
    pub(super) has_bindings: Atomic<bool>,
    counters: Counters,
    tables: TableCache,
}

/// The state of wgvia for one WireGuard device.
#[pin_data]
pub(crate) struct Via {
    pub(super) per_packet: PerPacket,
    /// The hook, unless the mode is off.
    #[pin]
    attachment: Mutex<Option<Attachment<Via>>>,
    /// The device, while the hook is attached.
    pub(super) device: Arc<DeviceSlot>,
    #[pin]
    pub(super) bindings: Bindings,
    #[pin]
    pub(crate) peers: Peers,
    #[pin]
    pub(super) multicast: Multicast,
    #[pin]
    refresh: Work<Via, REFRESH>,
    #[pin]
    copies: Work<Via, COPIES>,
}

/// The work that reads the policy rules anew.
const REFRESH: u64 = 0;
/// The work that sends the rest of the copies of packets to groups.
pub(super) const COPIES: u64 = 1;

impl_has_work! {
    impl HasWork<Via, REFRESH> for Via { self.refresh }
    impl HasWork<Via, COPIES> for Via { self.copies }
}

impl WorkItem<REFRESH> for Via {
    type Pointer = Arc<Via>;

    fn run(this: Arc<Via>) {
        let rtnl = RtnlGuard::lock();
        this.with_hook(|attachment| {
            // Without memory each packet reads the rules for itself, and asks for this again.
            _ = this.tables().refresh(attachment.device().netdev(), &rtnl);
        });
    }
}

impl Via {
    /// Make the state of a device that no hook is attached to. Process context. Fails with
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let counters = Counters::new()?;
        let device = Arc::new(DeviceSlot::new(), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                per_packet: PerPacket {
                    settings: Atomic::new(Settings::DETACHED.into_word()),
                    has_bindings: Atomic::new(false),
                    counters,
                    tables: TableCache::new(),
                },
                attachment <- new_mutex!(None, "wgvia::Via::attachment"),
                device,
                bindings <- Bindings::new(),
                peers <- Peers::new(),
                multicast <- Multicast::new(),
                refresh <- new_work!("wgvia::Via::refresh"),
                copies <- new_work!("wgvia::Via::copies"),
            }),
            GFP_KERNEL,
        )
    }

    /// Return the settings.
    pub(crate) fn settings(&self) -> Settings {
        Settings::from_word(read_once(&self.per_packet.settings))
    }

    /// Return the counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.per_packet.counters
    }

    /// Tell whether a nexthop may name a peer of the device. If not, none that a packet can meet
    /// does.
    pub(crate) fn has_bindings(&self) -> bool {
        read_once(&self.per_packet.has_bindings)
    }

    /// Return the tables that the policy rules name.
    pub(crate) fn tables(&self) -> &TableCache {
        &self.per_packet.tables
    }

    /// Have the policy rules read anew, in process context.
    pub(crate) fn refresh_tables(self: ArcBorrow<'_, Self>, path: &PacketPath) {
        workqueue::enqueue::<Arc<Self>, REFRESH>(self.into(), path);
    }

    /// Change settings. A packet that is under way meets the old ones or the new.
    ///
    /// Fails with `EBUSY` if the mode is to be off and states name peers, with `EEXIST` if another
    /// module has attached its hook to the device, or with `ENOMEM`; nothing has changed then.
    pub(crate) fn set(self: &Arc<Self>, change: Change, wg: Device<'_>, rtnl: &Rtnl) -> Result {
        let mut attachment = self.attachment.lock();
        let settings = self.settings().with(change);
        if settings.mode == Mode::Off {
            self.shut_when_unused()?;
        } else if attachment.is_none() {
            *attachment = Some(self.attach(wg, rtnl)?);
        }
        if settings.multicast {
            wg.netdev().set_multicast(rtnl);
        }
        self.store(settings);
        if settings.mode == Mode::Off {
            self.detach(attachment.take(), rtnl);
        }
        Ok(())
    }

    /// Attach the hook, which begins with the peers that there are.
    fn attach(self: &Arc<Self>, wg: Device<'_>, rtnl: &Rtnl) -> Result<Attachment<Self>> {
        let slot = self.device.clone();
        let attachment =
            Attachment::new(self.clone(), slot, wg, rtnl).map_err(|err| match err {
                EBUSY => EEXIST,
                err => err,
            })?;
        if !self.peers.is_complete() {
            self.detach(Some(attachment), rtnl);
            return Err(ENOMEM);
        }
        self.open_bindings();
        Ok(attachment)
    }

    /// Call `f` with the hook, if it is attached, which it stays meanwhile. Process context.
    pub(super) fn with_hook(&self, f: impl FnOnce(&Attachment<Self>)) {
        if let Some(attachment) = &*self.attachment.lock() {
            f(attachment);
        }
    }

    /// Shut the bindings; fails with `EBUSY` if states name peers.
    fn shut_when_unused(&self) -> Result {
        // A route that was just deleted keeps its state for a grace period, and the dst made from
        // it for one more.
        for _ in 0..2 {
            if self.shut_bindings().is_ok() {
                return Ok(());
            }
            rcu::synchronize_rcu();
            rcu::rcu_barrier();
        }
        self.shut_bindings()
    }

    /// Let go of the device, which is being unregistered or outlives this module.
    pub(crate) fn shut_down(&self, rtnl: &Rtnl) {
        let mut attachment = self.attachment.lock();
        self.store(Settings {
            mode: Mode::Off,
            ..self.settings()
        });
        self.detach(attachment.take(), rtnl);
    }

    fn store(&self, settings: Settings) {
        let word = settings.into_word();
        self.per_packet.settings.store(word, Relaxed);
    }

    /// Detach the hook, and give all references to peers back. The mode is off already.
    fn detach(&self, attachment: Option<Attachment<Self>>, rtnl: &Rtnl) {
        if let Some(attachment) = attachment {
            // A packet that is being copied asks the hook for the peer of each copy: without the
            // hook AllowedIPs would send all that are left to one. From now on none is copied.
            synchronize(rtnl);
            attachment.detach(rtnl);
            self.multicast.clear();
            self.peers.clear();
            self.give_up_bindings();
        }
    }

    /// Take note of a peer of the device. Process context, under WireGuard's update lock.
    pub(crate) fn add_peer(&self, peer: Peer<'_>, key: &PublicKey) {
        self.set_peer(key, peer.clone());
        self.peers.add(peer, key);
    }

    /// Give all references to a peer back. Process context, under WireGuard's update lock.
    pub(crate) fn remove_peer(&self, key: &PublicKey) {
        self.clear_peer(key);
        self.peers.remove(key);
    }
}
