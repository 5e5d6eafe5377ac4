//! The opcodes, a row each (section 6.4): what an opcode asks, its quiet form, and the shape its frame must have.

/// What an opcode asks; its quiet form asks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A value.
    Get,
    /// A value and its key.
    GetKey,
    /// Store in any case.
    Set,
    /// Store when missing.
    Add,
    /// Store when present.
    Replace,
    /// Remove.
    Delete,
    /// Add to a number.
    Increment,
    /// Subtract from a number.
    Decrement,
    /// Close.
    Quit,
    /// `flush_all`
    Flush,
    /// Nothing; its answer comes behind all others.
    Noop,
    /// The version.
    Version,
    /// Behind the existing value.
    Append,
    /// Before the existing value.
    Prepend,
    /// `stats`
    Stat,
    /// A new expiry.
    Touch,
    /// A value, and a new expiry.
    GetTouch,
    /// A value with its key, and a new expiry.
    GetKeyTouch,
    /// SASL: which mechanisms there are.
    Mechanisms,
    /// SASL: begin.
    Auth,
    /// SASL: go on.
    Step,
}

/// An opcode.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// What it asks.
    pub verb: Verb,
    /// Whether success (of reads: a miss) is not answered.
    pub quiet: bool,
    shape: Shape,
}

/// What the frame's parts must be.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// The two lengths that the extras may have, mostly the same.
    extras: [u8; 2],
    key: Key,
    /// Whether a value may follow.
    value: bool,
}

/// Whether there is a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Must,
    May,
    None,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    /// As section 6.4 calls it.
    pub name: &'static str,
    /// Its opcode.
    pub opcode: u8,
    /// That of its quiet form.
    pub quiet: Option<u8>,
    verb: Verb,
    shape: Shape,
}

const fn row(name: &'static str, opcode: u8, quiet: Option<u8>, verb: Verb, shape: Shape) -> Row {
    Row { name, opcode, quiet, verb, shape }
}

const fn keyed(extras: u8) -> Shape {
    Shape { extras: [extras, extras], key: Key::Must, value: false }
}

const fn storing(extras: u8) -> Shape {
    Shape { extras: [extras, extras], key: Key::Must, value: true }
}

const BARE: Shape = Shape { extras: [0, 0], key: Key::None, value: false };

/// All, in the order of section 6.4. Whatever is not here is unknown.
pub static ROWS: &[Row] = &[
    row("get", 0x00, Some(0x09), Verb::Get, keyed(0)),
    row("getk", 0x0c, Some(0x0d), Verb::GetKey, keyed(0)),
    row("set", 0x01, Some(0x11), Verb::Set, storing(8)),
    row("add", 0x02, Some(0x12), Verb::Add, storing(8)),
    row("replace", 0x03, Some(0x13), Verb::Replace, storing(8)),
    row("delete", 0x04, Some(0x14), Verb::Delete, keyed(0)),
    row("increment", 0x05, Some(0x15), Verb::Increment, keyed(20)),
    row("decrement", 0x06, Some(0x16), Verb::Decrement, keyed(20)),
    row("quit", 0x07, Some(0x17), Verb::Quit, BARE),
    row("flush", 0x08, Some(0x18), Verb::Flush, Shape { extras: [0, 4], key: Key::None, value: false }),
    row("noop", 0x0a, None, Verb::Noop, BARE),
    row("version", 0x0b, None, Verb::Version, BARE),
    row("append", 0x0e, Some(0x19), Verb::Append, storing(0)),
    row("prepend", 0x0f, Some(0x1a), Verb::Prepend, storing(0)),
    // DEFECT of memcached: a value behind stat, touch and gat is read as the next header. Here it is a wrong shape.
    row("stat", 0x10, None, Verb::Stat, Shape { extras: [0, 0], key: Key::May, value: false }),
    row("touch", 0x1c, None, Verb::Touch, keyed(4)),
    row("gat", 0x1d, Some(0x1e), Verb::GetTouch, keyed(4)),
    row("gatk", 0x23, Some(0x24), Verb::GetKeyTouch, keyed(4)),
    row("SASL list mechs", 0x20, None, Verb::Mechanisms, BARE),
    row("SASL auth", 0x21, None, Verb::Auth, storing(0)),
    row("SASL step", 0x22, None, Verb::Step, storing(0)),
];

static OPS: [Option<Op>; 256] = by_opcode();

const fn by_opcode() -> [Option<Op>; 256] {
    let mut ops = [None; 256];
    let mut at = 0;
    while at < ROWS.len() {
        let Row { opcode, quiet, verb, shape, .. } = ROWS[at];
        ops[opcode as usize] = Some(Op { verb, quiet: false, shape });
        if let Some(quiet) = quiet {
            ops[quiet as usize] = Some(Op { verb, quiet: true, shape });
        }
        at += 1;
    }
    ops
}

/// What an opcode asks, if anything.
#[must_use]
pub fn op(opcode: u8) -> Option<Op> {
    OPS[opcode as usize]
}

impl Op {
    /// Whether a frame's parts have the lengths that this opcode wants.
    pub(super) fn fits(&self, extras: u8, key_len: usize, value_len: usize) -> bool {
        let Shape { extras: [one, other], key, value } = self.shape;
        (extras == one || extras == other)
            && (value || value_len == 0)
            && match key {
                Key::Must => key_len > 0,
                Key::May => true,
                Key::None => key_len == 0,
            }
    }
}

impl Verb {
    /// Whether the key is part of the answer.
    pub(super) const fn returns_key(self) -> bool {
        matches!(self, Verb::GetKey | Verb::GetKeyTouch)
    }

    /// Whether it may be asked before authentication (section 7.1).
    pub(super) const fn is_free(self) -> bool {
        matches!(self, Verb::Version | Verb::Mechanisms | Verb::Auth | Verb::Step)
    }

    /// Whether it is part of SASL.
    pub(super) const fn is_sasl(self) -> bool {
        matches!(self, Verb::Mechanisms | Verb::Auth | Verb::Step)
    }
}
