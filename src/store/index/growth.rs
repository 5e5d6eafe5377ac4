//! How the index grows: by one step of one segment at a time, of which each is short, and which nobody waits for but those who want
//! that very segment. A step gives a segment one more plane, which takes nothing but the tags; or splits it in two, which takes the keys.

use super::{
    BUCKET_WORDS, COUNT_STEP, FIRST_ROUND, GROUPS, Index, KeyHash, LOCK_WORDS, OCTET, PLANES_MAX, PLANES_MIN, Place,
    SLOTS, STRIPES, alternate_group, group_of, plane_of, tag_of,
};
use crate::store::memory::{Ref, Stable};
use crate::sync::{Ordering, lock};

/// A phase of growth begins when the buckets that it will relieve are this full (in 1/1000) and is over when they have
/// reached the second figure. Below: wasted memory; above: more entries outside of their home.
const FILL: (u64, u64) = (800, 870);
/// The same for splitting, which takes no memory and only prepares the next phase.
const FILL_SPLIT: (u64, u64) = (700, 800);
/// How far the index has grown: `2^round` segments, of which those before `next` have `planes + 1` planes and
/// the others `planes`; at 16 planes, those before `next` are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growth {
    pub round: u32,
    pub planes: u32,
    pub next: usize,
}

impl Growth {
    pub fn pack(self) -> u64 {
        (self.next as u64) << 16 | u64::from(self.planes) << 8 | u64::from(self.round)
    }
    pub fn unpack(word: u64) -> Growth {
        Growth { round: (word & 0xff) as u32, planes: (word >> 8 & 0xff) as u32, next: (word >> 16) as usize }
    }
    pub fn segments(self) -> usize {
        1 << self.round
    }
    /// The state after one more step.
    pub fn advanced(self) -> Growth {
        let next = self.next + 1;
        if next < self.segments() {
            Growth { next, ..self }
        } else if self.planes < PLANES_MAX {
            Growth { planes: self.planes + 1, next: 0, ..self }
        } else {
            Growth { round: self.round + 1, planes: PLANES_MIN, next: 0 }
        }
    }
    /// Planes in use over all segments.
    pub fn planes_total(self) -> u64 {
        let base = u64::from(self.planes) * self.segments() as u64;
        if self.planes == PLANES_MAX { base } else { base + self.next as u64 }
    }
    /// Segment, its planes, and the segment number that its planes beyond the eighth belong to in the next round.
    pub fn segment_of(self, hash: KeyHash) -> (usize, u32) {
        let low = usize::try_from(hash.0 & 0xffff_ffff).unwrap_or(0);
        let segment = low & (self.segments() - 1);
        if segment >= self.next {
            (segment, self.planes)
        } else if self.planes < PLANES_MAX {
            (segment, self.planes + 1)
        } else {
            (low & (2 * self.segments() - 1), PLANES_MIN)
        }
    }
    /// Number of the first bucket of a plane of a segment.
    pub fn plane(self, segment: usize, plane: u32) -> usize {
        first_bucket(self.segments(), segment, plane as usize)
    }
}

/// Number of the first bucket of a plane of one of so many segments.
///
/// The planes that a segment gets beyond the eighth become the eight of a new one when it is split, and stay where they are. Of the
/// segments that came in one round all first planes lie side by side, then all second ones, and so on: that is the order in which
/// they are taken into use, so the index uses its memory from the front to the back.
#[inline(always)]
pub(super) fn first_bucket(segments: usize, segment: usize, plane: usize) -> usize {
    const LEAST: usize = PLANES_MIN as usize;
    let (segment, plane) = if plane < LEAST { (segment, plane) } else { (segment + segments, plane - LEAST) };
    let number = if segment >> FIRST_ROUND == 0 {
        (plane << FIRST_ROUND) + segment
    } else {
        ((plane + LEAST - 1) << segment.ilog2()) + segment
    };
    number * GROUPS
}

/// An entry on its way from one arrangement of a segment to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    tag: u16,
    home_group: u16,
    name: Ref,
}

