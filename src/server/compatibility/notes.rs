//! What the compatibility page says about single names: where memhold differs from memcached, why, and why something is absent.

use super::{Note, Standing};

const fn different(name: &'static str, why: &'static str) -> Note {
    Note { name, standing: Standing::Different, why }
}

const fn absent(name: &'static str, why: &'static str) -> Note {
    Note { name, standing: Standing::Absent, why }
}

const fn own(name: &'static str, why: &'static str) -> Note {
    Note { name, standing: Standing::Own, why }
}

pub(super) const HEAD: &str = "\
# Compatibility with memcached 1.6.45

Generated from the tables by `MEMHOLD_UPDATE_DOCS=1 cargo test --test tidy`; a test fails when a name of memcached's is missing here.
*Same* means: byte for byte what memcached does, proven by the conversations in `protocol-tests/transcripts`, which a real memcached has
confirmed, or by a test of the option parser. memcached's own errors (lost replies, flushed items that come
back, crashes) are not reproduced.
";

pub(super) const COMMANDS_HEAD: &str = "\
Sub-commands count with their command: `stats` with its eleven, `watch` with its ten streams, `lru_crawler` with seven.

";

pub(super) const COMMANDS: &[Note] = &[
    different("flush_all", "what was flushed never comes back, whatever delay or time a second `flush_all` names"),
    different(
        "stats",
        "class numbers and chunk sizes are memhold's until an option about sizes is given; `cachedump` lists all of a class, in no order",
    ),
    different(
        "watch",
        "lines come in the order of their `gid`; `sysevents` tell of crawls that were asked for, since the sweep is continuous",
    ),
    different(
        "lru_crawler",
        "any number of dumps at a time, never `BUSY`, and one that is not read for 30 s ends alone; `crawl` sweeps all classes; \
         `sleep` and `tocrawl` are kept and shown",
    ),
    different(
        "lru",
        "`tune` and `mode` are kept and shown: there is one clock for each class and no lists; `temp_ttl` is obeyed",
    ),
    different(
        "slabs",
        "`reassign` moves a page; without it pages move by need and at once, unless automove is 0; mode 2, `ratio`, `freeratio` and \
         `window` are kept and shown",
    ),
    different("cache_memlimit", "the limit bounds the index too"),
    different("extstore", "accepted, its numbers are kept and shown: there is no external storage"),
    absent("misbehave", "tests the system-call filter of memcached's debug build"),
];

pub(super) const OPCODES: &[Note] = &[
    different("touch", "a value behind the key is a wrong shape; memcached reads it as the next frame"),
    different("gat", "as touch"),
    different("gatk", "as touch"),
    different("stat", "as touch"),
    different("SASL list mechs", "PLAIN only"),
    different("SASL auth", "PLAIN only, against a password file; at most 16 KiB"),
];

pub(super) const OPTIONS: &[Note] = &[
    different(
        "-U, --udp-port",
        "beyond loopback only with `-o udp_answer_max`; one series of datagrams for each command, no dumps, no watchers",
    ),
    different("-m, --memory-limit", "bounds the index too; memcached takes its hash table on top"),
    different("-c, --conn-limit", "counts clients, not descriptors: `-c 1000` serves a thousand"),
    different("-f, --slab-growth-factor", "the same when given; without it sizes are finer"),
    different("-n, --slab-min-size", "the same when given; without it sizes are finer"),
    different(
        "-L, --enable-largepages",
        "takes all memory at the start; whether pages are large is the kernel's choice",
    ),
    different("-R, --max-reqs-per-event", "a turn is eight times as many requests, each of which costs an eighth"),
    different("-S, --enable-sasl", "PLAIN and a password file only; not together with `-Y`"),
    different(
        "-e, --memory-file",
        "items are kept whatever ended the process, not only after SIGUSR1; the file is memhold's own format",
    ),
    different("-i, --license", "memhold's license"),
    different("-V, --version", "memcached's version first, then memhold's own"),
];

