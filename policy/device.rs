// SPDX-License-Identifier: GPL-2.0

//! What wgvia knows of a WireGuard device: its mode, filter, counters and bindings.
//!
//! Locks, in the order in which they nest: RTNL, `attachment`, WireGuard's own update lock of the
//! device, `tracking`, `bindings`. The packet path takes none of them.

#![deny(unsafe_code)]

use crate::{
    allowedips_rta,
    net::{
        key::PublicKey,
        lwtunnel::StateRef,
        packet::Packet,
        rtnl::Rtnl,
        wireguard::{
            synchronize,
            Attachment,
            Peer,
            PeerHook,
            PeerRef,
            Selection,
            SourceCheck,
            WgDevice, //
        },
    },
    policy::{
        binding::Binding,
        counters::Counters,
        settings::{
            Filter,
            Mode,
            Settings, //
        },
    },
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
        new_mutex,
        new_spinlock_irq,
        rcu,
        Arc,
        Mutex,
        SpinLockIrq, //
    },
};

/// A binding in the table of its device, and how many states lead to it.
struct Entry {
    binding: Arc<Binding>,
    states: usize,
}

/// A binding that has counted a state: only [`Device::bind`] makes one, for a [`StateRef`].
#[must_use = "the state is counted until this is released"]
pub(crate) struct Counted(Arc<Binding>);

impl Counted {
    /// Counts the state no more. Any context with interrupts on.
    pub(crate) fn release(self) {
        let Self(binding) = self;
        let device = binding.device().clone();
        // `forget_peers` waits for those that are between the table and the end of this.
        let _rcu = rcu::read_lock();
        let mut bindings = device.bindings.lock();
        let mut gone = None;
        if let Some(entry) = bindings.get_mut(binding.key()) {
            entry.states -= 1;
            if entry.states == 0 {
                gone = bindings.remove_node(binding.key());
            }
        }
        drop(bindings);
        drop(gone);
        drop(binding);
    }
}

impl Deref for Counted {
    type Target = Binding;

    fn deref(&self) -> &Binding {
        &self.0
    }
}

/// What each packet reads, on a cache line without locks and counts: those change with every route,
/// these hardly ever.
#[repr(align(64))]
struct PerPacket {
    /// [`Settings`]; written under `attachment`.
    settings: Atomic<u32>,
    /// Does a nexthop on this device name a peer?
    has_nexthops: AtomicFlag,
    counters: Counters,
}

/// What every route changes, on a cache line that no packet reads.
#[repr(align(64))]
struct PerRoute {
    /// How many nexthops on this device name a peer.
    nexthops: Atomic<usize>,
}

/// A WireGuard device.
#[pin_data]
pub(crate) struct Device {
    per_packet: PerPacket,
    per_route: PerRoute,
    /// The hook, unless the mode is off.
    #[pin]
    attachment: Mutex<Option<Attachment<Device>>>,
    /// Do the bindings follow the device's peers, that is, is a hook attached? Held while a binding
    /// is added and while the peer of a binding changes.
    #[pin]
    tracking: Mutex<bool>,
    /// The bindings. States end in softirq context.
    #[pin]
    bindings: SpinLockIrq<RBTree<PublicKey, Entry>>,
}