/// What the index has to know about items when it splits a segment.
pub trait Items {
    /// The hash of an item's key. The segment is locked.
    fn hash_of(&self, name: Ref, stable: Stable<'_>) -> KeyHash;
    /// [`Items::hash_of`] will be asked for this item soon.
    fn prefetch(&self, name: Ref);
}

/// Items whose keys are fetched ahead while a segment is split.
const AHEAD: usize = 16;

impl Index {
    /// Whether the index is too full and [`Index::grow`] should be called.
    #[inline]
    pub fn wants_to_grow(&self) -> bool {
        let growth = self.growth();
        let entries = self.entries.load(Ordering::Relaxed) + growth.segments() as u64 * u64::from(COUNT_STEP) * 2;
        let slots = growth.segments() as u64 * u64::from(growth.planes) * (GROUPS * SLOTS) as u64;
        // Fill of the segments that still wait in this phase, in 1/1000, against the fill at which its next one is due.
        let fill = entries * 1000 / slots;
        let (first, last) = if growth.planes == PLANES_MAX { FILL_SPLIT } else { FILL };
        fill > first && (fill - first) * growth.segments() as u64 >= (last - first) * growth.next as u64
    }

    /// Makes an index that is still empty as large as `entries` will make it, so that it need not grow while they come.
    pub fn presize(&self, entries: u64) {
        let mut growth = self.growth();
        while growth.planes_total() * (GROUPS * SLOTS) as u64 * FILL.0 / 1000 < entries {
            let next = if growth.planes < PLANES_MAX {
                Growth { planes: growth.planes + 1, ..growth }
            } else {
                Growth { round: growth.round + 1, planes: PLANES_MIN, next: 0 }
            };
            if next.segments() * if next.planes > PLANES_MIN { 2 } else { 1 } > self.segments_max {
                break;
            }
            growth = next;
        }
        self.growth.store(growth.pack(), Ordering::Release);
    }

    /// Grows by one step unless somebody else is doing so: one segment gets a plane more, or is split. `items` are asked with the
    /// segment locked, only when splitting (or for the stash).
    pub fn grow(&self, items: &impl Items) {
        let Ok(mut scratch) = self.grower.try_lock() else { return };
        let growth = self.growth();
        let segment = growth.next;
        if growth.planes == PLANES_MAX && growth.segments() * 2 > self.segments_max {
            return;
        }
        let split = growth.planes == PLANES_MAX;
        for stripe in 0..STRIPES {
            self.lock_stripe(segment * LOCK_WORDS + stripe * (LOCK_WORDS / STRIPES));
        }
        self.gather(growth, segment, &mut scratch);
        self.gather_stashed(growth, segment, &mut scratch);
        let after = growth.advanced();
        if split {
            self.redistribute_split(growth, after, &scratch, items);
        } else {
            for moved in scratch.iter() {
                let plane = growth.plane(segment, plane_of(moved.tag, growth.planes + 1));
                self.put_moved(plane, moved, items);
            }
        }
        scratch.clear();
        self.growth.store(after.pack(), Ordering::Release);
        for stripe in 0..STRIPES {
            self.unlock_stripe(segment * LOCK_WORDS + stripe * (LOCK_WORDS / STRIPES));
        }
    }

