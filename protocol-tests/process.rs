//! Starts the binary as an operator would: flags, messages and exit codes, sockets, signals, pid file, user, limits.
//!
//! The rows come from sections 9, 10, 15 and 16 of the reference. `MEMHOLD_TEST_BINARY` runs them against another binary.

mod support;

use memhold::sys::process::is_root;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::folder::Folder;
use support::ports::listens;
use support::server::{self, Server, free_port, wait_end};
use support::{Link, PATIENCE, eventually, unix_connection};

// --- flags that are refused ------------------------------------------------------------------------------------------

/// Flags, exit code and what standard error holds.
type Refusal = (&'static [&'static str], i32, &'static str);

const REFUSED_FLAGS: &[Refusal] = &[
    (&["-p", "70000"], 64, "ERROR: Invalid port number 70000."),
    (&["-c", "0"], 1, "Maximum connections must be greater than 0"),
    (
        &["-c", "2147483647"],
        71,
        "failed to set rlimit for open files. Try starting as root or requesting smaller maxconns value.",
    ),
    (&["-f", "1.0"], 1, "Factor must be greater than 1"),
    (&["-n", "0"], 1, "Chunk size must be greater than 0"),
    (&["-n", "abc"], 1, "Chunk size must be greater than 0"),
    (&["-D", ""], 1, "No delimiter specified"),
    (&["-t", "0"], 1, "Number of threads must be greater than 0"),
    (&["-N", "0"], 1, "Maximum number of NAPI IDs must be greater than 0"),
    (&["-N", "5"], 64, "Number of napi_ids(5) cannot be greater than number of threads(4)"),
    (&["-R", "0"], 1, "Number of requests per event must be greater than 0"),
    (&["-B", "morse"], 64, "Invalid value for binding protocol: morse"),
    (&["-I", "1000"], 64, "Item max size cannot be less than 1024 bytes."),
    (&["-m", "4096", "-I", "1025m"], 64, "Cannot set item size limit higher than a gigabyte."),
    (&["-m", "1"], 64, "Cannot set item size limit higher than 1/2 of memory max."),
    (&["-I", "40m"], 64, "Cannot set item size limit higher than 1/2 of memory max."),
    (&["-u", "nobody-of-this-name"], 67, "can't find the user nobody-of-this-name to switch to"),
    (&["--nonsense"], 1, "Illegal argument \"?\""),
];

const REFUSED_EXTENDED: &[(&str, i32, &str)] = &[
    ("bogus", 1, "Illegal suboption \"bogus\""),
    ("hashpower", 1, "Missing numeric argument for hashpower"),
    ("hashpower=5", 1, "Initial hashtable multiplier of 5 is too low"),
    ("hashpower=40", 1, "Initial hashtable multiplier of 40 is too high"),
    ("slab_automove=3", 1, "slab_automove must be between 0 and 2"),
    ("slab_automove_ratio", 1, "Missing slab_automove_ratio argument"),
    ("slab_automove_ratio=2", 1, "slab_automove_ratio must be > 0 and < 1"),
    ("slab_automove_window=2", 1, "slab_automove_window must be > 2 and < 1800"),
    ("tail_repair_time", 1, "Missing numeric argument for tail_repair_time"),
    ("tail_repair_time=5", 1, "Cannot set tail_repair_time to less than 10 seconds"),
    ("hash_algorithm", 1, "Missing hash_algorithm argument"),
    ("hash_algorithm=md5", 1, "Unknown hash_algorithm option (jenkins, murmur3, xxh3)"),
    ("lru_crawler_sleep", 1, "Missing lru_crawler_sleep value"),
    ("lru_crawler_sleep=2000000", 1, "LRU crawler sleep must be between 0 and 1 second"),
    ("lru_crawler_tocrawl", 1, "Missing lru_crawler_tocrawl value"),
    ("lru_crawler_tocrawl=abc", 1, "lru_crawler_tocrawl takes a numeric 32bit value"),
    ("hot_lru_pct=90", 1, "hot_lru_pct must be > 1 and < 80"),
    ("warm_lru_pct=0", 1, "warm_lru_pct must be > 1 and < 80"),
    ("hot_lru_pct=50,warm_lru_pct=40", 64, "hot_lru_pct + warm_lru_pct cannot be more than 80% combined"),
    ("hot_max_factor=0", 1, "hot_max_factor must be > 0"),
    ("temporary_ttl=60,no_lru_maintainer", 64, "temporary_ttl requires lru_maintainer to be enabled"),
    ("slab_sizes=100-90", 64, "slab size 90 cannot be lower than or equal to a previous class size"),
    ("slab_sizes=100-104", 64, "slab size 104 must be at least 8 bytes larger than previous class"),
    ("slab_sizes=10", 64, "slab size 10 is out of valid range"),
    ("slab_chunk_max=2000000", 1, "slab_chunk_max must be specified in kilobytes."),
    ("watcher_logbuf_size=x", 1, "could not parse argument to watcher_logbuf_size"),
    ("read_buf_mem_limit", 1, "Missing read_buf_mem_limit argument"),
];

