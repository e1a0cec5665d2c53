//! What the process that serves can't do, each tried from inside: this test confines itself as the server does.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::{MOUNT, Need, Stopped, field, finish, load, output, test, wait_until};
use cgprocfs::confinement::sandbox;
use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Signal, kill_process};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, move_into_link_name_space};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IoSlice, Seek, SeekFrom, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const TRY: &str = "--try";
const CONFINED: &[Need] = &[Need::Root, Need::Program("unshare")];
const OTHERS: &[Need] = &[Need::Root, Need::Program("unshare"), Need::Program("setpriv")];

pub fn tests() -> Vec<Trial> {
    tests! {
        test(CONFINED) => [
            server_is_refused,
            server_can_do_its_work,
            namespace_reader_is_refused,
        ],
        test(OTHERS) => [
            server_of_another_user_is_refused,
            server_that_may_not_change_its_bounds_is_refused = server_without_setpcap_is_refused,
            confined_processes_are_closed_to_their_user,
        ],
        test(&[Need::Root, Need::Program("unshare"), Need::ReleaseTests]) => [release_refuses_with_an_error],
        test(MOUNT) => [
            all_threads_are_confined,
            namespace_reader_killed,
            namespace_reader_killed_without_a_keeper,
            namespace_reader_hangs,
        ],
    }
}

const WRITE_MEMORY_FILE: &str = "write to /proc/PID/mem";
/// What no list of system calls sees the flags of.
const OPENAT2_MEMORY_FILE: &str = "write to /proc/PID/mem, opened by openat2";

/// What is tried; each works for root who is not confined.
const FORBIDDEN: &[&str] = &[
    "write another process's memory",
    WRITE_MEMORY_FILE,
    OPENAT2_MEMORY_FILE,
    "trace",
    "make a process",
    "execute",
    "signal",
    "mount",
    "unmount",
    "open a file system",
    "move a mount",
    "enter a namespace",
    "make a namespace",
    "network socket",
    "netlink socket",
    "unix socket",
    "open for writing",
    "open a setting for writing",
    "truncate by opening",
    "create",
    "remove",
    "change a mode",
];

/// Tries what this process was started to try, if it was.
pub fn tried() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[..] {
        [_, mark, rest @ ..] if mark == TRY => Some(try_it(rest)),
        _ => None,
    }
}

