//! TLS over real sockets: who is let in and who is not, resumption, renewal of certificates, what a client costs that stops in the
//! middle of its handshake or sends garbage (section 15.4 of the reference). Certificates are made on the spot.

mod support;

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::random::Random;
use support::server::{Daemon, Server, memhold};
use support::tls::{Authority, Files, TlsClient, TlsLink, ask, reads};
use support::{Link, PATIENCE, eventually, unix_connection};

/// One number of `stats`.
fn stat(link: &mut TlsLink, name: &str) -> u64 {
    let stats = ask(link, b"stats\r\n", b"END\r\n");
    let text = String::from_utf8_lossy(&stats);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} "))).map(str::to_owned);
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is not in {text}"))
}

#[test]
fn both_versions_of_tls_carry_small_and_large_values() {
    let files = Files::new("values");
    let server = files.start("", &[]);
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut link = TlsClient::trusting(&files.servers, None, &[version]).connect(server.address).unwrap();
        assert_eq!(link.conn.protocol_version(), Some(expected));
        assert_eq!(
            ask(&mut link, b"set a 0 0 5\r\nhello\r\nget a b\r\n", b"END\r\n"),
            b"STORED\r\nVALUE a 0 5\r\nhello\r\nEND\r\n"
        );
        let value: Vec<u8> = (0..900_000_u32).map(|at| (at % 251) as u8).collect();
        link.write_all(b"set large 0 0 900000\r\n").unwrap();
        link.write_all(&value).unwrap();
        assert_eq!(ask(&mut link, b"\r\n", b"\r\n"), b"STORED\r\n");
        let got = ask(&mut link, b"get large\r\n", b"END\r\n");
        assert!(got.starts_with(b"VALUE large 0 900000\r\n") && got[22..900_022] == value[..], "{} bytes", got.len());
    }
}

#[test]
fn pipelined_requests_in_pieces_of_any_size_are_answered_in_order() {
    let files = Files::new("pieces");
    let server = files.start("", &[]);
    let mut link = files.client().connect(server.address).unwrap();
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for number in 0..3000 {
        requests.extend(format!("set k{number} 0 0 4\r\n{number:04}\r\nget k{number}\r\n").bytes());
        replies.extend(format!("STORED\r\nVALUE k{number} 0 4\r\n{number:04}\r\nEND\r\n").bytes());
    }
    // Pieces become records of their own.
    let (mut at, mut piece) = (0, 1);
    while at < requests.len() {
        let end = requests.len().min(at + piece);
        link.write_all(&requests[at..end]).unwrap();
        (at, piece) = (end, piece * 7 % 5003 + 1);
    }
    assert!(reads(&mut link, &replies));
}

#[test]
fn messages_may_lie_in_many_records() {
    let files = Files::new("fragments");
    let server = files.start(&format!("ssl_verify_mode=2,{}", files.ca_option()), &[]);
    for version in [&TLS12, &TLS13] {
        // Records of 32 bytes are the least that TLS has; a chain of certificates takes hundreds of them, or two that are full.
        for (certificates, record_bytes) in [(1, Some(32)), (20, Some(64)), (46, None), (1, Some(1000))] {
            let (certificate, key) = files.clients.sign();
            let chain = vec![certificate.der().clone(); certificates];
            let length = chain.iter().map(|certificate| certificate.len()).sum::<usize>();
            let client = TlsClient::with_chain(&files.servers, Some((chain, key)), &[version], record_bytes);
            let mut link = client.connect(server.address).unwrap();
            assert_eq!(
                ask(&mut link, b"set a 0 0 5\r\nhello\r\nget a\r\n", b"END\r\n"),
                b"STORED\r\nVALUE a 0 5\r\nhello\r\nEND\r\n",
                "{length} bytes of certificates in records of {record_bytes:?}"
            );
        }
        // Beyond 64 KiB a message is none.
        let (certificate, key) = files.clients.sign();
        let client =
            TlsClient::with_chain(&files.servers, Some((vec![certificate.der().clone(); 250], key)), &[version], None);
        assert!(!client.is_served(server.address));
    }
    assert!(files.client_signed_by(&files.clients).is_served(server.address));
}

