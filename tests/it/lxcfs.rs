//! In the place of lxcfs: one plain tree, its command line, and LXC's containers with its hook.

mod containers;

use crate::common::cgroup::Cgroup;
use crate::common::{MOUNT, cgprocfs_path, finish, helper, load, output, test, wait_until};
use libtest_mimic::Trial;
use nix::mount::{MntFlags, umount2};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

pub fn tests() -> Vec<Trial> {
    let own = tests! {
        test(MOUNT) => [
            plain_tree,
            command_line_and_signals,
            beside_another,
            variables_are_no_options_of_the_child,
            refused,
        ],
    };
    [own, containers::tests()].into_iter().flatten().collect()
}

const LIMIT: u64 = 64;

/// One that runs, and is ended with its mounts when it goes out of scope.
struct Lxcfs {
    process: Child,
    directory: tempfile::TempDir,
}

impl Lxcfs {
    /// Starts it by the name of lxcfs.
    fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    fn start_with(options: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("cgprocfs-test-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        output(Command::new("chmod").arg("755").arg(directory.path()));
        fs::create_dir(at("tree")).unwrap();
        fs::create_dir(at("run")).unwrap();
        symlink(cgprocfs_path(), at("lxcfs")).unwrap();
        let process = Command::new(at("lxcfs"))
            .args(options)
            .arg("--runtime-dir")
            .arg(at("run"))
            .arg(at("tree"))
            .env_remove("RUST_LOG")
            .envs(environment.iter().copied())
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let mut started = Self { process, directory };
        wait_until("it serves", || {
            let ended = started.process.try_wait().unwrap();
            assert_eq!(ended, None, "{}", started.log());
            started.log().contains("serving") && started.tree("proc/meminfo").exists()
        });
        started
    }

    /// The same once more, with another directory for what it has at run time.
    fn command(&self, run: &str) -> Command {
        let mut command = Command::new(self.at("lxcfs"));
        command.arg("--runtime-dir").arg(self.at(run)).arg(self.at("tree"));
        command
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tree(&self, file: &str) -> PathBuf {
        self.at("tree").join(file)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap()
    }

    fn signal(&self, pid: u32, signal: Signal) {
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    fn server(&self) -> u32 {
        load::children(self.process.id()).first().copied().unwrap_or(0)
    }

    /// The line of the mount table for a path.
    fn mount_at(&self, name: &str) -> Option<String> {
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let path = format!(" {} ", self.at(name).display());
        table.lines().rfind(|line| line.contains(&path)).map(str::to_string)
    }

    fn end(&mut self) -> ExitStatus {
        self.signal(self.process.id(), Signal::TERM);
        let mut status = None;
        wait_until("it ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Lxcfs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it said:\n{}", self.log());
        }
        let _ = finish(Command::new(cgprocfs_path()).arg("unmount").arg(self.at("run/lxcfs")));
        let _ = self.process.kill();
        let _ = self.process.wait();
        let flags = MntFlags::MNT_FORCE | MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        for mounted in ["tree", "run/lxcfs/live", "run/lxcfs", "elsewhere/lxcfs/live", "elsewhere/lxcfs"] {
            while umount2(&self.at(mounted), flags).is_ok() {}
        }
    }
}

fn total(text: &str) -> u64 {
    crate::common::field(text, "MemTotal")
}

/// The whole file system is at one path, with nothing mounted below it, and a server that dies is replaced
/// there, too.
fn plain_tree() {
    let mut lxcfs = Lxcfs::start(&["-f"]);
    let cgroup = Cgroup::new().limit(LIMIT);
    let read = |file: &str| output(&mut cgroup.command(&["cat", lxcfs.tree(file).to_str().unwrap()]));
    let mount = lxcfs.mount_at("tree").unwrap();
    assert!(mount.starts_with("cgprocfs ") && mount.contains(" fuse.lxcfs "), "{mount}");
    let below = format!("{}/", lxcfs.at("tree").display());
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(&below));
    for file in ["cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime", "pressure/memory"] {
        assert!(!read(&format!("proc/{file}")).is_empty() || file == "diskstats", "{file}");
    }
    // By which LXC's hook knows that it may bind the directory.
    assert!(lxcfs.tree("sys/devices/system/cpu/uevent").exists());
    assert_eq!(total(&read("proc/meminfo")), LIMIT << 10);
    for _ in 0..5 {
        let before = lxcfs.server();
        lxcfs.signal(before, Signal::KILL);
        assert_eq!(total(&read("proc/meminfo")), LIMIT << 10);
        wait_until("another serves", || ![0, before].contains(&lxcfs.server()));
    }
    assert!(lxcfs.end().success());
    assert_eq!(lxcfs.mount_at("tree"), None);
    assert!(fs::read_dir(lxcfs.at("tree")).unwrap().next().is_none());
    assert_eq!(lxcfs.mount_at("run/lxcfs"), None, "nobody has bound an anchor");
}

/// What webhooks, Incus and units say to lxcfs, and the signals that they send.
fn command_line_and_signals() {
    let mut lxcfs = Lxcfs::start(&["-l", "--enable-cfs", "--enable-pidfd", "-o", "nonempty", "-u"]);
    let pid_file = lxcfs.at("run/lxcfs.pid");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{}\n", lxcfs.process.id()));
    assert!(lxcfs.log().contains("--disable-swap is not supported"), "{}", lxcfs.log());

    // Another one for the same.
    let twice = finish(
        Command::new(lxcfs.at("lxcfs")).arg("--runtime-dir").arg(lxcfs.at("run")).arg(lxcfs.at("tree")),
    );
    assert_eq!(twice.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("runs already"), "{twice:?}");

    let cgroup = Cgroup::new().limit(LIMIT);
    let file = lxcfs.tree("proc/meminfo");
    let read = || total(&output(&mut cgroup.command(&["cat", file.to_str().unwrap()])));
    let before = lxcfs.server();
    lxcfs.signal(lxcfs.process.id(), Signal::USR1);
    wait_until("another serves", || {
        assert_eq!(read(), LIMIT << 10);
        ![0, before].contains(&lxcfs.server())
    });
    let before = lxcfs.server();
    lxcfs.signal(lxcfs.process.id(), Signal::USR2);
    wait_until("that is said", || lxcfs.log().contains("SIGUSR2"));
    assert_eq!((read(), lxcfs.server()), (LIMIT << 10, before));
    assert!(lxcfs.end().success());
    assert!(!pid_file.exists());
}

/// What another one has mounted at a path is neither covered nor taken away, and a path may be written in
/// more than one way.
fn beside_another() {
    let mut lxcfs = Lxcfs::start(&["-f"]);
    let (elsewhere, link) = (lxcfs.at("elsewhere"), lxcfs.at("link"));
    fs::create_dir(&elsewhere).unwrap();
    symlink(lxcfs.directory.path(), &link).unwrap();
    let tree = format!(" {} ", lxcfs.at("tree").display());
    let mounts = || {
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        table.lines().filter(|line| line.contains(&tree)).count()
    };
    for tree in [lxcfs.at("tree"), lxcfs.at("tree").join(""), link.join("tree")] {
        let mut second = Command::new(cgprocfs_path());
        let said = finish(second.arg("lxcfs").arg("--runtime-dir").arg(&elsewhere).arg(&tree));
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(1) && text.contains("already mounted"), "{text}");
        assert_eq!(mounts(), 1, "{}", tree.display());
    }
    let left = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!left.contains(&format!(" {}", elsewhere.display())), "{left}");
    // Its anchors stay, since somebody has bound one; and another one serves the tree when it is started
    // again.
    let cgroup = Cgroup::new().limit(LIMIT);
    let anchor = lxcfs.at("run/lxcfs/proc/meminfo");
    let reader = helper::command("reopen", &["/proc/meminfo"]);
    let _bound = load::bound(&[], &cgroup, anchor.to_str().unwrap(), &reader);
    assert!(lxcfs.end().success());
    assert_eq!(lxcfs.mount_at("tree"), None);
    assert!(lxcfs.mount_at("run/lxcfs").is_some());
    let mut other = lxcfs.command("elsewhere").stderr(Stdio::null()).spawn().unwrap();
    wait_until("the other one serves", || lxcfs.mount_at("tree").is_some());
    let served = lxcfs.mount_at("tree");
    let said = finish(&mut lxcfs.command("run"));
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    let is_there = lxcfs.mount_at("tree") == served && mounts() == 1;
    lxcfs.signal(other.id(), Signal::TERM);
    assert!(other.wait().unwrap().success());
    assert!(is_there && said.status.code() == Some(1) && text.contains("already mounted"), "{text}");
}

/// The command line's word counts, not that of a variable.
fn variables_are_no_options_of_the_child() {
    let mut lxcfs = Lxcfs::start_with(
        &["--enable-cfs"],
        &[("CGPROCFS_CPU_VIEW", "cpuset"), ("CGPROCFS_VIEWS", "meminfo")],
    );
    let status = fs::read_to_string(lxcfs.tree(".status")).unwrap();
    assert!(status.contains("\"cpu_view\":\"quota\""), "{status}");
    assert!(lxcfs.end().success());
}

/// What `lxcfs` can't do it says in one line, with the exit code that scripts expect.
fn refused() {
    let lxcfs = |words: &[&OsStr]| {
        let said = finish(Command::new(cgprocfs_path()).arg("lxcfs").args(words));
        let text =
            String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
        (said.status.code(), text)
    };
    let (code, text) = lxcfs(&[]);
    assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
    let (code, text) = lxcfs(&["--no-such-option".as_ref(), "/x".as_ref()]);
    assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let (code, text) = lxcfs(&["--runtime-dir".as_ref(), directory.path().as_ref(), missing.as_ref()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("does not exist"), "{text}");
    let (code, text) = lxcfs(&["-v".as_ref()]);
    assert!(code == Some(0) && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
}
