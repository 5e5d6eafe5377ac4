//! What shells offer when the tab key is pressed: `docs/completions/`, generated from the option tables as the man page is.
//!
//! What a value is decides what is offered for it. Where the first word is a subcommand, its options and files are offered.

use super::documents::{forms, options};
use super::options::Opt;
use super::options::extended::EXTENDED;
use super::subcommands::SUBCOMMANDS;
use std::fmt::Write as _;

/// A file for each shell: its name in `docs/completions/` and what is in it.
#[must_use]
pub fn files() -> [(&'static str, String); 3] {
    [("memhold.bash", bash()), ("_memhold", zsh()), ("memhold.fish", fish())]
}

/// What can be offered for a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offer {
    Nothing,
    Files,
    Users,
    Protocols,
    /// Extended options, apart by commas.
    Extended,
}

impl Offer {
    fn of(opt: &Opt) -> Offer {
        match (opt.value, opt.short) {
            ("file", _) => Offer::Files,
            ("user", _) => Offer::Users,
            ("list", b'o') => Offer::Extended,
            ("name", b'B') => Offer::Protocols,
            _ => Offer::Nothing,
        }
    }
}

const PROTOCOLS: &str = "auto ascii binary";

/// `-p` and `--port`, as far as there are both.
fn names(opt: &Opt) -> Vec<String> {
    let short = (opt.short != 0).then(|| format!("-{}", char::from(opt.short)));
    let long = (!opt.long.is_empty()).then(|| format!("--{}", opt.long));
    short.into_iter().chain(long).collect()
}

/// The help in one line, without what shells would take for something else.
fn words(help: &str) -> String {
    help.replace('\n', " ").replace('\'', "\u{2019}").replace(['"', '`'], "")
}

/// All forms of the extended options; `=` at the end where a value follows.
fn extended() -> Vec<String> {
    let built = EXTENDED.iter().filter(|sub| sub.built());
    built.flat_map(forms).map(|form| form.replace("[=...]", "=").replace("=...", "=")).collect()
}

fn bash() -> String {
    let mut out = String::from(
        "# bash completion for memhold, generated from the option tables\n\n\
         _memhold() {\n    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]} list\n\
         \x20   # bash makes --name=value three words.\n\
         \x20   if [[ $word == = ]]; then\n        word=\n\
         \x20   elif [[ $option == = ]]; then\n        option=${COMP_WORDS[COMP_CWORD-2]}\n    fi\n\
         \x20   COMPREPLY=()\n",
    );
    bash_subcommands(&mut out);
    out.push_str("    case $option in\n");
    let offers = [
        (Offer::Files, "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\")".to_owned()),
        (Offer::Users, "mapfile -t COMPREPLY < <(compgen -u -- \"$word\")".to_owned()),
        (Offer::Protocols, format!("mapfile -t COMPREPLY < <(compgen -W '{PROTOCOLS}' -- \"$word\")")),
        (Offer::Extended, "_memhold_extended \"$word\"".to_owned()),
        (Offer::Nothing, ":".to_owned()),
    ];
    for (offer, action) in offers {
        let with_value = options().filter(|opt| !opt.value.is_empty() && Offer::of(opt) == offer);
        let pattern = with_value.flat_map(names).collect::<Vec<_>>().join("|");
        let _ = writeln!(out, "    {pattern})\n        {action}\n        return\n        ;;");
    }
    let all: Vec<String> = options().flat_map(names).collect();
    let _ = write!(
        out,
        "    esac\n    list='{}'\n    mapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$word\")\n}}\n\n\
         # The last of a list that is apart by commas.\n_memhold_extended() {{\n    local done= rest=$1\n    \
         if [[ $rest == *,* ]]; then\n        done=${{rest%,*}},\n        rest=${{rest##*,}}\n    fi\n    \
         compopt -o nospace\n    mapfile -t COMPREPLY < <(compgen -P \"$done\" -W '{}' -- \"$rest\")\n}}\n\n\
         complete -F _memhold memhold memcached\n",
        all.join(" "),
        extended().join(" "),
    );
    out
}

/// Leaves the function when the line has a subcommand, or may get one.
fn bash_subcommands(out: &mut String) {
    let files = "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\")";
    let names: Vec<_> = SUBCOMMANDS.iter().map(|row| row.name).collect();
    let _ = writeln!(
        out,
        "    if [[ $COMP_CWORD == 1 && $word != -* ]]; then\n        mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")\n\
         \x20       return\n    fi\n    list=",
        names.join(" ")
    );
    out.push_str("    if ((COMP_CWORD > 1)); then\n        case ${COMP_WORDS[1]} in\n");
    for row in SUBCOMMANDS {
        let flags: Vec<_> = row.flags.iter().map(|flag| format!("--{}", flag.long)).collect();
        let _ = writeln!(out, "        {}) list='{} --help' ;;", row.name, flags.join(" "));
    }
    let _ = writeln!(
        out,
        "        esac\n    fi\n    if [[ $list && $word == -* ]]; then\n        \
         mapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$word\")\n        return\n    \
         elif [[ $list ]]; then\n        # Values are files too: dumps, and unix sockets.\n        {files}\n        return\n    fi"
    );
}