/// Tries one thing, `confined` or `free`, and says how it went. What it needs is prepared before.
fn try_it(arguments: &[String]) -> ExitCode {
    let [how, what, target, address, directory] = arguments else { panic!("{arguments:?}") };
    if let "target" | "confined target" = how.as_str() {
        if how == "confined target" {
            sandbox::keep_only(CapabilitySet::empty()).unwrap();
        }
        // To be written to, traced and killed.
        let memory = Box::new(0_u64);
        println!("{:p}", &raw const *memory);
        io::stdin().read_line(&mut String::new()).unwrap();
        return ExitCode::SUCCESS;
    }
    let target = Pid::from_raw(target.parse().unwrap());
    let address = usize::from_str_radix(address.trim_start_matches("0x"), 16).unwrap();
    let directory = Path::new(directory);
    let file = directory.join("file");
    // Only root gets one.
    let tree = || {
        let tree = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&tree)?;
        rustix::mount::fsmount(&tree, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    let tree = tree();
    let [cgroup, mounts] = ["cgroup", "mnt"].map(|name| File::open(format!("/proc/self/ns/{name}")).unwrap());
    match how.as_str() {
        "server" => {
            sandbox::keep_only(sandbox::SERVER_CAPABILITIES).unwrap();
            sandbox::restrict_server().unwrap();
        }
        "namespace reader" => {
            sandbox::keep_only(CapabilitySet::SYS_ADMIN).unwrap();
            sandbox::restrict_namespace_reader().unwrap();
        }
        _ => {}
    }
    let tried: io::Result<()> = match what.as_str() {
        "write another process's memory" => {
            let remote = [RemoteIoVec { base: address, len: 8 }];
            process_vm_writev(target, &[IoSlice::new(&[1; 8])], &remote).map(drop).map_err(Into::into)
        }
        WRITE_MEMORY_FILE => {
            let file = File::options().write(true).open(format!("/proc/{target}/mem"));
            file.and_then(|file| write_at(&file, address))
        }
        OPENAT2_MEMORY_FILE => {
            let (path, flags) = (format!("/proc/{target}/mem"), OFlags::RDWR | OFlags::CLOEXEC);
            let opened =
                rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::empty());
            opened.map_err(Into::into).and_then(|file| write_at(&File::from(file), address))
        }
        "trace" => nix::sys::ptrace::attach(target).map_err(Into::into),
        "make a process" => Command::new("/bin/true").status().map(drop),
        "execute" => Err(Command::new("/bin/echo").arg("done").exec()),
        "signal" => nix::sys::signal::kill(target, nix::sys::signal::SIGCONT).map_err(Into::into),
        "mount" => nix::mount::mount(Some("x"), directory, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .map_err(Into::into),
        "unmount" => nix::mount::umount2("/proc", MntFlags::MNT_DETACH).map_err(Into::into),
        "open a file system" => {
            rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map(drop).map_err(Into::into)
        }
        "move a mount" => {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            rustix::mount::move_mount(tree.unwrap(), "", rustix::fs::CWD, directory, flags)
                .map_err(Into::into)
        }
        "enter a namespace" => {
            move_into_link_name_space(cgroup.as_fd(), Some(LinkNameSpaceType::ControlGroup))
                .map_err(Into::into)
        }
        "enter a mount namespace" => {
            move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(Into::into)
        }
        "make a namespace" => nix::sched::unshare(CloneFlags::CLONE_NEWUTS).map_err(Into::into),
        "network socket" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "netlink socket" => {
            rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop).map_err(Into::into)
        }
        "unix socket" => UnixDatagram::unbound().map(drop),
        "open for writing" => File::options().write(true).open("/etc/passwd").map(drop),
        "open a setting for writing" => {
            File::options().write(true).open("/proc/sys/kernel/core_pattern").map(drop)
        }
        "truncate by opening" => rustix::fs::open(&file, OFlags::RDONLY | OFlags::TRUNC, Mode::empty())
            .map(drop)
            .map_err(Into::into),
        "create" => rustix::fs::open(directory.join("new"), OFlags::RDONLY | OFlags::CREATE, Mode::RUSR)
            .map(drop)
            .map_err(Into::into),
        "remove" => fs::remove_file(&file),
        "change a mode" => fs::set_permissions(&file, fs::Permissions::from_mode(0o600)),
        "make a thread" => std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()),
        "read a file" => fs::read("/etc/passwd").map(drop),
        "see a namespace" => {
            rustix::fs::readlinkat(rustix::fs::CWD, format!("/proc/{target}/ns/mnt"), Vec::new())
                .map(drop)
                .map_err(Into::into)
        }
        what => panic!("{what}"),
    };
    match tried {
        Ok(()) => println!("done"),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}

/// By calls that the server has anyway.
fn write_at(mut file: &File, address: usize) -> io::Result<()> {
    file.seek(SeekFrom::Start(address as u64))?;
    file.write_all(&[1; 8])
}

/// Words that a command begins with to run as a user who owns nothing, with no capability but those named.
fn as_nobody(capabilities: &str) -> Vec<String> {
    let mut words =
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"].map(String::from).to_vec();
    if !capabilities.is_empty() {
        words.extend(["--inh-caps", capabilities, "--ambient-caps", capabilities].map(String::from));
    }
    words
}

/// A process that others try things on.
struct Target {
    process: Child,
    address: String,
    directory: tempfile::TempDir,
    /// What tries: this very program, or a copy of it.
    program: PathBuf,
    /// Words that whoever tries begins with.
    by: Vec<String>,
    is_release: bool,
}

impl Target {
    fn new() -> Self {
        Self::start(std::env::current_exe().unwrap(), "target", &[], Vec::new())
    }

    /// One that is started by a launcher, as what tries things on it is.
    fn start(program: PathBuf, what: &str, launcher: &[String], by: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = if launcher.is_empty() && by.is_empty() {
            program
        } else {
            // Whoever it is may come there.
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let copy = directory.path().join("program");
            crate::common::copy_program(program, &copy);
            copy
        };
        let words: Vec<&OsStr> = launcher.iter().map(OsStr::new).chain([program.as_os_str()]).collect();
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .args([TRY, what, "", "0", "0", "/"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_string(), directory, program, by, is_release: false }
    }

    /// What became of it: `done`, an error, or the signal that it died of.
    fn tried(&self, how: &str, what: &str) -> String {
        fs::write(self.directory.path().join("file"), "").unwrap();
        let pid = self.process.id().to_string();
        let mut command = Command::new("unshare");
        command
            .arg("--mount")
            .args(&self.by)
            .arg(&self.program)
            .args([TRY, how, what, &pid, &self.address])
            .arg(self.directory.path())
            .env_remove("NOTIFY_SOCKET");
        let ended = finish(&mut command);
        let _ = fs::remove_file(self.directory.path().join("new"));
        match ended.status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => String::from_utf8(ended.stdout).unwrap().trim().to_string(),
        }
    }

