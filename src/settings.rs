//! What the operator asked for, as values that can no longer be wrong, and how `stats settings` shows them.
//!
//! [`Settings`] is fixed once the server has started; what commands change while it runs (`verbosity`, `lru tune`,
//! `cache_memlimit`...) starts from it and then lives in [`LiveSettings`]. Reading arguments is `server::options`; turning
//! settings into sockets, memory and threads is the rest of `server`. A leaf: this file names no other layer.

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The version that clients are told; they compare it.
pub const MEMCACHED_VERSION: &str = "1.6.45";

/// `-B`: which protocols a listener speaks unless its own `proto[...]` says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindingProtocol {
    /// The first byte of each connection decides.
    #[default]
    Negotiating,
    /// Text and meta only.
    Ascii,
    /// Binary only.
    Binary,
}

impl BindingProtocol {
    /// As `stats settings` and the log name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BindingProtocol::Negotiating => "auto-negotiate",
            BindingProtocol::Ascii => "ascii",
            BindingProtocol::Binary => "binary",
        }
    }
}

/// `-o memory_file_unfit`: what becomes of a memory file that is damaged, foreign or of before a reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnfitFile {
    /// It stays as it is, and the server does not start.
    #[default]
    Refuse,
    /// It is given another name, and the server starts empty.
    SetAside,
}

/// `-o hash_algorithm`: kept and shown; memhold's own hash is keyed and not exchangeable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// memcached 1.4's.
    Jenkins,
    /// The default.
    #[default]
    Murmur3,
    /// XXH3.
    Xxh3,
}

impl HashAlgorithm {
    /// As it is given and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HashAlgorithm::Jenkins => "jenkins",
            HashAlgorithm::Murmur3 => "murmur3",
            HashAlgorithm::Xxh3 => "xxh3",
        }
    }
}

/// TLS, as `-Z` and the `ssl_*` options of `-o` ask for it (section 15.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// `-Z`.
    pub enabled: bool,
    /// `ssl_chain_cert`: certificates of the server, PEM.
    pub chain_cert: Option<PathBuf>,
    /// `ssl_key`: the private key, in the format of `key_format`.
    pub key: Option<PathBuf>,
    /// `ssl_keyformat` as typed: 1 PEM, 2 DER.
    pub key_format: u32,
    /// `ssl_verify_mode`.
    pub verify_mode: VerifyMode,
    /// `ssl_ca_cert`: authorities of client certificates, PEM.
    pub ca_cert: Option<PathBuf>,
    /// `ssl_ciphers`: suites of TLS 1.2 by name.
    pub ciphers: Option<String>,
    /// `ssl_min_version`: refuse what is older.
    pub min_version: TlsVersion,
    /// `ssl_session_cache`: clients may resume their sessions.
    pub session_cache: bool,
    /// `ssl_kernel_tls`: kept and shown.
    pub kernel_tls: bool,
    /// `ssl_wbuf_size` in bytes: kept and shown.
    pub wbuf_bytes: u64,
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            enabled: false,
            chain_cert: None,
            key: None,
            key_format: 1,
            verify_mode: VerifyMode::None,
            ca_cert: None,
            ciphers: None,
            min_version: TlsVersion::Tls12,
            session_cache: false,
            kernel_tls: false,
            wbuf_bytes: 16 * 1024,
        }
    }
}

/// `ssl_verify_mode`: what is asked of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// No certificate.
    #[default]
    None,
    /// A certificate, which may be missing but not be wrong.
    Request,
    /// A certificate.
    Require,
    /// The same; OpenSSL asks for it only once in a connection, as TLS without renegotiation always does.
    Once,
}

impl VerifyMode {
    /// As `stats settings` shows it: OpenSSL's bits.
    fn number(self) -> u32 {
        match self {
            VerifyMode::None => 0,
            VerifyMode::Request => 1,
            VerifyMode::Require => 3,
            VerifyMode::Once => 7,
        }
    }
}