#[test]
fn keys_may_be_changed_in_the_middle() {
    let files = Files::new("keys");
    let server = files.start("", &[]);
    let mut link = files.client().connect(server.address).unwrap();
    let value = vec![b'v'; 100_000];
    for round in 0..50 {
        link.conn.refresh_traffic_keys().unwrap();
        link.write_all(format!("set k{round} 0 0 100000\r\n").as_bytes()).unwrap();
        link.conn.refresh_traffic_keys().unwrap();
        link.write_all(&value).unwrap();
        assert_eq!(ask(&mut link, b"\r\n", b"\r\n"), b"STORED\r\n");
        link.conn.refresh_traffic_keys().unwrap();
        assert_eq!(
            ask(&mut link, format!("get k{round}\r\n").as_bytes(), b"END\r\n").len(),
            100_000 + 25 + round.to_string().len()
        );
    }
    assert_eq!(stat(&mut link, "ssl_proto_errors"), 0);
}

#[test]
fn clients_are_asked_for_certificates_as_the_mode_says() {
    let files = Files::new("modes");
    let stranger = Authority::new();
    let clients = [files.client(), files.client_signed_by(&files.clients), files.client_signed_by(&stranger)];
    // Without, with a right one, with a wrong one.
    for (mode, served) in
        [(0, [true, true, true]), (1, [true, true, false]), (2, [false, true, false]), (3, [false, true, false])]
    {
        let server = files.start(&format!("ssl_verify_mode={mode},{}", files.ca_option()), &[]);
        for (client, expected) in clients.iter().zip(served) {
            assert_eq!(client.is_served(server.address), expected, "mode {mode}");
        }
    }
}

#[test]
fn an_upgrade_in_place_says_goodbye_to_tls_clients_and_serves_new_ones() {
    let files = Files::new("upgrade");
    let memory = files.path("memory").display().to_string();
    let mut server = files.start("", &["-e", &memory, "-m", "8"]);
    let mut link = files.client().connect(server.address).unwrap();
    assert_eq!(ask(&mut link, b"set k 0 0 1\r\nx\r\n", b"\r\n"), b"STORED\r\n");
    server.signal("USR2");
    let mut rest = Vec::new();
    // Without a goodbye this is an error.
    assert_eq!(link.read_to_end(&mut rest).map_err(|error| error.to_string()), Ok(0));
    let mut link = files.client().connect(server.address).unwrap();
    assert_eq!(ask(&mut link, b"get k\r\n", b"END\r\n"), b"VALUE k 0 1\r\nx\r\nEND\r\n");
    assert!(!server.has_ended());
}

#[test]
fn a_client_that_trusts_another_authority_goes_away() {
    let files = Files::new("wrong");
    let server = files.start("", &[]);
    let suspicious = TlsClient::trusting(&Authority::new(), None, &[&TLS13]);
    assert!(suspicious.connect(server.address).is_err());
    let mut link = files.client().connect(server.address).unwrap();
    // Its alert may be read a little later.
    let counted = eventually(|| stat(&mut link, "ssl_handshake_errors") == 1);
    assert!(counted, "{}", stat(&mut link, "ssl_handshake_errors"));
}

#[test]
fn the_least_version_is_kept() {
    let files = Files::new("least");
    let server = files.start("ssl_min_version=3", &[]);
    assert!(!TlsClient::trusting(&files.servers, None, &[&TLS12]).is_served(server.address));
    assert!(TlsClient::trusting(&files.servers, None, &[&TLS13]).is_served(server.address));
}