#[test]
fn refused_flags_say_why_and_exit_as_memcached_does() {
    expect_refusals(REFUSED_FLAGS);
}

fn expect_refusals(refusals: &[Refusal]) {
    let wrong: Vec<String> = refusals
        .iter()
        .filter_map(|(flags, code, message)| refusal_problem(&[&["-u", "root"], *flags].concat(), *code, message))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refused_extended_options_say_why() {
    let wrong: Vec<String> = REFUSED_EXTENDED
        .iter()
        .filter_map(|(option, code, message)| refusal_problem(&["-u", "root", "-o", option], *code, message))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn root_must_name_a_user() {
    if is_root() {
        expect_refusal(&["-p", "0"], 64, "must add '-u root' to start as root");
    }
}

fn expect_refusal(flags: &[&str], code: i32, message: &str) {
    assert_eq!(refusal_problem(flags, code, message), None);
}

/// What is wrong with how the binary refuses `flags`, if anything.
fn refusal_problem(flags: &[&str], code: i32, message: &str) -> Option<String> {
    let output = run(flags);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains(message) && output.status.code() == Some(code) {
        return None;
    }
    Some(format!("{flags:?} should exit {code} saying {message:?}; {} and said {said:?}", output.status))
}

#[test]
fn help_license_and_version_print_and_exit() {
    let version = run(&["-V"]);
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("memcached 1.6."), "{version:?}");
    assert_eq!(version.status.code(), Some(0));
    let help = run(&["-h"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(text.starts_with("memcached 1.6."), "{text}");
    for word in
        ["--port", "--unix-socket", "--memory-limit", "--conn-limit", "--max-item-size", "--pidfile", "slab_automove"]
    {
        assert!(text.contains(word), "-h names {word}");
    }
    assert_eq!(help.status.code(), Some(0));
    assert_eq!(run(&["-i"]).status.code(), Some(0));
}

// --- sockets ---------------------------------------------------------------------------------------------------------

#[test]
fn a_port_in_use_is_refused_with_71() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    expect_refusal(
        &["-u", "root", "-l", "127.0.0.1", "-p", &port],
        71,
        "failed to listen on one of interface(s) 127.0.0.1: Address already in use",
    );
}

#[test]
fn whoever_else_answers_on_a_port_is_not_taken_for_the_server() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = other.local_addr().expect("it is bound");
    let mut started = Started::new(&["-l", "127.0.0.1", "-p", &address.port().to_string()], &[]);
    assert!(Link::open(address).is_ok(), "it takes clients all the time");
    assert!(server::comes_up(&mut started.child, address, PATIENCE).is_none());
    assert!(started.errors().contains("Address already in use"));
}

#[test]
fn several_addresses_may_be_listened_on() {
    let (first, second, third) = (free_port(), free_port(), free_port());
    let list = format!("127.0.0.1:{first},127.0.0.1:{second}");
    let other = format!("[::1]:{third}");
    let server = Started::new(&["-l", &list, "-l", &other], &[]);
    server.answers((Ipv4Addr::LOCALHOST, first).into());
    server.answers((Ipv4Addr::LOCALHOST, second).into());
    server.answers((Ipv6Addr::LOCALHOST, third).into());
}

#[test]
fn a_bare_ipv6_address_takes_the_port_of_p() {
    let port = free_port();
    let server = Started::new(&["-l", "::1", "-p", &port.to_string()], &[]);
    server.answers((Ipv6Addr::LOCALHOST, port).into());
}

#[test]
fn any_free_port_is_told_in_the_port_file() {
    let folder = Folder::new("ports");
    let file = folder.path("ports");
    let server = Started::new(&["-l", "127.0.0.1", "-p", "-1"], &[("MEMCACHED_PORT_FILENAME", &file)]);
    let text = wait_for_file(&file);
    let port = text.lines().find_map(|line| line.strip_prefix("TCP INET: ")).expect("the file names the port");
    server.answers((Ipv4Addr::LOCALHOST, port.parse().expect("a port is a number")).into());
}

#[test]
fn a_unix_socket_has_the_permissions_asked_for_and_no_tcp_beside_it() {
    let folder = Folder::new("unix");
    let path = folder.path("socket");
    let port = free_port();
    let server = Started::new(&["-s", &path, "-a", "770", "-p", &port.to_string()], &[]);
    let mut stream = unix_connection(&path);
    stream.write_all(b"set k 0 0 1\r\na\r\nget k\r\n").expect("it takes commands");
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let said: Vec<String> = lines.by_ref().take(4).collect();
    assert_eq!(said, ["STORED", "VALUE k 0 1", "a", "END"]);
    let mode = fs::metadata(&path).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o770);
    assert!(Link::open((Ipv4Addr::LOCALHOST, port).into()).is_err(), "TCP is off");
    drop(server);
}