/// Versions of TLS that there are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    /// As `stats settings` shows it.
    fn name(self) -> &'static str {
        match self {
            TlsVersion::Tls12 => "tlsv1.2",
            TlsVersion::Tls13 => "tlsv1.3",
        }
    }
}

/// `udp_answer_max`: the bound of answers over UDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpAnswerMax {
    /// Nothing was said: only loopback is served.
    #[default]
    Unsaid,
    /// Waived (`none`): the largest item is the bound.
    Waived,
    /// Bytes, headers of datagrams included.
    Bytes(usize),
}

/// Every option of the command line (sections 9 and 10 of the reference), by memcached's names.
#[expect(clippy::struct_excessive_bools, reason = "memcached's switches, one field each")]
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `-p`: TCP port; 0 for none, -1 for any free one, at most 65535.
    pub tcp_port: i32,
    /// `-U`: UDP port; 0 for none.
    pub udp_port: i32,
    /// `-s`: listen on this unix socket only.
    pub socket_path: Option<PathBuf>,
    /// `-a`: permission bits of that socket.
    pub unix_mask: u32,
    /// `-l`: the list as given, repeated ones joined by commas; `None` listens everywhere.
    pub inter: Option<String>,
    /// `-b`: length of the listen queue; not checked, the kernel bounds it.
    pub tcp_backlog: i32,
    /// `-B`.
    pub binding_protocol: BindingProtocol,
    /// `-o sock_cookie_id`: `SO_MARK` of the listeners, 0 for none.
    pub sock_cookie_id: u32,
    /// `-N`: number of NAPI ids, 0 for none.
    pub num_napi_ids: u32,

    /// `-c`: most connections, above 0.
    pub maxconns: u32,
    /// `-o maxconns_fast`: refuse with a line beyond the limit instead of not accepting.
    pub maxconns_fast: bool,
    /// `-o idle_timeout` in seconds, as typed; 0 and below mean none. TCP only.
    pub idle_timeout_seconds: i32,
    /// `-R`: requests of one conn before others get a turn, above 0.
    pub reqs_per_event: u32,
    /// `-o read_buf_mem_limit` in bytes, over all workers; 0 for none.
    pub read_buf_mem_limit_bytes: u64,
    /// `-t`: workers, above 0.
    pub num_threads: u32,

    /// `-m` in bytes.
    pub memory_bytes: u64,
    /// `-M` not given.
    pub evictions: bool,
    /// `-I` in bytes, 1 KiB to 1 GiB.
    pub item_size_max_bytes: usize,
    /// `-f`, above 1.
    pub growth_factor: f64,
    /// `-n` in bytes, above 0.
    pub chunk_size_bytes: u32,
    /// `-o slab_sizes` in bytes, ascending.
    pub slab_sizes: Option<Vec<usize>>,
    /// `-o slab_chunk_max` in bytes.
    pub slab_chunk_max_bytes: usize,
    /// Whether any option named the sizes of slab classes (`-f`, `-n`, `slab_sizes`, `slab_chunk_max`,
    /// `no_chunked_items`, `no_modern`): then the classes are memcached's exactly.
    pub slab_table_given: bool,
    /// `-L`: take all memory at start.
    pub preallocate: bool,
    /// `-C` not given.
    pub cas_enabled: bool,
    /// `-o drop_privileges`: filter system calls. `None` when not given: filter where the kernel can.
    pub drop_privileges: Option<bool>,
    /// `-k`.
    pub lock_memory: bool,
    /// `-e`: file that holds item memory.
    pub memory_file: Option<PathBuf>,
    /// `-o memory_file_unfit`: what to do with a file that cannot be taken over.
    pub memory_file_unfit: UnfitFile,
    /// `-o keep_memory`: without `-e`, keep items in the service's runtime directory.
    pub keep_memory: bool,
    /// `$RUNTIME_DIRECTORY`: where systemd lets a service keep what outlives its process.
    pub runtime_directory: Option<PathBuf>,
    /// `-o hashpower`: kept and shown, 0 when not given; the index sizes itself.
    pub hashpower_init: u32,
    /// `-o no_hashexpand` not given; kept only.
    pub hash_expand: bool,
    /// `-o hash_algorithm`.
    pub hash_algorithm: HashAlgorithm,

    /// `-o slab_reassign`: pages may move between classes.
    pub slab_reassign: bool,
    /// `-o slab_automove`: 0 to 2.
    pub slab_automove: u32,
    /// `-o slab_automove_ratio`, in (0, 1].
    pub slab_automove_ratio: f64,
    /// `-o slab_automove_window`, 3 to 1800.
    pub slab_automove_window: u32,
    /// `-o slab_automove_freeratio`.
    pub slab_automove_freeratio: f64,
    /// `-o tail_repair_time` in seconds, 0 for off.
    pub tail_repair_time_seconds: i32,
    /// `-o lru_crawler`.
    pub lru_crawler: bool,
    /// `-o lru_crawler_sleep` in microseconds, up to a second.
    pub lru_crawler_sleep_us: u32,
    /// `-o lru_crawler_tocrawl`: items of a class a run looks at, 0 for all.
    pub lru_crawler_tocrawl: u32,
    /// `-o lru_maintainer`.
    pub lru_maintainer: bool,
    /// Segmented LRU at start; off only together with the maintainer.
    pub lru_segmented: bool,
    /// `-o hot_lru_pct`, 1 to 79.
    pub hot_lru_pct: u32,
    /// `-o warm_lru_pct`, 1 to 79.
    pub warm_lru_pct: u32,
    /// `-o hot_max_factor`, above 0.
    pub hot_max_factor: f64,
    /// `-o warm_max_factor`, above 0.
    pub warm_max_factor: f64,
    /// `-o temporary_ttl` was given.
    pub temp_lru: bool,
    /// `-o temporary_ttl` in seconds; 61 is shown while it is off.
    pub temporary_ttl_seconds: u32,
    /// `-o track_sizes`: `stats sizes` works.
    pub track_sizes: bool,

    /// `-A`.
    pub shutdown_command: bool,
    /// `-F` not given.
    pub flush_enabled: bool,
    /// `-X` not given.
    pub dump_enabled: bool,
    /// `-W` not given.
    pub watch_enabled: bool,
    /// `-D`: delimiter of prefixes in `stats detail`.
    pub prefix_delimiter: u8,
    /// `-D` was given: `stats detail` is on from the start.
    pub detail_enabled: bool,
    /// `-S`.
    pub sasl: bool,
    /// `-o sasl_pwdb`, or `MEMCACHED_SASL_PWDB` of the environment: file of those who may come in with `-S`.
    pub sasl_pwdb: Option<PathBuf>,
    /// `-Y`.
    pub auth_file: Option<PathBuf>,
    /// `-Z` and what belongs to it.
    pub tls: TlsSettings,
    /// `-o udp_answer_max` (memhold's own): how large an answer over UDP may be.
    pub udp_answer_max: UdpAnswerMax,
    /// `-o watcher_logbuf_size` in bytes.
    pub watcher_logbuf_bytes: u64,
    /// `-o worker_logbuf_size` in bytes.
    pub worker_logbuf_bytes: u64,

    /// `-v`: how often.
    pub verbosity: u32,
    /// `-d`.
    pub daemon: bool,
    /// `-r`.
    pub coredumps: bool,
    /// `-u`.
    pub user: Option<String>,
    /// `-P`.
    pub pid_file: Option<PathBuf>,
    /// `MEMCACHED_PORT_FILENAME` of the environment: where the bound ports are written.
    pub port_file: Option<PathBuf>,
    /// `--debug-commands`: memcached's debug commands exist (section 16.6).
    pub debug_commands: bool,
}

