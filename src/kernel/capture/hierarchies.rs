//! The cgroups on the reader's path, and what of others an answer reads.

use super::Copy;
use super::error::CopyError;
use super::files::{LIST, copy_files, directories, last_name, read, read_file};
use super::lists::{BELOW, OF_CGROUP, OF_HUGE_PAGES, OF_PROTECTED};
use super::tree::Directory;
use crate::error::Error;
use crate::kernel::cgroup::descent::{Descent, downward};
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::identity::caller::Caller;
use crate::kernel::procfs::{PATH_DIR, READ};
use cgprocfs_core::parse::CgroupVersion;
use rustix::fs::{Mode, openat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So many cgroups below and beside the reader's path are looked at: a tenant may make any number.
pub(crate) const MOST_CGROUPS: u32 = 4096;
/// No deeper, as the answers have it.
const DEPTH: usize = 64;

impl Copy<'_> {
    pub(crate) fn cgroups(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let cgroup_mounts = &self.source.cgroup_mounts;
        let mut seen: Vec<&Path> = Vec::new();
        for hierarchy in cgroup_mounts.all() {
            if seen.contains(&hierarchy.mount_point.as_path()) {
                continue;
            }
            seen.push(&hierarchy.mount_point);
            let is_of_memory = hierarchy.mount_point == cgroup_mounts.memory.mount_point;
            self.hierarchy(hierarchy, caller, is_of_memory)?;
        }
        Ok(())
    }

    fn hierarchy(
        &mut self,
        hierarchy: &Hierarchy,
        caller: &Caller<'_>,
        is_of_memory: bool,
    ) -> Result<(), CopyError> {
        let mut to = self.root.below(&hierarchy.mount_point)?;
        // Who is outside of it is so in the copy, too.
        let own = caller.own_in(hierarchy).unwrap_or(b"/");
        let mut descent = Descent::new(hierarchy);
        let names = self.names();
        let levels: Vec<_> = downward(own).collect();
        for (index, level) in levels.iter().enumerate() {
            let opened =
                descent.to(level).and_then(|place| openat(place.0, place.1, PATH_DIR, Mode::empty()));
            let from = match opened {
                // The answers that need it find that out in the copy, too.
                Err(Errno::NOENT) if !is_of_memory => break,
                opened => opened.map_err(|e| Error::of_cgroup(level, e))?,
            };
            if *level != b"/" {
                to = to.child(last_name(level))?;
            }
            copy_files(&from, &to, &names)?;
            let in_container =
                is_of_memory && caller.container_length > 1 && level.len() >= caller.container_length;
            if let Ok(file) = openat(&from, "cgroup.procs", READ, Mode::empty()) {
                let is_start = level.len() == caller.container_length;
                let text = if in_container { read(file).unwrap_or_default() } else { Vec::new() };
                let listed = self.processes.listed(&text, in_container && is_start);
                if !(in_container && is_start) {
                    to.write("cgroup.procs", &listed)?;
                }
            }
            if in_container {
                self.tasks(hierarchy, &from, &to)?;
            }
            if is_of_memory && !(*level == b"/" && hierarchy.is_hierarchy_root) {
                let next = levels.get(index + 1).map_or(&b""[..], |next| last_name(next));
                self.children(hierarchy, &from, &to, next, in_container, 0)?;
            }
        }
        Ok(())
    }

    /// The cgroups below one, but for `next` on the reader's path, under other names.
    fn children(
        &mut self,
        hierarchy: &Hierarchy,
        from: &OwnedFd,
        to: &Directory,
        next: &[u8],
        in_container: bool,
        depth: usize,
    ) -> Result<(), CopyError> {
        let is_v2 = hierarchy.version == CgroupVersion::V2;
        if depth == DEPTH || !(in_container || is_v2) {
            return Ok(());
        }
        let Ok(listed) = openat(from, ".", LIST, Mode::empty()) else { return Ok(()) };
        for name in directories(&listed).filter(|name| name != next) {
            if self.cgroups_left == 0 {
                let line = format!("cgroups: those beside and below the reader's beyond {MOST_CGROUPS}");
                if !self.copied.left_out.contains(&line) {
                    self.copied.left_out.push(line);
                }
                break;
            }
            self.cgroups_left -= 1;
            // What goes meanwhile is not there.
            let Ok(child) = openat(from, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) else { continue };
            let minimum = read_file(&child, "memory.min").ok().filter(|_| is_v2 && depth == 0);
            let is_protected = minimum.is_some_and(|text| text.trim_ascii() != b"0");
            if !is_protected && !in_container {
                continue;
            }
            self.renamed += 1;
            let to = to.child(format!("other-{}", self.renamed).as_bytes())?;
            if is_protected {
                copy_files(&child, &to, OF_PROTECTED)?;
            }
            if in_container {
                copy_files(&child, &to, BELOW)?;
                if let Ok(file) = openat(&child, "cgroup.procs", READ, Mode::empty()) {
                    let listed = self.processes.listed(&read(file).unwrap_or_default(), false);
                    to.write("cgroup.procs", &listed)?;
                }
                self.tasks(hierarchy, &child, &to)?;
                self.children(hierarchy, &child, &to, b"", true, depth + 1)?;
            }
        }
        Ok(())
    }

    fn tasks(&mut self, hierarchy: &Hierarchy, from: &OwnedFd, to: &Directory) -> Result<(), CopyError> {
        let name = match hierarchy.version {
            CgroupVersion::V1 => "tasks",
            CgroupVersion::V2 => "cgroup.threads",
        };
        // The kernel gives out a list page by page.
        let text = openat(from, name, READ, Mode::empty()).map_err(Into::into).and_then(read);
        let Ok(text) = text else { return Ok(()) };
        self.processes.add_tasks(&text);
        to.write(name, &text)
    }

    fn names(&self) -> Vec<String> {
        let sizes = self.huge_pages.iter();
        let huge =
            sizes.flat_map(|size| OF_HUGE_PAGES.iter().map(move |name| format!("hugetlb.{size}.{name}")));
        OF_CGROUP.iter().map(ToString::to_string).chain(huge).collect()
    }

    /// Whether tasks that seem to be uninterruptible are frozen, by the freezer of cgroup v1. Where they are in another cgroup
    /// than the reader and those above it, that has another name.
    pub(crate) fn freezers(&self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let (procfs, cgroup_mounts) = (&self.source.procfs, &self.source.cgroup_mounts);
        let Some(hierarchy) = &cgroup_mounts.freezer else { return Ok(()) };
        let top = self.root.below(&hierarchy.mount_point)?;
        let own = caller.own_in(hierarchy).unwrap_or(b"/");
        let mut others: Vec<Vec<u8>> = Vec::new();
        let mut text = Vec::new();
        for &id in self.processes.uninterruptible() {
            let cgroup = procfs.read_of(id, "cgroup", &mut text).and_then(|()| hierarchy.path_in(&text, id));
            // What ends meanwhile is not there.
            let Ok(cgroup) = cgroup else { continue };
            let shown = if downward(own).any(|level| level == cgroup) {
                cgroup.to_vec()
            } else {
                let known = others.iter().position(|other| other == cgroup);
                let place = known.unwrap_or(others.len());
                let name = format!("other-{}", place + 1);
                if known.is_none() {
                    let (directory, path) = hierarchy.place(cgroup);
                    if let Ok(from) = openat(directory, path, PATH_DIR, Mode::empty()) {
                        copy_files(&from, &top.child(name.as_bytes())?, &["freezer.state"])?;
                    }
                    others.push(cgroup.to_vec());
                }
                format!("/{name}").into_bytes()
            };
            // The reader's own has the other hierarchies as well.
            if id != caller.pid {
                let line = [b"1:freezer:", &shown[..], b"\n"].concat();
                self.root.below(format!("proc/{id}"))?.write("cgroup", &line)?;
            }
        }
        Ok(())
    }
}
