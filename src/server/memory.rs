//! From settings to what the store is told, and a look at whether the machine has that much memory.

use crate::settings::Settings;
use crate::store::{Config, SlabTable};
use crate::sys::resources;
use std::fs;
use std::path::Path;

/// The store that these settings ask for. `seed` keys its hash.
#[must_use]
pub fn store_config(settings: &Settings, seed: u64) -> Config {
    Config {
        memory_bytes: settings.memory_bytes,
        item_size_max: settings.item_size_max_bytes,
        slabs: slab_table(settings),
        slab_chunk_max: settings.slab_chunk_max_bytes,
        evict: settings.evictions,
        cas: settings.cas_enabled,
        temporary_ttl: settings.temp_lru.then_some(settings.temporary_ttl_seconds),
        page_moves: settings.slab_reassign && settings.slab_automove > 0,
        preallocate: settings.preallocate,
        seed,
    }
}

/// Our own finer classes, unless an option speaks of sizes: then memcached's to the byte (section 14).
fn slab_table(settings: &Settings) -> SlabTable {
    match &settings.slab_sizes {
        Some(sizes) => SlabTable::Sizes(sizes.clone()),
        None if settings.slab_table_given => {
            SlabTable::Factor { min: settings.chunk_size_bytes as usize, factor: settings.growth_factor }
        }
        None => SlabTable::Fine,
    }
}

/// The line to print when `-m` is more than the machine or the container has.
#[must_use]
pub fn too_much_memory(settings: &Settings) -> Option<String> {
    let asked = settings.memory_bytes;
    let own_cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if let Some(most) = cgroup_limit(Path::new("/sys/fs/cgroup"), &own_cgroup).filter(|&most| asked > most) {
        return Some(warning(asked, most, "this container's memory.max"));
    }
    let most = resources::physical_memory_bytes();
    (most != 0 && asked > most).then(|| warning(asked, most, "this machine's memory"))
}

fn warning(asked: u64, most: u64, whose: &str) -> String {
    let megabytes = |bytes: u64| bytes >> 20;
    format!("WARNING: -m {} is more than {whose} of {} megabytes", megabytes(asked), megabytes(most))
}

/// The least `memory.max` of the cgroup (version 2) that `/proc/self/cgroup` names and those above it.
fn cgroup_limit(root: &Path, own_cgroup: &str) -> Option<u64> {
    let own = own_cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    Path::new(own.trim_start_matches('/'))
        .ancestors()
        .filter_map(|group| fs::read_to_string(root.join(group).join("memory.max")).ok())
        .filter_map(|text| text.trim().parse().ok()) // "max" is no number: no limit there.
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_fine_until_an_option_speaks_of_sizes() {
        let mut settings = Settings::default();
        assert!(matches!(slab_table(&settings), SlabTable::Fine));
        settings.slab_table_given = true;
        assert!(matches!(slab_table(&settings), SlabTable::Factor { min: 48, factor } if factor == 1.25));
        settings.slab_sizes = Some(vec![100, 200]);
        assert!(matches!(slab_table(&settings), SlabTable::Sizes(sizes) if sizes == [100, 200]));
    }

    #[test]
    fn without_options_the_store_is_what_it_is_by_itself() {
        let (told, itself) = (store_config(&Settings::default(), 7), Config::with_memory(64 << 20, 7));
        assert_eq!(format!("{told:?}"), format!("{itself:?}"));
    }

    #[test]
    fn a_temporary_ttl_counts_only_when_it_was_given() {
        let mut settings = Settings::default();
        assert_eq!(store_config(&settings, 1).temporary_ttl, None);
        settings.temp_lru = true;
        assert_eq!(store_config(&settings, 1).temporary_ttl, Some(61));
    }

    #[test]
    fn the_tightest_cgroup_above_us_counts() {
        let root = std::env::temp_dir().join(format!("memhold-cgroup-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/memory.max"), "1000\n").unwrap();
        fs::write(root.join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!(cgroup_limit(&root, "1:name=x:/\n0::/a/b\n"), Some(1000));
        fs::write(root.join("a/b/memory.max"), "10\n").unwrap();
        assert_eq!(cgroup_limit(&root, "0::/a/b\n"), Some(10));
        assert_eq!(cgroup_limit(&root, "0::/elsewhere\n"), None);
        assert_eq!(cgroup_limit(&root, "4:memory:/a\n"), None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn asking_for_more_than_the_machine_has_is_said_in_one_line() {
        let mut settings = Settings::default();
        assert_eq!(too_much_memory(&settings), None);
        settings.memory_bytes = u64::MAX;
        assert!(too_much_memory(&settings).is_some_and(|line| line.starts_with("WARNING: -m 17592186044415 is more")));
    }
}
