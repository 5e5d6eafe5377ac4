//! Conversations on their way to another process: how an upgrade in place writes down where each client stands, and how the next
//! version reads it.
//!
//! Numbers are little-endian, and a list is its length and then its bytes, so a reader always knows how much belongs to what it reads; what
//! does not make sense is an error and never a guess. Whoever sends it adds a version and a checksum around the whole.
//!
//! A value that has not arrived whole is not handed over as such: its line and what has come of it become input that has not been
//! run yet, and the next process begins with them anew. So there is no second way to receive a value.

use super::{Conn, Dialect, Phase};
use crate::commands::auth::Login;
use crate::protocol::Reading;
use crate::protocol::reply::Error;
use crate::settings::BindingProtocol;

/// Writes it.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A small number.
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Yes or no.
    pub fn flag(&mut self, value: bool) {
        self.byte(u8::from(value));
    }

    /// A number.
    pub fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A list of bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// What was read makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Reads it.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over all that was written.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// # Errors
    /// When there is something left.
    pub fn end(self) -> Result<(), Broken> {
        if self.0.is_empty() { Ok(()) } else { Err(Broken) }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    /// All that is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// A small number.
    ///
    /// # Errors
    /// When there is none.
    pub fn byte(&mut self) -> Result<u8, Broken> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Yes or no.
    ///
    /// # Errors
    /// When it is neither.
    pub fn flag(&mut self) -> Result<bool, Broken> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Broken),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// When there is none, or a larger one than asked for.
    pub fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Broken> {
        let bytes = self.take(8)?.try_into().map_err(|_| Broken)?;
        T::try_from(u64::from_le_bytes(bytes)).map_err(|_| Broken)
    }

    /// A list of bytes.
    ///
    /// # Errors
    /// When it is shorter than it says.
    pub fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let len = self.number()?;
        self.take(len)
    }
}

/// What a listener speaks.
pub fn write_protocol(protocol: BindingProtocol, writer: &mut Writer) {
    writer.byte(match protocol {
        BindingProtocol::Negotiating => 0,
        BindingProtocol::Ascii => 1,
        BindingProtocol::Binary => 2,
    });
}

/// The same, read.
///
/// # Errors
/// When it is none.
pub fn read_protocol(reader: &mut Reader<'_>) -> Result<BindingProtocol, Broken> {
    match reader.byte()? {
        0 => Ok(BindingProtocol::Negotiating),
        1 => Ok(BindingProtocol::Ascii),
        2 => Ok(BindingProtocol::Binary),
        _ => Err(Broken),
    }
}

impl Conn {
    /// Whether the conversation can go on in another process: not while a dump is written or the client watches.
    #[must_use]
    pub const fn can_be_handed_over(&self) -> bool {
        !matches!(self.phase, Phase::Dump(_) | Phase::Watch(_))
    }

