//! Restarts a service whose manager keeps descriptors, as `systemctl restart` does: connections go on in the next process, and what
//! that cannot go on with is closed, said, and in nobody's way. The manager is one of ours (`support::manager`); the same with
//! systemd itself is in `service/scenes.py`.

mod support;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Stdio};
use support::folder::Folder;
use support::manager::Manager;
use support::middle::{Middle, PATIENCE, expect};
use support::server::{comes_up, free_port, memhold, signal, wait_end};
use support::{Link, eventually_within};

/// A service, its process, and its manager.
struct Service {
    manager: Manager,
    folder: Folder,
    flags: Vec<String>,
    address: SocketAddr,
    process: Option<(Child, BufReader<ChildStderr>)>,
}

impl Service {
    fn start(name: &str, flags: &[&str]) -> Service {
        let folder = Folder::new(name);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let manager = Manager::new(&folder.0.join("notify"));
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut service = Service { manager, folder, flags, address, process: None };
        service.begin();
        service
    }

    fn memory(&self) -> PathBuf {
        self.folder.0.join("memory")
    }

    /// Begins a process, which serves when this returns.
    fn begin(&mut self) {
        let mut command = self.manager.command(memhold().as_os_str());
        command.args(["-u", "root", "-l", "127.0.0.1", "-m", "64", "-p", &self.address.port().to_string(), "-e"]);
        command.arg(self.memory()).args(&self.flags).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let errors = child.stderr.take().expect("it was asked for");
        self.process = Some((child, BufReader::new(errors)));
        assert!(eventually_within(PATIENCE, || self.manager.hears("READY=1")), "it serves");
    }

    /// Ends the process as managers do; returns what it has said.
    fn end(&mut self) -> String {
        let (mut child, mut errors) = self.process.take().expect("it runs");
        signal(child.id(), "TERM");
        let status = wait_end(&mut child, PATIENCE);
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        assert!(self.manager.hears("STOPPING=1"));
        let mut said = String::new();
        while errors.read_line(&mut said).is_ok_and(|n| n > 0) {}
        said
    }

    fn restart(&mut self) {
        self.end();
        assert!(self.manager.kept.is_some(), "it has left something: {:?}", self.manager.told);
        self.begin();
        assert!(self.manager.kept.is_none(), "it has told that it took it: {:?}", self.manager.told);
    }