#[test]
fn an_old_socket_file_is_replaced_and_another_file_is_not() {
    let folder = Folder::new("oldsocket");
    let path = folder.path("socket");
    drop(Started::new(&["-s", &path], &[]).wait_unix(&path));
    assert!(Path::new(&path).exists(), "the socket file stays when the server ends");
    let _again = Started::new(&["-s", &path], &[]).wait_unix(&path);
    let plain = folder.path("plain");
    fs::write(&plain, "mine").expect("a file can be written");
    expect_refusal(&["-u", "root", "-s", &plain], 71, "failed to listen on UNIX socket");
    assert_eq!(fs::read_to_string(&plain).expect("the file is still there"), "mine");
}

#[test]
fn a_socket_handed_over_by_a_service_manager_is_served_instead_of_one_of_its_own() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = socket.local_addr().expect("it is bound");
    let other = free_port();
    let udp = free_port();
    // The shell becomes the server, so that the socket is for the process that LISTEN_PID names.
    let line = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" -u root -p \"$1\" -U \"$2\" -l 127.0.0.1 3<&0 </dev/null";
    let child = Command::new("sh")
        .args(["-c", line])
        .arg(server::memhold())
        .arg(other.to_string())
        .arg(udp.to_string())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell can be run");
    let mut server = Started { child };
    server.answers(address);
    assert!(Link::open((Ipv4Addr::LOCALHOST, other).into()).is_err(), "-p is not bound beside it");
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    client.set_read_timeout(Some(PATIENCE)).expect("it may be limited");
    client.send_to(b"\0\x01\0\0\0\x01\0\0mn\r\n", (Ipv4Addr::LOCALHOST, udp)).expect("it is sent");
    let mut answer = [0; 100];
    let length = client.recv(&mut answer).expect("-U is served beside it");
    assert!(answer[..length].ends_with(b"MN\r\n"));
    server::signal(server.child.id(), "TERM");
    assert_eq!(wait_end(&mut server.child, PATIENCE).and_then(|status| status.code()), Some(0));
}

