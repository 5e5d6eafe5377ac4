//! Reading one item: `get` and its kin, `mg`, and `me`.

use super::expiry::{absolute, seconds_left};
use super::{After, Context, count_absence, tell_found};
use crate::protocol::Reply;
use crate::protocol::reply::{Hit, Inspected};
use crate::protocol::request::{Get, TypedExptime};
use crate::stats::{ClassCounter, Counter};
use crate::store::{Decision, Entry, KeyHash, Lookup, Marks, Shape, Spot, Value};

/// What `get` and `gets` tell of an item beside its value.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Length of the value in bytes.
    pub size: usize,
    /// Client flags.
    pub flags: u32,
    /// CAS.
    pub cas: u64,
}

/// `get` and `gets`: one key. The same as [`get`] without any of the meta flags, in a third of its instructions: this is what a
/// session server does all day. `reply` is called when it was found, under the item's lock.
#[inline(always)]
pub fn plain(cx: &Context<'_>, key: &[u8], spot: &Spot, reply: impl FnOnce(Plain, Value<'_>)) -> Seen {
    let seen = cx.store.read_at(key, spot, cx.now, |entry| {
        if !entry.may_be_read() {
            return Seen::Busy;
        }
        tell_found(cx, entry);
        cx.stats.count_class(ClassCounter::GetHits, entry.class());
        entry.bump(cx.now);
        reply(Plain { size: entry.value_len(), flags: entry.flags(), cas: entry.cas() }, entry.value());
        Seen::Yes
    });
    seen.unwrap_or_else(|absence| {
        count_absence(cx, key, absence);
        cx.stats.count(Counter::GetMisses);
        Seen::No
    })
}

/// `get`, `gets`, `gat`, `gats`, `mg`: one key. [`After::Later`] when its value is large and may not be read now.
pub fn get<F>(cx: &Context<'_>, get: &Get<'_>, spot: &Spot, reply: F) -> After
where
    F: FnOnce(Reply<'_>, Option<Value<'_>>),
{
    let mut reply = Some(reply);
    // Goes round again only when `N` found nothing and then, about to create the item, found it after all.
    loop {
        let found = cx.store.read_at(get.key.bytes(), spot, cx.now, |entry| {
            if get.value && !entry.may_be_read() {
                return Seen::Busy;
            }
            tell_found(cx, entry);
            if let Some(reply) = reply.take() {
                let (hit, value) = read(cx, get, entry);
                reply(Reply::Hit(hit), value);
            }
            Seen::Yes
        });
        let found = found.unwrap_or_else(|absence| {
            count_absence(cx, get.key.bytes(), absence);
            Seen::No
        });
        match found {
            Seen::Yes => return After::Next,
            Seen::Busy => return After::Later,
            Seen::No => {}
        }
        let created = match get.vivify {
            None => Vivified::No,
            Some(exptime) => vivify(cx, get, exptime, spot.hash),
        };
        let answer = match created {
            Vivified::Raced => continue,
            Vivified::Yes(hit) => Reply::Hit(hit),
            Vivified::No => {
                cx.stats.count(if get.counts_as_touch { Counter::TouchMisses } else { Counter::GetMisses });
                Reply::Miss
            }
        };
        if let Some(reply) = reply.take() {
            let value = matches!(answer, Reply::Hit(Hit { value: true, .. })).then_some(Value::Inline(b""));
            reply(answer, value);
        }
        return After::Next;
    }
}

/// What became of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Found, and answered.
    Yes,
    /// Not there.
    No,
    /// There, but large, and clients hold so much of item memory that it may not be read now.
    Busy,
}