    fn connect(&self) -> Link {
        Link::open(self.address).expect("the server accepts connections")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn clients_in_the_middle_of_anything_are_answered_as_if_nothing_had_been() {
    let mut service = Service::start("stored-middle", &["-t", "4"]);
    let mut middle = Middle::begin(service.address);
    for _ in 0..3 {
        service.restart();
        middle.ask_idle();
    }
    middle.finish();
    assert!(service.end().contains(" connections go on after a restart\n"));
}

#[test]
fn upgrades_in_place_and_restarts_take_turns() {
    let mut service = Service::start("stored-turns", &["-t", "2"]);
    let mut middle = Middle::begin(service.address);
    for _ in 0..2 {
        let pid = service.process.as_ref().expect("it runs").0.id();
        signal(pid, "USR2");
        assert!(eventually_within(PATIENCE, || service.manager.hears("READY=1")), "the new version serves");
        middle.ask_idle();
        service.restart();
        middle.ask_idle();
    }
    middle.finish();
}

#[test]
fn who_knocks_while_there_is_no_process_is_served_by_the_next() {
    let mut service = Service::start("stored-knock", &[]);
    service.end();
    let mut early = service.connect();
    early.send(b"mn\r\n");
    service.begin();
    expect(&mut early, b"MN\r\n");
}

#[test]
fn unix_sockets_and_their_clients_go_on_too() {
    let path = std::env::temp_dir().join(format!("memhold-stored-{}", std::process::id()));
    let mut service = Service::start("stored-unix", &["-s", &path.display().to_string()]);
    let mut client = UnixStream::connect(&path).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    std::io::Write::write_all(&mut client, b"set a 0 0 1\r\nx").expect("it is open");
    service.restart();
    std::io::Write::write_all(&mut client, b"\r\n").expect("it is open");
    let mut answer = [0; 8];
    std::io::Read::read_exact(&mut client, &mut answer).expect("it is answered");
    assert_eq!(&answer, b"STORED\r\n");
    drop(service);
    let _ = std::fs::remove_file(path);
}

#[test]
fn more_clients_than_the_next_process_may_have_go_on_all_the_same() {
    let mut service = Service::start("stored-many", &["-c", "700", "-t", "2"]);
    let mut clients: Vec<Link> = (0..600).map(|_| service.connect()).collect();
    // All are met before the end.
    clients.iter_mut().for_each(|client| client.send(b"mn\r\n"));
    clients.iter_mut().for_each(|client| expect(client, b"MN\r\n"));
    service.flags = ["-c", "40", "-t", "2"].map(str::to_owned).into();
    service.restart();
    clients.iter_mut().for_each(|client| client.send(b"mn\r\n"));
    clients.iter_mut().for_each(|client| expect(client, b"MN\r\n"));
}

#[test]
fn watchers_are_closed_in_order_and_so_is_everybody_when_nothing_is_kept() {
    let mut service = Service::start("stored-closed", &[]);
    let (mut watcher, mut client) = (service.connect(), service.connect());
    watcher.send(b"watch fetchers\r\n");
    expect(&mut watcher, b"OK\r\n");
    service.restart();
    assert!(watcher.reaches_end() && watcher.take().is_empty());
    client.send(b"mn\r\n");
    expect(&mut client, b"MN\r\n");
    service.end();
    service.manager.kept = None;
    assert!(client.reaches_end() && client.take().is_empty(), "the manager has closed it");
    assert!(Link::open(service.address).is_err(), "and the door");
    service.begin();
    assert_eq!(service.connect().ask(b"mn\r\n", b"\r\n"), b"MN\r\n");
}

#[test]
fn what_the_next_process_cannot_go_on_with_is_closed_and_it_starts() {
    let mut service = Service::start("stored-refused", &[]);
    let mut client = service.connect();
    service.end();
    // Others may come in than before.
    let users = service.folder.0.join("users");
    std::fs::write(&users, "ann:secret\n").expect("a file can be written");
    service.flags = vec!["-Y".to_owned(), users.display().to_string()];
    service.begin();
    assert!(service.manager.kept.is_none());
    assert!(client.reaches_end());
    assert!(service.end().contains("before are closed: the options say otherwise where or what to listen to\n"));
    service.flags.clear();
    let garbage = memhold::net::parcel::send(&[File::open("/dev/null").expect("it is there").as_fd()]);
    let garbage = garbage.expect("it can be sent").socket;
    for (descriptor, why) in [
        (garbage, "it is no handover"),
        (File::open("/dev/null").expect("it is there").into(), "Socket operation on non-socket"),
    ] {
        let name = service.manager.kept.take().expect("it has left something").0;
        service.manager.kept = Some((name, descriptor));
        service.begin();
        assert_eq!(service.connect().ask(b"mn\r\n", b"\r\n"), b"MN\r\n");
        let said = service.end();
        assert!(said.contains(&format!("the connections of the process before are closed: {why}\n")), "{said}");
    }
}

#[test]
fn other_ends_keep_nothing() {
    let mut service = Service::start("stored-others", &[]);
    let mut client = service.connect();
    let (mut child, _) = service.process.take().expect("it runs");
    signal(child.id(), "INT");
    assert!(wait_end(&mut child, PATIENCE).is_some());
    assert!(service.manager.hears("STOPPING=1") && service.manager.kept.is_none() && client.reaches_end());
}

#[test]
fn a_manager_that_says_it_keeps_nothing_is_given_nothing() {
    let folder = Folder::new("stored-none");
    let mut manager = Manager::new(&folder.0.join("notify"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut command = manager.command(memhold().as_os_str());
    command.env("FDSTORE", "0").args(["-u", "root", "-l", "127.0.0.1", "-p", &address.port().to_string()]);
    let mut child = command.spawn().expect("the binary starts");
    let mut client = comes_up(&mut child, address, PATIENCE).expect("it serves");
    signal(child.id(), "TERM");
    assert!(wait_end(&mut child, PATIENCE).is_some());
    assert!(manager.hears("STOPPING=1") && manager.kept.is_none() && client.reaches_end());
}
