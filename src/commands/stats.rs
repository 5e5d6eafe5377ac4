//! Everything that `stats` prints (section 11).
//!
//! The general statistics are a loop over [`ROWS`]; numbers that are kept elsewhere than in the counters are given here by
//! name. `stats reset` remembers where every counter stands (a [`Baseline`]) and later printing subtracts it, so
//! nobody but its owner ever writes a counter.

use super::Context;
use super::server::Server;
use super::words::Words;
use crate::clock::Now;
use crate::protocol::reply::{Error, Reply};
use crate::settings::MEMCACHED_VERSION;
use crate::stats::process::ProcessFacts;
use crate::stats::table::{Kind, ROWS, Row, When};
use crate::stats::{ClassCounter, Process, Sums};
use crate::store::{ClassStats, Cursor, Store, Totals};
use crate::sync::Ordering::Relaxed;
use crate::sync::lock;

/// Where all counters stood at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    threads: Sums,
    process: ProcessFacts,
    totals: Totals,
    classes: Vec<ClassStats>,
}

impl Baseline {
    fn now(server: &Server, store: &Store) -> Baseline {
        let mut threads = Sums::default();
        for thread in &server.threads {
            threads.add(thread);
        }
        Baseline { threads, process: server.process.read(), totals: store.totals(), classes: store.classes() }
    }

    fn class(&self, class: u32) -> ClassStats {
        self.classes.iter().find(|row| row.class == class).copied().unwrap_or_default()
    }

    fn number(&self, row: &Row, server: &Server, now: Now) -> u64 {
        row.source.read(&self.threads, &self.process).unwrap_or_else(|| elsewhere(row.name, &self.totals, server, now))
    }
}

/// `stats <words>`.
pub(super) fn stats(cx: &Context<'_>, line: &[u8], reply: impl FnOnce(Reply<'_>)) {
    let words = Words::of(line);
    let mut out = Vec::new();
    let refused = match words.at(0) {
        b"" => {
            general(cx.server, cx.store, cx.now, &mut |row, value| stat(&mut out, row.name, value));
            None
        }
        _ if words.is(0, "reset") => {
            reset(cx);
            return reply(Reply::Reset);
        }
        _ if words.is(0, "detail") => match detail(cx, &words, &mut out) {
            Ok(true) => None,
            Ok(false) => return reply(Reply::Ok),
            Err(error) => Some(error),
        },
        _ if words.is(0, "settings") => {
            settings(cx, &mut out);
            None
        }
        _ if words.is(0, "cachedump") => cachedump(cx, &words, &mut out).err(),
        _ if words.is(0, "conns") => {
            conns(cx, &mut out);
            None
        }
        _ if words.is(0, "extstore") => None,
        b"items" => {
            items(cx, &mut out);
            None
        }
        b"slabs" => {
            slabs(cx, &mut out);
            None
        }
        b"sizes" => {
            sizes(cx, &mut out);
            None
        }
        _ => Some(Error::Unknown),
    };
    if let Some(error) = refused {
        return reply(Reply::Error(error));
    }
    out.extend_from_slice(b"END\r\n");
    reply(Reply::Lines(&out));
}

fn stat(out: &mut Vec<u8>, name: impl std::fmt::Display, value: impl std::fmt::Display) {
    use std::io::Write as _;
    // Writing to memory cannot fail.
    let _ = write!(out, "STAT {name} {value}\r\n");
}

/// The general statistics: calls `each` with every row that applies and its value, in order. Counters count from the
/// last `stats reset`.
pub fn general(server: &Server, store: &Store, now: Now, each: &mut dyn FnMut(&Row, &str)) {
    // In this order: a reset between the two would let the past be ahead of the present.
    let past = lock(&server.baseline).clone();
    let present = Baseline::now(server, store);
    let mut digits = itoa::Buffer::new();
    for row in ROWS.iter().filter(|row| applies(row.when, server)) {
        match row.kind {
            Kind::Text => each(row, &text(row.name, server)),
            Kind::State => each(row, digits.format(present.number(row, server, now))),
            Kind::Counter => {
                let since = present.number(row, server, now).saturating_sub(past.number(row, server, now));
                each(row, digits.format(since));
            }
        }
    }
}

