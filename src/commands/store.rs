//! Storing a value: `set` and its kin, `cas`, `ms` (sections 3.1 and 5.3).
//!
//! In two steps, because the value may still be on its way: [`begin`] takes memory for it, [`finish`] links it once it is
//! complete. [`store`] does both for a value that is at hand.

use super::expiry::absolute;
use super::rewrite::{Copied, Seen, commit_over};
use super::watch::{self, Told};
use super::{Context, count_absence, tell_absent, tell_found};
use crate::logger::{StoreStatus, Streams};
use crate::protocol::Reply;
use crate::protocol::reply::{Error, Written};
use crate::protocol::request::{Store, StoreMode};
use crate::stats::{ClassCounter, Counter};
use crate::store::{Decision, Draft, Entry, KeyHash, Lookup, Marks, Refused, Shape};

/// The value of a storage command.
pub enum Payload<'a> {
    /// Other commands have none.
    None,
    /// The whole value lies in the input.
    Whole {
        /// Its bytes.
        value: &'a [u8],
        /// Whether CR LF followed it.
        terminated: bool,
    },
    /// It was received into a draft of its own, CR LF included.
    Uploaded(Draft),
}

/// The value did not end in CR LF.
pub const BAD_CHUNK: Error = Error::BAD_DATA_CHUNK;
/// Memory ran out in the middle of a value.
pub const NO_MEMORY_FOR_REST: Error = Error::Server("Out of memory during read");

/// Takes memory for the value, or for its beginning when it is still `arriving`. Counts the attempt: `cmd_set`
/// includes values that are not stored in the end (in the binary protocol, those that never arrive it does not).
///
/// # Errors
/// The line to answer with. The caller then has to skip the value. An old value is gone where keeping it would
/// leave the client with something it meant to replace.
pub fn begin(cx: &Context<'_>, store: &Store<'_>, hash: KeyHash, arriving: bool) -> Result<Draft, Error> {
    // Append and prepend keep the item's own expiry; the draft becomes an item only through `N`.
    let typed = if joins(store.mode) { store.vivify.unwrap_or(0) } else { store.exptime };
    let shape = Shape {
        flags: store.flags,
        exptime: absolute(typed, cx.now),
        value_len: store.value_len,
        base64_key: store.key.was_base64(),
        chosen_cas: store.new_cas,
        renews: false,
    };
    let key = store.key.bytes();
    let reserved = if arriving {
        cx.store.reserve_arriving(key, hash, &shape, cx.now)
    } else {
        cx.store.reserve(key, hash, &shape, cx.now)
    };
    match reserved {
        Ok(draft) => {
            if !(arriving && store.counts_when_whole) {
                cx.stats.count_class(ClassCounter::CmdSet, draft.class());
            }
            Ok(draft)
        }
        Err(refused) => Err(refuse(cx, store, hash, refused)),
    }
}

/// Refuses a value before any memory was asked for, because clients hold all they may.
pub fn no_memory(cx: &Context<'_>, store: &Store<'_>, hash: KeyHash) -> Error {
    refuse(cx, store, hash, Refused::NoMemory)
}

#[cold]
fn refuse(cx: &Context<'_>, store: &Store<'_>, hash: KeyHash, refused: Refused) -> Error {
    if cx.watches(Streams::MUTATIONS) {
        let too_large = refused == Refused::TooLarge;
        watch::tell_refused(cx, store, if too_large { StoreStatus::TooLarge } else { StoreStatus::NoMemory });
    }
    if store.refusal_removes {
        cx.store.lookup(store.key.bytes(), hash, cx.now, |found| match found {
            Lookup::Found(entry) => {
                tell_found(cx, &entry);
                entry.remove();
            }
            Lookup::Absent(absence) => tell_absent(cx, store.key.bytes(), absence),
        });
    }
    if refused == Refused::TooLarge {
        cx.stats.count(Counter::StoreTooLarge);
        Error::TOO_LARGE
    } else {
        cx.stats.count(Counter::StoreNoMemory);
        Error::NO_MEMORY_TO_STORE
    }
}

