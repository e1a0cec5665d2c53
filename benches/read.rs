//! What reading a view costs: open, read to the end, close.
//!
//! Measured in one run against the kernel's own `/proc/meminfo`; the floor, a FUSE file system with the
//! same flags that does nothing; lxcfs, where it is installed; and another build of cgprocfs, if `CGPROCFS_OTHER_BUILD`
//! names one, as that from before a change. Times depend on the machine and on who
//! else uses it: the ratios are what counts. `cargo bench --bench read`, as root; `-- --seconds 1` makes
//! each cell shorter.
#![allow(missing_docs, clippy::unwrap_used)]

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, Request, Session, SessionACL,
};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use rustix::process::{Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant, UNIX_EPOCH};

const ROUNDS: usize = 3;
/// The other build.
const BEFORE: &str = "before";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).map(|at| &arguments[at + 1..]);
    if let Some(rest) = after("--serve-floor") {
        return serve_floor(Path::new(&rest[0]));
    }
    if let Some([path, readers, fresh, pause, seconds]) = after("--read") {
        let parse = |text: &str| text.parse::<f64>().unwrap();
        return read_loop(
            Path::new(path),
            readers.parse().unwrap(),
            fresh == "fresh",
            parse(pause),
            parse(seconds),
        );
    }
    if arguments.iter().any(|a| a == "--test") || !rustix::process::geteuid().is_root() {
        println!("nothing measured: run `cargo bench --bench read` as root");
        return;
    }
    let seconds = after("--seconds").map_or(1.0, |rest| rest[0].parse().unwrap());
    measure(seconds);
}

/// One way to read memory figures.
struct Subject {
    name: &'static str,
    path: PathBuf,
    server: Option<Server>,
}

