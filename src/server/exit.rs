//! How the process ends: a code and what is said. memcached's codes are those of `sysexits.h` (section 9).

/// A normal end.
pub const SUCCESS: u8 = 0;
/// A bad value or a failed start.
pub const FAILURE: u8 = 1;
/// Options that conflict.
pub const USAGE: u8 = 64;
/// No such user.
pub const NO_USER: u8 = 67;
/// The system refused: a socket, a limit.
pub const OS_ERROR: u8 = 71;

/// An end of the process before it served anything: exit code and lines. With code 0 the lines go to standard output,
/// otherwise to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// One of the codes above.
    pub code: u8,
    /// Without line ends.
    pub lines: Vec<String>,
}

impl Exit {
    /// An end with one line (or several, joined by line feeds).
    #[must_use]
    pub fn new(code: u8, text: impl Into<String>) -> Exit {
        Exit { code, lines: vec![text.into()] }
    }
}
