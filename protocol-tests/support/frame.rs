//! Frames of the binary protocol as transcripts write them: `get key=k`, `set extras=0000000000000000 key=k value=abc`. What is
//! not named is what it has to be: lengths fit, the opaque, the CAS and the status are 0.

use super::escaped;
use super::transcript::{Piece, pieces};
use memhold::protocol::binary::opcodes::ROWS;

/// What a line says, as bytes and pieces. `response` is for the magic and for what stands where the status does.
pub fn read(text: &str, response: bool) -> Result<Vec<Piece>, String> {
    if text == "{frames}" {
        return Ok(vec![Piece::Frames]);
    }
    let (name, fields) = text.split_once(' ').unwrap_or((text, ""));
    let mut frame = Frame::new(opcode(name)?, if response { 0x81 } else { 0x80 });
    let mut rest = fields;
    while !rest.is_empty() {
        let (field, after) = rest.split_once('=').ok_or("a field is name=value")?;
        // A value goes to the end of the line, so that it can hold spaces.
        let (word, after) = if field == "value" { (after, "") } else { after.split_once(' ').unwrap_or((after, "")) };
        frame.set(field, word)?;
        rest = after;
    }
    frame.pieces()
}

/// `0x1b`, `get`, `getq` for the quiet form.
fn opcode(name: &str) -> Result<u8, String> {
    if let Some(digits) = name.strip_prefix("0x") {
        return u8::from_str_radix(digits, 16).map_err(|_| "an opcode has two hexadecimal digits".to_owned());
    }
    for row in ROWS {
        let plain = row.name.replace(' ', "-");
        if name == plain {
            return Ok(row.opcode);
        }
        if let (Some(quiet), Some(stem)) = (row.quiet, name.strip_suffix('q'))
            && stem == plain
        {
            return Ok(quiet);
        }
    }
    Err(format!("{name} is no opcode"))
}

fn name(opcode: u8) -> String {
    for row in ROWS {
        if row.opcode == opcode {
            return row.name.replace(' ', "-");
        }
        if row.quiet == Some(opcode) {
            return format!("{}q", row.name.replace(' ', "-"));
        }
    }
    format!("0x{opcode:02x}")
}

struct Frame {
    magic: u8,
    opcode: u8,
    status: u16,
    opaque: u32,
    cas: Piece,
    extras: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Lengths that are not what they should be.
    key_len: Option<u16>,
    extras_len: Option<u8>,
    body_len: Option<u32>,
}

impl Frame {
    fn new(opcode: u8, magic: u8) -> Frame {
        Frame {
            magic,
            opcode,
            status: 0,
            opaque: 0,
            cas: Piece::Bytes(vec![0; 8]),
            extras: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            key_len: None,
            extras_len: None,
            body_len: None,
        }
    }

    fn set(&mut self, field: &str, word: &str) -> Result<(), String> {
        let number = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| format!("{field} is hexadecimal"));
        let length = || word.parse::<u32>().map_err(|_| format!("{field} is a number"));
        match field {
            "magic" => self.magic = number(word)? as u8,
            "status" => self.status = number(word)? as u16,
            "opaque" => self.opaque = number(word)?,
            "extras" => self.extras = hexadecimal(word)?,
            "key" => self.key = plain(word)?,
            "value" => self.value = plain(word)?,
            "keylen" => self.key_len = Some(length()? as u16),
            "extlen" => self.extras_len = Some(length()? as u8),
            "body" => self.body_len = Some(length()?),
            "cas" => self.cas = cas(word)?,
            _ => return Err(format!("{field} is no field of a frame")),
        }
        Ok(())
    }

    fn pieces(self) -> Result<Vec<Piece>, String> {
        let body = self.extras.len() + self.key.len() + self.value.len();
        let mut head = vec![self.magic, self.opcode];
        head.extend(self.key_len.unwrap_or(self.key.len() as u16).to_be_bytes());
        head.extend([self.extras_len.unwrap_or(self.extras.len() as u8), 0]);
        head.extend(self.status.to_be_bytes());
        head.extend(self.body_len.unwrap_or(body as u32).to_be_bytes());
        head.extend(self.opaque.to_be_bytes());
        let body = [self.extras, self.key, self.value].concat();
        Ok(match self.cas {
            Piece::Bytes(cas) => vec![Piece::Bytes([head, cas, body].concat())],
            cas => vec![Piece::Bytes(head), cas, Piece::Bytes(body)],
        })
    }
}

/// `{name}`, `{n}` for any but 0, or a number.
fn cas(word: &str) -> Result<Piece, String> {
    if let Some(name) = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return Ok(Piece::Cas((name != "n").then(|| name.to_owned())));
    }
    let number: u64 = word.parse().map_err(|_| "a CAS is a number or {name}".to_owned())?;
    Ok(Piece::Bytes(number.to_be_bytes().to_vec()))
}

fn hexadecimal(word: &str) -> Result<Vec<u8>, String> {
    let digits = word.as_bytes().chunks(2);
    digits
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<_>>()
        .ok_or_else(|| "extras are hexadecimal".to_owned())
}

fn plain(text: &str) -> Result<Vec<u8>, String> {
    match pieces(text)?.as_slice() {
        [] => Ok(Vec::new()),
        [Piece::Bytes(bytes)] => Ok(bytes.clone()),
        _ => Err("keys and values of frames are bytes and runs".to_owned()),
    }
}

/// Bytes that came, as lines that [`read`] understands. What is no frame is shown as text.
pub fn shown(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<24>().filter(|(head, _)| head[0] == 0x81) {
        let number = |at: usize, len: usize| head[at..at + len].iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
        let (key_len, extras_len, status, body_len) = (number(2, 2), number(4, 1), number(6, 2), number(8, 4));
        if rest.len() < body_len || key_len + extras_len > body_len {
            break;
        }
        let mut line = name(head[1]);
        if status != 0 {
            line.push_str(&format!(" status={status:02x}"));
        }
        if number(12, 4) != 0 {
            line.push_str(&format!(" opaque={:08x}", number(12, 4)));
        }
        if head[16..24] != [0; 8] {
            line.push_str(" cas={n}");
        }
        let (extras, body) = rest.split_at(extras_len);
        let (key, body) = body.split_at(key_len);
        let (value, after) = body.split_at(body_len - key_len - extras_len);
        if !extras.is_empty() {
            line.push_str(" extras=");
            line.extend(extras.iter().map(|byte| format!("{byte:02x}")));
        }
        if !key.is_empty() {
            line.push_str(&format!(" key={}", escaped(key).replace(' ', r"\x20")));
        }
        if !value.is_empty() {
            line.push_str(&format!(" value={}", escaped(value)));
        }
        lines.push(line);
        bytes = after;
    }
    if !bytes.is_empty() {
        lines.push(format!("(no frame) {}", escaped(bytes)));
    }
    lines
}

/// Length of the frame that `bytes` begin with, if its header is there.
pub fn len(bytes: &[u8]) -> Option<usize> {
    let body = bytes.get(8..12)?.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
    (bytes[0] == 0x81).then_some(24 + body)
}
