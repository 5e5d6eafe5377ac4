//! The process before it serves: limits, user, detaching, locked memory, and the files that tell others about it.
//!
//! Each function is one step of the start (order at the end of section 9) and fails with memcached's words. All of them
//! run before there is a second thread.

use super::exit::{Exit, FAILURE, NO_USER, OS_ERROR, USAGE};
use crate::settings::Settings;
use crate::sys::{process, reason, resources, seccomp};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Raises or lowers what `-r` and `-c` ask for. `connections` are open already.
///
/// # Errors
/// When the system refuses.
pub fn limits(settings: &Settings, connections: usize) -> Result<(), Exit> {
    if settings.coredumps {
        resources::allow_core_files().map_err(|_| Exit::new(OS_ERROR, "failed to ensure corefile creation"))?;
    }
    open_files(settings, connections).map_err(|_| {
        Exit::new(
            OS_ERROR,
            "failed to set rlimit for open files. Try starting as root or requesting smaller maxconns value.",
        )
    })
}

/// Descriptors that are no clients: standard streams, listeners, polls and their wakers, files.
const OWN_DESCRIPTORS: u64 = 64;

/// Descriptors of one worker that `stats` shows as reserved (section 11.1). More than it uses.
pub const RESERVED_PER_THREAD: u32 = 5;

/// Makes room for `-c` clients. They are counted as clients, not by descriptor as memcached counts (section 15.2), so
/// what the server needs itself comes on top; where only `-c` may be had, that has to do. With more connections than that from a
/// process before, those have their place.
///
/// # Errors
/// When the system refuses.
pub fn open_files(settings: &Settings, connections: usize) -> io::Result<()> {
    let clients = u64::from(settings.maxconns).max(connections as u64);
    let own = OWN_DESCRIPTORS + u64::from(RESERVED_PER_THREAD) * u64::from(settings.num_threads);
    resources::set_open_files(clients + own).or_else(|_| {
        let most = resources::open_files_most()?;
        resources::set_open_files(clients.max(most))
    })
}

/// Refuses a `-c` that would leave nothing beyond what `stats` counts as reserved.
///
/// # Errors
/// When it is that small.
pub fn enough_connections(settings: &Settings, listeners: usize) -> Result<(), Exit> {
    let reserved = u64::from(RESERVED_PER_THREAD) * u64::from(settings.num_threads);
    if listeners as u64 + reserved < u64::from(settings.maxconns - 1) {
        return Ok(());
    }
    Err(Exit::new(FAILURE, "Maxconns setting is too low, use -c to increase."))
}

/// Leaves root's rights behind, for the user of `-u`. For other users `-u` means nothing, as with memcached.
///
/// # Errors
/// When there is no `-u`, no such user, or the change is refused.
pub fn user(settings: &Settings) -> Result<(), Exit> {
    if !process::is_root() {
        return Ok(());
    }
    let Some(name) = settings.user.as_deref().filter(|name| !name.is_empty()) else {
        return Err(Exit::new(USAGE, "must add '-u root' to start as root"));
    };
    let Some(user) = process::find_user(name) else {
        return Err(Exit::new(NO_USER, format!("can't find the user {name} to switch to")));
    };
    process::become_user(user).map_err(|refused| match refused {
        process::BecomeError::Groups => Exit::new(OS_ERROR, "failed to drop supplementary groups"),
        process::BecomeError::Identity => Exit::new(OS_ERROR, format!("failed to assume identity of user {name}")),
    })
}

/// Detaches (`-d`). The streams stay with `-v`, the folder with `-r`.
///
/// # Errors
/// When the system refuses.
pub fn daemonize(settings: &Settings) -> Result<(), Exit> {
    if !settings.daemon {
        return Ok(());
    }
    let steps = || -> io::Result<()> {
        process::detach()?;
        leave_folder(settings)?;
        if settings.verbosity == 0 {
            process::silence_standard_streams()?;
        }
        Ok(())
    };
    steps().map_err(|_| Exit::new(FAILURE, "failed to daemon() in order to daemonize"))
}

/// The part of detaching that each version does for itself, an upgrade's too: names that are relative mean the folder of the start until
/// then, and the root behind it.
///
/// # Errors
/// When the system refuses.
pub fn leave_folder(settings: &Settings) -> io::Result<()> {
    if leaves_folder(settings) { std::env::set_current_dir(ROOT) } else { Ok(()) }
}

/// Whether it will.
#[must_use]
pub fn leaves_folder(settings: &Settings) -> bool {
    settings.daemon && !settings.coredumps
}

/// The folder of those who have none.
pub const ROOT: &str = "/";

/// Address space beyond the range for items, which is up to twice `-m`: stacks, buffers, the allocator's. Generous.
const MEMORY_BESIDE_ITEMS_BYTES: u64 = 512 << 20;

