//! Who reads large values without a lock: a count for each pinned item, kept beside the store and not in the item, so that a crash
//! leaves no count behind. An item deleted while pinned stays as a draft until its last reader is done.

use super::memory::Ref;
use crate::sync::{Mutex, lock};
use std::collections::HashMap;

/// See the module. Its lock is a leaf.
#[derive(Debug, Default)]
pub struct Pins {
    counts: Mutex<HashMap<Ref, Pin>>,
}

#[derive(Debug, Default)]
struct Pin {
    readers: u32,
    /// The item was deleted; the last reader frees it.
    deleted: bool,
}

/// What is to be done after a reader left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// Others still read.
    StillPinned,
    /// The item is published and no longer pinned: clear its mark.
    ClearMark,
    /// The item was deleted meanwhile: free it.
    Free,
}

impl Pins {
    /// One more reader of a published item. Its stripe is locked.
    pub fn pin(&self, name: Ref) {
        lock(&self.counts).entry(name).or_default().readers += 1;
    }

    /// One reader less. The stripe of the item's key is locked.
    pub fn unpin(&self, name: Ref) -> Unpinned {
        let mut counts = lock(&self.counts);
        let Some(pin) = counts.get_mut(&name) else { return Unpinned::StillPinned };
        pin.readers -= 1;
        if pin.readers > 0 {
            return Unpinned::StillPinned;
        }
        let deleted = pin.deleted;
        counts.remove(&name);
        if deleted { Unpinned::Free } else { Unpinned::ClearMark }
    }

    /// A pinned item has been deleted. Its stripe is locked.
    pub fn delete(&self, name: Ref) {
        if let Some(pin) = lock(&self.counts).get_mut(&name) {
            pin.deleted = true;
        }
    }

    /// How many items are pinned.
    pub fn len(&self) -> usize {
        lock(&self.counts).len()
    }
}
