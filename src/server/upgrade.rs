//! Upgrade in place (SIGUSR2): a new version, with the options of now, takes this process over by `execve`. The process id, the
//! listeners, the items and the open connections stay; threads, statistics and everything else begin anew.
//!
//! ```text
//! old: ask the new binary (--check-takeover) ─► stop between two turns ─► write a memfd ─► execve ─┐
//!        └─ it does not say yes: go on serving      └─ something fails: go on serving               │
//! new: options, certificates, passwords ─► arena ─► listeners and clients of the memfd ─► serve ◄──┘
//! ```
//!
//! Whatever can stand in the way of the new one is looked for before: behind `execve` there is no way back. The new binary is asked in a
//! child of this process, and its answer names what both have to agree on: the form of the handover, the file with the items, and
//! where to listen.

use super::exit::{Exit, FAILURE, SUCCESS};
use super::kept::Handed;
use super::{kept, memory, options, paper, passwords, process};
use crate::net::{Broken, Handover, Reader, Tls, Writer};
use crate::settings::Settings;
use crate::store::{Store, Summary};
use crate::sync::Arc;
use crate::sys::{reason, socket};
use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Tells the next process where to find what it takes over: "<pid>:<descriptor>".
const VARIABLE: &str = "MEMHOLD_TAKEOVER";

/// So often the new binary is looked for to have answered, ...
const ANSWER_PAUSE: Duration = Duration::from_millis(5);
/// ... and so many times: half a minute, for a machine that is busy.
const ANSWER_TRIES: u32 = 6000;

/// How this process was started, as far as the next one is to be started in the same way.
#[derive(Debug)]
pub struct Started {
    /// Path of the binary, which may be another file by now.
    program: PathBuf,
    /// The first word of the command line, and the others.
    words: Vec<OsString>,
    /// The filter of system calls is on, and outlives `execve`.
    pub filtered: bool,
}

impl Started {
    /// Asks the system. At the start, since the path of a file that was replaced cannot be told later.
    ///
    /// # Errors
    /// Not fatal: there is no upgrade in place then.
    pub fn now(filtered: bool) -> io::Result<Started> {
        Ok(Started { program: std::env::current_exe()?, words: std::env::args_os().collect(), filtered })
    }

    /// Asks the new binary whether it could go on with these items and listeners.
    ///
    /// # Errors
    /// Why it could not, in a line.
    pub fn ask_next(&self, settings: &Settings, store: &Store) -> Result<(), String> {
        let file =
            store.kept_file().ok_or("items are in memory of the process alone: start with -e, or under systemd")?;
        let expected = answer(settings, file)?;
        let (name, words) = self.words.split_first().ok_or("it is not known how this process was started")?;
        let mut child = Command::new(&self.program)
            .arg0(name)
            .arg("--check-takeover")
            .args(words)
            .env_remove(VARIABLE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {}", self.program.display(), reason(&error)))?;
        let ended = wait(&mut child);
        let said = |stream: Option<&mut dyn io::Read>| {
            let mut text = Vec::new();
            // It has ended, so this does not wait; what it said is cut where it is long.
            let _ = stream.map(|stream| stream.take(4096).read_to_end(&mut text));
            String::from_utf8_lossy(&text).trim().to_owned()
        };
        let success = ended?;
        let answer = said(child.stdout.as_mut().map(|stream| stream as &mut dyn io::Read));
        if success && answer == expected {
            return Ok(());
        }
        let errors = said(child.stderr.as_mut().map(|stream| stream as &mut dyn io::Read));
        Err(why_not(&answer, &expected, &errors))
    }

    /// Becomes the new binary. Returns only when that failed, with everything as it was.
    #[must_use]
    pub fn become_next(&self, handover: &Handover, store: &Store) -> String {
        match self.try_become_next(handover, store) {
            Ok(never) => match never {},
            Err(error) => {
                store.drop_summary();
                reason(&error)
            }
        }
    }

    fn try_become_next(&self, handover: &Handover, store: &Store) -> io::Result<std::convert::Infallible> {
        let arena = store.kept_file().ok_or(io::ErrorKind::Unsupported)?;
        let mut writer = Writer::default();
        writer.flag(self.filtered);
        let summary = store.summarise();
        writer.flag(summary.is_some());
        writer.number(summary.map_or(0, |summary| summary.len));
        writer.number(summary.map_or(0, |summary| summary.checksum));
        let descriptors = handover.descriptors();
        writer.number(descriptors.len() as u64 + 1);
        for fd in std::iter::once(arena.as_fd()).chain(descriptors) {
            writer.number(u64::try_from(fd.as_raw_fd()).unwrap_or(u64::MAX));
            socket::outlive_exec(fd)?;
        }
        handover.write(&mut writer);
        let paper = paper::write(&writer.into_bytes())?;
        socket::outlive_exec(paper.as_fd())?;
        let place = format!("{VARIABLE}={}:{}", std::process::id(), paper.as_raw_fd());
        let others = std::env::vars_os().filter(|(name, _)| name != VARIABLE).map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        });
        let environment = others.chain([place.into()]);
        crate::sys::process::replace(
            &c_string(self.program.clone().into())?,
            &c_strings(self.words.clone())?,
            &c_strings(environment)?,
        )
    }
}

