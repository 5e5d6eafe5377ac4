//! From a line to a request: finds the command's row in the table of its dialect and lets it parse the rest.
//!
//! A [`Command`] is what was asked, in neutral terms, and how the answer is to be spelled. Everything borrows from the
//! line; only base64 keys are decoded into a [`Scratch`] that the caller lends. Parsing is total: every line has a
//! [`Parsed`]. Whether a value fits, or memory is there, is not known here.

use super::limits::{DECODED_KEY_MAX, LINE_MIN};
use super::reply::Error;
use super::request::{Get, Key, Request, TypedExptime};
use super::token::{self, Words};
use super::{meta, text};

/// A whole command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// What was asked.
    pub request: Request<'a>,
    /// How to answer it.
    pub spelling: Spelling<'a>,
}

/// How a reply is to be spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling<'a> {
    /// A classic command.
    Text {
        /// Nothing that is one line is sent, errors included (section 2.2).
        noreply: bool,
        /// `gets`, `gats`: the VALUE line ends in the CAS.
        with_cas: bool,
    },
    /// A meta command.
    Meta {
        /// Which.
        verb: MetaVerb,
        /// The flag words as they stood, to answer in their order. At most 18 words.
        flags: &'a [u8],
        /// `q`
        quiet: bool,
        /// `v`
        value: bool,
    },
    /// A frame of the binary protocol.
    Binary {
        /// Sent back, also the quiet one.
        opcode: u8,
        /// Sent back bit for bit.
        opaque: [u8; 4],
        /// `stats detail dump`, which is one statistic rather than a line each (section 6.7).
        detailed: bool,
    },
}

impl Spelling<'_> {
    /// A classic command whose replies are all sent.
    pub const TEXT: Spelling<'static> = Spelling::Text { noreply: false, with_cas: false };
}

/// The meta commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVerb {
    /// `mg`
    Get,
    /// `ms`
    Set,
    /// `md`
    Delete,
    /// `ma`
    Arith,
    /// `me`
    Inspect,
    /// `mn`
    Noop,
}

/// What a line turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole one-line command. Behind [`Request::Store`] follows the value: `value_len` bytes and CR LF.
    Command(Command<'a>),
    /// `get` and its kin with at least one key.
    Keys(KeyList<'a>),
    /// Answer with an error.
    Refused(Refused),
    /// An HTTP request: close without a word (section 2.1).
    Close,
}

impl<'a> Parsed<'a> {
    /// An error that is answered in any case, with no data block behind the line.
    pub(super) const fn refused(error: Error) -> Parsed<'a> {
        Parsed::Refused(Refused { error, swallow: 0, noreply: false })
    }
}

/// `get`, `gets`, `gat`, `gats` and the keys they ask for. Take them one by one with [`text::next_key`], but ask
/// [`text::any_key_too_long`] first: one bad key means no values at all (section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyList<'a> {
    /// What is done with each of them.
    pub reading: Reading,
    /// The keys with the spaces around them, without the end of the line.
    pub rest: &'a [u8],
}

/// Which of `get`, `gets`, `gat`, `gats` a list of keys belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `gets`, `gats`
    pub with_cas: bool,
    /// `gat`, `gats`: new expiry of every hit.
    pub touch: Option<TypedExptime>,
}

impl Reading {
    /// `get`
    pub const GET: Reading = Reading { with_cas: false, touch: None };
    /// `gets`
    pub const GETS: Reading = Reading { with_cas: true, touch: None };

    /// The request for one of the keys.
    #[must_use]
    pub const fn request<'k>(&self, key: &'k [u8]) -> Get<'k> {
        Get { touch: self.touch, counts_as_touch: self.touch.is_some(), ..Get::of(Key::plain(key)) }
    }

    /// How each of them is answered. `END` follows the last one ([`text::END`]).
    #[must_use]
    pub const fn spelling(&self) -> Spelling<'static> {
        Spelling::Text { noreply: false, with_cas: self.with_cas }
    }
}

/// A line that is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The error line.
    pub error: Error,
    /// Bytes of data block to skip after the line, its CR LF included; 0 for none.
    pub swallow: usize,
    /// Do not send the line after all.
    pub noreply: bool,
}

/// What the server's options change about parsing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParseOptions {
    /// `debugtime`, `debugitem` and `debugcrash` exist (section 16.6).
    pub debug_commands: bool,
}

/// Room for decoded base64 keys, lent for as long as the commands are kept. Each command takes at most
/// [`DECODED_KEY_MAX`] bytes, and only when its key is base64.
pub struct Scratch<'a> {
    free: &'a mut [u8],
}

