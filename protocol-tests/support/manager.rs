//! A service manager that keeps descriptors, as far as a server can tell it from systemd: a notify socket, and a store whose content
//! the next process is started with.

use memhold::sys::socket;
use sendfd::RecvWithFd as _;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Begins a program with a descriptor of number 3, which the environment says is for this very process.
const WITH_DESCRIPTOR: &str = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@""#;

/// The manager of one service.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    /// What it keeps, and under which name.
    pub kept: Option<(String, OwnedFd)>,
    /// What it was told.
    pub told: Vec<String>,
}

impl Manager {
    /// One whose socket is `path`.
    pub fn new(path: &Path) -> Manager {
        let _ = std::fs::remove_file(path);
        let socket = UnixDatagram::bind(path).expect("a socket can be bound");
        socket.set_nonblocking(true).expect("it can be asked");
        Manager { socket, path: path.to_owned(), kept: None, told: Vec::new() }
    }

    /// A command that begins the service's process, with what is kept. The manager goes on keeping it.
    pub fn command(&self, program: &OsStr) -> Command {
        let mut command;
        match &self.kept {
            None => {
                command = Command::new(program);
                command.stdin(Stdio::null());
            }
            Some((name, fd)) => {
                command = Command::new("/bin/sh");
                command.args(["-c", WITH_DESCRIPTOR, "sh"]).arg(program).env("LISTEN_FDNAMES", name);
                command.stdin(fd.try_clone().expect("a descriptor can be had"));
            }
        }
        command.env("NOTIFY_SOCKET", &self.path);
        command
    }

    /// Listens to what the service has said since it was last listened to; whether `line` is among that.
    pub fn hears(&mut self, line: &str) -> bool {
        let before = self.told.len();
        self.listen();
        self.told[before..].iter().any(|said| said.lines().any(|said| said == line))
    }

    fn listen(&mut self) {
        let (mut text, mut fds) = ([0; 4096], [-1; 4]);
        while let Ok((len, count)) = self.socket.recv_with_fd(&mut text, &mut fds) {
            let said = String::from_utf8_lossy(&text[..len]).into_owned();
            let is = |line: &str| said.lines().any(|said| said == line);
            let name = said.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
            for &fd in &fds[..count] {
                let fd = socket::adopt(fd).expect("it was received");
                if is("FDSTORE=1") {
                    assert!(
                        is("FDPOLL=0"),
                        "systemd would look at it, find the other end closed, and forget it: {said}"
                    );
                    self.kept = Some((name.clone(), fd));
                }
            }
            if is("FDSTOREREMOVE=1") {
                self.kept.take_if(|(kept, _)| *kept == name);
            }
            self.told.push(said);
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
