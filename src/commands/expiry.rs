//! From an exptime as clients write it to the second in which the item expires, and back (section 1.2).

use crate::clock::Now;
use crate::protocol::request::TypedExptime;
use crate::store::{EXPIRED, Exptime};

/// Up to here an exptime counts from now; above it is unix time. 30 days.
pub const RELATIVE_SECONDS_MAX: TypedExptime = 60 * 60 * 24 * 30;

/// The second at which something typed as `typed` expires; 0 is never.
#[must_use]
pub fn absolute(typed: TypedExptime, now: Now) -> Exptime {
    match typed {
        0 => 0,
        ..0 => EXPIRED,
        1..=RELATIVE_SECONDS_MAX => {
            let seconds = u32::try_from(typed).unwrap_or(u32::MAX);
            now.seconds.saturating_add(seconds)
        }
        _ => u32::try_from(typed).unwrap_or(u32::MAX),
    }
}

/// Seconds that are left, as replies show them: -1 for never, 0 for over.
#[must_use]
pub fn seconds_left(exptime: Exptime, now: Now) -> i64 {
    if exptime == 0 { -1 } else { i64::from(exptime.saturating_sub(now.seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now::at(1_800_000_000, 0);

    #[test]
    fn zero_is_never_and_negative_is_over() {
        assert_eq!(absolute(0, NOW), 0);
        assert_eq!(absolute(-1, NOW), EXPIRED);
        assert_eq!(absolute(i64::from(i32::MIN), NOW), EXPIRED);
    }

    #[test]
    fn thirty_days_are_relative_and_one_second_more_is_absolute() {
        assert_eq!(absolute(1, NOW), NOW.seconds + 1);
        assert_eq!(absolute(2_592_000, NOW), NOW.seconds + 2_592_000);
        assert_eq!(absolute(2_592_001, NOW), 2_592_001);
        assert_eq!(absolute(1_800_000_100, NOW), 1_800_000_100);
    }

    #[test]
    fn what_lies_beyond_the_clock_is_its_end() {
        assert_eq!(absolute(0xffff_ffff, NOW), u32::MAX);
        assert_eq!(absolute(1 << 40, NOW), u32::MAX);
        assert_eq!(absolute(2_592_000, Now::at(u32::MAX - 5, 0)), u32::MAX);
    }

    #[test]
    fn seconds_left_never_go_below_zero() {
        assert_eq!(seconds_left(0, NOW), -1);
        assert_eq!(seconds_left(EXPIRED, NOW), 0);
        assert_eq!(seconds_left(NOW.seconds + 30, NOW), 30);
    }
}
