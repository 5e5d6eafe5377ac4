//! Memory from the kernel: how the allocator takes it; and address space: reserve a range, give pages of it back,
//! free it. Nothing here knows what the memory is for.

use std::io;
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

/// A range of zeroed, private, read-write address space, taken lazily by the kernel page by page. Unmapped on drop.
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
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(base.cast::<u8>()) {
            Some(base) => Ok(Mapping { base, len }),
            None => Err(io::Error::other("the kernel mapped address 0")),
        }
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

    fn advise(&self, offset: usize, len: usize, advice: libc::c_int) {
        assert!(offset <= self.len && len <= self.len - offset, "a part of the mapping");
        // SAFETY: the range lies inside this mapping (asserted). MADV_DONTNEED is asked only through `give_back`, whose
        // caller owns the bytes; the other advices change no content.
        let _wish = unsafe { libc::madvise(self.base.as_ptr().add(offset).cast(), len, advice) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are those of the mapping made in `reserve`, which nobody else unmaps.
        let _done = unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
