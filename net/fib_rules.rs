// SPDX-License-Identifier: GPL-2.0

//! The tables that the policy rules of a network namespace name.
//!
//! C header: [`include/net/fib_rules.h`](srctree/include/net/fib_rules.h)

use super::{
    bindings,
    netdev::NetDevice,
    packet_path::{
        with_packet_path,
        PacketPath, //
    },
    rcu::RcuBox,
    rtnl::Rtnl, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    net::IpAddr, //
};
use kernel::prelude::*;

/// An address family that has rules.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Return the family of an address.
    pub(crate) fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A table that a rule names, and what the rule hides of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table {
    /// The number of the table; [`RT_TABLE_UNSPEC`](bindings::rt_class_t_RT_TABLE_UNSPEC) of an
    /// l3mdev rule.
    id: u32,
    /// `suppress_prefixlength`: prefixes of up to this length are hidden; -1 if none is.
    suppress_len: i32,
    /// `suppress_ifgroup`: routes by devices of this group are hidden; -1 if none is.
    suppress_group: i32,
}

impl Table {
    /// A table of which nothing is hidden.
    const fn whole(id: u32) -> Self {
        Self {
            id,
            suppress_len: -1,
            suppress_group: -1,
        }
    }

    /// Return the number of the table, for packets of `dev`; [`None`] if it is that of a VRF and
    /// `dev` is in none.
    pub(super) fn id(&self, dev: &NetDevice, path: &PacketPath) -> Option<u32> {
        match self.id {
            bindings::rt_class_t_RT_TABLE_UNSPEC => vrf_table(dev, path),
            id => Some(id),
        }
    }

    /// Tell whether the rule hides a route by a device of this group to a prefix of this length.
    pub(super) fn hides(&self, len: u8, group: i32) -> bool {
        i32::from(len) <= self.suppress_len
            || self.suppress_group != -1 && self.suppress_group == group
    }
}

/// Return the table of the VRF that `dev` is in.
fn vrf_table(dev: &NetDevice, _: &PacketPath) -> Option<u32> {
    // SAFETY: The device is valid, and the packet path is under RCU.
    let id = unsafe { bindings::wgvia_vrf_table(dev.as_raw()) };
    (id != 0).then_some(id)
}

/// The distinct tables that the rules of a family name.
pub(crate) struct Tables {
    /// The generation of the rules that this was read from.
    seq: u32,
    /// Whether the rules name more than [`Self::MAX`].
    overflow: bool,
    len: usize,
    tables: [Table; Self::MAX],
}

impl Tables {
    /// The most tables that a packet is looked up in.
    pub(crate) const MAX: usize = 64;

    const fn new(seq: u32) -> Self {
        Self {
            seq,
            overflow: false,
            len: 0,
            tables: [Table::whole(0); Self::MAX],
        }
    }

    fn add(&mut self, table: Table) {
        if self.overflow || self.as_slice().contains(&table) {
            return;
        }
        match self.tables.get_mut(self.len) {
            Some(place) => {
                *place = table;
                self.len += 1;
            }
            None => self.overflow = true,
        }
    }

    fn as_slice(&self) -> &[Table] {
        self.tables.get(..self.len).unwrap_or_default()
    }

    /// Return the tables; [`None`] if there are more than [`Self::MAX`].
    pub(super) fn all(&self) -> Option<&[Table]> {
        (!self.overflow).then(|| self.as_slice())
    }

    /// Read the rules.
    ///
    /// # Safety
    ///
    /// `ops` is that of a family's rules, in an RCU read-side critical section or under their lock.
    unsafe fn read(ops: *const bindings::fib_rules_ops) -> Self {
        // SAFETY: The caller promises that `ops` is valid. A rule that is removed stays valid, with
        // its link to the next, for a grace period; what is read of a rule does not change.
        unsafe {
            let mut tables = Self::new(seq(ops));
            let head = &raw const (*ops).rules_list;
            let mut link = (&raw const (*head).next).read_volatile();
            while link.cast_const() != head {
                let rule = link
                    .byte_sub(offset_of!(bindings::fib_rule, list))
                    .cast::<bindings::fib_rule>();
                if u32::from((*rule).action) == bindings::FR_ACT_TO_TBL {
                    tables.add(Table {
                        id: if (*rule).l3mdev != 0 {
                            bindings::rt_class_t_RT_TABLE_UNSPEC
                        } else {
                            (*rule).table
                        },
                        suppress_len: (*rule).suppress_prefixlen,
                        suppress_group: (*rule).suppress_ifgroup,
                    });
                }
                link = (&raw const (*link).next).read_volatile();
            }
            tables
        }
    }
}

