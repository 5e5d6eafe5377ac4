//! The file that item memory is kept in: found, locked, opened or made, moved into another layout, set aside, refused. What is
//! in it is the store's; here are the path, the lock, and what the operator is told.
//!
//! The file is that of `-e`; without one, under systemd, a file of the service's runtime directory, which is a RAM disk. The first is
//! a demand: what stands in its way ends the start. The second is a service: where there is no room for it, memory is
//! that of the process, and that is said.

use super::exit::{Exit, FAILURE};
use super::logging::say;
use super::process::with_suffix;
use crate::clock::Now;
use crate::settings::{MIB, Settings, UnfitFile};
use crate::store::{BootId, Config, Kept, Recovery, Store, Summary, Trouble, is_arena};
use crate::sys::{files, reason};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Name of the file in the runtime directory.
const SERVICE_FILE: &str = "memory";
/// What is behind the name of a file into which items are moved.
const MOVING: &str = ".moving";
/// A process that was killed holds its lock until the kernel has taken all its memory: so often we look, ...
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// ... and so many times, five seconds in all.
const LOCK_TRIES: u32 = 250;

/// A store, and what is known of its file.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The file that it is kept in.
    pub file: Option<PathBuf>,
    /// Unix second in which it was made, when it is a kept one.
    pub birth: Option<u32>,
}

/// What another process has handed over.
#[derive(Debug)]
pub struct Handed {
    /// The file, locked.
    pub file: File,
    /// It knew what is in it, and wrote that behind the pages.
    pub summary: Option<Summary>,
}

/// The first element of the list that systemd gives.
#[must_use]
pub fn first_directory(list: OsString) -> Option<PathBuf> {
    let first = list.as_bytes().split(|&byte| byte == b':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
}

/// The file of the runtime directory, where it is wanted.
fn service_file(settings: &Settings) -> Option<PathBuf> {
    let service = settings.runtime_directory.as_deref().filter(|_| settings.keep_memory);
    service.map(|directory| directory.join(SERVICE_FILE))
}

/// Which file it is, whatever its name.
///
/// # Errors
/// The system's.
pub fn identity(file: &File) -> io::Result<String> {
    file.metadata().map(|facts| format!("{}:{}", facts.dev(), facts.ino()))
}

/// The file that the settings name, if a store of theirs could go on with it just as it is, while another process has it.
///
/// # Errors
/// When it could not.
pub fn look(settings: &Settings, config: &Config) -> Result<File, Exit> {
    let path = settings.memory_file.clone().or_else(|| service_file(settings));
    let path = path.ok_or_else(|| Exit::new(FAILURE, "no memory file is named"))?;
    let steps = || -> Result<File, String> {
        let file = File::open(&path).map_err(|error| reason(&error))?;
        let more = Store::look_at_kept(config, &file, &boot_id()?).map_err(|trouble| told(&trouble))?;
        left_by_move(&path)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if more > 0 {
            // Whether there is room is best known by taking it.
            let room = files::nameless_in(directory).and_then(|file| files::allocate(&file, 0, more));
            room.map_err(|error| told(&Trouble::NoRoom(more, reason(&error))))?;
        }
        Ok(file)
    };
    steps().map_err(|text| Exit::new(FAILURE, format!("memory file {}: {text}", path.display())))
}

/// Opens the store that the settings ask for. `inherited` is what another process has handed over.
///
/// # Errors
/// The end of the start: a file that is unfit, in use, or without room.
pub fn open(settings: &Settings, config: &Config, now: Now, inherited: Option<&Handed>) -> Result<Opened, Exit> {
    if let Some(path) = &settings.memory_file {
        let kept = Keeper { path, settings, config, now, inherited }.open();
        return kept.map_err(|text| Exit::new(FAILURE, format!("memory file {}: {text}", path.display())));
    }
    if let Some(path) = service_file(settings) {
        let holds_nothing = fs::metadata(&path).map_or(0, |facts| facts.len()) == 0;
        match (Keeper { path: &path, settings, config, now, inherited }).open() {
            Ok(opened) => return Ok(opened),
            Err(text) if holds_nothing => {
                say(&format!("items will not outlive the process: memory file {}: {text}", path.display()));
            }
            Err(text) => {
                let hint = "-o no_keep_memory does without it";
                return Err(Exit::new(FAILURE, format!("memory file {}: {text} ({hint})", path.display())));
            }
        }
    }
    let store = Store::open(config).map_err(|text| Exit::new(FAILURE, text))?;
    Ok(Opened { store, file: None, birth: None })
}

struct Keeper<'a> {
    path: &'a Path,
    settings: &'a Settings,
    config: &'a Config,
    now: Now,
    inherited: Option<&'a Handed>,
}

