//! What a process knows of an arena beside the arena itself (index, secret of the hash, free lists, when to look for expired
//! items), written down for the next process, so that this one need not look at every item.
//!
//! A summary stands behind the last page of the arena's own file, and is true only of the arena as it was then. Its length and checksum
//! stand elsewhere: in the seal of an arena that was closed, or on the paper of an upgrade in place. Whoever opens the file
//! reads it if it knows these, marks the arena open, after which nobody looks for it, and cuts it off. It is not believed without its
//! checksum, nor if it is in another form, nor if it does not lead to an item of each page: then all is scanned.

use super::super::hash::KeyHasher;
use super::super::inner::Inner;
use super::super::memory::Stable;
use super::super::memory::arena::LARGE_PAGE;
use super::super::memory::item::Chunk;
use super::super::memory::superblock::Summary;
use super::super::scan;
use crate::sync::{Ordering, lock};
use crate::sys::reason;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use xxhash_rust::xxh3::Xxh3Default;

/// A new number whenever the words below, or what they mean, change: the index, the hash, the free lists, the words of expiry.
const FORM: u64 = 1;

/// Bytes written or read at a time.
const PIECE: usize = 1 << 18;

impl Inner {
    /// Writes a summary behind the pages of the arena's file. Nobody else is at work, nor begins again if it is to be true.
    pub fn summarise(&self) -> Option<Summary> {
        let summary = self.try_summarise(self.arena.file()?);
        if let Err(error) = &summary {
            log::info!("the next process will look at all items: {}", reason(error));
            self.drop_summary();
        }
        summary.ok()
    }

    /// Cuts it off.
    pub fn drop_summary(&self) {
        let Some(file) = self.arena.file() else { return };
        let longer = |file: &File| Ok(file.metadata()?.len() > self.arena.file_len());
        let cut = longer(file).and_then(|longer| if longer { file.set_len(self.arena.file_len()) } else { Ok(()) });
        if let Err(error) = cut {
            log::warn!("the memory file stays longer than it need be: {}", reason(&error));
        }
    }

    /// There may be no room, or memory that is neither free nor an item's: only a scan finds that.
    fn try_summarise(&self, file: &File) -> io::Result<Summary> {
        let chunks: u64 = self.slabs.iter().map(|class| lock(class).used()).sum();
        if chunks + lock(&self.large).items() as u64 != self.index.entry_count() {
            return Err(io::Error::other("somebody still has an item of his own"));
        }
        let mut out = Out { file, at: self.arena.file_len(), len: 0, piece: Vec::new(), hash: Xxh3Default::new() };
        self.write_summary(&mut out)?;
        out.end()
    }

    fn write_summary(&self, out: &mut Out<'_>) -> io::Result<()> {
        let pages = self.arena.pages_used();
        out.word(FORM)?;
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

    /// Believes the summary behind the pages of the arena's file; with `verify` only if each page has its checksum. Returns how many items
    /// there are. Nobody else is at work.
    ///
    /// # Errors
    /// Why it cannot be believed. The store is of no use then, and the arena as it was.
    pub fn believe(&mut self, summary: Summary, threads: usize, verify: bool) -> Result<u64, String> {
        let (known, damaged) = scan::beside(
            || self.read_summary(summary),
            || if verify { super::verify(&self.arena, threads) } else { 0 },
        );
        self.hasher = known.map_err(|error| reason(&error))?;
        let pages = self.arena.pages_used();
        if damaged > 0 || !(0..pages).all(|page| self.leads_into(page)) {
            return Err("it does not lead to the items".to_owned());
        }
        self.arena.note_open();
        for head in self.restore_large(pages).0 {
            lock(&self.large).counts.requested += head.large_total() as u64;
        }
        self.settle(pages);
        Ok(self.index.entry_count())
    }

    fn read_summary(&self, summary: Summary) -> io::Result<KeyHasher> {
        let file = self.arena.file().ok_or(io::ErrorKind::NotFound)?;
        let begin = self.arena.file_len();
        if file.metadata()?.len() != begin.saturating_add(summary.len) {
            return Err(io::Error::other("it is cut off"));
        }
        let mut input = In { file, at: begin, left: summary.len, piece: Vec::new(), read: 0, hash: Xxh3Default::new() };
        let hasher = self.read_words(&mut input)?;
        if input.end()? == summary.checksum { Ok(hasher) } else { Err(io::Error::other("it is damaged")) }
    }

    fn read_words(&self, input: &mut In<'_>) -> io::Result<KeyHasher> {
        let pages = self.arena.pages_used();
        if input.word()? != FORM || input.word()? != u64::from(pages) {
            return Err(io::Error::other("it is of another form"));
        }
        let mut secret = [0; KeyHasher::WORDS];
        for word in &mut secret {
            *word = input.word()?;
        }
        self.index.read(|| input.word())?;
        for word in self.expiry.words(self.arena.page_offset(pages)) {
            word.store(u32::try_from(input.word()?).map_err(io::Error::other)?, Ordering::Relaxed);
        }
        let other_classes = || io::Error::other("it has other classes");
        for page in 0..pages {
            let (word, size) = (input.word()?, self.arena.geometry(page).chunk_size);
            if size != 0 && size != LARGE_PAGE {
                let class = self.classes.sizes.iter().position(|&other| other == size as usize);
                let mut class = lock(&self.slabs[class.ok_or_else(other_classes)?]);
                class.restore_page(&self.facts, page, (word >> 32) as u32, word as u32);
            }
        }
        for class in &self.slabs {
            let mut class = lock(class);
            if input.word()? != class.chunk_size as u64 {
                return Err(other_classes());
            }
            class.counts.requested = input.word()?;
        }
        Ok(KeyHasher::of(secret))
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
struct Out<'a> {
    file: &'a File,
    /// Where in the file they begin.
    at: u64,
    /// Bytes that are there.
    len: u64,
    piece: Vec<u8>,
    hash: Xxh3Default,
}

impl Out<'_> {
    #[inline]
    fn word(&mut self, word: u64) -> io::Result<()> {
        self.piece.extend_from_slice(&word.to_le_bytes());
        if self.piece.len() < PIECE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.piece);
        self.file.write_all_at(&self.piece, self.at + self.len)?;
        self.len += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    fn end(mut self) -> io::Result<Summary> {
        self.flush()?;
        Ok(Summary { len: self.len, checksum: self.hash.digest() })
    }
}

/// Words on their way in.
struct In<'a> {
    file: &'a File,
    /// Where in the file the next ones are, and how many bytes.
    at: u64,
    left: u64,
    piece: Vec<u8>,
    /// Bytes of the piece that were given out.
    read: usize,
    hash: Xxh3Default,
}

impl In<'_> {
    #[inline]
    fn word(&mut self) -> io::Result<u64> {
        if self.read == self.piece.len() {
            self.fill()?;
        }
        let word = self.piece[self.read..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        self.read += 8;
        word.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.piece.resize(usize::try_from(self.left).unwrap_or(PIECE).min(PIECE), 0);
        self.file.read_exact_at(&mut self.piece, self.at)?;
        self.hash.update(&self.piece);
        (self.at, self.left, self.read) = (self.at + self.piece.len() as u64, self.left - self.piece.len() as u64, 0);
        Ok(())
    }

    /// The checksum of everything, when everything was asked for.
    fn end(self) -> io::Result<u64> {
        let all = self.left == 0 && self.read == self.piece.len();
        if all { Ok(self.hash.digest()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