/// The generation of a family's rules: it changes when one comes or goes.
///
/// # Safety
///
/// `ops` is valid.
unsafe fn seq(ops: *const bindings::fib_rules_ops) -> u32 {
    // SAFETY: The caller promises that `ops` is valid; the read is paired with WRITE_ONCE() in
    // call_fib_rule_notifiers().
    unsafe { (&raw const (*ops).fib_rules_seq).read_volatile() }
}

/// The rules of a family in the network namespace of `dev`; null as long as there have only been
/// the rules that a namespace starts with.
///
/// # Safety
///
/// In an RCU read-side critical section or under RTNL.
unsafe fn rules(dev: &NetDevice, family: Family) -> *const bindings::fib_rules_ops {
    // SAFETY: The device is valid, and its namespace is by what the caller promises.
    unsafe {
        match family {
            Family::V4 => bindings::wgvia_fib4_rules(dev.as_raw()),
            Family::V6 => bindings::wgvia_fib6_rules(dev.as_raw()),
        }
    }
}

/// The rules of a family in the network namespace of a device, on the packet path.
///
/// # Invariants
///
/// The pointer is null, or that of the family's rules, which RCU keeps for `'p`.
pub(super) struct Rules<'p> {
    family: Family,
    ops: *const bindings::fib_rules_ops,
    _path: PhantomData<&'p PacketPath>,
}

impl<'p> Rules<'p> {
    /// Return those of the namespace that `dev` is in.
    pub(super) fn of(dev: &NetDevice, family: Family, _: &'p PacketPath) -> Self {
        // INVARIANT: The namespace of a device keeps its rules, and RCU keeps the namespace.
        Self {
            family,
            // SAFETY: The packet path is under RCU.
            ops: unsafe { rules(dev, family) },
            _path: PhantomData,
        }
    }

    /// Return the pointer; null as long as there have only been the rules that a namespace
    /// starts with.
    pub(super) fn as_raw(&self) -> *const bindings::fib_rules_ops {
        self.ops
    }
}

/// The tables that the rules name at first. The trie of IPv4's table main has the routes of local
/// too.
static INITIAL4: Tables = initial([
    bindings::rt_class_t_RT_TABLE_MAIN,
    bindings::rt_class_t_RT_TABLE_DEFAULT,
]);
static INITIAL6: Tables = initial([
    bindings::rt_class_t_RT_TABLE_LOCAL,
    bindings::rt_class_t_RT_TABLE_MAIN,
]);

const fn initial(ids: [u32; 2]) -> Tables {
    let mut tables = Tables::new(0);
    tables.tables[0] = Table::whole(ids[0]);
    tables.tables[1] = Table::whole(ids[1]);
    tables.len = 2;
    tables
}

/// The tables that the rules of both families name, kept until the rules change.
pub(crate) struct TableCache([RcuBox<Tables>; 2]);

impl TableCache {
    /// Make an empty one.
    pub(crate) const fn new() -> Self {
        Self([RcuBox::new(), RcuBox::new()])
    }

    /// Call `f` with the tables that the rules name. Return what it returns, and whether the tables
    /// had to be read from the rules: then [`Self::refresh`] is due.
    pub(super) fn with<R>(
        &self,
        rules: &Rules<'_>,
        path: &PacketPath,
        f: impl FnOnce(&Tables) -> R,
    ) -> (R, bool) {
        let ops = rules.ops;
        if ops.is_null() {
            let initial = match rules.family {
                Family::V4 => &INITIAL4,
                Family::V6 => &INITIAL6,
            };
            return (f(initial), false);
        }
        // SAFETY: Not null, so that it is valid by the type invariants of `Rules`.
        match unsafe { self.current(ops, rules.family, path) } {
            Some(tables) => (f(tables), false),
            None => (with_read(ops, f), true),
        }
    }

