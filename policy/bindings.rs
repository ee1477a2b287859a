// SPDX-License-Identifier: GPL-2.0

//! The bindings of a device.
//!
//! Locks, in the order in which they nest: RTNL, `Via::attachment`, WireGuard's own update lock of
//! the device, `gate`, `table`. The packet path takes none of them.

#![deny(unsafe_code)]

use crate::{
    net::wireguard::{
        Device,
        Peer,
        PublicKey, //
    },
    policy::{
        binding::{
            Binding,
            Counted, //
        },
        events,
        tree,
        via::Via, //
    },
};
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        atomic::Relaxed,
        new_mutex,
        new_spinlock_irq,
        Arc,
        Mutex,
        SpinLockIrq, //
    },
};

/// A binding, and how many states lead to it.
struct Entry {
    binding: Arc<Binding>,
    states: usize,
}

/// The bindings, by key, and how many states lead to them in all.
struct Table {
    tree: RBTree<PublicKey, Entry>,
    states: usize,
}

impl Table {
    /// Count one more state for the binding of `key`, if there is one.
    fn count(&mut self, key: &PublicKey) -> Option<Counted> {
        let entry = self.tree.get_mut(key)?;
        entry.states += 1;
        let binding = entry.binding.clone();
        self.states += 1;
        Some(Counted::new(binding))
    }
}

/// Whether bindings may be added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// No: there is no hook that would obey them.
    Shut,
    Open,
}

/// The bindings of a device, part of its [`Via`].
#[pin_data]
pub(super) struct Bindings {
    /// Held while a binding is added and while the peer of a binding changes.
    #[pin]
    gate: Mutex<Gate>,
    /// States end in softirq context.
    #[pin]
    table: SpinLockIrq<Table>,
}

impl Bindings {
    /// Make a table without bindings, to which none may be added yet.
    pub(super) fn new() -> impl PinInit<Self> {
        let table = Table {
            tree: RBTree::new(),
            states: 0,
        };
        pin_init!(Self {
            gate <- new_mutex!(Gate::Shut, "wgvia::Bindings::gate"),
            table <- new_spinlock_irq!(table, "wgvia::Bindings::table"),
        })
    }
}

impl Via {
    /// Let bindings be added. The hook is attached: a peer that is removed from now on is one that
    /// [`Self::clear_peer`] is called for.
    pub(super) fn open_bindings(&self) {
        *self.bindings.gate.lock() = Gate::Open;
    }

    /// Let no binding be added any more. Fails with `EBUSY` if there is one; nothing has changed
    /// then.
    pub(super) fn shut_bindings(&self) -> Result {
        let mut gate = self.bindings.gate.lock();
        if self.states() > 0 {
            return Err(EBUSY);
        }
        *gate = Gate::Shut;
        Ok(())
    }

    /// Let no binding be added any more, and give all references to peers back, before the device
    /// is destroyed.
    pub(super) fn give_up_bindings(&self) {
        let mut gate = self.bindings.gate.lock();
        *gate = Gate::Shut;
        let mut after = None;
        while let Some((binding, _)) = self.binding_after(after.as_ref()) {
            binding.peer.set(None);
            after = Some(*binding.key());
        }
    }

    /// Return how many states name a peer of the device. Not for the packet path.
    pub(crate) fn states(&self) -> usize {
        self.bindings.table.lock().states
    }

    /// Return the binding with the lowest key above `key`, or with the lowest of all, and how many
    /// states lead to it.
    pub(crate) fn binding_after(&self, key: Option<&PublicKey>) -> Option<(Arc<Binding>, usize)> {
        let table = self.bindings.table.lock();
        tree::after(&table.tree, key, |_, entry| {
            (entry.binding.clone(), entry.states)
        })
    }

    /// Return the binding of `key`, for one more state, made if there is none. Process context.
    ///
    /// Fails with `ENOMEM`, or with `EINVAL` if the mode is off.
    pub(crate) fn bind(self: &Arc<Self>, wg: Device<'_>, key: &PublicKey) -> Result<Counted> {
        self.bind_with(key, || wg.peer_by_key(key))
    }

    fn bind_with<'d>(
        self: &Arc<Self>,
        key: &PublicKey,
        find_peer: impl FnOnce() -> Option<Peer<'d>>,
    ) -> Result<Counted> {
        if let Some(counted) = self.bindings.table.lock().count(key) {
            return Ok(counted);
        }
        // Memory may be long in coming, and WireGuard's update lock waits for the gate.
        let binding = Arc::new(Binding::new(self.clone(), *key), GFP_KERNEL)?;
        let entry = Entry {
            binding: binding.clone(),
            states: 1,
        };
        let node = RBTreeNode::new(*key, entry, GFP_KERNEL)?;
        let gate = self.bindings.gate.lock();
        if *gate == Gate::Shut {
            return Err(EINVAL);
        }
        // Before packets find it. If it is not needed, it is put when the table is unlocked.
        binding.peer.set(find_peer());
        let mut table = self.bindings.table.lock();
        if let Some(counted) = table.count(key) {
            // Somebody else was faster.
            return Ok(counted);
        }
        table.tree.insert(node);
        table.states += 1;
        self.per_packet.has_bindings.store(true, Relaxed);
        drop(table);
        events::binding_changed(&binding);
        Ok(Counted::new(binding))
    }

    /// Count one state less for a binding. Any context with interrupts on.
    pub(super) fn release(binding: Arc<Binding>) {
        let via = binding.via().clone();
        let mut table = via.bindings.table.lock();
        let mut gone = None;
        if let Some(entry) = table.tree.get_mut(binding.key()) {
            entry.states -= 1;
            if entry.states == 0 {
                gone = table.tree.remove_node(binding.key());
            }
            table.states -= 1;
        }
        if table.states == 0 {
            via.per_packet.has_bindings.store(false, Relaxed);
        }
        drop(table);
        if gone.is_some() {
            events::binding_changed(&binding);
        }
        drop(gone);
        drop(binding);
    }

    /// Return how many states lead to a binding.
    pub(super) fn states_of(&self, key: &PublicKey) -> usize {
        let table = self.bindings.table.lock();
        table.tree.get(key).map_or(0, |entry| entry.states)
    }

    fn binding(&self, key: &PublicKey) -> Option<Arc<Binding>> {
        let table = self.bindings.table.lock();
        table.tree.get(key).map(|entry| entry.binding.clone())
    }

    /// Give the binding of `key`, if there is one, its peer.
    pub(super) fn set_peer(&self, key: &PublicKey, peer: Peer<'_>) {
        let gate = self.bindings.gate.lock();
        if let (Gate::Open, Some(binding)) = (*gate, self.binding(key)) {
            binding.peer.set(Some(peer));
            events::binding_changed(&binding);
        }
    }

    /// Take the peer of the binding of `key`, if there is one.
    pub(super) fn clear_peer(&self, key: &PublicKey) {
        let _gate = self.bindings.gate.lock();
        if let Some(binding) = self.binding(key) {
            binding.peer.set(None);
            events::binding_changed(&binding);
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_bindings)]
mod tests {
    use super::*;
    use core::{
        cell::Cell,
        ptr, //
    };