impl Device {
    /// A device with the defaults: mode off, filter device.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let counters = Counters::new()?;
        Arc::pin_init(
            pin_init!(Self {
                per_packet: PerPacket {
                    settings: Atomic::new(Settings::DEFAULT.into_word()),
                    has_nexthops: AtomicFlag::new(false),
                    counters,
                },
                per_route: PerRoute {
                    nexthops: Atomic::new(0),
                },
                attachment <- new_mutex!(None, "wgvia::Device::attachment"),
                tracking <- new_mutex!(false, "wgvia::Device::tracking"),
                bindings <- new_spinlock_irq!(RBTree::new(), "wgvia::Device::bindings"),
            }),
            GFP_KERNEL,
        )
    }

    /// Its mode and source filter.
    pub(crate) fn settings(&self) -> Settings {
        Settings::from_word(self.per_packet.settings.load(Relaxed))
    }

    /// Do nexthops choose the peer now, in this mode?
    pub(crate) fn is_active(&self, mode: Mode) -> bool {
        match mode {
            Mode::Off => false,
            Mode::Auto => self.has_nexthops(),
            Mode::On => true,
        }
    }

    /// Does a nexthop on this device name a peer now?
    pub(crate) fn has_nexthops(&self) -> bool {
        self.per_packet.has_nexthops.load(Relaxed)
    }

    /// How many nexthops on this device name a peer now. Not for the packet path.
    pub(crate) fn nexthops(&self) -> usize {
        self.per_route.nexthops.load(Relaxed)
    }

    /// Its counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.per_packet.counters
    }

    /// A nexthop on this device that names a peer has come. Any context.
    pub(crate) fn nexthop_linked(&self) {
        if self.per_route.nexthops.fetch_add(1, Full) == 0 {
            self.tell_packets();
        }
    }

    /// The reverse of [`Self::nexthop_linked`].
    pub(crate) fn nexthop_unlinked(&self) {
        if self.per_route.nexthops.fetch_sub(1, Full) == 1 {
            self.tell_packets();
        }
    }

    /// The count of nexthops has left zero or come to it.
    ///
    /// Several may be here at once, each after its own change of the count. The last of them to
    /// say something then looks at a count that nobody changes any more without coming here.
    fn tell_packets(&self) {
        loop {
            let has_nexthops = self.nexthops() > 0;
            self.per_packet.has_nexthops.xchg(has_nexthops, Full);
            if has_nexthops == (self.nexthops() > 0) {
                break;
            }
        }
    }

    /// Changes the mode, the filter or both, without a packet falling between two chairs: one that
    /// is under way meets the old ones or the new.
    ///
    /// Fails with `ENOMEM`, or with `EBUSY` if something else has taken the device's hook; nothing
    /// has changed then.
    pub(crate) fn set(
        self: &Arc<Self>,
        mode: Option<Mode>,
        filter: Option<Filter>,
        dev: &WgDevice<'_>,
        rtnl: &Rtnl,
    ) -> Result {
        let mut attachment = self.attachment.lock();
        let old = self.settings();
        let settings = Settings {
            mode: mode.unwrap_or(old.mode),
            filter: filter.unwrap_or(old.filter),
        };
        if settings.mode != Mode::Off && attachment.is_none() {
            *attachment = Some(Attachment::new(self.clone(), dev, rtnl)?);
            self.track_peers(dev);
        }
        self.store(settings);
        if settings.mode == Mode::Off {
            self.detach(attachment.take(), rtnl);
        }
        Ok(())
    }

    /// Lets go of the device, which is being unregistered or outlives this module.
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

    /// The mode is off already.
    fn detach(&self, attachment: Option<Attachment<Self>>, rtnl: &Rtnl) {
        if let Some(attachment) = attachment {
            attachment.detach(rtnl);
            self.forget_peers(rtnl);
        }
    }

    /// Lets the bindings follow the peers. The hook is attached: a peer that is removed from now
    /// on is one that `peer_removed` is called for.
    fn track_peers(&self, dev: &WgDevice<'_>) {
        let mut tracking = self.tracking.lock();
        *tracking = true;
        let mut after = None;
        while let Some(binding) = self.binding_after(after.as_ref()) {
            binding.peer.set(dev.peer_by_key(binding.key()));
            after = Some(*binding.key());
        }
    }

    /// Gives all references to peers back, before the device can be destroyed.
    fn forget_peers(&self, rtnl: &Rtnl) {
        let mut tracking = self.tracking.lock();
        *tracking = false;
        let mut after = None;
        while let Some(binding) = self.binding_after(after.as_ref()) {
            binding.peer.set(None);
            after = Some(*binding.key());
        }
        drop(tracking);
        // `Counted::release` may have taken a binding out of the table, and not yet have put its peer.
        synchronize(rtnl);
    }

    /// The binding with the lowest key above `key`, or with the lowest of all.
    pub(crate) fn binding_after(&self, key: Option<&PublicKey>) -> Option<Arc<Binding>> {
        let bindings = self.bindings.lock();
        let cursor = match key {
            None => bindings.cursor_front(),
            Some(key) => bindings.cursor_lower_bound(key),
        }?;
        let (found, entry) = cursor.current();
        if Some(found) != key {
            return Some(entry.binding.clone());
        }
        cursor.peek_next().map(|(_, entry)| entry.binding.clone())
    }

    /// The binding of `key`, with `change` applied to its entry.
    fn with_entry(&self, key: &PublicKey, change: impl FnOnce(&mut Entry)) -> Option<Arc<Binding>> {
        let mut bindings = self.bindings.lock();
        let entry = bindings.get_mut(key)?;
        change(entry);
        Some(entry.binding.clone())
    }

    /// The binding of `key`, for one more state, made if there is none. Process context.
    ///
    /// Fails with `ENOMEM`.
    pub(crate) fn bind(self: &Arc<Self>, dev: &WgDevice<'_>, key: &PublicKey) -> Result<StateRef> {
        self.bind_with(key, || dev.peer_by_key(key))
    }

    /// The binding for [`Self::bind`], with what finds the peer if the bindings follow the peers.
    fn bind_with(
        self: &Arc<Self>,
        key: &PublicKey,
        find_peer: impl FnOnce() -> Option<Peer>,
    ) -> Result<StateRef> {
        let one_more = |entry: &mut Entry| entry.states += 1;
        if let Some(binding) = self.with_entry(key, one_more) {
            return Ok(StateRef::new(Counted(binding)));
        }
        // Memory may be long in coming, and WireGuard's update lock waits for `tracking`.
        let binding = Arc::new(Binding::new(self.clone(), *key), GFP_KERNEL)?;
        let entry = Entry {
            binding: binding.clone(),
            states: 1,
        };
        let node = RBTreeNode::new(*key, entry, GFP_KERNEL)?;
        let tracking = self.tracking.lock();
        if let Some(binding) = self.with_entry(key, one_more) {
            // Somebody else was faster.
            return Ok(StateRef::new(Counted(binding)));
        }
        if *tracking {
            binding.peer.set(find_peer());
        }
        // Nobody else has added one: `tracking` is held.
        let displaced = self.bindings.lock().insert(node);
        debug_assert!(displaced.is_none());
        Ok(StateRef::new(Counted(binding)))
    }
}

