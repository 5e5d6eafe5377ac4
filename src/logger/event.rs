//! What there is to tell, and how each event is spelled (section 12): `ts=<sec>.<usec> gid=<n> type=<type>`, then fields, then LF.

use super::Streams;
use crate::clock;
use arrayvec::ArrayVec;
use std::io::Write as _;

/// Longest line: a key of 250 bytes, each percent-encoded, and a dozen numbers.
pub(super) const LINE_MAX: usize = 3 * 250 + 400;

/// Bytes of a message that are told.
const MESSAGE_MAX: usize = 300;

/// Something that a watcher may want to know.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A lookup, also those made by stores, deletes, arithmetic.
    ItemGet {
        /// The key looked for.
        key: &'a [u8],
        /// What came of it.
        found: Found,
        /// Slab class; 0 when there is no item.
        class: u32,
        /// The client's descriptor.
        cfd: i32,
        /// Bytes of the value.
        size: usize,
    },
    /// A store, or an attempt.
    ItemStore {
        /// The key.
        key: &'a [u8],
        /// What came of it.
        status: StoreStatus,
        /// By which command.
        command: StoreCommand,
        /// Seconds left, 0 for never; a time that is past comes out huge, as memcached's does.
        ttl: u32,
        /// Slab class; 0 when no memory was taken.
        class: u32,
        /// The client's descriptor.
        cfd: i32,
        /// Bytes of the value.
        size: usize,
    },
    /// An item was deleted.
    Deleted {
        /// The key.
        key: &'a [u8],
        /// `delete` or `md`.
        command: &'static str,
        /// Slab class.
        class: u32,
        /// Bytes of the value.
        size: usize,
    },
    /// A live item had to make room.
    Eviction {
        /// The key.
        key: &'a [u8],
        /// Whether it was ever read.
        fetched: bool,
        /// Seconds it had left, -1 for ever.
        ttl: i64,
        /// Seconds since its last access.
        idle: u32,
        /// Slab class.
        class: u32,
        /// Bytes of the value.
        size: usize,
    },
    /// A client came.
    ConnNew {
        /// Its address; `unix` for a unix socket.
        rip: &'a str,
        /// Its port; 0 for a unix socket.
        rport: u16,
        /// How it came.
        transport: Transport,
        /// Its descriptor.
        cfd: i32,
    },
    /// A client went.
    ConnClose {
        /// Its address; `unix` for a unix socket.
        rip: &'a str,
        /// Its port; 0 for a unix socket.
        rport: u16,
        /// How it came.
        transport: Transport,
        /// Why it was closed.
        reason: CloseReason,
        /// Its descriptor.
        cfd: i32,
    },
    /// Something failed on a connection.
    ConnError {
        /// In TLS, not below it.
        tls: bool,
        /// The descriptor.
        cfd: i32,
        /// What.
        message: &'a str,
    },
    /// A crawl of one class is done.
    LruCrawler {
        /// Which class.
        class: u32,
        /// Seconds since the crawl before.
        since_run: u32,
        /// Seconds it took.
        elapsed: u32,
        /// Items looked at.
        examined: u64,
        /// Items that were over.
        reclaimed: u64,
    },
    /// A page went from one class to another; 0 is the pool.
    SlabMove {
        /// From which class.
        src: u32,
        /// To which class.
        dst: u32,
        /// Whether it could be moved.
        done: bool,
    },
}

/// What a lookup found.
#[expect(missing_docs, reason = "memcached's words")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    NotFound,
    Found,
    Flushed,
    Expired,
}

/// What came of a store.
#[expect(missing_docs, reason = "memcached's words")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreStatus {
    NotStored,
    Stored,
    Exists,
    NotFound,
    TooLarge,
    NoMemory,
}

/// The storage commands.
#[expect(missing_docs, reason = "memcached's words")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCommand {
    Add,
    Set,
    Replace,
    Append,
    Prepend,
    Cas,
}

/// How a client is connected.
#[expect(missing_docs, reason = "memcached's words")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Local,
    Tcp,
    Udp,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It failed, or what the client said was no protocol.
    Error,
    /// The client said `quit` or closed it.
    Normal,
    /// `idle_timeout`.
    IdleTimeout,
    /// The server stops.
    Shutdown,
}

impl Event<'_> {
    /// The stream it belongs to.
    pub(super) const fn stream(&self) -> Streams {
        match self {
            Event::ItemGet { .. } => Streams::FETCHERS,
            Event::ItemStore { .. } => Streams::MUTATIONS,
            Event::Deleted { .. } => Streams::DELETIONS,
            Event::Eviction { .. } => Streams::EVICTIONS,
            Event::ConnNew { .. } | Event::ConnClose { .. } | Event::ConnError { .. } => Streams::CONNEVENTS,
            Event::LruCrawler { .. } | Event::SlabMove { .. } => Streams::SYSEVENTS,
        }
    }
}

