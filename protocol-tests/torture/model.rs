//! What a client may expect of a key: the states it can be in after what was acknowledged, and after each of the operations of which the
//! client does not know whether they were done.

use crate::random::Random;
use std::collections::VecDeque;

/// An item as a client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub value: Vec<u8>,
    pub flags: u32,
    /// Unix second, 0 for never.
    pub exptime: u64,
    /// Where the server has told it.
    pub cas: Option<u64>,
    pub stale: bool,
}

impl Item {
    fn brief(&self) -> String {
        let start = String::from_utf8_lossy(&self.value[..self.value.len().min(16)]).into_owned();
        let (len, cas) = (self.value.len(), self.cas);
        format!("{len} bytes {start:?} flags {} exptime {} cas {cas:?} stale {}", self.flags, self.exptime, self.stale)
    }
}

/// A key's state: an item or nothing.
pub type State = Option<Item>;

/// One operation on a key, as it is sent.
#[derive(Clone, Debug)]
pub enum Operation {
    /// `set`, or with `meta` as `ms` with the CAS returned.
    Set {
        item: Item,
        meta: bool,
    },
    Add(Item),
    Replace(Item),
    /// With the CAS that is known, or one that is nobody's.
    Cas {
        item: Item,
        cas: u64,
    },
    Append(Vec<u8>),
    Prepend(Vec<u8>),
    Increase(u64),
    Decrease(u64),
    Touch(u64),
    Delete,
    /// `md I`: stays, marked stale.
    MarkStale,
}

/// What the server said, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; with the new CAS where it was told.
    Done(Option<u64>),
    /// `NOT_STORED`.
    NotStored,
    /// `NOT_FOUND`, `NF`.
    NotFound,
    /// `EXISTS`.
    Exists,
    /// `CLIENT_ERROR` for arithmetic on what is no number.
    NoNumber,
    /// `SERVER_ERROR`: no memory.
    NoMemory,
}

impl Operation {
    fn brief(&self) -> String {
        match self {
            Operation::Set { item, .. } => format!("set {}", item.brief()),
            Operation::Add(item) => format!("add {}", item.brief()),
            Operation::Replace(item) => format!("replace {}", item.brief()),
            Operation::Cas { item, cas } => format!("cas {cas} {}", item.brief()),
            Operation::Append(more) => format!("append {} bytes", more.len()),
            Operation::Prepend(more) => format!("prepend {} bytes", more.len()),
            other => format!("{other:?}"),
        }
    }

    fn joins(&self) -> bool {
        matches!(self, Operation::Append(_) | Operation::Prepend(_))
    }

    /// What it makes of a state, and whether it is done at all.
    pub fn on(&self, state: &State) -> (State, Answer) {
        let Some(item) = state else {
            return match self {
                Operation::Set { item, .. } | Operation::Add(item) => (Some(item.clone()), Answer::Done(None)),
                Operation::Replace(_) | Operation::Append(_) | Operation::Prepend(_) => (None, Answer::NotStored),
                _ => (None, Answer::NotFound),
            };
        };
        let changed = |change: &dyn Fn(&mut Item)| {
            let mut item = Item { cas: None, stale: false, ..item.clone() };
            change(&mut item);
            (Some(item), Answer::Done(None))
        };
        let unchanged = |answer| (state.clone(), answer);
        let number = std::str::from_utf8(&item.value).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
        match self {
            Operation::Set { item, .. } | Operation::Replace(item) => (Some(item.clone()), Answer::Done(None)),
            Operation::Add(_) => unchanged(Answer::NotStored),
            // Whether the CAS is right only the server knows, where nobody has told it: then either answer is taken.
            Operation::Cas { item: new, cas } => match item.cas {
                Some(known) if known != *cas => unchanged(Answer::Exists),
                _ => (Some(new.clone()), Answer::Done(None)),
            },
            Operation::Append(more) => changed(&|item| item.value.extend_from_slice(more)),
            Operation::Prepend(more) => changed(&|item| item.value.splice(0..0, more.iter().copied()).for_each(drop)),
            Operation::Increase(by) | Operation::Decrease(by) => match number {
                None => unchanged(Answer::NoNumber),
                Some(number) => {
                    let up = matches!(self, Operation::Increase(_));
                    let sum = if up { number.wrapping_add(*by) } else { number.saturating_sub(*by) };
                    let mut text = sum.to_string().into_bytes();
                    // A shorter result is padded with spaces where it was (section 3.6).
                    if text.len() < item.value.len() {
                        text.resize(item.value.len(), b' ');
                    }
                    changed(&|item| item.value.clone_from(&text))
                }
            },
            Operation::Touch(exptime) => (Some(Item { exptime: *exptime, ..item.clone() }), Answer::Done(None)),
            Operation::Delete => (None, Answer::Done(None)),
            Operation::MarkStale => (Some(Item { stale: true, cas: None, ..item.clone() }), Answer::Done(None)),
        }
    }
}

/// Lines of a key's story that are remembered.
const STORY_LINES: usize = 12;