impl PeerHook for Device {
    fn select_peer(&self, dev: &WgDevice<'_>, packet: &Packet<'_>) -> Selection {
        if !self.is_active(self.settings().mode) {
            return Selection::Pass;
        }
        match allowedips_rta::select_peer(self, dev, packet) {
            Some(peer) => Selection::Peer(peer),
            None => Selection::Drop,
        }
    }

    fn check_source(
        &self,
        dev: &WgDevice<'_>,
        packet: &Packet<'_>,
        from: PeerRef<'_>,
    ) -> SourceCheck {
        let Settings { mode, filter } = self.settings();
        if !self.is_active(mode) {
            return SourceCheck::Pass;
        }
        if allowedips_rta::check_source(self, filter, dev, packet, from) {
            SourceCheck::Accept
        } else {
            SourceCheck::Drop
        }
    }

    fn peer_added(&self, dev: &WgDevice<'_>, key: &PublicKey) {
        let tracking = self.tracking.lock();
        if let (true, Some(binding)) = (*tracking, self.with_entry(key, |_| ())) {
            binding.peer.set(dev.peer_by_key(key));
        }
    }

    fn peer_removed(&self, key: &PublicKey) {
        let _tracking = self.tracking.lock();
        if let Some(binding) = self.with_entry(key, |_| ()) {
            binding.peer.set(None);
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_device)]
mod tests {
    use super::*;
    use crate::net::workqueue::flush;
    use core::{
        cell::Cell,
        ptr, //
    };
    use kernel::{
        impl_has_work, new_work,
        processor::cpu_relax,
        sync::atomic::{
            Acquire,
            Release, //
        },
        time::{
            delay::fsleep,
            Delta, //
        },
        workqueue::{
            self,
            Work,
            WorkItem, //
        },
    };