fn applies(when: When, server: &Server) -> bool {
    match when {
        When::Always => true,
        When::MaxconnsFast => server.settings.maxconns_fast,
        When::IdleTimeout => server.settings.idle_timeout_seconds > 0,
        When::PageMoves => server.settings.slab_reassign,
        When::Crawler => server.live.lru_crawler.load(Relaxed),
        When::Maintainer => server.settings.lru_maintainer,
        When::Tls => server.settings.tls.enabled,
        When::TlsSessionCache => server.settings.tls.enabled && server.settings.tls.session_cache,
    }
}

/// The numbers of the table that are neither counted by threads nor facts of the process.
fn elsewhere(name: &str, totals: &Totals, server: &Server, now: Now) -> u64 {
    match name {
        "pid" => u64::from(std::process::id()),
        // memcached's own count begins two seconds before its start.
        "uptime" => u64::from(now.seconds.saturating_sub(server.started_seconds)) + 2,
        "time" => u64::from(now.seconds),
        "pointer_size" => u64::from(usize::BITS),
        "max_connections" => u64::from(server.settings.maxconns),
        "reserved_fds" => u64::from(server.settings.num_threads) * 5,
        "limit_maxbytes" => totals.limit_maxbytes,
        "threads" => u64::from(server.settings.num_threads),
        "time_since_server_cert_refresh" => {
            u64::from(now.seconds).saturating_sub(server.process.get(Process::SslRefreshTime))
        }
        "hash_power_level" => totals.hash_power_level,
        "hash_bytes" => totals.hash_bytes,
        "hash_is_expanding" => totals.hash_is_expanding,
        "slab_reassign_rescues" => totals.slab_reassign_rescues,
        "slab_reassign_running" => totals.slab_reassign_running,
        "lru_crawler_running" => u64::from(server.crawl_wanted.load(Relaxed)),
        "slab_reassign_inline_reclaim" => totals.slab_reassign_inline_reclaim,
        "slab_reassign_busy_items" => totals.slab_reassign_busy_items,
        "slabs_moved" => totals.slabs_moved,
        "bytes" => totals.bytes,
        "curr_items" => totals.curr_items,
        "total_items" => totals.total_items,
        "slab_global_page_pool" => totals.slab_global_page_pool,
        "expired_unfetched" => totals.expired_unfetched,
        "evicted_unfetched" => totals.evicted_unfetched,
        "evicted_active" => totals.evicted_active,
        "evictions" => totals.evictions,
        "reclaimed" => totals.reclaimed,
        "crawler_reclaimed" => totals.crawler_reclaimed,
        "crawler_items_checked" => totals.crawler_items_checked,
        "lrutail_reflocked" => totals.lrutail_reflocked,
        "moves_to_cold" => totals.moves_to_cold,
        "moves_to_warm" => totals.moves_to_warm,
        "moves_within_lru" => totals.moves_within_lru,
        "direct_reclaims" => totals.direct_reclaims,
        // Large items move whole, a busy item waits, a move that finds no memory is not begun, and no access is
        // queued to be dropped: these are always 0.
        _ => 0,
    }
}

fn text(name: &str, server: &Server) -> String {
    let (user, system) = server.cpu_time.get().map(|cpu_time| cpu_time()).unwrap_or_default();
    let seconds = |time: std::time::Duration| format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    match name {
        "version" => MEMCACHED_VERSION.to_owned(),
        "libevent" => "mio".to_owned(),
        "rusage_user" => seconds(user),
        "rusage_system" => seconds(system),
        "slab_reassign_last_busy_status" => "none".to_owned(),
        "memhold_version" => env!("CARGO_PKG_VERSION").to_owned(),
        _ => String::new(),
    }
}

