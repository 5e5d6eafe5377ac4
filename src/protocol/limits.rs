//! The bounds of the protocols, by memcached's names where it has one (sections 1 and 2 of the reference).

/// Longest key, in bytes.
pub const KEY_MAX: usize = 250;
/// A line of another command than `get`/`gets` that has not ended by then closes the connection.
pub const LINE_MAX: usize = 2048;
/// Words of a line that are looked at.
pub const WORDS_MAX: usize = 23;
/// Words of a meta command's line; one more is an error.
pub const META_WORDS_MAX: usize = 20;
/// Longest opaque word of a meta command, its letter `O` included.
pub const OPAQUE_MAX: usize = 32;
/// Largest value length that a storage line may announce: 2^31 - 3.
pub const VALUE_LEN_MAX: i32 = i32::MAX - 2;
/// Shortest line that is looked at, its terminator included.
pub const LINE_MIN: usize = 4;
/// Leading spaces after which an unfinished `get` may still be longer than [`LINE_MAX`].
pub const LEADING_SPACES_MAX: usize = 100;
/// Longest key that base64 of at most [`KEY_MAX`] bytes can stand for.
pub const DECODED_KEY_MAX: usize = KEY_MAX / 4 * 3;
