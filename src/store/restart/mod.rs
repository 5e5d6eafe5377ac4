//! Memory that outlives the process: a store over the memory of a file, opened, closed, or moved into another file.
//!
//! ```text
//!             make                 close
//! no file ──────────► being made ► open ──────► closed
//!                                   ▲            │ verify, then
//!                                   └────────────┘
//!                             also when it was open: its process died
//! ```
//!
//! Closing writes a checksum of each page into the page table and seals the superblock, so an arena that was closed is verified to the
//! last bit before anything in it is believed; a page that fails is left out whole, and told. While the arena is open
//! there are no checksums, and none are needed against the death of the process: what the kernel has of a shared mapping is every store
//! that was executed, in order, and items are published by their last store (`scan.rs`).
//!
//! The mark *open* is set after verifying and before the first change. So whoever dies during either leaves what the next one
//! can take over.
//!
//! Closing also leaves a summary behind the pages (`summary.rs`), with which the next process verifies the pages but need not look at
//! every item. A process that only becomes another version leaves one without closing.

mod summary;

use super::classes::Classes;
use super::inner::Inner;
use super::memory::arena::{Geometry, LARGE_PAGE};
use super::memory::item::{BASE64_KEY, Chunk, HEADER, Layout, PINNED};
use super::memory::superblock::{Condition, Summary, Superblock};
use super::memory::{Arena, Stable, State, Trouble};
use super::scan::Scanned;
use super::{BootId, Config, Handle, Shape, Store, large, scan};
use crate::clock::Now;
use crate::sync::{Arc, Ordering};
use std::fs::File;

/// A file that is to be the arena, locked by the caller, and what the caller knows of time and place.
#[derive(Debug)]
pub struct Kept {
    /// Open for reading and writing.
    pub file: File,
    /// Identity of the running kernel.
    pub boot_id: BootId,
    /// The present unix second: the birth of an arena that is made.
    pub second: u32,
    /// Threads to verify and scan with; 0 for as many as there are processors.
    pub threads: usize,
    /// Stands behind the pages, if the process that had it before says so and nobody has touched it since.
    pub summary: Option<Summary>,
}

/// What was found when an arena was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// There was nothing: the arena was made.
    pub made: bool,
    /// It had been closed in order, and so could be verified.
    pub closed: bool,
    /// What the process before knew of it was believed, and nothing scanned.
    pub believed: bool,
    /// Items that are there now.
    pub items: u64,
    /// Pages left out because their checksum is wrong.
    pub damaged_pages: u64,
    /// Items left out because something about them cannot be, or because they do not fit any more.
    pub lost_items: u64,
    /// Unix second in which the arena was made: `uptime` counts from there.
    pub birth: u32,
}

impl Store {
    /// A store over the memory of a file: with the items that an earlier process left there, or empty when the file is.
    ///
    /// # Errors
    /// See [`Trouble`]. The file was not changed then, unless it was empty.
    pub fn open_kept(config: &Config, kept: Kept) -> Result<(Store, Recovery), Trouble> {
        match Arena::look(&kept.file, &kept.boot_id)? {
            None => Store::make_kept(config, kept),
            Some(superblock) => Store::take_over(config, kept, &superblock),
        }
    }