fn c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

fn c_strings(texts: impl IntoIterator<Item = OsString>) -> io::Result<Vec<CString>> {
    texts.into_iter().map(c_string).collect()
}

/// Waits for a child of which nobody knows what it is; says whether it ended well.
fn wait(child: &mut Child) -> Result<bool, String> {
    for _ in 0..ANSWER_TRIES {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) => thread::park_timeout(ANSWER_PAUSE),
            Err(error) => return Err(reason(&error)),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("the new binary gives no answer".to_owned())
}

/// What is to be told of an answer that is not the expected one.
fn why_not(answer: &str, expected: &str, errors: &str) -> String {
    if let Some(line) = errors.lines().last().filter(|line| !line.trim().is_empty()) {
        return format!("the new binary says: {line}");
    }
    let (found, wanted): (Vec<_>, Vec<_>) = (answer.split(' ').collect(), expected.split(' ').collect());
    match (&found[..], &wanted[..]) {
        (["takeover", version, ..], [_, ours, ..]) if version != ours => {
            "the new binary reads another form of handover: restart".to_owned()
        }
        (["takeover", _, file, _], [_, _, ours, _]) if file != ours => {
            "the options name another memory file: restart".to_owned()
        }
        (["takeover", _, _, doors], [_, _, _, ours]) if doors != ours => {
            "the options say otherwise where or what to listen to (-l, -p, -s, -U, -B, -Z, -S, -Y): restart".to_owned()
        }
        _ => "the new binary cannot take over".to_owned(),
    }
}

/// What both have to agree on.
fn answer(settings: &Settings, file: &File) -> Result<String, String> {
    let place = kept::identity(file).map_err(|error| reason(&error))?;
    Ok(format!("takeover {} {place} {:016x}", paper::VERSION, doors(settings)))
}

/// A digest of where the settings say to listen, and what is spoken there.
#[must_use]
pub fn doors(settings: &Settings) -> u64 {
    let doors = (
        (&settings.inter, settings.tcp_port, settings.udp_port, &settings.socket_path),
        (settings.binding_protocol.name(), settings.tls.enabled, settings.sasl, settings.auth_file.is_some()),
    );
    xxh3_64(format!("{doors:?}").as_bytes())
}

/// `--check-takeover`: whether a server with these settings could take over from the one that asks. Ends the process.
#[must_use]
pub fn check(settings: &Settings, load_tls: impl FnOnce(&Settings) -> Result<Option<Arc<Tls>>, Exit>) -> Exit {
    let steps = || -> Result<String, Exit> {
        load_tls(settings)?;
        process::limits(settings, 0)?;
        passwords::load(settings)?;
        options::check::hashpower(settings)?;
        process::enough_connections(settings, 0)?;
        let file = kept::look(settings, &memory::store_config(settings, 0))?;
        answer(settings, &file).map_err(|line| Exit::new(FAILURE, line))
    };
    match steps() {
        Ok(line) => Exit::new(SUCCESS, line),
        Err(exit) => exit,
    }
}

/// What the process before has left.
#[derive(Debug)]
pub struct Takeover {
    /// The file with the items, and what was known of it.
    pub arena: Handed,
    /// The filter of system calls is on already.
    pub filtered: bool,
    /// Of listeners and clients.
    descriptors: Vec<OwnedFd>,
    /// What is to be known of them.
    net: Vec<u8>,
}

impl Takeover {
    /// Looks whether this process was another one before, and takes over what that left.
    ///
    /// # Errors
    /// When it makes no sense. There is nobody to go back to.
    pub fn find() -> Result<Option<Takeover>, Exit> {
        let Some(fd) = std::env::var(VARIABLE).ok().and_then(|place| descriptor(&place)) else { return Ok(None) };
        let takeover = Takeover::read(fd);
        takeover.map(Some).map_err(|why| Exit::new(FAILURE, format!("cannot take over: {why}")))
    }

