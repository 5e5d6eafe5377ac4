//! What is sent and what must come back, all made before the clock starts.
//!
//! A script is a list of bursts. A burst is sent in one piece and must be answered wholly before its connection sends
//! the next one. A reply is known by its head, a number of bytes nobody looks at (the filling of a value), and its
//! tail; head and tail are compared as the bytes come in, in whatever pieces, so no reply is ever put together.

use std::fmt;
use std::ops::Range;

/// Bursts of requests with their replies.
#[derive(Default)]
pub struct Script {
    requests: Vec<u8>,
    heads: Vec<u8>,
    replies: Vec<Reply>,
    bursts: Vec<Burst>,
}

/// Where a burst ends in `requests` and in `replies`; it begins where the one before ended.
struct Burst {
    requests_end: usize,
    replies_end: usize,
}

struct Reply {
    /// Where its head begins in `heads`.
    head: usize,
    head_len: u32,
    /// Bytes between head and tail.
    skip: u32,
    tail: &'static [u8],
}

/// How far into a burst's replies a connection has read.
#[derive(Clone, Copy, Default)]
pub struct Place {
    /// The number of the reply in the script.
    reply: usize,
    /// Bytes of it that have come.
    at: usize,
    /// The first reply that is not of this burst.
    end: usize,
}

/// A reply that is not the one the script asks for.
#[derive(Debug)]
pub struct Mismatch {
    expected: String,
    got: String,
}

impl Script {
    pub fn new() -> Script {
        Script::default()
    }

    /// Adds to the burst being written; `write` appends request bytes.
    pub fn request(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.requests);
    }

    /// Adds a reply to the burst being written: these `head` pieces one after another, `skip` bytes, then `tail`.
    pub fn reply(&mut self, head: &[&[u8]], skip: usize, tail: &'static [u8]) {
        let start = self.heads.len();
        for piece in head {
            self.heads.extend_from_slice(piece);
        }
        let head_len = (self.heads.len() - start) as u32;
        self.replies.push(Reply { head: start, head_len, skip: skip as u32, tail });
    }

    pub fn end_burst(&mut self) {
        let burst = Burst { requests_end: self.requests.len(), replies_end: self.replies.len() };
        self.bursts.push(burst);
    }

    /// How many bursts there are.
    pub fn len(&self) -> usize {
        self.bursts.len()
    }

    /// How many replies all bursts together draw.
    pub fn replies(&self) -> usize {
        self.replies.len()
    }

    /// How many replies a burst draws.
    pub fn replies_of(&self, burst: usize) -> usize {
        let place = self.place(burst);
        place.end - place.reply
    }

    /// The bytes of a burst.
    pub fn bytes(&self, burst: usize) -> &[u8] {
        let start = self.before(burst).map_or(0, |before| before.requests_end);
        &self.requests[start..self.bursts[burst].requests_end]
    }

    /// Where reading a burst's replies starts.
    pub fn place(&self, burst: usize) -> Place {
        let reply = self.before(burst).map_or(0, |before| before.replies_end);
        Place { reply, at: 0, end: self.bursts[burst].replies_end }
    }

    /// Compares the bytes that came in next.
    ///
    /// # Errors
    ///
    /// When they are not those of the replies, or go on after the last one.
    pub fn check(&self, place: &mut Place, mut got: &[u8]) -> Result<(), Mismatch> {
        while !got.is_empty() {
            if place.is_done() {
                return Err(Mismatch::new("nothing more", got));
            }
            let reply = &self.replies[place.reply];
            let head = &self.heads[reply.head..][..reply.head_len as usize];
            let tail_start = head.len() + reply.skip as usize;
            let len = tail_start + reply.tail.len();

            let taken = got.len().min(len - place.at);
            let piece = Piece { from: place.at, bytes: &got[..taken] };
            if !piece.agrees(0, head) || !piece.agrees(tail_start, reply.tail) {
                let head = String::from_utf8_lossy(head);
                let tail = String::from_utf8_lossy(reply.tail);
                let expected = format!("{head}<{} bytes>{tail} from its byte {} on", reply.skip, place.at);
                return Err(Mismatch::new(&expected, got));
            }
            got = &got[taken..];
            place.at += taken;
            if place.at == len {
                place.reply += 1;
                place.at = 0;
            }
        }
        Ok(())
    }

    fn before(&self, burst: usize) -> Option<&Burst> {
        self.bursts.get(burst.checked_sub(1)?)
    }
}

impl Place {
    /// Whether all replies of the burst have come.
    pub fn is_done(&self) -> bool {
        self.reply == self.end
    }
}

/// Some bytes of a reply and where in it they begin.
struct Piece<'a> {
    from: usize,
    bytes: &'a [u8],
}

impl Piece<'_> {
    /// Whether the bytes that this piece shares with `part`, which lies at `start`, are the same.
    fn agrees(&self, start: usize, part: &[u8]) -> bool {
        let Range { start: low, end: high } =
            self.from.max(start)..(self.from + self.bytes.len()).min(start + part.len());
        low >= high || self.bytes[low - self.from..high - self.from] == part[low - start..high - start]
    }
}

impl Mismatch {
    fn new(expected: &str, got: &[u8]) -> Mismatch {
        let shown = &got[..got.len().min(200)];
        Mismatch { expected: expected.to_owned(), got: String::from_utf8_lossy(shown).into_owned() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {:?}, got {:?}", self.expected, self.got)
    }
}

impl std::error::Error for Mismatch {}