/// A spelled line.
pub(super) struct Line(ArrayVec<u8, LINE_MAX>);

impl Line {
    /// The line of an event. What would make it longer than [`LINE_MAX`] is cut; no event does.
    pub fn of(gid: u64, event: &Event<'_>) -> Line {
        let mut line = Line(ArrayVec::new());
        let at = clock::unix_time();
        // QUIRK: microseconds without leading zeros.
        line.put(format_args!("ts={}.{} gid={gid} type=", at.as_secs(), at.subsec_micros()));
        line.event(event);
        if line.0.is_full() {
            line.0.pop();
        }
        line.0.push(b'\n');
        line
    }

    /// The note that lines were left out.
    pub fn skipped(count: u64) -> Line {
        let mut line = Line(ArrayVec::new());
        line.put(format_args!("skipped={count}\n"));
        line
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Fails where the line is full: see `of`.
        let _ = self.0.write_fmt(text);
    }

    fn key(&mut self, kind: &str, key: &[u8]) {
        self.put(format_args!("{kind} key="));
        percent_encode(key, |bytes| {
            let _ = self.0.write_all(bytes);
        });
    }

    fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::ItemGet { key, found, class, cfd, size } => {
                self.key("item_get", key);
                self.put(format_args!(" status={} clsid={class} cfd={cfd} size={size}", found.word()));
            }
            Event::ItemStore { key, status, command, ttl, class, cfd, size } => {
                self.key("item_store", key);
                let (status, command) = (status.word(), command.word());
                self.put(format_args!(" status={status} cmd={command} ttl={ttl} clsid={class} cfd={cfd} size={size}"));
            }
            Event::Deleted { key, command, class, size } => {
                self.key("deleted", key);
                self.put(format_args!(" cmd={command} clsid={class} size={size}"));
            }
            Event::Eviction { key, fetched, ttl, idle, class, size } => {
                self.key("eviction", key);
                let fetched = if fetched { "yes" } else { "no" };
                self.put(format_args!(" fetch={fetched} ttl={ttl} la={idle} clsid={class} size={size}"));
            }
            Event::ConnNew { rip, rport, transport, cfd } => {
                let transport = transport.word();
                self.put(format_args!("conn_new rip={rip} rport={rport} transport={transport} cfd={cfd}"));
            }
            Event::ConnClose { rip, rport, transport, reason, cfd } => {
                let (transport, reason) = (transport.word(), reason.word());
                self.put(format_args!(
                    "conn_close rip={rip} rport={rport} transport={transport} reason={reason} cfd={cfd}"
                ));
            }
            Event::ConnError { tls, cfd, message } => {
                let kind = if tls { "conntlserr" } else { "connerr" };
                let cut = message.char_indices().map(|(at, _)| at).find(|&at| at > MESSAGE_MAX);
                self.put(format_args!("{kind} fd={cfd} msg={}", &message[..cut.unwrap_or(message.len())]));
            }
            Event::LruCrawler { class, since_run, elapsed, examined, reclaimed } => self.put(format_args!(
                "lru_crawler crawler={class} lru=cold low_mark=0 next_reclaims=0 since_run={since_run} next_run=1 \
                 elapsed={elapsed} examined={examined} reclaimed={reclaimed}"
            )),
            Event::SlabMove { src, dst, done } => {
                let state = if done { "ok" } else { "fail" };
                self.put(format_args!("slab_move src={src} dst={dst} state={state}"));
            }
        }
    }
}

impl Found {
    const fn word(self) -> &'static str {
        match self {
            Found::NotFound => "not_found",
            Found::Found => "found",
            Found::Flushed => "flushed",
            Found::Expired => "expired",
        }
    }
}

impl StoreStatus {
    const fn word(self) -> &'static str {
        match self {
            StoreStatus::NotStored => "not_stored",
            StoreStatus::Stored => "stored",
            StoreStatus::Exists => "exists",
            StoreStatus::NotFound => "not_found",
            StoreStatus::TooLarge => "too_large",
            StoreStatus::NoMemory => "no_memory",
        }
    }
}

impl StoreCommand {
    const fn word(self) -> &'static str {
        match self {
            StoreCommand::Add => "add",
            StoreCommand::Set => "set",
            StoreCommand::Replace => "replace",
            StoreCommand::Append => "append",
            StoreCommand::Prepend => "prepend",
            StoreCommand::Cas => "cas",
        }
    }
}