/// Locks memory (`-k`). A refusal is only worth a line.
#[must_use]
pub fn lock_memory(settings: &Settings) -> Option<String> {
    if !settings.lock_memory {
        return None;
    }
    let needed = settings.memory_bytes.saturating_mul(2).saturating_add(MEMORY_BESIDE_ITEMS_BYTES);
    let error = resources::lock_memory(usize::try_from(needed).unwrap_or(usize::MAX)).err()?;
    Some(format!("warning: -k invalid, mlockall() failed: {}", reason(&error)))
}

/// Filters system calls from now on, unless `no_drop_privileges` forbids it. Where the kernel cannot, that is worth a line.
///
/// # Errors
/// When the kernel cannot and `drop_privileges` was asked for by name.
pub fn filter_calls(settings: &Settings) -> Result<Option<String>, Exit> {
    if settings.drop_privileges == Some(false) {
        return Ok(None);
    }
    let Err(error) = seccomp::install() else { return Ok(None) };
    let line = format!("system calls cannot be filtered: {}", reason(&error));
    match settings.drop_privileges {
        Some(_) => Err(Exit::new(OS_ERROR, line)),
        None => Ok(Some(format!("WARNING: {line}"))),
    }
}

/// The pid file of `-P`.
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the file, whole from the first moment it can be seen. Whatever goes wrong is only worth a line.
    pub fn write(path: &Path) -> (PidFile, Vec<String>) {
        let mut warnings = Vec::new();
        if let Some(pid) = running_pid(path) {
            warnings.push(format!("WARNING: The pid file contained the following (running) pid: {pid}"));
        }
        let temporary = with_suffix(path, ".tmp");
        let (shown, shown_temporary) = (path.display(), temporary.display());
        if let Err(error) = fs::write(&temporary, format!("{}\n", std::process::id())) {
            let reason = reason(&error);
            warnings.push(format!("Could not open the pid file {shown_temporary} for writing: {reason}"));
        } else if let Err(error) = fs::rename(&temporary, path) {
            let reason = reason(&error);
            warnings.push(format!("Could not rename the pid file from {shown_temporary} to {shown}: {reason}"));
        }
        (PidFile { path: path.to_owned() }, warnings)
    }

    /// Removes the file; returns the line to print when that fails.
    #[must_use]
    pub fn remove(self) -> Option<String> {
        let error = fs::remove_file(&self.path).err()?;
        Some(format!("Could not remove the pid file {}: {}", self.path.display(), reason(&error)))
    }
}

/// The process that an older pid file names, if it runs.
fn running_pid(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next()?.trim_end().parse().ok().filter(|&pid| process::is_running(pid))
}

/// The path of a file beside another one.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Writes the bound ports (`net::port_lines`) where `MEMCACHED_PORT_FILENAME` wants them: appended to `<file>.lck`, which
/// is then renamed, so that whoever waits for the file sees all of them.
///
/// # Errors
/// The line to print.
pub fn write_ports(path: &Path, lines: &str) -> Result<(), String> {
    let temporary = with_suffix(path, ".lck");
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&temporary)?;
        file.write_all(lines.as_bytes())?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| format!("Failed to open \"{}\": {}", temporary.display(), reason(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for one test.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("memhold-process-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_pid_file_is_written_warned_about_and_removed() {
        let folder = folder("pid");
        let path = folder.join("server.pid");
        let (_, warnings) = PidFile::write(&path);
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert!(!folder.join("server.pid.tmp").exists());

        let (pid_file, warnings) = PidFile::write(&path);
        let running = format!("WARNING: The pid file contained the following (running) pid: {}", std::process::id());
        assert_eq!(warnings, [running]);
        assert_eq!(pid_file.remove(), None);
        assert!(!path.exists());
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_pid_file_that_cannot_be_written_is_only_a_warning() {
        let (pid_file, warnings) = PidFile::write(Path::new("/no/such/folder/x"));
        let expected = "Could not open the pid file /no/such/folder/x.tmp for writing: No such file or directory";
        assert_eq!(warnings, [expected]);
        let expected = "Could not remove the pid file /no/such/folder/x: No such file or directory";
        assert_eq!(pid_file.remove().as_deref(), Some(expected));
    }

    #[test]
    fn bound_ports_are_told_in_one_piece() {
        let folder = folder("ports");
        let path = folder.join("ports");
        write_ports(&path, "TCP INET: 42869\nTCP INET6: 33927\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "TCP INET: 42869\nTCP INET6: 33927\n");
        assert!(!folder.join("ports.lck").exists());
        fs::remove_dir_all(&folder).unwrap();
        let refused = write_ports(Path::new("/no/such/folder/p"), "TCP INET: 1\n").unwrap_err();
        assert_eq!(refused, "Failed to open \"/no/such/folder/p.lck\": No such file or directory");
    }

    #[test]
    fn too_few_connections_are_refused() {
        // Five for each of four workers, and the listener. Below 24 memcached 1.6.18 itself runs out of descriptors.
        let with = |maxconns| enough_connections(&Settings { maxconns, ..Settings::default() }, 1);
        assert!(with(23).is_ok());
        assert_eq!(with(22), Err(Exit::new(1, "Maxconns setting is too low, use -c to increase.")));
        assert!(with(1).is_err());
    }
}
