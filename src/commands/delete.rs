//! `delete` and `md`: removing an item, marking it stale, or emptying it (sections 3.5 and 5.4).

use super::expiry::absolute;
use super::rewrite::{Copied, Seen, commit_over};
use super::{Context, count_absence, tell_found, watch};
use crate::logger::Streams;
use crate::protocol::Reply;
use crate::protocol::reply::{Error, Written};
use crate::protocol::request::Delete;
use crate::stats::{ClassCounter, Counter};
use crate::store::{KeyHash, Lookup, Marks, Refused, Shape};

/// What to do about the item once its lock is gone.
enum Outcome {
    Answer(Reply<'static>),
    /// It has to be replaced: by an empty one, or by itself under a chosen CAS.
    Replace(Seen),
}

pub(super) fn delete(cx: &Context<'_>, delete: &Delete<'_>, hash: KeyHash) -> Reply<'static> {
    // Room for a CAS of the client's choice is made only in a new item.
    let rewrites = delete.clear || (delete.invalidate && delete.new_cas.is_some());
    if rewrites {
        return rewrite(cx, delete, hash);
    }
    match examine(cx, delete, hash, None) {
        Outcome::Answer(reply) => reply,
        Outcome::Replace(_) => rewrite(cx, delete, hash),
    }
}

/// `md x`, and `md I` with `E`.
fn rewrite(cx: &Context<'_>, delete: &Delete<'_>, hash: KeyHash) -> Reply<'static> {
    loop {
        let mut value = Copied::none();
        let seen = match examine(cx, delete, hash, Some(&mut value)) {
            Outcome::Answer(reply) => return reply,
            Outcome::Replace(seen) => seen,
        };
        match replace(cx, delete, hash, &seen, &value) {
            Err(_) => return Reply::Error(Error::NO_MEMORY_TO_REWRITE),
            Ok(false) => {} // Changed meanwhile: look again.
            Ok(true) => {
                if delete.clear {
                    cx.stats.count_class(ClassCounter::DeleteHits, seen.class);
                    if cx.watches(Streams::DELETIONS) {
                        watch::tell_deleted(cx, delete, seen.class, seen.value_len);
                    }
                }
                return Reply::Deleted;
            }
        }
    }
}

fn examine(cx: &Context<'_>, delete: &Delete<'_>, hash: KeyHash, keep: Option<&mut Copied>) -> Outcome {
    cx.store.lookup(delete.key.bytes(), hash, cx.now, |found| {
        let mut entry = match found {
            Lookup::Found(entry) => entry,
            Lookup::Absent(absence) => {
                count_absence(cx, delete.key.bytes(), absence);
                cx.stats.count(Counter::DeleteMisses);
                return Outcome::Answer(Reply::NotFound(Written::default()));
            }
        };
        tell_found(cx, &entry);
        if delete.compare.is_some_and(|cas| cas != entry.cas()) {
            if delete.mismatch_is_miss {
                cx.stats.count(Counter::DeleteMisses);
            }
            return Outcome::Answer(Reply::Exists(Written::default()));
        }
        if let Some(value) = keep {
            if !delete.clear {
                value.take(&entry);
            }
            return Outcome::Replace(Seen::of(&entry));
        }
        if delete.invalidate {
            if !entry.mark_stale() {
                return Outcome::Replace(Seen::of(&entry));
            }
            if let Some(typed) = delete.exptime {
                entry.touch(absolute(typed, cx.now));
            }
        } else {
            cx.stats.count_class(ClassCounter::DeleteHits, entry.class());
            if cx.watches(Streams::DELETIONS) {
                watch::tell_deleted(cx, delete, entry.class(), entry.value_len());
            }
            entry.remove();
        }
        Outcome::Answer(Reply::Deleted)
    })
}

/// Whether the item was still the one seen, and is now replaced.
fn replace(cx: &Context<'_>, delete: &Delete<'_>, hash: KeyHash, seen: &Seen, value: &Copied) -> Result<bool, Refused> {
    let exptime = delete.exptime.map(|typed| absolute(typed, cx.now));
    let shape = if delete.clear {
        Shape {
            flags: delete.flags,
            // QUIRK: without T a mortal item becomes immortal.
            exptime: exptime.unwrap_or(0),
            value_len: 0,
            base64_key: false,
            // The CAS stays, unless the item turns stale.
            chosen_cas: delete.new_cas.or((!delete.invalidate).then_some(seen.cas)),
            renews: false,
        }
    } else {
        Shape {
            flags: seen.flags,
            exptime: exptime.unwrap_or(seen.exptime),
            value_len: seen.value_len,
            base64_key: seen.base64_key,
            chosen_cas: delete.new_cas,
            renews: true,
        }
    };
    let mut draft = cx.store.reserve(delete.key.bytes(), hash, &shape, cx.now)?;
    let fetched = !delete.clear && seen.marks.fetched;
    if !delete.clear {
        value.write(&mut draft, cx)?;
    }
    let marks = Marks { stale: delete.invalidate, token_sent: false, fetched };
    Ok(commit_over(cx, draft, seen, marks).is_some())
}