    /// Whether a store of this configuration could go on with the arena in `file` as it is, and how many bytes more it would need. Only
    /// looks: another process may have it open.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn look_at_kept(config: &Config, file: &File, boot_id: &BootId) -> Result<u64, Trouble> {
        let Some(superblock) = Arena::look(file, boot_id)? else {
            return Err(Trouble::Unfit("it is empty".to_owned()));
        };
        let page_size = 1 << superblock.page_shift;
        let classes = Classes::for_pages_of(config, page_size);
        if classes.page_size != page_size {
            return Err(Trouble::Differs(format!("pages of {page_size} bytes")));
        }
        let more = Arena::more_needed(&superblock, config.memory_bytes)?;
        for size in Arena::chunk_sizes(file, &superblock)? {
            if size != LARGE_PAGE && !classes.sizes.contains(&(size as usize)) {
                return Err(Trouble::Differs(format!("chunks of {size} bytes")));
            }
        }
        Ok(more)
    }

    fn make_kept(config: &Config, kept: Kept) -> Result<(Store, Recovery), Trouble> {
        let classes = Classes::new(config);
        let boot = (kept.boot_id, u64::from(kept.second));
        let arena = Arena::make(kept.file, config.memory_bytes, classes.page_size, boot)?;
        let inner = Inner::with_arena(config, classes, arena).map_err(Trouble::System)?;
        inner.classes.tell();
        inner.arena.note_open();
        let recovery = Recovery {
            made: true,
            closed: false,
            believed: false,
            items: 0,
            damaged_pages: 0,
            lost_items: 0,
            birth: kept.second,
        };
        Ok((Store::over(inner), recovery))
    }

    fn take_over(config: &Config, kept: Kept, superblock: &Superblock) -> Result<(Store, Recovery), Trouble> {
        let classes = Classes::for_pages_of(config, 1 << superblock.page_shift);
        if classes.page_size != 1 << superblock.page_shift {
            return Err(Trouble::Differs(format!("pages of {} bytes", 1 << superblock.page_shift)));
        }
        let closed = superblock.condition == Condition::Closed;
        let summary = kept.summary.or(superblock.summary);
        let arena = Arena::open(kept.file, superblock, config.memory_bytes)?;
        let threads = if kept.threads == 0 { scan::threads() } else { kept.threads };
        let mut inner = Inner::with_arena(config, classes, arena).map_err(Trouble::System)?;
        let birth = u32::try_from(superblock.birth).unwrap_or(kept.second);
        if let Some(summary) = summary {
            match inner.believe(summary, threads, closed) {
                Ok(items) => {
                    inner.drop_summary();
                    inner.classes.tell();
                    let (damaged_pages, lost_items) = (0, 0);
                    let recovery =
                        Recovery { made: false, closed, believed: true, items, damaged_pages, lost_items, birth };
                    return Ok((Store::over(inner), recovery));
                }
                Err(why) => log::info!("all items are looked at: the summary of them cannot be used, {why}"),
            }
            let classes = Classes::for_pages_of(config, 1 << superblock.page_shift);
            inner = Inner::with_arena(config, classes, inner.arena).map_err(Trouble::System)?;
        }
        let known = inner.arena.items_when_closed();
        let scanned = inner.scan(threads, closed);
        let scanned = scanned.map_err(|size| Trouble::Differs(format!("chunks of {size} bytes")))?;
        inner.drop_summary();
        inner.classes.tell();
        let lost_items = if closed { known.saturating_sub(scanned.items) } else { scanned.unsound };
        let Scanned { items, damaged_pages, .. } = scanned;
        let recovery = Recovery { made: false, closed, believed: false, items, damaged_pages, lost_items, birth };
        Ok((Store::over(inner), recovery))
    }

    /// A store over `new` with the items of `old`, whose layout differs from what `config` asks for. What does not fit is lost and
    /// counted. `old` keeps its items.
    ///
    /// # Errors
    /// See [`Trouble`]; it is about `old` when that is not sound, and otherwise about `new`.
    pub fn open_moved(config: &Config, old: Kept, new: Kept, now: Now) -> Result<(Store, Recovery), Trouble> {
        let Some(superblock) = Arena::look(&old.file, &old.boot_id)? else {
            return Store::make_kept(config, new);
        };
        let source = Arena::open(old.file, &superblock, u64::from(superblock.pages) << superblock.page_shift)?;
        let threads = if new.threads == 0 { scan::threads() } else { new.threads };
        let closed = superblock.condition == Condition::Closed;
        let damaged_pages = if closed { verify(&source, threads) } else { 0 };
        let classes = Classes::new(config);
        let arena = Arena::make(new.file, config.memory_bytes, classes.page_size, (new.boot_id, superblock.birth))?;
        source.note_open();
        let known = source.items_when_closed();
        let sizes = possible_sizes(&source);
        // Scanned first, so that no item is there twice.
        let source_classes = Classes::found(sizes, source.page_size());
        let source = Inner::with_arena(config, source_classes, source).map_err(Trouble::System)?;
        let scanned = source.scan(threads, false);
        let scanned = scanned.map_err(|size| Trouble::Differs(format!("chunks of {size} bytes")))?;
        let store = Store::over(Inner::with_arena(config, classes, arena).map_err(Trouble::System)?);
        let mut moving = MoveIn { source: &source, store: &store, now, dead: 0, scratch: Vec::new() };
        moving.everything();
        let dead = moving.dead;
        let inner = store.inner();
        let flushes = source.arena.flushes();
        inner.arena.note_flush(flushes.sequence, flushes.at);
        inner.arena.note_pending_flush(flushes.pending);
        inner.flushed.store(flushes.sequence, Ordering::Relaxed);
        inner.flushed_at.store(flushes.at, Ordering::Relaxed);
        inner.flush_at.store(flushes.pending, Ordering::Relaxed);
        inner.arena.sequence().store(source.arena.sequence().load(Ordering::Relaxed), Ordering::Relaxed);
        inner.arena.note_open();
        let items = inner.index.entry_count();
        store.reset_counts();
        let before = if closed { known } else { scanned.items + scanned.unsound };
        let birth = u32::try_from(superblock.birth).unwrap_or(new.second);
        let lost_items = before.saturating_sub(items + dead);
        Ok((store, Recovery { made: false, closed, believed: false, items, damaged_pages, lost_items, birth }))
    }

    /// Closes a kept arena, so that the next process can verify it. All that use the store have to be gone; returns how many items it
    /// holds, `None` when the store is not a kept one and everything is gone with it.
    ///
    /// # Errors
    /// When others still use the store. Nothing is lost then either: the arena stays open, as after a death.
    pub fn close(self) -> Result<Option<u64>, String> {
        let inner = Store::into_inner(self)?;
        if inner.arena.file().is_none() {
            return Ok(None);
        }
        let arena = &inner.arena;
        let (summary, ()) = scan::beside(
            || inner.summarise(),
            || {
                scan::each_page(scan::threads(), arena.pages_present(), |page, (): &mut ()| {
                    let used = arena.geometry(page).chunk_size != 0;
                    arena.note_checksum(page, if used { arena.checksum(page) } else { 0 });
                });
            },
        );
        let items = inner.index.entry_count();
        arena.note_closed(items, summary);
        Ok(Some(items))
    }

    /// Writes down for the next process what is known of a kept arena beside the arena itself, so that it need not look at every item.
    /// To be given to it as [`Kept::summary`]. Nobody may be at work, nor begin again if it is to be true. `None` when there is no room,
    /// or somebody still uses the store.
    #[must_use]
    pub fn summarise(&self) -> Option<Summary> {
        let alone = Arc::strong_count(&self.handle) == 1 && Arc::strong_count(&self.handle.0) == 1;
        alone.then(|| self.inner().summarise()).flatten()
    }

    /// Takes it back: the store goes on.
    pub fn drop_summary(&self) {
        self.inner().drop_summary();
    }

    /// Whether its memory is a file's.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.inner().arena.file().is_some()
    }

    /// The file whose memory this is: what to hand over to a process that is to take the arena over.
    #[must_use]
    pub fn kept_file(&self) -> Option<&File> {
        self.inner().arena.file()
    }

    /// A store over the arena of another one that is in nobody's hands any more, with nothing else taken over.
    ///
    /// # Errors
    /// When other handles exist, or the configuration has other sizes than the arena was made with.
    pub fn rebuilt(self, config: &Config) -> Result<Store, String> {
        let mut inner = Store::into_inner(self)?;
        inner.arena.set_pages_present(inner.pool.touched());
        let rebuilt = Inner::with_arena(config, Classes::new(config), inner.arena)?;
        rebuilt
            .scan(1, false)
            .map_err(|size| format!("the arena has chunks of {size} bytes, the slab classes do not"))?;
        Ok(Store::over(rebuilt))
    }

    fn over(inner: Inner) -> Store {
        Store { handle: Arc::new(Handle(Arc::new(inner))) }
    }

    fn into_inner(self) -> Result<Inner, String> {
        let handle = Arc::try_unwrap(self.handle).map_err(|_| "somebody still uses the store")?;
        Arc::try_unwrap(handle.0).map_err(|_| "somebody still uses the store".to_owned())
    }
}

