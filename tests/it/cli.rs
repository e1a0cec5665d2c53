//! What a person is told: one line that says what is wrong and what to do, and a telling exit code.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, Foreground};
use crate::common::{MOUNT, Need, cgprocfs, field, finish, output, test};
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[]) => [
            usage_errors,
            help_and_version,
            show_own_view,
            show_errors,
            manual_pages_and_completions,
            capture_errors,
            captures_that_lack_something,
        ],
        test(&[Need::Root]) => [
            capture_says_what_show_says,
            capture_is_bounded,
            capture_without_root,
            show_without_root,
            mount_without_root,
            no_device,
            no_memory_controller,
        ],
        test(MOUNT) => [
            mount_point_errors,
            already_mounted,
            stopped_daemon,
            dead_mount,
            inside_a_cgroup_namespace,
            journal_levels,
            notifies_systemd,
        ],
        test(&[Need::Program("systemd-analyze")]) => [
            unit_is_clean,
        ],
    }
}

/// A page for every command that a person uses, and completions that know its options.
fn manual_pages_and_completions() {
    let directory = tempfile::tempdir().unwrap();
    for what in ["man", "completions"] {
        output(cgprocfs().arg("generate").arg(what).arg(directory.path()));
    }
    for command in ["mount", "unmount", "show", "capture", "run"] {
        let page = fs::read_to_string(directory.path().join(format!("cgprocfs-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains(command), "{page}");
    }
    for file in ["cgprocfs.bash", "_cgprocfs", "cgprocfs.fish"] {
        let text = fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(text.contains("supervise"), "{file}: {text}");
    }
    fails(cgprocfs().args(["generate", "man", "/nonexistent"]), 1, "name a directory that can be written to");
    fails(cgprocfs().args(["generate", "completions", "/nonexistent"]), 1, "cannot write to /nonexistent");
}

/// Runs it and expects one line on stderr that begins with the program's name.
fn fails(command: &mut Command, code: i32, message: &str) {
    let output = finish(command);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{command:?}: {stderr}");
    assert!(stderr.starts_with("cgprocfs: ") && stderr.contains(message), "{command:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{command:?}");
}

fn usage_errors() {
    for (arguments, message) in [
        (&["--nonsense"][..], "unexpected argument '--nonsense'"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
        (&["mout"], "'mout'; did you mean `mount`?; see `cgprocfs --help`"),
        (&["run", "--memry", "1M", "--", "true"], "'--memry' found; did you mean `--memory`?"),
        (&["show", "--cpu-view", "quot"], "did you mean `quota`?"),
        (
            &["run", "--views", "memnfo", "--", "true"],
            "there is no view \"memnfo\"; did you mean `proc/meminfo`?",
        ),
        (&[], "a command is missing"),
        (&["run"], "missing: <COMMAND>...; see `cgprocfs run --help`"),
        (&["run", "--memory", "12Q", "--", "true"], "'12Q' for '--memory <SIZE>': not a size: write"),
        (&["run", "--memory", "--", "true"], "--memory <SIZE>"),
        (&["run", "--refresh", "0ms", "--", "true"], "not a time: write"),
        (&["run", "--refresh", "fast", "--", "true"], "not a time: write"),
        (&["show", "--pid", "x"], "'x' for '--pid <PID>'"),
        (
            &["run", "--views", "meminfo,nothing", "--", "true"],
            "there is no view \"nothing\"; the views are proc/",
        ),
        (&["mount", "/a", "/b"], "unexpected argument '/b'"),
    ] {
        fails(cgprocfs().args(arguments), 2, message);
    }
}

fn help_and_version() {
    assert!(output(cgprocfs().arg("--help")).contains("Usage: cgprocfs"));
    assert!(output(cgprocfs().args(["run", "--help"])).contains("--memory <SIZE>"));
    assert_eq!(output(cgprocfs().arg("--version")), concat!("cgprocfs ", env!("CARGO_PKG_VERSION"), "\n"));
}

fn show_own_view() {
    let text = output(cgprocfs().arg("show"));
    assert!(text.starts_with("MemTotal:") && field(&text, "MemAvailable") <= field(&text, "MemTotal"));
    assert!(output(cgprocfs().args(["show", "working_set"])).trim().parse::<u64>().is_ok());
    let parent = std::process::id().to_string();
    assert!(output(cgprocfs().args(["show", "proc/meminfo", "--pid", &parent])).starts_with("MemTotal:"));
}

fn show_errors() {
    fails(
        cgprocfs().args(["show", "nothing"]),
        1,
        "there is no view \"nothing\"; the views are proc/meminfo",
    );
    fails(cgprocfs().args(["show", "--pid", "4194305"]), 1, "process 4194305 is gone");
    fails(cgprocfs().args(["show", "--pid", "0"]), 1, "there is no process 0");
}

fn capture_of(pid: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    output(cgprocfs().args(["capture", "--pid", &pid.to_string()]).arg(dir.path()));
    dir
}

/// Somebody in a cgroup who does nothing.
struct Idle(Option<Child>);

impl Idle {
    fn new(mut command: Command) -> Self {
        let idle = Self(Some(command.spawn().unwrap()));
        let status = format!("/proc/{}/comm", idle.pid());
        crate::common::wait_until("it sleeps", || {
            fs::read_to_string(&status).is_ok_and(|name| name == "sleep\n")
        });
        idle
    }

    fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let child = self.0.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn capture_says_what_show_says() {
    let pod = Cgroup::new().limit(64);
    let container = pod.child("container").limit(32);
    let secret = container.child("a-secret-name");
    let idle = Idle::new(container.command(&["sleep", "1000"]));
    let below = Idle::new(secret.command(&["sleep", "1001"]));
    let show = |arguments: &[&str]| output(cgprocfs().arg("show").args(arguments));
    let pid = idle.pid().to_string();
    let mut captured = None;
    // What the kernel has yet to give back of the program's start may go meanwhile.
    crate::common::wait_until("its numbers stand still", || {
        let before = show(&["working_set", "--pid", &pid]);
        let dir = capture_of(idle.pid());
        let same = before == show(&["working_set", "--pid", &pid]);
        captured = same.then_some((dir, before));
        same
    });
    let (dir, working_set) = captured.unwrap();
    let root = dir.path().to_str().unwrap();
    assert_eq!(show(&["--root", root, "working_set"]), working_set);
    assert_eq!(fs::read_to_string(dir.path().join("expected/working_set")).unwrap(), working_set);
    let meminfo = show(&["--root", root, "--pid", &pid, "meminfo"]);
    assert_eq!(field(&meminfo, "MemTotal"), 32 << 10);
    assert_eq!(field(&meminfo, "MemTotal"), field(&show(&["meminfo", "--pid", &pid]), "MemTotal"));
    for view in ["cpuinfo", "cpu/online", "cpu/present", "swaps", "slabinfo"] {
        // The kernel tells the frequency of the moment.
        let still = |text: String| {
            text.lines().filter(|line| !line.contains("MHz")).map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(still(show(&["--root", root, view])), still(show(&[view, "--pid", &pid])), "{view}");
    }
    let tasks = |text: &str| text.split(' ').nth(3).map(str::to_string);
    let load = show(&["--root", root, "loadavg"]);
    assert_eq!(tasks(&load), tasks(&show(&["loadavg", "--pid", &pid])), "{load}");
    let all = show(&["--root", root]);
    assert!(all.starts_with("==> proc/meminfo <==\nMemTotal:"), "{all}");
    assert!(all.contains(&format!("\n==> working_set <==\n{working_set}")), "{all}");
    // Neither names of others nor what they run, in a file or its name.
    let hits =
        finish(Command::new("grep").args(["-rlE", "a-secret-name|sleep .*100|\\(sleep\\)"]).arg(dir.path()));
    assert_eq!(String::from_utf8(hits.stdout).unwrap(), "");
    let named = output(Command::new("find").arg(dir.path()).args(["-name", "a-secret-name"]));
    assert_eq!(named, "");
    drop((idle, below));
    secret.remove();
    container.remove();
    pod.remove();
}

/// Whatever a tenant makes below its cgroup, or nests itself in.
fn capture_is_bounded() {
    let container = Cgroup::new().limit(64);
    let mut deep = vec![container.child("d")];
    // As long a path as one can be entered by; that of the copy is longer.
    loop {
        let last = deep.last().unwrap();
        let left = 4060 - last.dir.as_os_str().len();
        if left < 2 {
            break;
        }
        let next = last.child("d".repeat((left - 1).min(60)));
        deep.push(next);
    }
    let idle = Idle::new(deep.last().unwrap().command(&["sleep", "1000"]));
    let dir = capture_of(idle.pid());
    let pid = idle.pid().to_string();
    let show = |arguments: &[&str]| output(cgprocfs().arg("show").args(arguments));
    let root = dir.path().to_str().unwrap();
    assert_eq!(
        field(&show(&["--root", root]), "MemTotal"),
        field(&show(&["--pid", &pid]), "MemTotal"),
        "longer than the longest path that the kernel takes"
    );
    drop(idle);
    deep.into_iter().rev().for_each(Cgroup::remove);
    container.remove();
}

fn capture_errors() {
    let dir = tempfile::tempdir().unwrap();
    fail_to_capture(dir.path(), &["--pid", "4194305"], "process 4194305 is gone; name one that runs");
    fail_to_capture(dir.path(), &["--pid", "0"], "there is no process 0");
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("mine"), "").unwrap();
    fail_to_capture(full.path(), &[], "is not empty; name a directory that is, or that does not exist");
    assert_eq!(fs::read_dir(full.path()).unwrap().count(), 1);
    fail_to_capture(&full.path().join("mine"), &[], "name a directory where there is room and you may write");
    fails(cgprocfs().arg("capture"), 2, "missing: <DIRECTORY>; see `cgprocfs capture --help`");
}

fn fail_to_capture(directory: &Path, arguments: &[&str], message: &str) {
    fails(cgprocfs().arg("capture").arg(directory).args(arguments), 1, message);
}

fn captures_that_lack_something() {
    let empty = tempfile::tempdir().unwrap();
    fails(
        cgprocfs().args(["show", "--root"]).arg(empty.path()),
        1,
        "has no directory `proc`, nor one `root`",
    );
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-processors");
    let pid = fs::read_to_string(fixture.join("reader")).unwrap().trim().to_string();
    for (file, message) in [
        ("reader", "does not say which process reads; name one with --pid"),
        ("root/proc/meminfo", "lacks proc/meminfo; add it, or capture it again"),
        ("root/proc/self/mountinfo", "lacks proc/self/mountinfo"),
        ("root/proc/PID/cgroup", "lacks proc/PID/cgroup"),
        ("root/proc/PID/ns/pid", "lacks proc/PID/ns/pid"),
        ("root/proc/stat", "lacks proc/stat"),
        ("root/proc/PID/stat", "lacks proc/PID/stat"),
        ("root/sys/fs/cgroup/memory/cgroup.procs", "lacks sys/fs/cgroup/memory/cgroup.procs"),
        ("root/sys/devices/system/cpu/online", "lacks sys/devices/system/cpu/online"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        output(Command::new("cp").arg("-a").arg(fixture.join(".")).arg(copy.path()));
        output(cgprocfs().args(["show", "stat", "--root"]).arg(copy.path()));
        fs::remove_file(copy.path().join(file.replace("PID", &pid))).unwrap();
        let message = message.replace("PID", &pid);
        fails(cgprocfs().args(["show", "stat", "--root"]).arg(copy.path()), 1, &message);
    }
    let swap = fixture.parent().unwrap().join("v2-swap-taken-by-sibling");
    for level in ["pod", "pod/ctr"] {
        let at = format!("sys/fs/cgroup/{level}");
        for (file, message) in [
            ("memory.current", format!("lacks {at}/memory.current; add it, or capture it again")),
            ("memory.max", format!("lacks {at}/memory.max")),
            ("memory.stat", format!("lacks {at}/memory.stat")),
            ("memory.swap.current", format!("lacks the cgroup's file {level}/memory.swap.current")),
            ("memory.swap.max", format!("lacks the cgroup's file {level}/memory.swap.max")),
        ] {
            let copy = tempfile::tempdir().unwrap();
            output(Command::new("cp").arg("-a").arg(swap.join(".")).arg(copy.path()));
            fs::remove_file(copy.path().join("root").join(&at).join(file)).unwrap();
            fails(cgprocfs().args(["show", "meminfo", "--root"]).arg(copy.path()), 1, &message);
        }
    }
    let copy = tempfile::tempdir().unwrap();
    output(Command::new("cp").arg("-a").arg(fixture.join(".")).arg(copy.path()));
    fs::write(copy.path().join("page-size"), "12345\n").unwrap();
    fails(
        cgprocfs().args(["show", "--root"]).arg(copy.path()),
        1,
        "is of a machine with pages of 12345 bytes",
    );
}

fn capture_without_root() {
    let (dir, mut command) = as_nobody();
    let into = dir.path().join("capture");
    fs::create_dir(&into).unwrap();
    output(Command::new("chown").arg("65534").arg(&into));
    output(Command::new("chmod").arg("755").arg(dir.path()));
    output(command.arg("capture").arg(&into));
    assert!(output(cgprocfs().args(["show", "proc/meminfo", "--root"]).arg(&into)).starts_with("MemTotal:"));
    let (dir, mut command) = as_nobody();
    let into = dir.path().join("capture");
    fs::create_dir(&into).unwrap();
    output(Command::new("chown").arg("65534").arg(&into));
    fails(command.args(["capture", "--pid", "1"]).arg(&into), 1, "run cgprocfs as root");
}

/// The program where others may execute it, as nobody.
fn as_nobody() -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("cgprocfs");
    crate::common::copy_program(crate::common::cgprocfs_path(), &copy);
    output(Command::new("chmod").arg("755").arg(dir.path()).arg(&copy));
    let mut command = Command::new(copy);
    command.uid(65534).gid(65534).current_dir("/");
    (dir, command)
}

fn show_without_root() {
    let (_dir, mut command) = as_nobody();
    assert!(output(command.arg("show")).starts_with("MemTotal:"));
    let (_dir, mut command) = as_nobody();
    // Its namespaces are not nobody's to see.
    fails(command.args(["show", "--pid", "1"]), 1, "Permission denied (os error 13); run cgprocfs as root");
}

fn mount_without_root() {
    let (dir, mut command) = as_nobody();
    fails(command.arg("mount").arg(dir.path()), 1, "only root can mount; run cgprocfs as root");
    let (_dir, mut command) = as_nobody();
    fails(command.args(["run", "--", "true"]), 1, "run it as root");
}

fn mount_point_errors() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    fails(cgprocfs().arg("mount").arg(&missing), 1, "does not exist; create it with `mkdir -p");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    fails(cgprocfs().arg("mount").arg(&file), 1, "is not a directory");
    fails(cgprocfs().arg("mount").arg(file.join("below")), 1, "cannot mount on");
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(dir.path().to_str().unwrap()));
}

fn already_mounted() {
    let daemon = Daemon::start();
    let message = format!("end that first with `cgprocfs unmount {}`", daemon.directory().display());
    fails(cgprocfs().arg("mount").arg(daemon.path("")), 1, &message);
    // Nor is it touched by way of another name.
    let link = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(daemon.path(""), link.path().join("link")).unwrap();
    fails(cgprocfs().arg("mount").arg(link.path().join("link")), 1, "is served already");
    let live = format!("unmount it first with `umount {}`", daemon.live().display());
    fails(cgprocfs().arg("mount").arg(daemon.live()), 1, &live);
    assert!(fs::read_to_string(daemon.meminfo()).unwrap().starts_with("MemTotal"));
}

/// A daemon that is stopped is there: starting another says so and does not hang.
fn stopped_daemon() {
    let daemon = Daemon::start();
    let stopped = crate::common::Stopped::new(daemon.pid());
    fails(cgprocfs().arg("mount").arg(daemon.path("")), 1, "is served already");
    drop(stopped);
}

/// A daemon that was killed leaves a mount that nobody can serve: another takes its place.
fn dead_mount() {
    let mut daemon = Daemon::start();
    daemon.signal(rustix::process::Signal::KILL);
    daemon.wait();
    assert_eq!(fs::read(daemon.meminfo()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    let daemon = daemon.again();
    assert!(fs::read_to_string(daemon.meminfo()).unwrap().starts_with("MemTotal"));
}

/// Runs it in a mount namespace of its own, prepared by a shell script.
fn after(script: &str, arguments: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{script} && exec \"$0\" {arguments}");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .arg(crate::common::cgprocfs_path());
    command
}

fn no_device() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount {}", dir.path().display());
    fails(&mut after("mount -t tmpfs none /dev", &mount), 1, "/dev/fuse is missing; load the kernel module");
}

fn no_memory_controller() {
    // A kernel may have none to begin with.
    let hide = match crate::common::cgroup::version() {
        Some(_) => "umount -l -a -t cgroup,cgroup2 && mount -t tmpfs none /sys/fs/cgroup",
        None => "true",
    };
    let dir = tempfile::tempdir().unwrap();
    for arguments in ["show", "run -- true", &format!("mount {}", dir.path().display())] {
        fails(
            &mut after(hide, arguments),
            1,
            "no cgroup hierarchy here has the memory controller; mount one",
        );
    }
}

/// There the daemon would see a part of the hierarchy only, and every reader elsewhere as outside.
fn inside_a_cgroup_namespace() {
    let cgroup = crate::common::cgroup::Cgroup::new();
    let dir = tempfile::tempdir().unwrap();
    let program = crate::common::cgprocfs_path();
    let words = ["unshare", "--cgroup", program.to_str().unwrap(), "mount", dir.path().to_str().unwrap()];
    fails(&mut cgroup.command(&words), 1, "cgroup namespace");
}

fn journal_levels() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mount = dir.path().join("mount");
    fs::create_dir(&mount).unwrap();
    let script =
        "exec 2> \"$0\"; JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$1\" mount \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(&log).arg(crate::common::cgprocfs_path()).arg(&mount);
    let mut daemon = Foreground::start(&mut command, &mount);
    let serves = || fs::read_to_string(&log).is_ok_and(|text| text.contains("serving"));
    crate::common::wait_until("it serves", serves);
    assert!(daemon.stop().success());
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("<6>serving "), "{text}");
    // Another test's mount namespace may still have a copy of the mount, which is a warning's worth.
    let mut lines = text.lines().filter(|line| !line.starts_with("<4>containers still have views bound"));
    assert!(lines.all(|line| line.starts_with("<6>")), "{text}");
}

fn notifies_systemd() {
    let dir = tempfile::tempdir().unwrap();
    let socket = std::os::unix::net::UnixDatagram::bind(dir.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mount = dir.path().join("mount");
    fs::create_dir(&mount).unwrap();
    let mut command = cgprocfs();
    command.arg("mount").arg(&mount).env("NOTIFY_SOCKET", dir.path().join("notify")).stderr(Stdio::null());
    let mut daemon = Foreground::start(&mut command, &mount);
    let mut message = [0; 256];
    let mut receive = || {
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert!(receive().contains("READY=1"));
    assert_ne!(fs::read(mount.join("working_set")).unwrap(), b"", "ready is when it can be read");
    assert!(daemon.stop().success());
    assert!(receive().contains("STOPPING=1"));
}

fn unit_is_clean() {
    // The unit names the program where it is installed; here it is where it was built.
    let unit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/cgprocfs.service")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("cgprocfs.service");
    let fallback = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/cgprocfs-fallback.service");
    fs::copy(fallback, dir.path().join("cgprocfs-fallback.service")).unwrap();
    let program = crate::common::cgprocfs_path();
    fs::write(&copy, unit.replace("/usr/bin/cgprocfs", program.to_str().unwrap())).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().unwrap();
    let complaints = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<_> = complaints.lines().filter(|line| line.contains("cgprocfs")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{complaints}");
    assert!(unit.contains("Type=notify"));
}