/// Bytes in a MiB.
pub const MIB: u64 = 1024 * 1024;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            tcp_port: 11211,
            udp_port: 0,
            socket_path: None,
            unix_mask: 0o700,
            inter: None,
            tcp_backlog: 1024,
            binding_protocol: BindingProtocol::Negotiating,
            sock_cookie_id: 0,
            num_napi_ids: 0,
            maxconns: 1024,
            maxconns_fast: true,
            idle_timeout_seconds: 0,
            reqs_per_event: 20,
            read_buf_mem_limit_bytes: 0,
            num_threads: 4,
            memory_bytes: 64 * MIB,
            evictions: true,
            item_size_max_bytes: 1024 * 1024,
            growth_factor: 1.25,
            chunk_size_bytes: 48,
            slab_sizes: None,
            slab_chunk_max_bytes: 512 * 1024,
            slab_table_given: false,
            preallocate: false,
            cas_enabled: true,
            drop_privileges: None,
            lock_memory: false,
            memory_file: None,
            memory_file_unfit: UnfitFile::Refuse,
            keep_memory: true,
            runtime_directory: None,
            hashpower_init: 0,
            hash_expand: true,
            hash_algorithm: HashAlgorithm::Murmur3,
            slab_reassign: true,
            slab_automove: 1,
            slab_automove_ratio: 0.8,
            slab_automove_window: 10,
            slab_automove_freeratio: 0.01,
            tail_repair_time_seconds: 0,
            lru_crawler: true,
            lru_crawler_sleep_us: 100,
            lru_crawler_tocrawl: 0,
            lru_maintainer: true,
            lru_segmented: true,
            hot_lru_pct: 20,
            warm_lru_pct: 40,
            hot_max_factor: 0.2,
            warm_max_factor: 2.0,
            temp_lru: false,
            temporary_ttl_seconds: 61,
            track_sizes: false,
            shutdown_command: false,
            flush_enabled: true,
            dump_enabled: true,
            watch_enabled: true,
            prefix_delimiter: b':',
            detail_enabled: false,
            sasl: false,
            sasl_pwdb: None,
            auth_file: None,
            tls: TlsSettings::default(),
            udp_answer_max: UdpAnswerMax::Unsaid,
            watcher_logbuf_bytes: 256 * 1024,
            worker_logbuf_bytes: 64 * 1024,
            verbosity: 0,
            daemon: false,
            coredumps: false,
            user: None,
            pid_file: None,
            port_file: None,
            debug_commands: false,
        }
    }
}

