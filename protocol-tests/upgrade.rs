//! Upgrades a running server in place (SIGUSR2) as an operator would: clients of every kind notice nothing but a pause, and a
//! new binary that cannot take over leaves the old one serving.

mod support;

use memhold::sys::process::is_root;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use support::middle::{Middle, PATIENCE as UPGRADE_PATIENCE, expect};
use support::ports::listens;
use support::server::{comes_up, free_port, memhold, signal, wait_end};
use support::{Link, PATIENCE, eventually_within};

/// Held while a program is written and while a process is begun: a child that is forked meanwhile has the file open for writing until it
/// becomes another program, and nobody can run the file until then.
static FORKS: Mutex<()> = Mutex::new(());

fn forks() -> MutexGuard<'static, ()> {
    FORKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send_signal(pid: u32) {
    let _alone = forks();
    signal(pid, "USR2");
}

/// Lines of standard error, and a bell for each.
type Lines = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A server that was started from a copy of the binary, in a folder of its own.
struct Running {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
    memory: PathBuf,
    lines: Lines,
    /// Lines seen so far.
    seen: usize,
}

impl Running {
    fn start(name: &str, flags: &[&str]) -> Running {
        Running::start_by(name, flags, |program| Command::new(program))
    }

    fn start_by(name: &str, flags: &[&str], begin: impl FnOnce(&Path) -> Command) -> Running {
        let folder = std::env::temp_dir().join(format!("memhold-upgrade-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::write(folder.join("users"), "ann:secret\n").expect("a file can be written");
        let shared = Path::new("/dev/shm");
        let memory = if shared.is_dir() { shared } else { &folder };
        let memory = memory.join(format!("memhold-upgrade-{name}-{}", std::process::id()));
        let program = folder.join("memhold");
        let port = free_port();
        let alone = forks();
        fs::copy(memhold(), &program).expect("the binary can be copied");
        let mut child = begin(&program)
            .args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string(), "-m", "64", "-e"])
            .arg(&memory)
            .args(flags.iter().map(|flag| flag.replace("FOLDER", &folder.display().to_string())))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(alone);
        let lines = Lines::default();
        let (errors, told) = (child.stderr.take().expect("it was asked for"), Arc::clone(&lines));
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                told.0.lock().expect("no panic").push(line);
                told.1.notify_all();
            }
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let running = Running { child, address, folder, memory, lines, seen: 0 };
        let deadline = Instant::now() + UPGRADE_PATIENCE;
        let socket = running.folder.join("socket");
        let id = running.child.id();
        while !listens(id, port) && UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "{} does not start: {:?}", program.display(), running.lines.0.lock());
            thread::sleep(Duration::from_millis(10));
        }
        running
    }

    fn program(&self) -> PathBuf {
        self.folder.join("memhold")
    }

    /// Puts another program in the place of the binary, as a package manager does.
    fn replace_program(&self, content: &[u8]) {
        let _alone = forks();
        let new = self.folder.join("new");
        fs::write(&new, content).expect("a file can be written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
        fs::rename(&new, self.program()).expect("it can be renamed");
    }

    /// Waits for the next line with `part` in it.
    fn wait_for(&mut self, part: &str) -> String {
        let deadline = Instant::now() + UPGRADE_PATIENCE;
        let mut lines = self.lines.0.lock().expect("no panic");
        loop {
            if let Some(at) = lines.iter().skip(self.seen).position(|line| line.contains(part)) {
                self.seen += at + 1;
                return lines[self.seen - 1].clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with {part:?}: {:?}", &lines[self.seen..]);
            lines = self.lines.1.wait_timeout(lines, left).expect("no panic").0;
        }
    }

    /// Asks for an upgrade and waits until it is done.
    fn upgrade(&mut self) {
        send_signal(self.child.id());
        self.wait_for("has taken over");
    }

    /// Asks for an upgrade that must not be; returns why.
    fn upgrade_refused(&mut self) -> String {
        send_signal(self.child.id());
        self.wait_for("no upgrade, this version goes on: ")
    }

    /// Asks for an upgrade to a program that says yes and is gone when it is needed, when clients are on their way; returns why there was
    /// none.
    fn upgrade_fails_late(&mut self) -> String {
        fs::rename(self.program(), self.folder.join("real")).expect("it can be renamed");
        let script = format!("#!/bin/sh\nrm '{0}/memhold'\nexec '{0}/real' \"$@\"\n", self.folder.display());
        self.replace_program(script.as_bytes());
        let why = self.upgrade_refused();
        fs::rename(self.folder.join("real"), self.program()).expect("it can be renamed");
        why
    }

    fn connect(&self) -> Link {
        Link::open(self.address).expect("the server accepts connections")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.memory);
    }
}

