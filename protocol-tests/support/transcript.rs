//! Transcripts: conversations written as text, read into steps, and expected bytes matched against those that came.
//!
//! `protocol-tests/README.md` describes the format. This file only reads and compares; who answers (the library in process, a
//! server behind a socket) is the runner's business.

use super::frame;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub struct Transcript {
    /// Where it is, relative to the folder of all transcripts.
    pub name: String,
    /// The file itself.
    pub path: PathBuf,
    /// Its conversations, in order.
    pub conversations: Vec<Conversation>,
}

/// What happens on one connection to a server without items.
pub struct Conversation {
    /// Line of the file where it begins, from 1.
    pub line: usize,
    /// Its first line of prose.
    pub title: String,
    /// `@ server <flags>`: it wants a server of its own, started with these.
    pub server: Option<Vec<String>>,
    /// `@ not 1.6.18: <reason>`: that version cannot follow.
    pub not_18: bool,
    /// `@ end`: the connection is left in a state in which it answers nothing more.
    pub ends_silent: bool,
    /// `@ not memhold: <reason>`: it is not built yet.
    pub not_memhold: Option<String>,
    /// `@ socket: <reason>`: it shows what only the process with its sockets has.
    pub needs_socket: Option<String>,
    /// `@ in one read: <reason>`: not to be cut.
    pub in_one_read: bool,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Conversation {
    /// What asks at its end whether everything has been said, in its own protocol, and the answer.
    pub fn last_question(&self) -> (&'static [u8], &'static [u8]) {
        let binary = self.steps.iter().any(|step| match step {
            Step::Exchange(exchange) => matches!(exchange.send.first(), Some(Piece::Bytes(bytes)) if bytes[0] == 0x80),
            Step::Advance(_) => false,
        });
        if binary { (&NOOP, &NOOP_ANSWER) } else { (b"mn\r\n", b"MN\r\n") }
    }

    /// Whether time passes in it.
    pub fn moves_clock(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Advance(_)))
    }
}

/// The binary protocol's noop, with an opaque that nothing else has.
const NOOP: [u8; 24] = [0x80, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0xef, 0x01, 0, 0, 0, 0, 0, 0, 0, 0];
const NOOP_ANSWER: [u8; 24] =
    [0x81, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0xef, 0x01, 0, 0, 0, 0, 0, 0, 0, 0];

/// One step of a conversation.
pub enum Step {
    /// Bytes go out, bytes come back.
    Exchange(Exchange),
    /// `@ +n`: n seconds pass.
    Advance(u32),
}

/// Bytes sent and the answer.
#[derive(Default)]
pub struct Exchange {
    /// Lines of the file (from 1): the first that is sent, and the last of the exchange.
    pub lines: (usize, usize),
    /// What is sent.
    pub send: Vec<Piece>,
    /// What is expected.
    pub expect: Vec<Piece>,
    /// What 1.6.18 says instead.
    pub expect_18: Option<Vec<Piece>>,
    /// `@ closes`: the server closes the connection afterwards.
    pub closes: bool,
    /// The line that holds just `<`: nothing is said, or not recorded yet.
    pub silence: Option<usize>,
}

impl Exchange {
    /// Whether the file says anything about the answer, so that the next line sent begins a new exchange.
    fn answered(&self) -> bool {
        self.silence.is_some() || !self.expect.is_empty() || self.expect_18.is_some() || self.closes
    }
}

/// A part of what is sent or expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// `{n}`: a number.
    Number,
    /// `{low..high}`: a number in this range.
    Range(u64, u64),
    /// `{name}`: a number that gets this name when first seen, and is the same everywhere else.
    Named(String),
    /// `{any}`: one or more bytes up to the next line end.
    Any,
    /// `{lines}`: any number of whole lines.
    Lines,
    /// A CAS of the binary protocol, 8 bytes and not 0; with a name, the number that has it in text.
    Cas(Option<String>),
    /// `<b {frames}`: any number of whole frames of the binary protocol.
    Frames,
}

