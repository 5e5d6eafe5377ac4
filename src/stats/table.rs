//! One row for each line of `stats`, in memcached's order (section 11.1 of the reference).
//!
//! A row says what the value means, whether it is a counter (which `stats reset` takes back to zero) or a state, under which
//! condition the line appears, and where its number comes from. Whoever prints, exports or documents statistics
//! loops over [`ROWS`].

use super::process::{Process, ProcessFacts};
use super::thread::{ClassCounter, Counter, Sums};

/// One line of `stats`.
#[derive(Debug)]
pub struct Row {
    /// As clients see it.
    pub name: &'static str,
    /// What it means, for documents and `/metrics`.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// When the line appears.
    pub when: When,
    /// Where the number is kept.
    pub source: Source,
}

/// What kind of value a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, and starts again at `stats reset`.
    Counter,
    /// How things stand; `stats reset` leaves it alone.
    State,
    /// Words rather than a number.
    Text,
}

/// The condition under which a line appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every time.
    Always,
    /// `maxconns_fast`.
    MaxconnsFast,
    /// `idle_timeout` is set.
    IdleTimeout,
    /// Pages may move between classes (`slab_reassign`).
    PageMoves,
    /// The crawler is on.
    Crawler,
    /// The maintainer is on.
    Maintainer,
    /// TLS is on.
    Tls,
    /// TLS is on and caches its sessions.
    TlsSessionCache,
}

/// Where a row's number is kept.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Counted by each thread.
    Thread(Counter),
    /// Counted by each thread for each slab class.
    Class(ClassCounter),
    /// Hits and misses of a command together.
    Both(ClassCounter, Counter),
    /// A fact of the process.
    Process(Process),
    /// Known to whoever prints, by name: the store's totals, settings, the clock.
    Elsewhere,
}

impl Source {
    /// The number, unless it is kept elsewhere.
    #[must_use]
    pub fn read(self, threads: &Sums, process: &ProcessFacts) -> Option<u64> {
        match self {
            Source::Thread(counter) => Some(threads.plain(counter)),
            Source::Class(counter) => Some(threads.classes(counter)),
            Source::Both(hits, misses) => Some(threads.classes(hits) + threads.plain(misses)),
            Source::Process(fact) => Some(process.get(fact)),
            Source::Elsewhere => None,
        }
    }
}

/// A counter of `threads`, always shown.
const fn thread(name: &'static str, counter: Counter, help: &'static str) -> Row {
    Row { name, help, kind: Kind::Counter, when: When::Always, source: Source::Thread(counter) }
}

/// A class counter summed over all classes, always shown.
const fn class(name: &'static str, counter: ClassCounter, help: &'static str) -> Row {
    Row { name, help, kind: Kind::Counter, when: When::Always, source: Source::Class(counter) }
}

/// Hits and misses together, always shown.
const fn both(name: &'static str, hits: ClassCounter, misses: Counter, help: &'static str) -> Row {
    Row { name, help, kind: Kind::Counter, when: When::Always, source: Source::Both(hits, misses) }
}

/// A fact of the process that is a state.
const fn process(name: &'static str, fact: Process, help: &'static str) -> Row {
    Row { name, help, kind: Kind::State, when: When::Always, source: Source::Process(fact) }
}

/// A value given by name.
const fn given(name: &'static str, kind: Kind, help: &'static str) -> Row {
    Row { name, help, kind, when: When::Always, source: Source::Elsewhere }
}

impl Row {
    /// The same row under a condition.
    const fn when(self, when: When) -> Row {
        Row { when, ..self }
    }

    /// The same row as a counter.
    const fn counter(self) -> Row {
        Row { kind: Kind::Counter, ..self }
    }
}

use ClassCounter as C;
use Counter as T;
use Kind::{Counter as Counts, State, Text};
use Process as P;
use When::{Crawler, IdleTimeout, Maintainer, MaxconnsFast, PageMoves, Tls, TlsSessionCache};