fn reset(cx: &Context<'_>) {
    *lock(&cx.server.baseline) = Baseline::now(cx.server, cx.store);
    cx.server.prefixes.clear();
}

fn settings(cx: &Context<'_>, out: &mut Vec<u8>) {
    let server = cx.server;
    let flushed_at = cx.store.flushed_at();
    // By memcached's own count of seconds, which stands at 62 at the start.
    let oldest = if flushed_at == 0 {
        0
    } else {
        (u64::from(flushed_at) + 62).saturating_sub(u64::from(server.started_seconds))
    };
    server.live.oldest_live.store(oldest, Relaxed);
    for (name, value) in server.settings.stats_settings(&server.live) {
        stat(out, name, value);
    }
}

/// `stats detail on|off|dump`. Whether lines follow (rather than `OK`).
fn detail(cx: &Context<'_>, words: &Words<'_>, out: &mut Vec<u8>) -> Result<bool, Error> {
    if !cx.server.settings.dump_enabled {
        return Err(Error::Client("stats detail not allowed"));
    }
    let on = words.is(1, "on");
    if on || words.is(1, "off") {
        cx.server.prefixes.switch(on);
        cx.server.live.detail_enabled.store(on, Relaxed);
        return Ok(false);
    }
    if words.is(1, "dump") {
        cx.server.prefixes.dump(out);
        return Ok(true);
    }
    Err(Error::Client("usage: stats detail on|off|dump"))
}

/// `stats cachedump <class> <limit>`: at most 2 MB of a class's items, in no particular order.
fn cachedump(cx: &Context<'_>, words: &Words<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    const BYTES_MAX: usize = 2 * 1024 * 1024;
    const CHUNKS_PER_STEP: usize = 256;
    if !cx.server.settings.dump_enabled {
        return Err(Error::Client("stats cachedump not allowed"));
    }
    if words.count() < 3 {
        return Err(Error::Client("bad command line"));
    }
    let (Some(class), Some(limit)) = (words.whole(1), words.whole(2)) else {
        return Err(Error::Client("bad command line format"));
    };
    if class >= cx.store.class_limit() {
        return Err(Error::Client("Illegal slab id"));
    }
    let mut left = if limit == 0 { u32::MAX } else { limit };
    // Class 0 holds nothing, but would mean every class to the walk.
    let mut cursor = (class != 0).then(Cursor::default);
    while let Some(at) = cursor {
        cursor = cx.store.walk(at, class, CHUNKS_PER_STEP, cx.now, &mut |entry| {
            if left == 0 || entry.base64_key() {
                return;
            }
            left -= 1;
            let mut line = Vec::with_capacity(320);
            line.extend_from_slice(b"ITEM ");
            line.extend_from_slice(entry.key());
            line.extend_from_slice(format!(" [{} b; {} s]\r\n", entry.value_len(), entry.exptime()).as_bytes());
            if out.len() + line.len() > BYTES_MAX {
                left = 0;
            } else {
                out.extend_from_slice(&line);
            }
        });
        if left == 0 {
            break;
        }
    }
    Ok(())
}

fn conns(cx: &Context<'_>, out: &mut Vec<u8>) {
    let conns = lock(&cx.server.conns);
    let Some(table) = conns.as_ref() else { return };
    for row in table.rows(cx.now) {
        let fd = row.fd;
        if row.udp {
            stat(out, format_args!("{fd}:UDP"), "UDP");
        }
        stat(out, format_args!("{fd}:addr"), &row.addr);
        if let Some(listen_addr) = &row.listen_addr {
            stat(out, format_args!("{fd}:listen_addr"), listen_addr);
        }
        stat(out, format_args!("{fd}:state"), row.state);
        // This very command is the asking client's last one; its time is noted when it is done.
        let seconds = if fd == cx.cfd { 0 } else { row.secs_since_last_cmd };
        stat(out, format_args!("{fd}:secs_since_last_cmd"), seconds);
    }
}

