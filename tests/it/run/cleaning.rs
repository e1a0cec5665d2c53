//! What a run leaves behind: nothing.

use super::{run_command, send, start};
use crate::common::{MOUNT, test, wait_at_most, wait_for, wait_until};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            failed_start_cleans_up,
            killed_run_leaves_nothing,
            background_processes_and_subcgroups_go,
            files_of_removed_cgroups_are_closed,
        ],
    }
}

/// Nor does it leave anything behind.
fn failed_start_cleans_up() {
    let mut process = run_command(&["--", "/no/such/program"]).stderr(Stdio::null()).spawn().unwrap();
    let id = process.id();
    assert_eq!(wait_for(&mut process).code(), Some(127));
    assert_eq!(cgroup_dir(id), None);
}

/// The cgroup of a run's program, by its process id.
fn cgroup_dir(run: u32) -> Option<PathBuf> {
    let layout = cgprocfs::kernel::CgroupMounts::detect(std::path::Path::new("/")).unwrap();
    let prefix = format!("cgprocfs-run-{run}-");
    let entries = fs::read_dir(layout.memory.mount_point).unwrap().map(Result::unwrap);
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix))
}

fn exists(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// After SIGKILL no cgroup, mount or process is left.
fn killed_run_leaves_nothing() {
    let mut process = start("setsid sleep 60 & echo ready; cat /proc/meminfo > /dev/null; sleep 60");
    let cgroup = cgroup_dir(process.id()).unwrap();
    let pids: Vec<u32> = fs::read_to_string(cgroup.join("cgroup.procs"))
        .unwrap()
        .lines()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids.len() >= 2);
    send(&process, Signal::KILL);
    wait_for(&mut process);
    wait_until("the cgroup is gone", || !cgroup.exists());
    wait_until("its processes are gone", || !pids.iter().any(|&pid| exists(pid)));
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains("/run/cgprocfs fuse"));
    wait_until("the janitor is gone", || {
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
        let mine = cgroup.to_str().unwrap();
        !processes
            .filter_map(|path| fs::read(path).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(mine))
    });
}

/// What the program has started, and made below its cgroup, ends with it.
fn background_processes_and_subcgroups_go() {
    let script = "top=$(ls -d $0/cgprocfs-run-$PPID-*); mkdir -p $top/a/b; sleep 60 & echo $! > $top/a/b/cgroup.procs; echo $!";
    let layout = cgprocfs::kernel::CgroupMounts::detect(std::path::Path::new("/")).unwrap();
    let mut process = run_command(&["--", "sh", "-c", script, layout.memory.mount_point.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    let id = process.id();
    assert!(wait_for(&mut process).success());
    assert_eq!(cgroup_dir(id), None);
    wait_until("the background process is gone", || !exists(pid));
}

/// The views are read in cgroups of the program's own making, which are gone then.
fn files_of_removed_cgroups_are_closed() {
    const COUNT: usize = 40;
    let layout = cgprocfs::kernel::CgroupMounts::detect(std::path::Path::new("/")).unwrap();
    let top = layout.memory.mount_point.display();
    let script = format!(
        "top=$(ls -d {top}/cgprocfs-run-$PPID-*); for i in $(seq {COUNT}); do mkdir $top/$i; \
         sh -c 'echo 0 > $0/cgroup.procs && cat /proc/meminfo > /dev/null' $top/$i; done; \
         echo ready; exec sleep 60"
    );
    let mut run = start(&script);
    let open = || fs::read_dir(format!("/proc/{}/fd", run.id())).unwrap().count();
    let (before, cgroup) = (open(), cgroup_dir(run.id()).unwrap());
    (1..=COUNT).for_each(|number| fs::remove_dir(cgroup.join(number.to_string())).unwrap());
    wait_at_most(30, "their files are closed", || open() + COUNT <= before);
    send(&run, Signal::TERM);
    wait_for(&mut run);
}
