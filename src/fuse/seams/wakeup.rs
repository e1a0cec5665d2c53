//! Wakes threads of a session that wait for a request.
//!
//! Such a thread looks at nothing but the device, and is to stay usable in case the hand-over fails. So it is
//! given a request: how full the file system is, which nobody else has to wait for.

use std::io;
use std::path::PathBuf;
use std::thread;

/// Starts a thread that asks how full the file system at `mount_point` is, again and again until `is_done` or
/// nobody answers. Each question wakes one waiting thread of the session.
///
/// # Errors
/// Where there can be no thread.
pub(crate) fn wake_threads(
    mount_point: PathBuf,
    is_done: impl Fn() -> bool + Send + 'static,
) -> io::Result<()> {
    let wake = move || while !is_done() && rustix::fs::statfs(&mount_point).is_ok() {};
    thread::Builder::new().name("wake-up".into()).spawn(wake).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::kernel_stub::{KernelStub, STATFS};
    use crate::fuse::{QuiesceGate, ServedConnection, ViewFs};
    use crate::kernel::Source;
    use crate::service::Service;
    use crate::state::in_flight::InFlightTable;
    use cgprocfs_core::view::ViewId;
    use std::path::Path;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Fails where fuser answers FUSE_STATFS by itself, or on another thread than the one that has fetched
    /// it.
    #[test]
    fn a_statfs_brings_each_thread_to_the_gate() {
        let gate = Arc::new(QuiesceGate::new(2));
        let service = Arc::new(Service::new(Source::open(Path::new("/"), None).unwrap(), 1024));
        let served =
            ServedConnection { generation: 0, in_flight: InFlightTable::new(&[]), is_read_only: true };
        let fs = ViewFs::new(service, &ViewId::ALL, served, Arc::clone(&gate));
        let kernel = KernelStub::serve(fs, gate.threads());
        gate.close();
        kernel.ask(STATFS, 70, &[]);
        kernel.ask(STATFS, 72, &[]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gate.all_parked() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(gate.all_parked());
        gate.open();
        kernel.end();
    }
}
