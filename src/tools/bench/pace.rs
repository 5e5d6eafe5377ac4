//! When a run stops, and at a fixed rate when each of its bursts is due: connections take turns, evenly spread.

use std::time::Duration;

/// When to stop.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Once these items are stored, each once, and behind them the counters if any are counted up: those whose number leaves `rest`
    /// when divided by `step`.
    Fill {
        /// First number.
        rest: u64,
        /// From one to the next.
        step: u64,
    },
    /// After this time.
    For(Duration),
    /// After so many bursts.
    Bursts(u64),
}

/// A run under way. Times are nanoseconds of the plan's clock.
pub struct Run {
    /// When to stop.
    pub limit: Limit,
    /// When it ends, if it ends by time.
    pub end: u64,
    /// When it began.
    pub start: u64,
    /// Nanoseconds from a burst of one connection to the next one's; 0 when flat out.
    pub step: f64,
    /// The number of the burst that is due next, over all connections.
    pub turn: usize,
}

impl Run {
    /// When a burst is due.
    #[must_use]
    pub fn due(&self, turn: usize) -> u64 {
        self.start + (self.step * turn as f64) as u64
    }

    /// How many bursts are due before `moment`.
    #[must_use]
    pub fn turns_before(&self, moment: u64) -> usize {
        let turns = (moment.saturating_sub(self.start) as f64 / self.step).ceil() as usize;
        // A division that is not exact may give one too many.
        if turns > 0 && self.due(turns - 1) >= moment { turns - 1 } else { turns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_due_before_a_moment_as_have_their_time_before_it() {
        for step in [1.0, 3.0, 0.1, 7.7, 1e9 / 3.0, 500_000.0] {
            let run = Run { limit: Limit::Bursts(1), end: u64::MAX, start: 1000, step, turn: 0 };
            assert_eq!(run.turns_before(1000), 0);
            for moment in (1001..1100).chain([1_000_000_999, 1_000_001_000, 1_000_001_001]) {
                let turns = run.turns_before(moment);
                assert!(run.due(turns) >= moment && run.due(turns - 1) < moment, "{turns} of {step} before {moment}");
            }
        }
    }
}
