//! When to look for expired items, and where: one word for each KiB of the arena holds a lower bound of the expiries of the
//! items that begin there (0.4 % of the memory). A sweep reads the words of a page in order, a cache line for 16 KiB, and visits
//! only the stretches that are due; the visit makes the word anew from what is left.
//!
//! Storing lowers the word if need be; touching an item to a later time neither reads nor writes anything here, so a sliding
//! session costs one early visit per TTL. Words are kept inverted, so that 0 (fresh memory) means "nothing expires here" and the
//! minimum is a `fetch_max`. A visit first swaps the word for 0 and then reads the items, a touch to an earlier time first writes the
//! item and then, in any case, the word ([`Expiry::note_touch`]): whichever comes first, the earlier expiry is not lost. What is being
//! filled while it is visited is looked at again a second later.

use super::Exptime;
use super::memory::Words32;
use crate::sync::{AtomicU32, Ordering};

/// log2 of the bytes that one word stands for.
const STRETCH_SHIFT: u32 = 10;

/// Bytes that one word stands for.
pub const STRETCH: usize = 1 << STRETCH_SHIFT;

/// See the module.
#[derive(Debug)]
pub struct Expiry(Words32);

impl Expiry {
    /// Words for an arena of `bytes`.
    ///
    /// # Errors
    /// When the address range cannot be had.
    pub fn new(bytes: usize) -> Result<Expiry, String> {
        let words =
            Words32::new(bytes >> STRETCH_SHIFT).map_err(|error| format!("cannot reserve expiry words: {error}"))?;
        Ok(Expiry(words))
    }

    /// An item that begins at `offset` expires at `exptime` (0 never). Its class is locked, or nobody but the caller knows it yet.
    #[inline]
    pub fn note(&self, offset: usize, exptime: Exptime) {
        if exptime == 0 {
            return;
        }
        let word = self.0.at(offset >> STRETCH_SHIFT);
        if word.load(Ordering::Relaxed) < !exptime {
            word.fetch_max(!exptime, Ordering::AcqRel);
        }
    }

    /// The expiry of a published item at `offset` was set to `exptime`, earlier than it was. A visit may be under way: were the word
    /// only looked at, it might be the one from before the visit.
    pub fn note_touch(&self, offset: usize, exptime: Exptime) {
        self.0.at(offset >> STRETCH_SHIFT).fetch_max(!exptime, Ordering::AcqRel);
    }

    /// The words of the first `bytes` of the arena, for a process that takes it over.
    pub fn words(&self, bytes: usize) -> impl Iterator<Item = &AtomicU32> {
        (0..bytes >> STRETCH_SHIFT).map(|word| self.0.at(word))
    }

    /// Whether something that begins in the stretch at `offset` may have expired by `now`.
    #[inline]
    pub fn due(&self, offset: usize, now: Exptime) -> bool {
        let word = self.0.at(offset >> STRETCH_SHIFT).load(Ordering::Relaxed);
        word != 0 && !word <= now
    }

    /// Forgets what is known of a stretch; the caller visits its items and notes what is left.
    pub fn begin_visit(&self, offset: usize) {
        self.0.at(offset >> STRETCH_SHIFT).swap(0, Ordering::AcqRel);
    }
}

/// Every interleaving of a touch and a visit, for the model checker.
#[cfg(loom)]
#[cfg(test)]
mod loom_tests {
    use super::*;
    use crate::sync::{Arc, AtomicU32};
    use loom::thread;

    #[test]
    fn loom_a_touch_to_an_earlier_time_is_not_lost_by_a_visit() {
        loom::model(|| {
            let shared = Arc::new((Expiry::new(STRETCH).expect("memory"), AtomicU32::new(100)));
            // Something else in the stretch is due; that is why it is visited.
            shared.0.note(0, 40);
            let other = Arc::clone(&shared);
            let touch = thread::spawn(move || {
                other.1.store(50, Ordering::Relaxed);
                other.0.note_touch(0, 50);
            });
            shared.0.begin_visit(0);
            shared.0.note(0, shared.1.load(Ordering::Relaxed));
            touch.join().expect("no panic");
            assert!(shared.0.due(0, 50));
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_expiry_of_a_stretch_counts() {
        let expiry = Expiry::new(1 << 20).expect("memory");
        assert!(!expiry.due(5000, u32::MAX));
        expiry.note(5000, 100);
        expiry.note(5008, 50);
        expiry.note(5016, 0);
        assert!(!expiry.due(5000, 49));
        assert!(expiry.due(5000, 50));
        assert!(!expiry.due(6 * 1024, 100), "another stretch");
        expiry.begin_visit(5000);
        assert!(!expiry.due(5000, 1000));
    }
}
