//! A log that readers cannot fill: each cause is logged once a minute at most, with the number of messages
//! that were left out.

use crate::error::{Error, escaped};
use cgprocfs_core::error::ViewError;
use log::Level;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a cause is not logged again.
const INTERVAL: Duration = Duration::from_secs(60);

/// Remembers when each cause was last logged.
pub(crate) struct RateLimitedLog {
    causes: Mutex<BTreeMap<&'static str, Cause>>,
}

struct Cause {
    logged: Instant,
    left_out: u64,
}

impl RateLimitedLog {
    pub(crate) const fn new() -> Self {
        Self { causes: Mutex::new(BTreeMap::new()) }
    }

    /// Logs an error that a reader gets.
    pub(crate) fn error(&self, error: &Error) {
        let cause = match error {
            Error::ProcessGone(_) => "process gone",
            Error::CgroupGone(_) => "cgroup gone",
            Error::Outside(_) => "outside",
            Error::Unreadable { .. } => "unreadable",
            Error::Malformed { .. } => "malformed",
            Error::TakesLong(_) => "takes long",
            Error::MayHang(_) => "may hang",
            Error::UnknownTime(_) => "unknown time",
            Error::TextGone(_) => "text gone",
            Error::Errno(_) => "of kernel",
            Error::View(ViewError::NotLoaded(_)) => "not loaded",
            Error::View(ViewError::Malformed(..)) => "malformed",
        };
        self.message(cause, error.level(), error);
    }

    /// Logs `message` unless its cause was logged within the last minute.
    pub(crate) fn message(&self, cause: &'static str, level: Level, message: impl std::fmt::Display) {
        if !log::log_enabled!(level) {
            return;
        }
        match self.admit(cause, Instant::now()) {
            None => {}
            Some(0) => log::log!(level, "{message}"),
            Some(left_out) => log::log!(level, "{message} (and {left_out} more like it)"),
        }
    }

    /// `Some` if a message of this cause may be logged, with the number of messages that were left out since
    /// the last one.
    fn admit(&self, cause: &'static str, now: Instant) -> Option<u64> {
        let mut causes = self.causes.lock();
        match causes.get_mut(cause) {
            Some(cause) if now.duration_since(cause.logged) < INTERVAL => {
                cause.left_out += 1;
                None
            }
            Some(cause) => {
                cause.logged = now;
                Some(std::mem::take(&mut cause.left_out))
            }
            None => {
                causes.insert(cause, Cause { logged: now, left_out: 0 });
                Some(0)
            }
        }
    }
}

/// Warns that a counter in a cgroup's file makes no sense, once for each counter of each kind of file.
pub(crate) fn malformed_counter(cgroup: &[u8], file: &str, key: &[u8]) {
    warn_once(&[file.as_bytes(), key].join(&b' '), || {
        format!("{}: {}", path(cgroup, file), key.escape_ascii())
    });
}

/// Warns that the value of a cgroup's file makes no sense, once for each kind of file.
pub(crate) fn malformed_value(cgroup: &[u8], file: &str) {
    warn_once(file.as_bytes(), || path(cgroup, file));
}

/// Warns that a value in a file of the host makes no sense, once for each.
pub(crate) fn malformed_host_value(path: &str, key: &[u8]) {
    warn_once(&[path.as_bytes(), key].join(&b' '), || format!("{path}: {}", key.escape_ascii()));
}

fn path(cgroup: &[u8], file: &str) -> String {
    format!("{}/{file}", escaped(cgroup.strip_suffix(b"/").unwrap_or(cgroup)))
}

fn warn_once(key: &[u8], what: impl FnOnce() -> String) {
    static WARNED: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
    if is_new(&mut WARNED.lock(), key) {
        log::warn!("{} is malformed and is not used; this is logged once", what());
    }
}

/// Whether a key is new. There are no more keys than a kernel has counters: a tenant that finds a key to vary
/// must not be able to fill the log.
fn is_new(said: &mut BTreeSet<Vec<u8>>, key: &[u8]) -> bool {
    const MAX_KEYS: usize = 512;
    said.len() < MAX_KEYS && said.insert(key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_logged_once_a_minute() {
        let (limit, start) = (RateLimitedLog::new(), Instant::now());
        assert_eq!(limit.admit("a", start), Some(0));
        for second in 0..59 {
            assert_eq!(limit.admit("a", start + Duration::from_secs(second)), None);
        }
        assert_eq!(limit.admit("b", start), Some(0));
        assert_eq!(limit.admit("a", start + INTERVAL), Some(59));
        assert_eq!(limit.admit("a", start + INTERVAL), None);
    }

    #[test]
    fn whose_file_is_malformed_is_said_once() {
        assert_eq!(path(b"/pod", "memory.current"), "/pod/memory.current");
        assert_eq!(path(b"/", "memory.current"), "/memory.current");
        assert_eq!(path(b"/a\nb", "hugetlb.2MB.current"), "/a\\nb/hugetlb.2MB.current");
    }

    #[test]
    fn a_malformed_counter_is_said_once() {
        let mut said = BTreeSet::new();
        assert_eq!(["a", "b", "a"].map(|key| is_new(&mut said, key.as_bytes())), [true, true, false]);
        let news = (0..1000).filter(|key| is_new(&mut said, format!("{key}").as_bytes())).count();
        assert_eq!(news, 510);
    }
}
