//! The short and long options, a row each, in the order of `-h` (section 9 of the reference).
//!
//! Adding one: a field in [`Settings`](crate::settings::Settings) and a row here; help, documentation and the checks
//! over the table follow.

use super::number::{atof, atoi, strtol};
use super::{Action, Opt, extended, path, read, read_file, text};
use crate::server::config;
use crate::server::exit::{Exit, FAILURE, USAGE};
use crate::server::manual;
use crate::settings::{BindingProtocol, MIB};

/// Every option.
pub static OPTIONS: &[Opt] = &[
    Opt {
        short: b'p',
        long: "port",
        value: "num",
        default: "11211",
        help: "TCP port to listen on; 0 for none, -1 for any free one",
        action: Action::Set(|t, v| {
            t.settings.tcp_port = atoi(v);
            t.tcp_given = true;
            Ok(())
        }),
    },
    Opt {
        short: b'U',
        long: "udp-port",
        value: "num",
        default: "0",
        help: "UDP port to listen on; 0 for none, -1 for any free one. Beyond\n\
               loopback it needs -o udp_answer_max",
        action: Action::Set(|t, v| {
            t.settings.udp_port = atoi(v);
            t.udp_given = true;
            Ok(())
        }),
    },
    Opt {
        short: b's',
        long: "unix-socket",
        value: "file",
        default: "",
        help: "UNIX socket to listen on, instead of TCP and UDP",
        action: Action::Set(|t, v| {
            t.settings.socket_path = Some(path(v));
            Ok(())
        }),
    },
    Opt {
        short: b'a',
        long: "unix-mask",
        value: "mask",
        default: "700",
        help: "permission bits of that socket, in octal",
        action: Action::Set(|t, v| {
            // Only permission bits mean anything to chmod; the cut is memcached's `int`.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut as memcached cuts")]
            let mask = strtol(v, 8) as u32;
            t.settings.unix_mask = mask;
            Ok(())
        }),
    },
    Opt {
        short: b'A',
        long: "enable-shutdown",
        value: "",
        default: "",
        help: r#"allow the "shutdown" command"#,
        action: Action::Set(|t, _| {
            t.settings.shutdown_command = true;
            Ok(())
        }),
    },
    Opt {
        short: b'l',
        long: "listen",
        value: "addr",
        default: "",
        help: "addresses to listen on, comma separated; <host>, <host>:<port>, [<IPv6>]:<port>\n\
               (default: all of them); may be repeated",
        action: Action::Set(|t, v| {
            add_listener(&mut t.settings.inter, &text(v));
            Ok(())
        }),
    },
    Opt {
        short: b'd',
        long: "daemon",
        value: "",
        default: "",
        help: "detach and run in the background",
        action: Action::Set(|t, _| {
            t.settings.daemon = true;
            Ok(())
        }),
    },
    Opt {
        short: b'r',
        long: "enable-coredumps",
        value: "",
        default: "",
        help: "raise the limit of core files as far as it goes",
        action: Action::Set(|t, _| {
            t.settings.coredumps = true;
            Ok(())
        }),
    },
    Opt {
        short: b'u',
        long: "user",
        value: "user",
        default: "",
        help: "user to become; needed when started as root",
        action: Action::Set(|t, v| {
            t.settings.user = Some(text(v));
            Ok(())
        }),
    },
    Opt {
        short: b'm',
        long: "memory-limit",
        value: "num",
        default: "64",
        help: "item memory in megabytes",
        action: Action::Set(|t, v| {
            // A negative number is a very large one, as it is for memcached.
            #[expect(clippy::cast_sign_loss, reason = "memcached casts to size_t")]
            let megabytes = i64::from(atoi(v)) as u64;
            t.settings.memory_bytes = megabytes.wrapping_mul(MIB);
            Ok(())
        }),
    },
    Opt {
        short: b'M',
        long: "disable-evictions",
        value: "",
        default: "",
        help: "answer an error when memory is full, instead of evicting",
        action: Action::Set(|t, _| {
            t.settings.evictions = false;
            Ok(())
        }),
    },
    Opt {
        short: b'c',
        long: "conn-limit",
        value: "num",
        default: "1024",
        help: "most connections at a time",
        action: Action::Set(|t, v| {
            t.settings.maxconns = positive(v, "Maximum connections must be greater than 0")?;
            Ok(())
        }),
    },
    Opt {
        short: b'k',
        long: "lock-memory",
        value: "",
        default: "",
        help: "lock all memory, so that it is never swapped out",
        action: Action::Set(|t, _| {
            t.settings.lock_memory = true;
            Ok(())
        }),
    },
    Opt {
        short: b'v',
        long: "verbose",
        value: "",
        default: "",
        help: "say more on standard error: errors and warnings;\n\
               -vv also commands and replies; -vvv also state changes",
        action: Action::Set(|t, _| {
            t.settings.verbosity = t.settings.verbosity.saturating_add(1);
            Ok(())
        }),
    },
    Opt {
        short: b'h',
        long: "help",
        value: "",
        default: "",
        help: "print this help and exit",
        action: Action::Print(manual::help),
    },
    Opt {
        short: b'i',
        long: "license",
        value: "",
        default: "",
        help: "print the license and exit",
        action: Action::Print(manual::license),
    },
    Opt {
        short: b'V',
        long: "version",
        value: "",
        default: "",
        help: "print the version and exit",
        action: Action::Print(manual::version),
    },
    Opt {
        short: b'P',
        long: "pidfile",
        value: "file",
        default: "",
        help: "write the process id to <file>; with -d it is removed at the end",
        action: Action::Set(|t, v| {
            t.settings.pid_file = Some(path(v));
            Ok(())
        }),
    },
    Opt {
        short: b'f',
        long: "slab-growth-factor",
        value: "num",
        default: "1.25",
        help: "growth factor of chunk sizes; given, sizes are memcached's\n\
               own instead of the finer ones",
        action: Action::Set(|t, v| {
            t.settings.growth_factor = atof(v);
            t.settings.slab_table_given = true;
            if t.settings.growth_factor > 1.0 { Ok(()) } else { Err(bad("Factor must be greater than 1")) }
        }),
    },
    Opt {
        short: b'n',
        long: "slab-min-size",
        value: "bytes",
        default: "48",
        help: "least room for key, value and flags; given, sizes are\n\
               memcached's own instead of the finer ones",
        action: Action::Set(|t, v| {
            t.settings.chunk_size_bytes = positive(v, "Chunk size must be greater than 0")?;
            t.settings.slab_table_given = true;
            Ok(())
        }),
    },
    Opt {
        short: b'L',
        long: "enable-largepages",
        value: "",
        default: "",
        help: "take all item memory at the start",
        action: Action::Set(|t, _| {
            t.settings.preallocate = true;
            Ok(())
        }),
    },
    Opt {
        short: b'D',
        long: "",
        value: "char",
        default: ":",
        help: "delimiter between the prefix and the rest of a key, for\n\
               \"stats detail\"; given, these statistics are on from the start",
        action: Action::Set(|t, v| {
            t.settings.prefix_delimiter = *v.first().ok_or_else(|| bad("No delimiter specified"))?;
            t.settings.detail_enabled = true;
            Ok(())
        }),
    },
    Opt {
        short: b't',
        long: "threads",
        value: "num",
        default: "4",
        help: "number of worker threads",
        action: Action::Set(|t, v| {
            t.settings.num_threads = positive(v, "Number of threads must be greater than 0")?;
            if t.settings.num_threads > 64 {
                t.warnings.extend(MANY_THREADS.map(str::to_owned));
            }
            Ok(())
        }),
    },
    Opt {
        short: b'R',
        long: "max-reqs-per-event",
        value: "num",
        default: "20",
        help: "a turn of one connection, before others get theirs, is eight\n\
               times as many requests (each costs an eighth of memcached's)",
        action: Action::Set(|t, v| {
            t.settings.reqs_per_event = positive(v, "Number of requests per event must be greater than 0")?;
            Ok(())
        }),
    },
    Opt {
        short: b'C',
        long: "disable-cas",
        value: "",
        default: "",
        help: "no CAS ids",
        action: Action::Set(|t, _| {
            t.settings.cas_enabled = false;
            Ok(())
        }),
    },
    Opt {
        short: b'b',
        long: "listen-backlog",
        value: "num",
        default: "1024",
        help: "connections that may wait to be accepted",
        action: Action::Set(|t, v| {
            t.settings.tcp_backlog = atoi(v);
            Ok(())
        }),
    },
    Opt {
        short: b'B',
        long: "protocol",
        value: "name",
        default: "auto",
        help: "protocol: ascii, binary or auto, where the first byte decides",
        action: Action::Set(|t, v| {
            t.settings.binding_protocol = protocol(v)?;
            t.protocol_given = true;
            Ok(())
        }),
    },
    Opt {
        short: b'I',
        long: "max-item-size",
        value: "num",
        default: "1m",
        help: "size of the largest item, in bytes or with k or m behind;\n1k to 1024m",
        action: Action::Set(|t, v| {
            t.settings.item_size_max_bytes = size(v);
            Ok(())
        }),
    },
    Opt {
        short: b'S',
        long: "enable-sasl",
        value: "",
        default: "",
        help: "SASL authentication (PLAIN), in the binary protocol only;\nname the passwords by MEMCACHED_SASL_PWDB or -o sasl_pwdb",
        action: Action::Set(|t, _| {
            t.settings.sasl = true;
            Ok(())
        }),
    },
    Opt {
        short: b'F',
        long: "disable-flush-all",
        value: "",
        default: "",
        help: "refuse the flush_all command",
        action: Action::Set(|t, _| {
            t.settings.flush_enabled = false;
            Ok(())
        }),
    },
    Opt {
        short: b'X',
        long: "disable-dumping",
        value: "",
        default: "",
        help: "refuse stats cachedump, stats detail and the dumps of lru_crawler",
        action: Action::Set(|t, _| {
            t.settings.dump_enabled = false;
            Ok(())
        }),
    },
    Opt {
        short: b'W',
        long: "disable-watch",
        value: "",
        default: "",
        help: "refuse the watch command",
        action: Action::Set(|t, _| {
            t.settings.watch_enabled = false;
            Ok(())
        }),
    },
    Opt {
        short: b'Y',
        long: "auth-file",
        value: "file",
        default: "",
        help: "authentication in the text protocol; up to 8 lines of\nuser:password, read again at SIGHUP",
        action: Action::Set(|t, v| {
            t.settings.auth_file = Some(path(v));
            Ok(())
        }),
    },
    Opt {
        short: b'e',
        long: "memory-file",
        value: "file",
        default: "",
        help: "keep item memory in a file of a RAM disk: the next start finds its items there,\n\
               whatever ended this one",
        action: Action::Set(|t, v| {
            t.settings.memory_file = Some(path(v));
            Ok(())
        }),
    },
    Opt {
        short: b'Z',
        long: "enable-ssl",
        value: "",
        default: "",
        help: "TLS on TCP, with -o ssl_chain_cert and ssl_key; an address of -l may have\n\
               notls:, btls: (no client certificate) or mtls: (one is required) in front",
        action: Action::Set(|t, _| {
            t.settings.tls.enabled = true;
            Ok(())
        }),
    },
    Opt {
        short: b'o',
        long: "extended",
        value: "list",
        default: "",
        help: "comma separated list of the options below;\nmost switches have a form with 'no_' in front",
        action: Action::Set(extended::read),
    },
    Opt {
        short: b'N',
        long: "napi-ids",
        value: "num",
        default: "",
        help: "number of receive queues of the network card (napi_ids): clients of one go\n\
               to one worker; at most as many as threads",
        action: Action::Set(|t, v| {
            t.settings.num_napi_ids = u32::try_from(atoi(v))
                .ok()
                .filter(|&ids| ids > 0)
                .ok_or_else(|| Exit::new(FAILURE, "Maximum number of NAPI IDs must be greater than 0"))?;
            Ok(())
        }),
    },
    Opt {
        short: 0,
        long: "config",
        value: "file",
        default: "",
        help: "read options from <file>, one a line, as from Debian's\n\
               /etc/memcached.conf; what is typed later counts. A - before\nthe name: the file may be missing",
        action: Action::Set(read_file),
    },
    Opt {
        short: 0,
        long: "instance",
        value: "name",
        default: "",
        help: "a number: read /etc/memhold.conf and listen on that port;\na name: read /etc/memhold_<name>.conf",
        action: Action::Set(|t, v| {
            let words = config::instance(v)?;
            read(t, "--instance", &words)
        }),
    },
    Opt {
        short: 0,
        long: "check-config",
        value: "",
        default: "",
        help: "check the options, say what is wrong with them, and exit",
        action: Action::Set(|t, _| {
            t.check_only = true;
            Ok(())
        }),
    },
    Opt {
        short: 0,
        long: "check-takeover",
        value: "",
        default: "",
        help: "say what a server that runs has to know before it gives way to this one",
        action: Action::Hidden(|t| t.check_takeover = true),
    },
    Opt {
        short: 0,
        long: "debug-commands",
        value: "",
        default: "",
        help: "the commands of memcached's debug build, for test suites",
        action: Action::Hidden(|t| t.settings.debug_commands = true),
    },
];

