//! Rust sources as the rules see them: the text, and the same with everything blanked that is no code.
//!
//! This is no parser. It knows comments, string and character literals and braces, which is enough to find a word that is
//! code and to leave out test modules; lines stay where they are, so a complaint can name one.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file of this repository.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Comments and the insides of literals blanked.
    pub code: String,
    /// `code` without its `#[cfg(test)]` modules; empty for files that are such a module.
    pub product: String,
}

impl Source {
    pub fn new(path: String, text: String) -> Source {
        let code = blank_what_is_no_code(&text);
        let name = path.rsplit('/').next().unwrap_or_default();
        let product = match name {
            "tests.rs" | "testing.rs" => String::new(),
            _ => blank_test_modules(&code),
        };
        Source { path, text, code, product }
    }

    /// The layer under `src` that the file belongs to: a folder, or a file beside `lib.rs`.
    pub fn layer(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let first = inside.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// How many modules deep the file's own module is: 1 for `src/clock.rs` and `src/store/mod.rs`.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count() - usize::from(self.path.ends_with("/mod.rs"))
    }

    /// A complaint about the place `at` of the text.
    pub fn complain(&self, at: usize, what: &str) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under these folders.
pub fn sources(folders: &[&str]) -> Vec<Source> {
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        Source::new(name, fs::read_to_string(path).unwrap())
    };
    folders.iter().flat_map(|folder| files(&root().join(folder), "rs")).map(read).collect()
}

/// Every file with this ending under a folder, sorted; what builds leave behind is not looked at.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            if !matches!(&*name, "target" | "node_modules" | "corpus" | "artifacts") && !name.starts_with('.') {
                found.extend(files(&path, ending));
            }
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    found
}

/// Places of `word` in `code` where it is a word of its own.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        let begins = !word.starts_with(|c: char| c.is_alphanumeric()) || !part_of_name(bytes[..at].last());
        begins && (!word.ends_with(|c: char| c.is_alphanumeric()) || !part_of_name(bytes.get(at + word.len())))
    })
}

/// The names that follow a path such as `crate::` at `at`: one, or those at the top of a braced list.
pub fn names_after(code: &str, at: usize) -> Vec<String> {
    let rest = &code[at..];
    let name =
        |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(list) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let mut depth = 1;
    let mut names = vec![name(list)];
    for (i, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(name(&list[i + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Blanks comments and the insides of literals, byte for byte, keeping line ends.
fn blank_what_is_no_code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => find(bytes, at, b"*/"),
            b'"' => end_of_string(bytes, at),
            b'r' if is_raw_string(bytes, at) => end_of_raw_string(bytes, at),
            b'\'' => end_of_character(bytes, at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).unwrap()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    bytes[from..].windows(what.len()).position(|window| window == what).map_or(bytes.len(), |at| from + at)
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn is_raw_string(bytes: &[u8], at: usize) -> bool {
    let name_before =
        at > 0 && (bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'b' || bytes[at - 1] == b'_');
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    !name_before && bytes.get(at + 1 + hashes) == Some(&b'"')
}

fn end_of_raw_string(bytes: &[u8], from: usize) -> usize {
    let hashes = bytes[from + 1..].iter().take_while(|byte| **byte == b'#').count();
    let mut ending = vec![b'"'];
    ending.resize(1 + hashes, b'#');
    (find(bytes, from + 2 + hashes, &ending) + ending.len()).min(bytes.len())
}

/// A character literal's end; a lifetime ends where it begins.
fn end_of_character(bytes: &[u8], from: usize) -> usize {
    if bytes.get(from + 1) == Some(&b'\\') {
        return (find(bytes, from + 3, b"'") + 1).min(bytes.len());
    }
    let close = bytes[from + 1..].iter().take(5).position(|byte| *byte == b'\'');
    match close {
        // One character of up to four bytes; 'a, 'b> are two lifetimes.
        Some(len) if len == 1 || len > 1 && bytes[from + 1] >= 0x80 => from + len + 2,
        _ => from,
    }
}

fn blank_test_modules(code: &str) -> String {
    let mut out = code.to_owned();
    let marker = "#[cfg(test)]";
    for (at, _) in code.match_indices(marker) {
        let body = code[at + marker.len()..].trim_start();
        let is_module = ["mod ", "pub mod ", "pub(crate) mod "].iter().any(|head| body.starts_with(head));
        let Some(open) = code[at..].find(['{', ';']).map(|open| at + open) else { continue };
        if !is_module || code.as_bytes()[open] == b';' {
            continue;
        }
        let mut depth = 0;
        let close = code[open..].char_indices().find_map(|(i, c)| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            (depth == 0).then_some(open + i + 1)
        });
        let range = at..close.unwrap_or(code.len());
        let blank: String = code[range.clone()].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        // Code outside literals and comments is ASCII, so lengths stay equal.
        out.replace_range(range, &blank);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("src/store/x.rs".to_owned(), text.to_owned())
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "a(\"b \\\" c\"); // d\n/* e */ f('g', '\\'', b'\"', r#\"h \" i\"#, 'j: loop {}) \u{e4}";
        let code = source(text).code;
        let letters: String = code.chars().filter(char::is_ascii_alphabetic).collect();
        assert_eq!(letters, "afbjloop", "{code}");
        assert_eq!(code.len(), text.len());
    }

    #[test]
    fn test_modules_are_no_product() {
        let source = source("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x {} }\n}\nfn c() {}\n");
        assert_eq!(words(&source.product, "fn").count(), 2);
        assert_eq!(words(&source.code, "fn").count(), 3);
        assert_eq!(source.product.lines().count(), source.text.lines().count());
    }

    #[test]
    fn names_are_found_in_lists_too() {
        assert_eq!(names_after("use crate::{a::{b, c}, d, e::f};", 11), ["a", "d", "e"]);
        assert_eq!(names_after("crate::sync::lock(x)", 7), ["sync"]);
    }

    #[test]
    fn a_place_becomes_a_line() {
        assert_eq!(source("a\nb\nc").complain(2, "no"), "src/store/x.rs:2: no");
        assert_eq!((source("").layer(), source("").depth()), (Some("store"), 2));
    }
}