    fn refuses(&self, how: &str, what: &str) {
        let tried = self.tried(how, what);
        let denied = io::Error::from_raw_os_error(libc::EPERM).to_string();
        let absent = io::Error::from_raw_os_error(libc::ENOSYS).to_string();
        let killed = format!("signal {}", libc::SIGSYS);
        let is_refused = match what {
            OPENAT2_MEMORY_FILE if how == "server" => tried == absent,
            // In other builds whoever tries it dies.
            _ if self.is_release => tried == denied,
            _ => tried == denied || tried == killed,
        };
        assert!(is_refused, "{how}: {what}: {tried}");
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn server_is_refused() {
    let target = Target::new();
    for what in FORBIDDEN {
        assert_eq!(target.tried("free", what), "done", "{what}: it proves nothing to refuse this");
        target.refuses("server", what);
    }
}

/// As under the unit, where the server has a capability and is not root: what looks into namespaces has another one, and the
/// same user.
fn server_of_another_user_is_refused() {
    let program = std::env::current_exe().unwrap();
    let target = Target::start(program, "target", &as_nobody("+sys_admin"), as_nobody("+sys_ptrace"));
    for what in ["write another process's memory", "trace", WRITE_MEMORY_FILE, OPENAT2_MEMORY_FILE] {
        assert_eq!(target.tried("free", what), "done", "{what}: it proves nothing to refuse this");
        target.refuses("server", what);
    }
    for what in ["make a thread", "read a file", "see a namespace"] {
        assert_eq!(target.tried("server", what), "done", "{what}");
    }
}

/// As in a pod that is given no more than it needs.
fn server_without_setpcap_is_refused() {
    let without =
        ["setpriv", "--bounding-set", "-setpcap", "--inh-caps", "-setpcap"].map(String::from).to_vec();
    let target = Target::start(std::env::current_exe().unwrap(), "target", &[], without);
    for what in FORBIDDEN {
        assert_eq!(target.tried("free", what), "done", "{what}: it proves nothing to refuse this");
        target.refuses("server", what);
    }
    assert_eq!(target.tried("server", "see a namespace"), "done");
}

/// What looks into namespaces, or serves, can't be traced by whoever else is of its user.
fn confined_processes_are_closed_to_their_user() {
    let [open, closed] = ["target", "confined target"]
        .map(|what| Target::start(std::env::current_exe().unwrap(), what, &as_nobody(""), as_nobody("")));
    if open.tried("free", "trace") != "done" {
        println!("confinement: nobody traces another process here anyway");
    }
    assert_eq!(closed.tried("free", "trace"), io::Error::from_raw_os_error(libc::EPERM).to_string());
    let denied = io::Error::from_raw_os_error(libc::EACCES).to_string();
    assert_eq!(closed.tried("free", WRITE_MEMORY_FILE), denied);
}

/// What a release refuses is an error, and not the end of the server for all.
fn release_refuses_with_an_error() {
    let program = crate::common::release_tests().unwrap();
    let mut target = Target::start(program, "target", &[], Vec::new());
    target.is_release = true;
    FORBIDDEN.iter().for_each(|what| target.refuses("server", what));
}

fn server_can_do_its_work() {
    let target = Target::new();
    for what in ["make a thread", "read a file", "see a namespace"] {
        assert_eq!(target.tried("server", what), "done", "{what}");
    }
}

fn namespace_reader_is_refused() {
    let target = Target::new();
    let others = ["read a file", "make a thread", "enter a mount namespace"];
    for what in FORBIDDEN.iter().copied().filter(|what| *what != "enter a namespace").chain(others) {
        target.refuses("namespace reader", what);
    }
    assert_eq!(target.tried("namespace reader", "enter a namespace"), "done");
}

const PTRACE: u64 = 1 << 19;
const ADMIN: u64 = 1 << 21;

/// Of every thread of a process: its capabilities that are inheritable, permitted, effective, ambient, and those that it
/// is bounded to; then whether it has no new privileges, and how its system calls are restricted.
fn confinement(pid: u32) -> Vec<([u64; 5], [String; 2])> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).ok()?;
        let value =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_string();
        let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "CapBnd:"];
        let sets = sets.map(|key| u64::from_str_radix(&value(key), 16).unwrap());
        Some((sets, ["NoNewPrivs:", "Seccomp:"].map(value)))
    };
    threads.filter_map(of_thread).collect()
}