#[test]
fn sessions_are_resumed_only_with_the_session_cache() {
    let files = Files::new("resume");
    for (more, kind) in [("", HandshakeKind::Full), ("ssl_session_cache", HandshakeKind::Resumed)] {
        let server = files.start(more, &[]);
        for version in [&TLS12, &TLS13] {
            let client = TlsClient::trusting(&files.servers, None, &[version]);
            let mut link = client.connect(server.address).unwrap();
            // A ticket comes with or behind the first answer.
            ask(&mut link, b"version\r\n", b"\r\n");
            assert_eq!(link.conn.handshake_kind(), Some(HandshakeKind::Full));
            let mut link = client.connect(server.address).unwrap();
            ask(&mut link, b"version\r\n", b"\r\n");
            assert_eq!(link.conn.handshake_kind(), Some(kind), "{more} {version:?}");
        }
        let mut link = files.client().connect(server.address).unwrap();
        if kind == HandshakeKind::Resumed {
            assert_eq!(stat(&mut link, "ssl_new_sessions"), 3);
        } else {
            assert!(!String::from_utf8_lossy(&ask(&mut link, b"stats\r\n", b"END\r\n")).contains("ssl_new_sessions"));
        }
    }
}

#[test]
fn a_ticket_of_a_listener_without_certificates_opens_no_other() {
    let files = Files::new("tickets");
    let free = support::server::free_port();
    let list = format!("mtls:127.0.0.1:{free}");
    let server = files.start(&format!("ssl_session_cache,{}", files.ca_option()), &["-l", &list]);
    let strict = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, free));
    let client = files.client();
    assert!(client.is_served(server.address));
    assert!(client.is_served(server.address));
    assert!(!client.is_served(strict), "its ticket was not for this listener");
}

#[test]
fn listeners_differ_by_their_prefix() {
    let files = Files::new("prefixes");
    let [clear, strict, open] = std::array::from_fn(|_| support::server::free_port());
    let list = format!("notls:proto[ascii]:tag[plain]:127.0.0.1:{clear},mtls:127.0.0.1:{strict},btls:127.0.0.1:{open}");
    let server = files.start(&format!("ssl_verify_mode=2,{}", files.ca_option()), &["-l", &list]);
    let at = |port| std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
    let (anonymous, known) = (files.client(), files.client_signed_by(&files.clients));
    assert_eq!(Link::open(at(clear)).unwrap().ask(b"version\r\n", b"\r\n"), b"VERSION 1.6.45\r\n");
    for (port, anonymous_is_served) in [(server.address.port(), false), (strict, false), (open, true)] {
        assert_eq!(anonymous.is_served(at(port)), anonymous_is_served, "{port}");
        assert!(known.is_served(at(port)), "{port}");
    }
}

#[test]
fn fresh_certificates_are_for_new_clients_and_old_ones_stay() {
    let mut files = Files::new("fresh");
    let server = files.start("ssl_session_cache", &[]);
    let old = files.client();
    let mut link = old.connect(server.address).unwrap();
    // A broken file changes nothing but the answer.
    files.write("chain.pem", b"nonsense");
    let said = ask(&mut link, b"refresh_certs\r\n", b"\r\n");
    let said = String::from_utf8_lossy(&said);
    let expected = format!("Error loading the certificate chain: {} : ", files.path("chain.pem").display());
    assert!(said.starts_with(&expected), "{said}");
    assert!(old.is_served(server.address));

    files.servers = Authority::new();
    files.renew();
    assert_eq!(ask(&mut link, b"refresh_certs\r\n", b"\r\n"), b"OK\r\n");
    assert_eq!(ask(&mut link, b"version\r\n", b"\r\n"), b"VERSION 1.6.45\r\n");
    assert!(files.client().is_served(server.address));
    assert!(!TlsClient::trusting(&Authority::new(), None, &[&TLS13]).is_served(server.address));

    // The same by SIGHUP, which is done a little later.
    files.servers = Authority::new();
    files.renew();
    server.signal("HUP");
    assert!(eventually(|| files.client().is_served(server.address)), "SIGHUP reads the certificates again");
    assert_eq!(stat(&mut link, "time_since_server_cert_refresh") / 60, 0);
}

