//! `incr`, `decr`, `ma` (sections 3.6 and 5.5).
//!
//! memcached writes the result over the old digits when it is not longer, padding with spaces. Clients see that padding, so it
//! is reproduced. Where all that changes lies in one word it is done in place here too; elsewhere a crash could tear
//! the number, and it goes into a new item.

use super::expiry::{absolute, seconds_left};
use super::rewrite::{Seen, commit_over};
use super::watch::Told;
use super::{Context, count_absence, tell_absent, tell_found};
use crate::clock::Now;
use crate::logger::{StoreCommand, StoreStatus, Streams};
use crate::protocol::number;
use crate::protocol::reply::{Error, Hit, Reply, Written};
use crate::protocol::request::{Arith, TypedExptime};
use crate::stats::{ClassCounter, Counter};
use crate::store::{Decision, Draft, Entry, Exptime, KeyHash, Lookup, Marks, Refused, Shape, Spot};

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// What the lookup decides.
enum Outcome {
    Missing,
    Answer(Reply<'static>),
    Replace { seen: Seen, number: u64, idle: u32 },
}

/// `incr` and `decr` as nearly all of them are: the item is there and the new number takes the place of the old one. The same
/// as [`arith`] in half of its instructions. `reply` is given the number's digits, under the item's lock. False when it is
/// otherwise: nothing was done then, and [`arith`] is to be asked.
#[inline(always)]
pub fn plain(
    cx: &Context<'_>,
    key: &[u8],
    decrement: bool,
    delta: u64,
    spot: &Spot,
    reply: impl FnOnce(&[u8]),
) -> bool {
    if cx.watches(Streams::FETCHERS) {
        return false;
    }
    let found = cx.store.read_at(key, spot, cx.now, |entry| {
        let Some(old) = number_in(entry).filter(|_| !is_chunked(cx, entry)) else { return false };
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(applied(decrement, delta, old)).as_bytes();
        if put(entry, digits, cx.now) {
            count_hit(cx, decrement, entry.class());
            reply(digits);
            return true;
        }
        false
    });
    found.unwrap_or_else(|absence| {
        // An item whose time was over is gone now; nobody else will know that there was one.
        count_absence(cx, key, absence);
        false
    })
}

/// `incr`, `decr`, `ma`, whatever they ask.
pub fn arith(cx: &Context<'_>, arith: &Arith<'_>, spot: &Spot) -> Reply<'static> {
    let hash = spot.hash;
    loop {
        let outcome = cx.store.read_at(arith.key.bytes(), spot, cx.now, |entry| {
            tell_found(cx, entry);
            compute(cx, arith, entry)
        });
        let outcome = outcome.unwrap_or_else(|absence| {
            count_absence(cx, arith.key.bytes(), absence);
            Outcome::Missing
        });
        // `None`: somebody was quicker, look again.
        let answer = match outcome {
            Outcome::Answer(reply) => Some(reply),
            Outcome::Missing => match arith.vivify {
                Some(typed) => create(cx, arith, hash, typed),
                None => Some(missing(cx, arith)),
            },
            Outcome::Replace { seen, number, idle } => replace(cx, arith, hash, &seen, number, idle),
        };
        if let Some(reply) = answer {
            return reply;
        }
    }
}

fn missing(cx: &Context<'_>, arith: &Arith<'_>) -> Reply<'static> {
    cx.stats.count(if arith.decrement { Counter::DecrMisses } else { Counter::IncrMisses });
    Reply::NotFound(Written::default())
}

fn count_hit(cx: &Context<'_>, decrement: bool, class: u32) {
    cx.stats.count_class(if decrement { ClassCounter::DecrHits } else { ClassCounter::IncrHits }, class);
}

/// Whether memcached keeps the item in several chunks. It does not look into those, whatever that is here.
fn is_chunked(cx: &Context<'_>, entry: &Entry<'_>) -> bool {
    entry.account_size() > cx.server.settings.slab_chunk_max_bytes
}

#[inline]
fn number_in(entry: &Entry<'_>) -> Option<u64> {
    number::parse_stored(entry.value_start())
}

fn applied(decrement: bool, delta: u64, old: u64) -> u64 {
    if decrement { old.saturating_sub(delta) } else { old.wrapping_add(delta) }
}

/// The order of checks is memcached's: a value that cannot be a number first, then the CAS.
fn compute(cx: &Context<'_>, arith: &Arith<'_>, entry: &mut Entry<'_>) -> Outcome {
    if entry.value_len() == 0 || is_chunked(cx, entry) {
        return Outcome::Answer(Reply::Error(Error::NOT_A_NUMBER));
    }
    if arith.compare.is_some_and(|cas| cas != entry.cas()) {
        return Outcome::Answer(Reply::Exists(Written::default()));
    }
    let Some(old) = number_in(entry) else {
        return Outcome::Answer(Reply::Error(Error::NOT_A_NUMBER));
    };
    let number = applied(arith.decrement, arith.delta, old);
    let (seen, idle) = (Seen::of(entry), entry.idle_seconds(cx.now));
    let may_stay = arith.exptime.is_none() && arith.new_cas.is_none();
    if may_stay && put(entry, itoa::Buffer::new().format(number).as_bytes(), cx.now) {
        count_hit(cx, arith.decrement, seen.class);
        return Outcome::Answer(Reply::Hit(hit(cx, &seen, idle, number, seen.exptime, entry.cas())));
    }
    Outcome::Replace { seen, number, idle }
}