pub(super) const EXTENDED: &[Note] = &[
    different("drop_privileges", "on by default, and denies with an error where memcached's kills"),
    different("slab_automove", "0 ends moves between classes by age; 1 and 2 are the same, pages move at once"),
    different("temporary_ttl", "items without expiry never count as temporary, as in memcached"),
    different(
        "lru_maintainer",
        "without it the lines of `stats` that speak of it are left out, as in memcached; nothing else changes",
    ),
    different("lru_crawler", "decides whether `lru_crawler` commands work; expired items are swept in any case"),
    different("ssl_ciphers", "names of TLS 1.2 suites that rustls has; not OpenSSL's list language"),
    different("ssl_min_version", "TLS 1.2 and 1.3 only"),
    absent(
        "ext_path",
        "external storage is another program's work; the start ends with a line that says so, for every `ext_` option",
    ),
    absent("ext_page_size", "external storage"),
    absent("ext_wbuf_size", "external storage"),
    absent("ext_threads", "external storage"),
    absent("ext_io_depth", "external storage"),
    absent("ext_item_size", "external storage"),
    absent("ext_item_age", "external storage"),
    absent("ext_low_ttl", "external storage"),
    absent("ext_recache_rate", "external storage"),
    absent("ext_compact_under", "external storage"),
    absent("ext_drop_under", "external storage"),
    absent("ext_max_sleep", "external storage"),
    absent("ext_max_frag", "external storage"),
    absent("ext_drop_unread", "external storage"),
    absent("relaxed_privileges", "exists in memcached's debug build only: an illegal suboption there too"),
    absent("proxy_*", "exists in proxy builds only: an illegal suboption elsewhere, there too"),
];

pub(super) const COUNTERS_HEAD: &str = "\
[docs/counters.md](counters.md) says what each line means. Lines of `stats items` and `stats slabs` are memcached's, in its order.

";

pub(super) const COUNTERS: &[Note] = &[
    different("libevent", "names memhold's own event loop"),
    different("hash_power_level", "of memhold's index, which has ten slots in a bucket"),
    different("hash_bytes", "of the index, which grows in small steps"),
    different("hash_is_expanding", "0: growing is part of storing"),
    different("slab_reassign_chunk_rescues", "0: large items move whole"),
    different("slab_reassign_busy_deletes", "0: nothing is deleted for being busy"),
    different("slab_reassign_busy_nomem", "0: a move that finds no memory is not begun"),
    different("slab_reassign_last_busy_status", "none: as above"),
    different("lru_crawler_running", "1 only while a crawl that was asked for is done"),
    different("log_worker_dropped", "0: there are no buffers between workers and watchers"),
    different("get_expired", "small: expired items are mostly found by the sweep before anybody asks"),
    different("crawler_reclaimed", "counts the continuous sweep"),
    different("crawler_items_checked", "counts the continuous sweep"),
    different("moves_to_cold", "0: there are no lists"),
    different("moves_to_warm", "0: there are no lists"),
    different("moves_within_lru", "0: there are no lists"),
    different("direct_reclaims", "0: there are no lists"),
    different("lru_bumps_dropped", "0: an access is one word written in place"),
    different("evictions", "other victims than a segmented LRU would choose"),
    absent("get_extstore", "shown with external storage only"),
    absent("get_aborted_extstore", "shown with external storage only"),
    absent("get_oom_extstore", "shown with external storage only"),
    absent("recache_from_extstore", "shown with external storage only"),
    absent("miss_from_extstore", "shown with external storage only"),
    absent("badcrc_from_extstore", "shown with external storage only"),
    absent("extstore_*", "shown with external storage only"),
    own("memhold_version", "the last line"),
];

pub(super) const SETTINGS: &[Note] = &[];

/// What `signals.rs` waits for, or ignores.
pub(super) const OUR_SIGNALS: &[&str] = &["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGPIPE"];

pub(super) const SIGNALS: &[Note] = &[
    different("SIGTERM", "connections are left with a service manager that keeps them, for `systemctl restart`"),
    different("SIGUSR1", "stops in good order; items are kept with every other end too (`-e`)"),
    own("SIGUSR2", "a new version, or new options, take over in place: items and connections stay"),
];

/// What the server reads.
pub(super) const OUR_VARIABLES: &[&str] = &[
    "MEMCACHED_PORT_FILENAME",
    "MEMCACHED_SASL_PWDB",
    "LISTEN_FDS",
    "NOTIFY_SOCKET",
    "FDSTORE",
    "WATCHDOG_USEC",
    "RUNTIME_DIRECTORY",
    "MEMHOLD_TAKEOVER",
];

pub(super) const VARIABLES: &[Note] = &[
    absent(
        "SASL_CONF_PATH",
        "there is no SASL library to configure: name the passwords by MEMCACHED_SASL_PWDB or `-o sasl_pwdb`",
    ),
    absent("T_MEMD_INITIAL_MALLOC", "for memcached's own tests: pretends that memory is taken"),
    own("LISTEN_FDS", "sockets of a service manager, and connections that it has kept"),
    own("NOTIFY_SOCKET", "a service manager that is told of the start and the end, and given connections to keep"),
    own("FDSTORE", "how much it keeps; nothing is given to one that keeps 0"),
    own("WATCHDOG_USEC", "how often it wants to hear that the server is alive"),
    own("RUNTIME_DIRECTORY", "where the service manager says runtime files belong"),
    own("MEMHOLD_TAKEOVER", "from one version to the next (SIGUSR2): not to be set by hand"),
];