    /// Return the tables of a family that were read, if the rules have not changed since.
    ///
    /// # Safety
    ///
    /// `ops` is valid.
    unsafe fn current<'p>(
        &'p self,
        ops: *const bindings::fib_rules_ops,
        family: Family,
        path: &'p PacketPath,
    ) -> Option<&'p Tables> {
        // SAFETY: The caller promises that `ops` is valid.
        let seq = unsafe { seq(ops) };
        self.slot(family)
            .load(path)
            .filter(|tables| tables.seq == seq)
    }

    /// Forget what was read, before packets of another network namespace come. Waits for a grace
    /// period.
    pub(crate) fn forget(&self, _: &Rtnl) {
        for slot in &self.0 {
            slot.replace(None);
        }
    }

    fn slot(&self, family: Family) -> &RcuBox<Tables> {
        let [v4, v6] = &self.0;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// Read the rules of each family anew if they have changed. Waits for a grace period. The
    /// rules and their generation change one after the other, so that only under their lock one
    /// belongs to the other; RTNL keeps `dev` in its network namespace.
    ///
    /// Fails with `ENOMEM`; packets then go on reading the rules for themselves.
    pub(crate) fn refresh(&self, dev: &NetDevice, _: &Rtnl) -> Result {
        for family in [Family::V4, Family::V6] {
            // SAFETY: RTNL is held.
            let ops = unsafe { rules(dev, family) };
            let tables = if ops.is_null() {
                None
            } else {
                // SAFETY: RTNL keeps the device, and so the rules' owner, in the namespace.
                if with_packet_path(|path| unsafe { self.current(ops, family, path) }.is_some()) {
                    continue;
                }
                let mut tables = KBox::new(Tables::new(0), GFP_KERNEL)?;
                // SAFETY: RTNL keeps the device, and so the rules' owner, in the namespace. The
                // lock of the rules is released before anything else is done.
                unsafe {
                    bindings::wgvia_fib_rules_lock(ops);
                    *tables = Tables::read(ops);
                    bindings::wgvia_fib_rules_unlock(ops);
                }
                Some(tables)
            };
            self.slot(family).replace(tables);
        }
        Ok(())
    }
}

/// Read the rules for one packet. Not inlined: the list takes a kilobyte of stack, which others
/// need not pay for.
#[inline(never)]
fn with_read<R>(ops: *const bindings::fib_rules_ops, f: impl FnOnce(&Tables) -> R) -> R {
    // SAFETY: Only `TableCache::with` calls this, under RCU, with the rules of a family.
    f(&unsafe { Tables::read(ops) })
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kunit_tests(wgvia_fib_rules)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_distinct_and_bounded() {
        let mut tables = Tables::new(1);
        for _ in 0..2 {
            for id in 1..=Tables::MAX as u32 {
                tables.add(Table::whole(id));
            }
        }
        assert_eq!(tables.all().map(<[Table]>::len), Some(Tables::MAX));
        tables.add(Table::whole(1000));
        assert!(tables.all().is_none());
    }

    /// A table that is hidden in part is another than the whole of it.
    #[test]
    fn suppression_tells_apart() {
        let mut tables = Tables::new(1);
        tables.add(Table::whole(254));
        tables.add(Table {
            suppress_len: 0,
            ..Table::whole(254)
        });
        assert_eq!(tables.all().map(<[Table]>::len), Some(2));
    }

    #[test]
    fn hidden_prefixes() {
        let table = Table {
            suppress_len: 8,
            ..Table::whole(254)
        };
        assert!(table.hides(0, 7) && table.hides(8, 7) && !table.hides(9, 7));
        assert!(!Table::whole(254).hides(0, 0));
        let table = Table {
            suppress_group: 7,
            ..Table::whole(254)
        };
        assert!(table.hides(32, 7) && !table.hides(0, 8));
    }
}
