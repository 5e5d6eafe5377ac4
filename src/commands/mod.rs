//! What the verbs mean. Everything here speaks of neutral requests and replies; how they are spelled is `protocol`'s affair.
//!
//! - [`get`], [`store`], [`delete`], [`arith`], [`touch`]: one item each; [`rewrite`] is what append, arithmetic and
//!   `md` share: replacing an item only if it is still the one that was read.
//! - [`admin`]: one-line commands about the server; [`crawler`], [`lru`], [`slabs`], [`extstore`]: those with sub-commands.
//! - [`stats`]: everything that `stats` prints; [`dump`]: `metadump` and `mgdump`, as cursors that `conn` drives.
//! - [`watch`]: `watch`, and what the other commands tell watchers.
//! - [`auth`]: who may ask at all.
//! - [`server`]: what all threads share; [`expiry`]: from an exptime as typed to a second.
//!
//! Replies to reads are spelled while the item is locked (the value is borrowed from it), so a `reply` closure must
//! neither block nor call the store.

pub mod admin;
pub mod arith;
pub mod auth;
pub mod crawler;
pub mod delete;
pub mod dump;
pub mod expiry;
pub mod extstore;
pub mod get;
pub mod lru;
mod rewrite;
pub mod server;
pub mod slabs;
pub mod stats;
pub mod store;
pub mod touch;
pub mod watch;
mod words;

pub use dump::Dump;
pub use server::{ConnRow, ConnTable, Server};
pub use store::Payload;

use crate::clock::Now;
use crate::logger::Streams;
use crate::protocol::reply::Error;
use crate::protocol::{Reply, Request};
use crate::stats::{Counter, ThreadStats};
use crate::store::{Absence, Entry, Spot, Store, Value};

/// What a command works with.
pub struct Context<'a> {
    /// The items.
    pub store: &'a Store,
    /// What all threads share.
    pub server: &'a Server,
    /// The counters of this thread.
    pub stats: &'a ThreadStats,
    /// The moment at which this burst of requests is run.
    pub now: Now,
    /// The client's descriptor, by which log lines name it; -1 where there is none.
    pub cfd: i32,
    /// What was watched when the burst began: asked at every request, so it is kept at hand.
    watched: Streams,
}

impl<'a> Context<'a> {
    /// For one burst of requests of the client with the descriptor `cfd`.
    #[must_use]
    pub fn new(store: &'a Store, server: &'a Server, stats: &'a ThreadStats, now: Now, cfd: i32) -> Context<'a> {
        Context { store, server, stats, now, cfd, watched: server.logger.streams() }
    }

    /// Whether anybody watches one of these streams.
    #[inline]
    #[must_use]
    pub const fn watches(&self, streams: Streams) -> bool {
        self.watched.meets(streams)
    }
}

/// What the conn has to do once the reply is written.
#[derive(Debug)]
#[must_use]
pub enum After {
    /// Nothing: the next command.
    Next,
    /// Send what is queued and close (`quit`).
    Close,
    /// Close, and stop the server.
    Shutdown {
        /// Like SIGUSR1 rather than SIGINT.
        graceful: bool,
    },
    /// Nothing was done: the value is large, and clients hold as much of item memory as they may. Run it again later.
    Later,
    /// Stream a dump, then go on. The reply is part of the stream.
    Dump(Dump),
    /// Be a watcher of these streams from now on, by [`watch::begin`], or say why not. Nothing was replied.
    Watch(Result<Streams, Error>),
}

/// Runs `request` and hands its reply, and the value that goes with it if any, to `reply` exactly once (not at all
/// when a [`Dump`] follows, or with [`After::Later`] or [`After::Watch`]).
/// `spot` is that of the request's key; `payload` is the value of a storage command.
pub fn run<F>(cx: &Context<'_>, request: &Request<'_>, spot: &Spot, payload: Payload<'_>, reply: F) -> After
where
    F: FnOnce(Reply<'_>, Option<Value<'_>>),
{
    let hash = spot.hash;
    match request {
        Request::Get(get) => return get::get(cx, get, spot, reply),
        Request::Store(store) => reply(store::store(cx, store, hash, payload), None),
        Request::Delete(delete) => reply(delete::delete(cx, delete, hash), None),
        Request::Arith(arith) => reply(arith::arith(cx, arith, spot), None),
        Request::Touch(touch) => reply(touch::touch(cx, touch, hash), None),
        Request::Inspect(key) => reply(get::inspect(cx, key.bytes(), hash), None),
        Request::Noop => reply(Reply::Noop, None),
        Request::Admin(admin) => return admin::admin(cx, admin, |line| reply(line, None)),
    }
    After::Next
}

/// Counts that a lookup met an item past its time; every lookup does, whatever its command (section 5.8). Watchers are told of
/// every one too.
fn count_absence(cx: &Context<'_>, key: &[u8], absence: Absence) {
    tell_absent(cx, key, absence);
    match absence {
        Absence::NotFound => {}
        Absence::Expired => cx.stats.count(Counter::GetExpired),
        Absence::Flushed => cx.stats.count(Counter::GetFlushed),
    }
}

/// Tells watchers that a lookup found nothing, or something past its time.
#[inline]
fn tell_absent(cx: &Context<'_>, key: &[u8], absence: Absence) {
    if cx.watches(Streams::FETCHERS) {
        watch::tell_absent(cx, key, absence);
    }
}

/// Tells watchers that a lookup found an item.
#[inline]
fn tell_found(cx: &Context<'_>, entry: &Entry<'_>) {
    if cx.watches(Streams::FETCHERS) {
        watch::tell_found(cx, entry);
    }
}
