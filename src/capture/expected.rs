//! Which files the kernel has wherever it has others that a capture has: without them an answer looks right
//! and is wrong.

use super::stored::Capture;
use crate::error::Error;
use crate::kernel::cgroup::ancestors::ancestors;
use crate::kernel::cgroup::huge_pages::size_name;
use crate::kernel::{Caller, Hierarchy, Source};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::snapshot::{CgroupFile, HostFile, Needs};
use cgprocfs_core::units::Kib;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The files that an answer to a caller is made from, below the root of a capture.
pub(super) struct Expected<'a> {
    capture: &'a Capture,
    source: &'a Source,
    caller: &'a Caller<'a>,
    files: Vec<PathBuf>,
}

impl<'a> Expected<'a> {
    /// The files for what `needs` covers.
    pub(super) fn of(
        capture: &'a Capture,
        source: &'a Source,
        caller: &'a Caller<'a>,
        needs: Needs,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut expected = Self { capture, source, caller, files: Vec::new() };
        if needs.covers(Needs::COUNTERS) {
            expected.add_time()?;
        }
        if needs.covers(Needs::CPUS) {
            expected.add_limits_on_processors()?;
        }
        if needs.covers(Needs::LEVELS) {
            expected.add_swap();
            expected.add_huge_pages()?;
        }
        let has_nodes = capture.root.join("sys/devices/system/node/node1").exists();
        if needs.covers(Needs::NUMA_STAT) && has_nodes {
            expected.add_of_memory(["memory.numa_stat"; 2]);
        }
        if has_nodes && (needs.covers(Needs::NODES) || needs.covers(Needs::LEVELS)) {
            expected.add_nodes()?;
        }
        if needs.covers(Needs::LOAD) {
            expected.add_of_memory(["tasks", "cgroup.threads"]);
        }
        for file in CgroupFile::ALL.into_iter().filter(|file| needs.covers(Needs::cgroup_file(*file))) {
            expected.add_raw(file)?;
        }
        Ok(expected.files)
    }

    fn add_time(&mut self) -> Result<(), Error> {
        if let Some(cpuacct) = &self.source.cgroup_mounts().cpuacct {
            let names = match cpuacct.version {
                CgroupVersion::V1 => &["cpuacct.usage", "cpuacct.stat"][..],
                CgroupVersion::V2 => &["cpu.stat"],
            };
            // The root's time is the host's.
            if let Some(container) = self.caller.container_in(cpuacct)?.filter(|path| *path != b"/") {
                self.files.extend(names.iter().map(|name| path_of(cpuacct, container).join(name)));
            }
        }
        Ok(())
    }

    fn add_limits_on_processors(&mut self) -> Result<(), Error> {
        let mounts = self.source.cgroup_mounts();
        if let Some(cpu) = &mounts.cpu {
            for cgroup in ancestors(self.caller.limited_in(cpu)?) {
                self.add(cpu, cgroup, ["cpu.cfs_quota_us", "cpu.max"]);
            }
        }
        self.add_limit(mounts.cpuset.as_ref(), ["cpuset.effective_cpus", "cpuset.cpus.effective"])
    }

    /// Which memory nodes the reader's own cgroup may use, and what is on each.
    fn add_nodes(&mut self) -> Result<(), Error> {
        if let Some(cpuset) = &self.source.cgroup_mounts().cpuset {
            let names = ["cpuset.effective_mems", "cpuset.mems.effective"];
            self.add(cpuset, self.caller.own_in(cpuset)?, names);
        }
        let nodes = Path::new("sys/devices/system/node");
        let names = fs::read_dir(self.capture.root.join(nodes)).into_iter().flatten().flatten();
        let is_node = |name: &[u8]| {
            name.strip_prefix(b"node").is_some_and(|number| number.iter().all(u8::is_ascii_digit))
        };
        let names = names.map(|entry| entry.file_name()).filter(|name| is_node(name.as_bytes()));
        self.files.extend(names.map(|name| nodes.join(name).join("meminfo")));
        Ok(())
    }

    /// A file of the cgroup whose limits are the caller's, by the version of its hierarchy.
    fn add_limit(&mut self, hierarchy: Option<&Hierarchy>, names: [&str; 2]) -> Result<(), Error> {
        if let Some(hierarchy) = hierarchy {
            self.add(hierarchy, self.caller.limited_in(hierarchy)?, names);
        }
        Ok(())
    }

    /// A file of the container in the hierarchy of the memory controller.
    fn add_of_memory(&mut self, names: [&str; 2]) {
        self.add(&self.source.cgroup_mounts().memory, self.caller.container, names);
    }