/// What commands change while the server runs, and `stats settings` shows as it is now.
#[derive(Debug)]
pub struct LiveSettings {
    /// `cache_memlimit`, bytes.
    pub memory_bytes: AtomicU64,
    /// `verbosity`; set it with [`LiveSettings::set_verbosity`].
    verbosity: AtomicU32,
    /// The flush mark: seconds by the server's own count (section 1.2), 0 for none.
    pub oldest_live: AtomicU64,
    /// `stats detail on|off`.
    pub detail_enabled: AtomicBool,
    /// `slabs automove 0|1|2`.
    pub slab_automove: AtomicU32,
    /// `slabs automove ratio`.
    pub slab_automove_ratio: AtomicF64,
    /// `slabs automove window`.
    pub slab_automove_window: AtomicU32,
    /// `slabs automove freeratio`.
    pub slab_automove_freeratio: AtomicF64,
    /// `lru_crawler enable|disable`.
    pub lru_crawler: AtomicBool,
    /// `lru_crawler sleep`, microseconds.
    pub lru_crawler_sleep_us: AtomicU32,
    /// `lru_crawler tocrawl`.
    pub lru_crawler_tocrawl: AtomicU32,
    /// `lru mode flat|segmented`.
    pub lru_segmented: AtomicBool,
    /// `lru tune`, first number.
    pub hot_lru_pct: AtomicU32,
    /// `lru tune`, second number.
    pub warm_lru_pct: AtomicU32,
    /// `lru tune`, third number.
    pub hot_max_factor: AtomicF64,
    /// `lru tune`, fourth number.
    pub warm_max_factor: AtomicF64,
    /// `lru temp_ttl`: whether there is one.
    pub temp_lru: AtomicBool,
    /// `lru temp_ttl` in seconds; keeps its value when it is turned off.
    pub temporary_ttl_seconds: AtomicU32,
    /// The `extstore` command's numbers. It is accepted although there is no external storage (section 18).
    pub ext: ExtSettings,
}

