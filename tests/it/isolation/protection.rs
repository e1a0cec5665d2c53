//! Children of a limited cgroup, each with a `memory.min`: how long one answer takes.

use cgprocfs::kernel::Source;
use cgprocfs::service::Service;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::view::find;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A system written down, with more children than it had.
pub struct Tree {
    root: TempDir,
    reader: u32,
}

impl Tree {
    /// The reader's pod has `count` more containers whose memory is protected.
    pub fn new(count: usize) -> Self {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2-protected-sibling");
        let root = tempfile::tempdir().unwrap();
        let mut copy = Command::new("cp");
        crate::common::output(copy.arg("--archive").arg(case.join("root/.")).arg(root.path()));
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        let reader = read(case.join("reader")).trim().parse().unwrap();
        let cgroup = read(case.join("root/proc").join(format!("{reader}/cgroup")));
        let own = cgroup.trim().strip_prefix("0::/").unwrap();
        let own = root.path().join("sys/fs/cgroup").join(own);
        for number in 0..count {
            let child = own.with_file_name(format!("child-{number}"));
            fs::create_dir(&child).unwrap();
            fs::copy(own.join("memory.stat"), child.join("memory.stat")).unwrap();
            fs::write(child.join("memory.min"), "8192\n").unwrap();
            fs::write(child.join("memory.current"), "4096\n").unwrap();
        }
        Self { root, reader }
    }

    /// How long an answer takes that is not the first: the middle one of five.
    pub fn answer(&self) -> Duration {
        let service = Arc::new(Service::new(Source::open(self.root.path(), None).unwrap(), 1));
        let answer = || {
            let start = Instant::now();
            service.text(Pid::new(self.reader), find("proc/meminfo").unwrap()).unwrap();
            let took = start.elapsed();
            // What was read lately would be given out again without a look.
            std::thread::sleep(Duration::from_millis(110));
            took
        };
        answer();
        let mut took: [Duration; 5] = std::array::from_fn(|_| answer());
        took.sort_unstable();
        took[2]
    }
}
