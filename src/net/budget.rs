//! How much memory clients may hold for what is still on its way: partial requests and replies not yet sent.
//!
//! Rules. What passes through a worker's own buffers counts nothing; only what a client must keep between two turns is
//! charged here. A turn may leave at most [`CLIENT_BYTES_MAX`] behind, and no turn is begun while the budget is used up: the
//! client waits, its bytes stay in the kernel, and its peer is slowed down by TCP. So the sum never exceeds the limit by
//! more than one turn for each worker. Item memory that clients hold (large values being sent or received) is bounded by the
//! store, and whoever needs more of it waits in the same way. While anybody waits, those who hold memory of either
//! kind and make no progress for [`STALLED_SECONDS`] are closed; without that, clients that never read could stop all others for good.

use crate::sync::{AtomicU64, Ordering};

/// Most process memory that one client's turn may leave behind, in bytes: one turn's replies and what was read. Obeyed by the sizes
/// that a turn ends at (`client.rs` proves it); only the lists that an operator asks for, such as `stats conns` with thousands
/// of clients, are written in one piece whatever their length.
pub(super) const CLIENT_BYTES_MAX: usize = 1 << 20;

/// Bytes for all clients together where `read_buf_mem_limit` does not say otherwise.
/// With what the allocator adds and one turn for each worker it stays below 64 MiB.
pub(super) const TOTAL_BYTES_MAX: u64 = 48 << 20;

/// Seconds without progress after which a client that holds memory is closed while others wait for memory.
pub(super) const STALLED_SECONDS: u32 = 2;

/// Seconds after which a client that holds memory and waits for more is closed. Only where too many wait for each other.
pub(super) const WAITED_SECONDS: u32 = 10;

/// The sum over all clients of all workers.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    /// Clients that wait for memory of either kind.
    waiting: AtomicU64,
    limit: u64,
}

impl Budget {
    /// `limit` in bytes; 0 means the default.
    pub(super) fn new(limit: u64) -> Budget {
        Budget {
            used: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            limit: if limit == 0 { TOTAL_BYTES_MAX } else { limit },
        }
    }

    /// Whether no turn may be begun now. A little more is there for the `trusted`: those whose last turn left nothing behind, so that rude
    /// newcomers do not stop them; and those who waited for item memory, lest all wait for each other. A plain load: in the
    /// usual case nobody writes to this line.
    pub(super) fn exhausted(&self, trusted: bool) -> bool {
        self.used() >= if trusted { self.limit + self.limit / 8 } else { self.limit }
    }

    /// So many clients more wait for memory.
    pub(super) fn wait(&self, clients: usize) {
        self.waiting.fetch_add(clients as u64, Ordering::Relaxed);
    }

    /// So many clients less.
    pub(super) fn wait_no_more(&self, clients: usize) {
        self.waiting.fetch_sub(clients as u64, Ordering::Relaxed);
    }

    /// Whether any client of any worker waits for memory.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Bytes held now.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A client that held `before` bytes holds `after` now.
    pub(super) fn change(&self, before: usize, after: usize) {
        if after > before {
            self.used.fetch_add((after - before) as u64, Ordering::Relaxed);
        } else if before > after {
            self.used.fetch_sub((before - after) as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_exhausted_at_its_limit_and_recovers() {
        let budget = Budget::new(100);
        budget.change(0, 60);
        assert!(!budget.exhausted(false));
        budget.change(0, 40);
        assert!(budget.exhausted(false));
        budget.change(60, 10);
        assert!(!budget.exhausted(false));
        assert_eq!(budget.used(), 50);
    }

    #[test]
    fn no_limit_given_means_the_default() {
        let budget = Budget::new(0);
        budget.change(0, TOTAL_BYTES_MAX as usize);
        assert!(budget.exhausted(false));
    }
}
