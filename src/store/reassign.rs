//! `slabs reassign`: a page moved because somebody asked for it (section 13.3).
//!
//! The request is checked at once and done by the next background step, so that the client does not wait for a page to be emptied. Every
//! item on the page that is alive is kept if its class has a free chunk for it, whatever it is worth: pages that
//! move by need are emptied with less regard (`evict.rs`).

use super::Store;
use super::evict::Regard;
use super::inner::Inner;
use crate::clock::Now;
use crate::sync::{Ordering, lock};

/// Steps in which a page that is being read or filled is tried again before the move is given up: about a second.
const TRIES_MAX: u32 = 10;

/// The pool of pages in nobody's hands, by its class number.
const POOL: u32 = 0;

/// What becomes of a request to move a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reassign {
    /// It will be moved.
    Started,
    /// Another one is being moved.
    Running,
    /// There is no such class, or with source -1 none that has two pages.
    BadClass,
    /// The source has fewer than two pages.
    NoSpare,
    /// Source and target are the same.
    Same,
}

/// A page to be moved, by class numbers; 0 is the pool.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    source: u32,
    target: u32,
    tries: u32,
}

impl Store {
    /// Asks for a page of class `source` (0: the pool, -1: whichever has two and more) to be given to class `target` (0: the pool).
    /// The checks are in memcached's order.
    #[must_use]
    pub fn reassign(&self, source: i32, target: i32) -> Reassign {
        let inner = self.inner();
        let mut wanted = lock(&inner.wanted_move);
        if wanted.is_some() {
            return Reassign::Running;
        }
        if source == target {
            return Reassign::Same;
        }
        let number = |class: i32| u32::try_from(class).ok().filter(|&class| class <= inner.last_class());
        let source = if source == -1 { inner.richest_but(number(target)) } else { number(source) };
        let (Some(source), Some(target)) = (source, number(target)) else { return Reassign::BadClass };
        if inner.pages_of(source) < 2 {
            return Reassign::NoSpare;
        }
        *wanted = Some(Move { source, target, tries: 0 });
        Reassign::Started
    }

    /// Whether a page that somebody asked for is still to be moved.
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        lock(&self.inner().wanted_move).is_some()
    }

    /// Whether pages move by themselves (`slabs automove`), where they may at all.
    pub fn set_page_moves(&self, moves: bool) {
        self.inner().page_moves.store(moves, Ordering::Relaxed);
    }
}

impl Inner {
    fn last_class(&self) -> u32 {
        self.classes.large.max(u32::try_from(self.slabs.len()).unwrap_or(u32::MAX))
    }

    /// Where the pages of a class are accounted: its own place, and that of large items if they go by its number.
    fn places_of(&self, class: u32) -> impl Iterator<Item = usize> {
        let (own, large) = (class as usize, self.slabs.len());
        let own = (1..=large).contains(&own).then(|| own - 1);
        own.into_iter().chain((class == self.classes.large).then_some(large))
    }

    fn pages_of(&self, class: u32) -> u32 {
        if class == POOL {
            return self.pool.returned();
        }
        self.places_of(class).map(|place| self.standings[place].pages()).sum()
    }

    /// The class with the most pages, two at least.
    fn richest_but(&self, target: Option<u32>) -> Option<u32> {
        let others = (1..=self.last_class()).filter(|&class| Some(class) != target);
        others.max_by_key(|&class| self.pages_of(class)).filter(|&class| self.pages_of(class) >= 2)
    }

    /// Moves the page that somebody asked for, if any.
    pub fn move_wanted(&self, now: Now) {
        let Some(wanted) = *lock(&self.wanted_move) else { return };
        let Move { source, target, tries } = wanted;
        let emptied = source == POOL || self.places_of(source).any(|place| self.empty_page_of(place, now));
        let moved = emptied && self.give_page_to(target);
        if !moved && tries + 1 < TRIES_MAX {
            *lock(&self.wanted_move) = Some(Move { tries: tries + 1, ..wanted });
            return;
        }
        if moved {
            self.pages_moved.fetch_add(1, Ordering::Relaxed);
        }
        self.tell_move(source, target, moved);
        *lock(&self.wanted_move) = None;
    }

    fn empty_page_of(&self, place: usize, now: Now) -> bool {
        if place == self.slabs.len() {
            let mut large = lock(&self.large);
            large.pages() >= 2 && self.empty_large_page(&mut large, now)
        } else {
            let mut class = lock(&self.slabs[place]);
            if class.pages().len() < 2 {
                return false;
            }
            let emptied = self.empty_some_page(&mut class, Regard::Life, 0, now);
            emptied.inspect(|&page| self.pool.give(&self.arena, page)).is_some()
        }
    }

