//! `incr`, `decr`, `ma` (sections 3.6 and 5.5).
//!
//! memcached writes the result over the old digits when it is not longer, padding with spaces. Clients see that padding, so it
//! is reproduced; but the number goes into a new item, for a crash could tear one that is changed in place.

use super::expiry::{absolute, seconds_left};
use super::rewrite::{Seen, commit_over};
use super::watch::Told;
use super::{Context, count_absence, tell_absent, tell_found};
use crate::logger::{StoreCommand, StoreStatus};
use crate::protocol::number;
use crate::protocol::reply::{Error, Hit, Reply, Written};
use crate::protocol::request::{Arith, TypedExptime};
use crate::stats::{ClassCounter, Counter};
use crate::store::{Decision, Draft, Entry, Exptime, KeyHash, Lookup, Marks, Refused, Shape};

/// What the lookup decides.
enum Outcome {
    Missing,
    Answer(Reply<'static>),
    Replace { seen: Seen, number: u64, idle: u32 },
}

pub(super) fn arith(cx: &Context<'_>, arith: &Arith<'_>, hash: KeyHash) -> Reply<'static> {
    loop {
        let outcome = cx.store.lookup(arith.key.bytes(), hash, cx.now, |found| match found {
            Lookup::Found(entry) => {
                tell_found(cx, &entry);
                compute(cx, arith, &entry)
            }
            Lookup::Absent(absence) => {
                count_absence(cx, arith.key.bytes(), absence);
                Outcome::Missing
            }
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

/// The order of checks is memcached's: a value that cannot be a number first, then the CAS.
fn compute(cx: &Context<'_>, arith: &Arith<'_>, entry: &Entry<'_>) -> Outcome {
    // What memcached keeps in several chunks it does not look into, whatever that is here.
    let chunked = entry.account_size() > cx.server.settings.slab_chunk_max_bytes;
    if entry.value_len() == 0 || chunked {
        return Outcome::Answer(Reply::Error(Error::NOT_A_NUMBER));
    }
    if arith.compare.is_some_and(|cas| cas != entry.cas()) {
        return Outcome::Answer(Reply::Exists(Written::default()));
    }
    let Some(old) = number::parse_stored(entry.value_start()) else {
        return Outcome::Answer(Reply::Error(Error::NOT_A_NUMBER));
    };
    let number = if arith.decrement { old.saturating_sub(arith.delta) } else { old.wrapping_add(arith.delta) };
    Outcome::Replace { seen: Seen::of(entry), number, idle: entry.idle_seconds(cx.now) }
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
    let counter = if arith.decrement { ClassCounter::DecrHits } else { ClassCounter::IncrHits };
    cx.stats.count_class(counter, seen.class);
    Some(Reply::Hit(Hit {
        size: digits.len(),
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
    }))
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
