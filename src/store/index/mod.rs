//! The index: from a key's hash to the item's [`Ref`], in 64-byte buckets.
//!
//! A bucket is eight words: three of tags (ten 16-bit lanes, one that counts its entries in alternates, one that counts those in
//! the stash), five of handles (ten 32-bit references). [`GROUPS`] buckets make a *plane*, 8 to 16 planes a *segment*. Hash bits choose
//! segment, group and tag; the plane is `tag * planes / 2^15`, so that a segment can be given one more plane by
//! looking at the tags alone. When all segments have 16 planes each is split into two of 8 (linear hashing);
//! only that step needs the keys. The index grows by one step of one segment at a time, so it is never there twice and
//! nobody waits for more than one step.
//!
//! A full bucket puts entries into its *alternate*: another group of the same plane, within the same octet of groups. If that
//! is full too, one entry is moved to its own alternate; if that fails the entry goes to the stash, a short
//! list. Simulated at 85 % fill: 8 % of the entries live in alternates, 2 in 100,000 in the stash.
//!
//! An octet of groups of a segment is guarded by one spin lock, the *stripe*: home, alternate and all whom they can displace are
//! behind the same lock. After taking it one looks again at the growth state: if it put the key elsewhere meanwhile, one starts over.

mod carry;
mod growth;
#[cfg(all(test, loom))]
mod loom_tests;

use crate::store::memory::lanes::lanes_equal;
use crate::store::memory::{Ref, Stable, Words32, Words64};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, lock, spin_hint};
pub use growth::Items;
use growth::{Growth, Moved};

/// A key's keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(pub u64);

/// Buckets of a plane.
#[cfg(not(loom))]
const GROUPS: usize = 32;
#[cfg(loom)]
const GROUPS: usize = 8;
/// Groups behind one stripe.
const OCTET: usize = 8;
const STRIPES: usize = GROUPS / OCTET;
/// Planes of a segment: the least, and the most at which it is split.
#[cfg(not(loom))]
const PLANES_MIN: u32 = 8;
#[cfg(loom)]
const PLANES_MIN: u32 = 1;
const PLANES_MAX: u32 = 2 * PLANES_MIN;
/// Entries of a bucket.
const SLOTS: usize = 10;
const BUCKET_WORDS: usize = 8;
/// Words of lock memory per segment: a cache line, one lock and one count for each stripe.
const LOCK_WORDS: usize = 16;
/// Segments at the start: 16 of 8 planes, 40,960 slots in 256 KiB of which only what is used is taken.
#[cfg(not(loom))]
const FIRST_ROUND: u32 = 4;
#[cfg(loom)]
const FIRST_ROUND: u32 = 0;
/// Bytes of buckets behind which huge pages are asked for: below, one page of 2 MiB of which little is used would cost more than
/// the addresses that need no walk give. The index takes its memory in order, so never more than one is begun.
const HUGE_FROM: usize = 4 << 20;
/// Where the third word of tags keeps the count of a bucket's entries in alternates, and of those in the stash.
const AWAY_SHIFT: u32 = 32;
const STASHED_SHIFT: u32 = 48;
/// Stripe counts are added up in steps of this many entries.
const COUNT_STEP: u32 = 32;

/// See the module.
#[derive(Debug)]
pub struct Index {
    /// Growth state, see [`Growth`].
    growth: AtomicU64,
    buckets: Words64,
    locks: Words32,
    /// Entries, counted in steps of [`COUNT_STEP`] per stripe: what growth goes by.
    entries: AtomicU64,
    segments_max: usize,
    stash: Mutex<Vec<(KeyHash, Ref)>>,
    stashed: AtomicUsize,
    /// Held by who grows; scratch space of a step.
    grower: Mutex<Vec<Moved>>,
}

/// Where a key belongs. Numbers of 32 bits, since a batch of them should be small, and there are fewer buckets than names of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    stripe: u32,
    home: u32,
    alternate: u32,
    /// 15 bits, not 0, shifted left by one; the lowest bit says "lives in its alternate".
    tag: u16,
}

/// Where a found entry is: the bucket in the upper half, the slot in the lowest bits, and two marks. One word, since it is moved about in
/// every lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u64);

impl Slot {
    /// Marks an entry that is not in its key's home.
    const AWAY: u64 = 1 << 8;
    /// In the stash.
    const STASH: Slot = Slot(1 << 9);

    #[inline(always)]
    const fn home(bucket: u32, slot: usize) -> Slot {
        Slot((bucket as u64) << 32 | slot as u64)
    }

