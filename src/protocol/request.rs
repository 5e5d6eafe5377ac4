//! The neutral request: what a client asks, whatever the dialect. Meta is the general form; the classic
//! commands are special cases of it. Everything borrows from the bytes that were read.

/// A key, decoded: the bytes under which the store knows the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    bytes: &'a [u8],
    base64: bool,
}

impl<'a> Key<'a> {
    /// Stands where a request has no key.
    pub const NONE: Key<'static> = Key { bytes: b"", base64: false };

    /// A key as it stood in the request. 1..=250 bytes.
    #[must_use]
    pub const fn plain(bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, base64: false }
    }

    /// A key decoded from base64 (meta flag `b`). 1..=186 bytes.
    #[must_use]
    pub const fn decoded(bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, base64: true }
    }

    /// The key's bytes, as the store knows it.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the client wrote it in base64.
    #[must_use]
    pub const fn was_base64(&self) -> bool {
        self.base64
    }
}

/// An expiry as typed: 0 never, 1..=30 days seconds from now, larger absolute, negative already over (section 1.2).
pub type TypedExptime = i64;

/// Everything a client can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Read one key: `mg`, each key of `get`, `gets`, `gat`, `gats`.
    Get(Get<'a>),
    /// Store a value that follows the line: `set` and its kin, `ms`.
    Store(Store<'a>),
    /// `delete`, `md`.
    Delete(Delete<'a>),
    /// `incr`, `decr`, `ma`.
    Arith(Arith<'a>),
    /// `touch`.
    Touch(Touch<'a>),
    /// `me`: everything known about one item.
    Inspect(Key<'a>),
    /// `mn`: send what is queued.
    Noop,
    /// Everything else that is one line.
    Admin(Admin<'a>),
}

impl<'a> Request<'a> {
    /// The key that is asked for, or [`Key::NONE`].
    #[must_use]
    pub const fn key(&self) -> Key<'a> {
        match self {
            Request::Get(get) => get.key,
            Request::Store(store) => store.key,
            Request::Delete(delete) => delete.key,
            Request::Arith(arith) => arith.key,
            Request::Touch(touch) => touch.key,
            Request::Inspect(key) => *key,
            Request::Noop | Request::Admin(_) => Key::NONE,
        }
    }
}

/// See [`Request::Get`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get<'a> {
    /// Which item.
    pub key: Key<'a>,
    /// `gat`, `mg T`: new expiry on a hit.
    pub touch: Option<TypedExptime>,
    /// Whether this is `gat`, which counts as a touch on a miss too (section 5.8).
    pub counts_as_touch: bool,
    /// `mg N`: on a miss create an empty item with this expiry, or with that of `touch` if it acts last.
    pub vivify: Option<TypedExptime>,
    /// `T` stood behind `N`: flags act in order.
    pub touch_is_last: bool,
    /// `mg R`: win the right to recache when fewer seconds than this are left.
    pub recache: Option<i32>,
    /// `R` stood behind `T`, and judges the expiry that this has set.
    pub recache_touched: bool,
    /// Whether the reader can win the right to recache at all: `mg`, not the classic commands.
    pub may_win: bool,
    /// `mg E`: CAS of the item that `vivify` creates.
    pub new_cas: Option<u64>,
    /// `mg C`: drop the value when the item's CAS equals this.
    pub unless_cas: Option<u64>,
    /// Whether the value is wanted.
    pub value: bool,
    /// `mg u`: do not count this as an access.
    pub no_bump: bool,
}

impl<'a> Get<'a> {
    /// The value of this key, and nothing else.
    #[must_use]
    pub const fn of(key: Key<'a>) -> Get<'a> {
        Get {
            key,
            touch: None,
            counts_as_touch: false,
            vivify: None,
            touch_is_last: false,
            recache: None,
            recache_touched: false,
            may_win: false,
            new_cas: None,
            unless_cas: None,
            value: true,
            no_bump: false,
        }
    }
}

/// What to do when storing (section 3.1's table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// Store in any case.
    Set,
    /// Only when the key is missing.
    Add,
    /// Only when the key exists.
    Replace,
    /// Behind the existing value.
    Append,
    /// Before the existing value.
    Prepend,
}

/// See [`Request::Store`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    /// Which item.
    pub key: Key<'a>,
    /// How to store.
    pub mode: StoreMode,
    /// Client flags.
    pub flags: u32,
    /// Expiry as typed.
    pub exptime: TypedExptime,
    /// Bytes of the value, without its CR LF. 0..=2^31-3.
    pub value_len: usize,
    /// `cas <id>`, `ms C`: only if the item's CAS equals this, which 0 never does. Not set where section 5.3 ignores
    /// `C`: with add, and 0 with append and prepend.
    pub compare: Option<u64>,
    /// `ms E`: CAS of the stored item, never 0 (section 5.3 ignores `E0`).
    pub new_cas: Option<u64>,
    /// `ms I`: an older `compare` stores all the same, marked stale. Only with set and replace, and with `compare`.
    pub invalidate: bool,
    /// `ms N` with append and prepend: on a miss store as a new item with this expiry.
    pub vivify: Option<TypedExptime>,
    /// Whether the old item goes when the value is too large or there is no memory for it, so that nothing outdated is left
    /// (sections 3.1, 5.3 and 6.5): text `set`, `ms` in every mode, binary set.
    pub refusal_removes: bool,
    /// Whether `cmd_set` counts it only when its value has arrived: binary (section 6.5).
    pub counts_when_whole: bool,
}

/// See [`Request::Delete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// Which item.
    pub key: Key<'a>,
    /// `md C`.
    pub compare: Option<u64>,
    /// `md E`: CAS of what stays, 0 taken literally. With `invalidate` or `clear` only.
    pub new_cas: Option<u64>,
    /// `md I`: mark stale instead of deleting.
    pub invalidate: bool,
    /// `md x`: replace the value by an empty one instead of deleting.
    pub clear: bool,
    /// `md T`, with `invalidate` or `clear` only.
    pub exptime: Option<TypedExptime>,
    /// `md F`, with `clear` only.
    pub flags: u32,
    /// How watchers are told of it (section 12); `None` for the binary protocol's, of which they are not told.
    pub told_as: Option<&'static str>,
    /// Whether a CAS that differs counts as a miss: `md` (section 5.8), not the binary delete.
    pub mismatch_is_miss: bool,
}

/// See [`Request::Arith`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arith<'a> {
    /// Which item.
    pub key: Key<'a>,
    /// `decr` rather than `incr`.
    pub decrement: bool,
    /// By how much.
    pub delta: u64,
    /// `ma N`: on a miss create an item holding `initial`, with this expiry or `exptime`, as with [`Get::vivify`].
    pub vivify: Option<TypedExptime>,
    /// `T` stood behind `N`.
    pub exptime_is_last: bool,
    /// `ma J`.
    pub initial: u64,
    /// `ma T`: new expiry on success.
    pub exptime: Option<TypedExptime>,
    /// `ma C`, never 0 (section 5.5: 0 means no check).
    pub compare: Option<u64>,
    /// `ma E`: CAS afterwards.
    pub new_cas: Option<u64>,
}

impl<'a> Arith<'a> {
    /// This key by this much, and nothing else.
    #[must_use]
    pub const fn of(key: Key<'a>, decrement: bool, delta: u64) -> Arith<'a> {
        Arith {
            key,
            decrement,
            delta,
            vivify: None,
            exptime_is_last: false,
            initial: 0,
            exptime: None,
            compare: None,
            new_cas: None,
        }
    }
}

/// See [`Request::Touch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch<'a> {
    /// Which item.
    pub key: Key<'a>,
    /// New expiry.
    pub exptime: TypedExptime,
}

/// A part of an authentication (section 7.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Auth<'a> {
    /// Which mechanisms there are.
    Mechanisms,
    /// Begin.
    Start {
        /// Which one. 1..=32 bytes.
        mechanism: &'a [u8],
        /// Its first data, perhaps none.
        data: &'a [u8],
    },
    /// Go on.
    Step {
        /// The answer to the challenge.
        data: &'a [u8],
    },
    /// Data too long to be looked at; they are to be skipped.
    Overlong {
        /// How many bytes of them.
        len: usize,
    },
}