/// A server that is ended, and its mount with it, when it goes out of scope.
struct Server {
    process: Child,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(command: impl FnOnce(&Path) -> Command, ready: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let process = command(dir.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let server = Self { process, dir };
        let deadline = Instant::now() + Duration::from_secs(5);
        while !server.dir.path().join(ready).exists() {
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.process.id().try_into().unwrap());
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let deadline = Instant::now() + Duration::from_secs(3);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        while umount2(&self.dir.path().join("live"), flags | MntFlags::MNT_FORCE).is_ok() {}
        while umount2(self.dir.path(), flags).is_ok() {}
    }
}

fn subjects() -> Vec<Subject> {
    let mut subjects = vec![Subject { name: "kernel", path: "/proc/meminfo".into(), server: None }];
    let mut add = |name, path: &str, server: Option<Server>| match server {
        Some(server) => {
            subjects.push(Subject { name, path: server.dir.path().join(path), server: Some(server) })
        }
        None => println!("{name} is not measured: it cannot be started here"),
    };
    let command = |program: &OsStr, words: &[&str], dir: &Path| {
        let mut command = Command::new(program);
        command.args(words).arg(dir);
        command
    };
    let this = std::env::current_exe().unwrap();
    let ours = env!("CARGO_BIN_EXE_cgprocfs");
    add(
        "floor",
        "meminfo",
        Server::start(|dir| command(this.as_os_str(), &["--serve-floor"], dir), "meminfo"),
    );
    add(
        "cgprocfs",
        // Not at the anchor, where the kernel's own file is before the daemon serves.
        "live/proc/meminfo",
        Server::start(|dir| command(OsStr::new(ours), &["mount"], dir), "live/proc/meminfo"),
    );
    if let Some(before) = std::env::var_os("CGPROCFS_OTHER_BUILD") {
        let start = |dir: &Path| command(&before, &["mount"], dir);
        add(BEFORE, "live/proc/meminfo", Server::start(start, "live/proc/meminfo"));
    }
    add(
        "lxcfs",
        "proc/meminfo",
        Server::start(|dir| command(OsStr::new("lxcfs"), &["-f", "--enable-loadavg"], dir), "proc/meminfo"),
    );
    subjects
}

/// How it is read.
struct Setting {
    name: &'static str,
    pinned: bool,
    readers: usize,
    fresh: bool,
    pause: f64,
}

const SETTINGS: &[Setting] = &[
    Setting { name: "1 reader, one CPU", pinned: true, readers: 1, fresh: false, pause: 0.0 },
    Setting { name: "4 readers, one CPU", pinned: true, readers: 4, fresh: false, pause: 0.0 },
    Setting { name: "1 reader, all CPUs", pinned: false, readers: 1, fresh: false, pause: 0.0 },
    Setting { name: "4 readers, all CPUs", pinned: false, readers: 4, fresh: false, pause: 0.0 },
    Setting { name: "a new thread each time, one CPU", pinned: true, readers: 1, fresh: true, pause: 0.0 },
    Setting { name: "every 110 ms, one CPU", pinned: true, readers: 1, fresh: false, pause: 0.11 },
];

#[derive(Clone, Copy)]
struct Figures {
    p50: f64,
    p99: f64,
    per_second: f64,
}

fn measure(seconds: f64) {
    let subjects = subjects();
    let cgroup = Container::new();
    for setting in SETTINGS {
        let mut best: Vec<Option<Figures>> = vec![None; subjects.len()];
        for _ in 0..ROUNDS {
            for (subject, best) in subjects.iter().zip(&mut best) {
                let figures = one_cell(subject, &subject.path, setting, &cgroup, seconds);
                if best.is_none_or(|best| figures.p50 < best.p50) {
                    *best = Some(figures);
                }
            }
        }
        print_table(setting, &subjects, &best.into_iter().flatten().collect::<Vec<_>>());
    }
    measure_views(&subjects, &cgroup, seconds);
}

/// Every view, by one reader, with everything on one CPU.
fn measure_views(subjects: &[Subject], cgroup: &Container, seconds: f64) {
    println!("\nevery view, {}", SETTINGS[0].name);
    println!(
        "{:32} {:>9} {:>12} {:>9} {:>9} {:>9}",
        "p50 us", "kernel", "cgprocfs", BEFORE, "lxcfs", "lxcfs/us"
    );
    for view in cgprocfs_core::view::ViewId::ALL {
        let path_of = |subject: &Subject| match &subject.server {
            Some(server) if ["cgprocfs", BEFORE].contains(&subject.name) => {
                server.dir.path().join("live").join(view.path())
            }
            Some(server) => server.dir.path().join(view.path()),
            None => Path::new("/").join(view.path()),
        };
        let median = |name: &str| {
            let subject = subjects.iter().find(|subject| subject.name == name)?;
            let path = path_of(subject);
            let exists = fs::read(&path).is_ok();
            let cell = || one_cell(subject, &path, &SETTINGS[0], cgroup, seconds / 2.0).p50;
            exists.then(|| (0..ROUNDS).map(|_| cell()).fold(f64::MAX, f64::min))
        };
        let [kernel, ours, before, lxcfs] = ["kernel", "cgprocfs", BEFORE, "lxcfs"].map(median);
        let shown = |number: Option<f64>| number.map_or_else(|| "-".into(), |number| format!("{number:.1}"));
        let ratio = lxcfs.zip(ours).map(|(lxcfs, ours)| lxcfs / ours);
        println!(
            "{:32} {:>9} {:>12} {:>9} {:>9} {:>9}",
            view.path(),
            shown(kernel),
            shown(ours),
            shown(before),
            shown(lxcfs),
            shown(ratio)
        );
    }
}

fn print_table(setting: &Setting, subjects: &[Subject], figures: &[Figures]) {
    let p50_of = |name| subjects.iter().zip(figures).find(|(s, _)| s.name == name).map(|(_, f)| f.p50);
    println!("\n{}", setting.name);
    println!(
        "{:10} {:>9} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9}",
        "", "p50 us", "p99 us", "reads/s", "x kernel", "x floor", "x before", "x lxcfs"
    );
    for (subject, f) in subjects.iter().zip(figures) {
        let ratio = |name| p50_of(name).map_or_else(String::new, |p50: f64| format!("{:.2}", f.p50 / p50));
        println!(
            "{:10} {:9.1} {:9.1} {:10.0} {:>10} {:>9} {:>9} {:>9}",
            subject.name,
            f.p50,
            f.p99,
            f.per_second,
            ratio("kernel"),
            ratio("floor"),
            ratio(BEFORE),
            ratio("lxcfs")
        );
    }
}

/// The cgroup of the readers in each hierarchy: a limited container.
struct Container {
    dirs: Vec<PathBuf>,
}

impl Container {
    fn new() -> Self {
        let layout = cgprocfs::kernel::CgroupMounts::detect(Path::new("/")).unwrap();
        let name = format!("cgprocfs-bench-{}", std::process::id());
        let others = [&layout.cpu, &layout.cpuacct, &layout.io].into_iter().flatten();
        let tops = std::iter::once(&layout.memory).chain(others).map(|hierarchy| &hierarchy.mount_point);
        let mut dirs: Vec<_> = tops.map(|top| top.join(&name)).collect();
        dirs.dedup();
        dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let dir = &dirs[0];
        let limit = ["memory.max", "memory.limit_in_bytes"]
            .map(|file| dir.join(file))
            .into_iter()
            .find(|f| f.exists());
        fs::write(limit.unwrap(), "268435456").unwrap();
        Self { dirs }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for _ in 0..100 {
            if self.dirs.iter().all(|dir| cgprocfs::run::remove_cgroup(dir).is_ok()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn one_cell(subject: &Subject, path: &Path, setting: &Setting, cgroup: &Container, seconds: f64) -> Figures {
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
fn read_loop(path: &Path, readers: usize, fresh: bool, pause: f64, seconds: f64) {
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

/// A file system with one file of constant text: what FUSE itself costs.
struct Floor {
    text: Vec<u8>,
}

const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

impl Floor {
    fn attributes(ino: u64) -> FileAttr {
        let (kind, perm) =
            if ino == 1 { (FileType::Directory, 0o555) } else { (FileType::RegularFile, 0o444) };
        let time = UNIX_EPOCH;
        FileAttr {
            ino: INodeNo(ino),
            size: 0,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Floor {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == "meminfo" {
            true => reply.entry(&FOR_EVER, &Self::attributes(2), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }
    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &Self::attributes(ino.0));
    }
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
    }
    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        _: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(&self.text[usize::try_from(offset).unwrap().min(self.text.len())..]);
    }
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}

fn serve_floor(dir: &Path) {
    let device = cgprocfs::mount::attach(dir, cgprocfs::mount::Writes::Nothing).unwrap();
    let text = fs::read("/proc/meminfo").unwrap();
    let mut config = Config::default();
    config.n_threads = Some(cgprocfs::fuse::QuiesceGate::default().threads());
    Session::from_fd(Floor { text }, device, SessionACL::All, config).unwrap().run().unwrap();
}
