//! The classic text commands.

/// What ends the replies of `get` and its kin.
pub const END: &[u8] = b"END\r\n";

/// The next key of a key list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextKey<'a> {
    /// A key, and how many bytes of the list are done with.
    Key(&'a [u8], usize),
    /// The piece ends before the key does (or in spaces): drop `consumed` bytes, keep the rest, come back with more.
    NeedMore {
        /// Spaces that need not be kept.
        consumed: usize,
    },
    /// A key is longer than 250 bytes.
    TooLong,
    /// No further key.
    End,
}

/// Takes the next key of `rest`. `complete` says that `rest` goes up to the end of the line (its CR already dropped).
#[must_use]
pub fn next_key(rest: &[u8], complete: bool) -> NextKey<'_> {
    todo!()
}

/// Whether a key of a whole list is longer than 250 bytes.
#[must_use]
pub fn any_key_too_long(rest: &[u8]) -> bool {
    todo!()
}

/// Whether a line that has not ended may grow beyond [`super::limits::LINE_MAX`] (section 2.1): it starts, after at most 100 spaces, with
/// `get ` or `gets `.
#[must_use]
pub fn may_be_long(prefix: &[u8]) -> bool {
    todo!()
}

/// How to go on with an unfinished line that [`may_be_long`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLine<'a> {
    /// A key list; `list.rest` is the piece of it that is there. Go on with [`next_key`], not complete.
    Keys(super::KeyList<'a>),
    /// Leading spaces make it an unknown command: skip to its LF, then answer `ERROR`.
    Unknown,
}

/// Begins a line of which only the start is there; `None` when it must not be that long: close.
#[must_use]
pub fn begin_long(prefix: &[u8]) -> Option<LongLine<'_>> {
    todo!()
}