#[test]
fn a_wrong_option_is_told_behind_the_name_as_it_was_typed() {
    let output = run(&["--nonsense"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = server::memhold().display().to_string();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said, format!("{name}: unrecognized option '--nonsense'\nIllegal argument \"?\"\n"));
}

#[test]
fn a_service_manager_is_told_of_readiness_life_and_the_end() {
    let folder = Folder::new("notify");
    let path = folder.path("manager");
    let manager = UnixDatagram::bind(&path).expect("a socket can be made");
    manager.set_read_timeout(Some(PATIENCE)).expect("it may be limited");
    let port = free_port().to_string();
    let environment = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "400000")];
    let server = Started::new(&["-l", "127.0.0.1", "-p", &port, "-c", "100"], &environment);
    let hear = || {
        let mut said = [0; 1024];
        let length = manager.recv(&mut said).expect("something is said in time");
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    assert_eq!(hear(), "READY=1\nSTATUS=Serving 100 connections at most, 64 MB of items, 4 threads\n");
    assert_eq!([hear(), hear()], ["WATCHDOG=1\n", "WATCHDOG=1\n"]);
    server::signal(server.child.id(), "TERM");
    let end = std::iter::repeat_with(hear).find(|said| said != "WATCHDOG=1\n");
    assert_eq!(end.as_deref(), Some("STOPPING=1\n"));
}

// --- signals -----------------------------------------------------------------------------------------------------------

#[test]
fn term_and_int_stop_with_exit_0() {
    for name in ["TERM", "INT"] {
        let mut server = Server::start(&server::memhold(), &[]);
        server.connect().ask(b"set k 0 0 1\r\na\r\n", b"\r\n");
        server.signal(name);
        let status = server.wait_end().expect("it stops");
        assert_eq!(status.code(), Some(0), "SIG{name}");
    }
}

/// The kernel hands out those that wait in the order of their numbers: INT is heard first, and USR2 waits behind it.
#[test]
fn an_upgrade_asked_for_together_with_a_stop_does_not_make_it_a_death() {
    let mut server = Server::start(&server::memhold(), &[]);
    for signal in ["STOP", "USR2", "INT", "CONT"] {
        server.signal(signal);
    }
    let status = server.wait_end().expect("it stops");
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn with_v_a_stop_is_told() {
    let mut server = Started::on_loopback(&["-v"]);
    server::signal(server.child.id(), "TERM");
    assert!(server.errors().contains("Exiting normally"));
}

#[test]
fn usr1_stops_in_good_order() {
    let mut server = Started::on_loopback(&[]);
    server::signal(server.child.id(), "USR1");
    let status = wait_end(&mut server.child, PATIENCE).expect("it stops");
    assert_eq!(status.code(), Some(0));
    assert!(server.errors().contains("Gracefully stopping"));
}

#[test]
fn hup_and_pipe_do_not_stop_it() {
    let server = Server::start(&server::memhold(), &[]);
    for name in ["HUP", "PIPE"] {
        server.signal(name);
        std::thread::sleep(Duration::from_millis(100));
        answers(server.pid(), server.address);
    }
}

// --- daemon, pid file, user ----------------------------------------------------------------------------------------------

#[test]
fn a_daemon_detaches_writes_its_pid_file_and_removes_it() {
    let folder = Folder::new("daemon");
    let file = folder.path("pid");
    let port = free_port();
    let output = run(&["-d", "-u", "root", "-P", &file, "-l", "127.0.0.1", "-p", &port.to_string()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = wait_for_file(&file);
    let pid: u32 = text.trim_end().parse().expect("the pid file holds a number");
    assert!(text.ends_with('\n'));
    let _guard = KillByPid(pid);
    answers(pid, (Ipv4Addr::LOCALHOST, port).into());
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("the process is there"), PathBuf::from("/"));
    server::signal(pid, "TERM");
    assert!(eventually(|| !Path::new(&file).exists()), "the pid file goes with the daemon");
}

#[test]
fn a_daemon_that_is_upgraded_finds_the_files_that_it_was_started_beside() {
    let (folder, memory) = (Folder::new("beside"), Folder::in_memory("beside-memory"));
    let (pid_file, options) = (folder.path("pid"), folder.write("options", "-m 80\n"));
    let port = free_port();
    let status = Command::new(server::memhold())
        .args(["-d", "-u", "root", "-P", &pid_file, "-l", "127.0.0.1", "-p", &port.to_string()])
        // It may be missing, and then nobody would be told.
        .args(["--config", "-options", "-e", &memory.path("memory")])
        .current_dir(&folder.0)
        .stdin(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()));
    let pid: u32 = wait_for_file(&pid_file).trim_end().parse().expect("the pid file holds a number");
    let _guard = KillByPid(pid);
    let address = (Ipv4Addr::LOCALHOST, port).into();
    answers(pid, address);
    for megabytes in [90, 100] {
        fs::write(&options, format!("-m {megabytes}\n")).expect("a file can be written");
        server::signal(pid, "USR2");
        let line = format!("STAT maxbytes {}\r\n", megabytes << 20);
        let counts = eventually(|| {
            let told = Link::open(address).map(|mut link| link.ask(b"stats settings\r\n", b"END\r\n"));
            told.is_ok_and(|told| String::from_utf8_lossy(&told).contains(&line))
        });
        assert!(counts, "{line}");
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("the process is there"), PathBuf::from("/"));
    }
}

