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

#[cfg(test)]
mod tests {
    use crate::conn::Next;
    use crate::conn::testing::{Talk, however_cut};
    use crate::settings::Settings;
    use crate::store::Lookup;

    fn settings() -> Settings {
        Settings { auth_file: Some("users".into()), ..Settings::default() }
    }

    #[track_caller]
    fn held(conversation: &str, expected: &str) {
        assert_eq!(however_cut(&settings(), conversation.as_bytes()), expected, "{conversation}");
    }

    #[test]
    fn name_and_password_are_stored_and_everything_opens() {
        held("set x 0 0 10\r\nann secret\r\nversion\r\nget x\r\n", "STORED\r\nVERSION 1.6.45\r\nEND\r\n");
        held("setting a b c 10 noreply\nann secret\r\nset x 0 0 1\r\ny\r\n", "STORED\r\nSTORED\r\n");
    }

    #[test]
    fn whatever_else_is_said_is_told_so_and_changes_nothing() {
        const UNAUTHENTICATED: &str = "CLIENT_ERROR unauthenticated\r\n";
        held("get x\r\nversion\r\n", &UNAUTHENTICATED.repeat(2));
        held("set x 0 0\r\nset x 0 0 x\r\n", &UNAUTHENTICATED.repeat(2));
        held(
            "set x 0 0 9\r\nann wrong\r\nversion\r\n",
            "CLIENT_ERROR authentication failure\r\nCLIENT_ERROR unauthenticated\r\n",
        );
        held("set x 0 0 3\r\nann\r\n", "CLIENT_ERROR bad authentication token format\r\n");
        held("set x 0 0 9\r\nann secret\r\n", "CLIENT_ERROR bad command line termination\r\n");
        held("set x 0 0 16385\r\n", "CLIENT_ERROR auth token too long\r\n");
        held(&format!("set x 0 0 16384\r\n{}\r\n", "a ".repeat(8192)), "CLIENT_ERROR authentication failure\r\n");
    }

    #[test]
    fn lines_that_can_be_no_set_close() {
        for line in ["quit\r\n", "mn\r\n", "\r\n"] {
            let mut talk = Talk::with(settings());
            assert_eq!(talk.say(line), "");
            assert_eq!(talk.ended, Some(Next::Close), "{line}");
        }
        let mut talk = Talk::with(settings());
        assert_eq!(talk.say("s".repeat(2048)), "");
        assert_eq!(talk.ended, None);
        assert_eq!(talk.say("s"), "");
        assert_eq!(talk.ended, Some(Next::Close));
    }

    #[test]
    fn a_failure_lets_nobody_in_however_often_it_is_tried() {
        let attempt = "set x 0 0 9\r\nann wrong\r\n";
        for tries in 1..4 {
            let answer = "CLIENT_ERROR authentication failure\r\n".repeat(tries) + "CLIENT_ERROR unauthenticated\r\n";
            held(&format!("{}get x\r\n", attempt.repeat(tries)), &answer);
        }
    }

    #[test]
    fn attempts_are_counted() {
        let mut talk = Talk::with(settings());
        talk.say("set x 0 0 9\r\nann wrong\r\nset x 0 0 3\r\nann\r\nset x 0 0 10\r\nann secret\r\n");
        assert_eq!((talk.stat("", "auth_cmds"), talk.stat("", "auth_errors")), ("2".into(), "1".into()));
    }

    #[test]
    fn before_authentication_no_command_of_any_protocol_reads_or_changes_anything() {
        let mut talk = Talk::with(settings());
        talk.say("set x 0 0 10\r\nann secret\r\nset key 0 0 1\r\n5\r\n");
        let mut asked = Vec::new();
        for name in crate::protocol::command::names() {
            for words in
                ["key", "key 0", "key 5", "key 0 0 1", "key 0 0 1 5", "0 key", "key v s1", "key S1", "settings", ""]
            {
                asked.push(format!("{name} {words}   \r\n1\r\n").into_bytes());
            }
        }
        for opcode in 0..=u8::MAX {
            let mut frame = vec![0x80, opcode, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3];
            frame.resize(24, 0);
            asked.push([&frame[..], b"key", &frame, b"key\n"].concat());
        }
        for bytes in asked {
            talk.reconnect();
            let answer = talk.say(&bytes);
            let told = answer
                .replace("CLIENT_ERROR unauthenticated\r\n", "")
                .replace("CLIENT_ERROR bad command line termination\r\n", "");
            assert!(
                told.is_empty() || told == "CLIENT_ERROR bad authentication token format\r\n",
                "{}: {told}",
                bytes.escape_ascii()
            );
            let intact = talk.store.lookup(b"key", talk.store.hash(b"key"), talk.now, |found| match found {
                Lookup::Found(entry) => entry.value_start() == b"5" && entry.exptime() == 0 && !entry.fetched(),
                Lookup::Absent(_) => false,
            });
            assert!(intact, "after {}", bytes.escape_ascii());
        }
    }
}
