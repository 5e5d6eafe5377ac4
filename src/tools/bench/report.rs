//! What came of a run: counts, latencies, and how they are shown.

use super::mix::Kind;
use super::replies::Counts;
use super::usage::Cpu;
use crate::tools::Failure;
use hdrhistogram::Histogram;
use std::array;
use std::fmt::Write as _;

/// Latencies beyond this count as this: an hour, in nanoseconds.
const LATENCY_MAX_NANOS: u64 = 3_600_000_000_000;
/// What is told of each kind of request: a name, and the share of requests that took no longer.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
const NANOS_PER_MICRO: f64 = 1e3;

/// What a run did.
pub struct Report {
    /// What was answered.
    pub counts: Counts,
    /// Nanoseconds until requests of each kind were answered, in the order of [`Kind::ALL`].
    pub latencies: [Histogram<u64>; Kind::ALL.len()],
    /// How long it took.
    pub seconds: f64,
    /// Requests that were due before the end and never sent, because answers to others were still owed: they would have waited longest.
    pub unsent: u64,
    /// Items that the server refused when they were stored beforehand.
    pub unfilled: u64,
    /// What the server used meanwhile, if that is known.
    pub server: Option<Cpu>,
}

impl Report {
    /// Of nothing yet.
    ///
    /// # Errors
    /// When there is no memory for the counts.
    pub fn new() -> Result<Report, Failure> {
        let empty = Histogram::new_with_max(LATENCY_MAX_NANOS, 3).map_err(|error| Failure(error.to_string()))?;
        let latencies = array::from_fn(|_| empty.clone());
        Ok(Report { counts: Counts::default(), latencies, seconds: 0.0, unsent: 0, unfilled: 0, server: None })
    }

    /// Adds what was answered after `latency` nanoseconds. Returns how many requests.
    pub fn count(&mut self, counts: &Counts, latency: u64) -> u64 {
        self.counts.add(counts);
        let mut sum = 0;
        for (latencies, answered) in self.latencies.iter_mut().zip(counts.answered) {
            if answered > 0 {
                latencies.saturating_record_n(latency.clamp(1, LATENCY_MAX_NANOS), answered);
                sum += answered;
            }
        }
        sum
    }

    /// Adds what another thread did at the same time.
    ///
    /// # Errors
    /// When there is no memory for the counts.
    pub fn add(&mut self, other: &Report) -> Result<(), Failure> {
        let seconds = self.seconds.max(other.seconds);
        self.follow(other)?;
        self.seconds = seconds;
        Ok(())
    }

    /// Adds what was done afterwards.
    ///
    /// # Errors
    /// When there is no memory for the counts.
    pub fn follow(&mut self, other: &Report) -> Result<(), Failure> {
        self.counts.add(&other.counts);
        self.seconds += other.seconds;
        self.unsent += other.unsent;
        self.unfilled += other.unfilled;
        let mut pairs = self.latencies.iter_mut().zip(&other.latencies);
        pairs.try_for_each(|(sum, part)| sum.add(part)).map_err(|error| Failure(error.to_string()))
    }

