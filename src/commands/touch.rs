//! `touch`: a new expiry, and nothing else; the CAS stays (section 3.4).

use super::expiry::absolute;
use super::{Context, count_absence, tell_found};
use crate::protocol::Reply;
use crate::protocol::reply::Written;
use crate::protocol::request::Touch;
use crate::stats::{ClassCounter, Counter};
use crate::store::{KeyHash, Lookup};

pub(super) fn touch(cx: &Context<'_>, touch: &Touch<'_>, hash: KeyHash) -> Reply<'static> {
    let exptime = absolute(touch.exptime, cx.now);
    cx.store.lookup(touch.key.bytes(), hash, cx.now, |found| match found {
        Lookup::Found(mut entry) => {
            tell_found(cx, &entry);
            entry.touch(exptime);
            entry.bump(cx.now);
            cx.stats.count_class(ClassCounter::TouchHits, entry.class());
            Reply::Touched
        }
        Lookup::Absent(absence) => {
            count_absence(cx, touch.key.bytes(), absence);
            cx.stats.count(Counter::TouchMisses);
            Reply::NotFound(Written::default())
        }
    })
}
