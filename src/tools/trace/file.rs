//! Traces from files: a line for each request, `time,op,key,size,ttl`, and lines that begin with `#`.
//!
//! *time*: seconds from any beginning, with a fraction or without; *op*: `get` (stored when not found), `gat` (the same with a new time
//! to live), `set`, `delete`; *key*: 1 to 250 bytes without comma, space or control character; *size*: bytes of the value; *ttl*:
//! seconds, 0 for ever. Trailing fields may be left out and are 0. A trace in which something expires is played by its own clock.

use super::{Group, Op, Request, Trace};
use crate::tools::Failure;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

/// memcached's longest key.
const KEY_LEN_MAX: usize = 250;
/// The largest value that a server can be told to take.
const SIZE_MAX: u32 = 1 << 30;
/// Bytes of a line, and of a comment.
const LINE_MAX: u64 = 4096;

/// Reads a trace.
///
/// # Errors
/// When the file cannot be read, or the first line that says nothing.
pub fn read(path: &Path) -> Result<Trace, Failure> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| Failure(format!("{shown}: {}", crate::sys::reason(&error))))?;
    parse(BufReader::new(file)).map_err(|mistake| Failure(format!("{shown}: {mistake}")))
}

fn parse(mut input: impl BufRead) -> Result<Trace, String> {
    let mut trace = Trace {
        requests: Vec::new(),
        groups: vec![Group { name: "all", counts: true }],
        timed: false,
        names: Vec::new(),
    };
    let mut numbers = HashMap::new();
    let mut start = None;
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        let read = (&mut input).take(LINE_MAX).read_until(b'\n', &mut bytes);
        match read.map_err(|error| crate::sys::reason(&error))? {
            0 => break,
            // Of a file that is something else nobody reads gigabytes in search of the end of its first line.
            _ if bytes.len() as u64 == LINE_MAX => return Err(format!("line {number} is too long")),
            _ => {}
        }
        let line = bytes.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let wrong = || format!("line {number} is not time,op,key,size,ttl");
        let (seconds, op, key, size, ttl) = fields(line).ok_or_else(wrong)?;
        let millis = (seconds - *start.get_or_insert(seconds)) * 1000.0;
        let last = trace.requests.last().map_or(0, |last: &Request| last.millis);
        if !(f64::from(last)..f64::from(u32::MAX)).contains(&millis.round()) {
            return Err(format!("line {number}: its time lies before the line above it, or 50 days behind the first"));
        }
        let known = numbers.len();
        let key = *numbers.entry(key.to_vec()).or_insert_with(|| {
            trace.names.push(key.into());
            known
        });
        let key = u32::try_from(key).map_err(|_| format!("line {number}: too many keys"))?;
        trace.timed |= ttl > 0;
        trace.requests.push(Request { millis: millis.round() as u32, op, group: 0, key, size, ttl });
    }
    if trace.requests.is_empty() { Err("no requests in it".to_owned()) } else { Ok(trace) }
}

fn fields(line: &[u8]) -> Option<(f64, Op, &[u8], u32, u32)> {
    let mut fields = line.split(|byte| *byte == b',');
    let seconds: f64 = str::from_utf8(fields.next()?).ok()?.trim().parse().ok()?;
    let op = match fields.next()?.trim_ascii() {
        b"get" => Op::Get,
        b"gat" => Op::GetAndTouch,
        b"set" => Op::Set,
        b"delete" => Op::Delete,
        _ => return None,
    };
    let key = fields.next()?.trim_ascii();
    let is_key = (1..=KEY_LEN_MAX).contains(&key.len()) && key.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    let mut number = || fields.next().map_or(Some(0), |field| str::from_utf8(field.trim_ascii()).ok()?.parse().ok());
    let (size, ttl) = (number()?, number()?);
    (is_key && seconds.is_finite() && size <= SIZE_MAX && fields.next().is_none())
        .then_some((seconds, op, key, size, ttl))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_requests() {
        let text = "# time,op,key,size,ttl\n\n1.5,get,a,100,0\n1.6, set ,b,5,60\r\n2,gat,a,100,30\n2,delete,b\n";
        let trace = parse(text.as_bytes()).unwrap();
        let request = |millis, op, key, size, ttl| Request { millis, op, group: 0, key, size, ttl };
        let expected = [
            request(0, Op::Get, 0, 100, 0),
            request(100, Op::Set, 1, 5, 60),
            request(500, Op::GetAndTouch, 0, 100, 30),
            request(500, Op::Delete, 1, 0, 0),
        ];
        assert_eq!(trace.requests, expected);
        assert!(trace.timed);
        assert_eq!((trace.keys(), trace.key_len(1)), (2, 1));
    }

    #[test]
    fn what_says_nothing_is_told_by_its_line() {
        let wrong =
            ["get", "1,get", "1,get,", "1,put,a", "x,get,a", "1,get,a b", "1,get,a,-1", "1,get,a,1,1,1", "nan,get,a"];
        for line in wrong {
            let error = parse(format!("1,get,a\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(error, "line 2 is not time,op,key,size,ttl", "{line}");
        }
        assert!(parse("2,get,a\n1,get,a\n".as_bytes()).unwrap_err().starts_with("line 2: its time lies before"));
        assert_eq!(parse("# nothing\n".as_bytes()).unwrap_err(), "no requests in it");
        let endless = BufReader::new(std::io::repeat(b'x'));
        assert_eq!(parse(endless).unwrap_err(), "line 1 is too long");
    }
}
