//! What many containers cost, of which each is asked now and then, so that no answer is cached: counted, not timed.

mod calls;
mod idle;
pub mod reader;

use crate::common::daemon::Daemon;
use cgprocfs::kernel::{CgroupMounts, Hierarchy};
use cgprocfs_core::parse::CgroupVersion;
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub fn tests() -> Vec<Trial> {
    [calls::tests(), idle::tests()].into_iter().flatten().collect()
}

/// What `top` reads.
const FILES: [&str; 6] = [
    "proc/meminfo",
    "proc/stat",
    "proc/cpuinfo",
    "proc/loadavg",
    "proc/uptime",
    "sys/devices/system/cpu/online",
];

/// The containers of pods, with limits on both, in every hierarchy that is read.
struct Fleet {
    /// The directories of each container.
    containers: Vec<Vec<PathBuf>>,
    /// The directories that all are in.
    tops: Vec<PathBuf>,
}

const CONTAINERS_PER_POD: usize = 5;

impl Fleet {
    fn new(count: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mounts = CgroupMounts::detect(Path::new("/")).unwrap();
        let of_cpu = [&mounts.cpu, &mounts.cpuacct, &mounts.cpuset];
        let mut hierarchies: Vec<&Hierarchy> = vec![&mounts.memory];
        for hierarchy in of_cpu.into_iter().flatten() {
            if hierarchies.iter().all(|known| known.mount_point != hierarchy.mount_point) {
                hierarchies.push(hierarchy);
            }
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cgprocfs-test-{}-fleet-{number}", std::process::id());
        let mut fleet = Self { containers: vec![Vec::new(); count], tops: Vec::new() };
        for hierarchy in hierarchies {
            let top = hierarchy.mount_point.join(&name);
            fs::create_dir(&top).unwrap();
            fleet.tops.push(top.clone());
            prepare(hierarchy, &top);
            for (number, directories) in fleet.containers.iter_mut().enumerate() {
                let pod = directory(&top, number).parent().unwrap().to_path_buf();
                if number % CONTAINERS_PER_POD == 0 {
                    fs::create_dir(&pod).unwrap();
                    prepare(hierarchy, &pod);
                    limit(hierarchy, &pod, 2048, 200_000);
                }
                let container = directory(&top, number);
                fs::create_dir(&container).unwrap();
                prepare(hierarchy, &container);
                limit(hierarchy, &container, 256, 100_000);
                directories.push(container);
            }
        }
        fleet
    }

    /// What a shell has to run to enter a container.
    fn enter(&self, container: usize) -> String {
        let one = |directory: &PathBuf| format!("echo 0 > {}/cgroup.procs; ", directory.display());
        self.containers[container].iter().map(one).collect()
    }
}

/// Where a container is, below the directory that all pods are in.
fn directory(top: &Path, container: usize) -> PathBuf {
    top.join(format!("pod{}/ctr{container}", container / CONTAINERS_PER_POD))
}

/// Makes a cgroup one that processes, or cgroups below, can be put into.
fn prepare(hierarchy: &Hierarchy, directory: &Path) {
    match hierarchy.version {
        CgroupVersion::V1 if hierarchy.controller == "cpuset" => {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let above = fs::read_to_string(directory.parent().unwrap().join(file)).unwrap();
                fs::write(directory.join(file), above.trim()).unwrap();
            }
        }
        CgroupVersion::V1 => {}
        CgroupVersion::V2 => {
            let above = directory.parent().unwrap().join("cgroup.subtree_control");
            for controller in ["+memory", "+cpu", "+cpuset"] {
                let _ = fs::write(&above, controller);
            }
        }
    }
}

fn limit(hierarchy: &Hierarchy, directory: &Path, mib: u64, quota: u32) {
    let memory = (mib << 20).to_string();
    let write = |file: &str, value: &str| {
        let path = directory.join(file);
        if path.exists() {
            fs::write(path, value).unwrap();
        }
    };
    match hierarchy.version {
        CgroupVersion::V1 => {
            write("memory.limit_in_bytes", &memory);
            write("cpu.cfs_quota_us", &quota.to_string());
        }
        CgroupVersion::V2 => {
            write("memory.max", &memory);
            write("cpu.max", &format!("{quota} 100000"));
        }
    }
}

impl Drop for Fleet {
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

/// The paths of the served files.
fn served(daemon: &Daemon, files: &[&str]) -> Vec<String> {
    files.iter().map(|file| daemon.path(file).display().to_string()).collect()
}
