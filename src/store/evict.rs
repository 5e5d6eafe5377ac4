//! Making room: evicting items of a class, and pages that change hands.
//!
//! Whom to evict is told by `rank.rs`; hits write two marks and a time, there is no list and no byte of order. A class that needs
//! memory and is clearly younger than another one takes a page from it at once: the one of a few whose items are worth least. What is
//! worth keeping of it moves to other chunks of its class, whose own oldest items make room for it. So a page that moves costs the oldest
//! items of the class that loses it, and not those that happen to lie there.

use super::index::Items;
use super::inner::Inner;
use super::large::{self, Large};
use super::memory::item::{Chunk, FETCHED, TEMPORARY};
use super::memory::{Kind, Ref, Stable, State};
use super::rank::{self, LOOKS, Sample};
use super::slabs::Class;
use crate::clock::{Now, TICKS_PER_SECOND};
use crate::logger::{Event, Logger, Streams};
use crate::sync::{MutexGuard, Ordering, lock};

/// A class takes a page from one that would, after that, still be older than itself by one in so many parts.
const OLDER_PART: u64 = 32;
/// Times a class looks at some of its items before it is said that none can go.
const SEEKS_MAX: u32 = 8;
/// Pages compared before one is emptied.
const PAGES_COMPARED: usize = 8;
/// Rounds of search for memory before a store is refused.
const ROUNDS_MAX: u32 = 64;

impl Inner {
    /// Pages kept free in advance once memory is full: 1 in 64.
    pub fn reserve_pages(&self) -> u32 {
        (self.pool.limit_pages(&self.arena) / 64).max(1)
    }

    /// A chunk of a class, as a draft, for an item of `bytes`: free, carved, from a page of the pool, or by making room.
    /// `counts` says whether it is one more item stored.
    pub fn take_chunk(&self, index: usize, bytes: usize, counts: bool, now: Now) -> Option<usize> {
        let class = lock(&self.slabs[index]);
        let (mut class, offset) = self.find_chunk(class, now)?;
        class.counts.requested += bytes as u64;
        class.counts.total += u64::from(counts);
        Some(offset)
    }