impl Transport {
    const fn word(self) -> &'static str {
        match self {
            Transport::Local => "local",
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}

impl CloseReason {
    const fn word(self) -> &'static str {
        match self {
            CloseReason::Error => "error",
            CloseReason::Normal => "normal",
            CloseReason::IdleTimeout => "idle_timeout",
            CloseReason::Shutdown => "shutdown",
        }
    }
}

/// Everything but `A-Z a-z 0-9 - . _ ~` as `%XX`, handed on piece by piece.
pub fn percent_encode(key: &[u8], mut put: impl FnMut(&[u8])) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in key {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            put(&[byte]);
        } else {
            put(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands behind the time and the number.
    fn spelled(event: &Event<'_>) -> String {
        let line = Line::of(7, event);
        let text = String::from_utf8(line.bytes().to_vec()).unwrap();
        let (head, rest) = text.split_once(" gid=7 type=").unwrap();
        let (seconds, micros) = head.strip_prefix("ts=").unwrap().split_once('.').unwrap();
        assert!(seconds.parse::<u64>().is_ok() && micros.parse::<u32>().is_ok(), "{head}");
        rest.to_owned()
    }

    #[test]
    fn each_event_is_spelled_as_memcached_spells_it() {
        let cases = [
            (
                Event::ItemGet { key: b"a%b", found: Found::Expired, class: 0, cfd: 23, size: 0 },
                "item_get key=a%25b status=expired clsid=0 cfd=23 size=0\n",
            ),
            (
                Event::ItemStore {
                    key: b"k",
                    status: StoreStatus::Stored,
                    command: StoreCommand::Cas,
                    ttl: 4_294_967_231,
                    class: 1,
                    cfd: 23,
                    size: 3,
                },
                "item_store key=k status=stored cmd=cas ttl=4294967231 clsid=1 cfd=23 size=3\n",
            ),
            (Event::Deleted { key: b"k", command: "md", class: 1, size: 2 }, "deleted key=k cmd=md clsid=1 size=2\n"),
            (
                Event::Eviction { key: b"k", fetched: false, ttl: -1, idle: 9, class: 3, size: 100 },
                "eviction key=k fetch=no ttl=-1 la=9 clsid=3 size=100\n",
            ),
            (
                Event::ConnNew { rip: "unix", rport: 0, transport: Transport::Local, cfd: 9 },
                "conn_new rip=unix rport=0 transport=local cfd=9\n",
            ),
            (
                Event::ConnClose {
                    rip: "127.0.0.1",
                    rport: 5,
                    transport: Transport::Tcp,
                    reason: CloseReason::IdleTimeout,
                    cfd: 9,
                },
                "conn_close rip=127.0.0.1 rport=5 transport=tcp reason=idle_timeout cfd=9\n",
            ),
            (Event::ConnError { tls: true, cfd: 9, message: "no" }, "conntlserr fd=9 msg=no\n"),
            (
                Event::LruCrawler { class: 4, since_run: 5, elapsed: 6, examined: 7, reclaimed: 8 },
                "lru_crawler crawler=4 lru=cold low_mark=0 next_reclaims=0 since_run=5 next_run=1 elapsed=6 examined=7 \
                 reclaimed=8\n",
            ),
            (Event::SlabMove { src: 0, dst: 5, done: false }, "slab_move src=0 dst=5 state=fail\n"),
        ];
        for (event, line) in cases {
            assert_eq!(spelled(&event), line);
        }
    }

    #[test]
    fn the_longest_line_fits() {
        let (key, far) = ([0xff; 250], usize::MAX);
        let status = StoreStatus::NotStored;
        let event = Event::ItemStore {
            key: &key,
            status,
            command: StoreCommand::Prepend,
            ttl: u32::MAX,
            class: u32::MAX,
            cfd: i32::MIN,
            size: far,
        };
        assert!(spelled(&event).ends_with(&format!("size={far}\n")));
        let message = "ä".repeat(1000);
        let event = Event::ConnError { tls: false, cfd: i32::MIN, message: &message };
        assert!(spelled(&event).ends_with("ä\n"), "cut between two characters");
    }

    #[test]
    fn keys_are_percent_encoded_in_upper_case() {
        let mut out = Vec::new();
        percent_encode(b"a-Z_0.~ /\xff", |bytes| out.extend_from_slice(bytes));
        assert_eq!(out, b"a-Z_0.~%20%2F%FF");
    }
}
