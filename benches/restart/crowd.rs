//! Connected clients in processes of their own, and the other side of that: what each of these processes does.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Failure, PATIENCE, Plan, hear};

/// Processes, since each may have only so many files open.
const PROCESSES: usize = 4;

/// All clients.
pub struct Crowds(Vec<(Child, ChildStdin, BufReader<ChildStdout>)>);

impl Crowds {
    /// Connects as many as the plan says; busy ones begin to ask.
    pub fn connect(address: SocketAddr, plan: &Plan) -> Result<Crowds, Failure> {
        let mut crowds = Crowds(Vec::new());
        for number in 0..PROCESSES {
            let share = |all: usize| (all / PROCESSES + usize::from(number < all % PROCESSES)).to_string();
            let mut child = Command::new(std::env::current_exe()?)
                .args(["--crowd", &address.to_string(), &number.to_string(), &share(plan.idle), &share(plan.busy)])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let (input, output) = (child.stdin.take().ok_or("piped")?, child.stdout.take().ok_or("piped")?);
            crowds.0.push((child, input, BufReader::new(output)));
        }
        crowds.hear()?;
        Ok(crowds)
    }

    fn hear(&mut self) -> Result<Vec<u64>, Failure> {
        let mut said = Vec::new();
        for (_, _, output) in &mut self.0 {
            let mut line = String::new();
            output.read_line(&mut line)?;
            said.push(line.trim().parse().map_err(|_| "a client has given up: see above")?);
        }
        Ok(said)
    }

    /// The longest that an answer took, since this was last asked.
    pub fn longest_wait(&mut self, word: &str) -> Result<Duration, Failure> {
        for (_, input, _) in &mut self.0 {
            writeln!(input, "{word}")?;
        }
        Ok(Duration::from_micros(self.hear()?.into_iter().max().unwrap_or(0)))
    }

    /// Ends all; returns how many answers busy ones had. An error when any was wrong or is missing.
    pub fn stop(mut self) -> Result<u64, Failure> {
        self.longest_wait("stop")?;
        Ok(self.hear()?.into_iter().sum())
    }
}

impl Drop for Crowds {
    fn drop(&mut self) {
        for (child, _, _) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One process of clients: says 0 when all are connected, the longest wait after each line, and how many answers there were at the end.
pub fn run(words: &[&str]) -> Result<(), Failure> {
    let &[address, number, idle, busy] = words else { return Err("four words".into()) };
    let (address, idle, busy) = (address.parse()?, idle.parse::<usize>()?, busy.parse::<usize>()?);
    let (longest, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut crowd = (0..idle).map(|_| connect(address)).collect::<io::Result<Vec<_>>>()?;
    thread::scope(|scope| -> Result<(), Failure> {
        let work = |each: usize| {
            let mut stream = connect(address)?;
            let (name, longest, stop) = (format!("crowd:{number}:{each}"), &longest, &stop);
            Ok(scope.spawn(move || count(&mut stream, &name, longest, stop)))
        };
        let working = (0..busy).map(work).collect::<io::Result<Vec<_>>>()?;
        println!("0");
        for line in io::stdin().lines() {
            let last = line? == "stop";
            stop.store(last, Ordering::Relaxed);
            println!("{}", longest.swap(0, Ordering::Relaxed));
            if last {
                break;
            }
        }
        let mut answers = 0;
        for worker in working {
            answers += worker.join().map_err(|_| "a client panicked")??;
        }
        for stream in &mut crowd {
            stream.write_all(b"mn\r\n")?;
        }
        crowd.iter_mut().try_for_each(|stream| hear(stream, "MN\r\n"))?;
        println!("{answers}");
        Ok(())
    })
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Counts with the server until it is told to stop.
fn count(stream: &mut TcpStream, name: &str, longest: &AtomicU64, stop: &AtomicBool) -> io::Result<u64> {
    stream.write_all(format!("set {name} 0 0 1\r\n0\r\n").as_bytes())?;
    hear(stream, "STORED\r\n")?;
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let digits = number.to_string();
        let begun = Instant::now();
        stream.write_all(format!("incr {name} 1\r\nget {name}\r\n").as_bytes())?;
        hear(stream, &format!("{number}\r\nVALUE {name} 0 {}\r\n{number}\r\nEND\r\n", digits.len()))?;
        longest.fetch_max(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
    Ok(number)
}
