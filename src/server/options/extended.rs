//! The extended options, `-o a,b=c,...`: a row each (section 10 of the reference).

use super::number::{atof, atoi, decimal, whole};
use super::{Typed, path, text};
use crate::server::exit::{Exit, FAILURE};
use crate::settings::{HashAlgorithm, MIB, Settings, TlsVersion, UdpAnswerMax, UnfitFile, VerifyMode};
use std::ops::RangeInclusive;

/// A row of the table of extended options.
pub struct Sub {
    /// Its name; without `no_` where there are both forms.
    pub name: &'static str,
    /// The default as it would be typed; empty where nothing typed means the same.
    pub default: &'static str,
    /// One or more lines for `-h` and the documentation.
    pub help: &'static str,
    /// What it takes and does.
    pub kind: Kind,
}

/// What an extended option takes.
pub enum Kind {
    /// On as `name`, off as `no_name`; a value is ignored.
    Switch(fn(&mut Settings, bool)),
    /// Only this one name; a value is ignored.
    Word(fn(&mut Typed)),
    /// A value; the message is for when it is missing.
    Value(&'static str, Setter),
    /// A value, and what is meant without one.
    Optional(&'static str, Setter),
    /// memcached has it, memhold does not yet.
    Absent,
}

type Setter = fn(&mut Typed, &[u8]) -> Result<(), Exit>;

/// Reads the argument of one `-o`.
///
/// # Errors
/// The first element that is unknown or has a bad value.
pub fn read(typed: &mut Typed, list: &[u8]) -> Result<(), Exit> {
    // As getsubopt does: the list ends where nothing is left, so a comma at the very end is no empty element.
    let list = list.strip_suffix(b",").filter(|rest| !rest.is_empty()).unwrap_or(list);
    if list.is_empty() {
        return Ok(());
    }
    list.split(|&byte| byte == b',').try_for_each(|element| apply(typed, element))
}

fn apply(typed: &mut Typed, element: &[u8]) -> Result<(), Exit> {
    let (name, value) = match element.iter().position(|&byte| byte == b'=') {
        Some(at) => (&element[..at], Some(&element[at + 1..])),
        None => (element, None),
    };
    for sub in EXTENDED {
        if name == sub.name.as_bytes() {
            match sub.kind {
                Kind::Switch(set) => set(&mut typed.settings, true),
                Kind::Word(set) => set(typed),
                Kind::Value(missing, set) => set(typed, value.ok_or_else(|| bad(missing))?)?,
                Kind::Optional(without, set) => set(typed, value.unwrap_or(without.as_bytes()))?,
                Kind::Absent => typed.miss(&format!("-o {}", sub.name)),
            }
            return Ok(());
        }
        if name.strip_prefix(b"no_") == Some(sub.name.as_bytes()) {
            match sub.kind {
                Kind::Switch(set) => set(&mut typed.settings, false),
                _ => continue,
            }
            return Ok(());
        }
    }
    Err(bad(format!(r#"Illegal suboption "{}""#, text(element))))
}

const fn sub(name: &'static str, default: &'static str, help: &'static str, kind: Kind) -> Sub {
    Sub { name, default, help, kind }
}

/// Every extended option, in the order of `-h`.
#[rustfmt::skip]
pub static EXTENDED: &[Sub] = &[
    sub("maxconns_fast", "", "beyond -c, refuse with a line instead of not accepting (default: on)",
        Kind::Switch(|s, on| s.maxconns_fast = on)),
    sub("hashpower", "", "kept and shown; the index sizes itself. 12 to 32",
        Kind::Value("Missing numeric argument for hashpower", |t, v| {
            t.settings.hashpower_init = hashpower(atoi(v))?;
            Ok(())
        })),
    sub("tail_repair_time", "", "seconds, at least 10; kept and shown, memhold has no tail to repair",
        Kind::Value("Missing numeric argument for tail_repair_time", |t, v| {
            t.settings.tail_repair_time_seconds = atoi(v);
            if t.settings.tail_repair_time_seconds < 10 {
                return Err(bad("Cannot set tail_repair_time to less than 10 seconds"));
            }
            Ok(())
        })),
    sub("hash_algorithm", "murmur3", "jenkins, murmur3 or xxh3; kept and shown, memhold's\nown hash has a random key",
        Kind::Value("Missing hash_algorithm argument", |t, v| {
            t.settings.hash_algorithm = hash_algorithm(v)?;
            Ok(())
        })),
    sub("lru_crawler", "", "lru_crawler commands work (default: on)",
        Kind::Switch(|s, on| s.lru_crawler = on)),
    sub("lru_crawler_sleep", "100", "microseconds between items of a crawler run, up to 1000000",
        Kind::Value("Missing lru_crawler_sleep value", |t, v| {
            let range = 0..=1_000_000;
            t.settings.lru_crawler_sleep_us = within(v, range, "LRU crawler sleep must be between 0 and 1 second")?;
            Ok(())
        })),
    sub("lru_crawler_tocrawl", "0", "most items of a class that a crawler run looks at; 0 for all",
        Kind::Value("Missing lru_crawler_tocrawl value", |t, v| {
            let message = "lru_crawler_tocrawl takes a numeric 32bit value";
            t.settings.lru_crawler_tocrawl = whole(v).ok_or_else(|| bad(message))?;
            Ok(())
        })),
    sub("read_buf_mem_limit", "0", "megabytes for the buffers of all connections; 0 means 64",
        Kind::Value("Missing read_buf_mem_limit argument", |t, v| {
            t.settings.read_buf_mem_limit_bytes = number("read_buf_mem_limit", v)? * MIB;
            Ok(())
        })),
    sub("lru_maintainer", "", "kept; without it some lines of stats are not shown (default: on)",
        Kind::Switch(|s, on| {
            s.lru_maintainer = on;
            s.lru_segmented = on;
        })),
    sub("hot_lru_pct", "20", "percent of memory for the hot LRU, 1 to 79; kept and shown",
        Kind::Value("Missing hot_lru_pct argument", |t, v| {
            t.settings.hot_lru_pct = within(v, 1..=79, "hot_lru_pct must be > 1 and < 80")?;
            Ok(())
        })),
    sub("warm_lru_pct", "40", "percent of memory for the warm LRU, 1 to 79; kept and shown",
        Kind::Value("Missing warm_lru_pct argument", |t, v| {
            t.settings.warm_lru_pct = within(v, 1..=79, "warm_lru_pct must be > 1 and < 80")?;
            Ok(())
        })),
    sub("hot_max_factor", "0.2", "idle time, against the cold LRU's, at which items leave\nhot; kept and shown",
        Kind::Value("Missing hot_max_factor argument", |t, v| {
            t.settings.hot_max_factor = above_zero(v, "hot_max_factor must be > 0")?;
            Ok(())
        })),
    sub("warm_max_factor", "2", "the same for warm",
        Kind::Value("Missing warm_max_factor argument", |t, v| {
            t.settings.warm_max_factor = above_zero(v, "warm_max_factor must be > 0")?;
            Ok(())
        })),
    sub("temporary_ttl", "", "items that live at most so many seconds are never\nevicted (default: off)",
        Kind::Value("Missing temporary_ttl argument", |t, v| {
            t.settings.temp_lru = true;
            t.settings.temporary_ttl_seconds = atoi(v).cast_unsigned();
            Ok(())
        })),
    sub("idle_timeout", "0", "seconds after which an idle TCP connection is closed; 0 for never",
        Kind::Value("Missing numeric argument for idle_timeout", |t, v| {
            t.settings.idle_timeout_seconds = atoi(v);
            Ok(())
        })),
    sub("slab_chunk_max", "512", "largest chunk in kilobytes; larger items take several.\n\
         Given, sizes are memcached's own instead of the finer ones",
        Kind::Value("Missing slab_chunk_max argument", |t, v| {
            t.settings.slab_chunk_max_bytes = chunk_max(v)?;
            t.settings.slab_table_given = true;
            t.chunk_max_given = true;
            Ok(())
        })),
    sub("slab_sizes", "", "sizes of the slab classes, as a-b-c, instead of a growth factor",
        Kind::Value("Missing slab_sizes argument", |t, v| {
            t.slab_sizes = Some(v.to_vec());
            t.settings.slab_table_given = true;
            Ok(())
        })),
    sub("slab_reassign", "", "pages may move between slab classes (default: on)",
        Kind::Switch(|s, on| s.slab_reassign = on)),
    sub("slab_automove", "1", "whether pages move by themselves: 0 for not, 1 or 2",
        Kind::Optional("1", |t, v| {
            t.settings.slab_automove = within(v, 0..=2, "slab_automove must be between 0 and 2")?;
            Ok(())
        })),
    sub("no_slab_automove", "", "the same as slab_automove=0",
        Kind::Word(|t| t.settings.slab_automove = 0)),
    sub("slab_automove_ratio", "0.8", "how much younger a class must be to be given a page;\nkept and shown",
        Kind::Value("Missing slab_automove_ratio argument", |t, v| {
            t.settings.slab_automove_ratio = atof(v);
            if t.settings.slab_automove_ratio <= 0.0 || t.settings.slab_automove_ratio > 1.0 {
                return Err(bad("slab_automove_ratio must be > 0 and < 1"));
            }
            Ok(())
        })),
    sub("slab_automove_window", "10", "seconds over which ages are averaged, 3 to 1800; kept and shown",
        Kind::Value("Missing slab_automove_window argument", |t, v| {
            let message = "slab_automove_window must be > 2 and < 1800";
            t.settings.slab_automove_window = within(v, 3..=1800, message)?;
            Ok(())
        })),
    sub("slab_automove_freeratio", "0.01", "share of memory that is kept free; kept and shown",
        Kind::Value("Missing slab_automove_freeratio argument", |t, v| {
            t.settings.slab_automove_freeratio =
                decimal(v).ok_or_else(|| unparsed("slab_automove_freeratio"))?;
            Ok(())
        })),
    sub("watcher_logbuf_size", "256", "kilobytes of buffer for each watcher",
        Kind::Value("Missing watcher_logbuf_size argument", |t, v| {
            t.settings.watcher_logbuf_bytes = number("watcher_logbuf_size", v)? * 1024;
            Ok(())
        })),
    sub("worker_logbuf_size", "64", "kilobytes of buffer for what each worker tells watchers",
        Kind::Value("Missing worker_logbuf_size argument", |t, v| {
            t.settings.worker_logbuf_bytes = number("worker_logbuf_size", v)? * 1024;
            Ok(())
        })),
    sub("track_sizes", "", "count item sizes, for stats sizes",
        Kind::Word(|t| t.settings.track_sizes = true)),
    sub("no_hashexpand", "", "accepted; the index grows all the same",
        Kind::Word(|t| t.settings.hash_expand = false)),
    sub("modern", "", "accepted, no effect",
        Kind::Word(|_| {})),
    sub("no_modern", "", "defaults of memcached 1.4: no page moves, no fast\n\
         refusal, flat LRU, no crawler, largest chunk of a page",
        Kind::Word(no_modern)),
    sub("no_chunked_items", "", "the same as slab_chunk_max=1024",
        Kind::Word(|t| {
            t.settings.slab_chunk_max_bytes = PAGE_BYTES;
            t.settings.slab_table_given = true;
        })),
    sub("inline_ascii_resp", "", "accepted, no effect",
        Kind::Switch(|_, _| {})),
    sub("resp_obj_mem_limit", "", "accepted, no effect",
        Kind::Word(|t| {
            t.warnings.push("DEPRECATED: resp_obj_mem_limit no longer used. See read_buf_mem_limit,".to_owned());
        })),
    sub("sock_cookie_id", "0", "mark of the listening sockets, for packet filters",
        Kind::Value("Missing sock_cookie_id argument", |t, v| {
            t.settings.sock_cookie_id = atoi(v).cast_unsigned();
            Ok(())
        })),
    sub("memory_file_unfit", "refuse", "what to do with a memory file that is damaged, foreign or\n\
         of before a reboot: refuse to start, or set_aside and start empty",
        Kind::Value("Missing memory_file_unfit argument", |t, v| {
            t.settings.memory_file_unfit = match v {
                b"refuse" => UnfitFile::Refuse,
                b"set_aside" => UnfitFile::SetAside,
                _ => return Err(bad("memory_file_unfit must be refuse or set_aside")),
            };
            Ok(())
        })),
    sub("keep_memory", "", "without -e, keep items in a file of the service's runtime\n\
         directory, where systemd gives one (default: on)",
        Kind::Switch(|s, on| s.keep_memory = on)),
    sub("drop_privileges", "", "allow only the system calls that a server needs (default: on;\n\
         given, the start fails where the kernel has no filter for them)",
        Kind::Switch(|s, on| s.drop_privileges = Some(on))),
    sub("udp_answer_max", "", "most bytes of an answer over UDP, with k or m behind; \"none\" for no\n\
         other bound than the largest item. Without it UDP serves loopback only",
        Kind::Value("Missing udp_answer_max argument", |t, v| {
            t.settings.udp_answer_max = udp_answer_max(v)?;
            Ok(())
        })),
    sub("sasl_pwdb", "", "memhold's own: file of user:password lines for -S, in place of\n\
         MEMCACHED_SASL_PWDB; read again at SIGHUP and when it changes",
        Kind::Value("Missing sasl_pwdb argument", |t, v| {
            t.settings.sasl_pwdb = Some(path(v));
            Ok(())
        })),
    sub("ssl_chain_cert", "", "certificate chain of the server, PEM",
        Kind::Value("Missing ssl_chain_cert argument", |t, v| {
            t.settings.tls.chain_cert = Some(path(v));
            Ok(())
        })),
    sub("ssl_key", "", "private key",
        Kind::Value("Missing ssl_key argument", |t, v| {
            t.settings.tls.key = Some(path(v));
            Ok(())
        })),
    sub("ssl_verify_mode", "0", "client certificates: 0 not asked for, 1 checked if there is one,\n2 or 3 required",
        Kind::Value("Missing ssl_verify_mode argument", |t, v| {
            t.settings.tls.verify_mode = verify_mode(v)?;
            Ok(())
        })),
    sub("ssl_keyformat", "1", "format of the private key: 1 PEM, 2 DER",
        Kind::Value("Missing ssl_keyformat argument", |t, v| {
            t.settings.tls.key_format = whole(v).ok_or_else(|| unparsed("ssl_keyformat"))?;
            Ok(())
        })),
    sub("ssl_ciphers", "", "cipher suites of TLS 1.2, by OpenSSL's names and colons between",
        Kind::Value("Missing ssl_ciphers argument", |t, v| {
            t.settings.tls.ciphers = Some(text(v));
            Ok(())
        })),
    sub("ssl_ca_cert", "", "authorities of client certificates, PEM",
        Kind::Value("Missing ssl_ca_cert argument", |t, v| {
            t.settings.tls.ca_cert = Some(path(v));
            Ok(())
        })),
    sub("ssl_wbuf_size", "16", "kilobytes; kept and shown, memhold's workers share their buffers",
        Kind::Value("Missing ssl_wbuf_size argument", |t, v| {
            t.settings.tls.wbuf_bytes = number("ssl_wbuf_size", v)? * 1024;
            Ok(())
        })),
    sub("ssl_session_cache", "", "clients may resume their sessions (default: off)",
        Kind::Word(|t| t.settings.tls.session_cache = true)),
    sub("ssl_kernel_tls", "", "kept and shown; the server encrypts itself",
        Kind::Word(|t| t.settings.tls.kernel_tls = true)),
    sub("ssl_min_version", "2", "least version of TLS: 2 for TLS 1.2, 3 for TLS 1.3",
        Kind::Value("Missing ssl_min_version argument", |t, v| {
            t.settings.tls.min_version = min_version(v)?;
            Ok(())
        })),
    sub("ext_path", "", "file for external storage", Kind::Absent),
    sub("ext_page_size", "", "megabytes of a page of external storage", Kind::Absent),
    sub("ext_wbuf_size", "", "megabytes of its write buffers", Kind::Absent),
    sub("ext_threads", "", "threads that read it", Kind::Absent),
    sub("ext_io_depth", "", "reads under way at a time", Kind::Absent),
    sub("ext_item_size", "", "least item that goes there", Kind::Absent),
    sub("ext_item_age", "", "least idle time of an item that goes there", Kind::Absent),
    sub("ext_low_ttl", "", "TTLs below are kept apart", Kind::Absent),
    sub("ext_recache_rate", "", "how often a read brings an item back", Kind::Absent),
    sub("ext_compact_under", "", "free pages below which it is compacted", Kind::Absent),
    sub("ext_drop_under", "", "free pages below which items are dropped", Kind::Absent),
    sub("ext_max_sleep", "", "longest sleep of its threads", Kind::Absent),
    sub("ext_max_frag", "", "fragmentation that is tolerated", Kind::Absent),
    sub("ext_drop_unread", "", "compaction drops what was never read", Kind::Absent),
];

/// memcached's page, which bounds chunk sizes.
pub const PAGE_BYTES: usize = 1024 * 1024;

fn no_modern(typed: &mut Typed) {
    let settings = &mut typed.settings;
    settings.slab_reassign = false;
    settings.slab_automove = 0;
    settings.maxconns_fast = false;
    settings.lru_segmented = false;
    settings.lru_maintainer = false;
    settings.lru_crawler = false;
    settings.hash_algorithm = HashAlgorithm::Jenkins;
    settings.slab_chunk_max_bytes = PAGE_BYTES;
    settings.slab_table_given = true;
}

fn bad(message: impl Into<String>) -> Exit {
    Exit::new(FAILURE, message)
}

fn unparsed(name: &str) -> Exit {
    bad(format!("could not parse argument to {name}"))
}

fn number(name: &str, value: &[u8]) -> Result<u64, Exit> {
    whole(value).map(u64::from).ok_or_else(|| unparsed(name))
}

fn within(value: &[u8], range: RangeInclusive<u32>, message: &str) -> Result<u32, Exit> {
    u32::try_from(atoi(value)).ok().filter(|number| range.contains(number)).ok_or_else(|| bad(message))
}

fn above_zero(value: &[u8], message: &str) -> Result<f64, Exit> {
    Some(atof(value)).filter(|&factor| factor > 0.0).ok_or_else(|| bad(message))
}

fn hashpower(power: i32) -> Result<u32, Exit> {
    match u32::try_from(power) {
        Ok(power @ 12..=32) => Ok(power),
        Ok(33..) => Err(Exit {
            code: FAILURE,
            lines: vec![
                format!("Initial hashtable multiplier of {power} is too high"),
                r#"Choose a value based on "STAT hash_power_level" from a running instance"#.to_owned(),
            ],
        }),
        _ => Err(bad(format!("Initial hashtable multiplier of {power} is too low"))),
    }
}

fn hash_algorithm(value: &[u8]) -> Result<HashAlgorithm, Exit> {
    match value {
        b"jenkins" => Ok(HashAlgorithm::Jenkins),
        b"murmur3" => Ok(HashAlgorithm::Murmur3),
        b"xxh3" => Ok(HashAlgorithm::Xxh3),
        _ => Err(bad("Unknown hash_algorithm option (jenkins, murmur3, xxh3)")),
    }
}

fn verify_mode(value: &[u8]) -> Result<VerifyMode, Exit> {
    match whole(value).ok_or_else(|| unparsed("ssl_verify_mode"))? {
        0 => Ok(VerifyMode::None),
        1 => Ok(VerifyMode::Request),
        2 => Ok(VerifyMode::Require),
        3 => Ok(VerifyMode::Once),
        _ => Err(bad("Invalid ssl_verify_mode. Use help to see valid options.")),
    }
}

fn min_version(value: &[u8]) -> Result<TlsVersion, Exit> {
    match whole(value).ok_or_else(|| unparsed("ssl_min_version"))? {
        2 => Ok(TlsVersion::Tls12),
        3 => Ok(TlsVersion::Tls13),
        // memcached offers them where its OpenSSL still does. Taking them for 1.2 would shut clients out in silence.
        0 | 1 => Err(bad("ssl_min_version: TLS 1.0 and 1.1 are OpenSSL's alone, memhold has TLS 1.2 (2) and 1.3 (3)")),
        _ => Err(bad("Invalid ssl_min_version. Use help to see valid options.")),
    }
}

/// Least bound of answers over UDP: room for a header and the line that says why there is no answer.
const UDP_ANSWER_LEAST: usize = 64;

fn udp_answer_max(value: &[u8]) -> Result<UdpAnswerMax, Exit> {
    if value == b"none" {
        return Ok(UdpAnswerMax::Waived);
    }
    let (digits, unit) = match value {
        [digits @ .., b'k' | b'K'] => (digits, 1024),
        [digits @ .., b'm' | b'M'] => (digits, 1024 * 1024),
        digits => (digits, 1),
    };
    let bytes = whole(digits).ok_or_else(|| unparsed("udp_answer_max"))? as usize * unit;
    if bytes < UDP_ANSWER_LEAST {
        return Err(bad(format!("udp_answer_max must be at least {UDP_ANSWER_LEAST} bytes, or none")));
    }
    Ok(UdpAnswerMax::Bytes(bytes))
}

/// Kilobytes, 1 to 1024, as bytes.
fn chunk_max(value: &[u8]) -> Result<usize, Exit> {
    let (negative, digits) = value.strip_prefix(b"-").map_or((false, value), |digits| (true, digits));
    let kilobytes = whole(digits).ok_or_else(|| unparsed("slab_chunk_max"))?;
    if negative || kilobytes == 0 {
        return Err(bad("slab_chunk_max must be >= 0"));
    }
    let bytes = usize::try_from(kilobytes).unwrap_or(usize::MAX).saturating_mul(1024);
    if bytes > PAGE_BYTES { Err(bad("slab_chunk_max must be specified in kilobytes.")) } else { Ok(bytes) }
}