impl Keeper<'_> {
    fn kept(&self, file: &File) -> Result<Kept, String> {
        let file = file.try_clone().map_err(|error| reason(&error))?;
        let summary = self.inherited.and_then(|handed| handed.summary);
        Ok(Kept { file, boot_id: boot_id()?, second: self.now.seconds, threads: 0, summary })
    }

    fn open(&self) -> Result<Opened, String> {
        let file = match self.inherited {
            None => lock_file(self.path)?,
            Some(handed) => self.recognise(&handed.file)?,
        };
        self.clear_moving()?;
        match Store::open_kept(self.config, self.kept(&file)?) {
            Ok((store, recovery)) => Ok(self.opened(store, recovery)),
            Err(Trouble::Differs(what)) => self.move_over(&file, &what),
            Err(trouble @ Trouble::Unfit(_)) => self.unfit(&trouble),
            Err(trouble) => Err(told(&trouble)),
        }
    }

    /// The file that was handed over, which has to be the one that the settings name.
    fn recognise(&self, file: &File) -> Result<File, String> {
        let named = File::open(self.path).and_then(|named| identity(&named)).map_err(|error| reason(&error))?;
        match identity(file) {
            Ok(handed) if handed == named => file.try_clone().map_err(|error| reason(&error)),
            Ok(_) => Err("it is not the one that was handed over".to_owned()),
            Err(error) => Err(reason(&error)),
        }
    }

    fn unfit(&self, trouble: &Trouble) -> Result<Opened, String> {
        let text = told(trouble);
        if self.settings.memory_file_unfit == UnfitFile::Refuse {
            return Err(format!("{text}; remove it, or start with -o memory_file_unfit=set_aside"));
        }
        let place = real(self.path);
        let aside = with_suffix(&place, &format!(".unfit-{}", self.now.seconds));
        fs::rename(place, &aside).map_err(|error| format!("{text}, and cannot be renamed: {}", reason(&error)))?;
        say(&format!("memory file {}: {text}; set aside as {}", self.path.display(), aside.display()));
        let file = lock_file(self.path)?;
        let opened = Store::open_kept(self.config, self.kept(&file)?);
        opened.map(|(store, recovery)| self.opened(store, recovery)).map_err(|trouble| told(&trouble))
    }

    /// Removes what a move left that did not come to its end: until its file takes the name of the old one, that is the one that
    /// counts. Nobody else moves, since we hold the lock of the file itself.
    fn clear_moving(&self) -> Result<(), String> {
        let Some(path) = left_by_move(self.path)? else { return Ok(()) };
        fs::remove_file(&path).map_err(|error| format!("{}: {}", path.display(), reason(&error)))
    }

    /// The options ask for another layout than the file has: its items go into a new file, which then takes its name.
    fn move_over(&self, old: &File, what: &str) -> Result<Opened, String> {
        let place = real(self.path);
        let path = with_suffix(&place, MOVING);
        let new = open_file(&path).map_err(|error| format!("{}: {}", path.display(), reason(&error)))?;
        new.try_lock().map_err(|error| format!("{}: {error}", path.display()))?;
        let moved = Store::open_moved(self.config, self.kept(old)?, self.kept(&new)?, self.now);
        let renamed = moved.map_err(|trouble| told(&trouble)).and_then(|moved| {
            fs::rename(&path, place).map_err(|error| reason(&error))?;
            Ok(moved)
        });
        match renamed {
            Ok((store, recovery)) => {
                let path = self.path.display();
                say(&format!("memory file {path}: it had {what}, which the options do not; its items were moved"));
                Ok(self.opened(store, recovery))
            }
            Err(text) => {
                let _gone = fs::remove_file(&path);
                Err(format!("it has {what}, which the options do not, and cannot be moved: {text}"))
            }
        }
    }

    /// Tells what was found.
    fn opened(&self, store: Store, recovery: Recovery) -> Opened {
        let path = self.path.display();
        if recovery.made {
            log::info!("memory file {path}: new, no items yet");
        } else {
            let end = match self.inherited {
                Some(_) => "an upgrade",
                None if recovery.closed => "an orderly end",
                None => "a crash",
            };
            say(&format!("memory file {path}: {} items are there after {end}", recovery.items));
            if recovery.believed {
                log::info!("memory file {path}: they were taken over without a look at each");
            }
        }
        if recovery.damaged_pages > 0 {
            say(&format!("memory file {path}: {} damaged pages were left out", recovery.damaged_pages));
        }
        if recovery.lost_items > 0 {
            say(&format!("memory file {path}: {} items could not be kept", recovery.lost_items));
        }
        Opened { store, file: Some(self.path.to_owned()), birth: Some(recovery.birth) }
    }
}

