//! A server without sockets, threads or a clock of its own: the library's conversation, with the input cut as the test likes and
//! time passing when the test says so.
//!
//! It stands for the event loop and the background thread, and does no more than they do: it presents again what was not
//! consumed, receives values straight into item memory, gives a conversation its turns, and lets the store do its work.

use std::io::Write as _;

use memhold::clock::{Clock, Now};
use memhold::commands::{Context, Server};
use memhold::conn::{Conn, Next, Output};
use memhold::server::{memory, options, passwords};
use memhold::stats::ThreadStats;
use memhold::store::Store;
use memhold::sync::{Arc, Ordering};

/// Calls of `Store::maintain` after which the store has looked at everything it holds.
const STEPS_PER_SWEEP: u32 = 10;

/// A server and one client of it.
pub struct InProcess {
    store: Store,
    server: Server,
    stats: Arc<ThreadStats>,
    now: Now,
    conn: Conn,
    unread: Vec<u8>,
    /// What was answered and not yet taken.
    pub received: Vec<u8>,
    /// Whether the server has closed the connection.
    pub closed: bool,
}

impl InProcess {
    /// A server as `flags` would start it.
    ///
    /// # Panics
    /// When the flags are wrong or there is no memory.
    pub fn start(flags: &[String]) -> InProcess {
        let words: Vec<Vec<u8>> = flags.iter().map(|flag| flag.clone().into_bytes()).collect();
        let settings = options::parse("memhold", &words).expect("the transcript's flags are right").settings;
        let store = Store::open(&memory::store_config(&settings, 1)).expect("there is memory for the store");
        let conn = Conn::speaking(settings.binding_protocol);
        let credentials = passwords::load(&settings).expect("the transcript's passwords can be read");
        let server = Server::new(settings, Clock::start());
        server.credentials.replace(credentials);
        let stats = Arc::clone(&server.threads[0]);
        let now = server.clock.now();
        InProcess { store, server, stats, now, conn, unread: Vec::new(), received: Vec::new(), closed: false }
    }

    /// A new connection in place of the old one.
    pub fn reconnect(&mut self) {
        self.conn = Conn::speaking(self.server.settings.binding_protocol);
        self.unread.clear();
        self.received.clear();
        self.closed = false;
    }

    /// Lets `seconds` pass.
    pub fn advance(&mut self, seconds: u32) {
        self.now = Now::at(self.now.seconds + seconds, 0);
        self.sweep();
    }

    fn sweep(&self) {
        (0..STEPS_PER_SWEEP).for_each(|_| self.store.maintain(self.now));
    }

    /// Bytes arrive in one piece.
    pub fn feed(&mut self, mut piece: &[u8]) {
        let mut out = Output::new();
        let mut cx = Context::new(&self.store, &self.server, &self.stats, self.now, -1);
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
        while !self.closed {
            let progress = self.conn.process(&self.unread, &mut out, &mut cx);
            self.unread.drain(..progress.consumed);
            collect(&mut out, &mut self.received);
            match progress.next {
                Next::Read | Next::Watch => break,
                // All pinned values have been collected, so there is nothing to wait for later.
                Next::Again | Next::Later => {}
                Next::Close | Next::Shutdown { .. } => self.closed = true,
            }
        }
        if self.server.crawl_wanted.swap(false, Ordering::Relaxed) {
            self.sweep();
        }
    }
}

/// Sends everything, a little at a time.
fn collect(out: &mut Output, received: &mut Vec<u8>) {
    while !out.is_empty() {
        out.send(10_000, |slices| received.write_vectored(slices)).expect("memory");
    }
}
