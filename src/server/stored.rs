//! Connections that outlive `systemctl restart`: the last process leaves them with the service manager (its "file descriptor store"),
//! the next one takes them from there.
//!
//! ```text
//! old: SIGTERM ─► stop between two turns ─► parcel: paper, listeners, clients ─► FDSTORE=1 ─► end
//! new: options, items ─► LISTEN_FDS: the parcel ─► FDSTOREREMOVE=1 ─► serve
//! ```
//!
//! The paper is that of an upgrade in place, so a conversation has one form on its way. Unlike there the old process cannot ask the new
//! one: what that cannot go on with it closes, and then begins as if there had been nothing. If no process comes (`systemctl stop`),
//! the manager closes all.

use super::{notify, paper, process, upgrade};
use crate::net::{Handover, Reader, Tls, Writer, parcel};
use crate::server::logging::say;
use crate::settings::Settings;
use crate::sync::Arc;
use crate::sys::{reason, resources};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

/// Leaves listeners and clients with the service manager. What it does not take is closed, and that is said.
pub fn leave(handover: &Handover, settings: &Settings) {
    let all = handover.clients();
    match try_leave(handover, settings) {
        Ok((kept, None)) => log::info!("{kept} connections are left with the service manager"),
        Ok((kept, Some(error))) => {
            say(&format!("{} of {all} connections are closed: {}", all - kept, reason(&error)));
        }
        Err(error) => say(&format!("{all} connections are closed: {}", reason(&error))),
    }
}

/// How many clients are left there, and why not all.
fn try_leave(handover: &Handover, settings: &Settings) -> io::Result<(usize, Option<io::Error>)> {
    let mut writer = Writer::default();
    writer.number(upgrade::doors(settings));
    handover.write(&mut writer);
    let paper = paper::write(&writer.into_bytes())?;
    // As many may be in flight as files may be open, of all processes of this user together.
    resources::open_files_at_most()?;
    let descriptors: Vec<_> = std::iter::once(paper.as_fd()).chain(handover.descriptors()).collect();
    let parcel = parcel::send(&descriptors)?;
    match (parcel.sent.checked_sub(1 + handover.listeners()), parcel.refused) {
        (Some(clients), refused) => notify::keep(parcel.socket.as_fd()).map(|()| (clients, refused)),
        (None, refused) => Err(refused.unwrap_or_else(|| io::ErrorKind::Other.into())),
    }
}

/// Takes over what the process before has left, if this one can go on with it, and tells about it.
pub fn take(kept: OwnedFd, settings: &Settings, tls: Option<&Arc<Tls>>) -> Option<Handover> {
    match try_take(kept, settings, tls) {
        Ok((handover, lost)) => {
            let more = if lost > 0 { format!("; {lost} more are lost") } else { String::new() };
            say(&format!("{} connections go on after a restart{more}", handover.clients()));
            Some(handover)
        }
        Err(why) => {
            say(&format!("the connections of the process before are closed: {why}"));
            None
        }
    }
}

fn try_take(kept: OwnedFd, settings: &Settings, tls: Option<&Arc<Tls>>) -> Result<(Handover, usize), String> {
    let told = |error: io::Error| reason(&error);
    // There may be more of them than `-c` allows now.
    resources::open_files_at_most().map_err(told)?;
    let received = parcel::receive(kept);
    notify::forget();
    let taken = received.map_err(told).and_then(|received| {
        let mut descriptors = received.into_iter();
        let paper = descriptors.next().flatten().ok_or("there is no handover")?;
        let paper = paper::read(paper.into())?;
        let mut reader = Reader::new(&paper);
        match reader.number::<u64>() {
            Ok(doors) if doors == upgrade::doors(settings) => Handover::read(reader, descriptors, tls),
            _ => Err("the options say otherwise where or what to listen to".to_owned()),
        }
    });
    let connections = taken.as_ref().map_or(0, |(handover, _)| handover.clients());
    process::open_files(settings, connections).map_err(told)?;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;
    use std::fs::File;

    fn taken(kept: impl Into<OwnedFd>, settings: &Settings) -> Result<usize, String> {
        try_take(kept.into(), settings, None).map(|(handover, _)| handover.listeners())
    }

    fn left(settings: &Settings) -> OwnedFd {
        let handover = Handover::of(net::listen(settings, None).unwrap());
        let mut writer = Writer::default();
        writer.number(upgrade::doors(settings));
        handover.write(&mut writer);
        let paper = paper::write(&writer.into_bytes()).unwrap();
        let descriptors: Vec<_> = std::iter::once(paper.as_fd()).chain(handover.descriptors()).collect();
        parcel::send(&descriptors).unwrap().socket
    }

    #[test]
    fn what_the_next_process_cannot_go_on_with_is_told_and_nothing_worse() {
        let settings =
            Settings { tcp_port: -1, inter: Some("127.0.0.1".to_owned()), maxconns: 20_000, ..Settings::default() };
        assert_eq!(taken(left(&settings), &settings), Ok(1));
        let others = Settings { sasl: true, ..settings.clone() };
        assert!(taken(left(&settings), &others).is_err_and(|why| why.contains("listen to")));
        let null = || File::open("/dev/null").unwrap();
        assert!(taken(null(), &settings).is_err(), "no socket");
        let parcel =
            |files: &[&File]| parcel::send(&files.iter().map(|file| file.as_fd()).collect::<Vec<_>>()).unwrap().socket;
        assert_eq!(taken(parcel(&[]), &settings), Err("there is no handover".to_owned()));
        assert!(taken(parcel(&[&null()]), &settings).is_err(), "no paper");
        let noise = paper::write(&[7; 100]).unwrap();
        assert!(taken(parcel(&[&noise]), &settings).is_err(), "nonsense on the paper");
    }
}
