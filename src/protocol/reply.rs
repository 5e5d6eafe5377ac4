//! The neutral reply: what the server answers, whatever the dialect. `commands` makes it, the dialect spells it.

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// A read, or arithmetic, that found (or made) the item. The value, if one is to be sent, travels beside the reply.
    Hit(Hit),
    /// The key is missing: nothing for `get`, `EN` for `mg`.
    Miss,
    /// Stored: `STORED`, `HD`.
    Stored(Written),
    /// `NOT_STORED`, `NS`.
    NotStored(Written),
    /// CAS differs: `EXISTS`, `EX`.
    Exists(Written),
    /// `NOT_FOUND`, `NF`.
    NotFound(Written),
    /// `DELETED`, `HD`.
    Deleted,
    /// `TOUCHED`.
    Touched,
    /// `me`'s line.
    Inspected(Inspected),
    /// `OK`
    Ok,
    /// `RESET`
    Reset,
    /// `MN`
    Noop,
    /// `VERSION ...`
    Version,
    /// Lines that are complete as they stand, every CR LF included (statistics, dumps).
    Lines(&'a [u8]),
    /// SASL: the names of the mechanisms (section 7.1).
    Mechanisms,
    /// SASL: go on.
    Challenge,
    /// `STORED`, `Authenticated`
    Authenticated,
    /// Nothing at all (`quit`, `shutdown`).
    Nothing,
    /// An error line.
    Error(Error),
}

/// What a storage command reports (meta `c` and `s`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// CAS of the stored item, 0 when not stored.
    pub cas: u64,
    /// Size of the stored value; of the value sent when not stored.
    pub size: usize,
}

/// What a hit can report. Times are relative seconds; -1 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hit {
    /// Length of the value in bytes (for arithmetic: of the number without padding).
    pub size: usize,
    /// Client flags.
    pub flags: u32,
    /// CAS; of arithmetic the new one.
    pub cas: u64,
    /// Seconds left before this command, -1 for never; what a `t` written before `T` or `N` shows.
    pub ttl_before: i64,
    /// Seconds that `T` leaves; what a `t` written after `T` shows.
    pub ttl_after: i64,
    /// Seconds that `N` gave the item it created; what a `t` written after `N` shows.
    pub ttl_created: i64,
    /// Seconds since the access before this one (`l`).
    pub idle: u32,
    /// `N` made the item just now, so that from `N` on `t` shows [`Hit::ttl_created`].
    pub created: bool,
    /// Fetched before this command (`h`).
    pub fetched: bool,
    /// `W`
    pub won: bool,
    /// `Z`
    pub token_sent: bool,
    /// `X`
    pub stale: bool,
    /// Stored with a base64 key, so `k` answers in base64.
    pub base64_key: bool,
    /// The value was asked for and is to be sent (false when `C` matched).
    pub value: bool,
    /// The result of arithmetic.
    pub number: Option<u64>,
}

/// `me`'s facts (section 5.6).
#[derive(Clone, Copy, Debug)]
pub struct Inspected {
    /// Seconds left, -1 for never.
    pub ttl: i64,
    /// Seconds since the last access.
    pub idle: u32,
    /// CAS.
    pub cas: u64,
    /// Fetched since stored.
    pub fetched: bool,
    /// Slab class number.
    pub class: u32,
    /// Total item size by memcached's account (section 1.1).
    pub size: usize,
    /// Stored with a base64 key, printed in base64.
    pub base64_key: bool,
}

/// Error lines, by whose fault they are. `Display` is the line without CR LF.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// `ERROR`: nobody knows this command.
    Unknown,
    /// `CLIENT_ERROR <text>`: the request is at fault.
    Client(&'static str),
    /// `SERVER_ERROR <text>`: the server cannot do it now.
    Server(&'static str),
    /// A line of another form, spelled whole (`BUSY ...`, `ERROR <text>`, `MEMLIMIT_TOO_SMALL ...`).
    Line(&'static str),
}

impl Error {
    /// The answer to every malformed line of a known command (section 2.4).
    pub const BAD_FORMAT: Error = Error::Client("bad command line format");
    /// A `gat`, `touch` or `flush_all` time that is no number.
    pub const BAD_EXPTIME: Error = Error::Client("invalid exptime argument");
    /// A value that does not end in CR LF (section 3.1).
    pub const BAD_DATA_CHUNK: Error = Error::Client("bad data chunk");
    /// A value that does not fit the item size limit.
    pub const TOO_LARGE: Error = Error::Server("object too large for cache");
    /// Nothing could be evicted for a value.
    pub const NO_MEMORY_TO_STORE: Error = Error::Server("out of memory storing object");
    /// The same for an item that is made from another one.
    pub const NO_MEMORY_TO_REWRITE: Error = Error::Server("out of memory");
    /// The same for an item that arithmetic creates.
    pub const NO_MEMORY_TO_CREATE: Error = Error::Server("Out of memory allocating new item");
    /// Arithmetic on a value that is no number (section 3.6).
    pub const NOT_A_NUMBER: Error = Error::Client("cannot increment or decrement non-numeric value");
    /// Name and password are not those of anybody.
    pub const NOT_AUTHENTICATED: Error = Error::Client("authentication failure");
    /// `-F`.
    pub const FLUSH_FORBIDDEN: Error = Error::Client("flush_all not allowed");
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Unknown => f.write_str("ERROR"),
            Error::Client(text) => write!(f, "CLIENT_ERROR {text}"),
            Error::Server(text) => write!(f, "SERVER_ERROR {text}"),
            Error::Line(text) => f.write_str(text),
        }
    }
}
