//! Stand-in: get, set, version, quit, stats conns over a map.
use crate::commands::Context;
use std::io::IoSlice;
pub enum Next {
    Read,
    Again,
    Close,
    Shutdown { graceful: bool },
}
pub struct Progress {
    pub consumed: usize,
    pub next: Next,
}
pub struct Conn {
    value: Option<(Vec<u8>, Vec<u8>, usize)>,
}
impl Conn {
    pub fn new() -> Conn {
        Conn { value: None }
    }
    pub fn process(&mut self, input: &[u8], out: &mut Output, cx: &mut Context<'_>) -> Progress {
        let mut at = 0;
        let mut n = 0;
        loop {
            if let Some((_, v, got)) = &mut self.value {
                let take = (v.len() - *got).min(input.len() - at);
                v[*got..*got + take].copy_from_slice(&input[at..at + take]);
                *got += take;
                at += take;
                if *got < v.len() || input.len() - at < 2 {
                    return Progress { consumed: at, next: Next::Read };
                }
                at += 2;
                let (k, v, _) = self.value.take().unwrap();
                cx.server.map.lock().unwrap().insert(k, v);
                out.bytes.extend_from_slice(b"STORED\r\n");
            }
            if n == cx.server.settings.reqs_per_event || out.len() > 256 << 10 {
                cx.stats.count(crate::stats::Counter::ConnYields);
                return Progress { consumed: at, next: Next::Again };
            }
            n += 1;
            let Some(end) = memchr::memchr(b'\n', &input[at..]) else {
                return Progress { consumed: at, next: if input.len() - at > 2048 { Next::Close } else { Next::Read } };
            };
            let line = String::from_utf8_lossy(&input[at..at + end - 1]).into_owned();
            at += end + 1;
            let w: Vec<&str> = line.split(' ').collect();
            match w[0] {
                "version" => out.bytes.extend_from_slice(b"VERSION 1.6.45\r\n"),
                "quit" => return Progress { consumed: at, next: Next::Close },
                "shutdown" => return Progress { consumed: at, next: Next::Shutdown { graceful: w.len() > 1 } },
                "set" => self.value = Some((w[1].into(), vec![0; w[4].parse().unwrap()], 0)),
                "get" => {
                    for k in &w[1..] {
                        if let Some(v) = cx.server.map.lock().unwrap().get(k.as_bytes()) {
                            out.bytes.extend_from_slice(format!("VALUE {k} 0 {}\r\n", v.len()).as_bytes());
                            out.bytes.extend_from_slice(v);
                            out.bytes.extend_from_slice(b"\r\n");
                        }
                    }
                    out.bytes.extend_from_slice(b"END\r\n");
                }
                "stats" => {
                    for r in cx.server.conns.get().unwrap().rows(cx.now) {
                        out.bytes.extend_from_slice(format!("STAT {}:addr {}\r\n", r.fd, r.addr).as_bytes());
                        if let Some(l) = r.listen_addr {
                            out.bytes.extend_from_slice(format!("STAT {}:listen_addr {}\r\n", r.fd, l).as_bytes());
                        }
                        out.bytes.extend_from_slice(format!("STAT {}:state {}\r\n", r.fd, r.state).as_bytes());
                        out.bytes.extend_from_slice(format!("STAT {}:secs_since_last_cmd {}\r\n", r.fd, r.secs_since_last_cmd).as_bytes());
                    }
                    out.bytes.extend_from_slice(b"END\r\n");
                }
                _ => out.bytes.extend_from_slice(b"ERROR\r\n"),
            }
        }
    }
    pub fn upload(&mut self, _: &mut Context<'_>) -> Option<&mut [u8]> {
        let (_, v, got) = self.value.as_mut()?;
        if *got < v.len() { Some(&mut v[*got..]) } else { None }
    }
    pub fn uploaded(&mut self, n: usize) {
        self.value.as_mut().unwrap().2 += n;
    }
    pub fn state_name(&self) -> &'static str {
        if self.value.is_some() { "conn_nread" } else { "conn_new_cmd" }
    }
}
pub struct Output {
    bytes: Vec<u8>,
    sent: usize,
}
impl Output {
    pub fn new() -> Output {
        Output { bytes: Vec::new(), sent: 0 }
    }
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn buffered(&self) -> usize {
        self.bytes.capacity()
    }
    pub fn slices<'a, const N: usize>(&'a self, s: &mut [IoSlice<'a>; N]) -> usize {
        s[0] = IoSlice::new(&self.bytes[self.sent..]);
        1
    }
    pub fn advance(&mut self, n: usize) {
        self.sent += n;
        if self.is_empty() {
            self.clear();
        }
    }
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
    pub fn take(&mut self) -> Output {
        let o = Output { bytes: self.bytes[self.sent..].to_vec(), sent: 0 };
        self.clear();
        o
    }
}
