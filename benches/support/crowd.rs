//! Many idle clients of a server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::Failure;
use super::server::Server;

/// Connections that are open and say nothing more.
pub struct Crowd {
    /// They close when dropped.
    _streams: Vec<TcpStream>,
}

impl Crowd {
    /// Opens `count` connections. With `talks` each asks for something once.
    ///
    /// # Errors
    ///
    /// When the server or the system has no room for so many.
    pub fn gather(server: &Server, count: u64, talks: bool) -> Result<Crowd, Failure> {
        let mut streams = Vec::new();
        for number in 0..count {
            let mut stream = connect_from(source(number), server.address)?;
            // Connections are accepted in order, so this answer means that the ones before are in; without it the
            // listener's queue would overflow.
            if talks || number % BATCH == BATCH - 1 || number == count - 1 {
                stream.write_all(b"get nothing\r\n")?;
                let mut reply = [0; 5];
                stream.read_exact(&mut reply)?;
                if &reply != b"END\r\n" {
                    return Err(format!("connection {number} was refused").into());
                }
            }
            streams.push(stream);
        }
        wait_until_open(server, count)?;
        Ok(Crowd { _streams: streams })
    }
}

/// What was accepted before an answer may still be on its way to other workers than the one that answered, who do the counting.
fn wait_until_open(server: &Server, count: u64) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let open = server.stat("curr_connections")?;
        if open >= count {
            return Ok(());
        }
        if begun.elapsed() > WAIT_MAX {
            return Err(format!("{open} connections of {count} are open").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A few thousand connections from each address, so that no address runs out of ports.
fn source(number: u64) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + (number / 5_000) as u8)
}

fn connect_from(source: Ipv4Addr, server: SocketAddr) -> Result<TcpStream, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Connections opened between two answers; below any server's listen backlog.
const BATCH: u64 = 100;
/// By then a server has counted its connections, or never will.
const WAIT_MAX: Duration = Duration::from_secs(20);
