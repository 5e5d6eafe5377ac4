//! Subcommands of memhold's own that talk to running servers (`memhold top`, `memhold rebalance`). There is none yet: every
//! word on the command line belongs to the server.