#[test]
fn a_daemon_finds_its_files_again_and_names_them_as_they_were_given() {
    let files = Files::new("daemon");
    let port = support::server::free_port();
    let status = Command::new(memhold())
        .args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string(), "-d", "-P"])
        .arg(files.path("pid"))
        .args(["-Z", "-o", "ssl_chain_cert=chain.pem,ssl_key=key.pem"])
        .current_dir(files.path(""))
        .status()
        .expect("the binary runs");
    assert!(status.success());
    let _daemon = Daemon(files.path("pid"));
    let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
    assert!(eventually(|| files.client().is_served(address)), "it serves");
    let mut link = files.client().connect(address).unwrap();
    assert_eq!(ask(&mut link, b"refresh_certs\r\n", b"\r\n"), b"OK\r\n");
    std::fs::remove_file(files.path("chain.pem")).unwrap();
    let expected = b"Error loading the certificate chain: chain.pem : No such file or directory\r\n";
    assert_eq!(ask(&mut link, b"refresh_certs\r\n", b"\r\n"), expected);
}

#[test]
fn without_tls_there_is_nothing_to_refresh() {
    let server = Server::start(&memhold(), &[]);
    assert_eq!(server.connect().ask(b"refresh_certs\r\n", b"\r\n"), b"Error TLS not enabled\r\n");
}