#[test]
fn without_d_the_pid_file_stays() {
    let folder = Folder::new("pidfile");
    let file = folder.path("pid");
    let mut server = Started::on_loopback(&["-P", &file]);
    assert_eq!(wait_for_file(&file).trim_end(), server.child.id().to_string());
    server::signal(server.child.id(), "TERM");
    assert!(wait_end(&mut server.child, PATIENCE).is_some());
    assert!(Path::new(&file).exists());
}

#[test]
fn u_becomes_that_user() {
    if !is_root() {
        println!("SKIPPED: only root can become somebody else");
        return;
    }
    let port = free_port();
    let server = Started::new(&["-u", "nobody", "-l", "127.0.0.1", "-p", &port.to_string()], &[]);
    server.answers((Ipv4Addr::LOCALHOST, port).into());
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("the process is there");
    let ids = status.lines().find(|line| line.starts_with("Uid:")).expect("it has a user").to_owned();
    let nobody = fs::read_to_string("/etc/passwd").expect("there are users");
    let id = nobody.lines().find_map(|line| line.strip_prefix("nobody:x:")).expect("nobody is one of them");
    let id = id.split(':').next().unwrap_or_default();
    assert!(ids.split_whitespace().skip(1).all(|each| each == id), "{ids}");
    let groups = status.lines().find(|line| line.starts_with("Groups:")).unwrap_or_default();
    assert!(groups.split_whitespace().nth(1).is_none(), "supplementary groups are dropped: {groups}");
}

#[test]
fn system_calls_are_filtered_unless_that_is_switched_off() {
    let filters = |flags: &[&str]| {
        let server = Started::on_loopback(flags);
        let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")).unwrap_or_default();
        line.trim().parse::<u32>().expect("the kernel counts filters")
    };
    let unfiltered = filters(&["-o", "no_drop_privileges"]);
    assert_eq!([filters(&[]), filters(&["-o", "drop_privileges"])], [unfiltered + 2; 2]);
}

// --- limits ------------------------------------------------------------------------------------------------------------

