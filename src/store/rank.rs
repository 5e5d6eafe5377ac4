//! Who leaves first: what an item's idle time counts, whom a class evicts next, and how old the class is beside the others.
//!
//! An item's score is the time since its last recorded access, times [`PROBATION_WEIGHT`] while it was never hit: newcomers have
//! half of the others' time to prove themselves. A class looks at some of its items chosen at random and queues one in
//! [`LOOKS_PER_VICTIM`] of them, those with the highest scores, to be evicted next. The lowest score that is queued is the class's
//! threshold: about one in so many items is older.
//!
//! The threshold tells how old the class is. Between classes small items count for more, since more of them, and so more hits, fit the
//! same memory; but only as far as items of the class are hit at all ([`Queue::weigh`]): what nobody reads has no claim to stay, however
//! small it is.

use super::memory::item::{Chunk, MAIN};
use super::memory::{Ref, State};
use crate::clock::Now;
use crate::sync::Ordering;
use arrayvec::ArrayVec;

/// How many times its idle time an item counts that was never hit.
const PROBATION_WEIGHT: u32 = 2;
/// Items looked at to find victims.
pub const LOOKS: u32 = 128;
/// Of so many items looked at one is evicted.
const LOOKS_PER_VICTIM: u32 = 16;
/// Victims found at once, at most.
const QUEUE_MAX: usize = (LOOKS / LOOKS_PER_VICTIM) as usize;
/// A weight of one.
const UNIT: u32 = 256;
/// The share of items that proved themselves, of [`UNIT`], from which on the size counts in full.
const PROVEN_ENOUGH: u32 = UNIT / 4;

/// What an item's idle time counts, in ticks.
pub fn score(chunk: Chunk<'_>, state: State, now: Now) -> u32 {
    let idle = now.ticks_since(chunk.time().load(Ordering::Relaxed));
    if state.has(MAIN) { idle } else { idle.saturating_mul(PROBATION_WEIGHT) }
}

/// Those with the highest scores of the items that were looked at.
#[derive(Debug, Default)]
pub struct Sample {
    looked: u32,
    proven: u32,
    /// The lowest score.
    youngest: Option<u32>,
    /// Ascending by score.
    best: ArrayVec<(u32, Ref), QUEUE_MAX>,
}

impl Sample {
    /// Looks at one more item, whose score the caller says; `u32::MAX` when its time is over.
    pub fn look(&mut self, name: Ref, state: State, score: u32) {
        self.looked += 1;
        self.proven += u32::from(state.has(MAIN));
        self.youngest = Some(self.youngest.map_or(score, |youngest| youngest.min(score)));
        if self.best.is_full() {
            if self.best.first().is_some_and(|&(least, _)| score <= least) {
                return;
            }
            self.best.remove(0);
        }
        let place = self.best.partition_point(|&(other, _)| other <= score);
        self.best.insert(place, (score, name));
    }
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    /// Ascending by the scores they had when they were looked at.
    victims: ArrayVec<(u32, Ref), QUEUE_MAX>,
    /// The score from which on items are old, in ticks.
    pub threshold: u32,
    /// The lowest score there was, in ticks.
    youngest: u32,
    /// Of [`UNIT`] items, how many have proved themselves.
    proven: u32,
    /// How much its age counts beside other classes, of [`UNIT`].
    weight: u32,
    /// Whether the class should rather have memory of others than evict its own.
    pub is_younger: bool,
    /// Whether something was evicted since the age was last looked at.
    pub evicting: bool,
}

impl Default for Queue {
    fn default() -> Queue {
        let victims = ArrayVec::new();
        Queue { victims, threshold: 0, youngest: 0, proven: 0, weight: UNIT, is_younger: false, evicting: false }
    }
}

impl Queue {
    /// Takes over what was found in a sample, or in all there is.
    pub fn fill(&mut self, sample: Sample, all: bool) {
        let Sample { looked, proven, youngest, best } = sample;
        let Some(youngest) = youngest else { return };
        self.youngest = youngest;
        let wanted = (looked / LOOKS_PER_VICTIM).max(1) as usize;
        let spare = best.len().saturating_sub(wanted);
        self.victims = best.into_iter().skip(spare).collect();
        self.proven = (self.proven * 3 + proven * UNIT / looked) / 4;
        if let Some(&(least, _)) = self.victims.first()
            && least < u32::MAX
        {
            let known = if all || self.threshold == 0 { least } else { self.threshold };
            self.threshold = known - known / 4 + least / 4;
        }
    }

    /// The next victim, and the score it had: if it is less by now, the item has been used since.
    pub fn next(&mut self) -> Option<(u32, Ref)> {
        self.victims.pop()
    }

    /// Whether it is time to look for victims and to compare the class with others: there are none, or it takes memory of others.
    pub fn is_to_be_filled(&self) -> bool {
        self.victims.is_empty() || self.is_younger
    }

    /// Forgets the victims that were found.
    pub fn forget(&mut self) {
        self.victims.clear();
    }

    /// Makes the size of the class's items count, `mean` being that of all.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rough number will do"
    )]
    pub fn weigh(&mut self, size: usize, mean: u64) {
        let share = f64::from(self.proven.min(PROVEN_ENOUGH)) / f64::from(PROVEN_ENOUGH);
        let relative = size as f64 / mean.max(1) as f64;
        self.weight = (relative.powf(share / 2.0) * f64::from(UNIT)) as u32;
    }

    /// The weighted age.
    pub fn age(&self) -> u64 {
        u64::from(self.threshold) * u64::from(self.weight)
    }

    /// The weighted age of the youngest item.
    pub fn youngest_age(&self) -> u64 {
        u64::from(self.youngest) * u64::from(self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Kind;
    use super::*;

    fn filled(queue: &mut Queue, scores: impl Iterator<Item = u32>, proven: bool) {
        let mut sample = Sample::default();
        let state = State::of(Kind::Item).with(MAIN, proven);
        scores.for_each(|score| sample.look(Ref(score), state, score));
        queue.fill(sample, false);
    }

    #[test]
    fn one_in_sixteen_is_queued_the_oldest_first() {
        let mut queue = Queue::default();
        filled(&mut queue, (0..128).map(|number| number * 37 % 128), false);
        assert_eq!(queue.threshold, 120);
        let order: Vec<_> = std::iter::from_fn(|| queue.next()).map(|(score, _)| score).collect();
        assert_eq!(order, [127, 126, 125, 124, 123, 122, 121, 120]);
        filled(&mut queue, 0..3, false);
        assert_eq!((queue.next(), queue.next()), (Some((2, Ref(2))), None));
    }

    #[test]
    fn small_sizes_count_only_where_items_are_hit() {
        let (mut read, mut unread) = (Queue::default(), Queue::default());
        for _ in 0..20 {
            filled(&mut read, 100..228, true);
            filled(&mut unread, 100..228, false);
        }
        [&mut read, &mut unread].into_iter().for_each(|queue| queue.weigh(400, 100));
        assert_eq!(read.age(), unread.age() * 2);
    }
}
