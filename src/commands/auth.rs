//! Authentication (section 7): who may come in, for SASL's PLAIN in the binary protocol and the `set` of the text protocol
//! under `-Y`.
//!
//! Names and passwords are compared in a time that does not depend on how much of them is right, with every entry, and
//! nothing here or above ever logs one.

use subtle::{Choice, ConstantTimeEq as _};

use super::Context;
use crate::protocol::reply::{Error, Reply};
use crate::protocol::request::Auth;
use crate::stats::Counter;
use crate::sync::{Arc, Mutex, lock};

/// Longest name or password in bytes.
pub const SECRET_MAX: usize = 255;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// Nobody yet.
    #[default]
    Out,
    /// SASL: a challenge is out.
    Challenged,
    /// Authenticated.
    In,
}

/// A name or password, in memory of the same size whatever its length.
#[derive(Clone)]
struct Secret {
    bytes: [u8; SECRET_MAX],
    len: u16,
}

impl Secret {
    /// `None` when it is too long to be one.
    fn new(bytes: &[u8]) -> Option<Secret> {
        let mut secret = Secret { bytes: [0; SECRET_MAX], len: bytes.len() as u16 };
        secret.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(secret)
    }

    fn is(&self, other: &Secret) -> Choice {
        self.bytes.ct_eq(&other.bytes) & self.len.ct_eq(&other.len)
    }
}

/// Somebody who may come in.
#[derive(Clone)]
pub struct Credential {
    user: Secret,
    password: Secret,
}

impl Credential {
    /// `None` when one of them is longer than [`SECRET_MAX`].
    #[must_use]
    pub fn new(user: &[u8], password: &[u8]) -> Option<Credential> {
        Some(Credential { user: Secret::new(user)?, password: Secret::new(password)? })
    }
}

/// All who may come in; nobody at first. Shared by all threads.
#[derive(Default)]
pub struct Credentials(Mutex<Arc<Vec<Credential>>>);

impl Credentials {
    /// Puts others in their place. Who is in stays in.
    pub fn replace(&self, entries: Vec<Credential>) {
        *lock(&self.0) = Arc::new(entries);
    }

    /// Whether that is the password of `user`.
    #[must_use]
    pub fn admit(&self, user: &[u8], password: &[u8]) -> bool {
        let entries = Arc::clone(&lock(&self.0));
        let Some(asked) = Credential::new(user, password) else { return false };
        let mut admitted = Choice::from(0);
        for entry in entries.iter() {
            admitted |= entry.user.is(&asked.user) & entry.password.is(&asked.password);
        }
        admitted.into()
    }
}

/// A part of SASL (section 7.1). QUIRK: whoever was in is out from the moment it asks anything of it.
pub fn sasl(cx: &Context<'_>, login: &mut Login, asked: &Auth<'_>) -> Reply<'static> {
    let before = std::mem::replace(login, Login::Out);
    let data = match asked {
        Auth::Mechanisms => {
            if before == Login::Challenged {
                *login = before;
            }
            return Reply::Mechanisms;
        }
        Auth::Start { mechanism, data: b"" } if is_plain(mechanism) => {
            *login = Login::Challenged;
            return Reply::Challenge;
        }
        Auth::Start { mechanism, data } if is_plain(mechanism) => Some(*data),
        Auth::Step { data } if before == Login::Challenged => Some(*data),
        Auth::Start { .. } | Auth::Step { .. } => None,
        // More than an unchunked item holds, where memcached would put it.
        Auth::Overlong { len } if *len > cx.server.settings.slab_chunk_max_bytes => {
            return Reply::Error(Error::NO_MEMORY_TO_REWRITE);
        }
        Auth::Overlong { .. } => None,
    };
    let admitted = data.is_some_and(|data| plain(&cx.server.credentials, data));
    conclude(cx, login, admitted)
}

/// Names and passwords of the text protocol: the first two words of `data` (section 7.2).
pub fn text(cx: &Context<'_>, login: &mut Login, data: &[u8]) -> Reply<'static> {
    let mut words = data.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (Some(user), Some(password)) = (words.next(), words.next()) else {
        return Reply::Error(Error::Client("bad authentication token format"));
    };
    *login = Login::Out;
    conclude(cx, login, cx.server.credentials.admit(user, password))
}

fn conclude(cx: &Context<'_>, login: &mut Login, admitted: bool) -> Reply<'static> {
    cx.stats.count(Counter::AuthCmds);
    if !admitted {
        cx.stats.count(Counter::AuthErrors);
        return Reply::Error(Error::NOT_AUTHENTICATED);
    }
    *login = Login::In;
    Reply::Authenticated
}

/// The one mechanism there is; names of mechanisms have no case.
fn is_plain(mechanism: &[u8]) -> bool {
    mechanism.eq_ignore_ascii_case(b"PLAIN")
}

/// PLAIN (RFC 4616): whom to act for, NUL, name, NUL, password. One may act for oneself only.
fn plain(credentials: &Credentials, data: &[u8]) -> bool {
    let mut parts = data.splitn(3, |&byte| byte == 0);
    let (Some(acts_for), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let for_itself = acts_for.is_empty() || acts_for == user;
    let well_formed = !user.is_empty() && !password.contains(&0);
    credentials.admit(user, password) && for_itself && well_formed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        let credentials = Credentials::default();
        credentials.replace(vec![Credential::new(b"ann", b"secret").unwrap(), Credential::new(b"bob", b"").unwrap()]);
        credentials
    }

    #[test]
    fn only_the_whole_name_with_the_whole_password_comes_in() {
        let credentials = credentials();
        assert!(credentials.admit(b"ann", b"secret"));
        for (user, password) in [
            (&b"ann"[..], &b""[..]),
            (b"ann", b"secre"),
            (b"ann", b"secret\0"),
            (b"ann", b"secretsecret"),
            (b"an", b"secret"),
            (b"ann\0", b"secret"),
            (b"bob", b"secret"),
            (b"", b""),
        ] {
            assert!(!credentials.admit(user, password), "{user:?} {password:?}");
        }
        assert!(!credentials.admit(b"ann", &[b's'; 70_000]), "a length that wraps");
    }

    #[test]
    fn nobody_comes_in_where_nobody_may() {
        assert!(!Credentials::default().admit(b"", b""));
        assert!(!Credentials::default().admit(b"ann", b"secret"));
    }

    #[test]
    fn who_is_replaced_stays_out() {
        let credentials = credentials();
        credentials.replace(vec![Credential::new(b"eve", b"apple").unwrap()]);
        assert!(credentials.admit(b"eve", b"apple"));
        assert!(!credentials.admit(b"ann", b"secret"));
    }

    #[test]
    fn plain_is_three_parts_and_one_acts_for_oneself_only() {
        let credentials = credentials();
        assert!(plain(&credentials, b"\0ann\0secret"));
        assert!(plain(&credentials, b"ann\0ann\0secret"));
        for data in [
            &b""[..],
            b"\0",
            b"\0\0",
            b"ann\0secret",
            b"\0ann\0secret\0",
            b"bob\0ann\0secret",
            b"\0ann\0wrong",
            b"\0\0secret",
        ] {
            assert!(!plain(&credentials, data), "{}", data.escape_ascii());
        }
    }
}
