//! What watchers are told (`watch`, section 12 of the reference): lines about lookups, stores, evictions, connections.
//!
//! Whoever has something to tell asks [`Logger::watched`] first, which is one load of a word that hardly ever changes, and only
//! then makes an [`Event`]. [`Logger::log`] spells it and appends the line to the buffer of each watcher that wants it. A buffer has
//! a fixed size and is never waited for: what does not fit is counted, and the next line that fits says how many
//! were left out. `net` asks each [`Watcher`] now and then for what has come, and sends it.
//!
//! memcached has a buffer for each worker in between, and a thread that spells; here the thread that has something to tell spells it
//! itself, which keeps the order of the lines and costs only while somebody watches, and next to nothing for
//! watchers whose buffers are full. So `log_worker_dropped` stays 0, and `worker_logbuf_size` is kept and shown only.
//!
//! The lock in here is a leaf: it may be taken under the store's locks, and nothing is allocated under it.

mod event;

pub use event::{CloseReason, Event, Found, StoreCommand, StoreStatus, Transport, percent_encode};

use crate::stats::{Process, ProcessStats};
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, lock};
use event::{LINE_MAX, Line};

/// Most watchers at a time.
pub const WATCHERS_MAX: usize = 20;

/// Streams of events, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams(u32);

impl Streams {
    /// None of them.
    pub const NONE: Streams = Streams(0);
    /// Every command, in memcached's words; no line is ever made of it, there as here.
    pub const RAWCMDS: Streams = Streams(1);
    /// Items evicted.
    pub const EVICTIONS: Streams = Streams(1 << 1);
    /// Lookups.
    pub const FETCHERS: Streams = Streams(1 << 2);
    /// Stores, and attempts at it.
    pub const MUTATIONS: Streams = Streams(1 << 3);
    /// What the server does by itself: crawls, page moves.
    pub const SYSEVENTS: Streams = Streams(1 << 4);
    /// Clients that come and go.
    pub const CONNEVENTS: Streams = Streams(1 << 5);
    /// Deletes.
    pub const DELETIONS: Streams = Streams(1 << 6);
    /// What memcached's proxy tells; here nobody does.
    pub const PROXY: Streams = Streams(1 << 7);

    /// The words behind `watch`, in the order in which a prefix is matched (section 4.3).
    pub const WORDS: [(&'static str, Streams); 10] = [
        ("rawcmds", Streams::RAWCMDS),
        ("evictions", Streams::EVICTIONS),
        ("fetchers", Streams::FETCHERS),
        ("mutations", Streams::MUTATIONS),
        ("sysevents", Streams::SYSEVENTS),
        ("connevents", Streams::CONNEVENTS),
        ("proxyreqs", Streams::PROXY),
        ("proxyevents", Streams::PROXY),
        ("proxyuser", Streams::PROXY),
        ("deletions", Streams::DELETIONS),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Streams) -> Streams {
        Streams(self.0 | other.0)
    }

    /// Whether the sets have a stream in common.
    #[inline]
    #[must_use]
    pub const fn meets(self, other: Streams) -> bool {
        self.0 & other.0 != 0
    }
}

/// Why nobody more can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// There are [`WATCHERS_MAX`].
    TooMany,
    /// There is no memory for the buffers.
    NoMemory,
}

/// See the file's head. One for the process.
#[derive(Debug)]
pub struct Logger {
    watched: Watched,
    /// Number of the last line.
    gid: AtomicU64,
    buffer_bytes: usize,
    seats: Mutex<Vec<Arc<Seat>>>,
    process: Arc<ProcessStats>,
}

/// What is watched, on a cache line of its own: every request reads it, and it changes when a watcher comes or goes.
#[derive(Debug)]
#[repr(align(128))]
struct Watched(AtomicU32);

/// What a watcher and the logger share.
#[derive(Debug)]
struct Seat {
    streams: Streams,
    /// The last line did not fit and nothing was taken since: further lines need not even be spelled.
    full: AtomicBool,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    /// Its capacity is the bound, and is never changed.
    bytes: Vec<u8>,
    /// Lines left out since the last one that fitted.
    skipped: u64,
}

