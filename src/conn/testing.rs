//! A conversation in process: bytes in, bytes out, and a clock that the test turns.
//!
//! [`Talk`] plays the caller of a [`Conn`]: it keeps what was not consumed, presents it again, gives the conn its turns, and sends
//! (collects) what comes out. It can also cut the input anywhere, receiving values straight into item memory as `net` does.

use std::io::Write as _;

use super::handover::{Reader, Writer};
use super::{Conn, Next, Output};
use crate::clock::{Clock, Now};
use crate::commands::auth::Credential;
use crate::commands::{Context, Server};
use crate::settings::Settings;
use crate::stats::ThreadStats;
use crate::store::{Config, SlabTable, Store};
use crate::sync::Arc;

/// The descriptor that log lines name.
pub const CFD: i32 = 9;

/// One client of a server of its own.
pub struct Talk {
    /// The items.
    pub store: Store,
    /// What all threads share.
    pub server: Arc<Server>,
    /// The moment that commands see; a test moves it.
    pub now: Now,
    /// How the conversation ended, if it did.
    pub ended: Option<Next>,
    /// Turns in which the conn did not get done (`Next::Again`).
    pub yields: usize,
    conn: Conn,
    stats: Arc<ThreadStats>,
    unread: Vec<u8>,
    received: Vec<u8>,
}

/// A store of 64 MiB with memcached's own class table, as the reference's examples assume.
#[must_use]
pub fn config() -> Config {
    Config { slabs: SlabTable::Factor { min: 48, factor: 1.25 }, ..Config::with_memory(64 << 20, 1) }
}

impl Default for Talk {
    fn default() -> Talk {
        Talk::new()
    }
}

impl Talk {
    /// Default settings.
    #[must_use]
    pub fn new() -> Talk {
        Talk::with(Settings::default())
    }

    /// Given settings; those of the store are [`config`]'s but for the item size limit. With authentication, `ann` comes in by
    /// `secret`.
    ///
    /// # Panics
    /// When there is no memory for the store.
    #[must_use]
    pub fn with(settings: Settings) -> Talk {
        let mut config = config();
        config.item_size_max = settings.item_size_max_bytes;
        config.cas = settings.cas_enabled;
        config.evict = settings.evictions;
        let store = Store::open(&config).expect("64 MiB of memory");
        let server = Arc::new(Server::new(settings, Clock::start()));
        if server.settings.protocol_of_authentication().is_some() {
            server.credentials.replace(Credential::new(b"ann", b"secret").into_iter().collect());
        }
        store.tell(Arc::clone(&server.logger));
        Talk::begin(store, server)
    }

    /// Another client of the same server.
    #[must_use]
    pub fn beside(&self) -> Talk {
        Talk { now: self.now, ..Talk::begin(self.store.clone(), Arc::clone(&self.server)) }
    }

    fn begin(store: Store, server: Arc<Server>) -> Talk {
        let stats = Arc::clone(&server.threads[0]);
        // Not the clock, which may have gone on since: tests compare times with that of the start.
        let now = Now::at(server.started_seconds, 0);
        Talk {
            store,
            server,
            now,
            ended: None,
            yields: 0,
            conn: Conn::new(),
            stats,
            unread: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Sends `input` in one piece and returns what comes back.
    pub fn say(&mut self, input: impl AsRef<[u8]>) -> String {
        text(&self.exchange(input))
    }

    /// The same where what comes back is no text.
    pub fn exchange(&mut self, input: impl AsRef<[u8]>) -> Vec<u8> {
        self.feed(input.as_ref());
        std::mem::take(&mut self.received)
    }

    /// Another client of the same server.
    pub fn reconnect(&mut self) {
        self.conn = Conn::new();
        self.unread.clear();
        self.ended = None;
    }

    /// The conversation goes on in another process, as after an upgrade in place.
    ///
    /// # Panics
    /// When it is one that cannot.
    pub fn move_house(&mut self) {
        let mut input = self.conn.take_back_upload();
        input.append(&mut self.unread);
        let mut writer = Writer::default();
        self.conn.write(&mut writer);
        self.conn = Conn::read(&mut Reader::new(&writer.into_bytes())).expect("what was written is read");
        self.feed(&input);
    }

    /// Lets `seconds` pass.
    pub fn wait(&mut self, seconds: u32) {
        self.now = Now::at(self.now.seconds + seconds, 0);
    }

    /// The value of a line of `stats <sub>`, or nothing.
    pub fn stat(&mut self, sub: &str, name: &str) -> String {
        let printed = self.say(format!("stats {sub}\r\n"));
        let start = format!("STAT {name} ");
        printed.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
    }

    /// One piece of input arrives. Where the conn is receiving a value, it goes into item memory first.
    fn feed(&mut self, mut piece: &[u8]) {
        let mut out = Output::new();
        let mut cx = Context::new(&self.store, &self.server, &self.stats, self.now, CFD);
        if self.unread.is_empty() {
            while !piece.is_empty()
                && let Some(place) = self.conn.upload(&mut cx)
            {
                let length = place.len().min(piece.len());
                place[..length].copy_from_slice(&piece[..length]);
                self.conn.uploaded(length);
                piece = &piece[length..];
            }
        }
        self.unread.extend_from_slice(piece);
        while self.ended.is_none() {
            let progress = self.conn.process(&self.unread, &mut out, &mut cx);
            self.unread.drain(..progress.consumed);
            drain(&mut out, &mut self.received);
            match progress.next {
                Next::Read | Next::Watch => return,
                Next::Again => self.yields += 1,
                ended => self.ended = Some(ended),
            }
        }
    }
}

/// Sends everything, as a socket would that takes up to 1000 bytes at a time.
fn drain(out: &mut Output, received: &mut Vec<u8>) {
    while !out.is_empty() {
        out.send(1000, |slices| received.write_vectored(slices)).expect("memory");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a conversation on a fresh server answers, which must not depend on how it is cut into pieces: it is held whole, byte
/// by byte, cut in two at every place, and cut at random places.
///
/// # Panics
/// When a cut changes the answer; the message says where it was.
pub fn however_cut(settings: &Settings, conversation: &[u8]) -> String {
    text(&however_cut_bytes(settings, conversation))
}

/// The same where what comes back is no text.
///
/// # Panics
/// Like [`however_cut`].
pub fn however_cut_bytes(settings: &Settings, conversation: &[u8]) -> Vec<u8> {
    let hold = |cuts: &[usize]| {
        let mut talk = Talk::with(settings.clone());
        let mut start = 0;
        for &cut in cuts {
            talk.feed(&conversation[start..cut]);
            start = cut;
        }
        talk.feed(&conversation[start..]);
        talk.received
    };
    let whole = hold(&[]);
    let every: Vec<usize> = (1..conversation.len()).collect();
    let same = |cuts: &[usize], which: &str| {
        assert_eq!(hold(cuts).escape_ascii().to_string(), whole.escape_ascii().to_string(), "{which}");
    };
    same(&every, "byte by byte");
    // At most a few hundred cuts: each takes a server of its own.
    for &cut in every.iter().step_by(every.len() / 100 + 1) {
        same(&[cut], &format!("cut at {cut}"));
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for seed in 0..20 {
        let cuts: Vec<usize> = every
            .iter()
            .copied()
            .filter(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.is_multiple_of(9)
            })
            .collect();
        same(&cuts, &format!("random cuts, round {seed}: {cuts:?}"));
    }
    whole
}
