//! What the daemon says of itself to whoever administers the host.

use super::cache::rendered::Rendered;
use super::engine::Service;
use super::scheduling::lane::Lane;
use crate::error::{Error, escaped};
use crate::kernel::CpuView;
use crate::process::own_pid;
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

/// The name of the file that says it, at the top of the file system. It is in no listing.
pub const STATUS_FILE: &str = ".status";
/// The text is no longer than this, in bytes.
pub const MAX_STATUS_SIZE: u64 = 64 << 10;
/// At most as many slow containers are named, by so much of their paths: tenants choose both.
const MAX_NAMED: usize = 50;
const MAX_NAME_CHARACTERS: usize = 100;

/// How a daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The program's version.
    pub version: String,
    /// Its process, as it sees itself.
    pub pid: Pid,
    /// For how long it has served, in seconds.
    pub serving_seconds: u64,
    /// How many daemons the connection had before this one.
    pub restarts: u32,
    /// Who has the connection if this process ends; `None` for nobody.
    pub kept_by: Option<String>,
    /// How many requests were answered on the connection, of whatever kind.
    pub requests: u64,
    /// What reduces the number of processors that a container sees: `quota` or `cpuset`.
    pub cpu_view: String,
    /// How many pressure triggers are armed.
    pub triggers: usize,
    /// How many cgroups are held open for their next reader.
    pub cached_cgroups: usize,
    /// The containers whose readers wait for each other, because they are slow to read, or too many; not all
    /// if there are very many.
    pub slow: Vec<String>,
}

impl Service {
    /// Notes who has the connection if this process ends.
    pub fn note_keeper(&self, keeper: Option<&'static str>) {
        if let Some(connection) = self.connection.get() {
            *connection.kept_by.lock() = keeper;
        }
    }

    /// Calls `reply` with the status as JSON, from a thread that may hang; with EACCES if the process `pid`
    /// is not in this one's pid namespace: the status is about other tenants.
    pub fn ask_status(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        reply: impl FnOnce(Result<Arc<Rendered>, Error>) + Send + 'static,
    ) {
        self.dispatch(Lane::Blocking, in_flight, pid, move |service, _in_flight| {
            reply(service.status_for(pid));
        });
    }

    fn status_for(&self, pid: Pid) -> Result<Arc<Rendered>, Error> {
        self.permit_host_process(pid)?;
        let mut bytes = serde_json::to_vec(&self.status()).unwrap_or_default();
        bytes.push(b'\n');
        Ok(Arc::new(Rendered { sampled_at: Instant::now(), bytes, cgroup: Arc::from(&b"/"[..]) }))
    }

    fn status(&self) -> ServiceStatus {
        let now = Instant::now();
        let mut slow = self.fairness.accounts.slow(now);
        slow.sort_unstable();
        slow.truncate(MAX_NAMED);
        let shown = |path: &Arc<[u8]>| escaped(path).chars().take(MAX_NAME_CHARACTERS).collect();
        let connection = self.connection.get();
        ServiceStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: own_pid(),
            serving_seconds: connection.map_or(0, |connection| connection.since.elapsed().as_secs()),
            restarts: connection.map_or(0, |connection| connection.restarts),
            kept_by: connection.and_then(|connection| *connection.kept_by.lock()).map(str::to_string),
            requests: connection.map_or(0, |connection| connection.in_flight.answered()),
            cpu_view: match self.source.cpu_view() {
                CpuView::Quota => "quota".into(),
                CpuView::Cpuset => "cpuset".into(),
            },
            triggers: self.psi_monitor.armed(),
            cached_cgroups: self.cache.len(),
            slow: slow.iter().map(shown).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_status_fits() {
        let path = "\u{1}".repeat(MAX_NAME_CHARACTERS);
        let status = ServiceStatus {
            version: "1000.1000.1000".into(),
            pid: Pid::new(u32::MAX),
            serving_seconds: u64::MAX,
            restarts: u32::MAX,
            kept_by: Some("the supervisor".into()),
            requests: u64::MAX,
            cpu_view: "cpuset".into(),
            triggers: usize::MAX,
            cached_cgroups: usize::MAX,
            slow: vec![path; MAX_NAMED],
        };
        let text = serde_json::to_vec(&status).unwrap();
        assert!((text.len() as u64) < MAX_STATUS_SIZE, "{}", text.len());
        assert_eq!(serde_json::from_slice::<ServiceStatus>(&text).unwrap(), status);
    }
}
