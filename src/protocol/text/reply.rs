//! How the classic commands are answered.

use crate::protocol::encode::{Body, LineEnd, push_error, push_number};
use crate::protocol::reply::{Hit, Reply};
use crate::protocol::request::Key;

/// What ends the replies of `get` and its kin.
pub const END: &[u8] = b"END\r\n";

/// Spells a reply: a VALUE line, a number, or one of the fixed lines. `noreply` keeps back all but the first and the
/// output of `stats` and dumps (section 2.2).
#[inline]
pub(in crate::protocol) fn encode(
    out: &mut Vec<u8>,
    noreply: bool,
    with_cas: bool,
    key: Key<'_>,
    reply: &Reply<'_>,
) -> Body {
    match reply {
        Reply::Hit(Hit { number: Some(number), .. }) => {
            if !noreply {
                push_number(out, *number);
                out.extend_from_slice(b"\r\n");
            }
            Body::None
        }
        Reply::Hit(hit) => {
            value_line(out, key.bytes(), hit.flags, hit.size, with_cas.then_some(hit.cas));
            Body::Value
        }
        Reply::Lines(lines) => {
            out.extend_from_slice(lines);
            Body::None
        }
        reply => {
            if !noreply {
                line(out, reply);
            }
            Body::None
        }
    }
}

/// `VALUE <key> <flags> <bytes>[ <cas unique>]`, behind which the value and CR LF belong.
#[inline]
pub fn value_line(out: &mut Vec<u8>, key: &[u8], flags: u32, size: usize, cas: Option<u64>) {
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(key);
    if let (None, 0..SHORT_FLAGS, Ok(size @ 0..SHORT_SIZE)) = (cas, flags, u32::try_from(size)) {
        let mut end = LineEnd::crlf();
        end.put_number(size);
        end.put(b' ');
        end.put_number(flags);
        end.put(b' ');
        return end.append_to(out);
    }
    out.push(b' ');
    push_number(out, flags);
    out.push(b' ');
    push_number(out, size);
    if let Some(cas) = cas {
        out.push(b' ');
        push_number(out, cas);
    }
    out.extend_from_slice(b"\r\n");
}

/// Flags of four digits and sizes of eight, with what stands around them, are as much as a [`LineEnd`] can hold.
const SHORT_FLAGS: u32 = 10_000;
const SHORT_SIZE: u32 = 100_000_000;

/// The replies that are the same words whatever was asked.
pub(in crate::protocol) fn line(out: &mut Vec<u8>, reply: &Reply<'_>) {
    let line: &[u8] = match reply {
        Reply::Stored(_) | Reply::Authenticated => b"STORED\r\n",
        Reply::NotStored(_) => b"NOT_STORED\r\n",
        Reply::Exists(_) => b"EXISTS\r\n",
        Reply::NotFound(_) => b"NOT_FOUND\r\n",
        Reply::Deleted => b"DELETED\r\n",
        Reply::Touched => b"TOUCHED\r\n",
        Reply::Ok => b"OK\r\n",
        Reply::Reset => b"RESET\r\n",
        Reply::Noop => b"MN\r\n",
        Reply::Version => b"VERSION 1.6.45\r\n",
        Reply::Lines(lines) => lines,
        Reply::Error(error) => return push_error(out, error),
        // A missing key of `get` prints nothing, and neither does what has no classic spelling.
        Reply::Miss | Reply::Nothing | Reply::Hit(_) | Reply::Inspected(_) | Reply::Mechanisms | Reply::Challenge => {
            b""
        }
    };
    out.extend_from_slice(line);
}