#[test]
fn text_on_a_tls_port_is_disconnected() {
    let files = Files::new("text");
    let server = files.start("", &[]);
    for text in ["version\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03", "\0\0\0\0\0\0\0\0"] {
        let mut link = server.connect();
        link.send(text.as_bytes());
        if text == "\x16\x03" {
            // That could still become TLS.
            link.stream().shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert!(link.reaches_end(), "{text:?}");
        assert!(!String::from_utf8_lossy(&link.received).contains("VERSION"));
    }
    let mut link = files.client().connect(server.address).unwrap();
    assert_eq!(stat(&mut link, "ssl_handshake_errors"), 4);
    assert_eq!(stat(&mut link, "ssl_proto_errors"), 0);
}

#[test]
fn watchers_are_told_what_tls_took_offence_at() {
    let files = Files::new("watched");
    let server = files.start("", &[]);
    let mut watcher = files.client().connect(server.address).unwrap();
    ask(&mut watcher, b"watch connevents\r\n", b"OK\r\n");
    let mut link = server.connect();
    link.send(b"version\r\n");
    assert!(link.reaches_end());
    let mut said = String::new();
    while !said.contains(" reason=error ") {
        said += &String::from_utf8_lossy(&ask(&mut watcher, b"", b"\n"));
    }
    assert!(said.contains(" type=conn_new rip=127.0.0.1 ") && said.contains(" type=conntlserr fd="), "{said}");
}

#[test]
fn a_forged_record_ends_the_conversation_and_is_counted() {
    let files = Files::new("forged");
    let server = files.start("", &[]);
    let mut link = files.client().connect(server.address).unwrap();
    ask(&mut link, b"version\r\n", b"\r\n");
    link.sock.write_all(b"\x17\x03\x03\x00\x20forged forged forged forged 1234").unwrap();
    let mut rest = Vec::new();
    assert!(link.read_to_end(&mut rest).is_err(), "an alert ends it");
    let mut link = files.client().connect(server.address).unwrap();
    assert_eq!(stat(&mut link, "ssl_proto_errors"), 1);
}

#[test]
fn a_client_that_says_goodbye_is_told_goodbye() {
    let files = Files::new("goodbye");
    let server = files.start("", &[]);
    let mut link = files.client().connect(server.address).unwrap();
    link.write_all(b"set a 0 0 1\r\n1\r\nget a\r\n").unwrap();
    link.conn.send_close_notify();
    link.flush().unwrap();
    let mut got = Vec::new();
    link.read_to_end(&mut got).expect("the end is told, not just made");
    assert_eq!(got, b"STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
    let mut link = files.client().connect(server.address).unwrap();
    link.write_all(b"quit\r\n").unwrap();
    assert_eq!(link.read_to_end(&mut got).expect("the end is told"), 0);
}

#[test]
fn openssls_own_client_is_served_and_its_old_versions_are_not() {
    let files = Files::new("openssl");
    let server = files.start("", &[]);
    let address = server.address.to_string();
    let run = |flags: &[&str]| {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-no_ign_eof", "-connect", &address])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        // One that could not connect may be gone.
        let mut input = child.stdin.take().expect("it was asked for");
        let _ = input.write_all(b"version\r\nquit\r\n");
        // Its input stays open until the server has closed: at its end it would go without the answer.
        let mut said = String::new();
        let _ = child.stdout.take().expect("it was asked for").read_to_string(&mut said);
        drop(input);
        let _ = child.wait();
        said
    };
    for flags in [&["-tls1_2"][..], &["-tls1_3"], &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"]] {
        assert_eq!(run(flags), "VERSION 1.6.45\r\n", "{flags:?}");
    }
    assert_eq!(run(&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]), "");
}

// --- flags that are refused ------------------------------------------------------------------------------------------

/// What standard error holds when the server is started with `option` and does not start.
fn refusal(flags: &[&str], option: &str) -> String {
    let output = Command::new(memhold())
        .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1", "-o", option])
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    format!("{} {}", output.status.code().unwrap_or(-1), said.trim_end())
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = Files::new("refused");
    let other = Files::new("other");
    files.write("junk.pem", b"junk");
    let path = |name| files.path(name).display().to_string();
    let (chain, key, junk) = (path("chain.pem"), path("key.pem"), path("junk.pem"));
    let foreign = other.path("key.pem").display().to_string();
    for (option, expected) in [
        (format!("ssl_key={key}"), "64 Error loading the certificate chain: (null) : ".to_owned()),
        (format!("ssl_chain_cert={chain}"), "64 Error loading the key: (null) : ".to_owned()),
        (format!("ssl_chain_cert={junk},ssl_key={key}"), format!("64 Error loading the certificate chain: {junk} : ")),
        (format!("ssl_chain_cert={chain},ssl_key={junk}"), format!("64 Error loading the key: {junk} : ")),
        (format!("ssl_chain_cert={chain},ssl_key={foreign}"), format!("64 Error loading the key: {foreign} : ")),
        (files.option("ssl_keyformat=2"), format!("64 Error loading the key: {key} : ")),
        (
            files.option("ssl_keyformat=3"),
            format!("64 Error loading the key: {key} : ssl_keyformat 1 (PEM) and 2 (DER)"),
        ),
        (files.option("ssl_ca_cert=/no/ca"), "64 Error loading the CA certificate: /no/ca : No such file".to_owned()),
        (files.option("ssl_verify_mode=2"), "64 Error loading the CA certificate: ssl_verify_mode needs".to_owned()),
        (
            files.option("ssl_ciphers=HIGH:!aNULL"),
            "64 Error setting the provided cipher(s): HIGH:!aNULL (HIGH is ".to_owned(),
        ),
    ] {
        let said = refusal(&["-Z"], &option);
        assert!(said.starts_with(&expected) && said.lines().count() == 1, "{option}: {said}");
    }
    let said = refusal(&["-Z", "-p", "0"], &files.option(""));
    assert_eq!(said, "64 ERROR: You cannot enable SSL without a TCP port.");
    let said = refusal(&["-Z", "-l", "mtls:127.0.0.1"], &files.option(""));
    assert!(said.starts_with("71 'mtls' option needs -o ssl_ca_cert\n"), "{said}");
}

#[test]
fn a_key_may_be_der() {
    let files = Files::new("der");
    let (chain, key) = (files.path("chain.pem"), files.path("key.der"));
    let option = format!("ssl_chain_cert={},ssl_key={},ssl_keyformat=2", chain.display(), key.display());
    let server = Server::start(&memhold(), &["-Z", "-o", &option]);
    assert!(files.client().is_served(server.address));
}

#[test]
fn unix_sockets_stay_in_the_clear() {
    let files = Files::new("unix");
    let path = files.path("socket");
    let option = files.option("");
    let mut child = Command::new(memhold())
        .args(["-u", "root", "-Z", "-o", &option, "-s"])
        .arg(&path)
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut stream = unix_connection(&path);
    stream.write_all(b"version\r\nrefresh_certs\r\n").unwrap();
    assert!(reads(&mut stream, b"VERSION 1.6.45\r\nOK\r\n"));
    child.kill().unwrap();
    child.wait().unwrap();
}

// --- what rude clients cost ------------------------------------------------------------------------------------------

#[test]
fn a_thousand_half_handshakes_cost_little_and_end_by_themselves() {
    const CROWD: usize = 1000;
    let files = Files::new("half");
    let server = files.start("", &["-c", "2000", "--debug-commands"]);
    let mut link = files.client().connect(server.address).unwrap();
    let before = server.resident();
    let open = server.descriptors();
    let hello = files.client().hello();
    // Half of them stop in the middle of the hello, half after it.
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|number| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            let end = if number % 2 == 0 { hello.len() / 2 } else { hello.len() };
            stream.write_all(&hello[..end]).unwrap();
            stream
        })
        .collect();
    for mut stream in crowd.iter().skip(1).step_by(2) {
        stream.set_read_timeout(Some(PATIENCE * 4)).unwrap();
        assert!(stream.read(&mut [0; 16]).is_ok_and(|n| n > 0), "the server goes on with the handshake");
    }
    // Others are served meanwhile.
    assert!(files.client().is_served(server.address));
    let growth = server.resident().saturating_sub(before);
    println!("{CROWD} half handshakes: {} bytes each", growth / CROWD as u64);
    assert!(growth / CROWD as u64 <= 16 << 10, "{growth} bytes for {CROWD}");
    // Their time is over; the one who asks has shaken hands.
    assert_eq!(ask(&mut link, b"debugtime 31\r\n", b"\r\n"), b"OK\r\n");
    for mut stream in crowd {
        let mut rest = Vec::new();
        stream.set_read_timeout(Some(PATIENCE * 4)).unwrap();
        let ended = stream.read_to_end(&mut rest);
        assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{ended:?}");
    }
    assert_eq!(ask(&mut link, b"version\r\n", b"\r\n"), b"VERSION 1.6.45\r\n");
    assert_eq!(stat(&mut link, "ssl_handshake_errors"), CROWD as u64);
    comes_back_to(&server, open);
}

