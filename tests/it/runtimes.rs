//! Our working set against what container runtimes compute, to the byte: containerd's metrics and docker's.

mod containerd;
mod docker;

use crate::common::daemon::Daemon;
use crate::common::helper::Running;
use crate::common::{Stopped, cgprocfs, helper, output};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub fn tests() -> Vec<Trial> {
    [containerd::tests(), docker::tests()].into_iter().flatten().collect()
}

const MIB: u64 = 1 << 20;

/// What the container's workload has, of each kind.
const ANON: u64 = 20 * MIB;

const CACHE: u64 = 24 * MIB;

const LIMIT: u64 = 128 * MIB;

/// The workload: anonymous memory in a variable of the shell, and a file written, a third of it then read
/// twice more, so that there is both active and inactive page cache. The last file says that all of it
/// is there. A last command that is not the sleep keeps the shell from becoming it, which would free the
/// variable.
const WORK: &str = "x=$(busybox head -c 20971520 /dev/zero | busybox tr '\\0' x); \
    busybox dd if=/dev/zero of=/file bs=1M count=24 2>/dev/null; busybox sync; \
    for i in 1 2; do busybox dd if=/file of=/dev/null bs=1M count=8 2>/dev/null; done; \
    echo ${#x} >/done; busybox sleep 600; :";

/// A daemon that runs containers, in its own mount and process namespaces. When the first process of a
/// process namespace dies the kernel kills all others in it, shims and containers too, and with them go the
/// mounts: so nothing needs to be looked for. The private /run keeps the sockets and states of two at once
/// apart, and from those of the machine.
struct Runtime {
    process: Child,
    /// The first process in the namespaces.
    init: u32,
    /// The parent of its containers' cgroups.
    cgroup: String,
    /// On a disk, not in memory: what containers write there has to be page cache.
    dir: TempDir,
}

impl Runtime {
    /// Starts one that serves once `socket` answers.
    fn start(socket: &str, arguments: impl Fn(&Path) -> Vec<String>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("cgprocfs-test-runtime-{}-{count}", std::process::id());
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        // Should the test itself be killed, the kernel ends this too.
        let process = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", "mount -t tmpfs none /run && exec \"$@\"", "sh"])
            .args(arguments(dir.path()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut runtime = Self { process, init: 0, cgroup, dir };
        runtime.wait("the namespaces are there", |it| {
            it.init = it.first_child().unwrap_or(0);
            it.init != 0
        });
        // A mount of /run comes before the program: no socket of the machine's is ever taken for ours.
        runtime.wait("the runtime answers", |it| {
            let mounts = fs::read_to_string(format!("/proc/{}/mounts", it.init)).unwrap_or_default();
            mounts.lines().any(|line| line.starts_with("none /run tmpfs"))
                && UnixStream::connect(it.inside(socket)).is_ok()
        });
        runtime
    }

    /// Waits, longer than for things of our own; a failure shows what the runtime said.
    fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        while !done(self) {
            let ended = self.process.try_wait().unwrap();
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(ended.is_none(), "{what}: it ended with {ended:?}:\n{}", log());
            assert!(Instant::now() < deadline, "timed out: {what}:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn first_child(&self) -> Option<u32> {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// A path as the runtime sees it.
    fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// A client of it, in its namespaces.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-p", program]);
        command
    }

    /// A root file system for containers, with busybox alone. It is static.
    fn rootfs(&self) -> PathBuf {
        let root = self.dir.path().join("rootfs");
        for directory in ["bin", "proc", "sys", "dev", "etc"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for name in ["busybox", "sh"] {
            fs::copy("/bin/busybox", root.join("bin").join(name)).unwrap();
        }
        root
    }

    /// Waits until the container has its memory, and stops it. `name` is the last part of its cgroup's path.
    fn container(&mut self, name: &str) -> Container {
        let cgroup = Path::new("/sys/fs/cgroup/memory").join(&self.cgroup).join(name);
        let mut pids = Vec::new();
        self.wait("the container's workload is done", |_| {
            let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            pids = text.lines().map(|line| line.parse().unwrap()).collect();
            pids.iter().any(|pid: &u32| {
                let done = fs::read_to_string(format!("/proc/{pid}/root/done")).unwrap_or_default();
                done.trim() == ANON.to_string()
            })
        });
        // The shell that has said so is about to start another process.
        std::thread::sleep(Duration::from_millis(500));
        let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
        let pids: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2, "the shell and its sleep");
        // Not by the freezer: the frozen cannot be killed.
        Container { init: pids[0], _stopped: pids.into_iter().map(Stopped::new).collect(), cgroup }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Its first process, not unshare: that one ends when everybody in the namespaces has.
        let init = Pid::from_raw(self.init.try_into().unwrap_or(0));
        if let (Some(init), Ok(None)) = (init, self.process.try_wait()) {
            let _ = kill_process(init, Signal::KILL);
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let cgroup = hierarchy.path().join(&self.cgroup);
            let deadline = Instant::now() + Duration::from_secs(5);
            while cgroup.is_dir()
                && cgprocfs::run::remove_cgroup(&cgroup).is_err()
                && Instant::now() < deadline
            {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A container whose processes are stopped.
struct Container {
    init: u32,
    _stopped: Vec<Stopped>,
    cgroup: PathBuf,
}

impl Container {
    /// Demands that `theirs`, a pair of usage and inactive page cache, gives our working set. Returns the
    /// reader, which is part of it while it lives.
    fn compare(&self, daemon: &Daemon, what: &str, theirs: impl Fn() -> (u64, u64)) -> Running {
        // A reader that starts in the container would change what it reads, so it is there before, and opens
        // nothing after.
        let words = helper::command("reread", &[&daemon.working_set()]);
        let mut join = Command::new("sh");
        join.args(["-c", "echo 0 >\"$0\" && exec \"$@\""]).arg(self.cgroup.join("cgroup.procs")).args(words);
        let mut reader = helper::start(&mut join);
        reader.ask();
        let mut rounds = Vec::new();
        // The kernel writes its per-CPU counts down every two seconds. What it charges to a CPU in advance it
        // may give back between two reads: then they differ once.
        for _ in 0..3 {
            std::thread::sleep(Duration::from_secs(5));
            let (usage, inactive) = theirs();
            let mounted: u64 = reader.ask().parse().unwrap();
            let pid = self.init.to_string();
            let shown: u64 =
                output(cgprocfs().args(["show", "--pid", &pid, "working_set"])).trim().parse().unwrap();
            rounds.push(format!(
                "{what}: {usage} - {inactive} = {}; mounted {mounted}, shown {shown}",
                usage - inactive
            ));
            println!("{}", rounds.last().unwrap());
            if mounted == usage - inactive && shown == mounted {
                assert!(mounted >= ANON, "it lacks the anonymous memory: {rounds:?}");
                assert!(mounted < LIMIT, "{rounds:?}");
                assert!(usage >= ANON + CACHE, "the usage lacks the page cache: {rounds:?}");
                assert!(inactive >= MIB, "nothing is subtracted, so nothing is tested: {rounds:?}");
                return reader;
            }
        }
        panic!("never equal: {rounds:#?}");
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}
