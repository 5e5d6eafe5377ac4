//! Slab classes: which chunk sizes there are, and which one an item goes to.
//!
//! memhold's own table has a size every 8 bytes up to 256, every 16 up to 1 KiB, then 16 per doubling up to an eighth of a page;
//! mean rounding is 2 to 4 %. With `-f`, `-n` or `slab_sizes` it is memcached's (section 14 of the reference), and items are put
//! into classes by memcached's account of their size, so that class numbers are the same as there.

use super::{Config, SlabTable};

/// memcached's item header, terminators and CAS, by which it counts an item's size (section 1.1).
const ACCOUNT_HEADER: usize = 48;
const ACCOUNT_CAS: usize = 8;

/// An item's size by memcached's account: header, CAS, key and its NUL, client flags if not 0, value and CR LF.
#[must_use]
pub fn account_size(key_len: usize, value_len: usize, flags: bool, cas: bool) -> usize {
    ACCOUNT_HEADER + if cas { ACCOUNT_CAS } else { 0 } + key_len + 1 + if flags { 4 } else { 0 } + value_len + 2
}

/// The sizes, and how items are put to them.
#[derive(Clone, Debug)]
pub struct Classes {
    /// Chunk sizes, ascending; class n has `sizes[n - 1]`.
    pub sizes: Vec<usize>,
    /// Items are classed by memcached's account of their size.
    pub by_account: bool,
    /// Class number of large items, those above the last size.
    pub large: u32,
    /// The page size that goes with the table.
    pub page_size: usize,
}

const PAGE_MAX: usize = 1 << 20;
const PAGE_MIN: usize = 1 << 16;
/// memcached's limit of slab classes.
const EXACT_CLASSES_MAX: usize = 63;
const SMALLEST: usize = 40;

impl Classes {
    /// The table for a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Classes {
        match &config.slabs {
            SlabTable::Fine => Classes::fine(page_size_for(config.memory_bytes)),
            SlabTable::Factor { min, factor } => Classes::exact(factor_sizes(*min, *factor, config.slab_chunk_max)),
            SlabTable::Sizes(sizes) => {
                let mut sizes: Vec<usize> = sizes.iter().map(|size| size.next_multiple_of(8)).collect();
                sizes.truncate(EXACT_CLASSES_MAX - 1);
                sizes.retain(|&size| size < config.slab_chunk_max);
                sizes.push(config.slab_chunk_max);
                Classes::exact(sizes)
            }
        }
    }

    /// The table for an arena that has pages of `page_size` bytes. memhold's own table follows them; memcached's has its own pages.
    #[must_use]
    pub fn for_pages_of(config: &Config, page_size: usize) -> Classes {
        match &config.slabs {
            SlabTable::Fine => Classes::fine(page_size),
            _ => Classes::new(config),
        }
    }

    /// The chunk sizes that were found in an arena, ascending.
    #[must_use]
    pub fn found(mut sizes: Vec<usize>, page_size: usize) -> Classes {
        if sizes.is_empty() {
            sizes.push(SMALLEST);
        }
        Classes { large: u32::try_from(sizes.len()).unwrap_or(u32::MAX), sizes, by_account: true, page_size }
    }

    fn fine(page_size: usize) -> Classes {
        let mut sizes = Vec::new();
        let mut size = SMALLEST;
        while size <= page_size / 8 {
            sizes.push(size);
            size += match size {
                0..256 => 8,
                256..1024 => 16,
                _ => (1 << size.ilog2()) / 16,
            };
        }
        #[expect(clippy::cast_possible_truncation, reason = "fewer than 256 classes")]
        Classes { large: sizes.len() as u32 + 1, sizes, by_account: false, page_size }
    }

    fn exact(sizes: Vec<usize>) -> Classes {
        #[expect(clippy::cast_possible_truncation, reason = "at most 63 classes")]
        Classes { large: sizes.len() as u32, sizes, by_account: true, page_size: PAGE_MAX }
    }

    /// Tells the table in the lines that `-vv` prints at the start (section 16.2).
    pub fn tell(&self) {
        for (class, &size) in (1..).zip(&self.sizes) {
            log::debug!("{}", told(class, size, self.page_size / size));
        }
    }

    /// The class for an item of `total` bytes as stored and `account` bytes by memcached's account; `None` for a large one.
    #[inline]
    #[must_use]
    pub fn class_for(&self, total: usize, account: usize) -> Option<usize> {
        let size = if self.by_account { account } else { total };
        if size > *self.sizes.last()? {
            return None;
        }
        if !self.by_account && size <= 256 {
            return Some(size.max(SMALLEST).div_ceil(8) - SMALLEST / 8);
        }
        Some(self.sizes.partition_point(|&chunk| chunk < size))
    }
}

/// A class as memcached prints it.
fn told(class: u32, size: usize, per_page: usize) -> String {
    format!("slab class {class:3}: chunk size {size:9} perslab {per_page:7}")
}

/// About a thousand pages at least, between 64 KiB and 1 MiB.
fn page_size_for(memory_bytes: u64) -> usize {
    let wanted = usize::try_from(memory_bytes / 1024).unwrap_or(PAGE_MAX);
    wanted.clamp(PAGE_MIN, PAGE_MAX).next_power_of_two()
}

fn factor_sizes(min: usize, factor: f64, chunk_max: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut size = ACCOUNT_HEADER + min;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "memcached computes the table in doubles and cuts them, so do we"
    )]
    while sizes.len() < EXACT_CLASSES_MAX - 1 && size <= (chunk_max as f64 / factor) as usize {
        size = size.next_multiple_of(8);
        sizes.push(size);
        size = (size as f64 * factor) as usize;
    }
    sizes.push(chunk_max);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_told_as_memcached_tells_it() {
        assert_eq!(told(1, 96, 10922), "slab class   1: chunk size        96 perslab   10922");
    }

    #[test]
    fn the_default_factor_gives_memcacheds_table() {
        let sizes = factor_sizes(48, 1.25, 524_288);
        let expected = [
            96, 120, 152, 192, 240, 304, 384, 480, 600, 752, 944, 1184, 1480, 1856, 2320, 2904, 3632, 4544, 5680, 7104,
            8880, 11104, 13880, 17352, 21696, 27120, 33904, 42384, 52984, 66232, 82792, 103_496, 129_376, 161_720,
            202_152, 252_696, 315_872, 394_840, 524_288,
        ];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn every_size_goes_to_the_smallest_class_that_holds_it() {
        let classes = Classes::fine(PAGE_MIN);
        for size in 1..=PAGE_MIN / 8 {
            let class = classes.class_for(size, 0).expect("not large");
            assert!(classes.sizes[class] >= size);
            assert!(class == 0 || classes.sizes[class - 1] < size, "size {size} in {}", classes.sizes[class]);
        }
        assert_eq!(classes.class_for(PAGE_MIN / 8 + 1, 0), None);
    }

    #[test]
    fn the_account_is_memcacheds() {
        // Section 1.1: with default settings, a 2-byte key and flags 0, 1 048 515 bytes fit into 1 MiB.
        assert_eq!(account_size(2, 1_048_515, false, true), 1 << 20);
        assert_eq!(account_size(2, 1_048_511, true, true), 1 << 20);
    }
}