/// Reads every `.txt` file below `folder`, sorted by name.
pub fn read_all(folder: &Path) -> Vec<Transcript> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("the transcripts can be listed").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.into_iter().map(|path| read(folder, path)).collect()
}

fn read(folder: &Path, path: PathBuf) -> Transcript {
    let text = fs::read_to_string(&path).expect("a transcript can be read");
    let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
    let mut conversations: Vec<Conversation> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if line.is_empty() {
            open = false;
            continue;
        }
        if !open {
            open = true;
            conversations.push(Conversation {
                line: number,
                title: line.trim_start_matches("# ").to_owned(),
                server: None,
                not_18: false,
                ends_silent: false,
                not_memhold: None,
                needs_socket: None,
                in_one_read: false,
                steps: Vec::new(),
            });
        }
        let Some(current) = conversations.last_mut() else {
            continue;
        };
        if let Err(reason) = add_line(current, number, line) {
            panic!("{name}:{number}: {reason}: {line}");
        }
    }
    conversations.retain(|conversation| !conversation.steps.is_empty());
    Transcript { name, path, conversations }
}

fn add_line(conversation: &mut Conversation, number: usize, line: &str) -> Result<(), String> {
    if line.starts_with('#') {
        return Ok(());
    }
    if let Some(directive) = line.strip_prefix("@ ") {
        return add_directive(conversation, number, directive);
    }
    let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
    let pieces = match mark {
        ">b" | "<b" | "<18b" => frame::read(text, mark != ">b")?,
        _ => pieces(text)?,
    };
    if mark == ">" || mark == ">b" {
        let exchange = match conversation.steps.last_mut() {
            Some(Step::Exchange(last)) if !last.answered() => last,
            _ => {
                let lines = (number, number);
                conversation.steps.push(Step::Exchange(Exchange { lines, ..Exchange::default() }));
                last_exchange(conversation)?
            }
        };
        exchange.send.extend(pieces);
        exchange.lines.1 = number;
        return Ok(());
    }
    let exchange = last_exchange(conversation)?;
    exchange.lines.1 = number;
    match mark {
        "<" if pieces.is_empty() => exchange.silence = Some(number),
        "<" | "<b" => exchange.expect.extend(pieces),
        "<18" | "<18b" => exchange.expect_18.get_or_insert_default().extend(pieces),
        _ => return Err("a line begins with #, >, <, <18 or @, the middle three perhaps with b behind".to_owned()),
    }
    Ok(())
}

fn last_exchange(conversation: &mut Conversation) -> Result<&mut Exchange, String> {
    match conversation.steps.last_mut() {
        Some(Step::Exchange(exchange)) => Ok(exchange),
        _ => Err("nothing was sent before this".to_owned()),
    }
}

fn add_directive(conversation: &mut Conversation, number: usize, directive: &str) -> Result<(), String> {
    if let Some(seconds) = directive.strip_prefix('+') {
        let seconds = seconds.parse().map_err(|_| "seconds are a number".to_owned())?;
        conversation.steps.push(Step::Advance(seconds));
    } else if directive == "closes" {
        let exchange = last_exchange(conversation)?;
        exchange.closes = true;
        exchange.lines.1 = number;
    } else if directive == "end" {
        conversation.ends_silent = true;
    } else if let Some(reason) = directive.strip_prefix("socket: ") {
        conversation.needs_socket = Some(reason.to_owned());
    } else if let Some(reason) = directive.strip_prefix("not memhold: ") {
        conversation.not_memhold = Some(reason.to_owned());
    } else if directive.starts_with("in one read: ") {
        conversation.in_one_read = true;
    } else if directive.starts_with("not 1.6.18: ") {
        conversation.not_18 = true;
    } else if let Some(flags) = directive.strip_prefix("server") {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol-tests/transcripts");
        let flags = flags.replace("{folder}", folder);
        conversation.server = Some(flags.split_whitespace().map(str::to_owned).collect());
    } else {
        return Err("no such directive".to_owned());
    }
    Ok(())
}

