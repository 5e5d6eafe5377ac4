//! Which requests a run makes: how many of a hundred are of each kind, for which items, and in which order.

use super::items::{Items, Random};
use crate::sync::Arc;

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To read items.
    Get,
    /// To store one.
    Set,
    /// To give one a new expiry.
    Touch,
    /// To add one to a counter.
    Incr,
    /// To remove an item.
    Delete,
}

impl Kind {
    /// All of them, in the order of the tables.
    pub const ALL: [Kind; 5] = [Kind::Get, Kind::Set, Kind::Touch, Kind::Incr, Kind::Delete];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Set => "set",
            Kind::Touch => "touch",
            Kind::Incr => "incr",
            Kind::Delete => "delete",
        }
    }
}

/// How many of a hundred requests do what. What is left reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    /// Store.
    pub sets: u64,
    /// Touch.
    pub touches: u64,
    /// Count.
    pub incrs: u64,
    /// Delete.
    pub deletes: u64,
    /// How many of a hundred keys to read are of items that were never stored.
    pub misses: u64,
}

impl Mix {
    /// Nothing but sets.
    pub const SETS: Mix = Mix { sets: 100, touches: 0, incrs: 0, deletes: 0, misses: 0 };
    /// Nothing but gets.
    pub const GETS: Mix = Mix { sets: 0, touches: 0, incrs: 0, deletes: 0, misses: 0 };

    /// How many of a hundred do not read.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sets + self.touches + self.incrs + self.deletes
    }

    /// What a number below a hundred stands for.
    fn kind(&self, dice: u64) -> Kind {
        let shares = [
            (Kind::Set, self.sets),
            (Kind::Touch, self.touches),
            (Kind::Incr, self.incrs),
            (Kind::Delete, self.deletes),
        ];
        let mut end = 0;
        for (kind, share) in shares {
            end += share;
            if dice < end {
                return kind;
            }
        }
        Kind::Get
    }
}

/// Requests one after the other.
pub struct Draws {
    mix: Mix,
    items: Arc<Items>,
    random: Random,
    /// Numbers of items drawn in advance.
    drawn: Vec<u32>,
    at: usize,
    /// Whether the same ones come again when all were used.
    again: bool,
}

/// Items drawn at a time.
const DRAWN_AT_ONCE: usize = 1024;

impl Draws {
    /// Draws for ever; with `replay` so many items that come round and round, because drawing may cost a client more than asking.
    #[must_use]
    pub fn new(mix: Mix, items: Arc<Items>, seed: u64, replay: usize) -> Draws {
        let (random, again) = (Random(seed), replay > 0);
        let mut draws = Draws { mix, items, random, drawn: Vec::new(), at: 0, again };
        draws.draw(if again { replay } else { DRAWN_AT_ONCE });
        draws
    }

    /// What the next request asks.
    pub fn kind(&mut self) -> Kind {
        if self.mix.sum() == 0 { Kind::Get } else { self.mix.kind(self.random.below(100)) }
    }

    /// The next item.
    pub fn item(&mut self) -> u64 {
        if self.at == self.drawn.len() {
            self.at = 0;
            if !self.again {
                self.draw(DRAWN_AT_ONCE);
            }
        }
        self.at += 1;
        u64::from(self.drawn[self.at - 1])
    }

    /// The next item to read, which may be one that was never stored.
    pub fn item_to_read(&mut self) -> u64 {
        let item = self.item();
        let missing = self.mix.misses > 0 && self.random.below(100) < self.mix.misses;
        if missing { item + self.items.count() } else { item }
    }

    fn draw(&mut self, count: usize) {
        self.drawn.clear();
        self.drawn.extend((0..count).map(|_| self.items.draw(&mut self.random) as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::super::items::Shape;
    use super::*;

    fn draws(mix: Mix, replay: usize) -> Draws {
        let shape = Shape { head: *b"memhold:", count: 1000, key_len: 24, value_len: (1, 1), skew: 0.0 };
        Draws::new(mix, Arc::new(Items::new(shape)), 1, replay)
    }

    #[test]
    fn every_kind_has_its_share() {
        let mix = Mix { sets: 10, touches: 20, incrs: 30, deletes: 15, misses: 50 };
        let mut draws = draws(mix, 0);
        let count = |kinds: &[Kind], wanted| kinds.iter().filter(|kind| **kind == wanted).count();
        let kinds: Vec<Kind> = (0..10_000).map(|_| draws.kind()).collect();
        for (kind, share) in Kind::ALL.into_iter().zip([25, 10, 20, 30, 15]) {
            let seen = count(&kinds, kind);
            assert!(seen.abs_diff(share * 100) < 300, "{kind:?}: {seen}");
        }
        let missing = (0..10_000).filter(|_| draws.item_to_read() >= 1000).count();
        assert!(missing.abs_diff(5000) < 300, "{missing}");
    }

    #[test]
    fn a_replay_repeats_itself_and_a_run_does_not() {
        for (replay, same) in [(3000, true), (0, false)] {
            let mut draws = draws(Mix::GETS, replay);
            let mut series = || (0..3000).map(|_| draws.item()).collect::<Vec<_>>();
            assert_eq!(series() == series(), same);
        }
    }
}