fn told(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Unfit(text) | Trouble::System(text) => text.clone(),
        Trouble::Differs(what) => format!("it has {what}"),
        Trouble::NoRoom(bytes, text) => {
            format!(
                "{} megabytes are needed there: {text}; make the file system larger, or -m smaller",
                bytes.div_ceil(MIB)
            )
        }
    }
}

/// The file into which items of `path` were moved by somebody who died meanwhile.
///
/// # Errors
/// When it is another one, which is in the way.
fn left_by_move(path: &Path) -> Result<Option<PathBuf>, String> {
    let path = with_suffix(&real(path), MOVING);
    let why = match File::open(&path) {
        Ok(file) if is_arena(&file) => return Ok(Some(path)),
        Ok(_) => "it is in the way, and not an arena of memhold".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => reason(&error),
    };
    Err(format!("{}: {why}", path.display()))
}

/// Where the file itself is, and files that take its name have to be: a link may lead to it from a disk.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Opens the file and locks it, so that no two servers have one memory.
fn lock_file(path: &Path) -> Result<File, String> {
    for _ in 0..LOCK_TRIES {
        let file = open_file(path).map_err(|error| reason(&error))?;
        let facts = file.metadata().map_err(|error| reason(&error))?;
        if !facts.is_file() {
            return Err("it is no file".to_owned());
        }
        match file.try_lock() {
            // Whoever had the lock may have put another file in its place.
            Ok(()) if fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (facts.dev(), facts.ino())) => {
                return Ok(file);
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => thread::park_timeout(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(reason(&error)),
        }
    }
    Err("another server uses it".to_owned())
}

/// Identity of the running kernel.
///
/// # Errors
/// When the system does not tell it.
pub fn boot_id() -> Result<BootId, String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|error| format!("boot id: {error}"))?;
    parse_boot_id(&text).ok_or_else(|| "the system has no boot id".to_owned())
}

fn parse_boot_id(text: &str) -> Option<BootId> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = BootId::default();
    if digits.len() != 2 * id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_read_as_the_kernel_writes_it() {
        let id = parse_boot_id("0123abcd-0000-4000-8000-00000000ffee\n").unwrap();
        assert_eq!(id[..4], [0x01, 0x23, 0xab, 0xcd]);
        assert_eq!(id[14..], [0xff, 0xee]);
        assert_eq!(parse_boot_id("0123"), None);
        assert!(boot_id().is_ok());
    }

    #[test]
    fn of_several_runtime_directories_the_first_counts() {
        assert_eq!(first_directory("/run/a:/run/b".into()), Some("/run/a".into()));
        assert_eq!(first_directory("".into()), None);
    }
}
