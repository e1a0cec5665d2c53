//! A copy of what the answers to one reader are made from, small enough to be sent to somebody else.
//!
//! Every [list](lists) says what is read somewhere in [`source`](super). A golden test copies each tree of `tests/fixtures` and
//! has the copy say the same, so that what is missing here is seen there.

mod error;
mod files;
mod hierarchies;
mod lists;
mod process;
mod tree;

pub use self::error::CopyError;

use self::files::{LIST, copy_files, copy_path, copy_pools, directories, last_name, read};
use self::hierarchies::MOST_CGROUPS;
use self::lists::{CLOCKS, OF_HOST, OF_NODE, OF_NODES};
use self::process::Processes;
use self::tree::Directory;
use super::Source;
use super::cgroup::descent::downward;
use super::identity::caller::{Caller, Reader};
use super::procfs::{PATH_DIR, READ};
use crate::error::{Error, escaped};
use cgprocfs_core::parse::mountinfo::mounts;
use cgprocfs_core::snapshot::{HostFile, Needs};
use rustix::fs::{Mode, openat};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What was copied.
#[derive(Debug, Default)]
pub struct Copied {
    /// The reader's container, in the memory controller's hierarchy; `None` for a process of the host.
    pub container: Option<Vec<u8>>,
    /// What is not in the copy, though an answer might read it: a line each.
    pub left_out: Vec<String>,
}

/// A copy in the making.
struct Copy<'s> {
    source: &'s Source,
    root: Directory,
    huge_pages: Vec<String>,
    processes: Processes,
    cgroups_left: u32,
    /// How many cgroups got a name of their own in the copy.
    renamed: u32,
    copied: Copied,
}

impl Source {
    /// Copies below `root` what the answers to `pid` are made from.
    ///
    /// # Errors
    /// Where the reader is gone or can't be looked at, or the copy can't be written.
    pub fn copy(&self, pid: u32, root: &Path) -> Result<Copied, CopyError> {
        let mut text = Vec::new();
        let (max_age, needs) = (Duration::ZERO, Needs::START);
        let reader = Reader { pid, max_age, needs, may_take_long: true, may_hang: true };
        let caller = self.caller(reader, &mut text)?;
        let mut copy = Copy {
            source: self,
            root: Directory::open(root)?,
            huge_pages: Vec::new(),
            processes: Processes::new(pid),
            cgroups_left: MOST_CGROUPS,
            renamed: 0,
            copied: Copied::default(),
        };
        let container = &caller.memory[..caller.container_length];
        copy.copied.container = (container != b"/").then(|| container.to_vec());
        copy.host()?;
        copy.namespaces(&caller)?;
        copy.cgroups(&caller)?;
        copy.processes(&caller)?;
        copy.freezers(&caller)?;
        let mut now = Vec::new();
        self.procfs.read_of(pid, "cgroup", &mut now)?;
        if now != caller.membership {
            return Err(Error::CgroupGone(escaped(caller.memory)).into());
        }
        Ok(copy.copied)
    }
}

impl Copy<'_> {
    fn host(&mut self) -> Result<(), CopyError> {
        let host = &self.source.host;
        let proc = self.root.below("proc")?;
        for name in OF_HOST {
            let opened = host.proc.open(name, READ);
            copy_path(&proc, name, opened.map_err(Into::into).and_then(read))?;
        }
        for native in HostFile::ALL {
            match host.host_file(native) {
                Ok(text) => self.root.write_path(native.path(), &text)?,
                // Nothing of it is shown in a container.
                Err(error) if error.is_denied() && native == HostFile::Slabinfo => {
                    if self.copied.container.is_some() {
                        self.root.write_path(native.path(), b"")?;
                    }
                }
                Err(Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                // Of a kernel that was told at the start to keep no account of pressure (`psi=0`).
                Err(Error::Unreadable { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) => self.copied.left_out.push(format!("{}: {error}", native.path())),
            }
        }
        let Some(sys) = &host.sys else { return Ok(()) };
        let to = self.root.below("sys")?;
        if let Ok(pools) = openat(sys, "kernel/mm/hugepages", LIST, Mode::empty()) {
            self.huge_pages = copy_pools(&pools, &to.below("kernel/mm/hugepages")?)?;
        }
        let Ok(nodes) = openat(sys, "devices/system/node", LIST, Mode::empty()) else { return Ok(()) };
        let to = to.below("devices/system/node")?;
        copy_files(&nodes, &to, OF_NODES)?;
        for name in directories(&nodes).filter(|name| name.starts_with(b"node")) {
            let Ok(node) = openat(&nodes, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) else {
                continue;
            };
            let to = to.child(&name)?;
            copy_files(&node, &to, OF_NODE)?;
            if let Ok(pools) = openat(&node, "hugepages", LIST, Mode::empty()) {
                copy_pools(&pools, &to.below("hugepages")?)?;
            }
        }
        Ok(())
    }

    /// The copy has the reader in this process's own namespaces, because a copied namespace can't be entered: where its
    /// container begins is written down beside the tree.
    fn namespaces(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let procfs = &self.source.procfs;
        let proc = self.root.below("proc")?;
        let (own, reader) = (proc.below("self")?, proc.below(caller.pid.to_string())?);
        let link = |path: &str| procfs.link(path).ok();
        for name in ["ns/cgroup", "ns/pid"] {
            let of_self = link(&format!("self/{name}"));
            let target = of_self.clone().or_else(|| link(&format!("{}/{name}", caller.pid)));
            if let Some(target) = of_self {
                own.link(name, &target)?;
            }
            if let Some(target) = target {
                reader.link(name, &target)?;
            }
        }
        for (directory, who) in [(&own, "self".to_string()), (&reader, caller.pid.to_string())] {
            for name in CLOCKS {
                if let Some(target) = link(&format!("{who}/{name}")) {
                    directory.link(name, &target)?;
                }
            }
            let offsets = openat(&procfs.dir, format!("{who}/timens_offsets"), READ, Mode::empty());
            copy_path(directory, "timens_offsets", offsets.map_err(Into::into).and_then(read))?;
        }
        reader.write("cgroup", caller.membership)?;
        let table = procfs.read("self/mountinfo")?;
        let cgroup_mounts = &self.source.cgroup_mounts;
        let is_read = |line: &&[u8]| {
            let mount = mounts(line).ok().and_then(|mounts| mounts.into_iter().next());
            mount.is_some_and(|mount| {
                mount.fs_type.starts_with(b"cgroup")
                    && cgroup_mounts.all().any(|hierarchy| {
                        hierarchy.mount_point.as_os_str().as_bytes() == mount.mount_point
                            && hierarchy.mount_root == mount.root
                    })
            })
        };
        let lines: Vec<_> = table.split_inclusive(|&b| b == b'\n').filter(is_read).collect();
        own.write("mountinfo", &lines.concat())
    }

    fn processes(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let proc = self.root.below("proc")?;
        let left_out = self.processes.copy(&self.source.procfs, &proc)?;
        self.copied.left_out.extend(left_out);
        if caller.container_length > 1 {
            let mut container = self.root.below(&self.source.cgroup_mounts.memory.mount_point)?;
            for level in downward(&caller.memory[..caller.container_length]).skip(1) {
                container = container.child(last_name(level))?;
            }
            container.write("cgroup.procs", &self.processes.of_container())?;
        }
        Ok(())
    }
}