/// Waits until the server has as few descriptors open as before: clients that have gone are noticed a little later.
fn comes_back_to(server: &Server, open: usize) {
    let gone = eventually(|| server.descriptors() <= open);
    assert!(gone, "{} descriptors, {open} before", server.descriptors());
}

#[test]
fn a_hundred_thousand_random_strings_neither_stop_it_nor_stay_with_it() {
    const THREADS: u64 = 4;
    let files = Files::new("random");
    let server = files.start("", &["-c", "500"]);
    let client = files.client();
    let hello = client.hello();
    // What the process takes once and keeps.
    for seed in 0..THREADS {
        throw(&server, &client, &hello, seed, [50, 50, 50, 500]);
    }
    let (memory, open) = (server.resident(), server.descriptors());
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let (server, client, hello) = (&server, &client, &hello);
            scope.spawn(move || throw(server, client, hello, 100 + seed, [2500, 2000, 500, 20_000]));
        }
    });
    let mut link = client.connect(server.address).unwrap();
    assert_eq!(ask(&mut link, b"mn\r\n", b"\r\n"), b"MN\r\n");
    drop(link);
    comes_back_to(&server, open);
    let after = (server.resident(), server.descriptors());
    println!("100,000 strings: {memory} bytes and {open} descriptors before, {} and {} after", after.0, after.1);
    assert!(after.0 <= memory + (8 << 20), "{memory} bytes before, {} after", after.0);
}

