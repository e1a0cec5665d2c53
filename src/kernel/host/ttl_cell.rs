//! A value of the host that is read for one answer, and serves those of other containers for a moment.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How long a value serves, unless another time is given. It adds to the age of the snapshot that it becomes
/// a part of.
pub(crate) const DEFAULT_MAX_AGE: Duration = Duration::from_millis(25);

/// A value that is read again once it is too old.
pub(crate) struct TtlCell<T> {
    max_age: Duration,
    /// The value, and when it was read.
    latest: Mutex<Option<(Instant, T)>>,
}

/// A cell whose value serves for [`DEFAULT_MAX_AGE`].
impl<T> Default for TtlCell<T> {
    fn default() -> Self {
        Self::with_max_age(DEFAULT_MAX_AGE)
    }
}

impl<T> TtlCell<T> {
    pub(crate) const fn with_max_age(max_age: Duration) -> Self {
        Self { max_age, latest: Mutex::new(None) }
    }
}

impl<T: Clone> TtlCell<T> {
    /// The value, or what `read` finds now. Nobody waits for a thread that reads: it may be one that is less
    /// important.
    pub(crate) fn get<E>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let Some(mut latest) = self.latest.try_lock() else { return read() };
        let now = Instant::now();
        let is_recent = |at: Instant| now.saturating_duration_since(at) < self.max_age;
        if let Some((_, value)) = latest.as_ref().filter(|(at, _)| is_recent(*at)) {
            return Ok(value.clone());
        }
        let value = read()?;
        *latest = Some((now, value.clone()));
        Ok(value)
    }

    /// Frees the value if it is too old to be used.
    pub(crate) fn sweep(&self) {
        if let Some(mut latest) = self.latest.try_lock() {
            latest.take_if(|(at, _)| at.elapsed() >= self.max_age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::convert::Infallible;

    #[test]
    fn a_value_serves_for_a_moment() {
        let (cell, reads) = (TtlCell::default(), Cell::new(0));
        let get = || {
            cell.get(|| {
                reads.set(reads.get() + 1);
                Ok::<_, Infallible>(reads.get())
            })
        };
        let began = Instant::now();
        let first = get();
        // On a busy machine that may take too long.
        assert!(get() == first || began.elapsed() >= DEFAULT_MAX_AGE);
        std::thread::sleep(DEFAULT_MAX_AGE);
        cell.sweep();
        assert!(cell.latest.lock().is_none());
        let before = reads.get();
        assert!(get().is_ok_and(|value| value == before + 1));
    }

    #[test]
    fn an_error_is_nobody_else_s() {
        let cell: TtlCell<u32> = TtlCell::default();
        assert_eq!(cell.get(|| Err("it failed")), Err("it failed"));
        assert_eq!(cell.get(|| Ok::<_, &str>(7)), Ok(7));
    }
}