/// Reads escapes and braces.
pub fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next == '{' {
            let (inside, after) = rest[1..].split_once('}').ok_or("a brace is not closed")?;
            rest = after;
            if let Some((count, run)) = inside.split_once('*') {
                let count: usize = count.parse().map_err(|_| "a run is {count*byte}".to_owned())?;
                let (byte, _) = one_byte(run)?;
                bytes.resize(bytes.len() + count, byte);
                continue;
            }
            if !bytes.is_empty() {
                found.push(Piece::Bytes(std::mem::take(&mut bytes)));
            }
            found.push(named_piece(inside)?);
        } else {
            let (byte, length) = one_byte(rest)?;
            bytes.push(byte);
            rest = &rest[length..];
        }
    }
    if !bytes.is_empty() {
        found.push(Piece::Bytes(bytes));
    }
    Ok(found)
}

fn named_piece(inside: &str) -> Result<Piece, String> {
    if let Some((low, high)) = inside.split_once("..") {
        return match (low.parse(), high.parse()) {
            (Ok(low), Ok(high)) => Ok(Piece::Range(low, high)),
            _ => Err("a range is {low..high}".to_owned()),
        };
    }
    match inside {
        "n" => Ok(Piece::Number),
        "any" => Ok(Piece::Any),
        "lines" => Ok(Piece::Lines),
        name if name.bytes().all(|byte| byte.is_ascii_lowercase()) => Ok(Piece::Named(name.to_owned())),
        _ => Err("unknown words in braces".to_owned()),
    }
}

/// One byte as written: itself, `\r`, `\n`, `\\` or `\xNN`; and how many bytes of text that took.
fn one_byte(text: &str) -> Result<(u8, usize), String> {
    let bytes = text.as_bytes();
    match bytes {
        [b'\\', b'r', ..] => Ok((b'\r', 2)),
        [b'\\', b'n', ..] => Ok((b'\n', 2)),
        [b'\\', b't', ..] => Ok((b'\t', 2)),
        [b'\\', b'\\', ..] => Ok((b'\\', 2)),
        [b'\\', b'x', ..] => {
            let digits = text.get(2..4).ok_or("\\x wants two digits")?;
            let byte = u8::from_str_radix(digits, 16).map_err(|_| "\\x wants two hexadecimal digits".to_owned())?;
            Ok((byte, 4))
        }
        [0x20..=0x7e, ..] => Ok((bytes[0], 1)),
        _ => Err("other than printable ASCII is written \\xNN".to_owned()),
    }
}

/// The numbers that have got names.
pub type Names = HashMap<String, String>;

/// What `pieces` mean as bytes to send.
pub fn spelled(pieces: &[Piece], names: &Names) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(these) => bytes.extend_from_slice(these),
            Piece::Named(name) => match names.get(name) {
                Some(value) => bytes.extend_from_slice(value.as_bytes()),
                None => panic!("{{{name}}} is sent before it was seen"),
            },
            Piece::Cas(Some(name)) => match names.get(name).and_then(|value| value.parse::<u64>().ok()) {
                Some(value) => bytes.extend(value.to_be_bytes()),
                None => panic!("{{{name}}} is sent before it was seen"),
            },
            other => panic!("{other:?} cannot be sent"),
        }
    }
    bytes
}

/// How far bytes agree with what is expected.
#[derive(Debug, PartialEq, Eq)]
pub enum Agreement {
    /// All of it, with this many bytes.
    Whole(usize),
    /// So far; more must come.
    SoFar,
    /// Not.
    No,
}

/// Compares `bytes` with `pieces`, giving names to numbers on the way.
pub fn compare(pieces: &[Piece], bytes: &[u8], names: &mut Names) -> Agreement {
    compare_from(pieces, bytes, 0, names)
}