/// Throws random strings at the server: so many that are nothing at all, that are almost a handshake, that follow a handshake in
/// the clear, and that are enciphered as they should be.
fn throw(server: &Server, client: &TlsClient, hello: &[u8], seed: u64, counts: [usize; 4]) {
    let mut random = Random::new(seed);
    let noise = |most: usize, random: &mut Random| -> Vec<u8> {
        (0..random.below(most) + 1).map(|_| random.next() as u8).collect()
    };
    for _ in 0..counts[0] {
        let mut bytes = noise(600, &mut random);
        if random.chance(50) {
            // A header that promises a record.
            let length = (random.below(20_000) as u16).to_be_bytes();
            bytes.splice(0..0, [*random.pick(&[&22_u8, &23, &20, &21]), 3, 3, length[0], length[1]]);
        }
        end_with(server, &bytes);
    }
    for _ in 0..counts[1] {
        let mut bytes = hello.to_vec();
        for _ in 0..random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        let cut = if random.chance(30) { random.below(bytes.len()) } else { bytes.len() };
        bytes.truncate(cut);
        bytes.extend(noise(300, &mut random));
        end_with(server, &bytes);
    }
    for _ in 0..counts[2] {
        let mut link = client.connect(server.address).expect("it is served");
        let mut bytes = noise(2000, &mut random);
        if random.chance(70) {
            bytes.splice(0..0, [*random.pick(&[&23_u8, &22, &21]), 3, 3, 0, 40]);
        }
        let _ = link.sock.write_all(&bytes);
        let _ = link.sock.shutdown(std::net::Shutdown::Write);
        let _ = link.sock.read_to_end(&mut Vec::new());
    }
    let starts: [&[u8]; 8] = [b"", b"get ", b"set k 0 0 ", b"mg k ", b"ms k ", b"\x80", b"ma n ", b"gat 9 "];
    let mut link = None;
    for _ in 0..counts[3] {
        let mut bytes = random.pick(&starts).to_vec();
        bytes.extend(noise(120, &mut random));
        bytes.extend_from_slice(if random.chance(80) { b"\r\n" } else { b"" });
        let mut open: TlsLink = link.take().unwrap_or_else(|| client.connect(server.address).expect("it is served"));
        // Answers are not waited for, but what has come is read, or the server would stop to read.
        let sent = open.write_all(&bytes).is_ok();
        let _ = open.sock.set_nonblocking(true);
        let ended = loop {
            match open.read(&mut [0; 4096]) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != std::io::ErrorKind::WouldBlock,
            }
        };
        let _ = open.sock.set_nonblocking(false);
        if sent && !ended && !random.chance(3) {
            link = Some(open);
        }
    }
}

/// Sends `bytes` on a connection of their own, ends it, and waits until the server has ended it too.
fn end_with(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address).expect("it is served");
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    stream.set_read_timeout(Some(PATIENCE * 4)).expect("it is not zero");
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(
        !matches!(ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        "a client hangs: {bytes:?}"
    );
}

#[test]
fn half_handshakes_that_use_up_the_memory_of_clients_make_room_for_others() {
    const CROWD: usize = 400;
    let files = Files::new("budget");
    // Room for 128 handshakes at a time.
    let server = files.start("", &["-c", "2000", "-o", "read_buf_mem_limit=1"]);
    let hello = files.client().hello();
    let before = server.resident();
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect();
    let started = Instant::now();
    assert!(files.client().is_served(server.address));
    let grown = server.resident().saturating_sub(before);
    println!("served after {:?}, {grown} bytes for {CROWD}", started.elapsed());
    assert!(grown <= 4 << 20, "{grown} bytes");
    drop(crowd);
}

#[test]
fn a_storm_of_handshakes_does_not_keep_others_waiting() {
    const CROWD: usize = 1000;
    let files = Files::new("storm");
    let clear = support::server::free_port();
    let list = format!("notls:127.0.0.1:{clear}");
    let server = files.start("", &["-c", "2000", "-t", "1", "-l", &list]);
    let hello = files.client().hello();
    let mut bystander = Link::open(std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, clear))).unwrap();
    let crowd: Vec<TcpStream> = (0..CROWD).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let mut longest = Duration::ZERO;
    for mut stream in &crowd {
        stream.write_all(&hello).unwrap();
    }
    let storm = Instant::now();
    while storm.elapsed() < Duration::from_millis(500) {
        let asked = Instant::now();
        assert_eq!(bystander.ask(b"mn\r\n", b"\r\n"), b"MN\r\n");
        longest = longest.max(asked.elapsed());
    }
    println!("beside {CROWD} handshakes at once nobody waited longer than {longest:?}");
    // A crowded machine may take its time; what is measured is above.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[test]
