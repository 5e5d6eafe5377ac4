//! What cannot be meant together, in memcached's order (end of section 9), and what one option settles for another.

use super::Typed;
use super::extended::PAGE_BYTES;
use super::number::whole;
use crate::server::exit::{Exit, FAILURE, USAGE};
use crate::settings::{BindingProtocol, Settings};

/// Least `-I`.
const ITEM_SIZE_LEAST: usize = 1024;
/// Most `-I`.
const ITEM_SIZE_MOST: usize = 1024 * 1024 * 1024;
/// Most sizes in `slab_sizes`.
const SLAB_SIZES_MOST: usize = 62;
/// Chunk sizes are multiples of this, in bytes.
const CHUNK_ALIGN_BYTES: u32 = 8;

/// Checks the options against each other and completes them.
///
/// # Errors
/// The first conflict.
pub fn settle(typed: &mut Typed) -> Result<(), Exit> {
    let Settings { num_napi_ids: ids, num_threads: threads, .. } = typed.settings;
    if ids > threads {
        return usage(format!("Number of napi_ids({ids}) cannot be greater than number of threads({threads})"));
    }
    item_size(typed)?;
    if let Some(list) = &typed.slab_sizes {
        typed.settings.slab_sizes = Some(slab_sizes(list, &typed.settings)?);
    }
    if typed.udp_given && !typed.tcp_given && typed.settings.udp_port != 0 {
        typed.settings.tcp_port = typed.settings.udp_port;
    }
    let settings = &typed.settings;
    if settings.hot_lru_pct + settings.warm_lru_pct > 80 {
        return usage("hot_lru_pct + warm_lru_pct cannot be more than 80% combined");
    }
    if settings.temp_lru && !settings.lru_maintainer {
        return usage("temporary_ttl requires lru_maintainer to be enabled");
    }
    if settings.tcp_port > i32::from(u16::MAX) {
        return usage(format!("ERROR: Invalid port number {}.", settings.tcp_port));
    }
    if settings.udp_port > i32::from(u16::MAX) {
        return usage(format!("ERROR: Invalid port number {}.", settings.udp_port));
    }
    if settings.udp_port != 0 && settings.sasl {
        return usage("ERROR: Cannot enable UDP while using binary SASL authentication.");
    }
    if settings.udp_port != 0 && settings.auth_file.is_some() {
        return usage("Cannot use UDP with ascii authentication enabled (-U 0 to disable)");
    }
    if settings.tls.enabled && settings.tcp_port == 0 {
        return usage("ERROR: You cannot enable SSL without a TCP port.");
    }
    authentication(typed)
}

/// Each kind of authentication is one protocol's, and no other may be spoken then: it would be a way in without.
fn authentication(typed: &mut Typed) -> Result<(), Exit> {
    let settings = &mut typed.settings;
    if settings.sasl {
        if !typed.protocol_given {
            settings.binding_protocol = BindingProtocol::Binary;
        } else if settings.binding_protocol != BindingProtocol::Binary {
            return usage("ERROR: You cannot allow the ASCII protocol while using SASL.");
        }
    }
    if settings.auth_file.is_some() {
        // memcached forgets `-S` where both are given.
        if !typed.protocol_given && !settings.sasl {
            settings.binding_protocol = BindingProtocol::Ascii;
        } else if settings.binding_protocol != BindingProtocol::Ascii {
            return usage("ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.");
        }
    }
    Ok(())
}

/// The index power against the lock table's, which memcached checks only after it has changed the user.
///
/// # Errors
/// When the power was given and is too small for the number of threads.
pub fn hashpower(settings: &Settings) -> Result<(), Exit> {
    let locks = match settings.num_threads {
        0..3 => 10,
        3 => 11,
        4 => 12,
        5..=10 => 13,
        11..=20 => 14,
        _ => 15,
    };
    if settings.hashpower_init == 0 || settings.hashpower_init > locks {
        return Ok(());
    }
    let power = settings.hashpower_init;
    Err(Exit {
        code: FAILURE,
        lines: vec![
            format!("Hash table power size ({power}) cannot be equal to or less than item lock table ({locks})"),
            "Item lock table grows with `-t N` (worker threadcount)".to_owned(),
            "Hash table grows with `-o hashpower=N` ".to_owned(),
        ],
    })
}

fn usage<T>(message: impl Into<String>) -> Result<T, Exit> {
    Err(Exit::new(USAGE, message))
}

fn item_size(typed: &mut Typed) -> Result<(), Exit> {
    let settings = &mut typed.settings;
    let item = settings.item_size_max_bytes;
    if item < ITEM_SIZE_LEAST {
        return usage("Item max size cannot be less than 1024 bytes.");
    }
    if item as u64 > settings.memory_bytes / 2 {
        return usage("Cannot set item size limit higher than 1/2 of memory max.");
    }
    if item > ITEM_SIZE_MOST {
        return usage("Cannot set item size limit higher than a gigabyte.");
    }
    if item > PAGE_BYTES && !typed.chunk_max_given {
        settings.slab_chunk_max_bytes = PAGE_BYTES / 2;
    }
    let chunk = settings.slab_chunk_max_bytes;
    if chunk > item {
        return usage(format!("slab_chunk_max (bytes: {chunk}) cannot be larger than -I (item_size_max {item})"));
    }
    if !item.is_multiple_of(chunk) {
        return usage(format!(
            "-I (item_size_max: {item}) must be evenly divisible by slab_chunk_max (bytes: {chunk})"
        ));
    }
    if !PAGE_BYTES.is_multiple_of(chunk) {
        return usage(format!("slab_chunk_max (bytes: {chunk}) must divide evenly into {PAGE_BYTES} (slab_page_size)"));
    }
    Ok(())
}

/// Reads `a-b-c`. Empty parts are skipped, as `strtok` skips them; an empty list is refused without a word, as there.
fn slab_sizes(list: &[u8], settings: &Settings) -> Result<Vec<usize>, Exit> {
    if list.is_empty() {
        return Err(Exit { code: USAGE, lines: Vec::new() });
    }
    let chunk_max = u32::try_from(settings.slab_chunk_max_bytes).unwrap_or(u32::MAX);
    let mut sizes = Vec::new();
    let mut last = 0;
    for part in list.split(|&byte| byte == b'-').filter(|part| !part.is_empty()) {
        // What is no number counts as 0, which `-n` is always above.
        let size = whole(part).unwrap_or(0);
        if size < settings.chunk_size_bytes || size > chunk_max {
            return usage(format!("slab size {size} is out of valid range"));
        }
        if size <= last {
            return usage(format!("slab size {size} cannot be lower than or equal to a previous class size"));
        }
        if size <= last + CHUNK_ALIGN_BYTES {
            return usage(format!(
                "slab size {size} must be at least {CHUNK_ALIGN_BYTES} bytes larger than previous class"
            ));
        }
        if sizes.len() == SLAB_SIZES_MOST {
            return usage("too many slab classes specified");
        }
        sizes.push(size as usize);
        last = size;
    }
    Ok(sizes)
}
