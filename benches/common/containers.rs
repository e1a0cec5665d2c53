//! Containers in pods, with limits on both, in every hierarchy that is read, and what is asked for each.
//! Tests and benchmarks share it.

use cgprocfs::kernel::{CgroupMounts, Hierarchy};
use cgprocfs_core::parse::CgroupVersion;
use std::fs;
use std::path::{Path, PathBuf};

/// What `top` reads.
pub const FILES: [&str; 6] = [
    "proc/meminfo",
    "proc/stat",
    "proc/cpuinfo",
    "proc/loadavg",
    "proc/uptime",
    "sys/devices/system/cpu/online",
];

const CONTAINERS_PER_POD: usize = 5;

/// Cgroups that are removed when it goes out of scope.
pub struct Containers {
    /// The directories that all pods are in.
    pub tops: Vec<PathBuf>,
}

impl Containers {
    /// So many of them, in cgroups of this name.
    pub fn new(name: &str, count: usize) -> Self {
        let mounts = CgroupMounts::detect(Path::new("/")).unwrap();
        let others = [&mounts.cpu, &mounts.cpuacct, &mounts.cpuset, &mounts.io];
        let mut hierarchies: Vec<&Hierarchy> = vec![&mounts.memory];
        for hierarchy in others.into_iter().flatten() {
            if hierarchies.iter().all(|known| known.mount_point != hierarchy.mount_point) {
                hierarchies.push(hierarchy);
            }
        }
        let mut containers = Self { tops: Vec::new() };
        for hierarchy in hierarchies {
            let top = hierarchy.mount_point.join(name);
            fs::create_dir(&top).unwrap();
            containers.tops.push(top.clone());
            prepare(hierarchy, &top);
            for number in 0..count {
                let container = directory(&top, number);
                let pod = container.parent().unwrap();
                if number % CONTAINERS_PER_POD == 0 {
                    fs::create_dir(pod).unwrap();
                    prepare(hierarchy, pod);
                    limit(hierarchy, pod, 2048, 200_000);
                }
                fs::create_dir(&container).unwrap();
                prepare(hierarchy, &container);
                limit(hierarchy, &container, 256, 100_000);
            }
        }
        containers
    }

    /// What a shell has to run to enter a container.
    pub fn enter(&self, container: usize) -> String {
        let one = |top: &PathBuf| format!("echo 0 >{}/cgroup.procs; ", directory(top, container).display());
        self.tops.iter().map(one).collect()
    }
}

/// Where a container is, below the directory that all pods are in.
pub fn directory(top: &Path, container: usize) -> PathBuf {
    top.join(format!("pod{}/ctr{container}", container / CONTAINERS_PER_POD))
}

/// Makes a cgroup one that processes, or cgroups below, can be put into.
fn prepare(hierarchy: &Hierarchy, directory: &Path) {
    let above = directory.parent().unwrap();
    match hierarchy.version {
        CgroupVersion::V1 if hierarchy.controller == "cpuset" => {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let list = fs::read_to_string(above.join(file)).unwrap();
                fs::write(directory.join(file), list.trim()).unwrap();
            }
        }
        CgroupVersion::V1 => {}
        CgroupVersion::V2 => {
            for controller in ["+memory", "+cpu", "+cpuset"] {
                let _ = fs::write(above.join("cgroup.subtree_control"), controller);
            }
        }
    }
}

fn limit(hierarchy: &Hierarchy, directory: &Path, mib: u64, quota: u32) {
    let memory = (mib << 20).to_string();
    let limits = match hierarchy.version {
        CgroupVersion::V1 => [("memory.limit_in_bytes", memory), ("cpu.cfs_quota_us", quota.to_string())],
        CgroupVersion::V2 => [("memory.max", memory), ("cpu.max", format!("{quota} 100000"))],
    };
    for (file, value) in limits {
        let path = directory.join(file);
        if path.exists() {
            fs::write(path, value).unwrap();
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for top in &self.tops {
            // Processes that were killed may still be there.
            for _ in 0..200 {
                if !top.exists() || cgprocfs::run::remove_cgroup(top).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}