    /// Gives a value up that has not arrived whole: returns the input that announces it and what has come of it, to be run again in front
    /// of whatever follows. Empty in every other phase.
    #[must_use]
    pub fn take_back_upload(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Upload(upload) => {
                self.waits_since = None;
                upload.as_input()
            }
            phase => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    /// Writes down where the conversation stands, which [`Conn::can_be_handed_over`]; after [`Conn::take_back_upload`].
    pub fn write(&self, writer: &mut Writer) {
        match self.dialect {
            Dialect::Open(protocol) => write_protocol(protocol, writer),
            Dialect::Text => writer.byte(3),
            Dialect::Knocking => writer.byte(4),
            Dialect::Binary => writer.byte(5),
        }
        writer.byte(match self.login {
            Login::Out => 0,
            Login::Challenged => 1,
            Login::In => 2,
        });
        writer.flag(self.quit);
        match &self.phase {
            Phase::Command => writer.byte(0),
            Phase::Keys { reading, any } => {
                writer.byte(1);
                writer.flag(*any);
                writer.flag(reading.with_cas);
                writer.flag(reading.touch.is_some());
                writer.number(reading.touch.unwrap_or(0).cast_unsigned());
            }
            Phase::Swallow(left) => {
                writer.byte(2);
                writer.number(*left as u64);
            }
            Phase::SwallowLine(error) => {
                // There is only one kind of line that is still to be told something.
                writer.byte(3);
                writer.flag(error.is_some());
            }
            Phase::Upload(_) | Phase::Dump(_) | Phase::Watch(_) | Phase::Closing => writer.byte(4),
        }
    }

    /// A conversation that another process has written down.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(reader: &mut Reader<'_>) -> Result<Conn, Broken> {
        let dialect = match reader.byte()? {
            0 => Dialect::Open(BindingProtocol::Negotiating),
            1 => Dialect::Open(BindingProtocol::Ascii),
            2 => Dialect::Open(BindingProtocol::Binary),
            3 => Dialect::Text,
            4 => Dialect::Knocking,
            5 => Dialect::Binary,
            _ => return Err(Broken),
        };
        let login = match reader.byte()? {
            0 => Login::Out,
            1 => Login::Challenged,
            2 => Login::In,
            _ => return Err(Broken),
        };
        let quit = reader.flag()?;
        let phase = match reader.byte()? {
            0 => Phase::Command,
            1 => {
                let (any, with_cas, touches) = (reader.flag()?, reader.flag()?, reader.flag()?);
                let touch = reader.number::<u64>()?.cast_signed();
                if !touches && touch != 0 {
                    return Err(Broken);
                }
                Phase::Keys { reading: Reading { with_cas, touch: touches.then_some(touch) }, any }
            }
            2 => Phase::Swallow(reader.number()?),
            3 => Phase::SwallowLine(reader.flag()?.then_some(Error::Unknown)),
            4 => Phase::Closing,
            _ => return Err(Broken),
        };
        Ok(Conn { phase, dialect, login, waits_since: None, quit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::testing::Talk;
    use crate::settings::Settings;

    fn written(conn: &Conn) -> Vec<u8> {
        let mut writer = Writer::default();
        conn.write(&mut writer);
        writer.into_bytes()
    }

    fn conn(dialect: Dialect, login: Login, quit: bool, phase: Phase) -> Conn {
        Conn { phase, dialect, login, waits_since: None, quit }
    }

    fn samples() -> Vec<Conn> {
        let gat = Reading { with_cas: true, touch: Some(-1) };
        vec![
            Conn::new(),
            Conn::speaking(BindingProtocol::Ascii),
            Conn::speaking(BindingProtocol::Binary),
            conn(Dialect::Text, Login::In, true, Phase::Closing),
            conn(Dialect::Knocking, Login::Out, false, Phase::Command),
            conn(Dialect::Binary, Login::Challenged, false, Phase::Swallow(77)),
            conn(Dialect::Text, Login::Out, false, Phase::SwallowLine(Some(Error::Unknown))),
            conn(Dialect::Text, Login::Out, false, Phase::SwallowLine(None)),
            conn(Dialect::Text, Login::Out, false, Phase::Keys { reading: gat, any: true }),
            conn(Dialect::Text, Login::Out, false, Phase::Keys { reading: Reading::GET, any: false }),
        ]
    }

    #[test]
    fn what_is_written_is_read_again_to_the_last_byte() {
        let mut seen = Vec::new();
        for conn in samples() {
            let bytes = written(&conn);
            let mut reader = Reader::new(&bytes);
            let read = Conn::read(&mut reader).unwrap();
            assert_eq!(written(&read), bytes);
            assert_eq!(reader.end(), Ok(()));
            assert!(!seen.contains(&bytes), "two states are written alike");
            seen.push(bytes);
        }
    }

    #[test]
    fn what_is_cut_off_or_makes_no_sense_is_an_error() {
        for conn in samples() {
            let bytes = written(&conn);
            for len in 0..bytes.len() {
                assert_eq!(Conn::read(&mut Reader::new(&bytes[..len])).err(), Some(Broken), "{len} of {bytes:?}");
            }
            for at in 0..4.min(bytes.len()) {
                let mut bytes = bytes.clone();
                bytes[at] = 9;
                assert_eq!(Conn::read(&mut Reader::new(&bytes)).err(), Some(Broken), "{bytes:?}");
            }
        }
        // Whatever is read is a conversation or an error.
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let noise: Vec<u8> = std::iter::repeat_with(|| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random >> 32) as u8 % 7
            })
            .take(24)
            .collect();
            if let Ok(conn) = Conn::read(&mut Reader::new(&noise)) {
                let bytes = written(&conn);
                assert_eq!(bytes, noise[..bytes.len()]);
            }
        }
        assert_eq!(Reader::new(&u64::MAX.to_le_bytes()).bytes(), Err(Broken));
        assert_eq!(Reader::new(&u64::MAX.to_le_bytes()).number::<u32>(), Err(Broken));
        assert_eq!(Reader::new(b"x").end(), Err(Broken));
    }

    /// Says the first part to one process and the rest to the next; the answers to both.
    fn across(first: &[u8], rest: &[u8]) -> String {
        let mut talk = Talk::with(Settings::default());
        let before = talk.say(first);
        talk.move_house();
        before + &talk.say(rest)
    }

    #[test]
    fn a_conversation_that_moves_anywhere_is_answered_as_one_that_stays() {
        let value = "v".repeat(30_000);
        let long_list = format!("get {}k\r\n", "missing ".repeat(400));
        let said = [
            format!("set k 7 0 30000\r\n{value}\r\nget k\r\n"),
            format!("set k 0 0 5 noreply\r\nhello\r\nms k 3 c\r\nabc\r\n{long_list}mg k v\r\nnonsense\r\n"),
            format!("set k 0 0 99999999\r\nx\r\n{}\r\nget k\r\n", "y".repeat(10)),
        ];
        for said in &said {
            let expected = across(said.as_bytes(), b"");
            let cuts = (0..said.len()).filter(|at| *at < 100 || at % 211 == 0 || said.len() - at < 60);
            for at in cuts {
                let (first, rest) = said.as_bytes().split_at(at);
                assert_eq!(across(first, rest), expected, "moved at {at}");
            }
        }
    }

    #[test]
    fn a_binary_value_moves_too() {
        let mut frame = vec![0x80, 1, 0, 1, 8, 0, 0, 0, 0, 0, 0, 14];
        frame.resize(24 + 8, 0);
        frame.extend_from_slice(b"khello");
        frame.extend_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        frame.resize(frame.len() + 12, 0);
        frame.push(b'k');
        let expected = across(&frame, b"");
        assert!(expected.ends_with("hello"), "{expected:?}");
        for at in 0..frame.len() {
            let (first, rest) = frame.split_at(at);
            assert_eq!(across(first, rest), expected, "moved at {at}");
        }
    }
}