/// Takes out of the table what does not have its checksum; returns how many pages that were.
fn verify(arena: &Arena, threads: usize) -> u64 {
    let damaged = scan::each_page(threads, arena.pages_present(), |page, damaged: &mut u64| {
        *damaged += u64::from(!scan::has_checksum(arena, page));
    });
    damaged.into_iter().sum()
}

/// The chunk sizes in a page table. Pages of a size that no slab table has are taken out.
fn possible_sizes(arena: &Arena) -> Vec<usize> {
    let mut sizes = Vec::new();
    for page in 0..arena.pages_used() {
        let size = arena.geometry(page).chunk_size as usize;
        if size == 0 || size == LARGE_PAGE as usize || sizes.contains(&size) {
            continue;
        }
        if size > HEADER && size <= arena.page_size() && size.is_multiple_of(arena.granule()) {
            sizes.push(size);
        } else {
            arena.set_geometry(page, Geometry::NOBODY);
        }
    }
    sizes.sort_unstable();
    sizes
}

/// Moving the items of an arena that nobody else uses, and that has been scanned, into a store.
struct MoveIn<'a> {
    source: &'a Inner,
    store: &'a Store,
    now: Now,
    /// Items that had expired or been flushed.
    dead: u64,
    scratch: Vec<u8>,
}