impl std::fmt::Debug for Auth<'_> {
    /// Without the data: they hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::Mechanisms => "Mechanisms",
            Auth::Start { .. } => "Start",
            Auth::Step { .. } => "Step",
            Auth::Overlong { .. } => "Overlong",
        })
    }
}

/// See [`Admin::Shutdown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownMode {
    /// `shutdown`: like SIGINT.
    Now,
    /// `shutdown graceful`: like SIGUSR1.
    Graceful,
    /// Another word: `CLIENT_ERROR invalid shutdown mode`, but only where shutdown is allowed at all (section 4.1).
    Unknown,
}

/// One-line commands about the server rather than an item (sections 4, 11, 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin<'a> {
    /// `version`
    Version,
    /// `quit`
    Quit,
    /// `verbosity <level>`, as typed; levels above 2 count as 2.
    Verbosity(u32),
    /// `shutdown`
    Shutdown(ShutdownMode),
    /// `flush_all [delay]`; 0 when there is none, `None` when it is no number, which is told only where flushing is allowed.
    FlushAll(Option<TypedExptime>),
    /// `stats [words]`: the words behind `stats`, as they stood.
    Stats(&'a [u8]),
    /// `cache_memlimit <MiB>`; `None` when missing or not a number.
    CacheMemlimit(Option<u32>),
    /// `lru <words>`
    Lru(&'a [u8]),
    /// `lru_crawler <words>`
    LruCrawler(&'a [u8]),
    /// `slabs <words>`
    Slabs(&'a [u8]),
    /// `watch <words>`
    Watch(&'a [u8]),
    /// `extstore <words>`
    Extstore(&'a [u8]),
    /// `refresh_certs`
    RefreshCerts,
    /// `debugtime <word>`, only with the debug switch (section 16.6).
    DebugTime(&'a [u8]),
    /// `debugitem <word> <key>`, only with the debug switch.
    DebugItem(&'a [u8]),
    /// `debugcrash panic|fault`, memhold's own, only with the debug switch.
    DebugCrash(&'a [u8]),
}
