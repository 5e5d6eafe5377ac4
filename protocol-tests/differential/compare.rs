//! When two replies count as the same, and the rules for those that must not be.
//!
//! CAS ids are numbers of each server's own; a pair of them, once seen together, belongs together for good. Times may be off by the second
//! that two clocks are. Everything else is compared byte for byte.

use std::collections::HashMap;

/// CAS ids of ours and theirs that name the same version of an item.
#[derive(Default)]
pub struct Ids {
    theirs: HashMap<u64, u64>,
    ours: HashMap<u64, u64>,
    recent: Vec<(u64, u64)>,
}

impl Ids {
    /// Whether these two may belong together; from now on they do.
    pub fn pair(&mut self, ours: &[u8], theirs: &[u8]) -> bool {
        let (Some(ours), Some(theirs)) = (number(ours), number(theirs)) else {
            return false;
        };
        if ours == 0 || theirs == 0 {
            return ours == theirs;
        }
        let agrees =
            *self.theirs.entry(ours).or_insert(theirs) == theirs && *self.ours.entry(theirs).or_insert(ours) == ours;
        if agrees {
            self.recent.push((ours, theirs));
            if self.recent.len() > 32 {
                self.recent.drain(..16);
            }
        }
        agrees
    }

    /// Pairs seen lately, the latest last.
    pub fn recent(&self) -> &[(u64, u64)] {
        &self.recent
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether two replies say the same.
pub fn same(ours: &[u8], theirs: &[u8], ids: &mut Ids) -> bool {
    let (ours, theirs) = (without_line_ends_in_keys(ours), without_line_ends_in_keys(theirs));
    let (mut left, mut right) = (ours.split(|byte| *byte == b'\n'), theirs.split(|byte| *byte == b'\n'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(left), Some(right)) if same_line(left, right, ids) => {}
            _ => return false,
        }
    }
}

/// A decoded key may hold LF (`AAAgCgH/` does), which ends no line.
fn without_line_ends_in_keys(reply: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = b" k\0\0 \n\x01\xff";
    let mut bytes = reply.to_vec();
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(KEY.len()).position(|window| window == KEY) {
        from += at;
        bytes.splice(from..from + KEY.len(), *b" k(key)");
    }
    bytes
}

fn same_line(ours: &[u8], theirs: &[u8], ids: &mut Ids) -> bool {
    let kind = ours.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
    let meta = matches!(kind, b"HD" | b"VA" | b"EN" | b"EX" | b"NS" | b"NF");
    if !meta && !matches!(kind, b"VALUE" | b"ME" | b"VERSION") {
        return ours == theirs;
    }
    if kind == b"VERSION" {
        return theirs.starts_with(kind);
    }
    let words = |line: &[u8]| -> Vec<Vec<u8>> {
        line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect()
    };
    let (left, right) = (words(ours), words(theirs));
    if left.len() != right.len() {
        return false;
    }
    left.iter().zip(&right).enumerate().all(|(index, (left, right))| match kind {
        b"VALUE" if index == 4 => ids.pair(left, right),
        b"ME" if index > 1 => same_debug(left, right, ids),
        _ if meta && index > 0 => same_flag(left, right, ids),
        _ => left == right,
    })
}

/// A word of a meta reply.
fn same_flag(ours: &[u8], theirs: &[u8], ids: &mut Ids) -> bool {
    match (ours, theirs) {
        ([b'c', left @ ..], [b'c', right @ ..]) => ids.pair(left, right),
        ([b't', b'-', ..], _) => ours == theirs,
        ([b't', left @ ..], [b't', right @ ..]) => {
            matches!((number(left), number(right)), (Some(left), Some(right)) if left.abs_diff(right) <= 2)
        }
        // The last access is recorded by each store's own rule (section 5.2); the transcripts check what is common.
        ([b'l', left @ ..], [b'l', right @ ..]) => number(left).is_some() && number(right).is_some(),
        _ => ours == theirs,
    }
}

/// A word of `ME`. Class and access time are each store's own, and 1.6.18 prints `exp` with the wrong sign (section 5.6).
fn same_debug(ours: &[u8], theirs: &[u8], ids: &mut Ids) -> bool {
    let split = |word: &[u8]| -> (Vec<u8>, Vec<u8>) {
        let at = word.iter().position(|byte| *byte == b'=').unwrap_or(word.len());
        (word[..at].to_vec(), word[at..].to_vec())
    };
    let ((name, left), (other, right)) = (split(ours), split(theirs));
    name == other
        && match name.as_slice() {
            b"exp" | b"la" | b"cls" => true,
            b"cas" => ids.pair(&left[1..], &right[1..]),
            _ => left == right,
        }
}

/// A known difference between 1.6.18 and 1.6.45: which row it is, and what each says.
pub enum Rule {
    /// Each says exactly this.
    Says {
        /// What 1.6.45 answers.
        now: String,
        /// What 1.6.18 answers.
        then: String,
    },
    /// 1.6.45 says exactly this; 1.6.18 does what was asked.
    Refuses(&'static str),
    /// `ms` with `s`: 1.6.18 ignores the flag ("1.6.20 ms s returns the size").
    SizeOfStored,
    /// A number from 2^63 up is refused by 1.6.18 if there is a minus sign somewhere behind the value (section 3.6: it is a number).
    MinusBeyondTheEnd,
    /// `ma k q N0` on a miss: `HD` (or `VA`) then, nothing now.
    QuietCreate,
}

impl Rule {
    /// Both answers, each ended by CR LF unless empty.
    pub fn says(now: &str, then: &str) -> Rule {
        let line = |text: &str| {
            if text.is_empty() { String::new() } else { format!("{text}\r\n") }
        };
        Rule::Says { now: line(now), then: line(then) }
    }
}

/// Counts how often rules were needed.
#[derive(Default)]
pub struct Cases {
    /// Replies that differed as a rule says.
    pub explained: u64,
}

impl Cases {
    /// Whether two replies agree under `rule`; each server is held to what its version says.
    pub fn agree(&mut self, rule: &Rule, versions: (&str, &str), replies: (&[u8], &[u8]), ids: &mut Ids) -> bool {
        let (ours, theirs) = replies;
        let old = (versions.0 == "1.6.18", versions.1 == "1.6.18");
        self.explained += 1;
        match rule {
            Rule::Says { now, then } => {
                let expected = |old: bool| if old { then.as_bytes() } else { now.as_bytes() };
                ours == expected(old.0) && theirs == expected(old.1)
            }
            _ if old.0 == old.1 => same(ours, theirs, ids),
            Rule::Refuses(line) => ours.strip_suffix(b"\r\n") == Some(line.as_bytes()),
            Rule::MinusBeyondTheEnd => {
                let refused = b"STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
                same(ours, theirs, ids) || (theirs.starts_with(refused) && !ours.starts_with(refused))
            }
            Rule::SizeOfStored => same(&without_size(ours), &without_size(theirs), ids),
            Rule::QuietCreate => {
                same(ours, theirs, ids) || (ours.is_empty() && (theirs.starts_with(b"HD") || theirs.starts_with(b"VA")))
            }
        }
    }
}

/// A one-line meta reply without its `s` flag.
fn without_size(line: &[u8]) -> Vec<u8> {
    let text = line.strip_suffix(b"\r\n").unwrap_or(line);
    let kept: Vec<&[u8]> = text
        .split(|byte| *byte == b' ')
        .filter(|word| !(word.len() > 1 && word[0] == b's' && word[1..].iter().all(u8::is_ascii_digit)))
        .collect();
    kept.join(&b' ')
}
