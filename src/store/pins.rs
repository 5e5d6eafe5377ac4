//! Who reads large values without a lock: a count for each pinned item, kept beside the store and not in the item, so that a crash
//! leaves no count behind. An item deleted while pinned stays as a draft until its last reader is done.
//!
//! The item's mark `PINNED` says only that it may be found here: it is set under the item's stripe and never cleared, so that
//! letting go of a value takes no stripe (it may happen under one).

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

impl Pins {
    /// One more reader of a published item. Its stripe is locked.
    pub fn pin(&self, name: Ref) {
        lock(&self.counts).entry(name).or_default().readers += 1;
    }

    /// One reader less. True when it was the last one of an item deleted meanwhile, whose memory the caller gives back.
    pub fn unpin(&self, name: Ref) -> bool {
        let mut counts = lock(&self.counts);
        let Some(pin) = counts.get_mut(&name) else { return false };
        pin.readers -= 1;
        if pin.readers > 0 {
            return false;
        }
        let deleted = pin.deleted;
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
            let pins = Arc::new(Pins::default());
            pins.pin(Ref(1));
            pins.pin(Ref(1));
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let pins = Arc::clone(&pins);
                    thread::spawn(move || u32::from(pins.unpin(Ref(1))))
                })
                .collect();
            let freed_by_deleter = u32::from(!pins.delete(Ref(1)));
            let freed_by_readers: u32 = readers.into_iter().map(|reader| reader.join().expect("no panic")).sum();
            assert_eq!(freed_by_deleter + freed_by_readers, 1);
            assert_eq!(pins.len(), 0);
        });
    }
}
