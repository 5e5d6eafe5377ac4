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
use super::signals::Signals;
use super::{kept, memory, options, paper, passwords, process};
use crate::net::{Broken, Handover, Reader, Tls, Writer};
use crate::settings::{Settings, UdpAnswerMax};
use crate::store::{Store, Summary};
use crate::sync::Arc;
use crate::sys::{files, reason, socket};
use std::collections::HashSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
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
    /// Path of the binary, which may be another file by now, or a link that leads to another one.
    program: PathBuf,
    /// The first word of the command line, and the others.
    words: Vec<OsString>,
    /// The folder that it has left since (`-d`). What the words name may be there.
    folder: Option<PathBuf>,
    /// The filter of system calls is on, and outlives `execve`.
    filtered: bool,
}

impl Started {
    /// Asks the system. At the start, since the path of a file that was replaced cannot be told later.
    ///
    /// # Errors
    /// Not fatal: there is no upgrade in place then.
    pub fn now(filtered: bool, folder: Option<PathBuf>) -> io::Result<Started> {
        let words: Vec<_> = std::env::args_os().collect();
        let own = std::env::current_exe()?;
        let program = words.first().and_then(|name| called(name, &own)).unwrap_or(own);
        Ok(Started { program, words, folder, filtered })
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
        let ((answer, output), (errors, error_output)) = (sheet()?, sheet()?);
        let mut command = Command::new(&self.program);
        if let Some(folder) = self.folder() {
            command.current_dir(folder);
        }
        let mut child = command
            .arg0(name)
            .arg("--check-takeover")
            .args(words)
            .env_remove(VARIABLE)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(error_output)
            .spawn()
            .map_err(|error| format!("{}: {}", self.program.display(), reason(&error)))?;
        let success = wait(&mut child)?;
        let (answer, errors) = (said(&answer), said(&errors));
        if success && answer == expected {
            return Ok(());
        }
        Err(why_not(&answer, &expected, &errors))
    }

    /// The folder to start in, if this user may be there.
    fn folder(&self) -> Option<&Path> {
        self.folder.as_deref().filter(|folder| folder.join(".").metadata().is_ok())
    }

    /// Becomes the new binary. Returns only when that failed, with everything as it was.
    #[must_use]
    pub fn become_next(&self, handover: &Handover, store: &Store) -> String {
        let arena = store.kept_file().map(File::as_fd);
        let descriptors: Vec<_> = arena.into_iter().chain(handover.descriptors()).collect();
        let error = match self.try_become_next(handover, &descriptors, store.summarise()) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        store.drop_summary();
        // The next binary that is asked would have them: clients that are closed here would stay open there, and the arena locked.
        descriptors.iter().for_each(|&fd| socket::end_at_exec(fd));
        if self.folder.is_some() {
            let _there_it_was = std::env::set_current_dir(process::ROOT);
        }
        reason(&error)
    }

