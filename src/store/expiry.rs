//! When to look for expired items, and where: one word for each KiB of the arena holds a lower bound of the expiries of the
//! items that begin there (0.4 % of the memory). A sweep reads the words of a page in order, a cache line for 16 KiB, and visits
//! only the stretches that are due; the visit makes the word anew from what is left.
//!
//! Storing lowers the word if need be; touching an item to a later time writes nothing here, so a sliding session costs one
//! early visit per TTL. Words are kept inverted, so that 0 (fresh memory) means "nothing expires here" and the minimum is a
//! `fetch_max`. A visit first swaps the word for 0 and then reads the items, a touch first writes the item and then the word:
//! whichever comes first, the earlier expiry is not lost.

use super::Exptime;
use super::memory::Words32;
use crate::sync::Ordering;

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

    /// An item that begins at `offset` expires at `exptime` (0 never).
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

#[cfg(test)]
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
