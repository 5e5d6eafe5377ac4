//! What a process knows of an arena beside the arena itself (index, secret of the hash, free lists, when to look for expired
//! items), written down for the next process of an upgrade in place, so that this one need not look at every item.
//!
//! It is true only while nobody has touched the arena since, and the lock of its file never changed hands. So it goes from process to
//! process in memory, never into a file that stays: whoever finds an arena after an end of any kind scans it. It is not believed
//! without its checksum, nor if it does not lead to an item of each page: a version that makes an index otherwise would notice at
//! the first; then all is scanned after all.

use super::super::hash::KeyHasher;
use super::super::inner::Inner;
use super::super::memory::Stable;
use super::super::memory::arena::LARGE_PAGE;
use super::super::memory::item::Chunk;
use super::super::{Store, scan};
use crate::sync::{Arc, Ordering, lock};
use crate::sys::files;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use xxhash_rust::xxh3::Xxh3Default;

/// A summary, in memory of its own.
#[derive(Debug)]
pub struct Summary {
    /// Has no name, and lives as long as somebody has it open.
    pub file: File,
    /// Of all its bytes.
    pub checksum: u64,
}

/// Bytes written or read at a time.
const PIECE: usize = 1 << 18;

impl Store {
    /// Writes down what is known of the arena. Nobody may be at work any more, nor begin again if it is to be true.
    ///
    /// # Errors
    /// When somebody still uses the store, or there is no memory.
    pub fn summarise(&self) -> io::Result<Summary> {
        let inner = self.inner();
        let alone = Arc::strong_count(&self.handle) == 1 && Arc::strong_count(&self.handle.0) == 1;
        if !alone || inner.pins.len() > 0 || inner.holdings.bytes() > 0 {
            return Err(io::Error::other("somebody still uses the store"));
        }
        let mut out =
            Out { file: files::nameless(c"summary")?, piece: Vec::with_capacity(PIECE), hash: Xxh3Default::new() };
        inner.write_summary(&mut out)?;
        out.end()
    }
}

impl Summary {
    /// The same, for another owner.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Summary> {
        Ok(Summary { file: self.file.try_clone()?, checksum: self.checksum })
    }
}

impl Inner {
    fn write_summary(&self, out: &mut Out) -> io::Result<()> {
        let pages = self.arena.pages_used();
        out.word(pages.into())?;
        self.hasher.secret().into_iter().try_for_each(|word| out.word(word))?;
        self.index.write(|word| out.word(word))?;
        for word in self.expiry.words(self.arena.page_offset(pages)) {
            out.word(word.load(Ordering::Relaxed).into())?;
        }
        for page in 0..pages {
            let (head, free) = self.facts.free_list(page);
            out.word(u64::from(head) << 32 | u64::from(free))?;
        }
        for class in &self.slabs {
            let class = lock(class);
            out.word(class.chunk_size as u64)?;
            out.word(class.counts.requested)?;
        }
        Ok(())
    }

    /// Believes a summary of the arena; returns how many items there are. Nobody else is at work.
    ///
    /// # Errors
    /// Why it cannot be believed. The store is of no use then, and the arena as it was.
    pub fn believe(&mut self, summary: &Summary) -> Result<u64, String> {
        let mut next = In::of(summary).map_err(|error| error.to_string())?;
        self.read_summary(&mut next).map_err(|error| error.to_string())?;
        if next.end().ok() != Some(summary.checksum) {
            return Err("it is damaged".to_owned());
        }
        let pages = self.arena.pages_used();
        if !(0..pages).all(|page| self.leads_into(page)) {
            return Err("it does not lead to the items".to_owned());
        }
        self.arena.note_open();
        for head in self.restore_large(pages).0 {
            lock(&self.large).counts.requested += head.large_total() as u64;
        }
        self.settle(pages);
        Ok(self.index.entry_count())
    }

    fn read_summary(&mut self, next: &mut In) -> io::Result<()> {
        let pages = self.arena.pages_used();
        if next.word()? != u64::from(pages) {
            return Err(io::Error::other("it is of another arena"));
        }
        let mut secret = [0; KeyHasher::WORDS];
        for word in &mut secret {
            *word = next.word()?;
        }
        self.hasher = KeyHasher::of(secret);
        self.index.read(|| next.word())?;
        for word in self.expiry.words(self.arena.page_offset(pages)) {
            word.store(u32::try_from(next.word()?).map_err(io::Error::other)?, Ordering::Relaxed);
        }
        for page in 0..pages {
            let word = next.word()?;
            let size = self.arena.geometry(page).chunk_size;
            if size != 0 && size != LARGE_PAGE {
                let class = self.classes.sizes.iter().position(|&other| other == size as usize);
                let class = class.ok_or_else(|| io::Error::other("it has other classes"))?;
                lock(&self.slabs[class]).restore_page(&self.facts, page, (word >> 32) as u32, word as u32);
            }
        }
        for class in &self.slabs {
            let mut class = lock(class);
            if next.word()? != class.chunk_size as u64 {
                return Err(io::Error::other("it has other classes"));
            }
            class.counts.requested = next.word()?;
        }
        Ok(())
    }

    /// Whether the first item of a page is found by its key.
    fn leads_into(&self, page: u32) -> bool {
        let geometry = self.arena.geometry(page);
        let size = geometry.chunk_size as usize;
        if size == 0 || geometry.chunk_size == LARGE_PAGE {
            return true;
        }
        let chunks = (0..geometry.carved as usize).map(|number| self.arena.page_offset(page) + number * size);
        let mut items = chunks.map(|at| Chunk::at(&self.arena, at)).filter(|chunk| scan::sound(*chunk, size).is_some());
        items.next().is_none_or(|chunk| {
            let key = self.key_of(chunk.name(), Stable::from_guard(self));
            let found = self.find(&self.index.lock(self.hasher.hash(key)), key);
            found.is_some_and(|(_, name)| name == chunk.name())
        })
    }
}

/// Words on their way out.
struct Out {
    file: File,
    piece: Vec<u8>,
    hash: Xxh3Default,
}

impl Out {
    #[inline]
    fn word(&mut self, word: u64) -> io::Result<()> {
        self.piece.extend_from_slice(&word.to_le_bytes());
        if self.piece.len() < PIECE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.piece);
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    fn end(mut self) -> io::Result<Summary> {
        self.flush()?;
        Ok(Summary { file: self.file, checksum: self.hash.digest() })
    }
}

/// Words on their way in.
struct In {
    file: File,
    piece: Vec<u8>,
    at: usize,
    hash: Xxh3Default,
}

impl In {
    fn of(summary: &Summary) -> io::Result<In> {
        let mut file = summary.file.try_clone()?;
        file.rewind()?;
        Ok(In { file, piece: Vec::with_capacity(PIECE), at: 0, hash: Xxh3Default::new() })
    }

    #[inline]
    fn word(&mut self) -> io::Result<u64> {
        if self.at == self.piece.len() {
            self.fill()?;
        }
        let bytes = self.piece.get(self.at..self.at + 8).and_then(|bytes| bytes.try_into().ok());
        self.at += 8;
        bytes.map(u64::from_le_bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.piece.clear();
        self.at = 0;
        (&self.file).take(PIECE as u64).read_to_end(&mut self.piece)?;
        self.hash.update(&self.piece);
        Ok(())
    }

    /// The checksum of everything, when everything was asked for.
    fn end(mut self) -> io::Result<u64> {
        let asked = self.at == self.piece.len();
        self.fill()?;
        if asked && self.piece.is_empty() { Ok(self.hash.digest()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
