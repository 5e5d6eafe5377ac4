//! Item memory: the room of the store in which `unsafe` is allowed.
//!
//! - [`words`]: long arrays of atomic words, taken from the kernel lazily; what the index, the expiry words and page facts live in.
//! - [`arena`]: the range that holds the items, its page table, and access to words and bytes by offset.
//! - [`file`]: the same over the memory of a file, which the next process finds as this one left it.
//! - [`huge`]: which parts of private memory are huge pages already.
//! - [`superblock`]: the arena's first 4 KiB, by which the next process knows it.
//! - [`lanes`]: comparing the tags of a bucket at once.
//! - [`patch`]: changing bytes of a published item so that a death leaves all of them changed or none.
//! - [`item`]: where in a chunk the parts of an item lie, and the state word that publishes it.
//!
//! What leaves the room is safe to call under one rule, which the types carry as far as they can: bytes of a published item
//! are read with a [`Stable`] at hand, that is, while its stripe or its class is locked or it is pinned; bytes of
//! a draft are written by its one owner only.
#![allow(unsafe_code, reason = "one of the two rooms for unsafe: item memory")]

pub mod arena;
pub mod file;
pub mod huge;
pub mod item;
pub mod lanes;
pub mod patch;
pub mod superblock;
pub mod words;

pub use arena::{Arena, Ref};
pub use file::Trouble;
pub use item::{Kind, Layout, State};
pub use words::{Words32, Words64};

use std::marker::PhantomData;

/// Witness that published items cannot be freed while it lives: made from the guard of a stripe or a class, or from a pin.
#[derive(Clone, Copy, Debug)]
pub struct Stable<'g>(PhantomData<&'g ()>);

impl<'g> Stable<'g> {
    /// Made by who holds the lock (or pin) that `_guard` stands for.
    pub(in crate::store) fn from_guard<T>(_guard: &'g T) -> Stable<'g> {
        Stable(PhantomData)
    }
}

/// Whether words of the arena still change. Always, but in the tests that cut a process off between two stores: see [`cut`].
#[inline]
pub(in crate::store) fn alive() -> bool {
    #[cfg(test)]
    return cut::count_store();
    #[cfg(not(test))]
    true
}

/// Whether every store so far has reached the arena, so that assertions about it make sense.
#[inline]
pub(in crate::store) fn intact() -> bool {
    #[cfg(test)]
    return !cut::came();
    #[cfg(not(test))]
    true
}

/// Lets a test kill this thread's process, so to speak, after so many stores to words of the arena: all later ones, and
/// all later bytes, are lost, and the arena is as a crash at that instruction would leave it.
#[cfg(test)]
pub(in crate::store) mod cut {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    /// Loses every store after the next `stores`; `u64::MAX` never.
    pub fn after(stores: u64) {
        LEFT.set(stores);
    }

    /// Whether the cut has come.
    pub fn came() -> bool {
        LEFT.get() == 0
    }

    pub(super) fn count_store() -> bool {
        let left = LEFT.get();
        if left != u64::MAX && left != 0 {
            LEFT.set(left - 1);
        }
        left != 0
    }
}