/// Stores a value that is at hand, or has been uploaded.
pub(super) fn store(cx: &Context<'_>, store: &Store<'_>, hash: KeyHash, payload: Payload<'_>) -> Reply<'static> {
    let (value, terminated) = match payload {
        Payload::Whole { value, terminated } => (value, terminated),
        Payload::Uploaded(draft) => return finish(cx, store, hash, draft),
        Payload::None => return Reply::Error(BAD_CHUNK),
    };
    let mut draft = match begin(cx, store, hash, false) {
        Ok(draft) => draft,
        Err(error) => return Reply::Error(error),
    };
    if !terminated {
        return Reply::Error(BAD_CHUNK);
    }
    if draft.write(value, cx.now).is_err() {
        return Reply::Error(NO_MEMORY_FOR_REST);
    }
    settle(cx, store, hash, draft)
}

/// Stores a value that has been received whole into `draft`.
fn finish(cx: &Context<'_>, store: &Store<'_>, hash: KeyHash, draft: Draft) -> Reply<'static> {
    if store.counts_when_whole {
        cx.stats.count_class(ClassCounter::CmdSet, draft.class());
    }
    settle(cx, store, hash, draft)
}

/// What becomes of a draft that holds the whole value.
fn settle(cx: &Context<'_>, store: &Store<'_>, hash: KeyHash, draft: Draft) -> Reply<'static> {
    if joins(store.mode) { join(cx, store, hash, draft) } else { link(cx, store, draft) }
}

const fn joins(mode: StoreMode) -> bool {
    matches!(mode, StoreMode::Append | StoreMode::Prepend)
}

enum NotLinked {
    NotStored,
    Exists,
    NotFound,
}

/// What became of a store, for watchers.
const fn status(linked: Result<&u64, &NotLinked>) -> StoreStatus {
    match linked {
        Ok(_) => StoreStatus::Stored,
        Err(NotLinked::NotStored) => StoreStatus::NotStored,
        Err(NotLinked::Exists) => StoreStatus::Exists,
        Err(NotLinked::NotFound) => StoreStatus::NotFound,
    }
}

/// set, add, replace, cas: decides under the key's lock.
fn link(cx: &Context<'_>, store: &Store<'_>, draft: Draft) -> Reply<'static> {
    let told = Told::of(cx, &draft);
    let linked = cx.store.commit(draft, cx.now, |found, draft| match found {
        Lookup::Found(entry) => {
            tell_found(cx, &entry);
            over_existing(cx, store, entry, draft)
        }
        Lookup::Absent(absence) => {
            count_absence(cx, store.key.bytes(), absence);
            over_nothing(cx, store)
        }
    });
    if let Some(told) = told {
        told.tell(cx, store.key.bytes(), watch::command(store), status(linked.as_ref()));
    }
    match linked {
        Ok(cas) => Reply::Stored(Written { cas, size: store.value_len }),
        Err(refused) => not_linked(&refused, store.value_len),
    }
}

fn over_existing(cx: &Context<'_>, store: &Store<'_>, mut entry: Entry<'_>, draft: &mut Draft) -> Decision<NotLinked> {
    if store.mode == StoreMode::Add {
        entry.refresh(cx.now);
        return Decision::Refuse(NotLinked::NotStored);
    }
    let Some(compare) = store.compare else { return Decision::Link(Marks::default()) };
    if compare == entry.cas() && compare != 0 {
        cx.stats.count_class(ClassCounter::CasHits, entry.class());
        return Decision::Link(Marks::default());
    }
    if store.invalidate && compare != 0 && compare < entry.cas() {
        // Somebody stored something newer: keep when it expires and whether a token is out, but let readers know.
        cx.stats.count_class(ClassCounter::CasHits, entry.class());
        draft.set_exptime(entry.exptime());
        return Decision::Link(Marks { stale: true, token_sent: entry.token_sent(), fetched: false });
    }
    cx.stats.count_class(ClassCounter::CasBadval, entry.class());
    Decision::Refuse(NotLinked::Exists)
}

fn over_nothing(cx: &Context<'_>, store: &Store<'_>) -> Decision<NotLinked> {
    if store.compare.is_some() {
        cx.stats.count(Counter::CasMisses);
        return Decision::Refuse(NotLinked::NotFound);
    }
    match store.mode {
        StoreMode::Set | StoreMode::Add => Decision::Link(Marks::default()),
        _ => Decision::Refuse(NotLinked::NotStored),
    }
}

