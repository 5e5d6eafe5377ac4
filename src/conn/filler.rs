//! From input to a batch: what is to be done, one slot after the other, parsed ahead, each key hashed and its index bucket on
//! its way. Nothing is run here.
//!
//! A `get` line with many keys becomes a slot for each key, so a list may be cut anywhere: by the end of a batch, of the turn,
//! or of the input. Slots are small; whole commands lie beside them.

use arrayvec::ArrayVec;

use crate::commands::Payload;
use crate::protocol::meta::{self, MetaGet};
use crate::protocol::request::Request;
use crate::protocol::text::{self, NextKey};
use crate::protocol::{Command, KeyList, ParseOptions, Parsed, Reading, Refused, Scratch, parse};
use crate::store::{KeyHash, Spot, Store};

/// Requests parsed ahead: as many as cache misses are worth having in flight.
pub(super) const BATCH: usize = 32;

/// One thing to do.
pub(super) struct Slot<T> {
    pub task: T,
    /// Where its key is to be looked for.
    pub spot: Spot,
    /// Where the input goes on behind it.
    pub end: usize,
}

impl<T> Slot<T> {
    /// Hashes the key, which is empty when there is none, and has its index bucket fetched.
    #[inline(always)]
    pub fn new(task: T, key: &[u8], end: usize, store: &Store) -> Slot<T> {
        let hash = if key.is_empty() { KeyHash(0) } else { store.hash(key) };
        Slot { task, spot: store.prefetch_bucket(hash), end }
    }
}

/// Has the items of a batch fetched, whose buckets have come by now; those that live in alternates after the others, when these have come
/// too. One alone would only be waited for.
#[inline]
pub(super) fn fetch_items<T>(slots: &ArrayVec<Slot<T>, BATCH>, store: &Store) {
    if slots.len() <= 1 {
        return;
    }
    let mut away = ArrayVec::<&Spot, BATCH>::new();
    for slot in slots {
        if !store.prefetch_item(&slot.spot) {
            away.push(&slot.spot);
        }
    }
    away.iter().for_each(|spot| store.prefetch_item_away(spot));
}

