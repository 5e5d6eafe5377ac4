//! Plays a trace against a server, as a client does that fetches elsewhere what the cache has not, and stores it then.
//!
//! Requests are sent in batches over one connection, in the meta protocol, so that each costs a fraction of a system call. Keys
//! that were not found are stored after the batch; what else the batch asked of such a key is asked again behind that. So every key sees
//! its requests in order. A batch of a timed trace has only what is due by then.

use super::{Found, Op, Request, Trace};
use crate::clock::Clock;
use crate::tools::Failure;
use crate::tools::link::Link;
use std::collections::HashSet;
use std::thread;
use std::time::Duration;

/// Requests sent at once.
const BATCH: usize = 256;
/// Bytes after which a batch ends, so that neither side waits for the other with full sockets.
const BATCH_BYTES: usize = 256 << 10;
/// Pause where nothing is due.
const PAUSE: Duration = Duration::from_millis(1);
/// What values are made of, behind their key.
const FILLING: u8 = b'v';

/// What came of a trace.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// For each group of the trace.
    pub found: Vec<Found>,
    /// Values that the server did not store.
    pub refused: u64,
    /// The time it took.
    pub seconds: f64,
    /// By how much a timed trace was late at most, in milliseconds.
    pub late_millis: u64,
}

/// Plays a trace; `played` is told now and then how many of its requests are done.
///
/// # Errors
/// When the server is not there, goes away, or answers wrongly.
pub fn replay(trace: &Trace, server: &str, mut played: impl FnMut(usize)) -> Result<Outcome, Failure> {
    let outcome = Outcome { found: vec![Found::default(); trace.groups.len()], ..Outcome::default() };
    let mut player = Player { trace, link: Link::open(server)?, outcome, output: Vec::new(), value: Vec::new() };
    let clock = Clock::start();
    let mut rest = &trace.requests[..];
    while !rest.is_empty() {
        let due = if trace.timed { clock.running_micros() / 1000 } else { u64::MAX };
        let batch = player.batch(rest, due);
        if batch.is_empty() {
            thread::park_timeout(PAUSE);
            continue;
        }
        if trace.timed {
            let late = due - u64::from(batch[0].millis);
            player.outcome.late_millis = player.outcome.late_millis.max(late);
        }
        player.play(batch)?;
        rest = &rest[batch.len()..];
        played(trace.requests.len() - rest.len());
    }
    player.outcome.seconds = clock.running_micros() as f64 / 1e6;
    Ok(player.outcome)
}

struct Player<'a> {
    trace: &'a Trace,
    link: Link,
    outcome: Outcome,
    output: Vec<u8>,
    value: Vec<u8>,
}

impl Player<'_> {
    /// The requests of the next batch: those due, as far as they may be sent at once.
    fn batch<'r>(&self, rest: &'r [Request], due: u64) -> &'r [Request] {
        let mut bytes = 0;
        let fits = |request: &&Request| {
            bytes += request.size as usize;
            u64::from(request.millis) <= due && (bytes <= BATCH_BYTES || bytes == request.size as usize)
        };
        &rest[..rest.iter().take(BATCH).take_while(fits).count()]
    }

    fn play(&mut self, batch: &[Request]) -> Result<(), Failure> {
        let mut missed = HashSet::new();
        let mut again = Vec::new();
        self.send(batch)?;
        for request in batch {
            if missed.contains(&request.key) {
                self.answer(request)?;
                again.push(*request);
            } else if !self.answer(request)? && request.op.reads() {
                missed.insert(request.key);
                self.count(request, false);
                again.push(Request { op: Op::Set, ..*request });
            } else {
                self.count(request, true);
            }
        }
        self.send(&again)?;
        for request in &again {
            let hit = self.answer(request)?;
            self.count(request, hit);
        }
        Ok(())
    }

    fn count(&mut self, request: &Request, hit: bool) {
        if request.op.reads() {
            self.outcome.found[usize::from(request.group)].count(hit);
        }
    }

    fn send(&mut self, batch: &[Request]) -> Result<(), Failure> {
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        for request in batch {
            self.spell(request, &mut output);
        }
        self.link.send(&output)?;
        self.output = output;
        Ok(())
    }

    fn spell(&self, request: &Request, output: &mut Vec<u8>) {
        let Request { op, key, size, ttl, .. } = *request;
        output.extend_from_slice(match op {
            Op::Get | Op::GetAndTouch => b"mg ",
            Op::Set => b"ms ",
            Op::Delete => b"md ",
        });
        self.trace.push_key(key, output);
        let flags = match op {
            Op::Get => " v".to_owned(),
            Op::GetAndTouch => format!(" v T{ttl}"),
            Op::Set => format!(" {size} T{ttl}"),
            Op::Delete => String::new(),
        };
        output.extend_from_slice(flags.as_bytes());
        output.extend_from_slice(b"\r\n");
        if op == Op::Set {
            let start = output.len();
            self.trace.push_key(key, output);
            output.resize(start + size as usize, FILLING);
            output.extend_from_slice(b"\r\n");
        }
    }

    /// Reads an answer; whether something was found, or done.
    fn answer(&mut self, request: &Request) -> Result<bool, Failure> {
        let line = self.link.line()?;
        let length = match line {
            b"HD" => return Ok(true),
            b"EN" | b"NF" => return Ok(false),
            // Stores are refused for want of memory, or because the value is larger than the server takes.
            _ if line.starts_with(b"SERVER_ERROR") && request.op == Op::Set => {
                self.outcome.refused += 1;
                return Ok(false);
            }
            _ => value_len(line),
        };
        let Some(length) = length else {
            let line = line.to_vec();
            return Err(self.link.refused(&line));
        };
        let mut value = std::mem::take(&mut self.value);
        self.link.bytes(length + 2, &mut value)?;
        self.output.clear();
        self.trace.push_key(request.key, &mut self.output);
        let mark = self.output.len().min(length);
        if value[..mark] != self.output[..mark] || !value.ends_with(b"\r\n") {
            return Err(self.link.refused(b"with another key's value"));
        }
        self.value = value;
        Ok(true)
    }
}

/// The length in `VA <length>`.
fn value_len(line: &[u8]) -> Option<usize> {
    let length = line.strip_prefix(b"VA ")?.split(|byte| *byte == b' ').next()?;
    str::from_utf8(length).ok()?.parse().ok()
}