/// What a read does to an item it found, and what it can tell about it. Facts are those before the command (section 5.2).
#[inline(always)]
fn read<'e>(cx: &Context<'_>, get: &Get<'_>, entry: &'e mut Entry<'_>) -> (Hit, Option<Value<'e>>) {
    let now = cx.now;
    let old_exptime = entry.exptime();
    let token_sent = entry.token_sent();
    let stale = entry.stale();
    let new_exptime = get.touch.map(|typed| absolute(typed, now));
    let judged = new_exptime.filter(|_| get.recache_touched).unwrap_or(old_exptime);
    // A bound that is already past lies before everything, even before what expired in this very command.
    let recache = get
        .recache
        .map(|seconds| absolute(TypedExptime::from(seconds), now))
        .is_some_and(|bound| judged != 0 && judged < bound && now.seconds < bound);
    let won = get.may_win && !token_sent && (recache || stale);
    let mut hit = Hit {
        size: entry.value_len(),
        flags: entry.flags(),
        cas: entry.cas(),
        ttl_before: seconds_left(old_exptime, now),
        ttl_after: seconds_left(new_exptime.unwrap_or(old_exptime), now),
        ttl_created: 0,
        idle: entry.idle_seconds(now),
        created: false,
        fetched: entry.fetched(),
        won,
        token_sent,
        stale,
        base64_key: entry.base64_key(),
        value: get.value,
        number: None,
    };
    hit.value &= get.unless_cas != Some(hit.cas);
    if let Some(exptime) = new_exptime {
        entry.touch(exptime);
        cx.stats.count_class(ClassCounter::TouchHits, entry.class());
    } else {
        cx.stats.count_class(ClassCounter::GetHits, entry.class());
    }
    if won {
        entry.mark_token_sent();
    }
    if !get.no_bump {
        entry.bump(now);
    }
    (hit, hit.value.then(|| entry.value()))
}

enum Vivified {
    /// Created: the hit it is answered with.
    Yes(Hit),
    /// No memory.
    No,
    /// Somebody else stored the key meanwhile.
    Raced,
}

/// `mg N` on a miss: an empty item whose token this client has won.
fn vivify(cx: &Context<'_>, get: &Get<'_>, typed: TypedExptime, hash: KeyHash) -> Vivified {
    let touched = get.touch.map(|typed| absolute(typed, cx.now));
    let created = absolute(typed, cx.now);
    let exptime = touched.filter(|_| get.touch_is_last).unwrap_or(created);
    // Such an item does not remember that its key came as base64 (section 5.1).
    let shape = Shape { flags: 0, exptime, value_len: 0, base64_key: false, chosen_cas: get.new_cas, renews: false };
    let Ok(draft) = cx.store.reserve(get.key.bytes(), hash, &shape, cx.now) else { return Vivified::No };
    let class = draft.class();
    let linked = cx.store.commit(draft, cx.now, |found, _| match found {
        Lookup::Found(_) => Decision::Refuse(()),
        Lookup::Absent(_) => Decision::Link(Marks { token_sent: true, fetched: !get.no_bump, ..Marks::default() }),
    });
    let Ok(cas) = linked else { return Vivified::Raced };
    // A `T` of the same command counts as a touch, as on any hit.
    cx.stats.count_class(if get.touch.is_some() { ClassCounter::TouchHits } else { ClassCounter::GetHits }, class);
    Vivified::Yes(Hit {
        size: 0,
        flags: 0,
        cas,
        ttl_before: -1,
        ttl_after: seconds_left(touched.unwrap_or(0), cx.now),
        ttl_created: seconds_left(created, cx.now),
        idle: 0,
        created: true,
        fetched: false,
        won: true,
        token_sent: false,
        stale: false,
        base64_key: false,
        value: get.value && get.unless_cas != Some(cas),
        number: None,
    })
}

/// `me`: everything known about an item, without counting as an access.
pub(super) fn inspect(cx: &Context<'_>, key: &[u8], hash: KeyHash) -> Reply<'static> {
    cx.stats.count(Counter::CmdMeta);
    cx.store.lookup(key, hash, cx.now, |found| match found {
        Lookup::Found(entry) => {
            tell_found(cx, &entry);
            Reply::Inspected(Inspected {
                ttl: seconds_left(entry.exptime(), cx.now),
                idle: entry.idle_seconds(cx.now),
                cas: entry.cas(),
                fetched: entry.fetched(),
                class: entry.class(),
                size: entry.account_size(),
                base64_key: entry.base64_key(),
            })
        }
        Lookup::Absent(absence) => {
            count_absence(cx, key, absence);
            Reply::Miss
        }
    })
}
