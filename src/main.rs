//! Arguments in, exit code out: either a subcommand of memhold's own, or memcached's options and the server.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let typed = words.next().unwrap_or_default();
    let name = Path::new(&typed).file_name().map_or_else(
        || env!("CARGO_PKG_NAME").to_owned(),
        |name| String::from_utf8_lossy(name.as_bytes()).into_owned(),
    );
    // As getopt does, complaints about options begin with the name as it was typed.
    let typed = String::from_utf8_lossy(typed.as_bytes()).into_owned();
    let words: Vec<Vec<u8>> = words.map(std::ffi::OsString::into_vec).collect();
    let code = memhold::tools::run(&name, &words).unwrap_or_else(|| memhold::server::run(&typed, &words));
    ExitCode::from(code)
}
