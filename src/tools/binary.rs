//! The few frames of the binary protocol (section 6) for items that the meta commands cannot name: a key with a space or a line
//! end in it that is longer than 250 bytes in base64. Such a key came through the binary protocol, and goes back through it; what
//! that cannot carry is the CAS when storing.

use super::link::Link;
use super::{Failure, archive::Item};

const HEADER_LEN: usize = 24;
const MAGIC_REQUEST: u8 = 0x80;
const MAGIC_REPLY: u8 = 0x81;
const OPCODE_GET: u8 = 0x00;
const OPCODE_SET: u8 = 0x01;
const OPCODE_ADD: u8 = 0x02;
const STATUS_OK: u16 = 0;
const STATUS_NOT_FOUND: u16 = 1;
const STATUS_EXISTS: u16 = 2;
/// Flags and expiry.
const STORE_EXTRAS_LEN: u8 = 8;

/// What a frame was answered with.
struct Reply {
    extras_len: usize,
    status: u16,
    cas: u64,
}

/// Client flags and CAS of the item `key`, and its value in `value`; `None` when it is not there.
///
/// # Errors
/// When the server does not speak the binary protocol here.
pub fn get(link: &mut Link, key: &[u8], value: &mut Vec<u8>) -> Result<Option<(u64, u64)>, Failure> {
    let reply = ask(link, OPCODE_GET, 0, key, &[], value)?;
    match reply.status {
        STATUS_OK if reply.extras_len == 4 && value.len() >= 4 => {
            let flags = value.drain(..4).fold(0, |number, byte| number << 8 | u64::from(byte));
            Ok(Some((flags, reply.cas)))
        }
        STATUS_NOT_FOUND => Ok(None),
        _ => Err(link.refused(value)),
    }
}

/// Stores `item`, or with `keep` only if there is none of its key. `Some` is what the server says against it.
///
/// # Errors
/// When the server does not speak the binary protocol here.
pub fn store(link: &mut Link, item: &Item<'_>, exptime: i32, keep: bool) -> Result<Stored, Failure> {
    let flags = u32::try_from(item.flags).unwrap_or(u32::MAX);
    let mut body = [flags.to_be_bytes(), exptime.to_be_bytes()].concat();
    body.extend_from_slice(item.key);
    let opcode = if keep { OPCODE_ADD } else { OPCODE_SET };
    let mut answer = Vec::new();
    let reply = ask(link, opcode, STORE_EXTRAS_LEN, &body, item.value, &mut answer)?;
    Ok(match reply.status {
        STATUS_OK => Stored::Yes,
        STATUS_EXISTS => Stored::Kept,
        _ => Stored::No(String::from_utf8_lossy(&answer).into_owned()),
    })
}

/// What became of an item.
pub enum Stored {
    /// It is stored.
    Yes,
    /// There was one already.
    Kept,
    /// The server said this.
    No(String),
}

/// Sends a frame, whose extras and key are `head`, and reads the reply's body into `answer`.
fn ask(
    link: &mut Link,
    opcode: u8,
    extras_len: u8,
    head: &[u8],
    value: &[u8],
    answer: &mut Vec<u8>,
) -> Result<Reply, Failure> {
    // A key has 250 bytes at most, and a value less than 2 GiB.
    let key_len = (head.len() - usize::from(extras_len)) as u16;
    let mut frame = Vec::with_capacity(HEADER_LEN + head.len());
    frame.extend_from_slice(&[MAGIC_REQUEST, opcode]);
    frame.extend_from_slice(&key_len.to_be_bytes());
    frame.extend_from_slice(&[extras_len, 0, 0, 0]);
    frame.extend_from_slice(&((head.len() + value.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&[0; 12]);
    frame.extend_from_slice(head);
    link.send(&frame)?;
    link.send(value)?;
    let mut header = Vec::with_capacity(HEADER_LEN);
    link.bytes(HEADER_LEN, &mut header)?;
    let number = |from: usize, to: usize| header[from..to].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    if header[0] != MAGIC_REPLY {
        return Err(link.refused(&header));
    }
    let reply = Reply { extras_len: usize::from(header[4]), status: number(6, 8) as u16, cas: number(16, 24) };
    link.bytes(number(8, 12) as usize, answer)?;
    Ok(reply)
}