impl<'a> Scratch<'a> {
    /// Lends `buffer`.
    pub const fn new(buffer: &'a mut [u8]) -> Scratch<'a> {
        Scratch { free: buffer }
    }

    /// Whether another command can be parsed, whatever its key.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.free.len() >= DECODED_KEY_MAX
    }

    /// The free bytes.
    pub(super) const fn free(&mut self) -> &mut [u8] {
        self.free
    }

    /// Hands out the first `len` of the free bytes.
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, free) = std::mem::take(&mut self.free).split_at_mut(len);
        self.free = free;
        taken
    }
}

/// Parses a line: without its LF, with its CR if it has one (the length matters, section 2.1).
///
/// `scratch` must have room ([`Scratch::has_room`]); without, a base64 key is refused for want of memory.
#[must_use]
pub fn parse<'a>(line: &'a [u8], scratch: &mut Scratch<'a>, options: ParseOptions) -> Parsed<'a> {
    if line.len() + 1 < LINE_MIN {
        return Parsed::refused(Error::BAD_FORMAT);
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (name, rest) = token::split_word(line);
    let table = if name.len() == 2 { meta::COMMANDS } else { text::COMMANDS };
    match find(table, name) {
        Some(row) if !row.debug || options.debug_commands => (row.parse)(Line { whole: line, rest }, scratch),
        _ => unknown(line),
    }
}

/// A line without its end, and what follows the command word in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) whole: &'a [u8],
    pub(super) rest: &'a [u8],
}

impl<'a> Line<'a> {
    /// The words behind the command word.
    pub(super) const fn words(self) -> Words<'a> {
        Words::behind_command(self.rest)
    }

    /// Whether the last word that counts is `noreply`, whatever else it is (section 2.2).
    pub(super) fn noreply(self) -> bool {
        Words::of(self.whole).last() == Some(b"noreply")
    }
}

/// The names of all commands of text and meta.
#[cfg(test)]
pub fn names() -> Vec<String> {
    text::COMMANDS.iter().chain(meta::COMMANDS).map(Row::name).collect()
}

/// What a row does with the line.
pub(super) type ParseLine = for<'a> fn(Line<'a>, &mut Scratch<'a>) -> Parsed<'a>;

/// The names of those that clients may use, without the debug commands.
#[must_use]
pub fn public_names() -> Vec<String> {
    text::COMMANDS.iter().chain(meta::COMMANDS).filter(|row| !row.debug).map(Row::name).collect()
}

/// One command of a dialect.
pub(super) struct Row {
    packed: u128,
    pub(super) parse: ParseLine,
    debug: bool,
}

impl Row {
    /// `name` has at most fifteen bytes.
    pub(super) const fn new(name: &str, parse: ParseLine) -> Row {
        assert!(name.len() <= NAME_MAX);
        Row { packed: pack(name.as_bytes()), parse, debug: false }
    }

    /// A command that exists only with the debug switch.
    pub(super) const fn debug(name: &str, parse: ParseLine) -> Row {
        Row { debug: true, ..Row::new(name, parse) }
    }

    /// Its name.
    pub(super) fn name(&self) -> String {
        let bytes = self.packed.to_be_bytes();
        String::from_utf8_lossy(&bytes[16 - usize::from(bytes[0])..]).into_owned()
    }

    /// Whether both are rows of one name.
    #[cfg(test)]
    pub(super) const fn same_name(&self, other: &Row) -> bool {
        self.packed == other.packed
    }
}

/// Longest name of a command.
const NAME_MAX: usize = 15;

/// A name of at most [`NAME_MAX`] bytes and its length as one number, so that comparing takes one instruction or two.
const fn pack(name: &[u8]) -> u128 {
    let mut packed = 0;
    let mut at = 0;
    while at < name.len() {
        packed = packed << 8 | name[at] as u128;
        at += 1;
    }
    packed | (name.len() as u128) << (8 * NAME_MAX)
}

/// The tables are short and begin with what is asked most, so they are searched from the front.
#[inline]
fn find(table: &'static [Row], name: &[u8]) -> Option<&'static Row> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut bytes = [0; 16];
    bytes[16 - name.len()..].copy_from_slice(name);
    let packed = u128::from_be_bytes(bytes) | (name.len() as u128) << (8 * NAME_MAX);
    table.iter().find(|row| row.packed == packed)
}

/// Section 2.1: unknown commands are errors, but HTTP is hung up on.
#[cold]
fn unknown(line: &[u8]) -> Parsed<'_> {
    let last = Words::of(line).last().unwrap_or_default();
    if last.starts_with(b"HTTP/") {
        return Parsed::Close;
    }
    Parsed::Refused(Refused { error: Error::Unknown, swallow: 0, noreply: last == b"noreply" })
}
