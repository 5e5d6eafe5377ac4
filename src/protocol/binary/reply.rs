//! How the binary protocol answers: a header, and behind it extras, key and value (sections 6.3 to 6.7).

use super::opcodes::{self, Verb};
use super::{HEADER_BYTES, RESPONSE_MAGIC, Read, Refused};
use crate::protocol::encode::Body;
use crate::protocol::reply::{Error, Hit, Reply};
use crate::protocol::request::Key;

/// Why something was not done (section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// The key is missing.
    NotFound = 0x01,
    /// It is there, or its CAS differs.
    Exists = 0x02,
    /// The item would be too large.
    TooLarge = 0x03,
    /// The frame has not the opcode's shape.
    Invalid = 0x04,
    /// Append and prepend without an item.
    NotStored = 0x05,
    /// Arithmetic on something else.
    NotNumeric = 0x06,
    /// Not authenticated; also what `-F` forbids.
    Auth = 0x20,
    /// SASL: a challenge.
    Continue = 0x21,
    /// Nobody knows this opcode.
    UnknownCommand = 0x81,
    /// No memory.
    NoMemory = 0x82,
}

impl Status {
    /// What is sent along.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Status::NotFound => "Not found",
            Status::Exists => "Data exists for key.",
            Status::TooLarge => "Too large.",
            Status::Invalid => "Invalid arguments",
            Status::NotStored => "Not stored.",
            Status::NotNumeric => "Non-numeric server-side value for incr or decr",
            Status::Auth => "Auth failure.",
            Status::Continue => "",
            Status::UnknownCommand => "Unknown command",
            Status::NoMemory => "Out of memory",
        }
    }
}

/// What every response gives back of its request.
#[derive(Clone, Copy)]
struct Echo {
    opcode: u8,
    opaque: [u8; 4],
}

/// The numbers of a response's header.
#[derive(Default)]
struct Parts {
    status: u16,
    extras_len: u8,
    key_len: usize,
    value_len: usize,
    cas: u64,
}

impl Echo {
    #[inline]
    fn header(self, parts: &Parts) -> [u8; HEADER_BYTES] {
        let [k0, k1] = u16::to_be_bytes(parts.key_len as u16);
        let [s0, s1] = u16::to_be_bytes(parts.status);
        let [b0, b1, b2, b3] =
            u32::to_be_bytes((usize::from(parts.extras_len) + parts.key_len + parts.value_len) as u32);
        let [o0, o1, o2, o3] = self.opaque;
        let [c0, c1, c2, c3, c4, c5, c6, c7] = u64::to_be_bytes(parts.cas);
        let (magic, opcode, extras) = (RESPONSE_MAGIC, self.opcode, parts.extras_len);
        [magic, opcode, k0, k1, extras, 0, s0, s1, b0, b1, b2, b3, o0, o1, o2, o3, c0, c1, c2, c3, c4, c5, c6, c7]
    }

    fn success(self, out: &mut Vec<u8>, cas: u64) {
        out.extend_from_slice(&self.header(&Parts { cas, ..Parts::default() }));
    }

    fn success_with(self, out: &mut Vec<u8>, text: &str) {
        self.statistic(out, b"", text.as_bytes());
    }

    #[cold]
    fn error(self, out: &mut Vec<u8>, status: Status, text: &str) {
        out.extend_from_slice(&self.header(&Parts {
            status: status as u16,
            value_len: text.len(),
            ..Parts::default()
        }));
        out.extend_from_slice(text.as_bytes());
    }

    /// Flags, the key if the opcode returns it, and, announced but not written, the value.
    #[inline]
    fn hit(self, out: &mut Vec<u8>, key: &[u8], flags: u32, value_len: usize, cas: u64) {
        let parts = Parts { status: 0, extras_len: 4, key_len: key.len(), value_len, cas };
        let mut bytes = [0; HEADER_BYTES + 4];
        bytes[..HEADER_BYTES].copy_from_slice(&self.header(&parts));
        bytes[HEADER_BYTES..].copy_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&bytes);
        out.extend_from_slice(key);
    }

    /// A miss of the opcodes that return the key is told by the key alone (section 6.5).
    fn miss(self, out: &mut Vec<u8>, verb: Verb, key: &[u8]) {
        if !verb.returns_key() {
            return self.error(out, Status::NotFound, Status::NotFound.text());
        }
        let status = Status::NotFound as u16;
        out.extend_from_slice(&self.header(&Parts { status, key_len: key.len(), ..Parts::default() }));
        out.extend_from_slice(key);
    }

    /// One statistic; an empty name ends the series.
    fn statistic(self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        out.extend_from_slice(&self.header(&Parts { key_len: name.len(), value_len: value.len(), ..Parts::default() }));
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }

    /// A response for each line of `stats`.
    fn statistics(self, out: &mut Vec<u8>, lines: &[u8]) {
        for line in lines.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(fact) = line.strip_prefix(b"STAT ") else { continue };
            let space = memchr::memchr(b' ', fact).unwrap_or(fact.len());
            self.statistic(out, &fact[..space], fact.get(space + 1..).unwrap_or_default());
        }
        self.statistic(out, b"", b"");
    }
}

