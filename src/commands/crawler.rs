//! `lru_crawler` (section 13.1). The store sweeps expired items by itself every second; `crawl` asks for one more sweep, the
//! dumps become a [`Dump`] that `conn` streams.

use super::dump::{Dump, Format, Selection};
use super::words::Words;
use super::{After, Context};
use crate::protocol::reply::{Error, Reply};
use crate::protocol::token::parse_u32;
use crate::stats::Process;
use crate::sync::Ordering::Relaxed;

/// A line as it stands.
const fn line(text: &'static str) -> Reply<'static> {
    Reply::Error(Error::Line(text))
}

const BAD_FORMAT: Reply<'static> = Reply::Error(Error::Client("bad command line format"));

pub(super) fn lru_crawler(cx: &Context<'_>, text: &[u8], reply: impl FnOnce(Reply<'_>)) -> After {
    let words = Words::of(text);
    let dump = match words.count() {
        2.. if words.is(0, "crawl") => None,
        2.. if words.is(0, "metadump") => Some(Format::Meta),
        2.. if words.is(0, "mgdump") => Some(Format::Keys),
        2.. if words.is(0, "tocrawl") || words.is(0, "sleep") => {
            reply(setting(cx, &words));
            return After::Next;
        }
        1 if words.is(0, "enable") || words.is(0, "disable") => {
            reply(switch(cx, words.is(0, "enable")));
            return After::Next;
        }
        _ => {
            reply(Reply::Error(Error::Unknown));
            return After::Next;
        }
    };
    let allowed = match dump {
        Some(Format::Meta) if !cx.server.settings.dump_enabled => Err("ERROR metadump not allowed"),
        Some(Format::Keys) if !cx.server.settings.dump_enabled => Err("ERROR key dump not allowed"),
        _ if !cx.server.live.lru_crawler.load(Relaxed) => Err("CLIENT_ERROR lru crawler disabled"),
        _ => Ok(()),
    };
    if let Err(text) = allowed {
        reply(line(text));
        return After::Next;
    }
    match (dump, selection(words.at(1), cx.store.class_limit())) {
        (_, None) => reply(line("BADCLASS invalid class id")),
        (None, Some(Selection::Hash)) => reply(line("ERROR an unknown error happened")),
        (None, Some(_)) => {
            cx.server.process.add(Process::LruCrawlerStarts, 1);
            cx.server.crawl_wanted.store(true, Relaxed);
            reply(Reply::Ok);
        }
        (Some(format), Some(selection)) => return After::Dump(Dump::new(format, selection)),
    }
    After::Next
}

fn setting(cx: &Context<'_>, words: &Words<'_>) -> Reply<'static> {
    let Some(number) = words.whole(1) else { return BAD_FORMAT };
    let live = &cx.server.live;
    if words.is(0, "tocrawl") {
        live.lru_crawler_tocrawl.store(number, Relaxed);
    } else if number > 1_000_000 {
        return Reply::Error(Error::Client("sleep must be one second or less"));
    } else {
        live.lru_crawler_sleep_us.store(number, Relaxed);
    }
    Reply::Ok
}

fn switch(cx: &Context<'_>, on: bool) -> Reply<'static> {
    let was_on = cx.server.live.lru_crawler.swap(on, Relaxed);
    if on && was_on { line("ERROR failed to start lru crawler thread") } else { Reply::Ok }
}

/// `all`, `hash`, or class numbers below `limit` joined by commas.
fn selection(word: &[u8], limit: u32) -> Option<Selection> {
    match word {
        b"all" => return Some(Selection::All),
        b"hash" => return Some(Selection::Hash),
        _ => {}
    }
    let mut classes = Vec::new();
    for class in word.split(|&byte| byte == b',').filter(|class| !class.is_empty()) {
        let class = parse_u32(class)?;
        if class == 0 || class >= limit {
            return None;
        }
        classes.push(class);
    }
    (!classes.is_empty()).then_some(Selection::Classes(classes))
}
