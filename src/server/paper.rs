//! The paper that one process writes for the next: a file in memory without a name, sealed with a version and a checksum. It tells what
//! [`upgrade`](super::upgrade) and [`stored`](super::stored) hand over beside the descriptors.

use crate::sys::{files, reason};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use xxhash_rust::xxh3::xxh3_64;

/// Form of the handover. A new number whenever anything in it changes, in `server`, in `net` or in `conn`.
pub const VERSION: u32 = 4;

const MAGIC: &[u8; 16] = b"memhold handover";

/// Magic, version, checksum of the rest.
const HEADER_BYTES: usize = 16 + 4 + 8;

/// Writes it.
///
/// # Errors
/// The system's: no memory.
pub fn write(body: &[u8]) -> io::Result<File> {
    let mut paper = files::nameless(c"handover")?;
    // One after the other: a body can be hundreds of megabytes, and there would be one more of it.
    paper.write_all(&header(body))?;
    paper.write_all(body)?;
    Ok(paper)
}

/// Reads what the process before has written.
///
/// # Errors
/// Why it cannot be believed.
pub fn read(mut paper: File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let told = |error: io::Error| reason(&error);
    // Of a device or a pipe there may be no end.
    if !paper.metadata().map_err(told)?.is_file() {
        return Err("it is no handover".to_owned());
    }
    paper.rewind().and_then(|()| paper.read_to_end(&mut bytes)).map_err(told)?;
    opened(&bytes)?;
    bytes.drain(..HEADER_BYTES);
    Ok(bytes)
}

/// Magic, version and checksum.
fn header(body: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(MAGIC);
    header[16..20].copy_from_slice(&VERSION.to_le_bytes());
    header[20..].copy_from_slice(&xxh3_64(body).to_le_bytes());
    header
}

/// What was sealed.
fn opened(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let (found, body) = bytes.split_at_checked(HEADER_BYTES).ok_or("the handover is cut off")?;
    let expected = header(body);
    if found[..20] != expected[..20] {
        return Err("it is no handover, or one of another version");
    }
    if found != expected {
        return Err("the handover is damaged");
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(write(b"listeners and clients").unwrap()), Ok(b"listeners and clients".to_vec()));
        let refused = read(files::nameless(c"test").unwrap());
        assert_eq!(refused, Err("the handover is cut off".to_owned()));
        assert_eq!(read(File::open("/dev/zero").unwrap()), Err("it is no handover".to_owned()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_handover_is_noticed() {
        let bytes = [&header(b"listeners and clients")[..], b"listeners and clients"].concat();
        assert_eq!(opened(&bytes), Ok(&b"listeners and clients"[..]));
        for len in 0..bytes.len() {
            assert!(opened(&bytes[..len]).is_err(), "cut off at {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&bytes).is_err(), "bit {bit}");
        }
    }
}
