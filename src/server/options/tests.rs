//! Every text and exit code of sections 9 and 10, as calls of the parser; recorded from memcached 1.6.18 where 1.6.45
//! says the same.

use super::extended::{EXTENDED, Kind};
use super::table::OPTIONS;
use super::*;
use crate::settings::{BindingProtocol, HashAlgorithm, MIB, TlsVersion, UdpAnswerMax, UnfitFile, VerifyMode};
use std::path::PathBuf;

/// How `Settings` should differ from the default.
type Change = fn(&mut Settings);

fn words(line: &[&str]) -> Vec<Vec<u8>> {
    line.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn settings(line: &[&str]) -> Settings {
    parse("memhold", &words(line)).unwrap().settings
}

fn exit(line: &[&str]) -> (u8, String) {
    let exit = parse("memhold", &words(line)).expect_err(&format!("{line:?} should be refused"));
    (exit.code, exit.lines.join("\n"))
}

#[test]
fn bad_values_end_with_memcacheds_words() {
    let cases: &[(&[&str], u8, &str)] = &[
        (&["-q"], 1, "memhold: invalid option -- 'q'\nIllegal argument \"?\""),
        (&["--foo"], 1, "memhold: unrecognized option '--foo'\nIllegal argument \"?\""),
        (&["-p"], 1, "memhold: option requires an argument -- 'p'\nIllegal argument \"?\""),
        (&["-p", "65536"], 64, "ERROR: Invalid port number 65536."),
        (&["-c", "0"], 1, "Maximum connections must be greater than 0"),
        (&["-c", "-3"], 1, "Maximum connections must be greater than 0"),
        (&["-f", "1"], 1, "Factor must be greater than 1"),
        (&["-f", "x"], 1, "Factor must be greater than 1"),
        (&["-n", "0"], 1, "Chunk size must be greater than 0"),
        (&["-D", ""], 1, "No delimiter specified"),
        (&["-N", "0"], 1, "Maximum number of NAPI IDs must be greater than 0"),
        (&["-N", "x"], 1, "Maximum number of NAPI IDs must be greater than 0"),
        (&["-N", "5"], 64, "Number of napi_ids(5) cannot be greater than number of threads(4)"),
        (&["-D", " "], 1, "No delimiter specified"),
        (&["-t", "0"], 1, "Number of threads must be greater than 0"),
        (&["-R", "0"], 1, "Number of requests per event must be greater than 0"),
        (&["-R", "-1"], 1, "Number of requests per event must be greater than 0"),
        (&["-B", "foo"], 64, "Invalid value for binding protocol: foo\n -- should be one of auto, binary, or ascii"),
        (&["-I", "1000"], 64, "Item max size cannot be less than 1024 bytes."),
        (&["-I", "x"], 64, "Item max size cannot be less than 1024 bytes."),
        (&["-I", ""], 64, "Item max size cannot be less than 1024 bytes."),
        (&["-I", "2g"], 64, "Item max size cannot be less than 1024 bytes."),
        (&["-I", "1025m", "-m", "4000"], 64, "Cannot set item size limit higher than a gigabyte."),
        (&["-I", "2m", "-m", "2"], 64, "Cannot set item size limit higher than 1/2 of memory max."),
        (&["-m", "1"], 64, "Cannot set item size limit higher than 1/2 of memory max."),
        (&["-m", "0"], 64, "Cannot set item size limit higher than 1/2 of memory max."),
        (&["-I", "100k"], 64, "slab_chunk_max (bytes: 524288) cannot be larger than -I (item_size_max 102400)"),
        (
            &["-I", "1023k"],
            64,
            "-I (item_size_max: 1047552) must be evenly divisible by slab_chunk_max (bytes: 524288)",
        ),
        (
            &["-I", "512k", "-o", "no_modern"],
            64,
            "slab_chunk_max (bytes: 1048576) cannot be larger than -I (item_size_max 524288)",
        ),
        (
            &["-I", "900k", "-o", "slab_chunk_max=300"],
            64,
            "slab_chunk_max (bytes: 307200) must divide evenly into 1048576 (slab_page_size)",
        ),
        (&["-o", "foo"], 1, "Illegal suboption \"foo\""),
        (&["-o", "foo=3,modern"], 1, "Illegal suboption \"foo=3\""),
        (&["-o", ","], 1, "Illegal suboption \"\""),
        (&["-o", "modern,,x"], 1, "Illegal suboption \"\""),
        (&["-o", "relaxed_privileges"], 1, "Illegal suboption \"relaxed_privileges\""),
        (&["-o", "proxy_config=x"], 1, "Illegal suboption \"proxy_config=x\""),
        (&["-o", "no_hashpower"], 1, "Illegal suboption \"no_hashpower\""),
    ];
    for (line, code, text) in cases {
        assert_eq!(exit(line), (*code, (*text).to_owned()), "for {line:?}");
    }
}

#[test]
fn bad_extended_values_end_with_memcacheds_words() {
    let cases: &[(&str, u8, &str)] = &[
        ("hashpower", 1, "Missing numeric argument for hashpower"),
        ("hashpower=", 1, "Initial hashtable multiplier of 0 is too low"),
        ("hashpower=3", 1, "Initial hashtable multiplier of 3 is too low"),
        ("hashpower=-3", 1, "Initial hashtable multiplier of -3 is too low"),
        (
            "hashpower=40",
            1,
            "Initial hashtable multiplier of 40 is too high\n\
             Choose a value based on \"STAT hash_power_level\" from a running instance",
        ),
        ("slab_automove=3", 1, "slab_automove must be between 0 and 2"),
        ("slab_automove_ratio", 1, "Missing slab_automove_ratio argument"),
        ("slab_automove_ratio=0", 1, "slab_automove_ratio must be > 0 and < 1"),
        ("slab_automove_ratio=x", 1, "slab_automove_ratio must be > 0 and < 1"),
        ("slab_automove_ratio=2", 1, "slab_automove_ratio must be > 0 and < 1"),
        ("slab_automove_window", 1, "Missing slab_automove_window argument"),
        ("slab_automove_window=2", 1, "slab_automove_window must be > 2 and < 1800"),
        ("slab_automove_window=1801", 1, "slab_automove_window must be > 2 and < 1800"),
        ("slab_automove_freeratio", 1, "Missing slab_automove_freeratio argument"),
        ("slab_automove_freeratio=abc", 1, "could not parse argument to slab_automove_freeratio"),
        ("tail_repair_time", 1, "Missing numeric argument for tail_repair_time"),
        ("tail_repair_time=9", 1, "Cannot set tail_repair_time to less than 10 seconds"),
        ("hash_algorithm", 1, "Missing hash_algorithm argument"),
        ("hash_algorithm=x", 1, "Unknown hash_algorithm option (jenkins, murmur3, xxh3)"),
        ("lru_crawler_sleep", 1, "Missing lru_crawler_sleep value"),
        ("lru_crawler_sleep=1000001", 1, "LRU crawler sleep must be between 0 and 1 second"),
        ("lru_crawler_sleep=-1", 1, "LRU crawler sleep must be between 0 and 1 second"),
        ("lru_crawler_tocrawl", 1, "Missing lru_crawler_tocrawl value"),
        ("lru_crawler_tocrawl=x", 1, "lru_crawler_tocrawl takes a numeric 32bit value"),
        ("lru_crawler_tocrawl=-5", 1, "lru_crawler_tocrawl takes a numeric 32bit value"),
        ("hot_lru_pct", 1, "Missing hot_lru_pct argument"),
        ("hot_lru_pct=0", 1, "hot_lru_pct must be > 1 and < 80"),
        ("hot_lru_pct=80", 1, "hot_lru_pct must be > 1 and < 80"),
        ("warm_lru_pct", 1, "Missing warm_lru_pct argument"),
        ("warm_lru_pct=x", 1, "warm_lru_pct must be > 1 and < 80"),
        ("hot_lru_pct=50,warm_lru_pct=40", 64, "hot_lru_pct + warm_lru_pct cannot be more than 80% combined"),
        ("hot_max_factor", 1, "Missing hot_max_factor argument"),
        ("hot_max_factor=0", 1, "hot_max_factor must be > 0"),
        ("warm_max_factor", 1, "Missing warm_max_factor argument"),
        ("warm_max_factor=-1", 1, "warm_max_factor must be > 0"),
        ("temporary_ttl", 1, "Missing temporary_ttl argument"),
        ("temporary_ttl=5,no_lru_maintainer", 64, "temporary_ttl requires lru_maintainer to be enabled"),
        ("idle_timeout", 1, "Missing numeric argument for idle_timeout"),
        ("watcher_logbuf_size", 1, "Missing watcher_logbuf_size argument"),
        ("watcher_logbuf_size=x", 1, "could not parse argument to watcher_logbuf_size"),
        ("worker_logbuf_size", 1, "Missing worker_logbuf_size argument"),
        ("worker_logbuf_size=-1", 1, "could not parse argument to worker_logbuf_size"),
        ("read_buf_mem_limit", 1, "Missing read_buf_mem_limit argument"),
        ("read_buf_mem_limit=x", 1, "could not parse argument to read_buf_mem_limit"),
        ("slab_chunk_max", 1, "Missing slab_chunk_max argument"),
        ("slab_chunk_max=x", 1, "could not parse argument to slab_chunk_max"),
        ("slab_chunk_max=0", 1, "slab_chunk_max must be >= 0"),
        ("slab_chunk_max=-1", 1, "slab_chunk_max must be >= 0"),
        ("slab_chunk_max=1025", 1, "slab_chunk_max must be specified in kilobytes."),
        ("slab_sizes", 1, "Missing slab_sizes argument"),
        ("slab_sizes=", 64, ""),
        ("slab_sizes=x", 64, "slab size 0 is out of valid range"),
        ("slab_sizes=-1", 64, "slab size 1 is out of valid range"),
        ("slab_sizes=524289", 64, "slab size 524289 is out of valid range"),
        ("slab_sizes=100-90", 64, "slab size 90 cannot be lower than or equal to a previous class size"),
        ("slab_sizes=100-108", 64, "slab size 108 must be at least 8 bytes larger than previous class"),
        ("sock_cookie_id", 1, "Missing sock_cookie_id argument"),
    ];
    for (list, code, text) in cases {
        assert_eq!(exit(&["-o", list]), (*code, (*text).to_owned()), "for -o {list}");
    }
}

#[test]
fn conflicts_are_told_in_memcacheds_order() {
    let line = ["-p", "65536", "-o", "temporary_ttl=5,no_lru_maintainer", "-o", "hot_lru_pct=60,warm_lru_pct=30"];
    let with = |more: &[&'static str]| exit(&[&line[..], more].concat()).1;
    assert!(with(&["-I", "5", "-o", "slab_sizes=5"]).starts_with("Item max size"));
    assert!(with(&["-o", "slab_sizes=5"]).starts_with("slab size 5"));
    assert!(with(&[]).starts_with("hot_lru_pct + warm_lru_pct"));
    assert!(exit(&line[..4]).1.starts_with("temporary_ttl requires"));
    assert!(exit(&["-m", "1", "-I", "2000m"]).1.contains("1/2 of memory max"));
}

#[test]
fn sixty_two_slab_sizes_are_the_most() {
    let list = |count: usize| {
        let sizes: Vec<String> = (1..=count).map(|n| (100 * n).to_string()).collect();
        format!("slab_sizes={}", sizes.join("-"))
    };
    assert_eq!(settings(&["-o", &list(62)]).slab_sizes.map(|sizes| sizes.len()), Some(62));
    assert_eq!(exit(&["-o", &list(63)]), (64, "too many slab classes specified".to_owned()));
}

#[test]
fn a_hash_power_must_exceed_the_lock_tables() {
    let check = |line: &[&str]| check::hashpower(&settings(line));
    assert!(check(&[]).is_ok());
    assert!(check(&["-o", "hashpower=13"]).is_ok());
    assert!(check(&["-o", "hashpower=12", "-t", "3"]).is_ok());
    let exit = check(&["-o", "hashpower=12"]).unwrap_err();
    assert_eq!(exit.code, 1);
    assert_eq!(exit.lines[0], "Hash table power size (12) cannot be equal to or less than item lock table (12)");
    assert_eq!(exit.lines.len(), 3);
}

#[test]
fn what_is_missing_is_said_in_one_line() {
    let absent: Vec<&str> = EXTENDED.iter().filter(|sub| !sub.built()).map(|sub| sub.name).collect();
    assert!(absent.iter().all(|name| name.starts_with("ext_")) && !absent.is_empty(), "{absent:?}");
    assert!(OPTIONS.iter().all(|opt| !matches!(opt.action, Action::Absent)), "every short option is there");
    for name in absent {
        assert_eq!(exit(&["-o", &format!("{name}=1")]), (1, format!("not supported yet: -o {name}")));
    }
    assert_eq!(exit(&["-S", "--version"]).0, 0, "libmemcached asks so");
    assert_eq!(exit(&["-S", "-c", "0"]).1, "Maximum connections must be greater than 0");
    assert_eq!(settings(&["-U", "0", "-B", "auto"]), Settings::default());
}

#[test]
fn authentication_settles_the_protocol() {
    let protocol = |line: &[&str]| settings(line).binding_protocol;
    assert_eq!(protocol(&[]), BindingProtocol::Negotiating);
    assert_eq!(protocol(&["-S"]), BindingProtocol::Binary);
    assert_eq!(protocol(&["-Y", "file"]), BindingProtocol::Ascii);
    assert_eq!(protocol(&["-B", "ascii", "-Y", "file"]), BindingProtocol::Ascii);
    let no_ascii = "ERROR: You cannot allow the ASCII protocol while using SASL.";
    let no_binary = "ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.";
    for (line, text) in [
        (&["-S", "-B", "ascii"][..], no_ascii),
        (&["-B", "auto", "-S"], no_ascii),
        (&["-Y", "file", "-B", "binary"], no_binary),
        (&["-Y", "file", "-B", "auto"], no_binary),
        // memcached takes this and lets everybody in without SASL.
        (&["-Y", "file", "-S"], no_binary),
    ] {
        assert_eq!(exit(line), (64, text.to_owned()), "for {line:?}");
    }
}

#[test]
fn bad_tls_and_udp_options_are_refused() {
    for (list, message) in [
        ("ssl_key", "Missing ssl_key argument"),
        ("ssl_chain_cert", "Missing ssl_chain_cert argument"),
        ("ssl_ca_cert", "Missing ssl_ca_cert argument"),
        ("ssl_ciphers", "Missing ssl_ciphers argument"),
        ("ssl_verify_mode=x", "could not parse argument to ssl_verify_mode"),
        ("ssl_verify_mode=4", "Invalid ssl_verify_mode. Use help to see valid options."),
        ("ssl_keyformat=x", "could not parse argument to ssl_keyformat"),
        ("ssl_wbuf_size=x", "could not parse argument to ssl_wbuf_size"),
        ("ssl_min_version=x", "could not parse argument to ssl_min_version"),
        ("ssl_min_version=4", "Invalid ssl_min_version. Use help to see valid options."),
        (
            "ssl_min_version=1",
            "ssl_min_version: TLS 1.0 and 1.1 are OpenSSL's alone, memhold has TLS 1.2 (2) and 1.3 (3)",
        ),
        ("no_ssl_session_cache", "Illegal suboption \"no_ssl_session_cache\""),
        ("udp_answer_max", "Missing udp_answer_max argument"),
        ("udp_answer_max=x", "could not parse argument to udp_answer_max"),
        ("udp_answer_max=63", "udp_answer_max must be at least 64 bytes, or none"),
    ] {
        assert_eq!(exit(&["-o", list]), (1, message.to_owned()), "for {list}");
    }
    assert_eq!(exit(&["-Z", "-p", "0"]), (64, "ERROR: You cannot enable SSL without a TCP port.".to_owned()));
}

#[test]
fn options_set_what_they_say() {
    let cases: &[(&[&str], Change)] = &[
        (&["-p", "1"], |s| s.tcp_port = 1),
        (&["-p", "1", "-p", "2"], |s| s.tcp_port = 2),
        (&["-p", " 21"], |s| s.tcp_port = 21),
        (&["-p", "x"], |s| s.tcp_port = 0),
        (&["--port=-1"], |s| s.tcp_port = -1),
        (&["-s", "/run/x"], |s| s.socket_path = Some(PathBuf::from("/run/x"))),
        (&["-a", "0777"], |s| s.unix_mask = 0o777),
        (&["-A"], |s| s.shutdown_command = true),
        (&["-l", "::1,a", "-l", "b"], |s| s.inter = Some("::1,a,b".into())),
        (&["-l", "127.0.0.1:11", "-l", "127.0.0.1"], |s| s.inter = Some("127.0.0.1:11".into())),
        (&["-d"], |s| s.daemon = true),
        (&["-r"], |s| s.coredumps = true),
        (&["-u", "memcache"], |s| s.user = Some("memcache".into())),
        (&["-m", "100"], |s| s.memory_bytes = 100 << 20),
        (&["-m", "-1"], |s| s.memory_bytes = 18_446_744_073_708_503_040),
        (&["-M"], |s| s.evictions = false),
        (&["-c", "8"], |s| s.maxconns = 8),
        (&["-k"], |s| s.lock_memory = true),
        (&["-vvv"], |s| s.verbosity = 3),
        (&["-P", "f"], |s| s.pid_file = Some("f".into())),
        (&["-f", "1.5x"], |s| (s.growth_factor, s.slab_table_given) = (1.5, true)),
        (&["-n", "100"], |s| (s.chunk_size_bytes, s.slab_table_given) = (100, true)),
        (&["-L"], |s| s.preallocate = true),
        (&["-D", "/x"], |s| (s.prefix_delimiter, s.detail_enabled) = (b'/', true)),
        (&["-t", "2"], |s| s.num_threads = 2),
        (&["-R", "3"], |s| s.reqs_per_event = 3),
        (&["-C"], |s| s.cas_enabled = false),
        (&["-b", "-5"], |s| s.tcp_backlog = -5),
        (&["-B", "ascii"], |s| s.binding_protocol = BindingProtocol::Ascii),
        (&["-I", "512k"], |s| s.item_size_max_bytes = 512 << 10),
        (&["-I", "1536K"], |s| s.item_size_max_bytes = 1536 << 10),
        (&["-F"], |s| s.flush_enabled = false),
        (&["-N", "4"], |s| s.num_napi_ids = 4),
        (&["-X"], |s| s.dump_enabled = false),
        (&["-W"], |s| s.watch_enabled = false),
        (&["--debug-commands"], |s| s.debug_commands = true),
        (&["-e", "/dev/shm/x"], |s| s.memory_file = Some("/dev/shm/x".into())),
        (&["--memory-file=/dev/shm/x"], |s| s.memory_file = Some("/dev/shm/x".into())),
        (&["-o", "memory_file_unfit=set_aside"], |s| s.memory_file_unfit = UnfitFile::SetAside),
        (&["-o", "no_keep_memory"], |s| s.keep_memory = false),
        (&["-Z"], |s| s.tls.enabled = true),
        (&["-U", "5"], |s| (s.udp_port, s.tcp_port) = (5, 5)),
        (&["-U", "5", "-p", "6"], |s| (s.udp_port, s.tcp_port) = (5, 6)),
        (&["-U", "0"], |_| {}),
        (&["extra", "--", "-q"], |_| {}),
    ];
    for (line, change) in cases {
        let mut expected = Settings::default();
        change(&mut expected);
        assert_eq!(settings(line), expected, "for {line:?}");
    }
}

#[test]
fn extended_options_set_what_they_say() {
    let cases: &[(&str, Change)] = &[
        ("", |_| {}),
        ("modern,", |_| {}),
        ("modern=5,inline_ascii_resp,no_inline_ascii_resp,resp_obj_mem_limit=9", |_| {}),
        ("no_maxconns_fast", |s| s.maxconns_fast = false),
        ("no_maxconns_fast,maxconns_fast", |_| {}),
        ("hashpower=20", |s| s.hashpower_init = 20),
        ("drop_privileges", |s| s.drop_privileges = Some(true)),
        ("no_drop_privileges", |s| s.drop_privileges = Some(false)),
        ("no_hashexpand", |s| s.hash_expand = false),
        ("no_slab_reassign", |s| s.slab_reassign = false),
        ("slab_automove=2,slab_automove", |_| {}),
        ("slab_automove=2", |s| s.slab_automove = 2),
        ("no_slab_automove", |s| s.slab_automove = 0),
        ("slab_automove_ratio=1", |s| s.slab_automove_ratio = 1.0),
        ("slab_automove_window=1800", |s| s.slab_automove_window = 1800),
        ("slab_automove_freeratio=0.5", |s| s.slab_automove_freeratio = 0.5),
        ("tail_repair_time=10", |s| s.tail_repair_time_seconds = 10),
        ("hash_algorithm=xxh3", |s| s.hash_algorithm = HashAlgorithm::Xxh3),
        ("no_lru_crawler", |s| s.lru_crawler = false),
        ("lru_crawler_sleep=5,lru_crawler_tocrawl=6", |s| (s.lru_crawler_sleep_us, s.lru_crawler_tocrawl) = (5, 6)),
        ("no_lru_maintainer", |s| (s.lru_maintainer, s.lru_segmented) = (false, false)),
        ("hot_lru_pct=1,warm_lru_pct=79", |s| (s.hot_lru_pct, s.warm_lru_pct) = (1, 79)),
        ("hot_max_factor=3,warm_max_factor=4.5", |s| (s.hot_max_factor, s.warm_max_factor) = (3.0, 4.5)),
        ("temporary_ttl=-1", |s| (s.temp_lru, s.temporary_ttl_seconds) = (true, u32::MAX)),
        ("idle_timeout=30", |s| s.idle_timeout_seconds = 30),
        ("watcher_logbuf_size=1,worker_logbuf_size=2", |s| {
            (s.watcher_logbuf_bytes, s.worker_logbuf_bytes) = (1024, 2048);
        }),
        ("slab_sizes=100-200-300", |s| (s.slab_sizes, s.slab_table_given) = (Some(vec![100, 200, 300]), true)),
        ("slab_chunk_max=1024", |s| (s.slab_chunk_max_bytes, s.slab_table_given) = (1 << 20, true)),
        ("no_chunked_items", |s| (s.slab_chunk_max_bytes, s.slab_table_given) = (1 << 20, true)),
        ("track_sizes", |s| s.track_sizes = true),
        ("read_buf_mem_limit=16", |s| s.read_buf_mem_limit_bytes = 16 << 20),
        ("sock_cookie_id=7", |s| s.sock_cookie_id = 7),
        ("ssl_chain_cert=c,ssl_key=k,ssl_ca_cert=a", |s| {
            s.tls.chain_cert = Some("c".into());
            (s.tls.key, s.tls.ca_cert) = (Some("k".into()), Some("a".into()));
        }),
        ("ssl_verify_mode=1", |s| s.tls.verify_mode = VerifyMode::Request),
        ("ssl_verify_mode=3", |s| s.tls.verify_mode = VerifyMode::Once),
        ("ssl_keyformat=2,ssl_ciphers=A:B,ssl_wbuf_size=8", |s| {
            (s.tls.key_format, s.tls.ciphers, s.tls.wbuf_bytes) = (2, Some("A:B".to_owned()), 8192);
        }),
        ("ssl_session_cache,ssl_kernel_tls=1", |s| (s.tls.session_cache, s.tls.kernel_tls) = (true, true)),
        ("ssl_min_version=3", |s| s.tls.min_version = TlsVersion::Tls13),
        ("udp_answer_max=none", |s| s.udp_answer_max = UdpAnswerMax::Waived),
        ("udp_answer_max=2K", |s| s.udp_answer_max = UdpAnswerMax::Bytes(2048)),
        ("no_modern", |s| {
            s.slab_reassign = false;
            s.slab_automove = 0;
            s.maxconns_fast = false;
            s.lru_crawler = false;
            (s.lru_maintainer, s.lru_segmented) = (false, false);
            s.hash_algorithm = HashAlgorithm::Jenkins;
            (s.slab_chunk_max_bytes, s.slab_table_given) = (1 << 20, true);
        }),
    ];
    for (list, change) in cases {
        let mut expected = Settings::default();
        change(&mut expected);
        assert_eq!(settings(&["-o", list]), expected, "for -o {list}");
    }
}

#[test]
fn a_large_item_limit_chooses_the_largest_chunk_unless_one_is_given() {
    assert_eq!(settings(&["-I", "2m", "-o", "no_modern"]).slab_chunk_max_bytes, 512 << 10);
    assert_eq!(settings(&["-I", "2m", "-o", "slab_chunk_max=1024"]).slab_chunk_max_bytes, 1 << 20);
}

#[test]
fn warnings_come_before_whatever_ends_the_start() {
    let parsed = parse("memhold", &words(&["-t", "65", "-o", "resp_obj_mem_limit"])).unwrap();
    assert_eq!(parsed.warnings.len(), 3);
    assert!(parsed.warnings[0].starts_with("WARNING: Setting a high number of worker"));
    assert_eq!(parsed.warnings[2], "DEPRECATED: resp_obj_mem_limit no longer used. See read_buf_mem_limit,");
    let refused = exit(&["-t", "65", "-c", "0"]);
    assert!(refused.1.starts_with("WARNING") && refused.1.ends_with("greater than 0"), "{refused:?}");
}

#[test]
fn help_version_and_license_end_well_where_they_stand() {
    for (line, begin) in [("-h", "memcached 1.6.45"), ("-V", "memcached 1.6.45"), ("--license", "memcached 1.6.45")] {
        let exit = exit(&[line, "-q"]);
        assert_eq!(exit.0, 0);
        assert!(exit.1.starts_with(begin));
    }
    assert_eq!(exit(&["-q", "-h"]).0, 1);
}

#[test]
fn no_option_is_there_twice_and_each_has_help() {
    let mut shorts: Vec<u8> = OPTIONS.iter().map(|opt| opt.short).filter(|&short| short != 0).collect();
    let mut longs: Vec<&str> = OPTIONS.iter().map(|opt| opt.long).filter(|long| !long.is_empty()).collect();
    let mut subs: Vec<&str> = EXTENDED.iter().map(|sub| sub.name).collect();
    let counts = (shorts.len(), longs.len(), subs.len());
    shorts.sort_unstable();
    shorts.dedup();
    longs.sort_unstable();
    longs.dedup();
    subs.sort_unstable();
    subs.dedup();
    assert_eq!((shorts.len(), longs.len(), subs.len()), counts);
    assert!(OPTIONS.iter().all(|opt| !opt.help.is_empty()));
    assert!(EXTENDED.iter().all(|sub| !sub.help.is_empty()));
}

#[test]
fn the_default_shown_is_the_default_used() {
    // Giving an option may turn on what goes with it even when its value is the default.
    let plain = |mut settings: Settings| {
        settings.slab_table_given = false;
        settings.detail_enabled = false;
        settings
    };
    for opt in OPTIONS.iter().filter(|opt| !opt.default.is_empty()) {
        let line = [format!("-{}", char::from(opt.short)), opt.default.to_owned()];
        let given = settings(&line.each_ref().map(String::as_str));
        assert_eq!(plain(given), Settings::default(), "for {line:?}");
    }
    for sub in EXTENDED.iter().filter(|sub| !sub.default.is_empty()) {
        let line = ["-o".to_owned(), format!("{}={}", sub.name, sub.default)];
        let given = settings(&line.each_ref().map(String::as_str));
        assert_eq!(plain(given), Settings::default(), "for {line:?}");
        assert!(matches!(sub.kind, Kind::Value(..) | Kind::Optional(..)), "{} takes no value", sub.name);
    }
}

#[test]
fn any_bytes_are_parsed_without_a_panic() {
    let pieces: [&[u8]; 8] = [b"-", b"--", b"-o", b"=", b",", b"\xff", b"-I", b"slab_sizes=-"];
    let mut refused = 0;
    for a in pieces {
        for b in pieces {
            for c in pieces {
                let joined = vec![[a, b, c].concat()];
                let apart = vec![a.to_vec(), b.to_vec(), c.to_vec()];
                refused += usize::from(parse("memhold", &joined).is_err());
                refused += usize::from(parse("memhold", &apart).is_err());
            }
        }
    }
    assert!(refused > 0);
}

/// Writes files of these names and contents into a folder of their own and hands over the folder's path.
fn with_files(files: &[(&str, &str)], test: impl FnOnce(&str)) {
    let folder = std::env::temp_dir().join(format!("memhold-options-{}-{}", std::process::id(), files[0].0));
    std::fs::create_dir_all(&folder).unwrap();
    let shown = folder.display().to_string();
    for (name, text) in files {
        std::fs::write(folder.join(name), text.replace("HERE", &shown)).unwrap();
    }
    test(&shown);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn options_of_a_file_count_where_the_file_is_named() {
    with_files(&[("order", "-m 100\n-c 10\n-l 127.0.0.1\n-l ::1\n")], |folder| {
        let file = format!("{folder}/order");
        let settings = settings(&["-c", "5", "-m", "90", "--config", &file, "-m", "200"]);
        assert_eq!((settings.maxconns, settings.memory_bytes), (10, 200 * MIB));
        assert_eq!(settings.inter.as_deref(), Some("127.0.0.1,::1"));
    });
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_line() {
    let text = "# fine\n-m 100\n-c 0\n";
    with_files(&[("bad", text), ("unknown", "\n--nonsense\n"), ("early", "-U 7\n-t 0\n")], |folder| {
        let said = |name: &str| exit(&["--config", &format!("{folder}/{name}")]);
        let expected = format!("{folder}/bad:3: this option is refused:\nMaximum connections must be greater than 0");
        assert_eq!(said("bad"), (1, expected));
        let expected = format!("{folder}/unknown:2: unrecognized option '--nonsense'\nIllegal argument \"?\"");
        assert_eq!(said("unknown"), (1, expected));
        assert!(said("early").1.contains("early:2: this option is refused:"), "later lines are still read");
    });
}

#[test]
fn files_that_name_each_other_end_somewhere() {
    with_files(&[("loop", "-v\n--config HERE/loop\n")], |folder| {
        let (code, said) = exit(&["--config", &format!("{folder}/loop")]);
        assert!(code == 1 && said.ends_with("too many files that name one another"), "{said}");
    });
}

#[test]
fn options_can_be_checked_without_a_start() {
    with_files(&[("check", "-m 100\nport 7\n")], |folder| {
        let file = format!("{folder}/check");
        let expected = format!("{file}:2: ignored, an option begins with -\nthe options can be used");
        assert_eq!(exit(&["--check-config", "--config", &file]), (0, expected));
        assert_eq!(exit(&["--check-config", "--config", &file, "-m", "1"]).0, 64);
    });
}
