//! The atomics and locks that everything else uses: std's normally, loom's under the model checker
//! (`RUSTFLAGS="--cfg loom"`). Nothing else in the tree names `std::sync::atomic` or `std::sync::Mutex`
//! where the order of two threads matters.

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::{Arc, Mutex, MutexGuard};

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
pub use std::sync::{Arc, Mutex, MutexGuard};

/// What libraries take that know nothing of a model checker.
pub use std::sync::Arc as StdArc;

/// Locks `mutex`; a panic of another thread while it held the lock is passed on as a panic here, because the
/// data behind it can no longer be trusted.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a thread panicked while it held this lock")
}

/// Tells the processor (or the model checker) that this thread waits for another one.
#[inline]
pub fn spin_hint(turns: u32) {
    #[cfg(loom)]
    {
        let _ = turns;
        loom::thread::yield_now();
    }
    #[cfg(not(loom))]
    if turns % 64 == 63 {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}