/// Long names that memcached does not have.
pub(super) const OURS: &[&str] = &["config", "instance", "check-config", "check-takeover", "debug-commands"];

const MANY_THREADS: [&str; 2] = [
    "WARNING: Setting a high number of workerthreads is not recommended.",
    " Set this value to the number of cores in your machine or less.",
];

fn bad(message: &str) -> Exit {
    Exit::new(FAILURE, message)
}

fn positive(argument: &[u8], message: &str) -> Result<u32, Exit> {
    u32::try_from(atoi(argument)).ok().filter(|&number| number > 0).ok_or_else(|| bad(message))
}

/// Adds to the list of addresses. **QUIRK** (section 15.1): what is part of the list already is not added.
fn add_listener(inter: &mut Option<String>, addresses: &str) {
    match inter {
        None => *inter = Some(addresses.to_owned()),
        Some(list) if list.contains(addresses) => {}
        Some(list) => {
            list.push(',');
            list.push_str(addresses);
        }
    }
}

fn protocol(argument: &[u8]) -> Result<BindingProtocol, Exit> {
    match argument {
        b"auto" => Ok(BindingProtocol::Negotiating),
        b"ascii" => Ok(BindingProtocol::Ascii),
        b"binary" => Ok(BindingProtocol::Binary),
        _ => Err(Exit {
            code: USAGE,
            lines: vec![
                format!("Invalid value for binding protocol: {}", text(argument)),
                " -- should be one of auto, binary, or ascii".to_owned(),
            ],
        }),
    }
}

/// A size with an optional `k` or `m`. Nonsense is 0, which the checks refuse.
fn size(argument: &[u8]) -> usize {
    let (digits, unit) = match argument {
        [digits @ .., b'k' | b'K'] => (digits, 1024),
        [digits @ .., b'm' | b'M'] => (digits, 1024 * 1024),
        digits => (digits, 1),
    };
    usize::try_from(atoi(digits)).unwrap_or(0).saturating_mul(unit)
}
