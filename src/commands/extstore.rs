//! `extstore`: accepted although there is no external storage (section 18); its numbers are kept and shown.

use super::Context;
use super::words::Words;
use crate::protocol::reply::{Error, Reply};
use crate::sync::Ordering::Relaxed;

pub(super) fn extstore(cx: &Context<'_>, line: &[u8]) -> Reply<'static> {
    let words = Words::of(line);
    let ext = &cx.server.live.ext;
    let numbers = [
        ("item_size", &ext.item_size),
        ("item_age", &ext.item_age),
        ("low_ttl", &ext.low_ttl),
        ("recache_rate", &ext.recache_rate),
        ("compact_under", &ext.compact_under),
        ("drop_under", &ext.drop_under),
        ("max_sleep", &ext.max_sleep),
    ];
    let name = words.at(0);
    let done = if words.count() < 2 {
        None
    } else if let Some((_, place)) = numbers.iter().find(|(known, _)| known.as_bytes() == name) {
        words.whole(1).map(|number| place.store(number, Relaxed))
    } else {
        match name {
            b"free_memchunks" if words.count() > 2 => words.whole(1).and(words.whole(2)).map(|_| ()),
            b"max_frag" => words.float(1).map(|fraction| ext.max_frag.store(fraction)),
            b"drop_unread" => words.whole(1).map(|on| ext.drop_unread.store(on != 0, Relaxed)),
            _ => None,
        }
    };
    if done.is_some() { Reply::Ok } else { Reply::Error(Error::Unknown) }
}