/// One line of `stats items`.
type ItemsRow = (&'static str, bool, fn(&ClassStats, &ClassStats) -> u64);

/// By name; whether it needs the maintainer; and its value now, given where it stood at the last reset. Order of section 11.3.
const ITEMS: &[ItemsRow] = &[
    ("number", false, |c, _| c.number),
    ("number_hot", true, |c, _| c.number_hot),
    ("number_warm", true, |c, _| c.number_warm),
    ("number_cold", true, |c, _| c.number_cold),
    ("number_temp", true, |c, _| c.number_temp),
    ("age_hot", true, |c, _| c.age_hot),
    ("age_warm", true, |c, _| c.age_warm),
    ("age", false, |c, _| c.age),
    ("mem_requested", false, |c, _| c.mem_requested),
    ("evicted", false, |c, past| c.evicted.saturating_sub(past.evicted)),
    ("evicted_nonzero", false, |c, past| c.evicted_nonzero.saturating_sub(past.evicted_nonzero)),
    ("evicted_time", false, |c, _| c.evicted_time),
    ("outofmemory", false, |c, past| c.outofmemory.saturating_sub(past.outofmemory)),
    ("tailrepairs", false, |_, _| 0),
    ("reclaimed", false, |c, past| c.reclaimed.saturating_sub(past.reclaimed)),
    ("expired_unfetched", false, |c, past| c.expired_unfetched.saturating_sub(past.expired_unfetched)),
    ("evicted_unfetched", false, |c, past| c.evicted_unfetched.saturating_sub(past.evicted_unfetched)),
    ("evicted_active", true, |c, past| c.evicted_active.saturating_sub(past.evicted_active)),
    ("crawler_reclaimed", false, |c, past| c.crawler_reclaimed.saturating_sub(past.crawler_reclaimed)),
    ("crawler_items_checked", false, |c, past| c.crawler_items_checked.saturating_sub(past.crawler_items_checked)),
    ("lrutail_reflocked", false, |c, past| c.lrutail_reflocked.saturating_sub(past.lrutail_reflocked)),
    ("moves_to_cold", true, |c, past| c.moves_to_cold.saturating_sub(past.moves_to_cold)),
    ("moves_to_warm", true, |c, past| c.moves_to_warm.saturating_sub(past.moves_to_warm)),
    ("moves_within_lru", true, |c, past| c.moves_within_lru.saturating_sub(past.moves_within_lru)),
    ("direct_reclaims", true, |c, past| c.direct_reclaims.saturating_sub(past.direct_reclaims)),
];

fn items(cx: &Context<'_>, out: &mut Vec<u8>) {
    cx.store.sample_shares();
    let past = lock(&cx.server.baseline).clone();
    let present = Baseline::now(cx.server, cx.store);
    let maintainer = cx.server.settings.lru_maintainer;
    let temp_lru = cx.server.live.temp_lru.load(Relaxed);
    for now in present.classes.iter().filter(|row| row.number > 0) {
        let (class, then) = (now.class, past.class(now.class));
        for (name, needs_maintainer, value) in ITEMS {
            let shown = (maintainer || !needs_maintainer) && (*name != "number_temp" || temp_lru);
            if shown {
                stat(out, format_args!("items:{class}:{name}"), value(now, &then));
            }
        }
        if maintainer {
            // One clock instead of four lists: every hit is one of an item that will be kept, which is WARM.
            let hits = |sums: &Sums| sums.class(ClassCounter::GetHits, class);
            stat(out, format_args!("items:{class}:hits_to_hot"), 0);
            stat(out, format_args!("items:{class}:hits_to_warm"), hits(&present.threads) - hits(&past.threads));
            stat(out, format_args!("items:{class}:hits_to_cold"), 0);
            stat(out, format_args!("items:{class}:hits_to_temp"), 0);
        }
    }
}

fn slabs(cx: &Context<'_>, out: &mut Vec<u8>) {
    let past = lock(&cx.server.baseline).clone();
    let present = Baseline::now(cx.server, cx.store);
    let mut active = 0;
    for row in present.classes.iter().filter(|row| row.total_pages > 0) {
        active += 1;
        let class = row.class;
        let states = [
            ("chunk_size", row.chunk_size),
            ("chunks_per_page", row.chunks_per_page),
            ("total_pages", row.total_pages),
            ("total_chunks", row.total_chunks),
            ("used_chunks", row.used_chunks),
            ("free_chunks", row.free_chunks),
            ("free_chunks_end", 0),
        ];
        for (name, value) in states {
            stat(out, format_args!("{class}:{name}"), value);
        }
        for (counter, name) in ClassCounter::ALL {
            let since = present.threads.class(counter, class) - past.threads.class(counter, class);
            stat(out, format_args!("{class}:{name}"), since);
        }
    }
    stat(out, "active_slabs", active);
    stat(out, "total_malloced", present.totals.total_malloced);
}

/// `stats sizes`: counted by walking all items, so only where `-o track_sizes` asks for it.
fn sizes(cx: &Context<'_>, out: &mut Vec<u8>) {
    const STEP: usize = 32;
    const CHUNKS_PER_STEP: usize = 4096;
    if !cx.server.settings.track_sizes {
        return stat(out, "sizes_status", "disabled");
    }
    let mut counts = std::collections::BTreeMap::<usize, u64>::new();
    let mut cursor = Some(Cursor::default());
    while let Some(at) = cursor {
        cursor = cx.store.walk(at, 0, CHUNKS_PER_STEP, cx.now, &mut |entry| {
            *counts.entry(entry.account_size().next_multiple_of(STEP)).or_default() += 1;
        });
    }
    for (size, count) in counts {
        stat(out, size, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::settings::Settings;
    use crate::stats::table::Source;

    /// Rows that [`elsewhere`] leaves at 0 on purpose.
    const ALWAYS_ZERO: [&str; 6] = [
        "slab_reassign_chunk_rescues",
        "slab_reassign_busy_deletes",
        "slab_reassign_busy_nomem",
        "slab_reassign_running",
        "lru_crawler_running",
        "lru_bumps_dropped",
    ];

    #[test]
    fn every_row_kept_elsewhere_has_its_number_or_text() {
        let server = Server::new(Settings::default(), Clock::start());
        let ones = Totals {
            bytes: 1,
            curr_items: 1,
            total_items: 1,
            limit_maxbytes: 1,
            hash_power_level: 1,
            hash_bytes: 1,
            hash_is_expanding: 1,
            slab_global_page_pool: 1,
            expired_unfetched: 1,
            evicted_unfetched: 1,
            evicted_active: 1,
            evictions: 1,
            reclaimed: 1,
            crawler_reclaimed: 1,
            crawler_items_checked: 1,
            lrutail_reflocked: 1,
            moves_to_cold: 1,
            moves_to_warm: 1,
            moves_within_lru: 1,
            direct_reclaims: 1,
            slabs_moved: 1,
            slab_reassign_rescues: 1,
            slab_reassign_inline_reclaim: 1,
            slab_reassign_busy_items: 1,
            ..Totals::default()
        };
        for row in ROWS.iter().filter(|row| matches!(row.source, Source::Elsewhere) && row.when != When::Tls) {
            if row.kind == Kind::Text {
                assert!(!text(row.name, &server).is_empty(), "{}", row.name);
            } else if !ALWAYS_ZERO.contains(&row.name) {
                assert_ne!(elsewhere(row.name, &ones, &server, Now::at(5, 0)), 0, "{}", row.name);
            }
        }
    }

    #[test]
    fn uptime_begins_at_two() {
        let server = Server::new(Settings::default(), Clock::start());
        let now = Now::at(server.started_seconds + 5, 0);
        assert_eq!(elsewhere("uptime", &Totals::default(), &server, now), 7);
    }
}
