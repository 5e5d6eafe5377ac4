//! `-S` and `-Y` as an operator meets them: files, messages, reload, and a log that holds no password (section 7 of the
//! reference).

mod support;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use support::folder::Folder;
use support::ports::listens;
use support::server::{self, Daemon, comes_up, free_port, signal, wait_end};
use support::{Link, PATIENCE, escaped, eventually};

/// A server that wants passwords, and whose words are kept.
struct Guarded {
    child: Child,
    address: SocketAddr,
}

impl Guarded {
    fn start(flags: &[&str], environment: &[(&str, &str)]) -> Guarded {
        let port = free_port();
        let mut child = Command::new(server::memhold())
            .args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()])
            .args(flags)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let first = comes_up(&mut child, address, PATIENCE);
        let guarded = Guarded { child, address };
        assert!(first.is_some(), "the server comes up");
        guarded
    }

    fn ask(&self, bytes: &[u8], answered: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
        let mut link = Link::open(self.address).expect("the server accepts connections");
        link.send(bytes);
        link.read_until(answered);
        link.take()
    }

    /// Whether the text protocol lets them in.
    fn admits_text(&self, user: &str, password: &str) -> bool {
        let token = format!("{user} {password}");
        let request = format!("set auth 0 0 {}\r\n{token}\r\n", token.len());
        let answer = self.ask(request.as_bytes(), |bytes| bytes.ends_with(b"\r\n"));
        assert!([&b"STORED\r\n"[..], b"CLIENT_ERROR authentication failure\r\n"].contains(&answer.as_slice()));
        answer == b"STORED\r\n"
    }

    /// Whether SASL does.
    fn admits_sasl(&self, user: &str, password: &str) -> bool {
        let data = format!("\0{user}\0{password}");
        let mut frame = vec![0x80, 0x21, 0, 5, 0, 0, 0, 0];
        frame.extend((5 + data.len() as u32).to_be_bytes());
        frame.extend([0; 12]);
        frame.extend([b"PLAIN", data.as_bytes()].concat());
        let answer = self.ask(&frame, |bytes| bytes.len() >= 24 + 13);
        assert!(answer.len() == 24 + 13, "{}", escaped(&answer));
        answer.ends_with(b"Authenticated") && answer[6..8] == [0, 0]
    }

    /// Waits until `done` holds, which it must before patience ends.
    fn becomes(&self, what: &str, mut done: impl FnMut(&Guarded) -> bool) {
        assert!(eventually(|| done(self)), "{what}");
    }

    /// Everything it has said, once it has ended.
    fn stop(mut self) -> String {
        signal(self.child.id(), "TERM");
        assert!(wait_end(&mut self.child, PATIENCE).is_some(), "it ends");
        let mut said = String::new();
        if let (Some(mut errors), Some(mut output)) = (self.child.stderr.take(), self.child.stdout.take()) {
            let _ = errors.read_to_string(&mut said);
            let _ = output.read_to_string(&mut said);
        }
        said
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code and what is said of a start that must fail.
fn refused(flags: &[&str]) -> (Option<i32>, String) {
    let port = free_port().to_string();
    let mut child = Command::new(server::memhold())
        .args(["-u", "root", "-p", &port])
        .args(flags)
        .env_remove("MEMCACHED_SASL_PWDB")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    if wait_end(&mut child, PATIENCE).is_none() {
        let _ = child.kill();
    }
    let output = child.wait_with_output().expect("its output can be read");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start() {
    let folder = Folder::new("authentication-files");
    let good = folder.write("good", "ann:secret");
    let bad = folder.write("bad", "ann:secret\nno colon\n");
    let missing = folder.0.join("missing").display().to_string();
    let no_file = "No such file or directory";
    for (flags, code, text) in [
        (
            &["-Y", &missing][..],
            1,
            format!("Could not open authfile [{missing}] for reading, error {no_file}: {no_file}"),
        ),
        (&["-Y", &bad], 1, format!("Authfile [{bad}] has a malformed entry. Should be 'user:password'")),
        (
            &["-S"],
            1,
            "-S needs a file of user:password lines: set MEMCACHED_SASL_PWDB or -o sasl_pwdb=<file>".to_owned(),
        ),
        (
            &["-S", "-o", &format!("sasl_pwdb={missing}")],
            1,
            format!("Could not open SASL password file [{missing}]: {no_file}"),
        ),
        (
            &["-Y", &good, "-l", "proto[binary]:127.0.0.1"],
            71,
            "ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.\n\
             failed to listen on one of interface(s) proto[binary]:127.0.0.1: Invalid argument"
                .to_owned(),
        ),
        (
            &["-S", "-o", &format!("sasl_pwdb={good}"), "-l", "proto[ascii]:127.0.0.1"],
            71,
            "ERROR: You cannot allow the ASCII protocol while using SASL.\n\
             failed to listen on one of interface(s) proto[ascii]:127.0.0.1: Invalid argument"
                .to_owned(),
        ),
    ] {
        assert_eq!(refused(flags), (Some(code), text), "for {flags:?}");
    }
}

#[test]
fn y_reads_its_file_again_at_hup_and_keeps_the_old_entries_when_it_is_bad() {
    let folder = Folder::new("authentication-hup");
    let file = folder.write("users", "ann:secret\nbob:a:b");
    let server = Guarded::start(&["-Y", &file], &[]);
    assert!(server.admits_text("ann", "secret") && server.admits_text("bob", "a:b"));
    assert!(!server.admits_text("ann", "a:b") && !server.admits_text("eve", "apple"));
    folder.write("users", "eve:apple\n");
    signal(server.child.id(), "HUP");
    server.becomes("the new entry counts", |server| server.admits_text("eve", "apple"));
    assert!(!server.admits_text("ann", "secret"), "the old one is gone");
    folder.write("users", "nobody\n");
    signal(server.child.id(), "HUP");
    folder.write("users", "eve:pear\n");
    signal(server.child.id(), "HUP");
    server.becomes("a good file behind a bad one counts", |server| server.admits_text("eve", "pear"));
    let lines: String = (0..9).map(|number| format!("user{number}:x\n")).collect();
    folder.write("users", &lines);
    signal(server.child.id(), "HUP");
    server.becomes("the eighth entry counts", |server| server.admits_text("user7", "x"));
    assert!(!server.admits_text("user8", "x"), "the ninth does not");
}

#[test]
fn a_daemon_finds_its_file_again_although_it_has_changed_its_folder() {
    let folder = Folder::new("authentication-daemon");
    folder.write("users", "ann:secret\n");
    let daemon = Daemon(folder.0.join("pid"));
    let port = free_port();
    let child = Command::new(server::memhold())
        .args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string(), "-d", "-Y", "users", "-P"])
        .arg(&daemon.0)
        .current_dir(&folder.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary can be run");
    let server = Guarded { child, address: (Ipv4Addr::LOCALHOST, port).into() };
    server.becomes("it has written its pid file", |_| daemon.pid().is_some());
    let pid = daemon.pid().expect("it was there");
    server.becomes("it serves", |server| listens(pid, port) && Link::open(server.address).is_ok());
    assert!(server.admits_text("ann", "secret"));
    folder.write("users", "eve:apple\n");
    signal(pid, "HUP");
    server.becomes("the new entry counts", |server| server.admits_text("eve", "apple"));
    assert!(!server.admits_text("ann", "secret"), "the old one is gone");
}

#[test]
fn sasl_reads_its_file_again_whenever_it_changes() {
    let folder = Folder::new("authentication-pwdb");
    let file = folder.write("pwdb", "ann:secret:further:fields\nann:second\nno colon\nbob:a:b\r\n");
    let server = Guarded::start(&["-S"], &[("MEMCACHED_SASL_PWDB", &file)]);
    for (user, password, right) in [
        ("ann", "secret", true),
        ("ann", "secret:further", true),
        ("ann", "secre", false),
        ("ann", "second", false),
        ("bob", "a", true),
        ("bob", "a:b", true),
        ("bob", "", false),
        ("no colon", "", false),
    ] {
        assert_eq!(server.admits_sasl(user, password), right, "{user} {password}");
    }
    folder.write("pwdb", "eve:apple\n");
    server.becomes("the new entry counts", |server| server.admits_sasl("eve", "apple"));
    assert!(!server.admits_sasl("ann", "secret"));
}

#[test]
fn the_option_names_the_file_before_the_environment_does() {
    let folder = Folder::new("authentication-option");
    let file = folder.write("option", "ann:secret\n");
    let other = folder.write("other", "bob:other\n");
    let option = format!("sasl_pwdb={file}");
    let server = Guarded::start(&["-S", "-B", "binary", "-o", &option], &[("MEMCACHED_SASL_PWDB", &other)]);
    assert!(server.admits_sasl("ann", "secret") && !server.admits_sasl("bob", "other"));
}

#[test]
fn nobody_finds_a_password_in_the_log() {
    let folder = Folder::new("authentication-log");
    let file = folder.write("users", "ann:s3cr3t-word\n");
    let environment = [("MEMCACHED_SASL_PWDB", file.as_str())];
    for (flags, text) in [(&["-vvv", "-Y", &file][..], true), (&["-vvv", "-S"], false)] {
        let server = Guarded::start(flags, &environment);
        for password in ["s3cr3t-word", "s3cr3t-wrong"] {
            let admitted = if text { server.admits_text("ann", password) } else { server.admits_sasl("ann", password) };
            assert_eq!(admitted, password == "s3cr3t-word");
        }
        signal(server.child.id(), "HUP");
        let said = server.stop();
        assert!(said.contains("new client connection"), "it does log: {said}");
        assert!(!said.contains("s3cr3t") && !said.contains("ann"), "{said}");
    }
}

#[test]
fn a_listener_that_would_negotiate_speaks_only_what_has_the_authentication() {
    let folder = Folder::new("authentication-negotiating");
    let file = folder.write("users", "ann:secret\n");
    let port = free_port();
    let element = format!("proto[negotiating]:127.0.0.1:{port}");
    let mut server = Guarded::start(&["-Y", &file, "-l", &element], &[]);
    server.address = (Ipv4Addr::LOCALHOST, port).into();
    assert!(server.admits_text("ann", "secret"));
    let version = [&[0x80, 0x0b][..], &[0; 22], b"\n"].concat();
    assert_eq!(escaped(&server.ask(&version, |bytes| bytes.ends_with(b"\r\n"))), r"CLIENT_ERROR unauthenticated\r\n");
}