    /// Requests of all kinds.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counts.answered.iter().sum()
    }

    /// The microseconds within which `share` (0 to 1) of the requests of a kind were answered.
    #[must_use]
    pub fn micros(&self, kind: Kind, share: f64) -> f64 {
        self.latencies[kind as usize].value_at_quantile(share) as f64 / NANOS_PER_MICRO
    }

    /// Processor time of the server for a request, in microseconds: in all, and of it in user code.
    fn server_micros(&self) -> Option<(f64, f64)> {
        let cpu = self.server?;
        let each = cpu.nanos as f64 / NANOS_PER_MICRO / self.requests().max(1) as f64;
        Some((each, each * cpu.user_share()))
    }

    fn kinds(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.counts.answered)
    }

    /// As a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let Counts { hits, misses, refused, absent, .. } = self.counts;
        let mut out = format!("{:<6}{:>12}{:>14}", "", "requests", "per second");
        for (name, _) in QUANTILES {
            let _ = write!(out, "{name:>12}");
        }
        for (kind, count) in self.kinds().filter(|(_, count)| *count > 0) {
            let _ = write!(out, "\n{:<6}{count:>12}{:>14.0}", kind.name(), count as f64 / self.seconds);
            for (_, share) in QUANTILES {
                let _ = write!(out, "{:>9.1} µs", self.micros(kind, share));
            }
        }
        let keys = hits + misses;
        let share = hits as f64 * 100.0 / keys.max(1) as f64;
        let _ = write!(out, "\nin {:.1} s; {hits} of {keys} keys found ({share:.2} %)", self.seconds);
        let notes = [
            (refused, "were refused"),
            (absent, "touched, counted or deleted nothing"),
            (self.unsent, "were due and never sent: this rate is too much for the server, or for this client"),
            (self.unfilled, "items were refused when they were stored before"),
        ];
        for (count, what) in notes.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(out, "; {count} {what}");
        }
        if let Some((each, user)) = self.server_micros() {
            let system = each - user;
            let _ = write!(out, "\nthe server used {each:.2} µs a request: {user:.2} user, {system:.2} system");
        }
        out
    }

    /// As a line for programs.
    #[must_use]
    pub fn json(&self) -> String {
        let Counts { hits, misses, refused, absent, .. } = self.counts;
        let Report { seconds, unsent, unfilled, .. } = *self;
        let mut out = format!("{{\"seconds\":{seconds:.3},\"hits\":{hits},\"misses\":{misses},\"refused\":{refused}");
        let _ = write!(out, ",\"absent\":{absent},\"unsent\":{unsent},\"unfilled\":{unfilled}");
        if let Some((each, user)) = self.server_micros() {
            let _ = write!(out, ",\"server_micros\":{{\"all\":{each:.4},\"user\":{user:.4}}}");
        }
        for (kind, count) in self.kinds() {
            let quantiles = QUANTILES.map(|(name, share)| format!("\"{name}\":{:.1}", self.micros(kind, share)));
            let (name, per_second, quantiles) = (kind.name(), count as f64 / seconds, quantiles.join(","));
            let _ = write!(out, ",\"{name}\":{{\"requests\":{count},\"per_second\":{per_second:.1}");
            let _ = write!(out, ",\"micros\":{{{quantiles}}}}}");
        }
        out.push('}');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new().unwrap();
        let get = Counts { answered: [1, 0, 0, 0, 0], hits: 1, ..Counts::default() };
        for micros in [10_000, 20_000] {
            assert_eq!(report.count(&get, micros), 1);
        }
        report.count(&Counts { hits: 0, misses: 1, ..get }, 30_000);
        report.count(&Counts { answered: [0, 1, 0, 0, 0], refused: 1, ..Counts::default() }, 40_000);
        report.seconds = 2.0;
        report
    }

    #[test]
    fn the_table_has_a_line_for_each_kind() {
        let mut report = report();
        let text = report.table();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["requests", "per", "second", "p50", "p90", "p99", "p99.9", "max"]);
        assert_eq!(lines[1][..5], ["get", "3", "2", "20.0", "µs"]);
        assert_eq!(lines[2][..4], ["set", "1", "0", "40.0"]);
        assert_eq!(lines.len(), 4, "what was not asked for has no line");
        assert!(text.ends_with("in 2.0 s; 2 of 3 keys found (66.67 %); 1 were refused"), "{text}");
        (report.unsent, report.counts.absent) = (7, 5);
        assert!(
            report.table().contains("1 were refused; 5 touched, counted or deleted nothing; 7 were due and never sent")
        );
        report.server = Some(Cpu { nanos: 40_000, user_ticks: 1, ticks: 4 });
        assert!(report.table().ends_with("the server used 10.00 µs a request: 2.50 user, 7.50 system"));
    }

    #[test]
    fn json_has_the_same_figures() {
        let mut report = report();
        report.server = Some(Cpu { nanos: 40_000, user_ticks: 1, ticks: 4 });
        report.unfilled = 2;
        let nothing = "{\"requests\":0,\"per_second\":0.0,\
                       \"micros\":{\"p50\":0.0,\"p90\":0.0,\"p99\":0.0,\"p99.9\":0.0,\"max\":0.0}}";
        assert_eq!(
            report.json(),
            format!(
                "{{\"seconds\":2.000,\"hits\":2,\"misses\":1,\"refused\":1,\
                 \"absent\":0,\"unsent\":0,\"unfilled\":2,\
                 \"server_micros\":{{\"all\":10.0000,\"user\":2.5000}},\
                 \"get\":{{\"requests\":3,\"per_second\":1.5,\
                 \"micros\":{{\"p50\":20.0,\"p90\":30.0,\"p99\":30.0,\"p99.9\":30.0,\"max\":30.0}}}},\
                 \"set\":{{\"requests\":1,\"per_second\":0.5,\
                 \"micros\":{{\"p50\":40.0,\"p90\":40.0,\"p99\":40.0,\"p99.9\":40.0,\"max\":40.0}}}},\
                 \"touch\":{nothing},\"incr\":{nothing},\"delete\":{nothing}}}"
            )
        );
    }

    #[test]
    fn threads_that_ran_at_once_are_one_report() {
        let (mut all, part) = (report(), report());
        all.add(&part).unwrap();
        assert_eq!((all.requests(), all.seconds, all.counts.hits), (8, 2.0, 4));
        assert_eq!(all.latencies[Kind::Get as usize].len(), 6);
    }
}
