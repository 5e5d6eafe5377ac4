//! Facts that belong to the process rather than to a thread: connections, listeners, watchers. They change rarely, so
//! any thread may write them.

use crate::sync::{AtomicU64, Ordering};

/// One fact. The names are those of `stats`.
#[expect(missing_docs, reason = "memcached's statistics, explained in `table`")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Process {
    CurrConnections,
    TotalConnections,
    RejectedConnections,
    ConnectionStructures,
    ResponseObjCount,
    ResponseObjBytes,
    ReadBufCount,
    ReadBufBytes,
    ReadBufBytesFree,
    AcceptingConns,
    ListenDisabledNum,
    TimeInListenDisabledUs,
    LruCrawlerStarts,
    LruMaintainerJuggles,
    MallocFails,
    LogWorkerDropped,
    LogWorkerWritten,
    LogWatcherSkipped,
    LogWatcherSent,
    LogWatchers,
    SslHandshakeErrors,
    SslProtoErrors,
    SslNewSessions,
    SslRefreshTime,
    UnexpectedNapiIds,
    RoundRobinFallback,
}

const FACTS: usize = Process::RoundRobinFallback as usize + 1;

/// The process's facts.
#[derive(Debug)]
pub struct ProcessStats {
    facts: [AtomicU64; FACTS],
}

impl Default for ProcessStats {
    fn default() -> ProcessStats {
        ProcessStats::new()
    }
}

impl ProcessStats {
    /// All zero, but for `accepting_conns`.
    #[must_use]
    pub fn new() -> ProcessStats {
        let stats = ProcessStats { facts: std::array::from_fn(|_| AtomicU64::new(0)) };
        stats.set(Process::AcceptingConns, 1);
        stats
    }

    /// Adds `n`.
    pub fn add(&self, fact: Process, n: u64) {
        self.facts[fact as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away (a connection closed).
    pub fn sub(&self, fact: Process, n: u64) {
        self.facts[fact as usize].fetch_sub(n, Ordering::Relaxed);
    }

    /// Sets a state.
    pub fn set(&self, fact: Process, value: u64) {
        self.facts[fact as usize].store(value, Ordering::Relaxed);
    }

    /// Reads one.
    #[must_use]
    pub fn get(&self, fact: Process) -> u64 {
        self.facts[fact as usize].load(Ordering::Relaxed)
    }

    /// All at once.
    #[must_use]
    pub fn read(&self) -> ProcessFacts {
        ProcessFacts { facts: std::array::from_fn(|at| self.facts[at].load(Ordering::Relaxed)) }
    }
}

/// A copy of the process's facts.
#[derive(Clone, Debug)]
pub struct ProcessFacts {
    facts: [u64; FACTS],
}

impl Default for ProcessFacts {
    fn default() -> ProcessFacts {
        ProcessFacts { facts: [0; FACTS] }
    }
}

impl ProcessFacts {
    /// Reads one.
    #[must_use]
    pub fn get(&self, fact: Process) -> u64 {
        self.facts[fact as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_rise_and_fall() {
        let stats = ProcessStats::new();
        stats.add(Process::CurrConnections, 3);
        stats.sub(Process::CurrConnections, 1);
        assert_eq!(stats.read().get(Process::CurrConnections), 2);
        assert_eq!(stats.get(Process::AcceptingConns), 1);
    }
}
