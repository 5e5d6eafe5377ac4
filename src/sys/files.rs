//! Files as memory: giving a file its blocks in advance, and files without a name.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Gives the file its blocks from `offset` on, `len` bytes long, so that writing there cannot fail for want of room. What it holds
/// stays; it becomes longer where necessary.
///
/// # Errors
/// The system's: no room (`StorageFull`), or a file system that cannot do it.
pub fn allocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let wide = |number: u64| i64::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG));
    let (offset, len) = (wide(offset)?, wide(len)?);
    loop {
        // SAFETY: plain numbers and a descriptor that is open.
        if unsafe { libc::fallocate64(file.as_raw_fd(), 0, offset, len) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A file without a name, in memory, that lives as long as a descriptor of it: it can be handed to another process.
///
/// # Errors
/// The system's.
pub fn nameless(name: &CStr) -> io::Result<File> {
    // SAFETY: the name is a C string; the descriptor is new and nobody else's.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// A file without a name in a directory, gone with its descriptor.
///
/// # Errors
/// The system's: no room, or a file system that has no such files.
pub fn nameless_in(directory: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocated_file_has_its_length_and_keeps_what_it_holds() {
        use std::os::unix::fs::{FileExt as _, MetadataExt as _};
        let file = nameless(c"test").unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        allocate(&file, 0, 1 << 20).unwrap();
        let mut start = [0; 4];
        file.read_exact_at(&mut start, 0).unwrap();
        let facts = file.metadata().unwrap();
        assert_eq!((&start, facts.len(), facts.blocks() * 512 >= 1 << 20), (b"kept", 1 << 20, true));
    }
}
