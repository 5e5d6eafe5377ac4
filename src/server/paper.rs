//! The paper that one process writes for the next: a file in memory without a name, sealed with a version and a checksum. It tells what
//! [`upgrade`](super::upgrade) and [`stored`](super::stored) hand over beside the descriptors.

use crate::sys::{files, reason};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use xxhash_rust::xxh3::xxh3_64;

/// Form of the handover. A new number whenever anything in it changes, in `server`, in `net` or in `conn`.
pub const VERSION: u32 = 3;

const MAGIC: &[u8; 16] = b"memhold handover";

/// Magic, version, checksum of the rest.
const HEADER_BYTES: usize = 16 + 4 + 8;

/// Writes it.
///
/// # Errors
/// The system's: no memory.
pub fn write(body: &[u8]) -> io::Result<File> {
    let mut paper = files::nameless(c"handover")?;
    paper.write_all(&sealed(body))?;
    Ok(paper)
}

/// Reads what the process before has written.
///
/// # Errors
/// Why it cannot be believed.
pub fn read(mut paper: File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    io::Seek::rewind(&mut paper).and_then(|()| paper.read_to_end(&mut bytes)).map_err(|error| reason(&error))?;
    opened(&bytes)?;
    bytes.drain(..HEADER_BYTES);
    Ok(bytes)
}

/// With magic, version and checksum in front.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(body).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// What was sealed.
fn opened(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or("the handover is cut off")?;
    let expected = sealed(&[]);
    if header[..16] != expected[..16] || header[16..20] != expected[16..20] {
        return Err("it is no handover, or one of another version");
    }
    if header[20..] != xxh3_64(body).to_le_bytes() {
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
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_handover_is_noticed() {
        let bytes = sealed(b"listeners and clients");
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