impl Logger {
    /// Nobody watches yet. Each watcher will have `buffer_bytes` (`watcher_logbuf_size`) for lines it has not been sent.
    #[must_use]
    pub fn new(process: Arc<ProcessStats>, buffer_bytes: usize) -> Logger {
        Logger {
            watched: Watched(AtomicU32::new(0)),
            gid: AtomicU64::new(0),
            buffer_bytes: buffer_bytes.max(LINE_MAX),
            seats: Mutex::new(Vec::new()),
            process,
        }
    }

    /// The streams that somebody watches now.
    #[inline]
    #[must_use]
    pub fn streams(&self) -> Streams {
        Streams(self.watched.0.load(Ordering::Relaxed))
    }

    /// Whether anybody watches one of these streams.
    #[inline]
    #[must_use]
    pub fn watched(&self, streams: Streams) -> bool {
        self.streams().meets(streams)
    }

    /// A new watcher.
    ///
    /// # Errors
    /// When there are [`WATCHERS_MAX`], or there is no memory for its buffers.
    pub fn watch(logger: &Arc<Logger>, streams: Streams) -> Result<Watcher, NoSeat> {
        let mut seats = lock(&logger.seats);
        if seats.len() == WATCHERS_MAX {
            return Err(NoSeat::TooMany);
        }
        let (mut bytes, mut taken) = (Vec::new(), Vec::new());
        for buffer in [&mut bytes, &mut taken] {
            buffer.try_reserve_exact(logger.buffer_bytes).map_err(|_| NoSeat::NoMemory)?;
        }
        let lines = Mutex::new(Lines { bytes, skipped: 0 });
        let seat = Arc::new(Seat { streams, full: AtomicBool::new(false), lines });
        seats.push(Arc::clone(&seat));
        logger.process.add(Process::LogWatchers, 1);
        logger.publish(&seats);
        Ok(Watcher { logger: Arc::clone(logger), seat, taken, told: 0 })
    }

    fn publish(&self, seats: &[Arc<Seat>]) {
        let all = seats.iter().fold(Streams::NONE, |all, seat| all.and(seat.streams));
        self.watched.0.store(all.0, Ordering::Relaxed);
    }

    /// Tells whoever watches the event's stream.
    #[cold]
    pub fn log(&self, event: &Event<'_>) {
        let stream = event.stream();
        let seats = lock(&self.seats);
        let mut wanting = seats.iter().filter(|seat| seat.streams.meets(stream)).peekable();
        if wanting.peek().is_none() {
            return;
        }
        // Under the lock, so that every watcher sees the numbers rise.
        let gid = self.gid.fetch_add(1, Ordering::Relaxed) + 1;
        self.process.add(Process::LogWorkerWritten, 1);
        let mut line = None;
        for seat in wanting {
            let mut lines = lock(&seat.lines);
            if seat.full.load(Ordering::Relaxed) || !lines.push(line.get_or_insert_with(|| Line::of(gid, event))) {
                seat.full.store(true, Ordering::Relaxed);
                lines.skipped += 1;
                self.process.add(Process::LogWatcherSkipped, 1);
            } else {
                self.process.add(Process::LogWatcherSent, 1);
            }
        }
    }
}

impl Lines {
    /// Appends a line, and before it how many were left out; false when there is no room for both.
    fn push(&mut self, line: &Line) -> bool {
        let note = (self.skipped > 0).then(|| Line::skipped(self.skipped));
        let note = note.as_ref().map_or(&[][..], Line::bytes);
        if self.bytes.capacity() - self.bytes.len() < note.len() + line.bytes().len() {
            return false;
        }
        self.bytes.extend_from_slice(note);
        self.bytes.extend_from_slice(line.bytes());
        self.skipped = 0;
        true
    }
}

/// One client that watches. Dropped, it no longer does.
#[derive(Debug)]
pub struct Watcher {
    logger: Arc<Logger>,
    seat: Arc<Seat>,
    /// Lines taken from the seat; those before `told` have been handed on.
    taken: Vec<u8>,
    told: usize,
}

