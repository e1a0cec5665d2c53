//! Copies the states of the freezer of cgroup v1.

use super::copy::TreeCopy;
use super::error::CopyError;
use super::files::copy_files;
use crate::kernel::cgroup::ancestors::ancestors;
use crate::kernel::cgroup::caller::Caller;

impl TreeCopy<'_> {
    /// Copies whether tasks in uninterruptible sleep are frozen by the freezer of cgroup v1. A freezer cgroup
    /// that is not on the reader's path is given another name.
    pub(crate) fn copy_freezers(&self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let (procfs, cgroup_mounts) = (&self.source.procfs, &self.source.cgroup_mounts);
        let Some(hierarchy) = &cgroup_mounts.freezer else { return Ok(()) };
        let top = self.root.below(&hierarchy.mount_point)?;
        let own = caller.own_in(hierarchy).unwrap_or(b"/");
        let mut others: Vec<Vec<u8>> = Vec::new();
        let mut text = Vec::new();
        for &id in self.processes.uninterruptible() {
            let cgroup = procfs.read_of(id, "cgroup", &mut text).and_then(|()| hierarchy.path_in(&text, id));
            // A task may end meanwhile.
            let Ok(cgroup) = cgroup else { continue };
            let copied = if ancestors(own).any(|level| level == cgroup) {
                cgroup.to_vec()
            } else {
                let known = others.iter().position(|other| other == cgroup);
                let index = known.unwrap_or(others.len());
                let name = format!("other-{}", index + 1);
                if known.is_none() {
                    if let Ok(from) = hierarchy.locate(cgroup).open_dir() {
                        copy_files(&from, &top.child(name.as_bytes())?, &["freezer.state"])?;
                    }
                    others.push(cgroup.to_vec());
                }
                format!("/{name}").into_bytes()
            };
            // That of the reader was copied whole, with the other hierarchies.
            if id != caller.pid {
                let line = [b"1:freezer:", &copied[..], b"\n"].concat();
                self.root.below(format!("proc/{id}"))?.write("cgroup", &line)?;
            }
        }
        Ok(())
    }
}
