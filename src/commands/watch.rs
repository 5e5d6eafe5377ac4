//! `watch`, and what the other commands tell watchers (section 12).
//!
//! The functions that tell are called only where somebody watches, some of them under the lock of an item: see [`Context::watches`].

use super::{After, Context};
use crate::logger::{Event, Found, Logger, NoSeat, StoreCommand, StoreStatus, Streams, Watcher};
use crate::protocol::reply::{Error, Reply};
use crate::protocol::request::{Delete, Store, StoreMode};
use crate::store::{Absence, Draft, EXPIRED, Entry, Exptime};

/// memcached's clock stands at this second when it starts (section 1.2).
const FIRST_SECOND: u32 = 62;

/// `watch <words>`: what to watch; without words, lookups.
pub(super) fn watch(cx: &Context<'_>, words: &[u8], reply: impl FnOnce(Reply<'_>)) -> After {
    if !cx.server.settings.watch_enabled {
        reply(Reply::Error(Error::Client("watch commands not allowed")));
        return After::Next;
    }
    let mut streams = Streams::NONE;
    for word in words.split(|&byte| byte == b' ').filter(|word| !word.is_empty()) {
        match Streams::WORDS.iter().find(|(full, _)| full.as_bytes().starts_with(word)) {
            Some((_, stream)) => streams = streams.and(*stream),
            None => return After::Watch(Err(Error::Unknown)),
        }
    }
    After::Watch(Ok(if streams == Streams::NONE { Streams::FETCHERS } else { streams }))
}

/// What is answered when earlier replies of the same burst still wait.
pub const CANNOT_PIPELINE: Error = Error::Line("ERROR cannot pipeline other commands before watch");

/// Takes a seat among the watchers.
///
/// # Errors
/// When there are too many, or there is no memory.
pub fn begin(cx: &Context<'_>, streams: Streams) -> Result<Watcher, Error> {
    Logger::watch(&cx.server.logger, streams).map_err(|why| match why {
        NoSeat::TooMany => Error::Line("WATCHER_TOO_MANY log watcher limit reached"),
        NoSeat::NoMemory => Error::Line("WATCHER_FAILED failed to add log watcher"),
    })
}

/// A lookup found nothing, or something past its time.
#[cold]
pub(super) fn tell_absent(cx: &Context<'_>, key: &[u8], absence: Absence) {
    let found = match absence {
        Absence::NotFound => Found::NotFound,
        Absence::Expired => Found::Expired,
        Absence::Flushed => Found::Flushed,
    };
    cx.server.logger.log(&Event::ItemGet { key, found, class: 0, cfd: cx.cfd, size: 0 });
}

/// A lookup found an item.
#[cold]
pub(super) fn tell_found(cx: &Context<'_>, entry: &Entry<'_>) {
    let (class, size) = (entry.class(), entry.value_len());
    cx.server.logger.log(&Event::ItemGet { key: entry.key(), found: Found::Found, class, cfd: cx.cfd, size });
}

/// An item was deleted, or emptied.
#[cold]
pub(super) fn tell_deleted(cx: &Context<'_>, delete: &Delete<'_>, class: u32, size: usize) {
    if let Some(command) = delete.told_as {
        cx.server.logger.log(&Event::Deleted { key: delete.key.bytes(), command, class, size });
    }
}

/// What is told of a draft once it is known what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    class: u32,
    exptime: Exptime,
    size: usize,
}

impl Told {
    /// Of this draft, if somebody wants to know.
    #[inline]
    pub fn of(cx: &Context<'_>, draft: &Draft) -> Option<Told> {
        cx.watches(Streams::MUTATIONS).then(|| Told {
            class: draft.class(),
            exptime: draft.exptime(),
            size: draft.value_len(),
        })
    }

    #[cold]
    pub fn tell(self, cx: &Context<'_>, key: &[u8], command: StoreCommand, status: StoreStatus) {
        let ttl = self.ttl(cx);
        let Told { class, size, .. } = self;
        cx.server.logger.log(&Event::ItemStore { key, status, command, ttl, class, cfd: cx.cfd, size });
    }

    /// Seconds left, cut to 32 bits as memcached cuts them: what is over counts from its second 1.
    fn ttl(self, cx: &Context<'_>) -> u32 {
        match self.exptime {
            0 => 0,
            EXPIRED => {
                let running = cx.now.seconds.saturating_sub(cx.server.started_seconds);
                EXPIRED.wrapping_sub(running.saturating_add(FIRST_SECOND))
            }
            exptime => exptime.wrapping_sub(cx.now.seconds),
        }
    }
}

/// A store was refused before there was a draft.
#[cold]
pub(super) fn tell_refused(cx: &Context<'_>, store: &Store<'_>, status: StoreStatus) {
    Told { class: 0, exptime: 0, size: 0 }.tell(cx, store.key.bytes(), command(store), status);
}

/// The command by memcached's account: `ms` with `C` is `cas`, whether it sets or replaces.
pub(super) const fn command(store: &Store<'_>) -> StoreCommand {
    match store.mode {
        StoreMode::Set | StoreMode::Replace if store.compare.is_some() => StoreCommand::Cas,
        StoreMode::Set => StoreCommand::Set,
        StoreMode::Add => StoreCommand::Add,
        StoreMode::Replace => StoreCommand::Replace,
        StoreMode::Append => StoreCommand::Append,
        StoreMode::Prepend => StoreCommand::Prepend,
    }
}