fn clients_that_do_not_read_cost_no_more_than_in_the_clear() {
    const CROWD: usize = 300;
    let files = Files::new("unread");
    let server = files.start("", &["-c", "1000", "-L", "-m", "64"]);
    let client = files.client();
    let mut bystander = client.connect(server.address).unwrap();
    let value = vec![b'v'; 500_000];
    bystander.write_all(b"set large 0 0 500000\r\n").unwrap();
    bystander.write_all(&value).unwrap();
    assert_eq!(ask(&mut bystander, b"\r\n", b"\r\n"), b"STORED\r\n");
    bystander.write_all(b"set small 0 0 1000\r\n").unwrap();
    bystander.write_all(&value[..1000]).unwrap();
    assert_eq!(ask(&mut bystander, b"\r\n", b"\r\n"), b"STORED\r\n");
    let before = server.resident();
    let mut peak = 0;
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let mut link = client.connect(server.address).unwrap();
        let request: &[u8] = if number % 2 == 0 { b"get large\r\n" } else { b"get small\r\n" };
        link.write_all(&request.repeat(2000)).unwrap();
        crowd.push(link);
        if number % 10 == 0 {
            peak = peak.max(server.resident().saturating_sub(before));
            assert_eq!(ask(&mut bystander, b"mn\r\n", b"\r\n"), b"MN\r\n");
        }
    }
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        assert_eq!(ask(&mut bystander, b"mn\r\n", b"\r\n"), b"MN\r\n");
        peak = peak.max(server.resident().saturating_sub(before));
    }
    println!("{CROWD} clients that do not read: {peak} bytes at most");
    assert!(peak <= 64 << 20, "{peak} bytes");
    drop(crowd);
    let deadline = Instant::now() + PATIENCE;
    while server.resident() > before + (8 << 20) {
        assert!(Instant::now() < deadline, "{} bytes stay", server.resident() - before);
        assert_eq!(ask(&mut bystander, b"mn\r\n", b"\r\n"), b"MN\r\n");
    }
}

#[test]
fn with_little_memory_a_hundred_uploads_at_once_get_done() {
    let files = Files::new("uploads");
    let server = files.start("", &["-c", "1000", "-L", "-m", "64"]);
    let client = files.client();
    let value = [b"set honest 0 0 1000000\r\n", &vec![b'h'; 1_000_000][..], b"\r\n"].concat();
    let before = server.resident();
    // Each is stored, or, having waited long, told that there was no memory.
    let said: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..100)
            .map(|_| {
                let (client, server, value) = (&client, &server, &value);
                scope.spawn(move || {
                    let mut link = client.connect(server.address).unwrap();
                    link.write_all(value).unwrap();
                    ask(&mut link, b"", b"\r\n")
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let stored = said.iter().filter(|line| *line == b"STORED\r\n").count();
    let refused = said.iter().filter(|line| line.starts_with(b"SERVER_ERROR ")).count();
    let grown = server.resident().saturating_sub(before);
    println!("{stored} stored, {refused} refused, {grown} bytes more than before");
    assert!(stored + refused == 100 && stored >= 50, "{stored} stored, {refused} refused");
    assert!(grown <= 64 << 20);
}

#[test]
fn what_a_tls_connection_costs_while_it_is_idle_is_bounded() {
    const CROWD: usize = 1000;
    let files = Files::new("idle");
    let server = files.start("", &["-c", "2000"]);
    let client = files.client();
    let connect = |count: usize| -> Vec<TlsLink> {
        (0..count)
            .map(|_| {
                let mut link = client.connect(server.address).unwrap();
                ask(&mut link, b"mn\r\n", b"\r\n");
                link
            })
            .collect()
    };
    drop(connect(50));
    let before = server.resident();
    let crowd = connect(CROWD);
    let each = server.resident().saturating_sub(before) / CROWD as u64;
    println!("an idle TLS connection: {each} bytes");
    assert!(each <= 6144, "{each} bytes");
    drop(crowd);
}
