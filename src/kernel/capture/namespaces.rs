//! Copies what tells in which namespaces the reader is, and where cgroup hierarchies are mounted.

use super::copy::TreeCopy;
use super::error::CopyError;
use super::files::{copy_path, read};
use super::lists::TIME_NAMESPACES;
use crate::kernel::cgroup::caller::Caller;
use crate::kernel::read::READ;
use cgprocfs_core::parse::mountinfo::Mount;
use rustix::fs::{Mode, openat};
use std::os::unix::ffi::OsStrExt;

impl TreeCopy<'_> {
    /// Copies which namespaces the reader is in, and the mounts of cgroup hierarchies.
    ///
    /// In the copy the reader is in this process's own namespaces, because a copied namespace can't be
    /// entered. Where its container begins is written down beside the tree.
    pub(crate) fn copy_namespaces(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
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
            for name in TIME_NAMESPACES {
                if let Some(target) = link(&format!("{who}/{name}")) {
                    directory.link(name, &target)?;
                }
            }
            let offsets = openat(&procfs.dir, format!("{who}/timens_offsets"), READ, Mode::empty());
            copy_path(directory, "timens_offsets", offsets.map_err(Into::into).and_then(read))?;
        }
        reader.write("cgroup", caller.proc_cgroup)?;
        let table = procfs.read("self/mountinfo")?;
        let cgroup_mounts = &self.source.cgroup_mounts;
        let is_read = |line: &&[u8]| {
            let mount = Mount::parse_all(line).ok().and_then(|mounts| mounts.into_iter().next());
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
}