fn compare_from(pieces: &[Piece], bytes: &[u8], at: usize, names: &mut Names) -> Agreement {
    let Some((piece, after)) = pieces.split_first() else {
        return Agreement::Whole(at);
    };
    let rest = &bytes[at..];
    let end = match piece {
        Piece::Bytes(these) => {
            let common = these.iter().zip(rest).take_while(|(left, right)| left == right).count();
            match common {
                _ if common == these.len() => at + common,
                _ if common == rest.len() => return Agreement::SoFar,
                _ => return Agreement::No,
            }
        }
        Piece::Lines => return compare_lines(after, bytes, at, names),
        Piece::Frames => return compare_frames(after, bytes, at, names),
        Piece::Cas(name) => match rest.first_chunk() {
            None => return Agreement::SoFar,
            Some([0, 0, 0, 0, 0, 0, 0, 0]) => return Agreement::No,
            Some(eight) => {
                let number = u64::from_be_bytes(*eight).to_string();
                let name = name.clone().unwrap_or_default();
                if !name.is_empty() && *names.entry(name).or_insert_with(|| number.clone()) != number {
                    return Agreement::No;
                }
                at + eight.len()
            }
        },
        Piece::Any => return compare_any(after, bytes, at, names),
        Piece::Number | Piece::Range(..) | Piece::Named(_) => {
            at + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
        }
    };
    if !matches!(piece, Piece::Bytes(_) | Piece::Cas(_)) {
        if end == bytes.len() {
            return Agreement::SoFar;
        }
        if end == at || !accepts(piece, &bytes[at..end], names) {
            return Agreement::No;
        }
    }
    compare_from(after, bytes, end, names)
}

fn accepts(piece: &Piece, digits: &[u8], names: &mut Names) -> bool {
    let text = String::from_utf8_lossy(digits).into_owned();
    match piece {
        Piece::Range(low, high) => text.parse::<u64>().is_ok_and(|number| (*low..=*high).contains(&number)),
        Piece::Named(name) => *names.entry(name.clone()).or_insert_with(|| text.clone()) == text,
        _ => true,
    }
}

/// Takes as few bytes of the line, but one, as let the rest agree.
fn compare_any(after: &[Piece], bytes: &[u8], from: usize, names: &mut Names) -> Agreement {
    for at in from..bytes.len() {
        if matches!(bytes[at], b'\r' | b'\n') {
            return Agreement::No;
        }
        match compare_from(after, bytes, at + 1, names) {
            Agreement::No => {}
            other => return other,
        }
    }
    Agreement::SoFar
}

/// Skips as few whole frames as let the rest agree.
fn compare_frames(after: &[Piece], bytes: &[u8], mut at: usize, names: &mut Names) -> Agreement {
    loop {
        match compare_from(after, bytes, at, names) {
            Agreement::No => {}
            // At the end of the input it is not known yet whether one more frame comes.
            other => return other,
        }
        match frame::len(&bytes[at..]) {
            Some(length) if at + length <= bytes.len() => at += length,
            Some(_) => return Agreement::SoFar,
            None if bytes.len() - at < 24 => return Agreement::SoFar,
            None => return Agreement::No,
        }
    }
}

/// Skips as few whole lines as let the rest agree.
fn compare_lines(after: &[Piece], bytes: &[u8], from: usize, names: &mut Names) -> Agreement {
    let mut at = from;
    let mut waiting = false;
    loop {
        match compare_from(after, bytes, at, names) {
            Agreement::No => {}
            Agreement::SoFar => waiting = true,
            whole @ Agreement::Whole(_) => return whole,
        }
        match bytes[at..].iter().position(|byte| *byte == b'\n') {
            Some(length) => at += length + 1,
            None => {
                return if waiting || at <= bytes.len() { Agreement::SoFar } else { Agreement::No };
            }
        }
    }
}

/// What is expected, for a message.
pub fn shown(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(these) => text.push_str(&super::escaped(these)),
            Piece::Number => text.push_str("{n}"),
            Piece::Range(low, high) => text.push_str(&format!("{{{low}..{high}}}")),
            Piece::Named(name) => text.push_str(&format!("{{{name}}}")),
            Piece::Any => text.push_str("{any}"),
            Piece::Lines => text.push_str("{lines}"),
            Piece::Cas(name) => text.push_str(&format!("{{cas {}}}", name.as_deref().unwrap_or("any"))),
            Piece::Frames => text.push_str("{frames}"),
        }
    }
    text
}