pub(super) enum Task<'a> {
    /// One key of a list; the last one when the end of the line comes right behind it.
    Read { reading: Reading, key: &'a [u8], last: bool },
    /// `mg` with nothing but questions.
    MetaGet(MetaGet<'a>),
    /// `incr` or `decr` by a short number.
    Step(text::Step<'a>),
    /// The end of a list that came later than its last key.
    EndOfKeys,
    /// A command that is complete, with its value if it has one. It is in [`Filler::commands`].
    Run(usize, Option<Arrived<'a>>),
    /// A storage command whose value is still on its way, and its line.
    Upload(usize, &'a [u8]),
    /// A whole list of keys that is refused because one is too long: those before it are read all the same.
    ReadInVain(KeyList<'a>),
    /// A line to be refused; the phase then is `Swallow`.
    Refuse(Refused),
    /// A key too long in a list that is being streamed.
    KeyTooLong,
    /// Go without a word.
    Close,
}

/// A value that lies whole in the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived<'a> {
    pub value: &'a [u8],
    /// CR LF came behind it.
    pub terminated: bool,
}

impl<'a> Arrived<'a> {
    pub fn payload(&self) -> Payload<'a> {
        Payload::Whole { value: self.value, terminated: self.terminated }
    }
}

/// Turns input into slots.
pub(super) struct Filler<'a> {
    input: &'a [u8],
    store: &'a Store,
    /// Where the next task begins.
    pub at: usize,
    /// Inside a key list.
    list: Option<OpenList>,
    pub slots: ArrayVec<Slot<Task<'a>>, BATCH>,
    pub commands: ArrayVec<Command<'a>, BATCH>,
    /// The input ends before the next task does.
    pub starved: bool,
    scratch: Scratch<'a>,
    options: ParseOptions,
}

struct OpenList {
    reading: Reading,
    /// Where its keys end and where the line does, if that is in the input.
    ends: Option<(usize, usize)>,
}

impl<'a> Filler<'a> {
    /// No slot yet.
    pub fn new(input: &'a [u8], store: &'a Store, scratch: Scratch<'a>, options: ParseOptions) -> Filler<'a> {
        Filler {
            input,
            store,
            at: 0,
            list: None,
            slots: ArrayVec::new(),
            commands: ArrayVec::new(),
            starved: false,
            scratch,
            options,
        }
    }

    /// Goes on in the middle of a list.
    pub fn resume(&mut self, reading: Reading) {
        let ends = memchr::memchr(b'\n', self.input).map(|line_feed| {
            let keys = self.input[..line_feed].strip_suffix(b"\r").map_or(line_feed, <[u8]>::len);
            (keys, line_feed + 1)
        });
        self.list = Some(OpenList { reading, ends });
    }

    /// Parses until the batch is full, `requests` are begun, the input ends, or something comes after which it has to be looked
    /// at anew.
    pub fn fill(&mut self, mut requests: usize) {
        while !self.slots.is_full() && requests > 0 && self.scratch.has_room() {
            let go_on = match &self.list {
                Some(_) => self.next_key(&mut requests),
                None => self.next_line(&mut requests),
            };
            if !go_on {
                return;
            }
        }
    }

    #[inline]
    fn push(&mut self, task: Task<'a>, key: &[u8], end: usize) {
        self.slots.push(Slot::new(task, key, end, self.store));
        self.at = end;
    }

    fn push_command(&mut self, command: Command<'a>, end: usize, task: impl FnOnce(usize) -> Task<'a>) {
        let place = self.commands.len();
        let key = command.request.key();
        self.push(task(place), key.bytes(), end);
        self.commands.push(command);
    }

    /// One key of the open list, or its end.
    fn next_key(&mut self, requests: &mut usize) -> bool {
        let Some(OpenList { reading, ends }) = &self.list else { return false };
        let (reading, ends) = (*reading, *ends);
        let keys_end = ends.map_or(self.input.len(), |(keys, _)| keys);
        let input = self.input;
        match text::next_key(&input[self.at.min(keys_end)..keys_end], ends.is_some()) {
            NextKey::Key(key, consumed) => match ends {
                Some((keys, line)) if self.at + consumed == keys => {
                    self.push(Task::Read { reading, key, last: true }, key, line);
                    self.list = None;
                    *requests -= 1;
                }
                _ => self.push(Task::Read { reading, key, last: false }, key, self.at + consumed),
            },
            NextKey::End => {
                let line_end = ends.map_or(keys_end, |(_, line)| line);
                self.push(Task::EndOfKeys, b"", line_end);
                self.list = None;
                *requests -= 1;
            }
            NextKey::NeedMore { consumed } => {
                self.at += consumed;
                self.starved = true;
                return false;
            }
            NextKey::TooLong => {
                self.push(Task::KeyTooLong, b"", self.at);
                return false;
            }
        }
        true
    }

    /// One command line, and what it brings.
    #[inline]
    fn next_line(&mut self, requests: &mut usize) -> bool {
        let input = self.input;
        if let Some((key, len)) = text::lone_key(&input[self.at..]) {
            *requests -= 1;
            self.push(Task::Read { reading: Reading::GET, key, last: true }, key, self.at + len);
            return true;
        }
        if let Some((command, value_len, len)) = text::plain_set(&input[self.at..]) {
            *requests -= 1;
            let end = self.at + len;
            return self.storage(command, value_len, &input[self.at..end - 1], end);
        }
        if let Some((get, len)) = meta::plain_get(&input[self.at..]) {
            *requests -= 1;
            let key = get.key;
            self.push(Task::MetaGet(get), key, self.at + len);
            return true;
        }
        if let Some((step, len)) = text::plain_step(&input[self.at..]) {
            *requests -= 1;
            self.push(Task::Step(step), step.key, self.at + len);
            return true;
        }
        let Some(length) = memchr::memchr(b'\n', &input[self.at..]) else {
            self.starved = true;
            return false;
        };
        let line = &input[self.at..self.at + length];
        let end = self.at + length + 1;
        match parse(line, &mut self.scratch, self.options) {
            Parsed::Command(command) => {
                *requests -= 1;
                match &command.request {
                    Request::Store(store) => {
                        let value_len = store.value_len;
                        self.storage(command, value_len, line, end)
                    }
                    _ => {
                        self.push_command(command, end, |place| Task::Run(place, None));
                        true
                    }
                }
            }
            Parsed::Keys(list) if text::any_key_too_long(list.rest) => {
                self.push(Task::ReadInVain(list), b"", end);
                false
            }
            Parsed::Keys(KeyList { reading, rest }) => {
                // Its keys go to the end of the line, but for a CR.
                let keys_end = self.at + line.strip_suffix(b"\r").map_or(length, <[u8]>::len);
                self.at = keys_end - rest.len();
                self.list = Some(OpenList { reading, ends: Some((keys_end, end)) });
                true
            }
            Parsed::Refused(refused) => {
                self.push(Task::Refuse(refused), b"", end);
                false
            }
            Parsed::Close => {
                self.push(Task::Close, b"", end);
                false
            }
        }
    }

    /// A storage command, whose line ends at `end` and whose value is in the input or is not.
    fn storage(&mut self, command: Command<'a>, value_len: usize, line: &'a [u8], end: usize) -> bool {
        let input = self.input;
        let value_end = end + value_len;
        let Some(terminator) = input.get(value_end..value_end + 2) else {
            self.push_command(command, end, |place| Task::Upload(place, line));
            return false;
        };
        let arrived = Arrived { value: &input[end..value_end], terminated: terminator == b"\r\n" };
        self.push_command(command, value_end + 2, |place| Task::Run(place, Some(arrived)));
        true
    }
}