/// Every line of `stats`, in order.
pub static ROWS: &[Row] = &[
    given("pid", State, "process id"),
    given("uptime", State, "seconds since the start"),
    given("time", State, "unix time of the server"),
    given("version", Text, "the memcached version clients are told"),
    given("libevent", Text, "the event library; memhold names its own loop"),
    given("pointer_size", State, "bits of a pointer"),
    given("rusage_user", Text, "seconds of CPU in user code"),
    given("rusage_system", Text, "seconds of CPU in the kernel"),
    given("max_connections", State, "most connections at a time (-c)"),
    process("curr_connections", P::CurrConnections, "open connections"),
    process("total_connections", P::TotalConnections, "connections accepted").counter(),
    process("rejected_connections", P::RejectedConnections, "connections refused over the limit")
        .counter()
        .when(MaxconnsFast),
    process("connection_structures", P::ConnectionStructures, "connection records allocated"),
    thread("response_obj_oom", T::ResponseObjOom, "replies lost for lack of reply memory"),
    process("response_obj_count", P::ResponseObjCount, "reply buffers in use"),
    process("response_obj_bytes", P::ResponseObjBytes, "bytes of reply buffers"),
    process("read_buf_count", P::ReadBufCount, "read buffers"),
    process("read_buf_bytes", P::ReadBufBytes, "bytes of read buffers"),
    process("read_buf_bytes_free", P::ReadBufBytesFree, "bytes of read buffers not in use"),
    thread("read_buf_oom", T::ReadBufOom, "connections closed for lack of a read buffer"),
    given("reserved_fds", State, "descriptors kept for the server itself"),
    both("cmd_get", C::GetHits, T::GetMisses, "keys asked for by get, gets and mg"),
    class("cmd_set", C::CmdSet, "values received by storage commands"),
    thread("cmd_flush", T::CmdFlush, "flush_all commands"),
    both("cmd_touch", C::TouchHits, T::TouchMisses, "keys asked for by touch, gat and gats"),
    thread("cmd_meta", T::CmdMeta, "me commands"),
    class("get_hits", C::GetHits, "reads that found the item"),
    thread("get_misses", T::GetMisses, "reads that found nothing"),
    thread("get_expired", T::GetExpired, "lookups that found an expired item"),
    thread("get_flushed", T::GetFlushed, "lookups that found a flushed item"),
    thread("delete_misses", T::DeleteMisses, "deletes that found nothing"),
    class("delete_hits", C::DeleteHits, "deletes that found the item"),
    thread("incr_misses", T::IncrMisses, "increments that found nothing"),
    class("incr_hits", C::IncrHits, "increments that found the item"),
    thread("decr_misses", T::DecrMisses, "decrements that found nothing"),
    class("decr_hits", C::DecrHits, "decrements that found the item"),
    thread("cas_misses", T::CasMisses, "compare-and-swaps that found nothing"),
    class("cas_hits", C::CasHits, "compare-and-swaps that stored"),
    class("cas_badval", C::CasBadval, "compare-and-swaps whose item had changed"),
    class("touch_hits", C::TouchHits, "touches that found the item"),
    thread("touch_misses", T::TouchMisses, "touches that found nothing"),
    thread("store_too_large", T::StoreTooLarge, "stores refused for their size"),
    thread("store_no_memory", T::StoreNoMemory, "stores refused for lack of memory"),
    thread("auth_cmds", T::AuthCmds, "authentications tried"),
    thread("auth_errors", T::AuthErrors, "authentications failed"),
    thread("idle_kicks", T::IdleKicks, "connections closed for being idle").when(IdleTimeout),
    thread("bytes_read", T::BytesRead, "bytes read from clients"),
    thread("bytes_written", T::BytesWritten, "bytes sent to clients"),
    given("limit_maxbytes", State, "bytes of memory for items (-m)"),
    process("accepting_conns", P::AcceptingConns, "whether new connections are accepted"),
    process("listen_disabled_num", P::ListenDisabledNum, "times accepting was paused").counter(),
    process("time_in_listen_disabled_us", P::TimeInListenDisabledUs, "microseconds in which accepting was paused")
        .counter(),
    given("threads", State, "worker threads (-t)"),
    thread("conn_yields", T::ConnYields, "times a connection had to let others have a turn"),
    given("hash_power_level", State, "binary logarithm of the size of the index"),
    given("hash_bytes", State, "bytes of the index"),
    given("hash_is_expanding", State, "whether the index is growing"),
    given("slab_reassign_rescues", Counts, "items rescued from pages being moved").when(PageMoves),
    given("slab_reassign_chunk_rescues", Counts, "chunks of large items rescued from pages being moved")
        .when(PageMoves),
    given("slab_reassign_inline_reclaim", Counts, "expired items met in pages being moved").when(PageMoves),
    given("slab_reassign_busy_items", Counts, "items in use in pages being moved").when(PageMoves),
    given("slab_reassign_busy_deletes", Counts, "items in use deleted from pages being moved").when(PageMoves),
    given("slab_reassign_busy_nomem", Counts, "page moves that found no memory for a rescue").when(PageMoves),
    given("slab_reassign_last_busy_status", Text, "why the last page move had to wait").when(PageMoves),
    given("slab_reassign_running", State, "whether a page is being moved").when(PageMoves),
    given("slabs_moved", Counts, "pages moved between classes").when(PageMoves),
    given("lru_crawler_running", State, "whether the crawler is at work").when(Crawler),
    process("lru_crawler_starts", P::LruCrawlerStarts, "times the crawler was started").counter().when(Crawler),
    process("lru_maintainer_juggles", P::LruMaintainerJuggles, "steps of the maintainer").counter().when(Maintainer),
    process("malloc_fails", P::MallocFails, "allocations refused by the system").counter(),
    process("log_worker_dropped", P::LogWorkerDropped, "log lines lost by workers").counter(),
    process("log_worker_written", P::LogWorkerWritten, "log lines written by workers").counter(),
    process("log_watcher_skipped", P::LogWatcherSkipped, "log lines not sent to slow watchers").counter(),
    process("log_watcher_sent", P::LogWatcherSent, "log lines sent to watchers").counter(),
    process("log_watchers", P::LogWatchers, "watchers"),
    process("ssl_new_sessions", P::SslNewSessions, "new TLS sessions").counter().when(TlsSessionCache),
    process("ssl_handshake_errors", P::SslHandshakeErrors, "failed TLS handshakes").counter().when(Tls),
    process("ssl_proto_errors", P::SslProtoErrors, "TLS protocol errors").counter().when(Tls),
    given("time_since_server_cert_refresh", State, "seconds since the certificates were read").when(Tls),
    process("unexpected_napi_ids", P::UnexpectedNapiIds, "connections with a NAPI id of nobody").counter(),
    process("round_robin_fallback", P::RoundRobinFallback, "connections spread without a NAPI id").counter(),
    given("bytes", State, "bytes of items, by memcached's account"),
    given("curr_items", State, "items, expired ones not yet found included"),
    given("total_items", Counts, "items ever stored"),
    given("slab_global_page_pool", State, "free pages that belong to no class"),
    given("expired_unfetched", Counts, "items that expired and were never read"),
    given("evicted_unfetched", Counts, "items that were evicted and never read"),
    given("evicted_active", Counts, "items evicted although read recently").when(Maintainer),
    given("evictions", Counts, "items evicted to make room"),
    given("reclaimed", Counts, "expired items whose memory was taken for a new one"),
    given("crawler_reclaimed", Counts, "expired items found by the sweep"),
    given("crawler_items_checked", Counts, "items looked at by the sweep"),
    given("lrutail_reflocked", Counts, "eviction candidates that were in use"),
    given("moves_to_cold", Counts, "items that lost their place among the recent").when(Maintainer),
    given("moves_to_warm", Counts, "items kept because they were read").when(Maintainer),
    given("moves_within_lru", Counts, "items kept among the warm").when(Maintainer),
    given("direct_reclaims", Counts, "evictions done by a storing thread itself").when(Maintainer),
    given("lru_bumps_dropped", Counts, "accesses not recorded").when(Maintainer),
    given("memhold_version", Text, "memhold's own version"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_name_stands_twice_and_every_row_has_help() {
        let names: HashSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(ROWS.iter().all(|row| !row.help.is_empty()));
    }

    #[test]
    fn a_default_start_shows_memcacheds_93_lines_and_our_own() {
        let shown = ROWS.iter().filter(|row| !matches!(row.when, Tls | TlsSessionCache | IdleTimeout)).count();
        assert_eq!(shown, 93 + 1);
    }

    #[test]
    fn conditions_hide_as_many_lines_as_in_memcached() {
        let count = |when| ROWS.iter().filter(|row| row.when == when).count();
        assert_eq!(count(MaxconnsFast), 1);
        assert_eq!(count(PageMoves), 9);
        assert_eq!(count(Crawler), 2);
        assert_eq!(count(Maintainer), 7);
        assert_eq!(count(Tls), 3);
    }
}
