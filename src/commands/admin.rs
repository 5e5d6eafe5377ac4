//! One-line commands about the server (sections 4, 13, 16.6).

use super::expiry::absolute;
use super::words::Words;
use super::{After, Context, crawler, extstore, lru, slabs, stats, watch};
use crate::protocol::reply::{Error, Reply};
use crate::protocol::request::{Admin, ShutdownMode, TypedExptime};
use crate::settings::MIB;
use crate::stats::Counter;
use crate::store::Lookup;
use crate::sync::Ordering::Relaxed;

pub(super) fn admin(cx: &Context<'_>, admin: &Admin<'_>, reply: impl FnOnce(Reply<'_>)) -> After {
    match admin {
        Admin::Stats(words) => stats::stats(cx, words, reply),
        Admin::LruCrawler(words) => return crawler::lru_crawler(cx, words, reply),
        Admin::Version => reply(Reply::Version),
        Admin::Quit => {
            reply(Reply::Nothing);
            return After::Close;
        }
        Admin::Shutdown(mode) => return shutdown(cx, *mode, reply),
        Admin::Verbosity(level) => {
            cx.server.live.set_verbosity((*level).min(2));
            reply(Reply::Ok);
        }
        Admin::FlushAll(when) => reply(flush_all(cx, *when)),
        Admin::CacheMemlimit(megabytes) => reply(cache_memlimit(cx, *megabytes)),
        Admin::Lru(words) => reply(lru::lru(cx, words)),
        Admin::Slabs(words) => reply(slabs::slabs(cx, words)),
        Admin::Watch(words) => return watch::watch(cx, words, reply),
        Admin::Extstore(words) => reply(extstore::extstore(cx, words)),
        Admin::RefreshCerts => match cx.server.refresh_certs() {
            None => reply(Reply::Error(Error::Line("Error TLS not enabled"))),
            Some(Ok(())) => reply(Reply::Ok),
            Some(Err(line)) => reply(Reply::Lines(format!("{line}\r\n").as_bytes())),
        },
        Admin::DebugTime(word) => reply(debug_time(cx, word)),
        Admin::DebugItem(words) => reply(debug_item(cx, words)),
        Admin::DebugCrash(word) => reply(debug_crash(cx, word)),
    }
    After::Next
}

fn shutdown(cx: &Context<'_>, mode: ShutdownMode, reply: impl FnOnce(Reply<'_>)) -> After {
    if !cx.server.settings.shutdown_command {
        // With the colon, as memcached has it.
        reply(Reply::Error(Error::Line("SERVER_ERROR: shutdown not enabled")));
        return After::Next;
    }
    if mode == ShutdownMode::Unknown {
        reply(Reply::Error(Error::Client("invalid shutdown mode")));
        return After::Next;
    }
    reply(Reply::Nothing);
    After::Shutdown { graceful: mode == ShutdownMode::Graceful }
}

/// A past time means now: flushed items never come back (section 4.2).
fn flush_all(cx: &Context<'_>, typed: Option<TypedExptime>) -> Reply<'static> {
    cx.stats.count(Counter::CmdFlush);
    if !cx.server.settings.flush_enabled {
        return Reply::Error(Error::FLUSH_FORBIDDEN);
    }
    let Some(typed) = typed else { return Reply::Error(Error::BAD_EXPTIME) };
    let when = absolute(typed, cx.now);
    if when <= cx.now.seconds {
        cx.store.flush(cx.now);
    } else {
        cx.store.flush_at(when);
    }
    Reply::Ok
}

fn cache_memlimit(cx: &Context<'_>, megabytes: Option<u32>) -> Reply<'static> {
    let Some(megabytes) = megabytes else { return Reply::Error(Error::Unknown) };
    if megabytes < 8 {
        return Reply::Error(Error::Line("MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m"));
    }
    if megabytes > 1_000_000_000 {
        return Reply::Error(Error::Line("MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes"));
    }
    let bytes = u64::from(megabytes) * MIB;
    if !cx.store.set_memory_limit(bytes) {
        return Reply::Error(Error::Line("MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"));
    }
    cx.server.live.memory_bytes.store(bytes, Relaxed);
    Reply::Ok
}

/// `debugtime <n>`, `p`, `r` (section 16.6).
fn debug_time(cx: &Context<'_>, line: &[u8]) -> Reply<'static> {
    let words = Words::of(line);
    match words.at(0) {
        b"p" => cx.server.clock.freeze(),
        b"r" => cx.server.clock.resume(),
        _ => match words.long(0) {
            Some(seconds) => cx.server.clock.shift(seconds),
            None => return Reply::Error(Error::Unknown),
        },
    }
    Reply::Ok
}

/// `debugitem lock|unlock|ref|unref <key>`: there is nothing here that could be held; only whether the item exists is told.
fn debug_item(cx: &Context<'_>, line: &[u8]) -> Reply<'static> {
    let words = Words::of(line);
    if words.count() != 2 || !matches!(words.at(0), b"lock" | b"unlock" | b"ref" | b"unref") {
        return Reply::Error(Error::Unknown);
    }
    let key = words.at(1);
    let found = cx.store.lookup(key, cx.store.hash(key), cx.now, |found| matches!(found, Lookup::Found(_)));
    if found { Reply::Ok } else { Reply::Error(Error::Line("MISS")) }
}

/// `debugcrash panic|fault`: ends the process as a defect would, so that what outlives it can be tested.
fn debug_crash(cx: &Context<'_>, line: &[u8]) -> Reply<'static> {
    match Words::of(line).at(0) {
        b"panic" => panic!("debugcrash panic"),
        b"fault" => {
            if let Some(fault) = cx.server.fault.get() {
                fault();
            }
            Reply::Ok
        }
        _ => Reply::Error(Error::Unknown),
    }
}
