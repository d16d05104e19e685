//! Starts while something else changes what they use, or starts as well.

mod containers;
mod driver;
mod volumes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// A thread that changes something again and again.
struct Disturbance {
    change: Mutex<()>,
    is_over: AtomicBool,
}

impl Disturbance {
    /// Runs `body` while another thread makes changes, each with its number; it has made an even number in the end.
    fn run(change: impl Fn(usize) + Sync, body: impl FnOnce(&Disturbance)) {
        let disturbance = Disturbance { change: Mutex::new(()), is_over: AtomicBool::new(false) };
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    if number % 2 == 0 && disturbance.is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let _one = disturbance.change.lock().unwrap_or_else(PoisonError::into_inner);
                    change(number);
                }
            });
            let _end = End(&disturbance.is_over);
            body(&disturbance);
        });
    }

    /// Looks at something between two changes.
    fn between<T>(&self, look: impl FnOnce() -> T) -> T {
        let _none = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        look()
    }
}

/// Ends a disturbance, also where a test fails: its thread is waited for.
struct End<'d>(&'d AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