    fn key(last: u8) -> PublicKey {
        let mut bytes = [0x5a; PublicKey::LEN];
        bytes[PublicKey::LEN - 1] = last;
        PublicKey::new(bytes)
    }

    fn bind(device: &Arc<Device>, last: u8) -> Result<StateRef> {
        device.bind_with(&key(last), || None)
    }

    /// The last bytes of the keys of all bindings, in the order of a dump.
    fn keys(device: &Device) -> Result<KVec<u8>> {
        let mut keys = KVec::new();
        let mut after = None;
        while let Some(binding) = device.binding_after(after.as_ref()) {
            after = Some(*binding.key());
            keys.push(binding.key().as_bytes()[PublicKey::LEN - 1], GFP_KERNEL)?;
        }
        Ok(keys)
    }

    /// Nobody else has it: no circle of references is left.
    fn is_last(device: Arc<Device>) -> bool {
        Arc::into_unique_or_drop(device).is_some()
    }

    #[test]
    fn starts_inactive() -> Result {
        let device = Device::new()?;
        assert!(device.settings() == Settings::DEFAULT);
        assert!(!device.is_active(device.settings().mode));
        assert_eq!(device.nexthops(), 0);
        assert_eq!(
            device
                .counters()
                .iter()
                .map(|(_, value)| value)
                .sum::<u64>(),
            0
        );
        assert!(device.binding_after(None).is_none());
        assert!(is_last(device));
        Ok(())
    }

    #[test]
    fn active_by_mode_and_nexthops() -> Result {
        let device = Device::new()?;
        let (a, b) = (bind(&device, 1)?, bind(&device, 2)?);
        // A state alone is no nexthop.
        for (mode, without, with) in [
            (Mode::Off, false, false),
            (Mode::Auto, false, true),
            (Mode::On, true, true),
        ] {
            assert_eq!(device.is_active(mode), without);
            a.nexthop_linked();
            assert_eq!(device.is_active(mode), with);
            // What comes before what goes: never without in between.
            b.nexthop_linked();
            a.nexthop_unlinked();
            assert_eq!(device.is_active(mode), with);
            b.nexthop_unlinked();
            assert_eq!(device.is_active(mode), without);
        }
        drop((a, b));
        assert!(is_last(device));
        Ok(())
    }

    #[test]
    fn nexthops_add_up() -> Result {
        let device = Device::new()?;
        let (a, b) = (bind(&device, 1)?, bind(&device, 2)?);
        for binding in [&a, &a, &a, &b] {
            binding.nexthop_linked();
        }
        assert_eq!((a.nexthops(), b.nexthops(), device.nexthops()), (3, 1, 4));
        a.nexthop_unlinked();
        assert_eq!((a.nexthops(), b.nexthops(), device.nexthops()), (2, 1, 3));
        for binding in [&a, &b, &a] {
            binding.nexthop_unlinked();
        }
        assert_eq!((a.nexthops(), b.nexthops(), device.nexthops()), (0, 0, 0));
        drop((a, b));
        assert!(is_last(device));
        Ok(())
    }

    /// Waits for another thread, which may need this processor to get there.
    fn wait_for(turns: &Atomic<u32>, turn: u32) {
        let mut looks = 0_u32;
        while turns.load(Acquire) != turn {
            looks += 1;
            if looks % 1000 == 0 {
                fsleep(Delta::from_micros(10));
            } else {
                cpu_relax();
            }
        }
    }

    /// What another thread does to a device: with each turn that begins, a nexthop goes.
    #[pin_data]
    struct Turns {
        device: Arc<Device>,
        begun: Atomic<u32>,
        ended: Atomic<u32>,
        #[pin]
        work: Work<Turns>,
    }