fn not_linked(refused: &NotLinked, size: usize) -> Reply<'static> {
    let written = Written { cas: 0, size };
    match refused {
        NotLinked::NotStored => Reply::NotStored(written),
        NotLinked::Exists => Reply::Exists(written),
        NotLinked::NotFound => Reply::NotFound(written),
    }
}

/// append, prepend; their `C` counts as no cas, as in memcached. `draft` holds the new value alone, and is linked
/// only if the key is missing and `N` was given.
fn join(cx: &Context<'_>, store: &Store<'_>, hash: KeyHash, draft: Draft) -> Reply<'static> {
    let value_len = draft.value_len();
    let told = Told::of(cx, &draft);
    let refuse = |refused: &NotLinked| {
        if let Some(told) = told {
            told.tell(cx, store.key.bytes(), watch::command(store), status(Err(refused)));
        }
        not_linked(refused, value_len)
    };
    loop {
        let mut old = Copied::none();
        let seen = cx.store.lookup(store.key.bytes(), hash, cx.now, |found| match found {
            Lookup::Found(entry) => {
                tell_found(cx, &entry);
                let seen = Seen::of(&entry);
                if store.compare.is_some_and(|compare| compare != seen.cas) {
                    return Err(NotLinked::Exists);
                }
                old.take(&entry);
                Ok(Some(seen))
            }
            Lookup::Absent(absence) => {
                count_absence(cx, store.key.bytes(), absence);
                Ok(None)
            }
        });
        match seen {
            Err(refused) => return refuse(&refused),
            Ok(None) => {
                return join_nothing(cx, store, draft).unwrap_or_else(|| refuse(&NotLinked::NotStored));
            }
            Ok(Some(seen)) => match join_to(cx, store, hash, &seen, &old, &draft) {
                Err(_) => return refuse(&NotLinked::NotStored),
                Ok(Some(reply)) => return reply,
                Ok(None) => {} // Changed meanwhile: look again.
            },
        }
    }
}

/// The key is missing: stored all the same with `N`, else `None`.
fn join_nothing(cx: &Context<'_>, store: &Store<'_>, draft: Draft) -> Option<Reply<'static>> {
    let size = store.value_len;
    store.vivify?;
    let told = Told::of(cx, &draft);
    let linked = cx.store.commit(draft, cx.now, |found, _| match found {
        Lookup::Found(_) => Decision::Refuse(()),
        Lookup::Absent(_) => Decision::Link(Marks::default()),
    });
    // Otherwise somebody stored it in this very moment; the draft is gone with the refusal.
    let cas = linked.ok()?;
    if let Some(told) = told {
        told.tell(cx, store.key.bytes(), watch::command(store), StoreStatus::Stored);
    }
    Some(Reply::Stored(Written { cas, size }))
}

/// Joins old and new in an item that keeps the old one's flags and expiry; `None` when the old one has changed.
fn join_to(
    cx: &Context<'_>,
    store: &Store<'_>,
    hash: KeyHash,
    seen: &Seen,
    old: &Copied,
    added: &Draft,
) -> Result<Option<Reply<'static>>, Refused> {
    let size = seen.value_len + added.value_len();
    let shape = Shape {
        flags: seen.flags,
        exptime: seen.exptime,
        value_len: size,
        // The joined item is a new one in memcached too, and does not remember how its key was written.
        base64_key: false,
        chosen_cas: store.new_cas,
        renews: false,
    };
    let mut draft = cx.store.reserve(store.key.bytes(), hash, &shape, cx.now)?;
    if store.mode == StoreMode::Prepend {
        added.copy_to(&mut draft, cx.now)?;
    }
    old.write(&mut draft, cx)?;
    if store.mode == StoreMode::Append {
        added.copy_to(&mut draft, cx.now)?;
    }
    let told = Told::of(cx, &draft);
    let cas = commit_over(cx, draft, seen, Marks::default());
    if let (Some(told), Some(_)) = (told, cas) {
        told.tell(cx, store.key.bytes(), watch::command(store), StoreStatus::Stored);
    }
    Ok(cas.map(|cas| Reply::Stored(Written { cas, size })))
}