    #[inline(always)]
    const fn alternate(bucket: u32, slot: usize) -> Slot {
        Slot(Slot::home(bucket, slot).0 | Slot::AWAY)
    }

    const fn is_away(self) -> bool {
        self.0 & Slot::AWAY != 0
    }

    const fn bucket(self) -> usize {
        (self.0 >> 32) as usize
    }

    const fn number(self) -> usize {
        (self.0 & 0xff) as usize
    }
}

#[inline(always)]
fn tag_of(hash: KeyHash) -> u16 {
    let tag = (hash.0 >> 48) as u16 & 0xfffe;
    if tag == 0 { 2 } else { tag }
}

#[inline(always)]
fn group_of(hash: KeyHash) -> usize {
    usize::try_from(hash.0 >> 40 & (GROUPS as u64 - 1)).unwrap_or(0)
}

/// The group of the alternate: another one of the same octet.
#[inline(always)]
fn alternate_group(group: usize, tag: u16) -> usize {
    // Eight bits that have not chosen the plane.
    group ^ (1 + ((usize::from(tag >> 1 & 0xff) * (OCTET - 1)) >> 8))
}

#[inline(always)]
fn plane_of(tag: u16, planes: u32) -> u32 {
    (u32::from(tag >> 1) * planes) >> 15
}

/// Waits until a stripe is free and takes it.
#[cold]
fn wait_for(word: &AtomicU32) {
    let mut turns = 0;
    while word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        while word.load(Ordering::Relaxed) != 0 {
            spin_hint(turns);
            turns = turns.wrapping_add(1);
        }
    }
}

/// A key's hash and where the key belonged when it was looked for: found once, used to prefetch, to guess and to lock.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    /// The hash.
    pub hash: KeyHash,
    place: Place,
    /// The growth state (packed) at which that was so.
    growth: u64,
}

impl Place {
    #[inline(always)]
    const fn home(&self) -> usize {
        self.home as usize
    }
    #[inline(always)]
    const fn alternate(&self) -> usize {
        self.alternate as usize
    }
    #[inline(always)]
    const fn stripe(&self) -> usize {
        self.stripe as usize
    }
}

/// A locked stripe, and where in it the key belongs. Unlocked on drop.
pub struct Locked<'i> {
    index: &'i Index,
    place: Place,
    hash: KeyHash,
}

impl Index {
    /// An empty index for at most `items_max` items.
    ///
    /// # Errors
    /// When the address range cannot be had.
    pub fn new(items_max: u64) -> Result<Index, String> {
        let slots_per_segment = (PLANES_MIN as usize * GROUPS * SLOTS) as u64;
        let segments_max =
            usize::try_from((items_max * 3 / 2 / slots_per_segment).next_power_of_two().max(2 << FIRST_ROUND))
                .map_err(|_| "too many items for the index")?;
        let said = |error| format!("cannot reserve the index: {error}");
        let planes_max = segments_max * PLANES_MIN as usize;
        let buckets = Words64::new(planes_max * GROUPS * BUCKET_WORDS).map_err(said)?;
        buckets.prefer_huge_pages(HUGE_FROM);
        Ok(Index {
            growth: AtomicU64::new(Growth { round: FIRST_ROUND, planes: PLANES_MIN, next: 0 }.pack()),
            buckets,
            locks: Words32::new(segments_max * LOCK_WORDS).map_err(said)?,
            entries: AtomicU64::new(0),
            segments_max,
            stash: Mutex::new(Vec::new()),
            stashed: AtomicUsize::new(0),
            grower: Mutex::new(Vec::new()),
        })
    }

    fn growth(&self) -> Growth {
        Growth::unpack(self.growth.load(Ordering::Acquire))
    }

    /// Where a key belongs at a state of growth (packed): what [`Growth::segment_of`] and [`Growth::plane`] say, in the few instructions
    /// that every lookup needs.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the segment is chosen by the lower half of the hash")]
    fn place(growth: u64, hash: KeyHash) -> Place {
        let segments = 1usize << (growth & 0xff);
        let (mut planes, next) = ((growth >> 8 & 0xff) as u32, (growth >> 16) as usize);
        let low = hash.0 as u32 as usize;
        let mut segment = low & (segments - 1);
        if segment < next {
            if planes < PLANES_MAX {
                planes += 1;
            } else {
                segment = low & (2 * segments - 1);
                planes = PLANES_MIN;
            }
        }
        let (group, tag) = ((hash.0 >> 40) as usize & (GROUPS - 1), tag_of(hash));
        let plane = plane_of(tag, planes) as usize;
        let first = growth::first_bucket(segments, segment, plane);
        Place {
            stripe: (segment * LOCK_WORDS + group / OCTET * (LOCK_WORDS / STRIPES)) as u32,
            home: (first + group) as u32,
            alternate: (first + alternate_group(group, tag)) as u32,
            tag,
        }
    }

