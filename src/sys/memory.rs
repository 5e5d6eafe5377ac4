//! Memory from the kernel: how the allocator takes it; and address space: reserve a range, put a file's memory into it, give
//! pages of it back, free it. Nothing here knows what the memory is for.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr::NonNull;

/// Blocks of at least this many bytes are mapped one by one, and unmapped when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_BLOCK_BYTES: libc::c_int = 16 << 10;

/// Makes the allocator give memory back: glibc keeps freed blocks of up to 32 MiB once it has seen one, and a server whose clients have
/// taken their replies would stay as large as it was at the worst moment. Does nothing with other allocators.
pub fn give_freed_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain numbers. Fixing the threshold also stops glibc from raising it.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BLOCK_BYTES);
    }
}

/// Touches memory that may not be touched: the kernel ends the process with SIGSEGV. For tests of what outlives it.
pub fn fault() {
    // SAFETY: the page is nobody else's; reading it is what the kernel is to forbid. Should there be none, nothing happens.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        if page != libc::MAP_FAILED {
            page.cast::<u8>().read_volatile();
        }
    }
}

/// Bytes of a huge page, and what ranges are aligned to.
pub const HUGE_PAGE: usize = 2 << 20;

/// A range of zeroed, read-write address space, taken lazily by the kernel page by page: private memory, or a part of it the
/// memory of a file ([`Mapping::map_file`]). Begins at a multiple of [`HUGE_PAGE`] when it is as long as one. Unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address range owned by this value; what threads do with its bytes is up to whoever hands
// out references into it.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` itself gives only the address.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `len` bytes without committing memory to them.
    ///
    /// # Errors
    /// The kernel's: no such range, or strict overcommit.
    pub fn reserve(len: usize) -> io::Result<Mapping> {
        let slack = if len >= HUGE_PAGE { HUGE_PAGE } else { 0 };
        let all = len.checked_add(slack).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                all,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = base.cast::<u8>();
        let before = if slack == 0 { 0 } else { base.align_offset(HUGE_PAGE).min(slack) };
        // SAFETY: head and tail are parts of the mapping just made, which nobody has seen yet.
        let aligned = unsafe {
            if before > 0 {
                libc::munmap(base.cast(), before);
            }
            if slack > before {
                libc::munmap(base.add(before + len).cast(), slack - before);
            }
            base.add(before)
        };
        match NonNull::new(aligned) {
            Some(base) => Ok(Mapping { base, len }),
            None => Err(io::Error::other("the kernel mapped address 0")),
        }
    }

    /// Puts the first `len` bytes of a file at the beginning of the range, shared with whoever else maps the file. What was there
    /// before is gone. The file must stay that long while the mapping lives.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map_file(&mut self, file: &File, len: usize) -> io::Result<()> {
        assert!(len <= self.len, "a part of the mapping");
        // SAFETY: the range lies inside this mapping, which is borrowed mutably, so nobody has a reference into it.
        let base = unsafe {
            libc::mmap(
                self.base.as_ptr().cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// First byte of the range.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Asks for huge pages (or against them) in a part of the range; a wish, not a promise.
    pub fn advise_huge(&self, offset: usize, len: usize, wanted: bool) {
        let advice = if wanted { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        self.advise(offset, len, advice);
    }

    /// Reads every page of a part in, so that no page fault comes later.
    pub fn populate(&self, offset: usize, len: usize) {
        self.advise(offset, len, libc::MADV_POPULATE_WRITE);
    }

    /// Gives the memory behind a part of the range back to the kernel; it reads as zeroes afterwards. The caller must
    /// hold the only right to these bytes.
    pub(crate) fn give_back(&self, offset: usize, len: usize) {
        self.advise(offset, len, libc::MADV_DONTNEED);
    }

    /// The same for memory of a file, whose blocks are given back too.
    pub(crate) fn give_back_file(&self, offset: usize, len: usize) {
        self.advise(offset, len, libc::MADV_REMOVE);
    }

    /// Makes huge pages of what is there, of a file whatever the mount says; a wish: file systems on disks have none.
    pub fn collapse(&self, offset: usize, len: usize) {
        self.advise(offset, len, libc::MADV_COLLAPSE);
    }

    /// Whether the kernel knows of [`Mapping::collapse`]: Linux from 6.1 on.
    #[must_use]
    pub fn can_collapse(&self) -> bool {
        // SAFETY: advice on no bytes at all changes nothing; an advice the kernel does not know is refused even then.
        unsafe { libc::madvise(self.base.as_ptr().cast(), 0, libc::MADV_COLLAPSE) == 0 }
    }

    fn advise(&self, offset: usize, len: usize, advice: libc::c_int) {
        assert!(offset <= self.len && len <= self.len - offset, "a part of the mapping");
        // SAFETY: the range lies inside this mapping (asserted). MADV_DONTNEED and MADV_REMOVE are asked only through
        // `give_back` and `give_back_file`, whose caller owns the bytes; the other advices change no content.
        let _wish = unsafe { libc::madvise(self.base.as_ptr().add(offset).cast(), len, advice) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are those of the mapping made in `reserve`, which nobody else unmaps.
        let _done = unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ranges_begin_at_a_huge_page() {
        for len in [HUGE_PAGE, HUGE_PAGE * 3 + 4096, 1 << 30] {
            let mapping = Mapping::reserve(len).unwrap();
            assert_eq!(mapping.base().as_ptr().align_offset(HUGE_PAGE), 0);
            assert_eq!(mapping.len(), len);
        }
        assert_eq!(Mapping::reserve(4096).unwrap().len(), 4096);
    }
}
