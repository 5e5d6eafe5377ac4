//! From a line to a request: finds the command's row in the table of its dialect and lets it parse the rest.
//!
//! A [`Command`] is what was asked, in neutral terms, and how the answer is to be spelled. Everything borrows from the
//! line; only base64 keys are decoded into a [`Scratch`] that the caller lends. Parsing is total: every line has a
//! [`Parsed`]. Whether a value fits, or memory is there, is not known here.

use super::limits::{DECODED_KEY_MAX, LINE_MIN};
use super::reply::Error;
use super::request::{Get, Key, Request, TypedExptime};
use super::{meta, text, token};

/// A whole command.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
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

/// `get`, `gets`, `gat`, `gats` and the keys they ask for. Take them one by one with [`text::next_key`], but ask
/// [`text::any_key_too_long`] first: one bad key means no values at all (section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyList<'a> {
    /// `gets`, `gats`
    pub with_cas: bool,
    /// `gat`, `gats`: new expiry of every hit.
    pub touch: Option<TypedExptime>,
    /// The keys with the spaces around them, without the end of the line.
    pub rest: &'a [u8],
}

impl KeyList<'_> {
    /// The request for one of the keys.
    #[must_use]
    pub const fn request<'k>(&self, key: &'k [u8]) -> Request<'k> {
        Request::Get(Get {
            key: Key::plain(key),
            touch: self.touch,
            counts_as_touch: self.touch.is_some(),
            vivify: None,
            recache: None,
            new_cas: None,
            unless_cas: None,
            value: true,
            no_bump: false,
        })
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
    /// `debugtime` and `debugitem` exist (section 16.6).
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
#[must_use]
pub fn parse<'a>(line: &'a [u8], scratch: &mut Scratch<'a>, options: ParseOptions) -> Parsed<'a> {
    todo!()
}
