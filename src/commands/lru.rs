//! `lru tune|mode|temp_ttl` (section 13.2). memhold evicts by one aged clock, so tuning and mode are kept and shown, but
//! change nothing; `temp_ttl` is obeyed.

use super::Context;
use super::words::Words;
use crate::protocol::reply::{Error, Reply};
use crate::sync::Ordering::Relaxed;

pub(super) fn lru(cx: &Context<'_>, line: &[u8]) -> Reply<'static> {
    let words = Words::of(line);
    match words.count() {
        5.. if words.is(0, "tune") => tune(cx, &words),
        2.. if words.is(0, "mode") && cx.server.settings.lru_maintainer => mode(cx, &words),
        2.. if words.is(0, "temp_ttl") && cx.server.settings.lru_maintainer => temp_ttl(cx, &words),
        _ => Reply::Error(Error::Unknown),
    }
}

fn tune(cx: &Context<'_>, words: &Words<'_>) -> Reply<'static> {
    let numbers = (words.whole(1), words.whole(2), words.float(3), words.float(4));
    let (Some(hot), Some(warm), Some(hot_factor), Some(warm_factor)) = numbers else {
        return Reply::Error(Error::Unknown);
    };
    if hot.saturating_add(warm) > 80 {
        return Reply::Error(Error::Line("ERROR hot and warm pcts must not exceed 80"));
    }
    if hot_factor <= 0.0 || warm_factor <= 0.0 {
        return Reply::Error(Error::Line("ERROR hot/warm age factors must be greater than 0"));
    }
    let live = &cx.server.live;
    live.hot_lru_pct.store(hot, Relaxed);
    live.warm_lru_pct.store(warm, Relaxed);
    live.hot_max_factor.store(hot_factor);
    live.warm_max_factor.store(warm_factor);
    Reply::Ok
}

fn mode(cx: &Context<'_>, words: &Words<'_>) -> Reply<'static> {
    let segmented = words.is(1, "segmented");
    if !segmented && !words.is(1, "flat") {
        return Reply::Error(Error::Unknown);
    }
    cx.server.live.lru_segmented.store(segmented, Relaxed);
    Reply::Ok
}

fn temp_ttl(cx: &Context<'_>, words: &Words<'_>) -> Reply<'static> {
    let Some(ttl) = words.signed(1) else { return Reply::Error(Error::Unknown) };
    let live = &cx.server.live;
    let ttl = u32::try_from(ttl).ok();
    if let Some(ttl) = ttl {
        live.temporary_ttl_seconds.store(ttl, Relaxed);
    }
    live.temp_lru.store(ttl.is_some(), Relaxed);
    cx.store.set_temporary_ttl(ttl);
    Reply::Ok
}
