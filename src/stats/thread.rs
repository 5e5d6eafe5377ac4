//! A block of counters for each thread.
//!
//! Only the owner writes its block, with a plain load and store, so counting takes no lock and no locked instruction and
//! no cache line travels between cores. Readers see each counter whole, but not all counters at one moment.
//! What memcached derives is derived here too: hits of all classes together are `get_hits`, so a hit counts once.

use crate::sync::{AtomicU64, Ordering};

/// Slab class numbers are below this.
pub const CLASSES: usize = 256;

/// Counters that have no slab class. The names are those of `stats`.
#[expect(missing_docs, reason = "memcached's counters, explained in `table`")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    GetMisses,
    GetExpired,
    GetFlushed,
    TouchMisses,
    DeleteMisses,
    IncrMisses,
    DecrMisses,
    CasMisses,
    CmdFlush,
    CmdMeta,
    StoreTooLarge,
    StoreNoMemory,
    AuthCmds,
    AuthErrors,
    IdleKicks,
    BytesRead,
    BytesWritten,
    ConnYields,
    ResponseObjOom,
    ReadBufOom,
}

const COUNTERS: usize = Counter::ReadBufOom as usize + 1;

/// Counters kept for each slab class (section 11.4).
#[expect(missing_docs, reason = "memcached's counters, explained in `table`")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ClassCounter {
    GetHits,
    CmdSet,
    DeleteHits,
    IncrHits,
    DecrHits,
    CasHits,
    CasBadval,
    TouchHits,
}

impl ClassCounter {
    /// All, in the order and by the names of `stats slabs`.
    pub const ALL: [(ClassCounter, &'static str); CLASS_COUNTERS] = [
        (ClassCounter::GetHits, "get_hits"),
        (ClassCounter::CmdSet, "cmd_set"),
        (ClassCounter::DeleteHits, "delete_hits"),
        (ClassCounter::IncrHits, "incr_hits"),
        (ClassCounter::DecrHits, "decr_hits"),
        (ClassCounter::CasHits, "cas_hits"),
        (ClassCounter::CasBadval, "cas_badval"),
        (ClassCounter::TouchHits, "touch_hits"),
    ];
}

const CLASS_COUNTERS: usize = ClassCounter::TouchHits as usize + 1;

/// One thread's counters. 128-byte aligned, so that two threads never share a (pair of) cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct ThreadStats {
    plain: [AtomicU64; COUNTERS],
    classes: [[AtomicU64; CLASS_COUNTERS]; CLASSES],
}

impl Default for ThreadStats {
    fn default() -> ThreadStats {
        ThreadStats::new()
    }
}

impl ThreadStats {
    /// All zero.
    #[must_use]
    pub fn new() -> ThreadStats {
        ThreadStats {
            plain: std::array::from_fn(|_| AtomicU64::new(0)),
            classes: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// Adds one. The owning thread only.
    #[inline]
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `n`. The owning thread only.
    #[inline]
    pub fn add(&self, counter: Counter, n: u64) {
        bump(&self.plain[counter as usize], n);
    }

    /// Adds one to a class's counter. The owning thread only.
    #[inline]
    pub fn count_class(&self, counter: ClassCounter, class: u32) {
        bump(&self.classes[class as usize % CLASSES][counter as usize], 1);
    }
}

/// Not a `fetch_add`: with a single writer a load and a store give the same sum without locking the bus.
#[inline]
fn bump(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// What all threads counted together.
#[derive(Clone, Debug)]
pub struct Sums {
    plain: [u64; COUNTERS],
    classes: [[u64; CLASS_COUNTERS]; CLASSES],
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { plain: [0; COUNTERS], classes: [[0; CLASS_COUNTERS]; CLASSES] }
    }
}

impl Sums {
    /// Adds one thread's counters.
    pub fn add(&mut self, thread: &ThreadStats) {
        for (sum, counter) in self.plain.iter_mut().zip(&thread.plain) {
            *sum += counter.load(Ordering::Relaxed);
        }
        for (sums, counters) in self.classes.iter_mut().zip(&thread.classes) {
            for (sum, counter) in sums.iter_mut().zip(counters) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
    }

    /// A counter without class.
    #[must_use]
    pub fn plain(&self, counter: Counter) -> u64 {
        self.plain[counter as usize]
    }

    /// A counter of one class.
    #[must_use]
    pub fn class(&self, counter: ClassCounter, class: u32) -> u64 {
        self.classes[class as usize % CLASSES][counter as usize]
    }

    /// A class counter over all classes.
    #[must_use]
    pub fn classes(&self, counter: ClassCounter) -> u64 {
        self.classes.iter().map(|counters| counters[counter as usize]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_add_what_each_thread_counted() {
        let (one, two) = (ThreadStats::new(), ThreadStats::new());
        one.count(Counter::GetMisses);
        two.add(Counter::GetMisses, 4);
        one.count_class(ClassCounter::GetHits, 3);
        two.count_class(ClassCounter::GetHits, 63);
        let mut sums = Sums::default();
        sums.add(&one);
        sums.add(&two);
        assert_eq!(sums.plain(Counter::GetMisses), 5);
        assert_eq!(sums.class(ClassCounter::GetHits, 3), 1);
        assert_eq!(sums.classes(ClassCounter::GetHits), 2);
    }

    #[test]
    fn class_counters_stand_at_their_own_number() {
        for (at, (counter, _)) in ClassCounter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, at);
        }
    }
}
