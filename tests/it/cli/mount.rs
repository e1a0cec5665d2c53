//! `cgprocfs mount`: why it does not start, and what it says when it does.

use super::{as_nobody, fails};
use crate::common::daemon::Daemon;
use crate::common::foreground::Foreground;
use crate::common::{MOUNT, Need, cgprocfs, test};
use libtest_mimic::Trial;
use rustix::io::retry_on_intr;
use rustix::net::RecvFlags;
use std::fs;
use std::process::{Command, Stdio};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Root]) => [
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
    }
}

/// Without root nothing is mounted or run, and it says so.
fn mount_without_root() {
    let (dir, mut command) = as_nobody();
    fails(command.arg("mount").arg(dir.path()), 1, "only root can mount; run cgprocfs as root");
    let (_dir, mut command) = as_nobody();
    fails(command.args(["run", "--", "true"]), 1, "run it as root");
}

/// A mount point that is missing, or is no directory, is named with what to do.
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

/// A directory that is served is not served again.
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

/// A daemon that was killed with all that it has started leaves a mount that nobody can serve: another takes
/// its place.
fn dead_mount() {
    let mut daemon = Daemon::start();
    // It does not miss the one that mounts before it is asked for something.
    let is_steward = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .unwrap()
            .split(|&byte| byte == 0)
            .any(|word| word == b"mount-for-stdin")
    };
    let steward = daemon.children().into_iter().find(is_steward).unwrap();
    let steward = rustix::process::Pid::from_raw(steward.try_into().unwrap()).unwrap();
    rustix::process::kill_process(steward, rustix::process::Signal::KILL).unwrap();
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

/// Without /dev/fuse it says what to load.
fn no_device() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount {}", dir.path().display());
    fails(&mut after("mount -t tmpfs none /dev", &mount), 1, "/dev/fuse is missing; load the kernel module");
}

/// Without a memory controller it says that there is none.
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

/// Under systemd each line of the log begins with its level.
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

/// systemd is told when the views can be read, and when the daemon ends.
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
        // It is interrupted if this process is stopped and continued (signal(7)).
        let (length, _) =
            retry_on_intr(|| rustix::net::recv(&socket, &mut message[..], RecvFlags::empty())).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert!(receive().contains("READY=1"));
    assert_ne!(fs::read(mount.join("working_set")).unwrap(), b"", "ready is when it can be read");
    assert!(daemon.stop().success());
    assert!(receive().contains("STOPPING=1"));
}
