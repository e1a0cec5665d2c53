//! Cgroups in cgroups, each with a limit.

use crate::common::cgroup::{Cgroup, version};
use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use std::os::fd::{AsFd, OwnedFd};

/// So many cgroups, each in the one before and with a limit; in the innermost some more, for readers.
pub struct Nest {
    pub readers: Vec<Cgroup>,
    _outermost: Cgroup,
}

impl Nest {
    pub fn new(depth: usize, readers: usize) -> Self {
        let outermost = Cgroup::new();
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut innermost = open(&outermost.dir, directory, Mode::empty()).unwrap();
        for _ in 0..depth {
            share(&innermost);
            mkdirat(&innermost, "x", Mode::from_raw_mode(0o755)).unwrap();
            innermost = openat(&innermost, "x", directory, Mode::empty()).unwrap();
            let limit = if version() == Some(2) { "memory.max" } else { "memory.limit_in_bytes" };
            write(&innermost, limit, "209715200");
        }
        share(&innermost);
        let path = "x/".repeat(depth);
        let readers = (0..readers).map(|number| outermost.bare_child(format!("{path}{number}"))).collect();
        Self { readers, _outermost: outermost }
    }
}

/// Gives a cgroup's children the memory controller.
fn share(cgroup: &OwnedFd) {
    if version() == Some(2) {
        write(cgroup, "cgroup.subtree_control", "+memory");
    }
}

fn write(cgroup: &impl AsFd, file: &str, value: &str) {
    let file = openat(cgroup, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    rustix::io::write(file, value.as_bytes()).unwrap();
}
