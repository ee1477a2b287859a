// SPDX-License-Identifier: GPL-2.0

//! A word that the module keeps for each network namespace.
//!
//! C header: [`include/net/netns/generic.h`](srctree/include/net/netns/generic.h)

use super::{
    bindings,
    netdev::Net,
    rtnl::{
        Rtnl,
        RtnlGuard, //
    },
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
    types::Opaque, //
};

/// The number by which the kernel knows the words; 0 unless there are words. Changes to 0 under
/// RTNL.
static ID: Atomic<u32> = Atomic::new(0);

/// Return the word of a network namespace; 0 unless there are words.
pub(crate) fn get(net: Net<'_>, rtnl: &Rtnl) -> u32 {
    // SAFETY: The pointer is valid, and under RTNL nobody writes.
    word(net, rtnl).map_or(0, |word| unsafe { *word })
}

/// Set the word of a network namespace. Fails with `ENODEV` unless there are words.
pub(crate) fn set(net: Net<'_>, value: u32, rtnl: &Rtnl) -> Result {
    let word = word(net, rtnl).ok_or(ENODEV)?;
    // SAFETY: The pointer is valid, and under RTNL nobody else reads or writes.
    unsafe { *word = value };
    Ok(())
}

/// The word of a network namespace, valid while RTNL is held.
fn word(net: Net<'_>, _: &Rtnl) -> Option<*mut u32> {
    let id = ID.load(Relaxed);
    // SAFETY: Each namespace has a word of this number, since it stays registered while RTNL is
    // held. Those of the module begin before the first device of a namespace, and end after the
    // last, and after the last socket.
    (id != 0).then(|| unsafe { bindings::wgvia_net_word(net.as_raw(), id) })
}

/// The words of all network namespaces: while this exists there are words, which begin as 0.
///
/// # Invariants
///
/// The operations are registered, and [`ID`] is their number.
#[pin_data(PinnedDrop)]
pub(crate) struct PerNet {
    #[pin]
    id: Opaque<u32>,
    #[pin]
    ops: Opaque<bindings::pernet_operations>,
}

// SAFETY: Any thread may unregister the operations.
unsafe impl Send for PerNet {}
// SAFETY: Nothing can be done with a shared reference.
unsafe impl Sync for PerNet {}

impl PerNet {
    /// Make the words. Process context, without RTNL. Fails with `ENOMEM`, or with `EBUSY` if there
    /// are words.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            id: Opaque::new(0),
            // INVARIANT: Registered, with this number, or the initialisation fails.
            ops <- Opaque::try_ffi_init(move |slot: *mut bindings::pernet_operations| {
                // SAFETY: `this` is being initialised, and its `id` has been.
                let id = unsafe { Opaque::cast_into(&raw const (*this.as_ptr()).id) };
                let ops = bindings::pernet_operations {
                    id,
                    size: size_of::<u32>(),
                    ..Default::default()
                };
                // SAFETY: `slot` is valid for writes. It and `id` are pinned until `drop`
                // unregisters the operations.
                to_result(unsafe {
                    slot.write(ops);
                    bindings::register_pernet_subsys(slot)
                })?;
                // SAFETY: Registering has written it.
                if ID.cmpxchg(0, unsafe { *id }, Full).is_err() {
                    // SAFETY: Registered just above.
                    unsafe { bindings::unregister_pernet_subsys(slot) };
                    return Err(EBUSY);
                }
                Ok(())
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for PerNet {
    fn drop(self: Pin<&mut Self>) {
        let rtnl = RtnlGuard::lock();
        ID.store(0, Relaxed);
        drop(rtnl);
        // SAFETY: Registered by the type invariants. Nobody finds a word any more, and all who
        // found one held RTNL.
        unsafe { bindings::unregister_pernet_subsys(self.ops.get()) };
    }
}