impl MoveIn<'_> {
    fn everything(&mut self) {
        let source = &self.source.arena;
        for page in 0..source.pages_used() {
            let Geometry { chunk_size, carved } = source.geometry(page);
            if chunk_size == LARGE_PAGE {
                scan::each_large(source, page, |head| self.take(head, head.shape().1), |_| {});
                continue;
            }
            for number in 0..carved {
                let offset = source.page_offset(page) + number as usize * chunk_size as usize;
                let chunk = Chunk::at(source, offset);
                if let Some(layout) = scan::sound(chunk, chunk_size as usize) {
                    self.take(chunk, layout);
                }
            }
        }
    }

    /// Stores one item as it is, if there is room for it.
    fn take(&mut self, chunk: Chunk<'_>, layout: Layout) {
        let (inner, store) = (self.source, self.store);
        let state = chunk.state();
        if inner.is_over(chunk, state, self.now) {
            self.dead += 1;
            return;
        }
        // Nobody else has the arena.
        let (source, stable) = (&inner.arena, Stable::from_guard(inner));
        let word = |at: usize, len: usize| {
            let mut bytes = [0; 8];
            bytes[..len].copy_from_slice(source.bytes(chunk.offset + at, len, stable));
            u64::from_le_bytes(bytes)
        };
        let value_len = if layout.large { chunk.large_len() as usize } else { layout.value_len };
        let shape = Shape {
            flags: if layout.flags { u32::try_from(word(layout.flags_at(), 4)).unwrap_or(0) } else { 0 },
            exptime: chunk.shape().0,
            value_len,
            base64_key: state.has(BASE64_KEY),
            chosen_cas: layout.wide.then(|| word(layout.wide_at(), 8)),
            renews: false,
        };
        self.scratch.clear();
        if layout.large {
            large::parts(source, chunk, value_len, |offset, len| {
                self.scratch.extend_from_slice(source.bytes(offset, len, stable));
                true
            });
        } else {
            self.scratch.extend_from_slice(source.bytes(chunk.offset + layout.value_at(), value_len, stable));
        }
        let key = source.bytes(chunk.offset + layout.key_at(), layout.key_len, stable);
        let Ok(mut draft) = store.reserve(key, store.hash(key), &shape, self.now) else { return };
        if draft.write(&self.scratch, self.now).is_ok() && draft.remaining() == 0 {
            store.link_moved(draft, state.with(PINNED, false), chunk.time().load(Ordering::Relaxed));
        }
    }
}

impl Store {
    /// Links a draft of a new key with the state and the last access that its item had elsewhere.
    fn link_moved(&self, draft: super::Draft, state: State, time: u32) {
        let inner = self.inner();
        let name = draft.name();
        let locked = inner.index.lock(draft.hash);
        let chunk = Chunk::named(&inner.arena, name);
        chunk.time().store(time, Ordering::Relaxed);
        if draft.is_large() {
            large::mark_head(&inner.arena, name, true);
        }
        chunk.set_state(state);
        let grow = locked.insert(name);
        draft.published();
        drop(locked);
        if grow {
            inner.index.grow(inner);
            inner.pool.set_taken_elsewhere(inner.index.bytes());
        }
    }
}

#[cfg(test)]
mod tests;