impl Watcher {
    /// Appends to `out` at most `bytes_max` bytes of what has come.
    pub fn take(&mut self, out: &mut Vec<u8>, bytes_max: usize) {
        if self.told == self.taken.len() {
            self.taken.clear();
            self.told = 0;
            let mut lines = lock(&self.seat.lines);
            // An exchange: whoever logs waits for a copy of pointers only.
            std::mem::swap(&mut lines.bytes, &mut self.taken);
            self.seat.full.store(false, Ordering::Relaxed);
        }
        let end = self.taken.len().min(self.told + bytes_max);
        out.extend_from_slice(&self.taken[self.told..end]);
        self.told = end;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut seats = lock(&self.logger.seats);
        seats.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        self.logger.publish(&seats);
        self.logger.process.sub(Process::LogWatchers, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger(bytes: usize) -> Arc<Logger> {
        Arc::new(Logger::new(Arc::new(ProcessStats::new()), bytes))
    }

    fn moved(src: u32) -> Event<'static> {
        Event::SlabMove { src, dst: 2, done: true }
    }

    fn taken(watcher: &mut Watcher) -> String {
        let mut out = Vec::new();
        watcher.take(&mut out, usize::MAX);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_stream_is_watched_as_long_as_somebody_watches_it() {
        let logger = logger(4096);
        assert!(!logger.watched(Streams::SYSEVENTS));
        let one = Logger::watch(&logger, Streams::SYSEVENTS.and(Streams::FETCHERS));
        let other = Logger::watch(&logger, Streams::FETCHERS);
        assert!(logger.watched(Streams::SYSEVENTS) && !logger.watched(Streams::EVICTIONS));
        drop(one);
        assert!(!logger.watched(Streams::SYSEVENTS) && logger.watched(Streams::FETCHERS));
        drop(other);
        assert_eq!((logger.streams(), logger.process.get(Process::LogWatchers)), (Streams::NONE, 0));
    }

    #[test]
    fn each_watcher_gets_the_lines_of_its_streams_once() {
        let logger = logger(4096);
        let mut sys = Logger::watch(&logger, Streams::SYSEVENTS).unwrap();
        let mut gets = Logger::watch(&logger, Streams::FETCHERS).unwrap();
        logger.log(&moved(1));
        assert!(taken(&mut sys).ends_with(" gid=1 type=slab_move src=1 dst=2 state=ok\n"));
        assert_eq!((taken(&mut sys), taken(&mut gets)), (String::new(), String::new()));
    }

    #[test]
    fn a_slow_watcher_loses_lines_and_is_told_how_many() {
        let logger = logger(0);
        let mut slow = Logger::watch(&logger, Streams::SYSEVENTS).unwrap();
        let mut quick = Logger::watch(&logger, Streams::SYSEVENTS).unwrap();
        let mut told = String::new();
        for src in 0..100 {
            logger.log(&moved(src));
            told.push_str(&taken(&mut quick));
        }
        assert_eq!(told.lines().count(), 100);
        let kept = taken(&mut slow).lines().count();
        assert!(kept > 1 && kept < 100, "as many as fit: {kept}");
        logger.log(&moved(100));
        let then = taken(&mut slow);
        assert!(then.starts_with(&format!("skipped={}\nts=", 100 - kept)), "{then}");
        assert!(then.ends_with("gid=101 type=slab_move src=100 dst=2 state=ok\n"), "{then}");
        let stats = &logger.process;
        assert_eq!(stats.get(Process::LogWorkerWritten), 101);
        assert_eq!(stats.get(Process::LogWatcherSkipped), (100 - kept) as u64);
        assert_eq!(stats.get(Process::LogWatcherSent), (101 + kept + 1) as u64);
    }

    #[test]
    fn lines_may_be_taken_in_pieces() {
        let logger = logger(4096);
        let mut watcher = Logger::watch(&logger, Streams::SYSEVENTS).unwrap();
        logger.log(&moved(1));
        let mut out = Vec::new();
        for _ in 0..100 {
            watcher.take(&mut out, 7);
        }
        assert!(out.ends_with(b" gid=1 type=slab_move src=1 dst=2 state=ok\n"));
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }

    #[test]
    fn there_are_at_most_twenty() {
        let logger = logger(4096);
        let mut all: Vec<_> = (0..WATCHERS_MAX).map(|_| Logger::watch(&logger, Streams::FETCHERS).unwrap()).collect();
        assert_eq!(Logger::watch(&logger, Streams::FETCHERS).err(), Some(NoSeat::TooMany));
        all.pop();
        assert!(Logger::watch(&logger, Streams::FETCHERS).is_ok());
    }

    #[test]
    fn without_memory_for_its_buffers_nobody_watches() {
        let logger = logger(usize::MAX >> 1);
        assert_eq!(Logger::watch(&logger, Streams::FETCHERS).err(), Some(NoSeat::NoMemory));
        assert_eq!(logger.process.get(Process::LogWatchers), 0);
    }
}
