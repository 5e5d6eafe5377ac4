//! Reading option words the way glibc's `getopt_long` does, with its messages.
//!
//! Short options may be clustered (`-vvd`) and carry their argument (`-p11211`, `-p 11211`); long ones may be cut to
//! an unambiguous beginning and carry theirs after `=` or as the next word. Words that are no options are skipped, `--`
//! ends the options. What the options mean is `options`; this file only tells which was meant and with what argument.

/// What the scanner has to know of an option.
pub trait Spelling {
    /// The letter after `-`, if it has one.
    fn short(&self) -> Option<u8>;
    /// The word after `--`, if it has one.
    fn long(&self) -> Option<&'static str>;
    /// Whether an argument must follow.
    fn takes_argument(&self) -> bool;
    /// Whether the long name may be cut short.
    fn may_be_cut(&self) -> bool {
        true
    }
}

/// An option as it was found.
#[derive(Debug)]
pub struct Found<'a, S> {
    /// Which one.
    pub option: &'a S,
    /// Its argument, if it takes one.
    pub argument: Option<&'a [u8]>,
    /// Whether it was written with `--`.
    pub long: bool,
}

/// The options of `words`, in order. After the first error there is nothing more.
pub struct Scanner<'a, S> {
    options: &'a [S],
    program: &'a str,
    words: std::slice::Iter<'a, Vec<u8>>,
    /// Letters of the current cluster that have not been looked at.
    cluster: &'a [u8],
    ended: bool,
}

impl<'a, S: Spelling> Scanner<'a, S> {
    /// Reads `words` (without the program's name); `program` begins each message.
    pub fn new(options: &'a [S], program: &'a str, words: &'a [Vec<u8>]) -> Scanner<'a, S> {
        Scanner { options, program, words: words.iter(), cluster: &[], ended: false }
    }

    fn scan(&mut self) -> Option<Result<Found<'a, S>, String>> {
        if let [letter, rest @ ..] = self.cluster {
            self.cluster = rest;
            return Some(self.short(*letter));
        }
        loop {
            match self.words.next()?.as_slice() {
                b"--" => return None,
                [b'-', b'-', word @ ..] => return Some(self.long(word)),
                [b'-', letter, rest @ ..] => {
                    self.cluster = rest;
                    return Some(self.short(*letter));
                }
                _ => {} // Not an option: skipped.
            }
        }
    }

    fn short(&mut self, letter: u8) -> Result<Found<'a, S>, String> {
        let shown = char::from(letter);
        let Some(option) = self.options.iter().find(|option| option.short() == Some(letter)) else {
            return Err(format!("{}: invalid option -- '{shown}'", self.program));
        };
        if !option.takes_argument() {
            return Ok(Found { option, argument: None, long: false });
        }
        let argument = match std::mem::take(&mut self.cluster) {
            [] => self.words.next().map(Vec::as_slice),
            rest => Some(rest),
        };
        if argument.is_none() {
            return Err(format!("{}: option requires an argument -- '{shown}'", self.program));
        }
        Ok(Found { option, argument, long: false })
    }

    fn long(&mut self, word: &'a [u8]) -> Result<Found<'a, S>, String> {
        let (name, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(at) => (&word[..at], Some(&word[at + 1..])),
            None => (word, None),
        };
        let (option, full) = self.resolve(name, word)?;
        if !option.takes_argument() {
            return match value {
                Some(_) => Err(format!("{}: option '--{full}' doesn't allow an argument", self.program)),
                None => Ok(Found { option, argument: None, long: true }),
            };
        }
        let argument = value.or_else(|| self.words.next().map(Vec::as_slice));
        if argument.is_none() {
            return Err(format!("{}: option '--{full}' requires an argument", self.program));
        }
        Ok(Found { option, argument, long: true })
    }

    /// The option whose long name is `name` or, uniquely, begins with it. `word` is shown when there is none.
    fn resolve(&self, name: &[u8], word: &[u8]) -> Result<(&'a S, &'static str), String> {
        let mut begun = Vec::new();
        for option in self.options {
            let Some(long) = option.long() else { continue };
            if long.as_bytes() == name {
                return Ok((option, long));
            }
            if option.may_be_cut() && long.as_bytes().starts_with(name) {
                begun.push((option, long));
            }
        }
        let shown = String::from_utf8_lossy(word);
        match begun.as_slice() {
            [one] => Ok(*one),
            [] => Err(format!("{}: unrecognized option '--{shown}'", self.program)),
            many => {
                let names: Vec<String> = many.iter().map(|(_, long)| format!("'--{long}'")).collect();
                let names = names.join(" ");
                Err(format!("{}: option '--{shown}' is ambiguous; possibilities: {names}", self.program))
            }
        }
    }
}

