//! Changing bytes of a published item where they are, so that a death at any moment leaves all of them changed or none: they have to
//! lie in one word that the processor stores at once.
//!
//! Such a word must not reach back into the key, which others read without the item's stripe.

use crate::sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// The word in which bytes lie that are to be changed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Patch {
    /// Offset in the arena, a multiple of the width.
    pub(super) word: usize,
    /// 1, 2, 4 or 8 bytes.
    pub(super) width: usize,
    /// Where in the word the bytes begin.
    pub(super) at: usize,
}

impl Patch {
    /// The smallest word around `len` bytes at `offset` that begins at `from` or later; its end may lie behind that of an item, but not
    /// behind that of a chunk, which is a multiple of 8. `None` when no word is so large or lies so well.
    #[inline(always)]
    pub(in crate::store) fn around(offset: usize, len: usize, from: usize) -> Option<Patch> {
        if len == 0 {
            return None;
        }
        [1, 2, 4, 8].into_iter().find_map(|width| {
            let word = offset & !(width - 1);
            (word >= from && offset + len <= word + width).then_some(Patch { word, width, at: offset - word })
        })
    }

    /// Puts `bytes` there, as many as it was made for, in one store.
    ///
    /// # Safety
    /// The word is inside of the arena that begins at `base`, and nobody else reads or writes any byte of it meanwhile.
    #[inline]
    pub(super) unsafe fn put(self, base: *mut u8, bytes: &[u8]) {
        // SAFETY: inside of the arena, as the caller says.
        let place = unsafe { base.add(self.word) };
        match bytes {
            // Nearly every change of a number is this one.
            // SAFETY: as the caller says.
            &[byte] => unsafe { &*place.cast::<AtomicU8>() }.store(byte, Ordering::Release),
            // SAFETY: as the caller says.
            _ => unsafe { self.put_some(place, bytes) },
        }
    }

    /// # Safety
    /// As for [`Patch::put`].
    unsafe fn put_some(self, place: *mut u8, bytes: &[u8]) {
        let mut word = [0; 8];
        // SAFETY: as the caller says.
        unsafe { place.copy_to_nonoverlapping(word.as_mut_ptr(), self.width) };
        word[self.at..][..bytes.len()].copy_from_slice(bytes);
        let [a, b, c, d, ..] = word;
        // SAFETY: as the caller says; aligned, since the arena is and the word's offset is.
        unsafe {
            match self.width {
                2 => (*place.cast::<AtomicU16>()).store(u16::from_ne_bytes([a, b]), Ordering::Release),
                4 => (*place.cast::<AtomicU32>()).store(u32::from_ne_bytes([a, b, c, d]), Ordering::Release),
                _ => (*place.cast::<AtomicU64>()).store(u64::from_ne_bytes(word), Ordering::Release),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_word_around_the_bytes_is_taken() {
        let taken = |offset, len| Patch::around(offset, len, 0).map(|patch| (patch.word, patch.width, patch.at));
        assert_eq!(taken(13, 1), Some((13, 1, 0)));
        assert_eq!(taken(14, 2), Some((14, 2, 0)));
        assert_eq!(taken(13, 2), Some((12, 4, 1)));
        assert_eq!(taken(11, 2), Some((8, 8, 3)));
        assert_eq!(taken(16, 8), Some((16, 8, 0)));
        assert_eq!(taken(15, 2), None, "in two words");
        assert_eq!(taken(16, 9), None, "more than a word");
        assert_eq!(taken(16, 0), None, "nothing");
    }

    #[test]
    fn no_word_begins_before_the_value() {
        assert_eq!(Patch::around(13, 2, 13), None);
        assert_eq!(Patch::around(13, 2, 12), Some(Patch { word: 12, width: 4, at: 1 }));
        assert_eq!(Patch::around(13, 1, 13), Some(Patch { word: 13, width: 1, at: 0 }));
    }
}