/// A key and all states that it may be in.
#[derive(Clone, Debug, Default)]
pub struct Known {
    states: Vec<State>,
    /// What came before, for the complaint.
    story: VecDeque<String>,
}

impl Known {
    /// In this state and no other.
    pub fn certain(state: State) -> Known {
        Known { states: vec![state], story: VecDeque::new() }
    }

    fn tell(&mut self, line: String) {
        if self.story.len() == STORY_LINES {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }

    /// Something it may be.
    pub fn sample(&self) -> Option<&Item> {
        self.states.first().and_then(Option::as_ref)
    }

    /// An operation was acknowledged. `evicts`: the server may have dropped the item before.
    pub fn acknowledge(&mut self, operation: &Operation, answer: Answer, evicts: bool) -> Result<(), String> {
        self.tell(format!("{}: {answer:?}", operation.brief()));
        let mut after = Vec::new();
        for state in self.before(evicts) {
            let (mut next, expected) = operation.on(&state);
            if answer == Answer::NoMemory {
                // Section 3.1: a failed store also takes away what was there.
                after.extend([None, state]);
                continue;
            }
            let same = match (expected, answer) {
                // Without memory for the joined value the old one stays (section 3.1).
                (Answer::Done(_), Answer::NotStored) if evicts && operation.joins() => {
                    next = state;
                    true
                }
                (Answer::Done(_), Answer::Done(cas)) => {
                    if let Some(item) = next.as_mut().filter(|_| cas.is_some()) {
                        item.cas = cas;
                    }
                    true
                }
                // The CAS was not known here.
                (Answer::Done(_), Answer::Exists) if matches!(operation, Operation::Cas { .. }) => {
                    next = state;
                    true
                }
                (expected, answer) => expected == answer,
            };
            if same {
                after.push(next);
            }
        }
        if after.is_empty() {
            return Err(format!("in {:?} after {:#?}", self.brief_states(), self.story));
        }
        after.dedup();
        self.states = after;
        Ok(())
    }

    /// An operation was sent, and nobody knows what became of it.
    pub fn suspect(&mut self, operation: &Operation, evicts: bool) {
        self.tell(format!("{}: nobody knows", operation.brief()));
        let last = self.before(evicts);
        let mut next: Vec<State> = last.iter().map(|state| operation.on(state).0).collect();
        if matches!(operation, Operation::Cas { .. }) {
            next.extend(last);
        } else if matches!(operation, Operation::Increase(_) | Operation::Decrease(_)) {
            // A number that changes in place has its new CAS a moment sooner.
            next.extend(last.into_iter().map(|state| state.map(|item| Item { cas: None, ..item })));
        }
        self.states.extend(next);
        self.states.dedup();
    }

    fn brief_states(&self) -> Vec<Option<String>> {
        self.states.iter().map(|state| state.as_ref().map(Item::brief)).collect()
    }

    fn before(&self, evicts: bool) -> Vec<State> {
        let mut states = self.states.clone();
        if evicts && !states.contains(&None) {
            states.push(None);
        }
        states
    }

    /// Compares with what was asked in the first second of `when` and read in the last; `ttl` is what the server says is left, -1 for
    /// never. A second on either side is the server's, whose clock was set when it started.
    pub fn check(&mut self, read: Option<&Item>, when: (u64, u64), ttl: i64, evicts: bool) -> Result<(), String> {
        let (asked, now) = when;
        let fits = |state: &State| match (state, read) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(item), None) => evicts || item.exptime != 0 && item.exptime <= now + 1,
            (Some(item), Some(read)) => {
                let left = |second: u64| item.exptime as i64 - second as i64;
                let mortal = item.exptime != 0;
                let alive = !mortal || left(asked) >= -1;
                let most = left(asked).max(0) + 1;
                let on_time = if mortal { (left(now) - 1..=most).contains(&ttl) } else { ttl == -1 };
                let same_cas = item.cas.is_none_or(|cas| read.cas == Some(cas));
                let same = item.value == read.value && item.flags == read.flags && item.stale == read.stale;
                alive && on_time && same_cas && same
            }
        };
        let Some(state) = self.states.iter().find(|state| fits(state)) else {
            let read = read.map(Item::brief);
            return Err(format!(
                "read {read:?} with {ttl} s left at {now}; may be {:?} after {:#?}",
                self.brief_states(),
                self.story
            ));
        };
        let exptime = state.as_ref().map_or(0, |item| item.exptime);
        self.states = vec![read.map(|read| Item { exptime, ..read.clone() })];
        self.tell(format!("read at {now}: {:?}", read.map(Item::brief)));
        Ok(())
    }
}

/// A value that nobody else would store: it names its key, and its bytes follow from a version.
pub fn value_of(key: &str, version: u64, len: usize) -> Vec<u8> {
    let mut value = format!("{key} {version:x} ").into_bytes();
    let mut random = Random::new(version);
    while value.len() < len {
        value.extend_from_slice(&random.next().to_le_bytes());
    }
    value.truncate(len.max(4));
    value
}
