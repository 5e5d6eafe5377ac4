//! Ports for servers under test, and who listens on them. Not those that the kernel gives to whoever asks for any: tests run beside each
//! other, and between the look at such a port and the server's bind some client may be given it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where ports are taken from: below those that the kernel gives to clients.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port of loopback, for TCP and UDP, on which nobody listens just now; never the same twice in one process, and another one than
/// the other processes begin with that run tests at the same time.
///
/// # Panics
/// When all are in use.
pub fn free_port() -> u16 {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    // A step without common factors with their number, so that neighbours among process ids are far apart.
    let first = std::process::id() as usize * 7_919;
    for _ in PORTS {
        let number = first + TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (number % PORTS.len()) as u16;
        let free = |address: IpAddr| {
            TcpListener::bind((address, port)).is_ok() && UdpSocket::bind((address, port)).is_ok()
                // A machine without IPv6 has nobody there.
                || address.is_ipv6() && UdpSocket::bind((address, 0)).is_err()
        };
        if free(Ipv4Addr::LOCALHOST.into()) && free(Ipv6Addr::LOCALHOST.into()) {
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// Whether the process `pid` listens on `port` of TCP, as the kernel has it. That somebody answers there is not enough: another test may
/// have been given the same port, and its server answers while ours finds the port taken.
pub fn listens(pid: u32, port: u16) -> bool {
    let sockets: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|family| fs::read_to_string(format!("/proc/{pid}/net/{family}")).ok())
        .flat_map(|table| table.lines().filter_map(|line| listener(line, port)).collect::<Vec<_>>())
        .collect();
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut targets = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

/// How a process's descriptors spell the socket of a line of /proc/net/tcp, if it listens on `port`.
fn listener(line: &str, port: u16) -> Option<String> {
    const LISTENING: &str = "0A";
    let mut fields = line.split_whitespace().skip(1);
    let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    let inode = fields.nth(5)?;
    (state == LISTENING && local.ends_with(&format!(":{port:04X}"))).then(|| format!("socket:[{inode}]"))
}
