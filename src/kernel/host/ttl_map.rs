//! What was found at paths a moment ago.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Values by path, each of which is used for a while.
pub(crate) struct TtlMap<V> {
    max_age: Duration,
    by_path: Mutex<HashMap<Box<[u8]>, Found<V>>>,
}

/// When something was found, and what.
type Found<V> = (Instant, V);

/// How many are kept. Of the host's files in sysfs there are a few hundred for each processor.
const CAPACITY: usize = 1024;

impl<V: Clone> TtlMap<V> {
    pub(crate) fn new(max_age: Duration) -> Self {
        Self { max_age, by_path: Mutex::default() }
    }

    /// The value at `path`, or what `find` finds there now. An error is kept for nobody.
    pub(crate) fn get<E>(&self, path: &[u8], find: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let now = Instant::now();
        let is_recent = |at: Instant| now.saturating_duration_since(at) < self.max_age;
        if let Some((_, value)) = self.by_path.lock().get(path).filter(|(at, _)| is_recent(*at)) {
            return Ok(value.clone());
        }
        let value = find()?;
        let mut by_path = self.by_path.lock();
        if by_path.len() >= CAPACITY {
            by_path.retain(|_, (at, _)| is_recent(*at));
        }
        if by_path.len() < CAPACITY {
            by_path.insert(path.into(), (now, value.clone()));
        }
        Ok(value)
    }

    /// Frees what is too old to be used.
    pub(crate) fn sweep(&self) {
        let mut by_path = self.by_path.lock();
        by_path.retain(|_, (at, _)| at.elapsed() < self.max_age);
        let in_use = by_path.len();
        by_path.shrink_to(in_use * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_value_is_used_for_a_while_and_there_are_not_too_many() {
        let (recent, found) = (TtlMap::new(Duration::from_secs(60)), Cell::new(0));
        let get = |path: &[u8]| {
            recent.get(path, || {
                found.set(found.get() + 1);
                if path == b"none" { Err("none") } else { Ok(found.get()) }
            })
        };
        assert_eq!([get(b"a"), get(b"a"), get(b"b")], [Ok(1), Ok(1), Ok(2)]);
        assert_eq!([get(b"none"), get(b"none")], [Err("none"), Err("none")]);
        assert_eq!(found.get(), 4);
        (0..3 * CAPACITY).for_each(|number| assert!(get(number.to_string().as_bytes()).is_ok()));
        assert_eq!(recent.by_path.lock().len(), CAPACITY);
    }

    #[test]
    fn what_is_too_old_is_found_anew() {
        let recent = TtlMap::new(Duration::ZERO);
        assert_eq!(recent.get(b"a", || Ok::<_, ()>(1)), Ok(1));
        assert_eq!(recent.get(b"a", || Ok::<_, ()>(2)), Ok(2));
        recent.sweep();
        assert!(recent.by_path.lock().is_empty());
    }
}
