//! The subcommands of memhold's own, a row each: `memhold dump`, `load` and `bench`. What they do is in `tools`, which makes its command
//! lines from these rows; the man page and the completions are loops over them.

/// A word that may stand first on the command line, before any option of memcached's.
pub struct Subcommand {
    /// The word.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// The one argument that is no option; empty for none.
    pub argument: &'static str,
    /// What it is.
    pub argument_help: &'static str,
    /// Its options.
    pub flags: &'static [Flag],
}

/// An option of a subcommand.
pub struct Flag {
    /// Without the two hyphens.
    pub long: &'static str,
    /// What its value is called; empty for one that takes none.
    pub value: &'static str,
    /// The value when it is not given; empty for none.
    pub default: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// All of them.
pub const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "dump",
        about: "Write all items of a running server, memhold or memcached, to a file",
        argument: "FILE",
        argument_help: "The file to write; it has this name only once it is complete",
        flags: &[
            SERVER,
            Flag { long: "force", value: "", default: "", help: "Replace the file if there is one of that name" },
        ],
    },
    Subcommand {
        name: "load",
        about: "Store the items of a dump in a running server, memhold or memcached",
        argument: "FILE",
        argument_help: "The file that `dump` has written",
        flags: &[
            SERVER,
            Flag { long: "keep", value: "", default: "", help: "Leave items alone that the server has already" },
            Flag { long: "check", value: "", default: "", help: "Only verify the file, and talk to no server" },
        ],
    },
    Subcommand {
        name: "bench",
        about: "Put load on a running server, memhold or memcached, check its answers and measure it",
        argument: "",
        argument_help: "",
        flags: &[
            SERVER,
            Flag { long: "protocol", value: "NAME", default: "text", help: "text, meta or binary" },
            Flag { long: "threads", value: "N", default: "1", help: "Threads of the client" },
            Flag { long: "connections", value: "N", default: "50", help: "Connections, over all threads" },
            Flag {
                long: "pipeline",
                value: "N",
                default: "1",
                help: "Requests sent before the answers are waited for",
            },
            Flag { long: "multiget", value: "N", default: "1", help: "Keys in a request to read" },
            Flag { long: "keys", value: "N", default: "100000", help: "How many items there are" },
            Flag {
                long: "skew",
                value: "X",
                default: "0.99",
                help: "Exponent of Zipf's distribution; 0: all as popular",
            },
            Flag {
                long: "value-size",
                value: "BYTES",
                default: "100",
                help: "Bytes of each value, or a range as 10-1000",
            },
            Flag { long: "key-size", value: "BYTES", default: "24", help: "Bytes of each key, from 24 to 250" },
            Flag { long: "sets", value: "PERCENT", default: "10", help: "How many of a hundred requests store" },
            Flag { long: "touches", value: "PERCENT", default: "0", help: "How many of a hundred requests touch" },
            Flag { long: "incrs", value: "PERCENT", default: "0", help: "How many of a hundred requests count" },
            Flag { long: "deletes", value: "PERCENT", default: "0", help: "How many of a hundred requests delete" },
            Flag {
                long: "misses",
                value: "PERCENT",
                default: "0",
                help: "How many of a hundred keys to read were never stored",
            },
            Flag {
                long: "rate",
                value: "N",
                default: "0",
                help: "Requests a second, with latencies from when each was due; 0: flat out",
            },
            Flag { long: "seconds", value: "N", default: "10", help: "How long to measure" },
            Flag {
                long: "trace",
                value: "NAME|FILE",
                default: "",
                help: "Play a trace instead, and tell how much of it was found; only --server and --json go with it",
            },
            Flag {
                long: "tls-ca",
                value: "FILE",
                default: "",
                help: "TLS, with servers that this authority has signed",
            },
            Flag { long: "tls-unchecked", value: "", default: "", help: "TLS, whatever certificate the server has" },
            Flag { long: "login", value: "FILE", default: "", help: "Log in as the file says: NAME:PASSWORD" },
            Flag {
                long: "pid",
                value: "PID",
                default: "0",
                help: "The server's process on this machine, to tell its processor time; 0: none",
            },
            Flag { long: "awake", value: "", default: "", help: "Look for answers without ever sleeping" },
            Flag { long: "no-fill", value: "", default: "", help: "Do not store all items before" },
            Flag { long: "json", value: "", default: "", help: "Print the result as JSON, in a line" },
        ],
    },
];

const SERVER: Flag = Flag {
    long: "server",
    value: "ADDRESS",
    default: "127.0.0.1:11211",
    help: "The server: HOST:PORT, or the path of a unix socket",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_there_twice_and_everything_has_help() {
        for (at, row) in SUBCOMMANDS.iter().enumerate() {
            assert!(SUBCOMMANDS[..at].iter().all(|other| other.name != row.name), "{}", row.name);
            assert!(!row.about.is_empty(), "{}", row.name);
            assert_eq!(row.argument.is_empty(), row.argument_help.is_empty(), "{}", row.name);
            for (at, flag) in row.flags.iter().enumerate() {
                assert!(row.flags[..at].iter().all(|other| other.long != flag.long), "{}", flag.long);
                assert!(!flag.help.is_empty(), "{}", flag.long);
                assert!(flag.default.is_empty() || !flag.value.is_empty(), "{}", flag.long);
            }
        }
    }
}