    /// A page of the pool becomes the class's.
    fn give_page_to(&self, class: u32) -> bool {
        if class == POOL {
            return true;
        }
        let Some(place) = self.places_of(class).next() else { return false };
        let Some(page) = self.pool.take(&self.arena, 0) else { return false };
        if place == self.slabs.len() {
            self.adopt_large(&mut lock(&self.large), page);
        } else {
            self.adopt(&mut lock(&self.slabs[place]), page);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{config, get, set};
    use super::super::{Config, SlabTable, Store};
    use super::*;

    const NOW: Now = Now::at(1000, 0);

    /// memcached's classes, and so many items of 500 bytes in pages of 1 MiB: class 9 has 600 bytes a chunk, 1747 to a page.
    fn filled(items: u32, evict: bool) -> Store {
        let slabs = SlabTable::Factor { min: 48, factor: 1.25 };
        let store = Store::open(&Config { slabs, evict, ..config(64) }).expect("memory");
        for number in 0..items {
            set(&store, format!("key {number}").as_bytes(), &[b'x'; 450], 0, NOW).expect("there is room");
        }
        store
    }

    fn pages(store: &Store, class: u32) -> u64 {
        store.classes().iter().find(|row| row.class == class).map_or(0, |row| row.total_pages)
    }

    fn alive(store: &Store, items: u32) -> usize {
        (0..items).filter(|number| get(store, format!("key {number}").as_bytes(), NOW).is_some()).count()
    }

    #[test]
    fn a_page_goes_from_class_to_class_and_its_items_stay() {
        let store = filled(4000, true);
        assert_eq!((pages(&store, 9), pages(&store, 20)), (3, 0));
        // Room for the items of one page in the others.
        for number in (0..4000).step_by(2) {
            let key = format!("key {number}");
            store.lookup(key.as_bytes(), store.hash(key.as_bytes()), NOW, |found| {
                if let super::super::Lookup::Found(entry) = found {
                    entry.remove();
                }
            });
        }
        assert_eq!(store.reassign(9, 20), Reassign::Started);
        assert!(store.is_reassigning());
        assert_eq!(store.reassign(9, 20), Reassign::Running);
        store.maintain(NOW);
        assert!(!store.is_reassigning());
        assert_eq!((pages(&store, 9), pages(&store, 20)), (2, 1));
        assert_eq!(alive(&store, 4000), 2000, "every item has been kept, read or not");
        assert_eq!(store.totals().evictions, 0);
        assert!(store.totals().slabs_moved == 1 && store.totals().slab_reassign_rescues > 0);
        store.check(NOW).expect("sound");
    }

    #[test]
    fn pages_go_to_the_pool_and_come_from_it() {
        let store = filled(6000, true);
        let before = pages(&store, 9);
        for _ in 0..2 {
            assert_eq!(store.reassign(-1, 0), Reassign::Started);
            store.maintain(NOW);
        }
        assert_eq!((pages(&store, 9), store.totals().slab_global_page_pool), (before - 2, 2));
        assert_eq!(store.reassign(0, 5), Reassign::Started);
        store.maintain(NOW);
        assert_eq!((pages(&store, 5), store.totals().slab_global_page_pool), (1, 1));
        store.check(NOW).expect("sound");
    }

    #[test]
    fn what_cannot_be_moved_is_refused_in_memcacheds_order() {
        let store = filled(10, true);
        let cases = [
            (9, 9, Reassign::Same),
            (70, 70, Reassign::Same),
            (-1, 5, Reassign::BadClass),
            (-2, 5, Reassign::BadClass),
            (9, 40, Reassign::BadClass),
            (40, 9, Reassign::BadClass),
            (9, -1, Reassign::BadClass),
            (9, 5, Reassign::NoSpare),
            (0, 5, Reassign::NoSpare),
            (5, 0, Reassign::NoSpare),
        ];
        for (source, target, answer) in cases {
            assert_eq!(store.reassign(source, target), answer, "{source} to {target}");
        }
    }

    #[test]
    fn a_page_that_cannot_be_emptied_is_given_up_after_a_while() {
        // Without evictions, and with no free chunk to move an item to.
        let store = filled(1747 * 2, false);
        assert_eq!(store.reassign(9, 5), Reassign::Started);
        let steps = (0..100).take_while(|_| {
            store.maintain(NOW);
            store.is_reassigning()
        });
        assert_eq!(steps.count() as u32, TRIES_MAX - 1);
        assert_eq!((pages(&store, 9), pages(&store, 5), store.totals().slabs_moved), (2, 0, 0));
        assert_eq!(alive(&store, 1747 * 2), 1747 * 2);
        store.check(NOW).expect("sound");
    }
}
