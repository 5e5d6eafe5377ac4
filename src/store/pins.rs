//! Who reads large values without a lock: a count for each pinned item, kept beside the store and not in the item, so that a crash
//! leaves no count behind. An item deleted while pinned stays as a draft until its last reader is done.
//!
//! The item's mark `PINNED` says only that it may be found here: it is set under the item's stripe and never cleared, so that
//! letting go of a value takes no stripe (it may happen under one).
//!
//! What is pinned cannot be evicted, nor can a value that is still arriving: together they are what clients *hold* of item
//! memory, and [`Holdings`] bounds it.

use super::memory::Ref;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::collections::HashMap;

/// See the module. Its lock is a leaf.
#[derive(Debug, Default)]
pub struct Pins {
    counts: Mutex<HashMap<Ref, Pin>>,
}

#[derive(Debug, Default)]
struct Pin {
    readers: u32,
    bytes: usize,
    /// The item was deleted; the last reader frees it.
    deleted: bool,
}

impl Pins {
    /// One more reader of a published item of `bytes`. Its stripe is locked.
    pub fn pin(&self, name: Ref, bytes: usize, holdings: &Holdings) {
        let mut counts = lock(&self.counts);
        let pin = counts.entry(name).or_default();
        pin.readers += 1;
        if pin.readers == 1 {
            pin.bytes = bytes;
            holdings.add(bytes);
        }
    }

    /// One reader less. True when it was the last one of an item deleted meanwhile, whose memory the caller gives back.
    pub fn unpin(&self, name: Ref, holdings: &Holdings) -> bool {
        let mut counts = lock(&self.counts);
        let Some(pin) = counts.get_mut(&name) else { return false };
        pin.readers -= 1;
        if pin.readers > 0 {
            return false;
        }
        let deleted = pin.deleted;
        holdings.sub(pin.bytes);
        counts.remove(&name);
        deleted
    }

    /// An item with the mark has been deleted, its stripe is locked. True when somebody reads it and will give its memory back.
    pub fn delete(&self, name: Ref) -> bool {
        match lock(&self.counts).get_mut(&name) {
            Some(pin) => {
                pin.deleted = true;
                true
            }
            None => false,
        }
    }

    /// Whether somebody reads an item with the mark.
    pub fn is_pinned(&self, name: Ref) -> bool {
        lock(&self.counts).contains_key(&name)
    }

    /// How many items are pinned.
    pub fn len(&self) -> usize {
        lock(&self.counts).len()
    }
}

/// One part in this many of the memory limit is the most that clients may hold of item memory, all together. The rest can
/// always be evicted, so that clients that neither read nor finish what they began never stop others from storing.
pub const HELD_PART: u64 = 2;

/// Bytes of item memory that cannot be evicted because clients hold them: values being sent, each item once however many
/// read it, and values still arriving.
#[derive(Debug, Default)]
pub struct Holdings {
    bytes: AtomicU64,
}

impl Holdings {
    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether `bytes` more may be held within `limit`. The first may always, whatever its size, so that nobody waits for ever.
    pub fn has_room(&self, bytes: usize, limit: u64) -> bool {
        let held = self.bytes();
        held == 0 || held + bytes as u64 <= limit
    }

    /// Somebody holds `bytes` more.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Somebody let go of `bytes`.
    pub fn sub(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_that_many_read_is_held_once() {
        let (pins, holdings) = (Pins::default(), Holdings::default());
        pins.pin(Ref(1), 60, &holdings);
        pins.pin(Ref(1), 60, &holdings);
        pins.pin(Ref(2), 30, &holdings);
        assert_eq!(holdings.bytes(), 90);
        assert!(!pins.unpin(Ref(1), &holdings));
        assert_eq!(holdings.bytes(), 90);
        assert!(pins.delete(Ref(1)) && pins.unpin(Ref(1), &holdings));
        assert_eq!(holdings.bytes(), 30);
    }

    #[test]
    fn the_first_may_hold_more_than_the_limit_and_no_other() {
        let holdings = Holdings::default();
        assert!(holdings.has_room(200, 100));
        holdings.add(60);
        assert!(holdings.has_room(40, 100) && !holdings.has_room(41, 100));
        holdings.sub(60);
        assert_eq!(holdings.bytes(), 0);
    }
}

/// Every interleaving of readers and a deleter, for the model checker.
#[cfg(loom)]
#[cfg(test)]
mod loom_tests {
    use super::*;
    use crate::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_a_deleted_value_is_freed_exactly_once() {
        loom::model(|| {
            let pins = Arc::new((Pins::default(), Holdings::default()));
            pins.0.pin(Ref(1), 10, &pins.1);
            pins.0.pin(Ref(1), 10, &pins.1);
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let pins = Arc::clone(&pins);
                    thread::spawn(move || u32::from(pins.0.unpin(Ref(1), &pins.1)))
                })
                .collect();
            let freed_by_deleter = u32::from(!pins.0.delete(Ref(1)));
            let freed_by_readers: u32 = readers.into_iter().map(|reader| reader.join().expect("no panic")).sum();
            assert_eq!(freed_by_deleter + freed_by_readers, 1);
            assert_eq!(pins.0.len(), 0);
        });
    }
}