    /// Where a key belongs now.
    #[inline(always)]
    pub fn spot(&self, hash: KeyHash) -> Spot {
        let growth = self.growth.load(Ordering::Acquire);
        Spot { hash, place: Index::place(growth, hash), growth }
    }

    /// Locks the stripe of a key.
    #[inline(always)]
    pub fn lock(&self, hash: KeyHash) -> Locked<'_> {
        self.lock_at(&self.spot(hash))
    }

    /// The same for a key whose spot is known, and may be out of date.
    #[inline(always)]
    pub fn lock_at(&self, spot: &Spot) -> Locked<'_> {
        let &Spot { hash, mut place, mut growth } = spot;
        loop {
            self.lock_stripe(place.stripe());
            let locked = Locked { index: self, place, hash };
            let meanwhile = self.growth.load(Ordering::Acquire);
            if meanwhile == growth || Index::place(meanwhile, hash) == place {
                return locked;
            }
            drop(locked);
            growth = meanwhile;
            place = Index::place(growth, hash);
        }
    }

    #[inline]
    fn lock_stripe(&self, stripe: usize) {
        let word = self.locks.at(stripe);
        if word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            wait_for(word);
        }
    }

    fn unlock_stripe(&self, stripe: usize) {
        self.locks.at(stripe).store(0, Ordering::Release);
    }

    /// Starts loading a key's bucket.
    #[inline]
    pub fn prefetch(&self, spot: &Spot) {
        self.buckets.prefetch(spot.place.home() * BUCKET_WORDS);
    }

    /// A guess, without the lock, at what [`Locked::find`] would find: for prefetching only.
    #[inline]
    pub fn peek(&self, spot: &Spot) -> Option<Ref> {
        let place = &spot.place;
        let slot = self.matches(place.home(), place.tag).next();
        slot.map(|slot| self.handle(place.home(), slot))
    }

    /// Starts loading a key's alternate bucket if entries of its home live elsewhere; says whether.
    #[inline]
    pub fn prefetch_alternate(&self, spot: &Spot) -> bool {
        let away = self.elsewhere(spot.place.home()) != 0;
        if away {
            self.buckets.prefetch(spot.place.alternate() * BUCKET_WORDS);
        }
        away
    }

    /// As [`Index::peek`], in the alternate.
    #[inline]
    pub fn peek_away(&self, spot: &Spot) -> Option<Ref> {
        let place = &spot.place;
        let slot = self.matches(place.alternate(), place.tag | 1).next();
        slot.map(|slot| self.handle(place.alternate(), slot))
    }

    #[inline(always)]
    fn word(&self, bucket: usize, word: usize) -> &AtomicU64 {
        &self.buckets.line(bucket)[word]
    }

    /// Slots of a bucket whose lane is `lane`, ascending.
    #[inline(always)]
    fn matches(&self, bucket: usize, lane: u16) -> SlotSet {
        let line = self.buckets.line(bucket);
        let words = [0, 1, 2].map(|word: usize| line[word].load(Ordering::Relaxed));
        SlotSet(lanes_equal(words, lane) & ((1 << SLOTS) - 1))
    }

    #[inline]
    fn handle(&self, bucket: usize, slot: usize) -> Ref {
        let word = self.word(bucket, 3 + slot / 2).load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "one half of a word")]
        Ref((word >> (32 * (slot % 2))) as u32)
    }

    /// Writes one entry; the stripe is locked.
    fn set(&self, bucket: usize, slot: usize, lane: u16, name: Ref) {
        let tags = self.word(bucket, slot / 4);
        let shift = 16 * (slot % 4);
        tags.store(tags.load(Ordering::Relaxed) & !(0xffff << shift) | u64::from(lane) << shift, Ordering::Relaxed);
        let handles = self.word(bucket, 3 + slot / 2);
        let shift = 32 * (slot % 2);
        let cleared = handles.load(Ordering::Relaxed) & !(0xffff_ffff << shift);
        handles.store(cleared | u64::from(name.0) << shift, Ordering::Relaxed);
    }

    /// Not 0 when entries whose home is this bucket live elsewhere: both counts at once.
    #[inline]
    fn elsewhere(&self, bucket: usize) -> u64 {
        self.word(bucket, 2).load(Ordering::Relaxed) >> AWAY_SHIFT
    }

    /// How many entries whose home is this bucket are in the stash.
    fn in_stash(&self, bucket: usize) -> u64 {
        self.word(bucket, 2).load(Ordering::Relaxed) >> STASHED_SHIFT
    }

    fn add_away(&self, bucket: usize, change: i64) {
        self.add_count(bucket, AWAY_SHIFT, change);
    }

    fn add_stashed(&self, bucket: usize, change: i64) {
        self.add_count(bucket, STASHED_SHIFT, change);
    }

    /// Changes one of the two 16-bit counts of a bucket.
    fn add_count(&self, bucket: usize, shift: u32, change: i64) {
        let word = self.word(bucket, 2);
        let counts = word.load(Ordering::Relaxed);
        let count = (counts >> shift & 0xffff).wrapping_add_signed(change);
        debug_assert!(count < 1 << 15, "entries elsewhere never go below none");
        word.store(counts & !(0xffff << shift) | count << shift, Ordering::Relaxed);
    }

    /// Puts an entry into the home bucket, the alternate, or by moving one other entry; false when all of that is full.
    fn put(&self, place: &Place, name: Ref) -> bool {
        if let Some(slot) = self.matches(place.home(), 0).next() {
            self.set(place.home(), slot, place.tag, name);
            return true;
        }
        if let Some(slot) = self.matches(place.alternate(), 0).next() {
            self.set(place.alternate(), slot, place.tag | 1, name);
            self.add_away(place.home(), 1);
            return true;
        }
        self.displace(place, name)
    }

    /// Moves one entry of the full home bucket to its own other bucket and takes its slot.
    fn displace(&self, place: &Place, name: Ref) -> bool {
        let (plane, group) = (place.home() - place.home() % GROUPS, place.home() % GROUPS);
        for slot in 0..SLOTS {
            let lane = (self.word(place.home(), slot / 4).load(Ordering::Relaxed) >> (16 * (slot % 4)) & 0xffff) as u16;
            let other = plane + alternate_group(group, lane);
            let Some(free) = self.matches(other, 0).next() else { continue };
            self.set(other, free, lane ^ 1, self.handle(place.home(), slot));
            if lane & 1 == 0 {
                self.add_away(place.home(), 1);
            } else {
                self.add_away(other, -1);
            }
            self.set(place.home(), slot, place.tag, name);
            return true;
        }
        false
    }

    /// Entries in the index. Exact while nobody changes it.
    pub fn entry_count(&self) -> u64 {
        let growth = self.growth();
        let segments = if growth.planes == PLANES_MAX { growth.segments() + growth.next } else { growth.segments() };
        let stripes = (0..segments * STRIPES).map(|stripe| self.stripe_count(stripe));
        stripes.map(|count| u64::from(count.load(Ordering::Relaxed))).sum()
    }

    fn stripe_count(&self, stripe: usize) -> &AtomicU32 {
        self.locks.at(stripe * (LOCK_WORDS / STRIPES) + 1)
    }

    /// Bytes of memory that the index has touched, locks included.
    pub fn bytes(&self) -> u64 {
        let planes = self.growth().planes_total();
        planes * (GROUPS * BUCKET_WORDS * 8) as u64 + self.growth().segments() as u64 * LOCK_WORDS as u64 * 4
    }

    /// log2 of the number of buckets, rounded up: memcached's `hash_power_level`.
    pub fn power_level(&self) -> u64 {
        u64::from((self.growth().planes_total() * GROUPS as u64).next_power_of_two().trailing_zeros())
    }

    /// Counts a new entry of a locked stripe; returns how many it has.
    fn count_more(&self, count: &AtomicU32) -> u32 {
        let entries = count.load(Ordering::Relaxed) + 1;
        count.store(entries, Ordering::Relaxed);
        if entries.is_multiple_of(COUNT_STEP) {
            self.entries.fetch_add(u64::from(COUNT_STEP), Ordering::Relaxed);
        }
        entries
    }

    /// Counts a removed entry of a locked stripe.
    fn count_less(&self, count: &AtomicU32) {
        let entries = count.load(Ordering::Relaxed);
        debug_assert!(entries > 0, "a removed entry was counted");
        if entries.is_multiple_of(COUNT_STEP) {
            self.entries.fetch_sub(u64::from(COUNT_STEP), Ordering::Relaxed);
        }
        count.store(entries - 1, Ordering::Relaxed);
    }

    fn stash_entry(&self, place: &Place, hash: KeyHash, name: Ref) {
        lock(&self.stash).push((hash, name));
        self.stashed.fetch_add(1, Ordering::Release);
        self.add_stashed(place.home(), 1);
    }

    /// Calls `visit` with every entry's name; for checks and scans, with nobody changing the index.
    pub fn for_each(&self, mut visit: impl FnMut(Ref)) {
        let growth = self.growth();
        let segments = if growth.planes == PLANES_MAX { growth.segments() + growth.next } else { growth.segments() };
        for segment in 0..segments {
            let planes = growth.segment_of(KeyHash(segment as u64)).1;
            for plane in 0..planes {
                let first = growth.plane(segment, plane);
                for bucket in first..first + GROUPS {
                    for slot in 0..SLOTS {
                        let tags = self.word(bucket, slot / 4).load(Ordering::Relaxed);
                        if tags >> (16 * (slot % 4)) & 0xffff != 0 {
                            visit(self.handle(bucket, slot));
                        }
                    }
                }
            }
        }
        for &(_, name) in lock(&self.stash).iter() {
            visit(name);
        }
    }
}