    /// Takes all entries out of the buckets of a segment.
    fn gather(&self, growth: Growth, segment: usize, scratch: &mut Vec<Moved>) {
        for plane in 0..growth.planes {
            let first = growth.plane(segment, plane);
            for group in 0..GROUPS {
                let bucket = first + group;
                for slot in 0..SLOTS {
                    let lane =
                        (self.word(bucket, slot / 4).load(Ordering::Relaxed) >> (16 * (slot % 4)) & 0xffff) as u16;
                    if lane == 0 {
                        continue;
                    }
                    let home = if lane & 1 == 0 { group } else { alternate_group(group, lane) };
                    let moved = Moved { tag: lane & !1, home_group: home as u16, name: self.handle(bucket, slot) };
                    scratch.push(moved);
                }
                for word in 0..BUCKET_WORDS {
                    self.word(bucket, word).store(0, Ordering::Relaxed);
                }
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "numbers of buckets")]
    fn put_moved(&self, plane: usize, moved: &Moved, items: &impl Items) {
        let home_group = usize::from(moved.home_group);
        let place = Place {
            stripe: 0,
            home: (plane + home_group) as u32,
            alternate: (plane + alternate_group(home_group, moved.tag)) as u32,
            tag: moved.tag,
        };
        if !self.put(&place, moved.name) {
            let hash = items.hash_of(moved.name, Stable::from_guard(self));
            self.stash_entry(&place, hash, moved.name);
        }
    }

    /// Splits: each entry goes where its key belongs from now on.
    fn redistribute_split(&self, growth: Growth, after: Growth, scratch: &[Moved], items: &impl Items) {
        let segment = growth.next;
        let other = segment + growth.segments();
        for (at, moved) in scratch.iter().enumerate() {
            if let Some(soon) = scratch.get(at + AHEAD) {
                items.prefetch(soon.name);
            }
            let hash = items.hash_of(moved.name, Stable::from_guard(self));
            let goes = hash.0 & 0xffff_ffff & growth.segments() as u64 != 0;
            let target = if goes { other } else { segment };
            if goes {
                let stripe = usize::from(moved.home_group) / OCTET;
                self.count_moved(segment * STRIPES + stripe, other * STRIPES + stripe);
            }
            // Eight planes lie where the next round has them, whichever round counts.
            let plane = after.plane(target, plane_of(moved.tag, PLANES_MIN));
            self.put_moved(plane, moved, items);
        }
    }

    /// One entry less in one stripe, one more in another.
    fn count_moved(&self, source: usize, target: usize) {
        self.count_less(self.stripe_count(source));
        self.count_more(self.stripe_count(target));
    }

    /// Takes the segment's entries out of the stash: after the step there will be room for them.
    fn gather_stashed(&self, growth: Growth, segment: usize, scratch: &mut Vec<Moved>) {
        if self.stashed.load(Ordering::Acquire) == 0 {
            return;
        }
        lock(&self.stash).retain(|&(hash, name)| {
            let ours = usize::try_from(hash.0 & 0xffff_ffff).unwrap_or(0) & (growth.segments() - 1) == segment;
            if ours {
                self.stashed.fetch_sub(1, Ordering::Release);
                scratch.push(Moved { tag: tag_of(hash), home_group: group_of(hash) as u16, name });
            }
            !ours
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn planes_are_taken_from_the_front_to_the_back_and_none_twice() {
        let mut growth = Growth { round: FIRST_ROUND, planes: PLANES_MIN, next: 0 };
        let planes = |growth: Growth, segment| 0..growth.segment_of(KeyHash(segment)).1;
        let bucket = |growth: Growth, segment: u64, plane| growth.plane(growth.segment_of(KeyHash(segment)).0, plane);
        let first =
            (0..growth.segments() as u64).flat_map(|segment| planes(growth, segment).map(move |p| (segment, p)));
        let mut used: Vec<usize> = first.map(|(segment, plane)| bucket(growth, segment, plane)).collect();
        used.sort_unstable();
        assert_eq!(used, (0..used.len()).map(|number| number * GROUPS).collect::<Vec<_>>());
        while growth.round < FIRST_ROUND + 3 {
            let (segment, after) = (growth.next, growth.advanced());
            if growth.planes < PLANES_MAX {
                let new = growth.plane(segment, growth.planes);
                assert_eq!(new, used.len() * GROUPS, "the next one behind all others");
                used.push(new);
            } else {
                for plane in 0..PLANES_MIN {
                    let other = segment + growth.segments();
                    assert_eq!(after.plane(other, plane), growth.plane(segment, plane + PLANES_MIN), "it stays there");
                }
            }
            growth = after;
        }
    }
}
