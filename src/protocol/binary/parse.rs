//! From a frame to a request, in the order of memcached's checks (section 6.2), which decides what a malformed frame is told
//! and whether the conversation goes on.

use super::opcodes::{self, Op, Verb};
use super::{AUTH_DATA_MAX, BODY_MAX, HEADER_BYTES, MECHANISM_MAX, REQUEST_MAGIC, Status};
use crate::protocol::limits::KEY_MAX;
use crate::protocol::request::{Admin, Arith, Auth, Delete, Get, Key, Request, Store, StoreMode, TypedExptime};
use crate::protocol::{Command, Spelling};

/// memcached waits for header, extras and key before it judges them, if its read buffer can hold them (check 2).
const WAITED_FOR_MAX: usize = 16 << 10;

/// An expiry of arithmetic that means: do not create.
const DO_NOT_CREATE: u32 = u32::MAX;

/// What the conversation may ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    /// `-S`: the opcodes of SASL exist.
    pub sasl: bool,
    /// `-S`, and the client has not authenticated itself: most opcodes are refused.
    pub locked: bool,
}

/// What the input begins with.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// What it is.
    pub frame: Frame<'a>,
    /// Bytes of it that are done with: header, extras and key; the value, if there is one, follows.
    pub head: usize,
}

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The input ends before it does.
    NeedMore,
    /// `get`, `getk`: by far the most frequent, and little to carry.
    Read(Read<'a>),
    /// Anything else that is complete but for the value of [`Request::Store`].
    Command(Command<'a>),
    /// SASL, complete.
    Auth(Auth<'a>, Spelling<'static>),
    /// Answer with an error.
    Refused(Refused),
    /// No frame at all: close without a word.
    Close,
}

/// See [`Frame::Read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read<'a> {
    /// 1..=250 bytes.
    pub key: &'a [u8],
    /// Which of the four.
    pub opcode: u8,
    /// To be sent back.
    pub opaque: [u8; 4],
}

/// See [`Frame::Refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub status: Status,
    /// Its opcode and opaque go back.
    pub opcode: u8,
    /// See `opcode`.
    pub opaque: [u8; 4],
    /// Bytes to skip behind [`Parsed::head`].
    pub swallow: usize,
    /// Whether the conversation ends here.
    pub close: bool,
}

/// The header's fields.
struct Header {
    opcode: u8,
    key_len: usize,
    extras_len: u8,
    body_len: usize,
    opaque: [u8; 4],
    cas: u64,
}

impl Header {
    fn read(bytes: &[u8; HEADER_BYTES]) -> Header {
        let &[_, opcode, k0, k1, extras_len, _, _, _, b0, b1, b2, b3, o0, o1, o2, o3, c0, c1, c2, c3, c4, c5, c6, c7] =
            bytes;
        Header {
            opcode,
            key_len: u16::from_be_bytes([k0, k1]).into(),
            extras_len,
            body_len: u32::from_be_bytes([b0, b1, b2, b3]) as usize,
            opaque: [o0, o1, o2, o3],
            cas: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        }
    }

    const fn spelling(&self) -> Spelling<'static> {
        Spelling::Binary { opcode: self.opcode, opaque: self.opaque, detailed: false }
    }

    fn refuse<'a>(&self, status: Status, close: bool) -> Parsed<'a> {
        let Header { opcode, opaque, .. } = *self;
        let frame = Frame::Refused(Refused { status, opcode, opaque, swallow: self.body_len, close });
        Parsed { frame, head: HEADER_BYTES }
    }
}

/// Looks at what the input begins with.
#[inline]
#[must_use]
pub fn parse(input: &[u8], access: Access) -> Parsed<'_> {
    let Some(bytes) = input.first_chunk() else { return NEED_MORE };
    if bytes[0] != REQUEST_MAGIC {
        return Parsed { frame: Frame::Close, head: 0 };
    }
    let header = Header::read(bytes);
    let key_at = HEADER_BYTES + usize::from(header.extras_len);
    let head = key_at + header.key_len;
    if input.len() < head && head <= WAITED_FOR_MAX {
        return NEED_MORE;
    }
    let op = match judge(&header, access) {
        Ok(op) => op,
        Err((status, close)) => return header.refuse(status, close),
    };
    // What is longer than that was waited for, or refused for the length of its key.
    let (Some(extras), Some(key)) = (input.get(HEADER_BYTES..key_at), input.get(key_at..head)) else {
        return NEED_MORE;
    };
    let Header { opcode, opaque, .. } = header;
    let frame = match op.verb {
        Verb::Get | Verb::GetKey => Frame::Read(Read { key, opcode, opaque }),
        verb if verb.is_sasl() => return authentication(&header, verb, key, &input[head..], head),
        Verb::Stat => statistics(&header, key),
        verb => command(&header, verb, extras, key),
    };
    Parsed { frame, head }
}

const NEED_MORE: Parsed<'static> = Parsed { frame: Frame::NeedMore, head: 0 };

/// Checks 3 to 8. The error is what is answered, and whether the conversation ends.
#[inline]
fn judge(header: &Header, access: Access) -> Result<Op, (Status, bool)> {
    let &Header { opcode, key_len, extras_len, body_len, .. } = header;
    let Some(value_len) = body_len.checked_sub(key_len + usize::from(extras_len)) else {
        return Err((Status::UnknownCommand, true));
    };
    if body_len > BODY_MAX {
        return Err((Status::Invalid, true));
    }
    let op = opcodes::op(opcode);
    if access.locked && !op.is_some_and(|op| op.verb.is_free()) {
        return Err((Status::Auth, true));
    }
    if key_len > KEY_MAX {
        return Err((Status::Invalid, true));
    }
    match op {
        // DEFECT of memcached: it skips the body and the key once more. The body is skipped once.
        None => Err((Status::UnknownCommand, false)),
        Some(op) if !op.fits(extras_len, key_len, value_len) => Err((Status::Invalid, true)),
        Some(op) if op.verb.is_sasl() && !access.sasl => Err((Status::UnknownCommand, false)),
        Some(op) => Ok(op),
    }
}