/// Writes a number in the place of the value, padded with spaces; `false` when that is not possible.
#[inline(always)]
fn put(entry: &mut Entry<'_>, digits: &[u8], now: Now) -> bool {
    let old = entry.value_start();
    let mut padded = [b' '; DIGITS_MAX];
    let text = if digits.len() == old.len() {
        digits
    } else {
        let Some(text) = padded.get_mut(..old.len()).filter(|text| text.len() > digits.len()) else { return false };
        text[..digits.len()].copy_from_slice(digits);
        text
    };
    // Only what changes has to lie in one word: mostly the last digit.
    let (first, last) = difference(old, text);
    entry.overwrite(first, &text[first..=last], now)
}

/// The first and the last place at which two texts of one length differ.
#[inline]
fn difference(old: &[u8], new: &[u8]) -> (usize, usize) {
    let (old_words, new_words) = (old.as_chunks::<8>().0, new.as_chunks::<8>().0);
    let same = old_words.iter().zip(new_words).take_while(|(old, new)| old == new).count() * 8;
    let differs = |(old, new): (&u8, &u8)| old != new;
    let first = old[same..].iter().zip(&new[same..]).position(differs).map_or(0, |place| same + place);
    let last = old.iter().zip(new).rposition(differs).unwrap_or(0);
    (first, last)
}

fn replace(
    cx: &Context<'_>,
    arith: &Arith<'_>,
    hash: KeyHash,
    seen: &Seen,
    number: u64,
    idle: u32,
) -> Option<Reply<'static>> {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    // A longer number takes an item of its own in memcached too, which then has no marks and a plain key.
    let in_place = digits.len() <= seen.value_len;
    let exptime = arith.exptime.map_or(seen.exptime, |typed| absolute(typed, cx.now));
    let shape = Shape {
        flags: seen.flags,
        exptime,
        value_len: digits.len().max(seen.value_len),
        base64_key: seen.base64_key && in_place,
        chosen_cas: arith.new_cas,
        renews: in_place,
    };
    let filled = cx.store.reserve(arith.key.bytes(), hash, &shape, cx.now).and_then(|mut draft| {
        draft.write(digits, cx.now)?;
        pad(&mut draft, cx)?;
        Ok(draft)
    });
    let Ok(draft) = filled else { return Some(Reply::Error(Error::NO_MEMORY_TO_REWRITE)) };
    let marks = if in_place { seen.marks } else { Marks::default() };
    let cas = commit_over(cx, draft, seen, marks)?;
    count_hit(cx, arith.decrement, seen.class);
    Some(Reply::Hit(hit(cx, seen, idle, number, exptime, cas)))
}

/// What is answered: the item as it was, the number, expiry and CAS as they are now.
fn hit(cx: &Context<'_>, seen: &Seen, idle: u32, number: u64, exptime: Exptime, cas: u64) -> Hit {
    Hit {
        size: itoa::Buffer::new().format(number).len(),
        flags: seen.flags,
        cas,
        ttl_before: seconds_left(seen.exptime, cx.now),
        ttl_after: seconds_left(exptime, cx.now),
        ttl_created: 0,
        idle,
        created: false,
        fetched: seen.marks.fetched,
        won: false,
        // The marks stay with the item, but `ma` shows none.
        token_sent: false,
        stale: false,
        base64_key: seen.base64_key,
        value: true,
        number: Some(number),
    }
}

/// Fills what is left of the value with spaces.
fn pad(draft: &mut Draft, cx: &Context<'_>) -> Result<(), Refused> {
    const SPACES: [u8; 64] = [b' '; 64];
    while draft.remaining() > 0 {
        let piece = draft.remaining().min(SPACES.len());
        draft.write(&SPACES[..piece], cx.now)?;
    }
    Ok(())
}

/// `ma N` on a miss: a new item with the initial value; counts neither as a hit nor as a miss.
fn create(cx: &Context<'_>, arith: &Arith<'_>, hash: KeyHash, typed: TypedExptime) -> Option<Reply<'static>> {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(arith.initial).as_bytes();
    let touched = arith.exptime.map(|typed| absolute(typed, cx.now));
    let created = absolute(typed, cx.now);
    let exptime: Exptime = touched.filter(|_| arith.exptime_is_last).unwrap_or(created);
    // QUIRK: such an item does not remember a base64 key (section 5.1).
    let shape = Shape {
        flags: 0,
        exptime,
        value_len: digits.len(),
        base64_key: false,
        chosen_cas: arith.new_cas,
        renews: false,
    };
    let filled = cx.store.reserve(arith.key.bytes(), hash, &shape, cx.now).and_then(|mut draft| {
        draft.write(digits, cx.now)?;
        Ok(draft)
    });
    let Ok(draft) = filled else { return Some(Reply::Error(Error::NO_MEMORY_TO_CREATE)) };
    let told = Told::of(cx, &draft);
    let linked = cx.store.commit(draft, cx.now, |found, _| match found {
        Lookup::Found(_) => Decision::Refuse(()),
        Lookup::Absent(absence) => {
            // memcached creates it by an `add`, which looks again.
            tell_absent(cx, arith.key.bytes(), absence);
            Decision::Link(Marks::default())
        }
    });
    let cas = linked.ok()?;
    if let Some(told) = told {
        told.tell(cx, arith.key.bytes(), StoreCommand::Add, StoreStatus::Stored);
    }
    Some(Reply::Hit(Hit {
        size: digits.len(),
        flags: 0,
        cas,
        ttl_before: -1,
        ttl_after: seconds_left(touched.unwrap_or(0), cx.now),
        ttl_created: seconds_left(created, cx.now),
        idle: 0,
        created: true,
        fetched: false,
        won: false,
        token_sent: false,
        stale: false,
        base64_key: false,
        value: true,
        number: Some(arith.initial),
    }))
}