fn zsh() -> String {
    let mut out = format!(
        "#compdef memhold memcached\n# zsh completion for memhold, generated from the option tables\n\n\
         _memhold_extended() {{\n  _values -s , option {}\n}}\n\n",
        zsh_values()
    );
    zsh_subcommands(&mut out);
    out.push_str("_arguments -s -S \\\n");
    for opt in options() {
        let names = names(opt);
        // Long names take their value behind `=` too, letters right behind them.
        let spelled = |name: &String| match (opt.value.is_empty(), name.starts_with("--")) {
            (true, _) => name.clone(),
            (false, true) => format!("{name}="),
            (false, false) => format!("{name}+"),
        };
        let spelled: Vec<String> = names.iter().map(spelled).collect();
        let action = match Offer::of(opt) {
            _ if opt.value.is_empty() => String::new(),
            Offer::Nothing => format!(":{}: ", opt.value),
            Offer::Files => format!(":{}:_files", opt.value),
            Offer::Users => format!(":{}:_users", opt.value),
            Offer::Protocols => format!(":{}:({PROTOCOLS})", opt.value),
            Offer::Extended => format!(":{}:_memhold_extended", opt.value),
        };
        let spelled = match spelled.as_slice() {
            [one] => format!("'*{one}"),
            many => format!("'*'{{{}}}'", many.join(",")),
        };
        let _ = writeln!(out, "  {spelled}[{}]{action}' \\", escaped(opt.help));
    }
    out.push_str("  '*: :'\n");
    out
}

/// Text in the brackets of `_arguments`.
fn escaped(text: &str) -> String {
    words(text).replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

/// Ends the completion when the line has a subcommand, or may get one.
fn zsh_subcommands(out: &mut String) {
    let names: Vec<_> = SUBCOMMANDS.iter().map(|row| row.name).collect();
    let _ = writeln!(
        out,
        "if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n  compadd {}\n  return\nfi\nif (( CURRENT > 2 )); then\n  \
         case $words[2] in",
        names.join(" ")
    );
    for row in SUBCOMMANDS {
        let _ = writeln!(out, "  {})\n    shift words\n    (( CURRENT-- ))\n    _arguments -S \\", row.name);
        for flag in row.flags {
            let (equals, value) = match flag.value {
                "" => ("", String::new()),
                value => ("=", format!(":{value}:_files")),
            };
            let _ = writeln!(out, "      '--{}{equals}[{}]{value}' \\", flag.long, escaped(flag.help));
        }
        let argument =
            if row.argument.is_empty() { "'*: :'".to_owned() } else { format!("'1:{}:_files'", row.argument) };
        let _ = writeln!(out, "      {argument}\n    return\n    ;;");
    }
    out.push_str("  esac\nfi\n\n");
}

/// Extended options as `_values` takes them; those that end in `=` want a value.
fn zsh_values() -> String {
    let value = |form: String| form.strip_suffix('=').map_or_else(|| form.clone(), |name| format!("{name}:value: "));
    extended().into_iter().map(value).map(|form| format!("'{form}'")).collect::<Vec<_>>().join(" ")
}

fn fish() -> String {
    let mut out = String::from("# fish completion for memhold, generated from the option tables\n\n");
    let names: Vec<_> = SUBCOMMANDS.iter().map(|row| row.name).collect();
    let server = format!("complete -c memhold -n 'not __fish_seen_subcommand_from {}'", names.join(" "));
    for row in SUBCOMMANDS {
        let about = words(row.about);
        let _ = writeln!(out, "complete -c memhold -n __fish_use_subcommand -f -a {} -d '{about}'", row.name);
        for flag in row.flags {
            let line = format!("complete -c memhold -n '__fish_seen_subcommand_from {}' -l {}", row.name, flag.long);
            let value = if flag.value.is_empty() { "" } else { " -r -F" };
            let _ = writeln!(out, "{line}{value} -d '{}'", words(flag.help));
        }
    }
    for opt in options() {
        let mut line = server.clone();
        if opt.short != 0 {
            let _ = write!(line, " -s {}", char::from(opt.short));
        }
        if !opt.long.is_empty() {
            let _ = write!(line, " -l {}", opt.long);
        }
        let offer = match Offer::of(opt) {
            _ if opt.value.is_empty() => " -f".to_owned(),
            Offer::Nothing => " -x".to_owned(),
            Offer::Files => " -r -F".to_owned(),
            Offer::Users => " -x -a '(__fish_complete_users)'".to_owned(),
            Offer::Protocols => format!(" -x -a '{PROTOCOLS}'"),
            Offer::Extended => format!(" -x -a '(__fish_append , {})'", extended().join(" ")),
        };
        let _ = writeln!(out, "{line}{offer} -d '{}'", words(opt.help));
    }
    out.push_str("complete -c memcached -w memhold\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_offered_in_every_shell() {
        for (file, text) in files() {
            for opt in options() {
                let long = if file.ends_with(".fish") { format!("-l {}", opt.long) } else { format!("--{}", opt.long) };
                assert!(opt.long.is_empty() || text.contains(&long), "{file} lacks {long}");
            }
            assert!(text.contains("idle_timeout") && text.contains("no_maxconns_fast"), "{file}");
            assert!(!text.contains("debug-commands"), "{file}");
            for row in SUBCOMMANDS {
                for flag in row.flags {
                    let long = if file.ends_with(".fish") { "-l " } else { "--" };
                    assert!(text.contains(row.name) && text.contains(&format!("{long}{}", flag.long)), "{file}");
                }
            }
        }
    }

    #[test]
    fn help_cannot_break_out_of_its_quotes() {
        assert_eq!(words("allow \"x\"\nisn't `y`"), "allow x isn\u{2019}t y");
    }
}