impl Locked<'_> {
    /// The entry that `is_it` accepts among those whose tag fits.
    #[inline(always)]
    pub fn find(&self, mut is_it: impl FnMut(Ref, Stable<'_>) -> bool) -> Option<(Slot, Ref)> {
        let (index, place) = (self.index, &self.place);
        let stable = Stable::from_guard(self);
        for slot in index.matches(place.home(), place.tag) {
            let name = index.handle(place.home(), slot);
            if is_it(name, stable) {
                return Some((Slot::home(place.home, slot), name));
            }
        }
        if index.elsewhere(place.home()) == 0 { None } else { self.find_away(is_it) }
    }

    /// Entries of the bucket that live elsewhere.
    fn find_away(&self, mut is_it: impl FnMut(Ref, Stable<'_>) -> bool) -> Option<(Slot, Ref)> {
        let (index, place) = (self.index, &self.place);
        let stable = Stable::from_guard(self);
        for slot in index.matches(place.alternate(), place.tag | 1) {
            let name = index.handle(place.alternate(), slot);
            if is_it(name, stable) {
                return Some((Slot::alternate(place.alternate, slot), name));
            }
        }
        if index.in_stash(place.home()) == 0 { None } else { self.find_stashed(is_it) }
    }

    #[cold]
    fn find_stashed(&self, mut is_it: impl FnMut(Ref, Stable<'_>) -> bool) -> Option<(Slot, Ref)> {
        let stable = Stable::from_guard(self);
        let stash = lock(&self.index.stash);
        let hit = stash.iter().find(|&&(hash, name)| hash == self.hash && is_it(name, stable));
        hit.map(|&(_, name)| (Slot::STASH, name))
    }

    /// The witness that published items of this stripe stay.
    pub fn stable(&self) -> Stable<'_> {
        Stable::from_guard(self)
    }

    /// Adds an entry for the key, which has none. Returns whether the index wants to grow.
    pub fn insert(&self, name: Ref) -> bool {
        if !self.index.put(&self.place, name) {
            self.index.stash_entry(&self.place, self.hash, name);
        }
        let entries = self.index.count_more(self.index.locks.at(self.place.stripe() + 1));
        entries.is_multiple_of(8) && self.index.wants_to_grow()
    }

    /// Puts another name into a found slot.
    pub fn replace(&self, slot: Slot, old: Ref, new: Ref) {
        if slot == Slot::STASH {
            let mut stash = lock(&self.index.stash);
            if let Some(entry) = stash.iter_mut().find(|(_, name)| *name == old) {
                entry.1 = new;
            }
            return;
        }
        self.index.set(slot.bucket(), slot.number(), self.place.tag | u16::from(slot.is_away()), new);
    }

    /// Removes a found entry.
    pub fn remove(&self, slot: Slot, name: Ref) {
        if slot == Slot::STASH {
            lock(&self.index.stash).retain(|&(_, other)| other != name);
            self.index.stashed.fetch_sub(1, Ordering::Release);
            self.index.add_stashed(self.place.home(), -1);
        } else {
            self.index.set(slot.bucket(), slot.number(), 0, Ref(0));
            if slot.is_away() {
                self.index.add_away(self.place.home(), -1);
            }
        }
        self.index.count_less(self.index.locks.at(self.place.stripe() + 1));
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.index.unlock_stripe(self.place.stripe());
    }
}

/// Slots of a bucket, as bits.
#[derive(Clone, Copy)]
struct SlotSet(u32);

impl Iterator for SlotSet {
    type Item = usize;
    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}
