//! What a process on this machine has used: time on a processor, memory. All of it is read from `/proc`.

use std::fs;
use std::io::{self, ErrorKind};

/// `USER_HZ`, which Linux promises to be 100.
const NANOS_PER_TICK: u64 = 10_000_000;

/// Time on processors since a process started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In nanoseconds.
    pub nanos: u64,
    /// In ticks of 10 ms as the kernel saw it when the tick came: in user code, and in all. A guess; right over long times only.
    pub user_ticks: u64,
    /// See there.
    pub ticks: u64,
}

impl Cpu {
    /// What the process `pid` has used so far.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: u32) -> io::Result<Cpu> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold spaces; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let mut times = fields.split_whitespace().skip(11).map_while(|field| field.parse().ok());
        let (user, system): (u64, u64) = (times.next().unwrap_or(0), times.next().unwrap_or(0));
        let ticks = user + system;
        let nanos = nanos_of_threads(pid).unwrap_or(ticks * NANOS_PER_TICK);
        Ok(Cpu { nanos, user_ticks: user, ticks })
    }

    /// What was used since `before`.
    #[must_use]
    pub fn since(self, before: Cpu) -> Cpu {
        Cpu {
            nanos: self.nanos.saturating_sub(before.nanos),
            user_ticks: self.user_ticks.saturating_sub(before.user_ticks),
            ticks: self.ticks.saturating_sub(before.ticks),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Cpu) -> Cpu {
        Cpu {
            nanos: self.nanos + other.nanos,
            user_ticks: self.user_ticks + other.user_ticks,
            ticks: self.ticks + other.ticks,
        }
    }

    /// Which part of it was in user code.
    #[must_use]
    pub fn user_share(self) -> f64 {
        self.user_ticks as f64 / self.ticks.max(1) as f64
    }
}

/// The first number of every thread's schedstat; `None` where the kernel was built without.
fn nanos_of_threads(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else { continue };
        sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (sum > 0).then_some(sum)
}

/// Resident memory of the process `pid`, in bytes.
///
/// # Errors
/// When there is none, or its memory may not be looked at.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kilobytes.ok_or(ErrorKind::InvalidData)? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_time_and_memory() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        let sum = (0..3_000_000_u64).fold(0, |sum: u64, number| std::hint::black_box(sum ^ number));
        // The kernel brings the sum up to date when a thread waits, and at each tick.
        assert!(Cpu::of(pid).unwrap().nanos >= before.nanos && sum < u64::MAX);
        assert!(before.nanos > 0 && resident_bytes(pid).unwrap() > 1 << 20);
        assert!(Cpu::of(u32::MAX).is_err() && resident_bytes(u32::MAX).is_err());
    }
}