/// A hit of `get` and `getk`, behind which the value's bytes belong.
#[inline]
pub fn push_hit(out: &mut Vec<u8>, read: &Read<'_>, flags: u32, value_len: usize, cas: u64) {
    let echo = Echo { opcode: read.opcode, opaque: read.opaque };
    let returns_key = opcodes::op(read.opcode).is_some_and(|op| op.verb.returns_key());
    echo.hit(out, if returns_key { read.key } else { b"" }, flags, value_len, cas);
}

/// A miss of `get` and `getk`; quiet ones say nothing.
#[inline]
pub fn push_miss(out: &mut Vec<u8>, read: &Read<'_>) {
    let echo = Echo { opcode: read.opcode, opaque: read.opaque };
    if let Some(op) = opcodes::op(read.opcode).filter(|op| !op.quiet) {
        echo.miss(out, op.verb, read.key);
    }
}

/// A frame that is refused, quiet or not.
pub fn push_refusal(out: &mut Vec<u8>, refused: &Refused) {
    Echo { opcode: refused.opcode, opaque: refused.opaque }.error(out, refused.status, refused.status.text());
}

/// Spells a reply. Quiet opcodes keep back success, and a miss of those that read (section 6.6).
pub(in crate::protocol) fn encode(
    out: &mut Vec<u8>,
    opcode: u8,
    opaque: [u8; 4],
    detailed: bool,
    key: Key<'_>,
    reply: &Reply<'_>,
) -> Body {
    let echo = Echo { opcode, opaque };
    let Some(op) = opcodes::op(opcode) else { return Body::None };
    match reply {
        Reply::Hit(Hit { number: Some(number), cas, .. }) => {
            if !op.quiet {
                out.extend_from_slice(&echo.header(&Parts { value_len: 8, cas: *cas, ..Parts::default() }));
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        Reply::Hit(hit) => {
            let key = if op.verb.returns_key() { key.bytes() } else { b"" };
            echo.hit(out, key, hit.flags, if hit.value { hit.size } else { 0 }, hit.cas);
            if hit.value {
                return Body::Bare;
            }
        }
        Reply::Miss if !op.quiet => echo.miss(out, op.verb, key.bytes()),
        Reply::Stored(written) if !op.quiet => echo.success(out, written.cas),
        Reply::Stored(_) | Reply::Miss => {}
        Reply::NotStored(_) => {
            let status = match op.verb {
                Verb::Add => Status::Exists,
                Verb::Replace => Status::NotFound,
                _ => Status::NotStored,
            };
            echo.error(out, status, status.text());
        }
        Reply::Exists(_) => echo.error(out, Status::Exists, Status::Exists.text()),
        Reply::NotFound(_) => echo.error(out, Status::NotFound, Status::NotFound.text()),
        Reply::Version => echo.success_with(out, "1.6.45"),
        Reply::Mechanisms => echo.success_with(out, "PLAIN"),
        Reply::Authenticated => echo.success_with(out, "Authenticated"),
        Reply::Challenge => echo.error(out, Status::Continue, Status::Continue.text()),
        Reply::Lines(dump) if detailed => {
            echo.statistic(out, b"detailed", dump);
            echo.statistic(out, b"", b"");
        }
        Reply::Lines(lines) => echo.statistics(out, lines),
        Reply::Deleted | Reply::Touched | Reply::Ok | Reply::Reset | Reply::Noop | Reply::Nothing => {
            if !op.quiet {
                echo.success(out, 0);
            }
        }
        // Nothing binary asks for it.
        Reply::Inspected(_) => {}
        Reply::Error(error) => {
            let (status, text) = spell(op.verb, error);
            echo.error(out, status, text);
        }
    }
    Body::None
}

/// An error of the neutral kind by status and text (section 6.3).
#[cold]
fn spell(verb: Verb, error: &Error) -> (Status, &'static str) {
    let status = match *error {
        // Whatever is wrong with statistics, they are not there.
        _ if verb == Verb::Stat => Status::NotFound,
        Error::TOO_LARGE => Status::TooLarge,
        Error::NOT_A_NUMBER => Status::NotNumeric,
        Error::FLUSH_FORBIDDEN | Error::NOT_AUTHENTICATED => Status::Auth,
        _ if matches!(verb, Verb::Auth | Verb::Step) => Status::NoMemory,
        Error::NO_MEMORY_TO_STORE => return (Status::NoMemory, "Out of memory allocating item"),
        Error::NO_MEMORY_TO_REWRITE => return (Status::NoMemory, "Out of memory incrementing value"),
        Error::NO_MEMORY_TO_CREATE => return (Status::NoMemory, "Out of memory allocating new item"),
        Error::Server(_) => Status::NoMemory,
        _ => Status::Invalid,
    };
    (status, status.text())
}
