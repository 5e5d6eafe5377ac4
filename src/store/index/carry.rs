//! The index on its way to another process that has the same arena: as words, in an order that only it knows.

use super::{BUCKET_WORDS, GROUPS, Growth, Index, KeyHash, PLANES_MAX, PLANES_MIN, STRIPES};
use crate::store::memory::Ref;
use crate::sync::{Ordering, lock};
use std::io;

impl Growth {
    /// Segments that have entries: those that were split already are two.
    fn segments_used(self) -> usize {
        self.segments() + if self.planes == PLANES_MAX { self.next } else { 0 }
    }

    /// Words of the buckets that have entries: the index uses its memory from the front on.
    fn bucket_words(self) -> usize {
        usize::try_from(self.planes_total()).unwrap_or(usize::MAX).saturating_mul(GROUPS * BUCKET_WORDS)
    }
}

impl Index {
    /// Calls `out` with every word. Nobody changes the index.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, mut out: impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
        let growth = self.growth();
        out(growth.pack())?;
        (0..growth.bucket_words()).try_for_each(|word| out(self.buckets.at(word).load(Ordering::Relaxed)))?;
        let stripes = 0..growth.segments_used() * STRIPES;
        stripes.clone().try_for_each(|stripe| out(self.stripe_count(stripe).load(Ordering::Relaxed).into()))?;
        out(self.entries.load(Ordering::Relaxed))?;
        let stash = lock(&self.stash);
        out(stash.len() as u64)?;
        stash.iter().try_for_each(|(hash, name)| out(hash.0).and_then(|()| out(name.0.into())))
    }

    /// Makes this one, which is empty, what another one has written.
    ///
    /// # Errors
    /// Those of `next`, and when there cannot be such an index here; it is of no use then.
    pub fn read(&self, mut next: impl FnMut() -> io::Result<u64>) -> io::Result<()> {
        let growth = Growth::unpack(next()?);
        let slots = self.segments_max * PLANES_MIN as usize * GROUPS * BUCKET_WORDS;
        let possible = growth.round < usize::BITS
            && (PLANES_MIN..=PLANES_MAX).contains(&growth.planes)
            && growth.next < growth.segments()
            && growth.segments_used() <= self.segments_max
            && growth.bucket_words() <= slots;
        if !possible {
            return Err(io::Error::other("its index is of another size"));
        }
        for word in 0..growth.bucket_words() {
            self.buckets.at(word).store(next()?, Ordering::Relaxed);
        }
        for stripe in 0..growth.segments_used() * STRIPES {
            self.stripe_count(stripe).store(narrow(next()?)?, Ordering::Relaxed);
        }
        self.entries.store(next()?, Ordering::Relaxed);
        let mut stash = lock(&self.stash);
        for _ in 0..next()? {
            stash.push((KeyHash(next()?), Ref(narrow(next()?)?)));
        }
        self.stashed.store(stash.len(), Ordering::Release);
        self.growth.store(growth.pack(), Ordering::Release);
        Ok(())
    }
}

fn narrow(word: u64) -> io::Result<u32> {
    u32::try_from(word).map_err(io::Error::other)
}
