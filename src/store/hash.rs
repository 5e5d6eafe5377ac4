//! The keyed hash of keys: XXH3 with a secret of 192 random bytes. Without the secret nobody can choose keys that meet in one bucket.

use super::index::KeyHash;
use xxhash_rust::xxh3::xxh3_64_with_secret;

/// Length of the secret in bytes, XXH3's default.
const SECRET_LEN: usize = 192;

/// The hash function of one store.
pub struct KeyHasher {
    secret: [u8; SECRET_LEN],
}

impl KeyHasher {
    /// A hasher whose secret is stretched from `seed` by splitmix64.
    #[must_use]
    pub fn new(seed: [u64; 4]) -> KeyHasher {
        let mut secret = [0; SECRET_LEN];
        for (index, bytes) in secret.chunks_exact_mut(8).enumerate() {
            let mut word = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for part in seed {
                word = word.wrapping_add(part);
                word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                word ^= word >> 31;
            }
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        KeyHasher { secret }
    }

    /// How many words its secret has.
    pub const WORDS: usize = SECRET_LEN / 8;

    /// The secret, for a process that goes on with the same index.
    #[must_use]
    pub fn secret(&self) -> [u64; KeyHasher::WORDS] {
        let (chunks, _) = self.secret.as_chunks::<8>();
        std::array::from_fn(|word| u64::from_le_bytes(chunks[word]))
    }

    /// The hasher with this secret.
    #[must_use]
    pub fn of(secret: [u64; KeyHasher::WORDS]) -> KeyHasher {
        let mut bytes = [0; SECRET_LEN];
        bytes.chunks_exact_mut(8).zip(secret).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
        KeyHasher { secret: bytes }
    }

    /// Hashes a key.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(xxh3_64_with_secret(key, &self.secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_seed_gives_other_hashes() {
        let (one, two) = (KeyHasher::new([1, 2, 3, 4]), KeyHasher::new([1, 2, 3, 5]));
        let same = (0..1000u32).filter(|n| one.hash(&n.to_le_bytes()) == two.hash(&n.to_le_bytes())).count();
        assert_eq!(same, 0);
    }
}