fn word(extras: &[u8], at: usize) -> u32 {
    extras.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn long(extras: &[u8], at: usize) -> u64 {
    extras.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Everything that is a request of the neutral kind. `extras` and `key` have the opcode's shape.
fn command<'a>(header: &Header, verb: Verb, extras: &'a [u8], key: &'a [u8]) -> Frame<'a> {
    let key = Key::plain(key);
    let cas = (header.cas != 0).then_some(header.cas);
    let request = match verb {
        Verb::Get | Verb::GetKey => read(key, None, true),
        Verb::Touch => read(key, Some(word(extras, 0)), false),
        Verb::GetTouch | Verb::GetKeyTouch => read(key, Some(word(extras, 0)), true),
        Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend => store(header, verb, extras, key, cas),
        Verb::Delete => Request::Delete(Delete {
            key,
            compare: cas,
            new_cas: None,
            invalidate: false,
            clear: false,
            mismatch_is_miss: false,
            told_as: None,
            exptime: None,
            flags: 0,
        }),
        Verb::Increment | Verb::Decrement => {
            let exptime = word(extras, 16);
            Request::Arith(Arith {
                key,
                decrement: verb == Verb::Decrement,
                delta: long(extras, 0),
                vivify: (exptime != DO_NOT_CREATE).then_some(TypedExptime::from(exptime)),
                exptime_is_last: false,
                initial: long(extras, 8),
                exptime: None,
                compare: cas,
                new_cas: None,
            })
        }
        Verb::Quit => Request::Admin(Admin::Quit),
        Verb::Flush => Request::Admin(Admin::FlushAll(Some(word(extras, 0).into()))),
        Verb::Version => Request::Admin(Admin::Version),
        // Those of SASL and stat do not come here.
        Verb::Noop | Verb::Stat | Verb::Mechanisms | Verb::Auth | Verb::Step => Request::Noop,
    };
    Frame::Command(Command { request, spelling: header.spelling() })
}

fn read(key: Key<'_>, touch: Option<u32>, value: bool) -> Request<'_> {
    let touch = touch.map(TypedExptime::from);
    Request::Get(Get { touch, counts_as_touch: touch.is_some(), value, ..Get::of(key) })
}

/// With a CAS, set, add and replace are all the same: compare and swap (section 6.5).
fn store<'a>(header: &Header, verb: Verb, extras: &[u8], key: Key<'a>, cas: Option<u64>) -> Request<'a> {
    let mode = match verb {
        Verb::Append => StoreMode::Append,
        Verb::Prepend => StoreMode::Prepend,
        Verb::Add if cas.is_none() => StoreMode::Add,
        Verb::Replace if cas.is_none() => StoreMode::Replace,
        _ => StoreMode::Set,
    };
    Request::Store(Store {
        key,
        mode,
        // Those of append and prepend, which have no extras, are not looked at.
        flags: word(extras, 0),
        exptime: word(extras, 4).into(),
        value_len: header.body_len - usize::from(header.extras_len) - header.key_len,
        compare: cas,
        new_cas: None,
        invalidate: false,
        vivify: None,
        refusal_removes: verb == Verb::Set,
        counts_when_whole: true,
    })
}

/// The statistics that the binary protocol has; the longer words match by their beginning (section 6.7).
fn statistics<'a>(header: &Header, key: &'a [u8]) -> Frame<'a> {
    let mut detailed = false;
    let words: &[u8] = match key {
        b"" | b"items" | b"slabs" | b"sizes" => key,
        _ if key.starts_with(b"reset") => b"reset",
        _ if key.starts_with(b"settings") => b"settings",
        _ if key.starts_with(b"detail dump") => {
            detailed = true;
            b"detail dump"
        }
        _ if key.starts_with(b"detail on") => b"detail on",
        _ if key.starts_with(b"detail off") => b"detail off",
        _ => {
            let Header { opcode, opaque, .. } = *header;
            return Frame::Refused(Refused { status: Status::NotFound, opcode, opaque, swallow: 0, close: false });
        }
    };
    let spelling = Spelling::Binary { opcode: header.opcode, opaque: header.opaque, detailed };
    Frame::Command(Command { request: Request::Admin(Admin::Stats(words)), spelling })
}

/// SASL wants its data whole, which are short; `rest` is what follows the key.
fn authentication<'a>(header: &Header, verb: Verb, key: &'a [u8], rest: &'a [u8], head: usize) -> Parsed<'a> {
    let len = (header.body_len + HEADER_BYTES).saturating_sub(head);
    if key.len() > MECHANISM_MAX {
        return header.refuse(Status::Invalid, false);
    }
    if len > AUTH_DATA_MAX {
        return Parsed { frame: Frame::Auth(Auth::Overlong { len }, header.spelling()), head };
    }
    let Some(data) = rest.get(..len) else { return NEED_MORE };
    let auth = match verb {
        Verb::Mechanisms => Auth::Mechanisms,
        Verb::Step => Auth::Step { data },
        _ => Auth::Start { mechanism: key, data },
    };
    Parsed { frame: Frame::Auth(auth, header.spelling()), head: head + len }
}
