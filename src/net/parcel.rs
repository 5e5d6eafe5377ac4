//! Any number of descriptors behind a single one: they are in flight inside a socket, sent and not yet received, and stay open for as
//! long as somebody holds that socket.
//!
//! So a service manager that keeps descriptors has one to keep. (systemd compares each new one with all it has: four thousand
//! take it twelve seconds.) The kernel bounds what can be sent: [`PER_MESSAGE`] at a time; as many in flight, of one user, as the
//! sender may have open files; and the socket's buffer, with Debian's settings some 80,000.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use sendfd::{RecvWithFd as _, SendWithFd as _};
use socket2::SockRef;

use crate::sys::socket;

/// SCM_MAX_FD of the kernel.
const PER_MESSAGE: usize = 253;
/// More than the kernel allows; it then gives what it allows.
const BUFFER_BYTES: usize = 1 << 30;

/// The socket in which descriptors are, and how many of them.
#[derive(Debug)]
pub struct Parcel {
    /// Whoever has it can [`receive`].
    pub socket: OwnedFd,
    /// So many, from the first on, are in it.
    pub sent: usize,
    /// Why it is not all of them.
    pub refused: Option<io::Error>,
}

/// Sends as many of the descriptors as can be. The caller's stay open.
///
/// # Errors
/// When there can be no socket.
pub fn send(descriptors: &[BorrowedFd<'_>]) -> io::Result<Parcel> {
    let (sender, receiver) = UnixStream::pair()?;
    sender.set_nonblocking(true)?;
    let _as_much_as_may_be = SockRef::from(&sender).set_send_buffer_size(BUFFER_BYTES);
    let mut parcel = Parcel { socket: receiver.into(), sent: 0, refused: None };
    for descriptors in descriptors.chunks(PER_MESSAGE) {
        let raw: Vec<RawFd> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
        // With each goes its count, so that one that does not arrive has its place all the same.
        match sender.send_with_fd(&[u8::try_from(raw.len()).unwrap_or(u8::MAX)], &raw) {
            Ok(_) => parcel.sent += raw.len(),
            Err(error) => {
                parcel.refused = Some(error);
                break;
            }
        }
    }
    Ok(parcel)
}

/// Takes all that is in the socket, in the order in which it was sent. Of those that this process has no room for, there is `None`.
///
/// # Errors
/// When it is no such socket. What was received until then is closed.
pub fn receive(parcel: OwnedFd) -> io::Result<Vec<Option<OwnedFd>>> {
    let receiver = UnixStream::from(parcel);
    receiver.set_nonblocking(true)?;
    let mut descriptors = Vec::new();
    loop {
        let (mut count, mut raw) = ([0], [-1; PER_MESSAGE]);
        let received = match receiver.recv_with_fd(&mut count, &mut raw) {
            Ok((0, _)) => return Ok(descriptors),
            Ok((_, received)) => received,
            // The sender lives: it is none of ours.
            Err(error) => return Err(error),
        };
        for &fd in &raw[..received] {
            descriptors.push(Some(socket::adopt(fd)?));
        }
        let missing = usize::from(count[0]).saturating_sub(received);
        descriptors.extend(std::iter::repeat_with(|| None).take(missing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    #[test]
    fn more_descriptors_than_fit_a_message_arrive_in_order() {
        let files: Vec<File> = (0..600)
            .map(|number| {
                let mut file = crate::sys::files::nameless(c"number").unwrap();
                file.write_all(format!("{number}").as_bytes()).unwrap();
                file
            })
            .collect();
        let parcel = send(&files.iter().map(|file| file.as_fd()).collect::<Vec<_>>()).unwrap();
        assert!(parcel.sent == 600 && parcel.refused.is_none());
        drop(files);
        let received = receive(parcel.socket).unwrap();
        assert_eq!(received.len(), 600);
        for (number, fd) in received.into_iter().enumerate() {
            let (mut file, mut text) = (File::from(fd.unwrap()), String::new());
            io::Seek::rewind(&mut file).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn whoever_holds_the_parcel_keeps_its_connections_open_and_no_longer() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let parcel = send(&[far.as_fd()]).unwrap();
        drop(far);
        assert!(near.write_all(b"kept").is_ok());
        drop(parcel);
        assert!(near.write_all(b"gone").is_err());
    }

    #[test]
    fn what_is_no_parcel_is_refused() {
        assert!(receive(File::open("/dev/null").unwrap().into()).is_err());
        // Whoever could still send is there.
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(receive(one.into()).is_err());
        let (one, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"\x01\x02").unwrap();
        drop(other);
        assert!(receive(one.into()).unwrap().iter().all(Option::is_none), "announced, and not there");
    }
}
