//! Before authentication in the text protocol, under `-Y` (section 7.2): one request is understood, a `set` whose value is
//! name and password, and nothing else is even looked at.

use super::batch;
use super::output::Output;
use super::{Conn, Dialect, Next, Phase, Step, Turn};
use crate::commands::Context;
use crate::commands::auth::{self, Login};
use crate::protocol::limits::LINE_MAX;
use crate::protocol::reply::{Error, Reply};
use crate::protocol::token::{Words, parse_u32};
use crate::protocol::{Key, Spelling};

/// Shorter lines close the connection, their CR included: no `set` is that short.
const LINE_MIN: usize = 6;

/// Longest name and password together.
const TOKEN_MAX: usize = 16384;

impl Conn {
    /// One line, with what it announces.
    pub(super) fn knock(&mut self, input: &[u8], out: &mut Output, cx: &Context<'_>, turn: &mut Turn) -> Step {
        let line = match memchr::memchr(b'\n', input) {
            None if input.len() <= LINE_MAX => return Step::stop(0, Next::Read),
            Some(end @ LINE_MIN..=LINE_MAX) => &input[..end],
            _ => {
                self.phase = Phase::Closing;
                return Step::stop(input.len(), Next::Close);
            }
        };
        let behind = &input[line.len() + 1..];
        let (used, reply) = match announced(line) {
            Err(error) => (0, Reply::Error(error)),
            Ok(length) => match behind.get(..length + 2) {
                None => return Step::stop(0, Next::Read),
                Some([token @ .., b'\r', b'\n']) => (length + 2, auth::text(cx, &mut self.login, token)),
                Some(_) => (length + 2, Reply::Error(Error::Client("bad command line termination"))),
            },
        };
        turn.requests -= 1;
        batch::answer(out, &Spelling::TEXT, Key::NONE, &reply, None);
        if self.login == Login::In {
            self.dialect = Dialect::Text;
        }
        Step::go_on(line.len() + 1 + used)
    }
}

/// The length that a `set` announces. Its other words may be anything, and so may whatever follows `set` in the first.
fn announced(line: &[u8]) -> Result<usize, Error> {
    const UNAUTHENTICATED: Error = Error::Client("unauthenticated");
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(length) = Words::of(line).nth(4).filter(|_| line.starts_with(b"set")).and_then(parse_u32) else {
        return Err(UNAUTHENTICATED);
    };
    match length as usize {
        length @ ..=TOKEN_MAX => Ok(length),
        _ => Err(Error::Client("auth token too long")),
    }
}
