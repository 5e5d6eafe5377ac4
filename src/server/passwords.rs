//! Files of names and passwords: what `-Y` names, and what `sasl_pwdb` or `MEMCACHED_SASL_PWDB` names for `-S` (section 7).
//!
//! Read at the start, where a file that cannot be understood ends it, and again when told: at SIGHUP, and the
//! file of SASL whenever it has changed, because memcached reads that anew for each attempt. Then a bad file leaves
//! things as they were.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::exit::{Exit, FAILURE};
use crate::commands::Server;
use crate::commands::auth::{Credential, SECRET_MAX};
use crate::settings::Settings;
use crate::sys::reason;

/// Entries of `-Y`'s file that count.
const AUTH_FILE_ENTRIES: usize = 8;

/// Longest line of SASL's file that is looked at whole, in bytes; the rest of a longer one is cut off.
const PWDB_LINE_MAX: usize = 255;

/// Most bytes of a file: thousands of entries. Each attempt looks at all of them.
const FILE_MAX: u64 = 1 << 20;

/// Reads the file that the settings name: everybody who may come in, or nobody when no authentication is wanted.
///
/// # Errors
/// In memcached's words where it has any, with its exit code.
pub fn load(settings: &Settings) -> Result<Vec<Credential>, Exit> {
    if let Some(path) = &settings.auth_file {
        return auth_file(path);
    }
    if !settings.sasl {
        return Ok(Vec::new());
    }
    let Some(path) = &settings.sasl_pwdb else {
        return Err(Exit::new(
            FAILURE,
            "-S needs a file of user:password lines: set MEMCACHED_SASL_PWDB or -o sasl_pwdb=<file>",
        ));
    };
    let bytes = read(path).map_err(|error| {
        Exit::new(FAILURE, format!("Could not open SASL password file [{}]: {}", path.display(), reason(&error)))
    })?;
    Ok(pwdb(&bytes))
}

/// Makes the names of the files whole: a daemon changes its folder before it reads them again.
pub fn find_again(settings: &mut Settings) {
    for file in [&mut settings.auth_file, &mut settings.sasl_pwdb].into_iter().flatten() {
        if let Ok(whole) = std::path::absolute(&*file) {
            *file = whole;
        }
    }
}

/// Reads the file again, while the server runs.
pub fn reload(server: &Server) {
    match load(&server.settings) {
        Ok(credentials) => {
            server.credentials.replace(credentials);
            log::info!("passwords read");
        }
        Err(exit) => exit.lines.iter().for_each(|line| log::error!("{line}")),
    }
}

/// Looks whether the file of SASL is another than before, or has been written to. Made before the file is read for the first time, so that
/// what changes meanwhile is noticed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Second and nanosecond of the last change, inode, length.
    stamp: Option<(i64, i64, u64, u64)>,
}

impl Watch {
    /// The file as it is now.
    #[must_use]
    pub fn new(settings: &Settings) -> Watch {
        let path = settings.sasl_pwdb.as_deref().filter(|_| settings.sasl);
        let file = path.and_then(|path| path.metadata().ok());
        Watch { stamp: file.map(|file| (file.mtime(), file.mtime_nsec(), file.ino(), file.len())) }
    }

    /// Reads the file again if it has changed since the last time. One system call if not, none without SASL.
    pub fn look(&mut self, server: &Server) {
        let now = Watch::new(&server.settings);
        if now != *self && now.stamp.is_some() {
            *self = now;
            reload(server);
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `-Y`: each line is an entry, and has a colon.
fn auth_file(path: &Path) -> Result<Vec<Credential>, Exit> {
    let shown = String::from_utf8_lossy(path.as_os_str().as_bytes());
    let bytes = read(path).map_err(|error| {
        let why = reason(&error);
        Exit::new(FAILURE, format!("Could not open authfile [{shown}] for reading, error {why}: {why}"))
    })?;
    lines(&bytes)
        .take(AUTH_FILE_ENTRIES)
        .map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Credential::new(&line[..colon], &line[colon + 1..])
        })
        .collect::<Option<_>>()
        .ok_or_else(|| {
            Exit::new(FAILURE, format!("Authfile [{shown}] has a malformed entry. Should be 'user:password'"))
        })
}

/// SASL: what follows a second colon are further fields of the line, or part of the password, whichever is sent. Only the first line of
/// a name counts; a line without a colon does not.
fn pwdb(bytes: &[u8]) -> Vec<Credential> {
    let mut seen: Vec<&[u8]> = Vec::new();
    let mut entries = Vec::new();
    for line in lines(bytes) {
        let line = &line[..line.len().min(PWDB_LINE_MAX)];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (user, fields) = (&line[..colon], &line[colon + 1..]);
        if seen.contains(&user) {
            continue;
        }
        seen.push(user);
        let ends = memchr::memchr_iter(b':', fields).chain([fields.len()]);
        entries.extend(ends.filter_map(|end| Credential::new(user, &fields[..end])));
    }
    entries
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.split(|&byte| byte == b'\n').filter(move |_| !bytes.is_empty())
}

const _: () = assert!(PWDB_LINE_MAX <= SECRET_MAX, "a line's parts are credentials");
