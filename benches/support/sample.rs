//! One measurement of a server under load: what was answered, and the CPU time it took.

use std::time::Duration;

use memhold::tools::bench::player::{Limit, Player};
use memhold::tools::bench::report::Report;
use memhold::tools::bench::usage::Cpu;

use super::Failure;
use super::server::Server;

/// What one server did in a round.
pub struct Sample {
    pub report: Report,
    pub cpu: Cpu,
}

impl Sample {
    pub fn new() -> Result<Sample, Failure> {
        Ok(Sample { report: Report::new()?, cpu: Cpu::default() })
    }

    /// Adds a slice of load.
    ///
    /// # Errors
    ///
    /// When the server answers wrongly or is gone.
    pub fn measure(&mut self, server: &Server, player: &mut Player) -> Result<(), Failure> {
        // Brings the server's memory back into the caches after the other one's turn.
        player.play(Limit::For(SLICE / 10))?;
        player.take_report()?;
        let before = server.cpu()?;
        player.play(Limit::For(SLICE))?;
        self.cpu = self.cpu.and(server.cpu()?.since(before));
        self.report.follow(&player.take_report()?)?;
        Ok(())
    }

    /// Server CPU time of a request, in microseconds.
    pub fn cpu(&self) -> f64 {
        self.cpu.nanos as f64 / self.report.requests() as f64 / 1e3
    }

    /// Thousands of requests a second.
    pub fn rate(&self) -> f64 {
        self.report.requests() as f64 / self.report.seconds / 1e3
    }

    /// The share of the time in which the server was on a core.
    pub fn busy(&self) -> f64 {
        self.cpu.nanos as f64 / self.report.seconds / 1e9
    }
}

/// How long a server is measured at a stretch. Shorter ones share the noise more evenly, but leave less time between
/// the caches' getting warm again.
pub const SLICE: Duration = Duration::from_millis(100);
