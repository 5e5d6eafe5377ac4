//! Many items of one kind, stored and looked for in large batches over one connection.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use memhold::tools::Failure;
use memhold::tools::link::Link;

use super::server::Server;

/// Items of one kind.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What their keys begin with.
    pub prefix: &'static str,
    pub count: u64,
    pub value_len: usize,
}

/// One connection.
pub struct Bulk {
    link: Link,
    value: Vec<u8>,
}

impl Bulk {
    /// # Errors
    ///
    /// When the server does not answer.
    pub fn open(server: &Server) -> Result<Bulk, Failure> {
        Ok(Bulk { link: Link::open(&server.target().address)?, value: Vec::new() })
    }

    /// Stores items that expire at the time (unix seconds, 0 for never) that `expiry` says for their number. A server may refuse some
    /// for lack of memory: they will not be found.
    ///
    /// # Errors
    ///
    /// When the connection fails, or the server says anything else.
    pub fn set(&mut self, kind: &Kind, numbers: Range<u64>, expiry: impl Fn(u64) -> u64) -> Result<(), Failure> {
        let Kind { prefix, value_len, .. } = kind;
        let at_once = (BATCH_BYTES / *value_len as u64).clamp(1, BATCH);
        for start in numbers.clone().step_by(at_once as usize) {
            let end = (start + at_once).min(numbers.end);
            let mut batch = Vec::new();
            for number in start..end {
                let line = format!("ms {prefix}:{number} {value_len} T{}\r\n", expiry(number));
                batch.extend_from_slice(line.as_bytes());
                batch.resize(batch.len() + value_len, FILLING);
                batch.extend_from_slice(b"\r\n");
            }
            self.link.send(&batch)?;
            for _ in start..end {
                let line = self.link.line()?;
                if line != b"HD" && !line.starts_with(b"SERVER_ERROR ") {
                    let line = line.to_vec();
                    return Err(self.link.refused(&line));
                }
            }
        }
        Ok(())
    }

    /// How many of the items are there; this is a use of each.
    ///
    /// # Errors
    ///
    /// When the connection fails, or a value is not the one that was stored.
    pub fn found(&mut self, kind: &Kind, numbers: Range<u64>) -> Result<u64, Failure> {
        let (mut found, header) = (0, format!("VA {}", kind.value_len));
        for start in numbers.clone().step_by(BATCH as usize) {
            let end = (start + BATCH).min(numbers.end);
            let batch: String = (start..end).map(|number| format!("mg {}:{number} v\r\n", kind.prefix)).collect();
            self.link.send(batch.as_bytes())?;
            for _ in start..end {
                let line = self.link.line()?;
                if line == b"EN" {
                    continue;
                }
                if line != header.as_bytes() {
                    let line = line.to_vec();
                    return Err(self.link.refused(&line));
                }
                self.link.bytes(kind.value_len + 2, &mut self.value)?;
                if self.value.strip_suffix(b"\r\n").is_none_or(|value| value.iter().any(|byte| *byte != FILLING)) {
                    return Err(self.link.refused(b"with another value than was stored"));
                }
                found += 1;
            }
        }
        Ok(found)
    }
}

/// For items that stay until they are evicted.
pub fn never(_: u64) -> u64 {
    0
}

/// Unix time in seconds.
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What values are made of.
const FILLING: u8 = b'v';

/// Requests sent at once, and their bytes about.
pub const BATCH: u64 = 100;
const BATCH_BYTES: u64 = 300_000;