    impl Turns {
        const ALL: u32 = 100_000;

        fn new(device: Arc<Device>) -> impl PinInit<Self> {
            pin_init!(Self {
                device,
                begun: Atomic::new(0),
                ended: Atomic::new(0),
                work <- new_work!("wgvia::Turns::work"),
            })
        }
    }

    impl_has_work! {
        impl HasWork<Turns> for Turns { self.work }
    }

    impl WorkItem for Turns {
        type Pointer = Arc<Turns>;

        fn run(this: Arc<Turns>) {
            for turn in 1..=Self::ALL {
                wait_for(&this.begun, turn);
                this.device.nexthop_unlinked();
                this.ended.store(turn, Release);
            }
        }
    }

    /// The last nexthop goes while another comes, in two threads: whoever is first, packets are told
    /// in the end that there is one.
    #[test]
    fn packets_are_told_of_the_last_change() -> Result {
        let device = Device::new()?;
        let turns = Arc::pin_init(Turns::new(device.clone()), GFP_KERNEL)?;
        device.nexthop_linked();
        workqueue::system_unbound()
            .enqueue(turns.clone())
            .map_err(|_| EBUSY)?;
        let mut wrong = 0;
        for turn in 1..=Turns::ALL {
            turns.begun.store(turn, Release);
            device.nexthop_linked();
            wait_for(&turns.ended, turn);
            wrong += u32::from(!device.has_nexthops());
        }
        // Until its last instruction the other thread is in this module.
        flush(&turns.work);
        drop(turns);
        assert_eq!((wrong, device.nexthops()), (0, 1));
        assert!(is_last(device));
        Ok(())
    }

    #[test]
    fn states_share_a_binding() -> Result {
        let device = Device::new()?;
        let first = bind(&device, 1)?;
        let second = bind(&device, 1)?;
        let other = bind(&device, 2)?;
        assert!(ptr::eq(&*first, &*second));
        assert!(!ptr::eq(&*first, &*other));
        assert_eq!(keys(&device)?[..], [1, 2]);

        // The last state takes the binding out of the table, no other does.
        drop(first);
        assert_eq!(keys(&device)?[..], [1, 2]);
        drop(second);
        assert_eq!(keys(&device)?[..], [2]);
        drop(other);
        assert!(device.binding_after(None).is_none());
        assert!(is_last(device));
        Ok(())
    }

    #[test]
    fn dumps_go_on_in_order() -> Result {
        let device = Device::new()?;
        let mut bindings = KVec::new();
        for last in [7, 3, 0xff, 0, 5] {
            bindings.push((last, bind(&device, last)?), GFP_KERNEL)?;
        }
        assert_eq!(keys(&device)?[..], [0, 3, 5, 7, 0xff]);

        // From a key that is there no more, or never was, to the next.
        while let Some((last, binding)) = bindings.pop() {
            drop(binding);
            let next = device.binding_after(Some(&key(last)));
            let above = bindings.iter().map(|(last, _)| *last).filter(|l| *l > last);
            assert_eq!(next.map(|next| *next.key()), above.min().map(key));
        }
        assert!(is_last(device));
        Ok(())
    }

    #[test]
    fn peers_are_looked_up_when_tracking() -> Result {
        let device = Device::new()?;
        let asked = Cell::new(0);
        let ask = |last| {
            device.bind_with(&key(last), || {
                asked.set(asked.get() + 1);
                None
            })
        };
        // No hook, no peer: nobody would take it out again.
        let untracked = ask(1)?;
        assert_eq!(asked.get(), 0);
        *device.tracking.lock() = true;
        // Once for a binding, and not for its second state.
        let tracked = ask(2)?;
        assert_eq!(asked.get(), 1);
        let second = ask(2)?;
        assert_eq!(asked.get(), 1);
        drop((untracked, tracked, second));
        assert!(is_last(device));
        Ok(())
    }
}