#[test]
fn beyond_the_connection_limit_an_error_line_and_the_end() {
    let server = Server::start(&server::memhold(), &["-c", "64"]);
    let mut links = Vec::new();
    let mut refused = None;
    for _ in 0..80 {
        let mut link = server.connect();
        link.send(b"mn\r\n");
        link.read_until(|bytes| bytes.ends_with(b"\r\n"));
        if link.received == b"MN\r\n" {
            links.push(link);
        } else {
            refused = Some(link);
            break;
        }
    }
    let mut refused = refused.expect("the limit is reached");
    assert_eq!(refused.received, b"ERROR Too many open connections\r\n");
    assert!(refused.reaches_end());
    assert!((16..=64).contains(&links.len()), "{} connections fit into -c 64", links.len());
    links[0].take();
    let stats = String::from_utf8(links[0].ask(b"stats\r\n", b"END\r\n")).expect("stats are text");
    assert!(stats.contains("STAT max_connections 64\r\n"));
    assert!(!stats.contains("STAT rejected_connections 0\r\n"), "the refusal is counted");
    links.drain(1..8);
    assert!(
        eventually(|| server.connect().ask(b"mn\r\n", b"\r\n") == b"MN\r\n"),
        "there is room again when others have gone"
    );
}

#[test]
fn with_no_maxconns_fast_a_connection_waits_for_room() {
    let server = Server::start(&server::memhold(), &["-c", "64", "-o", "no_maxconns_fast"]);
    let mut links: Vec<Link> = (0..80).map(|_| server.connect()).collect();
    for link in &mut links {
        link.send(b"mn\r\n");
    }
    links[0].read_until(|bytes| bytes == b"MN\r\n");
    let last = links.len() - 1;
    assert!(!links[last].wait(Duration::from_millis(300)), "the last one is neither answered nor refused");
    let mut waiting = links.split_off(60);
    drop(links);
    let mut last = waiting.pop().expect("the last is left");
    assert!(last.read_until(|bytes| bytes == b"MN\r\n"), "it is answered when others have gone");
}

#[test]
fn out_of_descriptors_a_client_is_told_and_nothing_spins() {
    for flags in [&["-c", "1024"][..], &["-c", "1024", "-o", "no_maxconns_fast"]] {
        let fast = flags.len() == 2;
        let server = Server::start(&server::memhold(), flags);
        let used = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the process is there").count();
        set_open_files(server.pid(), used + 10);
        let mut links: Vec<Link> = (0..30).map(|_| server.connect()).collect();
        for link in &mut links {
            link.send(b"mn\r\n");
        }
        let answered = links.iter_mut().filter_map(|link| {
            link.read_within(Duration::from_millis(200), |bytes| bytes.ends_with(b"\r\n"));
            Some(link.take()).filter(|said| !said.is_empty())
        });
        let answered: Vec<Vec<u8>> = answered.collect();
        let served = answered.iter().filter(|said| *said == b"MN\r\n").count();
        let refused = answered.iter().filter(|said| *said == b"ERROR Too many open connections\r\n").count();
        assert_eq!(served + refused, answered.len(), "{flags:?}: only these two answers");
        assert!((5..=12).contains(&served), "{flags:?}: {served} are served");
        assert_eq!(refused, if fast { 30 - served } else { 0 }, "{flags:?}");

        // Clients keep waiting in the queue, or keep being refused; neither may cost a processor.
        let before = cpu_ticks(server.pid());
        std::thread::sleep(Duration::from_secs(1));
        let spent = cpu_ticks(server.pid()) - before;
        assert!(spent <= 25, "{flags:?}: {spent} of 100 ticks spent on waiting");

        links.clear();
        assert!(
            eventually(|| server.connect().ask(b"mn\r\n", b"\r\n") == b"MN\r\n"),
            "{flags:?}: there is room again when others have gone"
        );
    }
}

/// Limits the descriptors of a running process.
fn set_open_files(pid: u32, limit: usize) {
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "prlimit works");
}

/// Processor time of a process so far, in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0)
}