/// The settings of external storage that the `extstore` command changes and `stats settings` shows (section 18).
#[expect(missing_docs, reason = "memcached's words, described in section 18; memhold has no external storage")]
#[derive(Debug)]
pub struct ExtSettings {
    pub item_size: AtomicU32,
    pub item_age: AtomicU32,
    pub low_ttl: AtomicU32,
    pub recache_rate: AtomicU32,
    pub compact_under: AtomicU32,
    pub drop_under: AtomicU32,
    pub max_sleep: AtomicU32,
    pub max_frag: AtomicF64,
    pub drop_unread: AtomicBool,
}

impl Default for ExtSettings {
    fn default() -> ExtSettings {
        ExtSettings {
            item_size: AtomicU32::new(512),
            item_age: AtomicU32::new(u32::MAX),
            low_ttl: AtomicU32::new(0),
            recache_rate: AtomicU32::new(2000),
            compact_under: AtomicU32::new(0),
            drop_under: AtomicU32::new(0),
            max_sleep: AtomicU32::new(1_000_000),
            max_frag: AtomicF64::new(0.8),
            drop_unread: AtomicBool::new(false),
        }
    }
}

impl LiveSettings {
    /// Starts from what the operator asked for.
    #[must_use]
    pub fn new(settings: &Settings) -> LiveSettings {
        LiveSettings {
            memory_bytes: AtomicU64::new(settings.memory_bytes),
            verbosity: AtomicU32::new(settings.verbosity),
            oldest_live: AtomicU64::new(0),
            detail_enabled: AtomicBool::new(settings.detail_enabled),
            slab_automove: AtomicU32::new(settings.slab_automove),
            slab_automove_ratio: AtomicF64::new(settings.slab_automove_ratio),
            slab_automove_window: AtomicU32::new(settings.slab_automove_window),
            slab_automove_freeratio: AtomicF64::new(settings.slab_automove_freeratio),
            lru_crawler: AtomicBool::new(settings.lru_crawler),
            lru_crawler_sleep_us: AtomicU32::new(settings.lru_crawler_sleep_us),
            lru_crawler_tocrawl: AtomicU32::new(settings.lru_crawler_tocrawl),
            lru_segmented: AtomicBool::new(settings.lru_segmented),
            hot_lru_pct: AtomicU32::new(settings.hot_lru_pct),
            warm_lru_pct: AtomicU32::new(settings.warm_lru_pct),
            hot_max_factor: AtomicF64::new(settings.hot_max_factor),
            warm_max_factor: AtomicF64::new(settings.warm_max_factor),
            temp_lru: AtomicBool::new(settings.temp_lru),
            temporary_ttl_seconds: AtomicU32::new(settings.temporary_ttl_seconds),
            ext: ExtSettings::default(),
        }
    }

    /// The current `-v` level.
    pub fn verbosity(&self) -> u32 {
        self.verbosity.load(Ordering::Relaxed)
    }

    /// Changes how much is logged (`verbosity <n>`), for the whole process.
    pub fn set_verbosity(&self, verbosity: u32) {
        self.verbosity.store(verbosity, Ordering::Relaxed);
        log::set_max_level(log_level(verbosity));
    }
}

/// What is logged at a `-v` level (section 16.2): only errors; with `-v` warnings and notices; with `-vv` commands and
/// replies (`debug`); with `-vvv` state changes (`trace`).
#[must_use]
pub fn log_level(verbosity: u32) -> log::LevelFilter {
    match verbosity {
        0 => log::LevelFilter::Error,
        1 => log::LevelFilter::Info,
        2 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    }
}

/// A float that threads share; kept as its bits.
#[derive(Debug)]
pub struct AtomicF64(AtomicU64);