fn all_threads_are_confined() {
    for options in [&["--supervise"][..], &[], &["--supervise", "--triggers"]] {
        let daemon = Daemon::start_with(&[], options, &[]);
        let server = server(&daemon);
        // What starts threads of its own: load is followed once it was asked for.
        fs::read(daemon.path("proc/loadavg")).unwrap();
        let threads = confinement(server);
        assert!(threads.len() >= 4, "{threads:?}");
        for thread in threads {
            let expected = ([0, PTRACE, PTRACE, 0, PTRACE], ["1", "2"].map(str::to_string));
            assert_eq!(thread, expected, "{options:?}");
        }
        // What the namespace reader and the steward have.
        let mut helpers: Vec<_> = load::children(server).into_iter().flat_map(confinement).collect();
        helpers.sort();
        let helper = |seccomp: &str| ([0, ADMIN, ADMIN, 0, ADMIN], ["1", seccomp].map(str::to_string));
        assert_eq!(helpers, [helper("0"), helper("2")], "{options:?}");
    }
}

/// The process that serves: the daemon, or its child.
fn server(daemon: &Daemon) -> u32 {
    let program = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let children = daemon.children();
    children.into_iter().find(|pid| program(pid).contains("--supervised")).unwrap_or(daemon.pid())
}

fn namespace_reader(server: u32) -> u32 {
    let is_it = |pid: &u32| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.contains(cgprocfs::confinement::namespace_reader::COMMAND)
    };
    load::children(server).into_iter().find(is_it).unwrap()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Reads as the first process of a cgroup namespace of its own.
fn in_new_namespace(daemon: &Daemon, cgroup: &Cgroup) -> Command {
    cgroup.command(&["unshare", "--cgroup", "cat", &daemon.meminfo()])
}

fn namespace_reader_killed() {
    let daemon = Daemon::start_with(&[], &["--supervise"], &[]);
    let cgroup = Cgroup::new().limit(64);
    let total = || field(&output(&mut in_new_namespace(&daemon, &cgroup)), "MemTotal");
    assert_eq!(total(), 64 << 10);
    let before = server(&daemon);
    signal(namespace_reader(before), Signal::KILL);
    assert_eq!(total(), 64 << 10, "the next server answers: {}", daemon.log());
    assert_ne!(server(&daemon), before);
}

fn namespace_reader_killed_without_a_keeper() {
    let mut daemon = Daemon::start();
    let cgroup = Cgroup::new().limit(64);
    assert_eq!(field(&output(&mut in_new_namespace(&daemon, &cgroup)), "MemTotal"), 64 << 10);
    signal(namespace_reader(server(&daemon)), Signal::KILL);
    finish(&mut in_new_namespace(&daemon, &cgroup));
    assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
    let text = output(&mut in_new_namespace(&daemon, &cgroup));
    assert_eq!(field(&text, "MemTotal"), crate::common::host_total(), "the kernel's own file");
}

/// It costs its own reader an error, and nobody else anything.
fn namespace_reader_hangs() {
    let daemon = Daemon::start_with(&[], &["--supervise"], &[]);
    let (cgroup, other) = (Cgroup::new().limit(64), Cgroup::new().limit(128));
    let server = server(&daemon);
    let stopped = Stopped::new(namespace_reader(server));
    let start = Instant::now();
    let ended = finish(&mut in_new_namespace(&daemon, &cgroup));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("Resource temporarily unavailable"), "{said}: {}", daemon.log());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // One that needs no look, and one that comes to know that none is to be had.
    assert_eq!(field(&output(&mut other.command(&["cat", &daemon.meminfo()])), "MemTotal"), 128 << 10);
    let start = Instant::now();
    assert!(!finish(&mut in_new_namespace(&daemon, &cgroup)).status.success());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(stopped);
    wait_until("it answers again", || finish(&mut in_new_namespace(&daemon, &cgroup)).status.success());
    assert_eq!(self::server(&daemon), server, "it is the same server");
}