    /// `descriptors` are the arena's and those of the handover; `summary` is what was written of the arena's items.
    fn try_become_next(
        &self,
        handover: &Handover,
        descriptors: &[BorrowedFd<'_>],
        summary: Option<Summary>,
    ) -> io::Result<std::convert::Infallible> {
        let mut writer = Writer::default();
        writer.flag(self.filtered);
        writer.flag(summary.is_some());
        writer.number(summary.map_or(0, |summary| summary.len));
        writer.number(summary.map_or(0, |summary| summary.checksum));
        writer.number(descriptors.len() as u64);
        for &fd in descriptors {
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
        self.folder().map_or(Ok(()), std::env::set_current_dir)?;
        crate::sys::process::replace(
            &c_string(self.program.clone().into())?,
            &c_strings(self.words.clone())?,
            &c_strings(environment)?,
        )
    }
}

/// The path by which this binary, `own`, was called: one with links in it may lead to a new version that is beside the old one.
fn called(name: &OsStr, own: &Path) -> Option<PathBuf> {
    // Without a slash it was looked for in these folders.
    let path = if name.as_bytes().contains(&b'/') { "".into() } else { std::env::var_os("PATH")? };
    let mut places = std::env::split_paths(&path).filter_map(|folder| std::path::absolute(folder.join(name)).ok());
    places.find(|place| place.canonicalize().is_ok_and(|file| file == own))
}

fn c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

fn c_strings(texts: impl IntoIterator<Item = OsString>) -> io::Result<Vec<CString>> {
    texts.into_iter().map(c_string).collect()
}

/// Where a child writes, to be read when it has ended. No pipe: whoever else the child has started could hold that open, and its end
/// would never come.
fn sheet() -> Result<(File, Stdio), String> {
    let file = files::nameless(c"answer").and_then(|file| Ok((file.try_clone()?, file.into())));
    file.map_err(|error| reason(&error))
}

/// What was written there, cut where it is long.
fn said(file: &File) -> String {
    let mut text = [0; 4096];
    let len = file.read_at(&mut text, 0).unwrap_or(0);
    String::from_utf8_lossy(&text[..len]).trim().to_owned()
}

/// Waits for a child of which nobody knows what it is; says whether it ended well. Not while somebody wants the server to stop.
fn wait(child: &mut Child) -> Result<bool, String> {
    let mut why = "the new binary gives no answer";
    for _ in 0..ANSWER_TRIES {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if Signals::stop_is_asked() => {
                why = "it is to stop";
                break;
            }
            Ok(None) => thread::park_timeout(ANSWER_PAUSE),
            Err(error) => return Err(reason(&error)),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(why.to_owned())
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
            "the options say otherwise where or what to listen to (-l, -p, -s, -a, -b, -U, -B, -Z, -S, -Y ...): restart"
                .to_owned()
        }
        _ => "the new binary cannot take over".to_owned(),
    }
}

/// What both have to agree on.
fn answer(settings: &Settings, file: &File) -> Result<String, String> {
    let place = kept::identity(file).map_err(|error| reason(&error))?;
    Ok(format!("takeover {} {place} {:016x}", paper::VERSION, doors(settings)))
}

/// A digest of where the settings say to listen, how, and what is spoken there: of all that a listener is made with, or not made without.
#[must_use]
pub fn doors(settings: &Settings) -> u64 {
    let answers_bounded = settings.udp_port == 0 || settings.udp_answer_max != UdpAnswerMax::Unsaid;
    let doors = (
        (&settings.inter, settings.tcp_port, settings.udp_port, &settings.socket_path),
        (settings.unix_mask, settings.tcp_backlog, settings.sock_cookie_id, answers_bounded),
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
        // As whom it would open what follows.
        process::user(settings)?;
        passwords::load(settings)?;
        process::leave_folder(settings).map_err(|error| Exit::new(FAILURE, reason(&error)))?;
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
        let mut bytes = paper::read(adopt_all(&[fd])?.remove(0).into())?;
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
        let rest = reader.rest().len();
        bytes.drain(..bytes.len() - rest);
        Ok(Takeover { arena, filtered, descriptors: descriptors.collect(), net: bytes })
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
    fn the_binary_is_looked_for_where_it_was_called_if_that_is_it() {
        let own = std::env::current_exe().unwrap();
        let folder = std::env::temp_dir().join(format!("memhold-called-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let link = folder.join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert_eq!(called(link.as_os_str(), &own), Some(link));
        assert_eq!(called(own.as_os_str(), &own), Some(own.clone()));
        for other in ["/bin/sh", "sh", "no such program", "", "./link"] {
            assert_eq!(called(other.as_ref(), &own), None, "{other}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
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
        for other in [
            Settings { tcp_port: 7, ..Settings::default() },
            Settings { sasl: true, ..Settings::default() },
            Settings { unix_mask: 0o777, ..Settings::default() },
            Settings { tcp_backlog: 7, ..Settings::default() },
            Settings { sock_cookie_id: 7, ..Settings::default() },
        ] {
            assert_ne!(one, told(&other));
        }
        // Without UDP its bound is nobody's.
        let bounded =
            |udp_port| Settings { udp_port, udp_answer_max: UdpAnswerMax::Bytes(9000), ..Settings::default() };
        assert_eq!(one, told(&bounded(0)));
        let unsaid = Settings { udp_answer_max: UdpAnswerMax::Unsaid, ..bounded(7) };
        assert_ne!(told(&bounded(7)), told(&unsaid), "which would not be bound to others than loopback");
    }
}