#[test]
fn idle_timeout_closes_those_without_progress_only() {
    let server = Server::start(&server::memhold(), &["-o", "idle_timeout=1"]);
    let mut busy = server.connect();
    let value = [&b"set large 0 0 1000000\r\n"[..], &vec![b'v'; 1_000_000], b"\r\n"].concat();
    assert_eq!(busy.ask(&value, b"\r\n"), b"STORED\r\n");
    let mut idle = server.connect();
    let mut in_line = server.connect();
    in_line.send(b"get lar");
    let mut in_value = server.connect();
    in_value.send(b"set stalled 0 0 10\r\nabc");
    let mut in_large_value = server.connect();
    in_large_value.send(&value[..300_000]);
    let mut not_reading = server.connect();
    not_reading.send(&b"get large\r\n".repeat(20));
    assert!(
        eventually(|| {
            std::thread::sleep(Duration::from_millis(200));
            busy.stat("", "idle_kicks") == "5"
        }),
        "{} of 5 are closed",
        busy.stat("", "idle_kicks")
    );
    for (name, link) in
        [("idle", &mut idle), ("line", &mut in_line), ("value", &mut in_value), ("large", &mut in_large_value)]
    {
        assert!(link.reaches_end() && link.received.is_empty(), "{name}");
    }
    assert!(not_reading.reaches_end());
    assert!(not_reading.received.len() < 20 * 1_000_000, "what it did not read in time is gone");
    assert_eq!(busy.stat("", "curr_connections"), "1");
}

#[test]
fn idle_timeout_does_not_count_for_unix_sockets() {
    let folder = Folder::new("idleunix");
    let path = folder.path("socket");
    let _server = Started::new(&["-s", &path, "-o", "idle_timeout=1"], &[]).wait_unix(&path);
    let mut stream = unix_connection(&path);
    std::thread::sleep(Duration::from_secs(3));
    stream.write_all(b"mn\r\n").expect("it is still open");
    let mut said = [0; 4];
    stream.read_exact(&mut said).expect("it is answered");
    assert_eq!(&said, b"MN\r\n");
}

// --- helpers -------------------------------------------------------------------------------------------------------------

/// Runs the binary until it ends by itself; one that keeps running is killed, and its status then says so.
fn run(flags: &[&str]) -> Output {
    let mut child = Command::new(server::memhold())
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    if wait_end(&mut child, PATIENCE).is_none() {
        let _ = child.kill();
    }
    child.wait_with_output().expect("its output can be read")
}

/// A server that this test started itself, killed at the end.
struct Started {
    child: Child,
}

impl Started {
    fn new(flags: &[&str], environment: &[(&str, &str)]) -> Started {
        let user: &[&str] = if flags.contains(&"-u") { &[] } else { &["-u", "root"] };
        let child = Command::new(server::memhold())
            .args(user)
            .args(flags)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        Started { child }
    }

    fn on_loopback(flags: &[&str]) -> Started {
        let port = free_port();
        let port_text = port.to_string();
        let mut all = vec!["-l", "127.0.0.1", "-p", &port_text];
        all.extend_from_slice(flags);
        let started = Started::new(&all, &[]);
        started.answers((Ipv4Addr::LOCALHOST, port).into());
        started
    }

    fn answers(&self, address: SocketAddr) {
        answers(self.child.id(), address);
    }

    fn wait_unix(self, path: &str) -> Started {
        drop(unix_connection(path));
        self
    }

    /// What it wrote to standard error, after it has ended.
    fn errors(&mut self) -> String {
        assert!(wait_end(&mut self.child, PATIENCE).is_some(), "it ends");
        let mut text = String::new();
        if let Some(mut stream) = self.child.stderr.take() {
            let _ = stream.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends a daemon that a failing test left.
struct KillByPid(u32);

impl Drop for KillByPid {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).stderr(Stdio::null()).status();
    }
}

/// Waits until `pid` listens at `address` and answers there.
fn answers(pid: u32, address: SocketAddr) {
    let answered = eventually(|| {
        let link = listens(pid, address.port()).then(|| Link::open(address));
        link.is_some_and(|link| link.is_ok_and(|mut link| link.ask(b"mn\r\n", b"\r\n") == b"MN\r\n"))
    });
    assert!(answered, "{address} answers");
}

fn wait_for_file(path: &str) -> String {
    assert!(eventually(|| fs::read_to_string(path).is_ok_and(|text| !text.is_empty())), "{path} appears");
    fs::read_to_string(path).expect("the file is there")
}