    fn key(last: u8) -> PublicKey {
        let mut bytes = [0x5a; PublicKey::LEN];
        bytes[PublicKey::LEN - 1] = last;
        PublicKey::new(bytes)
    }

    fn via() -> Result<Arc<Via>> {
        let via = Via::new()?;
        via.open_bindings();
        Ok(via)
    }

    fn bind(via: &Arc<Via>, last: u8) -> Result<Counted> {
        via.bind_with(&key(last), || None)
    }

    /// Return the last bytes of the keys of all bindings, in the order of a dump, and their states.
    fn keys(via: &Via) -> Result<KVec<(u8, usize)>> {
        let mut keys = KVec::new();
        let mut after = None;
        while let Some((binding, states)) = via.binding_after(after.as_ref()) {
            after = Some(*binding.key());
            let last = binding.key().as_bytes()[PublicKey::LEN - 1];
            keys.push((last, states), GFP_KERNEL)?;
        }
        Ok(keys)
    }

    /// Tell whether nobody else has it: no circle of references is left.
    fn is_last(via: Arc<Via>) -> bool {
        Arc::into_unique_or_drop(via).is_some()
    }

    #[test]
    fn states_share_a_binding() -> Result {
        let via = via()?;
        assert!(!via.has_bindings());
        let first = bind(&via, 1)?;
        let second = bind(&via, 1)?;
        let other = bind(&via, 2)?;
        let at = |counted: &Counted| counted.binding().map(ptr::from_ref);
        assert!(at(&first).is_some() && at(&first) == at(&second) && at(&first) != at(&other));
        assert_eq!(keys(&via)?[..], [(1, 2), (2, 1)]);
        assert_eq!(via.states(), 3);

        // The last state takes the binding out of the table, no other does.
        drop(first);
        assert_eq!(keys(&via)?[..], [(1, 1), (2, 1)]);
        drop(second);
        assert_eq!(keys(&via)?[..], [(2, 1)]);
        assert!(via.has_bindings());
        drop(other);
        assert!(via.binding_after(None).is_none());
        assert_eq!(via.states(), 0);
        assert!(!via.has_bindings());
        assert!(is_last(via));
        Ok(())
    }

    #[test]
    fn no_binding_without_a_hook() -> Result {
        let via = Via::new()?;
        assert!(bind(&via, 1).is_err_and(|err| err == EINVAL));
        via.open_bindings();
        let state = bind(&via, 1)?;
        assert!(via.shut_bindings().is_err_and(|err| err == EBUSY));
        // One more is still welcome: nothing has changed.
        let other = bind(&via, 2)?;
        drop((state, other));
        via.shut_bindings()?;
        assert!(bind(&via, 1).is_err_and(|err| err == EINVAL));
        assert!(is_last(via));
        Ok(())
    }

    #[test]
    fn dumps_go_on_in_order() -> Result {
        let via = via()?;
        let mut bindings = KVec::new();
        for last in [7, 3, 0xff, 0, 5] {
            bindings.push((last, bind(&via, last)?), GFP_KERNEL)?;
        }
        assert_eq!(keys(&via)?[..], [(0, 1), (3, 1), (5, 1), (7, 1), (0xff, 1)]);

        // From a key that is there no longer, or never was, to the next.
        while let Some((last, binding)) = bindings.pop() {
            drop(binding);
            let next = via.binding_after(Some(&key(last)));
            let above = bindings.iter().map(|(last, _)| *last).filter(|l| *l > last);
            assert_eq!(next.map(|next| *next.0.key()), above.min().map(key));
        }
        assert!(is_last(via));
        Ok(())
    }

    /// A peer is looked up once for a binding, and not for its second state.
    #[test]
    fn peers_are_looked_up_once() -> Result {
        let via = via()?;
        let asked = Cell::new(0);
        let ask = |last| {
            via.bind_with(&key(last), || {
                asked.set(asked.get() + 1);
                None
            })
        };
        let first = ask(1)?;
        let second = ask(1)?;
        assert_eq!(asked.get(), 1);
        let other = ask(2)?;
        assert_eq!(asked.get(), 2);
        drop((first, second, other));
        assert!(is_last(via));
        Ok(())
    }
}
