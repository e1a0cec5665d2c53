use crate::fuse::seams::kernel_stub::{CALLER, FLUSH, IOCTL, KernelStub, STATFS, UNLINK};
use crate::fuse::{QuiesceGate, ServedConnection, ViewFs};
use crate::kernel::Source;
use crate::service::Service;
use crate::state::in_flight::InFlightTable;
use cgprocfs_core::view::ViewId;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Sends one request while its sender can't be looked at, and returns whether it is answered nevertheless. It
/// always is once the sender can be looked at.
fn is_answered_without_a_look(opcode: u32, body: &[u8]) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2-kubernetes/root");
    assert!(Command::new("cp").arg("-r").arg(fixture).arg(directory.path()).status().unwrap().success());
    let root = directory.path().join("root");
    let [_, _, pid] = CALLER;
    let process = root.join(format!("proc/{pid}"));
    fs::create_dir(&process).unwrap();
    // To open it takes somebody who writes.
    let cgroup = process.join("cgroup");
    mknodat(CWD, &cgroup, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();

    let service = Arc::new(Service::new(Source::open(&root, None).unwrap(), 1));
    // Requests that read nothing are charged only while the threads are busy, the first one then.
    (0..500).for_each(|_| service.note_request(true));
    let gate = Arc::new(QuiesceGate::new(1));
    let served = ServedConnection { generation: 0, in_flight: InFlightTable::new(&[]), is_read_only: true };
    let kernel = KernelStub::serve(ViewFs::new(service, &ViewId::ALL, served, gate), 1);
    kernel.send(opcode, 70, body);
    let is_answered = kernel.receive_within(Duration::from_millis(300)).is_some();
    if !is_answered {
        // Who opens the other end lets it in; what is in the pipe does not matter.
        let opened = OpenOptions::new().write(true).open(&cgroup).unwrap();
        drop(opened);
        assert!(kernel.receive_within(Duration::from_secs(10)).is_some());
    }
    kernel.end();
    is_answered
}

/// A process is looked at while it waits for its answer. Afterwards it may be in an exec, for which the look
/// would wait.
#[test]
fn whoever_asks_is_charged_before_the_answer() {
    assert!(!is_answered_without_a_look(STATFS, &[]));
}

#[test]
fn what_is_always_refused_is_charged() {
    assert!(!is_answered_without_a_look(UNLINK, b"name\0"));
    assert!(!is_answered_without_a_look(IOCTL, &[0; 32]));
}

/// It closes files in the middle of an exec.
#[test]
fn whoever_flushes_is_not_looked_at() {
    assert!(is_answered_without_a_look(FLUSH, &[0; 24]));
}
