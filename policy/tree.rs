// SPDX-License-Identifier: GPL-2.0

//! Walks of a tree by its keys, from one to the next, with the tree unlocked in between.

#![deny(unsafe_code)]

use kernel::rbtree::RBTree;

/// Return what `f` makes of the entry with the lowest key above `key`, or with the lowest of all.
pub(super) fn after<K: Ord, V, R>(
    tree: &RBTree<K, V>,
    key: Option<&K>,
    f: impl FnOnce(&K, &V) -> R,
) -> Option<R> {
    let cursor = match key {
        None => tree.cursor_front(),
        Some(key) => tree.cursor_lower_bound(key),
    }?;
    let (found, value) = match cursor.current() {
        (found, _) if Some(found) == key => cursor.peek_next()?,
        entry => entry,
    };
    Some(f(found, value))
}
