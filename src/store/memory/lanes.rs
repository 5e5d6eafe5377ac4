//! Comparing the tags of a bucket all at once.

/// Which of the twelve 16-bit lanes of `words` equal `lane`, a bit for each.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[must_use]
#[expect(clippy::cast_sign_loss, clippy::cast_possible_wrap, reason = "bit patterns")]
pub fn lanes_equal(words: [u64; 3], lane: u16) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set_epi64x, _mm_set1_epi16};
    // SAFETY: these need SSE2, which every x86_64 processor has, and touch no memory.
    unsafe {
        let wanted = _mm_set1_epi16(lane as i16);
        let low = _mm_cmpeq_epi16(_mm_set_epi64x(words[1] as i64, words[0] as i64), wanted);
        let high = _mm_cmpeq_epi16(_mm_set_epi64x(0, words[2] as i64), wanted);
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32 & 0xfff
    }
}

/// The same, lane by lane.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub fn lanes_equal(words: [u64; 3], lane: u16) -> u32 {
    one_by_one(words, lane)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one(words: [u64; 3], lane: u16) -> u32 {
    let lanes = (0..12).map(|slot| (words[slot / 4] >> (16 * (slot % 4)) & 0xffff) as u16);
    lanes.zip(0..).fold(0, |set, (other, slot)| set | u32::from(other == lane) << slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_compared_together_are_those_compared_one_by_one() {
        let words = [0x0001_0002_0003_0001, 0xffff_0000_8000_7fff, 0x0000_0001_0001_0000];
        for lane in [0, 1, 2, 3, 0x7fff, 0x8000, 0xffff, 9] {
            assert_eq!(lanes_equal(words, lane), one_by_one(words, lane), "lane {lane:#x}");
        }
    }
}
