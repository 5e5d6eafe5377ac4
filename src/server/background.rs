//! The thread that lets the store do its background work. What is done is the store's; here are only the thread and
//! the sleeping.

use super::passwords::Watch;
use crate::commands::Server;
use crate::logger::{Event, Streams};
use crate::store::Store;
use crate::sync::{Arc, AtomicBool, Ordering};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Pause between two steps.
const PAUSE: Duration = Duration::from_millis(100);

/// Steps after which the store has looked at all its memory.
const STEPS_PER_SWEEP: u32 = 10;

/// The running thread; it ends with [`Background::stop`].
pub struct Background {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// `lru_crawler crawl` asks for a whole sweep now rather than within a second. Watchers are told what it did in each class;
/// `crawled` is the second of the last one.
fn crawl(store: &Store, server: &Server, crawled: &mut u32) {
    let (begun, told) = (server.clock.now(), server.logger.watched(Streams::SYSEVENTS));
    let before = if told { store.classes() } else { Vec::new() };
    (0..STEPS_PER_SWEEP).for_each(|_| store.maintain(server.clock.now()));
    let ended = server.clock.now();
    for class in store.classes().iter().filter(|_| told) {
        let was = before.iter().find(|was| was.class == class.class).copied().unwrap_or_default();
        server.logger.log(&Event::LruCrawler {
            class: class.class,
            since_run: begun.seconds.saturating_sub(*crawled),
            elapsed: ended.seconds.saturating_sub(begun.seconds),
            examined: class.crawler_items_checked.saturating_sub(was.crawler_items_checked),
            reclaimed: class.crawler_reclaimed.saturating_sub(was.crawler_reclaimed),
        });
    }
    *crawled = ended.seconds;
    server.crawl_wanted.store(false, Ordering::Relaxed);
}

impl Background {
    /// Starts calling [`Store::maintain`], about ten times a second, and looks now and then whether the file of passwords is still what
    /// `passwords` has seen.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(store: Store, server: Arc<Server>, mut passwords: Watch) -> io::Result<Background> {
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopping);
        let thread = thread::Builder::new().name("maintainer".to_owned()).spawn(move || {
            let mut steps_done = 0;
            let mut crawled = server.started_seconds;
            while !flag.load(Ordering::Acquire) {
                if server.crawl_wanted.load(Ordering::Relaxed) {
                    crawl(&store, &server, &mut crawled);
                } else {
                    store.maintain(server.clock.now());
                }
                steps_done += 1;
                if steps_done % STEPS_PER_SWEEP == 0 {
                    passwords.look(&server);
                }
                thread::park_timeout(PAUSE);
            }
        })?;
        Ok(Background { stopping, thread })
    }

    /// Ends the thread after the step it is in.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A panic of the thread has ended the process already.
        let _ = self.thread.join();
    }
}