    fn read(fd: RawFd) -> Result<Takeover, String> {
        let bytes = paper::read(adopt_all(&[fd])?.remove(0).into())?;
        let mut reader = Reader::new(&bytes);
        let (filtered, summary, numbers) = (|| -> Result<(bool, Option<Summary>, Vec<RawFd>), Broken> {
            let (filtered, known) = (reader.flag()?, reader.flag()?);
            let summary = Summary { len: reader.number()?, checksum: reader.number()? };
            let count = reader.number::<usize>()?;
            let numbers = (0..count).map(|_| reader.number()).collect::<Result<_, _>>()?;
            Ok((filtered, known.then_some(summary), numbers))
        })()
        .map_err(|_| "the handover makes no sense")?;
        let mut descriptors = adopt_all(&numbers)?.into_iter();
        let file = descriptors.next().ok_or("the handover has no memory file")?.into();
        let arena = Handed { file, summary };
        Ok(Takeover { arena, filtered, descriptors: descriptors.collect(), net: reader.rest().to_vec() })
    }

    /// How many listeners and clients there are together.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.descriptors.len()
    }

    /// Listeners and clients.
    ///
    /// # Errors
    /// When they cannot be taken over.
    pub fn handover(&mut self, tls: Option<&Arc<Tls>>) -> Result<Handover, Exit> {
        let handover = Handover::read(Reader::new(&self.net), self.descriptors.drain(..).map(Some), tls);
        handover.map(|(handover, _)| handover).map_err(|why| Exit::new(FAILURE, format!("cannot take over: {why}")))
    }
}

/// Owns descriptors that outlived `execve`.
fn adopt_all(numbers: &[RawFd]) -> Result<Vec<OwnedFd>, String> {
    // The first three are the standard streams.
    if numbers.iter().any(|&fd| fd <= 2) || numbers.iter().collect::<HashSet<_>>().len() < numbers.len() {
        return Err("the handover names a descriptor twice".to_owned());
    }
    let told = |fd, error: io::Error| format!("descriptor {fd}: {}", reason(&error));
    numbers.iter().map(|&fd| socket::adopt(fd).map_err(|error| told(fd, error))).collect()
}

/// The descriptor in the variable, if it was meant for this process.
fn descriptor(place: &str) -> Option<RawFd> {
    let (pid, fd) = place.split_once(':')?;
    if pid.parse() == Ok(std::process::id()) { fd.parse().ok().filter(|fd| *fd > 2) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_is_named_twice_or_not_open_is_refused() {
        assert!(adopt_all(&[5000, 5000]).is_err());
        assert!(adopt_all(&[1]).is_err());
        assert_eq!(adopt_all(&[1 << 30]).err().as_deref(), Some("descriptor 1073741824: Bad file descriptor"));
    }

    #[test]
    fn only_the_process_that_is_meant_takes_over() {
        let own = std::process::id();
        assert_eq!(descriptor(&format!("{own}:7")), Some(7));
        assert_eq!(descriptor(&format!("{}:7", own + 1)), None);
        for wrong in ["", "7", ":7", "x:7", &format!("{own}:"), &format!("{own}:-1"), &format!("{own}:2")] {
            assert_eq!(descriptor(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_that_differs_is_explained() {
        let ours = "takeover 1 2:3 aaaa";
        assert!(why_not("takeover 2 2:3 aaaa", ours, "").contains("another form"));
        assert!(why_not("takeover 1 2:4 aaaa", ours, "").contains("another memory file"));
        assert!(why_not("takeover 1 2:3 bbbb", ours, "").contains("listen"));
        assert_eq!(why_not("hello", ours, ""), "the new binary cannot take over");
        assert_eq!(why_not("", ours, "one\nIllegal argument\n"), "the new binary says: Illegal argument");
    }

    #[test]
    fn the_answer_names_what_both_have_to_agree_on() {
        let file = crate::sys::files::nameless(c"test").unwrap();
        let told = |settings: &Settings| answer(settings, &file).unwrap();
        let one = told(&Settings::default());
        assert_eq!(one, told(&Settings { num_threads: 7, ..Settings::default() }));
        assert_ne!(one, told(&Settings { tcp_port: 7, ..Settings::default() }));
        assert_ne!(one, told(&Settings { sasl: true, ..Settings::default() }));
    }
}
