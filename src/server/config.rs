//! Options from a file, a line each, as in Debian's `/etc/memcached.conf`, which is read unchanged.
//!
//! A line holds what would be typed on the command line: one option, or several. The rules are those of Debian's wrapper:
//! from `#` on a line is a comment (`\#` is a `#`), lines that begin with `-d` or `-h` are passed over, and so is what does
//! not begin with `-` (`logfile PATH`). Words are split as a shell splits them: quotes and backslashes work, nothing is
//! expanded. This file only makes words; what they mean is `options`.

use super::exit::{Exit, FAILURE};
use crate::sys::reason;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes. Whoever names a disk by mistake is told so at once.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How many files may name one another.
pub const DEPTH_MAX: usize = 8;

/// Where instances have their files, and the file that all numbered instances share.
const FOLDER: &str = "/etc";

/// The words of one line of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// Never empty.
    pub words: Vec<Vec<u8>>,
}

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Lines with options.
    pub lines: Vec<Line>,
    /// Numbers of lines that were passed over although somebody may have meant something by them.
    pub ignored: Vec<usize>,
}

/// Reads a file. One whose name begins with `-` need not exist; the dash is no part of the name.
///
/// # Errors
/// When it cannot be read, is too large, or a line has a quote that does not end.
pub fn read(name: &[u8]) -> Result<(PathBuf, Lines), Exit> {
    let (name, optional) = name.strip_prefix(b"-").map_or((name, false), |name| (name, true));
    let path = PathBuf::from(OsStr::from_bytes(name));
    match contents(&path) {
        Ok(text) => {
            let lines = split(&text).map_err(|number| {
                Exit::new(FAILURE, format!("{}:{number}: a quote or backslash without its end", path.display()))
            })?;
            Ok((path, lines))
        }
        Err(error) if optional && error.kind() == io::ErrorKind::NotFound => Ok((path, Lines::default())),
        Err(error) => {
            let text = format!("cannot read the options in {}: {}", path.display(), reason(&error));
            Err(Exit::new(FAILURE, text))
        }
    }
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// What `--instance` stands for: words for the command line. A number is a TCP port beside the options that all such
/// instances share; a name has a file of its own.
///
/// # Errors
/// When it is neither.
pub fn instance(name: &[u8]) -> Result<Vec<Vec<u8>>, Exit> {
    let shown = String::from_utf8_lossy(name);
    if !name.is_empty() && name.iter().all(u8::is_ascii_digit) {
        let shared = format!("--config=-{FOLDER}/memhold.conf");
        return Ok(vec![shared.into_bytes(), b"-p".to_vec(), name.to_vec()]);
    }
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.starts_with(b".") || !name.iter().all(plain) {
        return Err(Exit::new(FAILURE, format!("\"{shown}\" is no name of an instance: letters, digits, - _ and .")));
    }
    Ok(vec![format!("--config={FOLDER}/memhold_{shown}.conf").into_bytes()])
}

/// Splits a text into lines of words; the error is the number of a line that cannot be split.
fn split(text: &[u8]) -> Result<Lines, usize> {
    let mut found = Lines::default();
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let words = words(line).map_err(|Unended| number)?;
        match words.first().map(Vec::as_slice) {
            None => {}
            // Detaching is not for a service; `-h` would only print. What begins so, like `-dv`, goes too.
            Some([b'-', b'd' | b'h', ..]) => {}
            Some([b'-', ..]) => found.lines.push(Line { number, words }),
            // Where the log went before there was a journal.
            Some(b"logfile") => {}
            Some(_) => found.ignored.push(number),
        }
    }
    Ok(found)
}

/// A quote that is opened and not closed, or a backslash at the end.
struct Unended;

/// Splits a line as a shell would.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Unended> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'#' => break,
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c => words.extend(word.take()),
            b'\\' => word.get_or_insert_default().push(bytes.next().ok_or(Unended)?),
            quote @ (b'\'' | b'"') => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next().ok_or(Unended)? {
                        byte if byte == quote => break,
                        b'\\' if quote == b'"' => word.push(bytes.next().ok_or(Unended)?),
                        byte => word.push(byte),
                    }
                }
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, usize> {
        let shown = |line: &Line| {
            let words: Vec<_> = line.words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            format!("{}:{}", line.number, words.join("|"))
        };
        split(text.as_bytes()).map(|found| found.lines.iter().map(shown).collect())
    }

    #[test]
    fn the_file_that_debian_ships_is_read_as_its_wrapper_reads_it() {
        let debian = "# memcached default config file\n# 2003 - Jay Bonci\n\n# Run memcached as a daemon.\n-d\n\n\
                      logfile /var/log/memcached.log\n\n# Be verbose\n# -v\n\n-m 64\n\n-p 11211\n-u memcache\n\
                      -l 127.0.0.1\n-l ::1\n# -c 1024\n# -k\n-P /var/run/memcached/memcached.pid\n";
        let expected = [
            "12:-m|64",
            "14:-p|11211",
            "15:-u|memcache",
            "16:-l|127.0.0.1",
            "17:-l|::1",
            "20:-P|/var/run/memcached/memcached.pid",
        ];
        assert_eq!(shown(debian).unwrap(), expected);
        assert_eq!(split(debian.as_bytes()).unwrap().ignored, Vec::<usize>::new());
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(shown("  -m  64\t-c 10 # as -m 64").unwrap(), ["1:-m|64|-c|10"]);
        assert_eq!(shown(r#"-s "/a b"/'c"d' -D \#"#).unwrap(), [r##"1:-s|/a b/c"d|-D|#"##]);
        assert_eq!(shown("-D ''\r\n-v").unwrap(), ["1:-D|", "2:-v"]);
        assert_eq!(shown("-o modern,idle_timeout=5#4").unwrap(), ["1:-o|modern,idle_timeout=5"]);
        assert_eq!(shown(""), Ok(vec![]));
        assert_eq!([shown("\n-s 'x"), shown("-s \"x\\"), shown("-s \\")], [Err(2), Err(1), Err(1)]);
    }

    #[test]
    fn what_is_no_option_is_passed_over_and_told() {
        let found = split(b"-m 64\nlogfile /x\nport 11211\n-dv\n-h\n").unwrap();
        assert_eq!((found.lines.len(), found.ignored), (1, vec![3]));
    }

    #[test]
    fn a_file_that_may_be_missing_may() {
        assert_eq!(read(b"-/no/such/file").unwrap().1, Lines::default());
        let refused = read(b"/no/such/file").unwrap_err();
        let expected = "cannot read the options in /no/such/file: No such file or directory";
        assert_eq!(refused, Exit::new(FAILURE, expected));
        let refused = read(b"/dev/zero").unwrap_err();
        assert_eq!(refused, Exit::new(FAILURE, "cannot read the options in /dev/zero: more than 1048576 bytes"));
    }

    #[test]
    fn an_instance_is_a_port_or_a_file() {
        let words = |name: &str| instance(name.as_bytes()).map(|words| words.join(&b' '));
        assert_eq!(words("11212"), Ok(b"--config=-/etc/memhold.conf -p 11212".to_vec()));
        assert_eq!(words("sessions"), Ok(b"--config=/etc/memhold_sessions.conf".to_vec()));
        assert!(["", "../x", "a b", ".conf"].iter().all(|name| words(name).is_err()));
    }
}
