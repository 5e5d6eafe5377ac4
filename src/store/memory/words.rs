//! Long arrays of atomic words, zero at first, whose memory the kernel gives page by page as they are touched: an array can be
//! sized for the largest store that fits the address range and cost nothing before it is used.
//!
//! Under loom they are ordinary vectors, so that the model checker sees every access.

#[cfg(not(loom))]
pub use lazy::{Words32, Words64};
#[cfg(loom)]
pub use modelled::{Words32, Words64};

#[cfg(not(loom))]
mod lazy {
    use crate::sync::{AtomicU32, AtomicU64};
    use crate::sys::memory::Mapping;
    use std::io;

    macro_rules! words {
        ($name:ident, $word:ty, $doc:literal) => {
            #[doc = $doc]
            #[derive(Debug)]
            pub struct $name {
                mapping: Mapping,
                len: usize,
            }

            impl $name {
                /// An array of `len` zero words.
                ///
                /// # Errors
                /// When the address range cannot be had.
                pub fn new(len: usize) -> io::Result<$name> {
                    let bytes = (len * size_of::<$word>()).next_multiple_of(4096).max(4096);
                    let mapping = Mapping::reserve(bytes)?;
                    mapping.advise_huge(0, bytes, false);
                    Ok($name { mapping, len })
                }

                /// The word at `index`.
                #[inline]
                #[must_use]
                pub fn at(&self, index: usize) -> &$word {
                    assert!(index < self.len, "inside the array");
                    // SAFETY: the index was checked; the mapping is zeroed (a valid atomic), page-aligned and lives as
                    // long as `self`; only atomic access to these bytes is ever given out.
                    unsafe { &*self.mapping.base().as_ptr().cast::<$word>().add(index) }
                }

                /// Starts loading the cache line of a word.
                #[inline]
                pub fn prefetch(&self, index: usize) {
                    if index < self.len {
                        super::super::arena::prefetch_line(
                            self.mapping.base().as_ptr().wrapping_add(index * size_of::<$word>()),
                        );
                    }
                }
            }
        };
    }
    words!(Words32, AtomicU32, "A lazily committed array of 32-bit atomics.");
    words!(Words64, AtomicU64, "A lazily committed array of 64-bit atomics.");

    impl Words64 {
        /// Asks for huge pages behind the first `from` bytes.
        pub fn prefer_huge_pages(&self, from: usize) {
            let bytes = self.len * 8;
            self.mapping.advise_huge(from.min(bytes), bytes.saturating_sub(from), true);
        }

        /// The eight words of a cache line.
        #[inline(always)]
        #[must_use]
        pub fn line(&self, line: usize) -> &[AtomicU64; 8] {
            assert!(line < self.len / 8, "inside the array");
            // SAFETY: as for `at`, for eight words that lie inside the array.
            unsafe { &*self.mapping.base().as_ptr().cast::<[AtomicU64; 8]>().add(line) }
        }
    }
}

#[cfg(loom)]
mod modelled {
    use crate::sync::{AtomicU32, AtomicU64};
    use std::io;

    macro_rules! words {
        ($name:ident, $word:ty) => {
            /// The array as loom sees it.
            #[derive(Debug)]
            pub struct $name(Vec<$word>);

            impl $name {
                /// An array of `len` zero words.
                pub fn new(len: usize) -> io::Result<$name> {
                    Ok($name((0..len).map(|_| <$word>::new(0)).collect()))
                }
                /// The word at `index`.
                pub fn at(&self, index: usize) -> &$word {
                    &self.0[index]
                }
                /// Nothing to load under the model checker.
                pub fn prefetch(&self, _index: usize) {}
            }
        };
    }
    words!(Words32, AtomicU32);
    words!(Words64, AtomicU64);

    impl Words64 {
        /// Nothing to ask for under the model checker.
        pub fn prefer_huge_pages(&self, _from: usize) {}

        /// The eight words of a cache line.
        pub fn line(&self, line: usize) -> &[AtomicU64] {
            &self.0[line * 8..line * 8 + 8]
        }
    }
}