#[test]
fn clients_in_the_middle_of_anything_are_answered_as_if_nothing_had_been() {
    let mut running = Running::start("middle", &["-t", "4", "-v"]);
    let mut middle = Middle::begin(running.address);
    for round in 0..3 {
        send_signal(running.child.id());
        // Values that are on their way belong to nobody by then.
        running.wait_for("without a look at each");
        running.wait_for("has taken over");
        middle.ask_idle();
        assert!(wait_end(&mut running.child, Duration::ZERO).is_none(), "the same process after {}", round + 1);
    }
    middle.finish();
}

#[test]
fn clients_in_the_middle_of_anything_come_back_when_the_new_version_cannot_begin() {
    let mut running = Running::start("back", &["-t", "3"]);
    let mut middle = Middle::begin(running.address);
    for _ in 0..3 {
        assert!(running.upgrade_fails_late().contains("No such file or directory"));
        middle.ask_idle();
    }
    running.upgrade();
    middle.ask_idle();
    middle.finish();
}

#[test]
fn busy_clients_lose_nothing_get_nothing_twice_and_nothing_out_of_order() {
    const CLIENTS: usize = 6;
    let mut running = Running::start("busy", &["-t", "3"]);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (mut link, stop) = (running.connect(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut rounds = 0_u64;
                // How often the client counted, and what the server has counted must be the same to the end.
                link.send(format!("set count{client} 0 0 1\r\n0\r\n").as_bytes());
                expect(&mut link, b"STORED\r\n");
                while !stop.load(Ordering::Relaxed) {
                    let (mut said, mut expected) = (String::new(), String::new());
                    for step in 0..40 {
                        let number = rounds * 40 + step + 1;
                        let value = format!("{number}-").repeat(30);
                        said +=
                            &format!("incr count{client} 1\r\nset k{client} {number} 0 {}\r\n{value}\r\n", value.len());
                        said += &format!("get k{client} none k{client}\r\n");
                        let item = format!("VALUE k{client} {number} {}\r\n{value}\r\n", value.len());
                        expected += &format!("{number}\r\nSTORED\r\n{item}{item}END\r\n");
                    }
                    link.send(said.as_bytes());
                    expect(&mut link, expected.as_bytes());
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    for _ in 0..5 {
        running.upgrade();
        // Each upgrade finds them at work.
        let mut probe = running.connect();
        assert_eq!(probe.ask(b"mn\r\n", b"\r\n"), b"MN\r\n");
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().expect("no reply is lost, doubled or out of order") > 0);
    }
}

#[test]
fn other_kinds_of_sockets_and_open_doors_are_kept() {
    let mut running = Running::start("unix", &["-s", "FOLDER/socket", "-a", "700"]);
    let path = running.folder.join("socket");
    let mut one = UnixStream::connect(&path).expect("it listens");
    one.set_read_timeout(Some(UPGRADE_PATIENCE)).expect("a timeout");
    one.write_all(b"set a 0 0 1\r\nx").expect("it is open");
    running.upgrade();
    one.write_all(b"\r\n").expect("it is open");
    let mut answer = [0; 8];
    one.read_exact(&mut answer).expect("it is answered");
    assert_eq!(&answer, b"STORED\r\n");
    assert!(UnixStream::connect(&path).is_ok(), "the door is still open");
}

#[test]
fn who_has_come_in_stays_in_and_nobody_else_does() {
    let mut running = Running::start("users", &["-Y", "FOLDER/users", "-o", "idle_timeout=3600"]);
    let (mut ann, mut half, mut stranger) = (running.connect(), running.connect(), running.connect());
    ann.send(b"set x 0 0 10\r\nann secret\r\n");
    expect(&mut ann, b"STORED\r\n");
    half.send(b"set x 0 0 10\r\nann se");
    stranger.send(b"mn\r\nversion\r\n");
    running.upgrade();
    ann.send(b"mn\r\n");
    expect(&mut ann, b"MN\r\n");
    half.send(b"cret\r\nmn\r\n");
    expect(&mut half, b"STORED\r\nMN\r\n");
    assert!(stranger.reaches_end(), "a line that can be no set closes");
    let mut stranger = running.connect();
    stranger.send(b"get x");
    running.upgrade();
    stranger.send(b"y\r\n");
    expect(&mut stranger, b"CLIENT_ERROR unauthenticated\r\n");
}

#[test]
fn datagrams_are_answered_after_an_upgrade() {
    let port = free_port();
    let mut running = Running::start("udp", &["-U", &port.to_string()]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    running.upgrade();
    socket.send_to(b"\0\x07\0\0\0\x01\0\0mn\r\n", ("127.0.0.1", port)).expect("it is sent");
    let mut answer = [0; 64];
    let (length, _) = socket.recv_from(&mut answer).expect("it is answered");
    assert_eq!(&answer[..length], b"\0\x07\0\0\0\x01\0\0MN\r\n");
}

#[test]
fn new_options_count_and_wrong_ones_leave_the_old_version_serving() {
    let mut running = Running::start("options", &["--config", "-FOLDER/options"]);
    let config = running.folder.join("options");
    let ask = |running: &Running| {
        let told = running.connect().ask(b"stats settings\r\n", b"END\r\n");
        String::from_utf8_lossy(&told).into_owned()
    };
    let mut client = running.connect();
    client.send(b"set k 0 0 1\r\n");
    for (line, why) in [
        ("-t none", "the new binary says: "),
        ("--no-such-option", "the new binary says: "),
        ("-U 11211", "where or what to listen to"),
        ("-S", "the new binary says: -S needs a file"),
        ("-e /dev/null", "the new binary says: memory file /dev/null"),
        ("-f 1.5", "the new binary says: memory file"),
        ("-u no-such-user", "the new binary says: can't find the user no-such-user"),
        ("-u nobody", "Permission denied"),
    ] {
        if line.starts_with("-u") && !is_root() {
            continue;
        }
        fs::write(&config, line).expect("a file can be written");
        let told = running.upgrade_refused();
        assert!(told.contains(why), "{line}: {told}");
        assert!(ask(&running).contains("STAT num_threads 4\r\n"), "after {line}");
    }
    fs::write(&config, "-t 2\n-m 80\n-c 500\n").expect("a file can be written");
    let moving = PathBuf::from(format!("{}.moving", running.memory.display()));
    fs::write(&moving, "somebody's").expect("a file can be written");
    let told = running.upgrade_refused();
    fs::remove_file(&moving).expect("it is there");
    assert!(told.contains("in the way"), "{told}");
    running.upgrade();
    let told = ask(&running);
    for line in ["num_threads 2", "maxbytes 83886080", "maxconns 500"] {
        assert!(told.contains(&format!("STAT {line}\r\n")), "{line} in {told}");
    }
    client.send(b"x\r\nget k\r\n");
    expect(&mut client, b"STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n");
}

#[test]
fn a_new_binary_that_is_none_leaves_the_old_one_serving() {
    let mut running = Running::start("broken", &[]);
    let mut client = running.connect();
    client.send(b"set k 0 0 1\r\n");
    let good = fs::read(memhold()).expect("the binary");
    running.replace_program(b"no program at all");
    running.upgrade_refused();
    running.replace_program(b"#!/bin/sh\nexit 0\n");
    assert!(running.upgrade_refused().contains("cannot take over"));
    // Somebody whom it has started goes on, with all that it had.
    running.replace_program(b"#!/bin/sh\nsleep 300 &\necho out of order >&2\necho $! > ${0%/*}/child\nexit 3\n");
    assert!(running.upgrade_refused().contains("the new binary says: out of order"));
    let child = fs::read_to_string(running.folder.join("child")).expect("it has told whom");
    signal(child.trim().parse().expect("a number"), "KILL");
    fs::remove_file(running.program()).expect("it is there");
    assert!(running.upgrade_refused().contains("No such file or directory"));
    running.replace_program(&good);
    assert!(running.upgrade_fails_late().contains("No such file or directory"));
    running.replace_program(b"#!/bin/sh\nls -l /proc/$$/fd | grep -c 'socket:\\|memhold-upgrade' >&2\nexit 1\n");
    let told = running.upgrade_refused();
    assert!(told.ends_with("says: 1"), "of all that was open for it, the next one has its own script: {told}");
    client.send(b"x\r\nget k\r\n");
    expect(&mut client, b"STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n");
    let told =
        String::from_utf8_lossy(&client.ask(b"stats\r\nstats conns\r\n", b":state conn_parse_cmd\r\n")).into_owned();
    assert!(told.contains("STAT curr_connections 1\r\n"), "{told}");
    running.replace_program(&good);
    running.upgrade();
    client.take();
    client.send(b"version\r\n");
    assert!(client.read_until(|bytes| bytes.ends_with(b"VERSION 1.6.45\r\n")));
}

#[test]
fn a_binary_behind_a_link_is_upgraded_when_the_link_leads_elsewhere() {
    // By somebody who does not want to hear of children, too.
    let mut running = Running::start_by("link", &[], |program| {
        let folder = program.parent().expect("it has one");
        fs::rename(program, folder.join("old")).expect("it can be renamed");
        std::os::unix::fs::symlink("old", program).expect("a link");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""]).arg(program);
        shell
    });
    let runs = |running: &Running| fs::read_link(format!("/proc/{}/exe", running.child.id())).expect("it runs");
    assert!(runs(&running).ends_with("old"));
    let alone = forks();
    fs::copy(memhold(), running.folder.join("new")).expect("the binary can be copied");
    drop(alone);
    std::os::unix::fs::symlink("new", running.folder.join("link")).expect("a link");
    fs::rename(running.folder.join("link"), running.program()).expect("it can be renamed");
    running.upgrade();
    assert!(runs(&running).ends_with("new"), "{}", runs(&running).display());
}

#[test]
fn a_new_binary_that_never_answers_does_not_stand_in_the_way_of_the_end() {
    let mut running = Running::start("silent", &[]);
    let asked = running.folder.join("asked");
    running.replace_program(format!("#!/bin/sh\necho > {}\nexec sleep 300\n", asked.display()).as_bytes());
    send_signal(running.child.id());
    assert!(eventually_within(UPGRADE_PATIENCE, || asked.exists()), "it is asked");
    signal(running.child.id(), "TERM");
    // Much less than the new one is given to answer.
    let ended = wait_end(&mut running.child, Duration::from_secs(15));
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}

#[test]
fn without_kept_memory_there_is_no_upgrade_and_no_item_is_lost() {
    let port = free_port();
    let alone = forks();
    let child = Command::new(memhold())
        .args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(alone);
    let mut server = Ended(child);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut link = comes_up(&mut server.0, address, UPGRADE_PATIENCE).expect("it starts");
    assert_eq!(link.ask(b"set k 0 0 1\r\nx\r\n", b"\r\n"), b"STORED\r\n");
    send_signal(server.0.id());
    let mut line = String::new();
    BufReader::new(server.0.stderr.take().expect("it was asked for")).read_line(&mut line).expect("a line");
    assert!(line.starts_with("no upgrade, this version goes on: items are in memory of the process alone"), "{line}");
    assert_eq!(link.ask(b"get k\r\n", b"END\r\n"), b"VALUE k 0 1\r\nx\r\nEND\r\n");
}

/// Killed at the end of the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