    /// A file of a cgroup, by the version of its hierarchy, if that cgroup has the hierarchy's controller. A
    /// root has few files.
    fn add(&mut self, hierarchy: &Hierarchy, cgroup: &[u8], names: [&str; 2]) {
        let directory = path_of(hierarchy, cgroup);
        let (name, has_it) = match hierarchy.version {
            CgroupVersion::V1 => (names[0], true),
            CgroupVersion::V2 => (names[1], self.has_controller(&directory, hierarchy.controller)),
        };
        if cgroup != b"/" && has_it {
            self.files.push(directory.join(name));
        }
    }

    fn add_swap(&mut self) {
        let meminfo = fs::read(self.capture.root.join("proc/meminfo")).ok();
        let meminfo = meminfo.and_then(|text| Meminfo::parse(text).ok());
        if meminfo.is_none_or(|meminfo| meminfo.kib(Field::SwapTotal) == Kib::ZERO) {
            return;
        }
        match self.source.cgroup_mounts().memory.version {
            CgroupVersion::V1 => {
                self.add(&self.source.cgroup_mounts().memory, self.caller.cgroup, ["memory.swappiness"; 2]);
            }
            CgroupVersion::V2 => {
                self.files.push("proc/sys/vm/swappiness".into());
                self.add_of_memory(["memory.swap.max"; 2]);
                self.add_of_memory(["memory.swap.current"; 2]);
            }
        }
    }

    fn add_huge_pages(&mut self) -> Result<(), Error> {
        let Some(hugetlb) = &self.source.cgroup_mounts().hugetlb else { return Ok(()) };
        let pools = fs::read_dir(self.capture.root.join("sys/kernel/mm/hugepages"));
        let sizes = pools.into_iter().flatten().flatten().filter_map(|pool| {
            let name = pool.file_name().into_string().ok()?;
            name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok().map(Kib::new)
        });
        for size in sizes {
            let size = size_name(size);
            for names in [["limit_in_bytes", "max"], ["usage_in_bytes", "current"]] {
                let names = names.map(|name| format!("hugetlb.{size}.{name}"));
                self.add_limit(Some(hugetlb), [&names[0], &names[1]])?;
            }
        }
        Ok(())
    }

    fn add_raw(&mut self, file: CgroupFile) -> Result<(), Error> {
        let mounts = self.source.cgroup_mounts();
        let (hierarchy, names) = match file {
            CgroupFile::MemoryStat => (Some(&mounts.memory), ["memory.stat"; 2]),
            CgroupFile::MemoryEvents => (Some(&mounts.memory), ["memory.oom_control", "memory.events"]),
            // Kernels before 4.19 have no such file of v1.
            CgroupFile::Io => {
                (mounts.io.as_ref().filter(|io| io.version == CgroupVersion::V2), ["io.stat"; 2])
            }
            CgroupFile::PressureCpu => return self.add_pressure("cpu.pressure", HostFile::PressureCpu),
            CgroupFile::PressureMemory => {
                return self.add_pressure("memory.pressure", HostFile::PressureMemory);
            }
            CgroupFile::PressureIo => return self.add_pressure("io.pressure", HostFile::PressureIo),
        };
        if let Some(hierarchy) = hierarchy {
            if let Some(container) = self.caller.container_in(hierarchy)? {
                self.add(hierarchy, container, names);
            }
        }
        Ok(())
    }

    /// A kernel that keeps an account of pressure keeps one for each cgroup, unless it was told not to.
    fn add_pressure(&mut self, name: &str, of_host: HostFile) -> Result<(), Error> {
        let Some(hierarchy) = &self.source.cgroup_mounts().pressure else { return Ok(()) };
        let Some(container) = self.caller.container_in(hierarchy)? else { return Ok(()) };
        let directory = path_of(hierarchy, container);
        let is_kept = fs::read(self.capture.root.join(&directory).join("cgroup.pressure"));
        if self.capture.root.join(of_host.path()).exists() && is_kept.is_ok_and(|text| text != b"0\n") {
            self.files.push(directory.join(name));
        }
        Ok(())
    }

    /// Whether a cgroup of v2 has the files of a controller.
    fn has_controller(&self, cgroup: &Path, controller: &str) -> bool {
        let controllers = fs::read_to_string(self.capture.root.join(cgroup).join("cgroup.controllers"));
        controllers.is_ok_and(|names| names.split_whitespace().any(|name| name == controller))
    }
}

/// Where a cgroup of a hierarchy lies below the root.
fn path_of(hierarchy: &Hierarchy, cgroup: &[u8]) -> PathBuf {
    let cgroup = Path::new(OsStr::from_bytes(cgroup));
    relative(&hierarchy.mount_point).join(relative(cgroup))
}

/// A path without the slash that it begins with.
pub(super) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
