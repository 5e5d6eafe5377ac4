//! Numbers inside values: what `incr` and `decr` accept (section 3.6).

/// The number that a stored value begins with, if `incr` and `decr` may work on it.
#[must_use]
pub fn parse_stored(value: &[u8]) -> Option<u64> {
    todo!()
}
