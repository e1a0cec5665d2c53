//! Who reads: a process in a container, whose threads open, read to the end and close.

use crate::janitor::Janitor;
use crate::subject::Subject;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// How a file is read.
pub struct Setting {
    pub name: &'static str,
    /// Whether servers and readers have one CPU together.
    pub pinned: bool,
    pub readers: usize,
    /// Whether each read is by a new thread.
    pub fresh: bool,
    /// Seconds between two reads.
    pub pause: f64,
}

/// What one round has measured: times in microseconds.
#[derive(Clone, Copy)]
pub struct Figures {
    pub p50: f64,
    pub p99: f64,
    pub per_second: f64,
}

/// The cgroup of the readers in each hierarchy: a limited container.
pub struct Container {
    dirs: Vec<PathBuf>,
    _janitor: Janitor,
}

impl Container {
    pub fn new() -> Self {
        let mounts = cgprocfs::kernel::CgroupMounts::detect(Path::new("/")).unwrap();
        let name = format!("cgprocfs-bench-{}", std::process::id());
        let others = [&mounts.cpu, &mounts.cpuacct, &mounts.io].into_iter().flatten();
        let tops = std::iter::once(&mounts.memory).chain(others).map(|hierarchy| &hierarchy.mount_point);
        let mut dirs: Vec<_> = tops.map(|top| top.join(&name)).collect();
        dirs.dedup();
        let janitor = Janitor::start(&dirs);
        dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let dir = &dirs[0];
        let limit = ["memory.max", "memory.limit_in_bytes"]
            .map(|file| dir.join(file))
            .into_iter()
            .find(|f| f.exists());
        fs::write(limit.unwrap(), "268435456").unwrap();
        Self { dirs, _janitor: janitor }
    }
}

/// Reads a path from a process in the container, as the setting says, for a number of seconds.
pub fn measure(
    subject: &Subject,
    path: &Path,
    setting: &Setting,
    cgroup: &Container,
    seconds: f64,
) -> Figures {
    if let Some(server) = &subject.server {
        for task in fs::read_dir(format!("/proc/{}/task", server.process.id())).unwrap().flatten() {
            let tid = task.file_name().to_str().unwrap().parse().unwrap();
            pin(Pid::from_raw(tid), setting.pinned);
        }
    }
    let fresh = if setting.fresh { "fresh" } else { "same" };
    let seconds = if setting.pause > 0.0 { seconds * 4.0 } else { seconds };
    let this = std::env::current_exe().unwrap();
    let mut reader = Command::new("sh");
    let enter = "for dir in $0; do echo 0 > $dir/cgroup.procs || exit; done; exec \"$@\"";
    let directories: Vec<_> = cgroup.dirs.iter().map(|dir| dir.to_str().unwrap()).collect();
    reader.args(["-c", enter]).arg(directories.join(" "));
    reader.arg(this).arg("--read").arg(path);
    reader.args([
        setting.readers.to_string().as_str(),
        fresh,
        &setting.pause.to_string(),
        &seconds.to_string(),
    ]);
    pin(Pid::from_raw(0), setting.pinned);
    let output = reader.stderr(Stdio::inherit()).output().unwrap();
    pin(Pid::from_raw(0), false);
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    Figures { p50: numbers[0], p99: numbers[1], per_second: numbers[2] }
}

fn pin(pid: Pid, to_one: bool) {
    let mut cpus = CpuSet::new();
    let count = if to_one {
        1
    } else {
        std::thread::available_parallelism().map_or(1, usize::from).max(processors())
    };
    (0..count).for_each(|cpu| cpus.set(cpu).unwrap());
    sched_setaffinity(pid, &cpus).unwrap();
}

fn processors() -> usize {
    fs::read_to_string("/proc/cpuinfo").unwrap().lines().filter(|line| line.starts_with("processor")).count()
}

/// The reader's process: prints median and 99th percentile in microseconds, and reads a second.
pub fn run(path: &Path, readers: usize, fresh: bool, pause: f64, seconds: f64) {
    let barrier = Barrier::new(readers);
    let one = || {
        barrier.wait();
        let (started, mut times) = (Instant::now(), Vec::new());
        let mut buffer = vec![0; 16384];
        while started.elapsed().as_secs_f64() < seconds {
            let time = if fresh {
                let read = || read_once(path, &mut buffer);
                std::thread::scope(|scope| scope.spawn(read).join().unwrap())
            } else {
                read_once(path, &mut buffer)
            };
            times.push(time);
            if pause > 0.0 {
                std::thread::sleep(Duration::from_secs_f64(pause));
            }
        }
        (times, started.elapsed().as_secs_f64())
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..readers).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let per_second: f64 = results.iter().map(|(times, elapsed)| times.len() as f64 / elapsed).sum();
    let mut times: Vec<f64> = results.into_iter().flat_map(|(times, _)| times).collect();
    times.sort_by(f64::total_cmp);
    println!("{} {} {per_second}", times[times.len() / 2], times[times.len() * 99 / 100]);
}

fn read_once(path: &Path, buffer: &mut [u8]) -> f64 {
    let started = Instant::now();
    let mut file = fs::File::open(path).unwrap();
    while file.read(buffer).unwrap() > 0 {}
    drop(file);
    started.elapsed().as_secs_f64() * 1e6
}