impl<'a, S: Spelling> Iterator for Scanner<'a, S> {
    type Item = Result<Found<'a, S>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let found = self.scan();
        self.ended = !matches!(found, Some(Ok(_)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Opt(u8, &'static str, bool);

    impl Spelling for Opt {
        fn short(&self) -> Option<u8> {
            Some(self.0).filter(|&letter| letter != 0)
        }
        fn long(&self) -> Option<&'static str> {
            Some(self.1).filter(|long| !long.is_empty())
        }
        fn takes_argument(&self) -> bool {
            self.2
        }
        fn may_be_cut(&self) -> bool {
            self.1 != "protect"
        }
    }

    const OPTIONS: &[Opt] = &[
        Opt(b'p', "port", true),
        Opt(b'l', "listen", true),
        Opt(b'b', "listen-backlog", true),
        Opt(b'v', "verbose", false),
        Opt(b'd', "daemon", false),
        Opt(b'D', "", true),
        Opt(0, "hidden", false),
        Opt(0, "protect", false),
    ];

    /// The options found, as `letter=argument`, or the message.
    fn scan(line: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<Vec<u8>> = line.iter().map(|word| word.as_bytes().to_vec()).collect();
        Scanner::new(OPTIONS, "memhold", &words)
            .map(|found| {
                let found = found?;
                let argument = found.argument.map(|a| format!("={}", String::from_utf8_lossy(a))).unwrap_or_default();
                Ok(format!("{}{argument}", if found.option.0 == 0 { 'H' } else { char::from(found.option.0) }))
            })
            .collect()
    }

    #[test]
    fn every_way_to_write_an_option_is_understood() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["-p11211"], &["p=11211"]),
            (&["-p", "11211"], &["p=11211"]),
            (&["-p", "-1"], &["p=-1"]),
            (&["--port=1"], &["p=1"]),
            (&["--port", "1"], &["p=1"]),
            (&["--port", "--"], &["p=--"]),
            (&["--po=1"], &["p=1"]),
            (&["--port="], &["p="]),
            (&["-vvd"], &["v", "v", "d"]),
            (&["-vp1", "-d"], &["v", "p=1", "d"]),
            (&["-D", ""], &["D="]),
            (&["word", "-v", "-", "more", "-d"], &["v", "d"]),
            (&["-v", "--", "-d"], &["v"]),
            (&["--listen=a"], &["l=a"]),
            (&["--hid"], &["H"]),
            (&["--protect"], &["H"]),
            (&[], &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(scan(line).as_deref(), Ok(&expected.iter().map(|&s| s.to_owned()).collect::<Vec<_>>()[..]));
        }
    }

    /// The messages were recorded from memcached 1.6.18 on glibc 2.36.
    #[test]
    fn mistakes_are_named_as_glibc_names_them() {
        let cases: &[(&[&str], &str)] = &[
            (&["-q"], "memhold: invalid option -- 'q'"),
            (&["-vq"], "memhold: invalid option -- 'q'"),
            (&["--foo"], "memhold: unrecognized option '--foo'"),
            (&["--foo=1"], "memhold: unrecognized option '--foo=1'"),
            (&["--prot"], "memhold: unrecognized option '--prot'"),
            (&["-p"], "memhold: option requires an argument -- 'p'"),
            (&["--port"], "memhold: option '--port' requires an argument"),
            (&["--po"], "memhold: option '--port' requires an argument"),
            (&["--daemon=3"], "memhold: option '--daemon' doesn't allow an argument"),
            (&["--lis"], "memhold: option '--lis' is ambiguous; possibilities: '--listen' '--listen-backlog'"),
        ];
        for (line, expected) in cases {
            assert_eq!(scan(line), Err((*expected).to_owned()), "for {line:?}");
        }
    }

    #[test]
    fn nothing_is_read_after_a_mistake() {
        let words = vec![b"-q".to_vec(), b"-v".to_vec()];
        let mut scanner = Scanner::new(OPTIONS, "memhold", &words);
        assert!(scanner.next().is_some_and(|found| found.is_err()));
        assert!(scanner.next().is_none());
    }
}