impl AtomicF64 {
    /// Starts with `value`.
    #[must_use]
    pub fn new(value: f64) -> AtomicF64 {
        AtomicF64(AtomicU64::new(value.to_bits()))
    }

    /// The value now.
    pub fn load(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Sets the value.
    pub fn store(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl Settings {
    /// The one protocol that may be spoken where clients have to authenticate themselves, on whatever listener.
    #[must_use]
    pub fn protocol_of_authentication(&self) -> Option<BindingProtocol> {
        match (&self.auth_file, self.sasl) {
            (Some(_), _) => Some(BindingProtocol::Ascii),
            (None, true) => Some(BindingProtocol::Binary),
            (None, false) => None,
        }
    }

    /// The rows of `stats settings`, in memcached's order and formats (section 11.2).
    pub fn stats_settings<'a>(&'a self, live: &'a LiveSettings) -> impl Iterator<Item = (&'static str, String)> + 'a {
        ROWS.iter().map(move |row| (row.name, (row.show)(self, live)))
    }
}

/// One line of `stats settings`.
struct Row {
    name: &'static str,
    show: fn(&Settings, &LiveSettings) -> String,
}

const fn row(name: &'static str, show: fn(&Settings, &LiveSettings) -> String) -> Row {
    Row { name, show }
}

/// The order is section 11.2's. The rows of external storage are memcached's as distributions build it, off.
static ROWS: &[Row] = &[
    row("maxbytes", |_, live| number(&live.memory_bytes)),
    row("maxconns", |s, _| s.maxconns.to_string()),
    row("tcpport", |s, _| s.tcp_port.to_string()),
    row("udpport", |s, _| s.udp_port.to_string()),
    row("inter", |s, _| s.inter.as_deref().unwrap_or("NULL").to_owned()),
    row("verbosity", |_, live| live.verbosity().to_string()),
    row("oldest", |_, live| number(&live.oldest_live)),
    row("evictions", |s, _| if s.evictions { "on" } else { "off" }.to_owned()),
    row("domain_socket", |s, _| path(s.socket_path.as_deref(), "NULL")),
    row("umask", |s, _| format!("{:o}", s.unix_mask)),
    row("shutdown_command", |s, _| yes_no(s.shutdown_command)),
    row("growth_factor", |s, _| format!("{:.2}", s.growth_factor)),
    row("chunk_size", |s, _| s.chunk_size_bytes.to_string()),
    row("num_threads", |s, _| s.num_threads.to_string()),
    row("num_threads_per_udp", |s, _| s.num_threads.to_string()),
    row("stat_key_prefix", |s, _| char::from(s.prefix_delimiter).to_string()),
    row("detail_enabled", |_, live| flag(&live.detail_enabled)),
    row("reqs_per_event", |s, _| s.reqs_per_event.to_string()),
    row("cas_enabled", |s, _| yes_no(s.cas_enabled)),
    row("tcp_backlog", |s, _| s.tcp_backlog.to_string()),
    row("binding_protocol", |s, _| s.binding_protocol.name().to_owned()),
    row("auth_enabled_sasl", |s, _| yes_no(s.sasl)),
    row("auth_enabled_ascii", |s, _| path(s.auth_file.as_deref(), "no")),
    row("item_size_max", |s, _| s.item_size_max_bytes.to_string()),
    row("maxconns_fast", |s, _| yes_no(s.maxconns_fast)),
    row("hashpower_init", |s, _| s.hashpower_init.to_string()),
    row("slab_reassign", |s, _| yes_no(s.slab_reassign)),
    row("slab_automove", |_, live| small(&live.slab_automove)),
    row("slab_automove_ratio", |_, live| format!("{:.2}", live.slab_automove_ratio.load())),
    row("slab_automove_window", |_, live| small(&live.slab_automove_window)),
    row("slab_chunk_max", |s, _| s.slab_chunk_max_bytes.to_string()),
    row("lru_crawler", |_, live| flag(&live.lru_crawler)),
    row("lru_crawler_sleep", |_, live| small(&live.lru_crawler_sleep_us)),
    row("lru_crawler_tocrawl", |_, live| small(&live.lru_crawler_tocrawl)),
    row("tail_repair_time", |s, _| s.tail_repair_time_seconds.to_string()),
    row("flush_enabled", |s, _| yes_no(s.flush_enabled)),
    row("dump_enabled", |s, _| yes_no(s.dump_enabled)),
    row("hash_algorithm", |s, _| s.hash_algorithm.name().to_owned()),
    row("lru_maintainer_thread", |s, _| yes_no(s.lru_maintainer)),
    row("lru_segmented", |_, live| flag(&live.lru_segmented)),
    row("hot_lru_pct", |_, live| small(&live.hot_lru_pct)),
    row("warm_lru_pct", |_, live| small(&live.warm_lru_pct)),
    row("hot_max_factor", |_, live| format!("{:.2}", live.hot_max_factor.load())),
    row("warm_max_factor", |_, live| format!("{:.2}", live.warm_max_factor.load())),
    row("temp_lru", |_, live| flag(&live.temp_lru)),
    row("temporary_ttl", |_, live| small(&live.temporary_ttl_seconds)),
    row("idle_timeout", |s, _| s.idle_timeout_seconds.to_string()),
    row("watcher_logbuf_size", |s, _| s.watcher_logbuf_bytes.to_string()),
    row("worker_logbuf_size", |s, _| s.worker_logbuf_bytes.to_string()),
    row("read_buf_mem_limit", |s, _| s.read_buf_mem_limit_bytes.to_string()),
    row("track_sizes", |s, _| yes_no(s.track_sizes)),
    row("inline_ascii_response", |_, _| yes_no(false)),
    row("drop_privileges", |s, _| yes_no(s.drop_privileges != Some(false))),
    row("ext_item_size", |_, live| small(&live.ext.item_size)),
    row("ext_item_age", |_, live| small(&live.ext.item_age)),
    row("ext_low_ttl", |_, live| small(&live.ext.low_ttl)),
    row("ext_recache_rate", |_, live| small(&live.ext.recache_rate)),
    row("ext_wbuf_size", |_, _| (4 * MIB).to_string()),
    row("ext_compact_under", |_, live| small(&live.ext.compact_under)),
    row("ext_drop_under", |_, live| small(&live.ext.drop_under)),
    row("ext_max_sleep", |_, live| small(&live.ext.max_sleep)),
    row("ext_max_frag", |_, live| format!("{:.2}", live.ext.max_frag.load())),
    row("slab_automove_freeratio", |_, live| format!("{:.3}", live.slab_automove_freeratio.load())),
    row("ext_drop_unread", |_, live| flag(&live.ext.drop_unread)),
    row("ssl_enabled", |s, _| yes_no(s.tls.enabled)),
    row("ssl_chain_cert", |s, _| path(s.tls.chain_cert.as_deref(), "(null)")),
    row("ssl_key", |s, _| path(s.tls.key.as_deref(), "(null)")),
    row("ssl_verify_mode", |s, _| s.tls.verify_mode.number().to_string()),
    row("ssl_keyformat", |s, _| s.tls.key_format.to_string()),
    row("ssl_ciphers", |s, _| s.tls.ciphers.as_deref().unwrap_or("NULL").to_owned()),
    row("ssl_ca_cert", |s, _| path(s.tls.ca_cert.as_deref(), "NULL")),
    row("ssl_wbuf_size", |s, _| s.tls.wbuf_bytes.to_string()),
    row("ssl_session_cache", |s, _| yes_no(s.tls.session_cache)),
    row("ssl_kernel_tls", |s, _| yes_no(s.tls.kernel_tls)),
    row("ssl_min_version", |s, _| s.tls.min_version.name().to_owned()),
    row("num_napi_ids", |s, _| if s.num_napi_ids == 0 { "(null)".to_owned() } else { s.num_napi_ids.to_string() }),
    row("memory_file", |s, _| path(s.memory_file.as_deref(), "(null)")),
    row("client_flags_size", |_, _| "4".to_owned()),
];

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn flag(value: &AtomicBool) -> String {
    yes_no(value.load(Ordering::Relaxed))
}

fn small(value: &AtomicU32) -> String {
    value.load(Ordering::Relaxed).to_string()
}

fn number(value: &AtomicU64) -> String {
    value.load(Ordering::Relaxed).to_string()
}

fn path(value: Option<&Path>, absent: &str) -> String {
    match value {
        Some(path) => String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
        None => absent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(settings: &Settings, live: &LiveSettings) -> Vec<String> {
        settings.stats_settings(live).map(|(name, value)| format!("{name} {value}")).collect()
    }

    /// Recorded from memcached 1.6.18 started without options, `slab_automove_window` and `client_flags_size` from
    /// 1.6.45 (section 17).
    const DEFAULTS: &str = "maxbytes 67108864|maxconns 1024|tcpport 11211|udpport 0|inter NULL|verbosity 0|oldest 0|\
        evictions on|domain_socket NULL|umask 700|shutdown_command no|growth_factor 1.25|chunk_size 48|num_threads 4|\
        num_threads_per_udp 4|stat_key_prefix :|detail_enabled no|reqs_per_event 20|cas_enabled yes|tcp_backlog 1024|\
        binding_protocol auto-negotiate|auth_enabled_sasl no|auth_enabled_ascii no|item_size_max 1048576|\
        maxconns_fast yes|hashpower_init 0|slab_reassign yes|slab_automove 1|slab_automove_ratio 0.80|\
        slab_automove_window 10|slab_chunk_max 524288|lru_crawler yes|lru_crawler_sleep 100|lru_crawler_tocrawl 0|\
        tail_repair_time 0|flush_enabled yes|dump_enabled yes|hash_algorithm murmur3|lru_maintainer_thread yes|\
        lru_segmented yes|hot_lru_pct 20|warm_lru_pct 40|hot_max_factor 0.20|warm_max_factor 2.00|temp_lru no|\
        temporary_ttl 61|idle_timeout 0|watcher_logbuf_size 262144|worker_logbuf_size 65536|read_buf_mem_limit 0|\
        track_sizes no|inline_ascii_response no|drop_privileges yes|ext_item_size 512|ext_item_age 4294967295|ext_low_ttl 0|\
        ext_recache_rate 2000|ext_wbuf_size 4194304|ext_compact_under 0|ext_drop_under 0|ext_max_sleep 1000000|\
        ext_max_frag 0.80|slab_automove_freeratio 0.010|ext_drop_unread no|ssl_enabled no|ssl_chain_cert (null)|\
        ssl_key (null)|ssl_verify_mode 0|ssl_keyformat 1|ssl_ciphers NULL|ssl_ca_cert NULL|ssl_wbuf_size 16384|\
        ssl_session_cache no|ssl_kernel_tls no|ssl_min_version tlsv1.2|num_napi_ids (null)|memory_file (null)|\
        client_flags_size 4";

    #[test]
    fn defaults_are_shown_as_memcached_shows_them() {
        let settings = Settings::default();
        let live = LiveSettings::new(&settings);
        assert_eq!(shown(&settings, &live).join("|"), DEFAULTS);
    }

    #[test]
    fn what_commands_change_is_shown_as_it_is_now() {
        let settings = Settings::default();
        let live = LiveSettings::new(&settings);
        live.memory_bytes.store(8 * MIB, Ordering::Relaxed);
        live.hot_max_factor.store(0.5);
        live.lru_segmented.store(false, Ordering::Relaxed);
        let rows = shown(&settings, &live);
        for expected in ["maxbytes 8388608", "hot_max_factor 0.50", "lru_segmented no"] {
            assert!(rows.iter().any(|row| row == expected), "{expected} is missing from {rows:?}");
        }
    }

    #[test]
    fn no_row_is_there_twice() {
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }
}