    fn find_chunk<'a>(&'a self, mut class: MutexGuard<'a, Class>, now: Now) -> Option<(MutexGuard<'a, Class>, usize)> {
        let index = class.index as usize;
        if let Some(offset) = class.take(&self.arena, &self.facts) {
            return Some((class, offset));
        }
        for round in 0..ROUNDS_MAX {
            let found = self.take_from_pool(&mut class, self.reserve_pages());
            let found = found.or_else(|| self.take_expired(&mut class, now));
            if let Some(offset) = found.or_else(|| self.take_deserved(&mut class, now)) {
                return Some((class, offset));
            }
            if !self.evict {
                break;
            }
            // Another class's page: because this one is poor or young, or because nothing here can go.
            drop(class);
            let stolen = self.steal_page(index, round, now);
            class = lock(&self.slabs[index]);
            if let Some(page) = stolen {
                self.adopt(&mut class, page);
            }
            let found = class.take(&self.arena, &self.facts);
            if let Some(offset) = found.or_else(|| self.evict_one(&mut class, now)) {
                return Some((class, offset));
            }
        }
        class.counts.outofmemory += 1;
        None
    }

    /// Memory is short: from the reserve for who has none or is younger than others, else an item of the class itself goes.
    fn take_deserved(&self, class: &mut Class, now: Now) -> Option<usize> {
        if class.queue.is_to_be_filled() {
            self.seek_victims(class, now);
        }
        if class.pages().is_empty() || class.queue.is_younger {
            let found = self.take_from_pool(class, 0);
            if found.is_some() || self.page_moves.load(Ordering::Relaxed) {
                return found;
            }
        }
        if self.evict { self.evict_one(class, now) } else { None }
    }

    pub fn adopt(&self, class: &mut Class, page: u32) {
        class.adopt(&self.arena, &self.facts, page);
        self.show_standing(class);
    }

    /// A page of the pool, unless fewer than `leave` others would be left.
    fn take_from_pool(&self, class: &mut Class, leave: u32) -> Option<usize> {
        let Some(page) = self.pool.take(&self.arena, leave) else {
            self.wants_pages.store(true, Ordering::Relaxed);
            return None;
        };
        self.adopt(class, page);
        class.take(&self.arena, &self.facts)
    }

    /// Before anything live goes: what has expired in this class, looked for at most once a second.
    fn take_expired(&self, class: &mut Class, now: Now) -> Option<usize> {
        if class.swept == now.seconds {
            return None;
        }
        class.swept = now.seconds;
        for page in class.pages().to_vec() {
            self.sweep_page(class, page, now);
        }
        class.take(&self.arena, &self.facts)
    }

    /// Whether some other class is clearly older than this one.
    fn is_younger(&self, index: usize) -> bool {
        let own = self.standings[index].age_with_more();
        self.others(Some(index)).max().is_some_and(|(age, ..)| age > own + own / OLDER_PART)
    }

    /// Age after the loss of a page, pages, and number of each class with pages other than `except` (the last number is the large store).
    fn others(&self, except: Option<usize>) -> impl Iterator<Item = (u64, u32, usize)> {
        let others = self.standings.iter().zip(0..).filter(move |&(_, other)| Some(other) != except);
        let rated = others.map(|(standing, other)| (standing.age_with_less(), standing.pages(), other));
        rated.filter(|&(_, pages, _)| pages > 0)
    }

    /// The class to take a page from: the oldest, of equals the one with the most pages. In later rounds the next ones in turn, since no
    /// page of the oldest could be had: clients may hold something in each. The last page of a class is taken last.
    fn victim(&self, except: Option<usize>, round: u32) -> Option<usize> {
        if round == 0 {
            return self.others(except).max().map(|(.., other)| other);
        }
        let losing_all = round >= ROUNDS_MAX / 2;
        let mut others: Vec<_> = self.others(except).filter(|&(_, pages, _)| pages > 1 || losing_all).collect();
        others.sort_unstable_by(|one, other| other.cmp(one));
        let place = round as usize % others.len().max(1);
        others.get(place).map(|&(.., other)| other)
    }

    /// Looks for the items of a class that should go next, and compares it with the others.
    pub fn seek_victims(&self, class: &mut Class, now: Now) {
        self.seek_victims_among(class, LOOKS, now);
    }

    fn seek_victims_among(&self, class: &mut Class, looks: u32, now: Now) {
        let mut sample = Sample::default();
        let all = class.sample(&self.arena, looks, |chunk, state| {
            if !self.facts.is_draining(self.arena.page_of(chunk.name())) {
                self.look(&mut sample, chunk, state, now);
            }
        });
        class.queue.fill(sample, all);
        self.show_standing(class);
        class.queue.is_younger = self.is_younger(class.index as usize);
    }

    /// Looks at an item that may go. A pinned one may not: where few are looked at, the same would be found again and again.
    fn look(&self, sample: &mut Sample, chunk: Chunk<'_>, state: State, now: Now) {
        if let Some(score) = self.score(chunk, state, now)
            && !self.is_pinned(chunk.name(), state)
        {
            sample.look(chunk.name(), state, score);
        }
    }

    /// An item's score, higher than any if its time is over; `None` for one that cannot be evicted.
    fn score(&self, chunk: Chunk<'_>, state: State, now: Now) -> Option<u32> {
        if self.is_over(chunk, state, now) {
            return Some(u32::MAX);
        }
        (!state.has(TEMPORARY)).then(|| rank::score(chunk, state, now))
    }

    /// Evicts one item of a class; its chunk is the caller's, as a draft.
    pub fn evict_one(&self, class: &mut Class, now: Now) -> Option<usize> {
        if class.pages().is_empty() {
            return None;
        }
        for _ in 0..SEEKS_MAX {
            while let Some((score, name)) = class.queue.next() {
                if let Some(offset) = self.evict_victim(class, score, name, now) {
                    return Some(offset);
                }
            }
            self.seek_victims(class, now);
        }
        None
    }

    /// Evicts an item that was found to be old, unless it has been used since, or cannot go.
    fn evict_victim(&self, class: &mut Class, score: u32, name: Ref, now: Now) -> Option<usize> {
        let chunk = Chunk::named(&self.arena, name);
        let state = chunk.state();
        if state.kind() != Kind::Item || self.facts.is_draining(self.arena.page_of(name)) {
            return None;
        }
        if self.is_pinned(name, state) {
            class.counts.reflocked += 1;
            return None;
        }
        let present = self.score(chunk, state, now)?;
        let gone = if present == u32::MAX {
            let taken = self.take_over(class, chunk.offset, now);
            class.counts.reclaimed += u64::from(taken);
            class.counts.expired_unfetched += u64::from(taken && !state.has(FETCHED));
            taken
        } else {
            present >= score && self.evict_this(class, chunk.offset, state, now)
        };
        gone.then_some(chunk.offset)
    }

    /// Whether the item in a chunk has expired or been flushed.
    pub fn is_over(&self, chunk: Chunk<'_>, state: State, now: Now) -> bool {
        Inner::expired(chunk.shape().0, now) || self.is_flushed(state)
    }

    /// Takes an item out of the index that has expired or been flushed, if that is still so: a client whose clock is a moment
    /// behind may just have touched it.
    pub fn take_over(&self, class: &mut Class, offset: usize, now: Now) -> bool {
        self.take_small(class, offset, |chunk, state| self.is_over(chunk, state, now))
    }

    /// Takes an item that is `wanted` out of the index and its bytes off the class's account.
    fn take_small(&self, class: &mut Class, offset: usize, wanted: impl FnOnce(Chunk<'_>, State) -> bool) -> bool {
        let chunk = Chunk::at(&self.arena, offset);
        let size = chunk.shape().1.total() as u64;
        let taken = self.take_item(chunk.name(), Stable::from_guard(&*class), wanted);
        if taken {
            class.counts.requested -= size;
        }
        taken
    }

    fn evict_this(&self, class: &mut Class, offset: usize, state: State, now: Now) -> bool {
        let chunk = Chunk::at(&self.arena, offset);
        let idle = now.ticks_since(chunk.time().load(Ordering::Relaxed)) / TICKS_PER_SECOND;
        let mortal = chunk.shape().0 != 0;
        if !self.take_small(class, offset, |_, _| true) {
            class.counts.reflocked += 1;
            return false;
        }
        if let Some(logger) = self.told(Streams::EVICTIONS) {
            let size = chunk.shape().1.value_len;
            let number = class.index + 1;
            self.tell_eviction(
                logger,
                chunk,
                Told { state, idle, class: number, size },
                Stable::from_guard(&*class),
                now,
            );
        }
        count_eviction(&mut class.counts, state, mortal, idle);
        class.queue.evicting = true;
        true
    }

    /// The item is out of the index, but its class is still locked, so its bytes stand.
    #[cold]
    fn tell_eviction(&self, logger: &Logger, chunk: Chunk<'_>, told: Told, stable: Stable<'_>, now: Now) {
        let key = self.key_of(chunk.name(), stable);
        let exptime = chunk.shape().0;
        let ttl = if exptime == 0 { -1 } else { i64::from(exptime) - i64::from(now.seconds) };
        let Told { state, idle, class, size } = told;
        logger.log(&Event::Eviction { key, fetched: state.has(FETCHED), ttl, idle, class, size });
    }

    /// Empties a page of another class and takes it; the pool's account of pages in use does not change. `round` counts the attempts.
    pub fn steal_page(&self, index: usize, round: u32, now: Now) -> Option<u32> {
        let (victim, emptied) = self.empty_page_of_oldest(Some(index), round, now)?;
        let number = |index: usize| if index == self.slabs.len() { self.classes.large } else { index as u32 + 1 };
        self.tell_move(number(victim), number(index), emptied.is_some());
        self.pages_moved.fetch_add(u64::from(emptied.is_some()), Ordering::Relaxed);
        emptied
    }

    /// Empties the page that is worth least of the class whose turn it is, or of the large store; tells whose, and the page if that
    /// succeeded. It is the caller's then, and not the pool's, where somebody else might take it first.
    pub fn empty_page_of_oldest(&self, thief: Option<usize>, round: u32, now: Now) -> Option<(usize, Option<u32>)> {
        for _ in &self.standings {
            let victim = self.victim(thief, round)?;
            let Some(class) = self.slabs.get(victim) else {
                let emptied = self.empty_large_page(&mut lock(&self.large), now);
                return Some((victim, if emptied { self.pool.take(&self.arena, 0) } else { None }));
            };
            let mut class = lock(class);
            if round > 0 || class.pages().len() > 1 || self.may_lose_all(&mut class, thief, now) {
                return Some((victim, self.empty_some_page(&mut class, Regard::Worth, round, now)));
            }
        }
        None
    }

    /// Whether the class is the oldest even though it would lose all that it has, its youngest item too; how young that was when some were
    /// looked at says little, so all are. And then it is lost only to one that is clearly younger.
    fn may_lose_all(&self, class: &mut Class, thief: Option<usize>, now: Now) -> bool {
        self.seek_victims_among(class, u32::MAX, now);
        self.victim(thief, 0) == Some(class.index as usize) && thief.is_none_or(|thief| self.is_younger(thief))
    }

    /// Empties the least worthy of a few pages of a class. It is the caller's then.
    pub fn empty_some_page(&self, class: &mut Class, regard: Regard, round: u32, now: Now) -> Option<u32> {
        let page = self.least_worthy_page(class, round, now)?;
        self.empty_page(class, page, regard, now)
    }

    fn least_worthy_page(&self, class: &mut Class, round: u32, now: Now) -> Option<u32> {
        let pages = class.pages();
        let start = (now.ticks as usize + round as usize * PAGES_COMPARED) % pages.len().max(1);
        let candidates = pages.iter().cycle().skip(start).take(PAGES_COMPARED.min(pages.len()));
        candidates.filter_map(|&page| Some((self.worth(class, page, now)?, page))).min().map(|(_, page)| page)
    }

    /// How many of a sample of a page's chunks hold items worth keeping; `None` when one of its chunks cannot be emptied.
    fn worth(&self, class: &Class, page: u32, now: Now) -> Option<u32> {
        let carved = self.arena.geometry(page).carved;
        let every = carved / 64 + 1;
        let mut worth = 0;
        for number in 0..carved {
            let chunk = Chunk::at(&self.arena, class.chunk_offset(&self.arena, page, number));
            let state = chunk.state();
            match state.kind() {
                Kind::Draft => return None,
                Kind::Item if self.is_pinned(chunk.name(), state) => return None,
                Kind::Item if state.has(TEMPORARY) && !self.is_over(chunk, state, now) => return None,
                Kind::Item if number % every == 0 => {
                    worth += u32::from(rank::score(chunk, state, now) < class.queue.threshold) + 1;
                }
                _ => {}
            }
        }
        Some(worth)
    }

    /// Empties a page: what is worth keeping moves to free chunks of the class, the rest goes. The page is the caller's then.
    fn empty_page(&self, class: &mut Class, page: u32, regard: Regard, now: Now) -> Option<u32> {
        class.set_draining(&self.facts, page, true);
        let carved = self.arena.geometry(page).carved;
        for number in 0..carved {
            let offset = class.chunk_offset(&self.arena, page, number);
            let chunk = Chunk::at(&self.arena, offset);
            let state = chunk.state();
            if state.kind() != Kind::Item {
                continue;
            }
            let over = self.is_over(chunk, state, now);
            let target = if over { None } else { self.room_for(class, chunk, state, regard, now) };
            let gone = if let Some(target) = target {
                self.rescue(class, offset, target)
            } else if over {
                let taken = self.take_over(class, offset, now);
                class.counts.reclaimed += u64::from(taken);
                taken
            } else if self.evict {
                self.evict_this(class, offset, state, now)
            } else {
                false
            };
            if gone && let Some(page) = class.give(&self.arena, &self.facts, offset) {
                self.show_standing(class);
                return Some(page);
            }
        }
        class.set_draining(&self.facts, page, false);
        None
    }

    /// A chunk elsewhere in its class for an item of a page that is emptied, if it is worth one.
    fn room_for(&self, class: &mut Class, chunk: Chunk<'_>, state: State, regard: Regard, now: Now) -> Option<usize> {
        let free = class.take(&self.arena, &self.facts);
        // Of a class with only this page, no other item can go.
        if free.is_some() || regard == Regard::Life || !self.evict || class.pages().len() == 1 {
            return free;
        }
        if rank::score(chunk, state, now) < class.queue.threshold { self.evict_one(class, now) } else { None }
    }

    /// Copies an item to another chunk of its class and leaves a draft in the old one. If the item cannot be moved the new
    /// chunk goes back.
    fn rescue(&self, class: &mut Class, from: usize, to: usize) -> bool {
        let source = Chunk::at(&self.arena, from);
        let target = Chunk::at(&self.arena, to);
        let stable = Stable::from_guard(&*class);
        let hash = self.hash_of(source.name(), stable);
        let locked = self.index.lock(hash);
        let found = locked.find(|other, _| other == source.name());
        let state = source.state();
        let (exptime, layout) = source.shape();
        target.set_shape(exptime, &layout);
        if let Some((slot, _)) = found
            && !self.is_pinned(source.name(), state)
        {
            self.arena.copy_to_private(from + 20, to + 20, layout.total() - 20, locked.stable());
            target.time().store(source.time().load(Ordering::Relaxed), Ordering::Relaxed);
            self.expiry.note(to, exptime);
            // Both carry one sequence number until the old one is unpublished: a scan takes either.
            target.set_state(state);
            locked.replace(slot, source.name(), target.name());
            source.set_state(State::of(Kind::Draft));
            self.rescues.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        drop(locked);
        class.counts.requested += layout.total() as u64;
        self.free_small(class, target.name());
        false
    }

    /// A piece for a large item.
    pub fn take_piece(&self, order: u32, kind: Kind, now: Now) -> Option<usize> {
        for round in 0..ROUNDS_MAX {
            let mut large = lock(&self.large);
            let found = self.take_deserved_piece(&mut large, order, kind, now);
            if found.is_some() {
                return found;
            }
            if !self.evict {
                break;
            }
            drop(large);
            let stolen = self.steal_page(self.slabs.len(), round, now);
            large = lock(&self.large);
            if let Some(page) = stolen {
                self.adopt_large(&mut large, page);
            } else {
                self.evict_large(&mut large, now);
            }
            // Before anybody else takes it: a round that had to be repeated for that would look as if nothing could be had.
            let found = large.take(&self.arena, order, kind);
            if found.is_some() {
                return found;
            }
        }
        lock(&self.large).counts.outofmemory += 1;
        None
    }

    /// A piece that is free, of a page of the pool, or of large items that are older than what others have.
    fn take_deserved_piece(
        &self,
        large: &mut MutexGuard<'_, Large>,
        order: u32,
        kind: Kind,
        now: Now,
    ) -> Option<usize> {
        let index = self.slabs.len();
        for _ in 0..ROUNDS_MAX {
            let found = large.take(&self.arena, order, kind);
            if found.is_some() {
                return found;
            }
            let deserves = large.pages() == 0 || self.is_younger(index);
            let leave = if deserves { 0 } else { self.reserve_pages() };
            if let Some(page) = self.pool.take(&self.arena, leave) {
                self.adopt_large(large, page);
                continue;
            }
            self.wants_pages.store(true, Ordering::Relaxed);
            if deserves || !self.evict || !self.evict_large(large, now) {
                return None;
            }
        }
        None
    }

    pub fn adopt_large(&self, large: &mut Large, page: u32) {
        large.adopt(&self.arena, &self.facts, page);
        self.show_large_standing(large);
    }

    /// Looks for the large items that should go next.
    pub fn seek_large_victims(&self, large: &mut Large, now: Now) {
        let mut sample = Sample::default();
        large.sample(&self.arena, LOOKS, |chunk, state| self.look(&mut sample, chunk, state, now));
        large.queue.fill(sample, false);
        self.show_large_standing(large);
    }

    /// Evicts one large item, by the same rule as in a class.
    pub fn evict_large(&self, large: &mut MutexGuard<'_, Large>, now: Now) -> bool {
        for _ in 0..SEEKS_MAX {
            while let Some((score, head)) = large.queue.next() {
                let chunk = Chunk::named(&self.arena, head);
                let state = chunk.state();
                if large.is_linked(&self.arena, head)
                    && self.score(chunk, state, now).is_some_and(|present| present >= score)
                    && self.drop_large(large, head, now)
                {
                    return true;
                }
            }
            self.seek_large_victims(large, now);
        }
        false
    }

    /// Takes a large item out and gives its memory back, counting it as evicted or reclaimed.
    pub fn drop_large(&self, large: &mut MutexGuard<'_, Large>, head: Ref, now: Now) -> bool {
        let Some((state, over)) = self.take_large_item(large, head, |_| true, now) else {
            large.counts.reflocked += 1;
            return false;
        };
        if over {
            large.counts.reclaimed += 1;
            large.counts.expired_unfetched += u64::from(!state.has(FETCHED));
        } else {
            let chunk = Chunk::named(&self.arena, head);
            let idle = now.ticks_since(chunk.time().load(Ordering::Relaxed)) / TICKS_PER_SECOND;
            if let Some(logger) = self.told(Streams::EVICTIONS) {
                let size = chunk.large_len() as usize;
                let told = Told { state, idle, class: self.classes.large, size };
                self.tell_eviction(logger, chunk, told, Stable::from_guard(&**large), now);
            }
            count_eviction(&mut large.counts, state, chunk.shape().0 != 0, idle);
            large.queue.evicting = true;
        }
        self.free_large(large, head);
        true
    }

    /// Takes a large item that is over, and stays so, out and gives its memory back, counting it as found by the sweep.
    pub fn drop_expired_large(&self, large: &mut MutexGuard<'_, Large>, head: Ref, now: Now) -> bool {
        let Some((state, _)) = self.take_large_item(large, head, |over| over, now) else { return false };
        large.counts.crawler_reclaimed += 1;
        large.counts.expired_unfetched += u64::from(!state.has(FETCHED));
        self.free_large(large, head);
        true
    }

    /// Takes a large item out of the index if `wanted`, told whether it is over, says so; its state, and whether it was over.
    fn take_large_item(
        &self,
        large: &MutexGuard<'_, Large>,
        head: Ref,
        wanted: impl FnOnce(bool) -> bool,
        now: Now,
    ) -> Option<(State, bool)> {
        if Chunk::named(&self.arena, head).state().kind() != Kind::Item {
            return None;
        }
        let mut found = None;
        let taken = self.take_item(head, Stable::from_guard(&**large), |chunk, state| {
            let over = self.is_over(chunk, state, now);
            found = Some((state, over));
            wanted(over)
        });
        found.filter(|_| taken)
    }

    /// Drops the items that have pieces in the emptiest page of the large store, until some page is free.
    pub fn empty_large_page(&self, large: &mut MutexGuard<'_, Large>, now: Now) -> bool {
        let before = large.pages();
        for head in self.heads_in_emptiest(large) {
            self.drop_large(large, head, now);
            if large.pages() < before {
                return true;
            }
        }
        while large.pages() >= before {
            if !self.evict_large(large, now) {
                return false;
            }
        }
        true
    }

    /// Owners of the pieces in the emptiest page: found by walking all items' chains would be slow, so by the ring's heads that lie there.
    fn heads_in_emptiest(&self, large: &Large) -> Vec<Ref> {
        let Some(page) = large.emptiest() else { return Vec::new() };
        let mut heads = self.arena.heads(page);
        let mut names = Vec::new();
        while heads != 0 {
            let block = heads.trailing_zeros() as usize;
            heads &= heads - 1;
            names.push(self.arena.name(self.arena.page_offset(page) + block * large::block_size(&self.arena)));
        }
        names
    }
}

/// What is kept of a page that is emptied, as far as there are chunks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regard {
    /// What is younger than what the class evicts anyway.
    Worth,
    /// All that is alive.
    Life,
}

/// What is told of an evicted item beside what its bytes say.
struct Told {
    state: State,
    idle: u32,
    class: u32,
    size: usize,
}

fn count_eviction(counts: &mut super::slabs::Counts, state: State, mortal: bool, idle_seconds: u32) {
    counts.evicted += 1;
    counts.evicted_nonzero += u64::from(mortal);
    counts.evicted_time = idle_seconds;
    counts.evicted_unfetched += u64::from(!state.has(FETCHED));
    counts.evicted_active += u64::from(state.has(FETCHED) && idle_seconds < 60);
}
