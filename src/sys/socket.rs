//! Socket calls that neither mio nor socket2 offers safely: asking the addresses of a descriptor that another thread owns, and
//! owning a descriptor that this process was started with.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use super::check;
use socket2::SockAddr;

/// The address of the other end of `fd`.
///
/// # Errors
/// When `fd` is no connected socket (any more).
pub fn peer_address(fd: RawFd) -> io::Result<SockAddr> {
    ask(fd, libc::getpeername)
}

/// The address of this end of `fd`.
///
/// # Errors
/// When `fd` is no socket (any more).
pub fn local_address(fd: RawFd) -> io::Result<SockAddr> {
    ask(fd, libc::getsockname)
}

/// Owns a descriptor that another process handed to this one, and that the program in this one's place shall not have. The caller asks
/// for each only once.
///
/// # Errors
/// When no such descriptor is open.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; one that is not open is answered with an error.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and whoever handed it over left it to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Leaves a descriptor open in the program that takes this one's place (`execve`).
///
/// # Errors
/// The system's.
pub fn outlive_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a plain number, and a descriptor that is open while it is borrowed.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) })
}

/// Takes [`outlive_exec`] back.
pub fn end_at_exec(fd: BorrowedFd<'_>) {
    // SAFETY: as above; of an open descriptor this cannot fail.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// The receive queue of the network card by which the bytes of `fd` come; `None` where there is none (loopback), or when it cannot be told.
#[must_use]
pub fn incoming_napi_id(fd: RawFd) -> Option<u32> {
    let mut id: libc::c_uint = 0;
    let mut length = size_of::<libc::c_uint>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `id`, which has so many; a number that is no open socket is an error.
    let answer = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID, (&raw mut id).cast(), &raw mut length)
    };
    (answer == 0 && id != 0).then_some(id)
}

type Call = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn ask(fd: RawFd, call: Call) -> io::Result<SockAddr> {
    // SAFETY: `call` is one of the two functions above; it writes at most `length` bytes of an address to `storage`, which
    // has room for any, and sets `length` to what it wrote. A number that is no open socket is answered with an error.
    let answer = unsafe {
        SockAddr::try_init(|storage, length| match call(fd, storage.cast(), length) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    };
    Ok(answer?.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn both_ends_of_a_connection_are_told_and_a_closed_one_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, local) = (listener.local_addr().unwrap(), stream.local_addr().unwrap());
        assert_eq!(peer_address(stream.as_raw_fd()).unwrap().as_socket(), Some(peer));
        assert_eq!(local_address(stream.as_raw_fd()).unwrap().as_socket(), Some(local));
        assert!(peer_address(-1).is_err());
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_not_adopted() {
        assert!(adopt(-1).is_err());
        assert!(adopt(i32::MAX).is_err());
    }
}
