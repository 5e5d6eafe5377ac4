//! Starts servers on a memory file as an operator would: what is there again, what is refused and how it is told, whose file it is.
//!
//! Random ends under load are `torture/`; damage bit by bit is tested where the arena is (`src/store/restart/tests.rs`).

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::{Command, Stdio};
use support::folder::Folder;
use support::server::{self, Server};

fn start(file: &str, flags: &[&str]) -> Server {
    Server::start(&server::memhold(), &[&["-e", file], flags].concat())
}

/// Starts it where it will not: exit code and standard error.
fn refused(file: &str, flags: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(server::memhold())
        .args(["-u", "root", "-l", "127.0.0.1", "-p", &server::free_port().to_string(), "-e", file])
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("the binary can be run");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn ask(server: &Server, command: &str, ending: &str) -> String {
    let answer = server.connect().ask(command.as_bytes(), ending.as_bytes());
    String::from_utf8_lossy(&answer).into_owned()
}

fn end(mut server: Server, signal: &str) {
    server.signal(signal);
    assert!(server.wait_end().is_some(), "SIG{signal} ends it");
}

#[test]
fn every_end_keeps_value_flags_cas_time_and_marks() {
    let folder = Folder::in_memory("ends");
    let mut cas = String::new();
    for signal in ["KILL", "TERM", "INT", "USR1", "ABRT"] {
        let server = start(&folder.path("memory"), &[]);
        if cas.is_empty() {
            assert_eq!(ask(&server, "set k 7 5000 5\r\nvalue\r\n", "STORED\r\n"), "STORED\r\n");
            assert_eq!(ask(&server, "set gone 0 0 1\r\nx\r\ndelete gone\r\n", "DELETED\r\n"), "STORED\r\nDELETED\r\n");
            assert_eq!(ask(&server, "set s 0 0 1\r\nx\r\nmd s I\r\n", "HD\r\n"), "STORED\r\nHD\r\n");
            cas = ask(&server, "mg k c\r\n", "\r\n");
        }
        assert_eq!(ask(&server, "mg k c\r\n", "\r\n"), cas);
        let found = ask(&server, "mg k v f t\r\n", "value\r\n");
        let left: u32 = found.split(['t', '\r']).nth(1).and_then(|left| left.parse().ok()).unwrap_or(0);
        assert!(found.starts_with("VA 5 f7 t") && (4900..=5000).contains(&left), "{found}");
        assert_eq!(ask(&server, "mg gone v\r\n", "\r\n"), "EN\r\n");
        assert!(ask(&server, "mg s\r\n", "\r\n").contains(" X"), "it is stale");
        end(server, signal);
    }
}

#[test]
fn two_starts_within_a_second_keep_everything() {
    let folder = Folder::in_memory("quick");
    for turn in 0..6 {
        let server = start(&folder.path("memory"), &[]);
        let before: String = (0..turn).map(|number| format!("mg {number} v\r\n")).collect();
        let expected: String = (0..turn).map(|_| "VA 1\r\nx\r\n").collect();
        assert_eq!(ask(&server, &format!("{before}mn\r\n"), "MN\r\n"), format!("{expected}MN\r\n"));
        assert_eq!(ask(&server, &format!("set {turn} 0 0 1\r\nx\r\n"), "\r\n"), "STORED\r\n");
        end(server, if turn % 2 == 0 { "TERM" } else { "KILL" });
    }
}

#[test]
fn two_servers_never_have_one_file() {
    let folder = Folder::in_memory("twice");
    let first = start(&folder.path("memory"), &[]);
    let (code, said) = refused(&folder.path("memory"), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("another server uses it"), "{said}");
    assert_eq!(ask(&first, "mn\r\n", "\r\n"), "MN\r\n");
}

#[test]
fn other_options_keep_the_items_and_a_file_of_their_own_layout() {
    let folder = Folder::in_memory("options");
    let flags: [&[&str]; 8] = [
        &["-m", "64"],
        &["-m", "80", "-t", "1", "-C"],
        &["-m", "64", "-I", "2k", "-o", "slab_chunk_max=2"],
        &["-m", "64", "-f", "1.1"],
        &["-m", "100", "-n", "60"],
        &["-m", "2048"],
        &["-m", "64", "-M"],
        &["-m", "64"],
    ];
    for (turn, flags) in flags.iter().enumerate() {
        let server = start(&folder.path("memory"), flags);
        for number in 0..turn {
            assert_eq!(
                ask(&server, &format!("get {number}\r\n"), "END\r\n"),
                format!("VALUE {number} 0 1\r\nx\r\nEND\r\n")
            );
        }
        assert_eq!(ask(&server, &format!("set {turn} 0 0 1\r\nx\r\n"), "\r\n"), "STORED\r\n");
        end(server, if turn % 2 == 0 { "KILL" } else { "TERM" });
        assert_eq!(folder.names(), ["memory"], "nothing else is left");
    }
}

#[test]
fn a_link_to_the_file_stays_one_whatever_the_file_becomes() {
    let (folder, links) = (Folder::in_memory("linked"), Folder::new("links"));
    std::os::unix::fs::symlink(folder.path("memory"), links.path("link")).expect("a link");
    let server = start(&links.path("link"), &["-m", "64"]);
    assert_eq!(ask(&server, "set k 0 0 1\r\nx\r\n", "\r\n"), "STORED\r\n");
    end(server, "TERM");
    let server = start(&links.path("link"), &["-m", "64", "-f", "1.1"]);
    assert_eq!(ask(&server, "get k\r\n", "END\r\n"), "VALUE k 0 1\r\nx\r\nEND\r\n");
    end(server, "TERM");
    assert_eq!((folder.names(), links.names()), (vec!["memory".to_owned()], vec!["link".to_owned()]), "after a move");
    fs::write(folder.path("memory"), "garbage").expect("a file");
    end(start(&links.path("link"), &["-o", "memory_file_unfit=set_aside"]), "TERM");
    assert_eq!((folder.names().len(), links.names()), (2, vec!["link".to_owned()]), "after it was set aside");
}

#[test]
fn what_a_move_left_that_died_is_removed_and_anything_else_is_not() {
    let folder = Folder::in_memory("moving");
    end(start(&folder.path("memory"), &[]), "TERM");
    let moving = folder.0.join("memory.moving");
    fs::copy(folder.path("memory"), &moving).expect("a copy");
    end(start(&folder.path("memory"), &[]), "TERM");
    assert_eq!(folder.names(), ["memory"]);
    fs::write(&moving, "somebody's").expect("a file");
    let (code, said) = refused(&folder.path("memory"), &[]);
    assert!(code == Some(1) && said.contains("in the way"), "{said}");
    assert_eq!(fs::read(&moving).ok().as_deref(), Some(&b"somebody's"[..]));
}

#[test]
fn an_unfit_file_is_refused_with_its_reason_and_stays_as_it_was() {
    let folder = Folder::in_memory("unfit");
    let server = start(&folder.path("memory"), &[]);
    let whole = fs::metadata(folder.path("memory")).expect("it is there").len();
    end(server, "TERM");
    type Damage = fn(&File);
    let damages: [(&str, Damage); 5] = [
        ("it is not an arena of memhold", |file| file.write_all_at(b"garbage!", 0).unwrap_or_default()),
        ("its layout is version 99", |file| file.write_all_at(&99u32.to_ne_bytes(), 12).unwrap_or_default()),
        ("other byte order", |file| {
            file.write_all_at(&0x0a0b_0c0du32.swap_bytes().to_ne_bytes(), 8).unwrap_or_default()
        }),
        ("its superblock is damaged", |file| file.write_all_at(&[1], 200).unwrap_or_default()),
        ("it is truncated", |file| file.set_len(1_000_000).unwrap_or_default()),
    ];
    for (reason, damage) in damages {
        let _ = fs::remove_file(folder.path("memory"));
        end(start(&folder.path("memory"), &[]), "TERM");
        damage(&OpenOptions::new().write(true).open(folder.path("memory")).expect("it is there"));
        let before = fs::metadata(folder.path("memory")).map(|facts| (facts.len(), facts.ino(), facts.mtime())).ok();
        let (code, said) = refused(&folder.path("memory"), &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(reason) && said.contains(&folder.path("memory")), "{said}");
        let after = fs::metadata(folder.path("memory")).map(|facts| (facts.len(), facts.ino(), facts.mtime())).ok();
        assert_eq!(before, after, "{reason}");
    }
    let server = start(&folder.path("memory"), &["-o", "memory_file_unfit=set_aside"]);
    assert_eq!(ask(&server, "get a\r\n", "\r\n"), "END\r\n");
    let names = folder.names();
    assert!(names.len() == 2 && names[1].starts_with("memory.unfit-"), "{names:?}");
    assert_eq!(fs::metadata(folder.0.join(&names[1])).map(|facts| facts.len()).ok(), Some(1_000_000));
    assert_eq!(fs::metadata(folder.path("memory")).map(|facts| facts.len()).ok(), Some(whole));
}

#[test]
fn a_lack_of_room_is_told_at_the_start() {
    let folder = Folder::in_memory("room");
    let (code, said) = refused(&folder.path("memory"), &["-m", "8000000"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("megabytes are needed"), "{said}");
}

#[test]
fn a_file_has_all_its_blocks_before_the_first_item() {
    let folder = Folder::in_memory("blocks");
    let server = start(&folder.path("memory"), &["-m", "32"]);
    let facts = fs::metadata(folder.path("memory")).expect("it is there");
    assert!(facts.blocks() * 512 >= 32 << 20, "{} blocks", facts.blocks());
    assert_eq!(facts.mode() & 0o777, 0o600);
    assert!(ask(&server, "cache_memlimit 16\r\n", "\r\n").starts_with("MEMLIMIT_ADJUST_FAILED"));
}

#[test]
fn a_service_keeps_its_items_in_its_runtime_directory() {
    let folder = Folder::in_memory("service");
    let wrapper = folder.0.join("server");
    let binary = server::memhold();
    let directory = folder.0.join("run");
    fs::create_dir(&directory).expect("a folder");
    let script = format!("#!/bin/sh\nRUNTIME_DIRECTORY={} exec {} \"$@\"\n", directory.display(), binary.display());
    fs::write(&wrapper, script).expect("a script");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&wrapper, executable).expect("its owner may");
    let server = Server::start(&wrapper, &[]);
    assert_eq!(ask(&server, "set k 0 0 1\r\nx\r\n", "\r\n"), "STORED\r\n");
    end(server, "TERM");
    let server = Server::start(&wrapper, &[]);
    assert_eq!(ask(&server, "get k\r\n", "END\r\n"), "VALUE k 0 1\r\nx\r\nEND\r\n");
    end(server, "TERM");
    let server = Server::start(&wrapper, &["-o", "no_keep_memory"]);
    assert_eq!(ask(&server, "get k\r\n", "END\r\n"), "END\r\n");
}
