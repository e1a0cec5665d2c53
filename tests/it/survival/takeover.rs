//! Servers that are replaced by another while they run.

use super::assert_short;
use crate::common::daemon::{Daemon, server, supervised};
use crate::common::load::Load;
use crate::common::{
    MOUNT, Need, Stopped, cgprocfs, copy_program, finish, output, test, times, wait_for, wait_until,
};
use cgprocfs::lifecycle::Connection;
use cgprocfs::lifecycle::control::{self, Message};
use cgprocfs::lifecycle::handover::socket_path;
use cgprocfs::mount::{self, Writes};
use libtest_mimic::Trial;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// For how long a successor says nothing.
const SILENCE: Duration = Duration::from_secs(4);

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            replaced_by_sighup,
            taken_over,
            taken_over_only_by_root,
            taken_over_only_what_is_mounted,
            taken_over_only_where_root_alone_may_listen,
            silent_successors,
            stopped_successor,
            nobody_to_take_over_from,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("prlimit")]) => [
            heard_after_a_failure,
        ],
        test(&[Need::Root, Need::Fuse, Need::OtherBuild]) => [
            upgraded,
        ],
    }
}

/// No read fails or takes long while SIGHUP replaces the daemon.
fn replaced_by_sighup() {
    let daemon = supervised();
    let load = Load::start(&[], &daemon.meminfo());
    let mut pid = server(&daemon, &[]);
    for round in 1..=times(20) {
        std::thread::sleep(Duration::from_millis(100));
        daemon.signal(Signal::HUP);
        pid = server(&daemon, &[pid]);
        wait_until("it serves", || daemon.log().matches("serving").count() > round);
    }
    let (reads, longest, busy) = load.end();
    println!(
        "survival: replaced {} times: {reads} reads, none failed, the longest took {longest:?}",
        times(20)
    );
    assert!(daemon.log().contains("leaving"), "{}", daemon.log());
    assert_short(longest, busy);
}

/// The program is replaced by that of another build, and back, as a package is upgraded.
fn upgraded() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("cgprocfs");
    let install = |build: &Path| {
        let new = directory.path().join("new");
        copy_program(build, &new);
        fs::rename(new, &program).unwrap();
    };
    let builds = [crate::common::cgprocfs_path(), crate::common::other_build().unwrap()];
    install(&builds[0]);
    let daemon = Daemon::start_program(&program, &["--supervise"]);
    let load = Load::start(&[], &daemon.meminfo());
    let mut pid = server(&daemon, &[]);
    for round in 1..=times(10) {
        install(&builds[round % 2]);
        daemon.signal(Signal::HUP);
        pid = server(&daemon, &[pid]);
        wait_until("it serves", || daemon.log().matches("serving").count() > round);
        std::thread::sleep(Duration::from_millis(100));
    }
    let (reads, longest, busy) = load.end();
    println!(
        "survival: upgraded {} times: {reads} reads, none failed, the longest took {longest:?}",
        times(10)
    );
    assert_short(longest, busy);
}

/// No read fails or takes long while another daemon takes the mount over.
fn taken_over() {
    let mut daemon = Daemon::start();
    let load = Load::start(&[], &daemon.meminfo());
    for _ in 0..times(20) {
        std::thread::sleep(Duration::from_millis(50));
        daemon = daemon.taken_over();
    }
    let (reads, longest, busy) = load.end();
    println!(
        "survival: taken over {} times: {reads} reads, none failed, the longest took {longest:?}",
        times(20)
    );
    assert!(daemon.is_mounted());
    assert_short(longest, busy);
}

/// In either direction: only root is given the connection, and only root's is taken.
fn taken_over_only_by_root() {
    let daemon = Daemon::start();
    let socket = socket_path(daemon.directory());
    let connect = || UnixStream::connect(&socket);
    let refused = as_nobody(connect).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    // Whatever the socket's mode has become.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let stranger = as_nobody(connect).unwrap();
    stranger.set_read_timeout(Some(crate::common::patience(5))).unwrap();
    // It may be hung up on already.
    let _ = control::send(&stranger, &Message::Ask);
    assert!(control::receive(&stranger).is_err(), "nothing is sent to anybody else");
    wait_until("it says so", || daemon.log().contains("refused a take-over request"));

    // Somebody listens in the daemon's place.
    fs::remove_file(&socket).unwrap();
    let listening = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listening, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
    as_nobody(|| rustix::net::listen(&listening, 1)).unwrap();
    take_over_fails(&daemon, "user 65534 listens at");
    assert!(fs::read_to_string(daemon.working_set()).unwrap().trim().parse::<u64>().is_ok());
}

/// Does something as a user who owns nothing.
fn as_nobody<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    let nobody = rustix::process::Uid::from_raw(65534);
    let act = || {
        // Of this thread alone.
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        what()
    };
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

/// A successor ends with that message, and the daemon serves on.
fn take_over_fails(daemon: &Daemon, message: &str) {
    let failed = finish(cgprocfs().args(["mount", "--takeover"]).arg(daemon.directory()));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains(message) && said.lines().count() == 1, "{said}");
    assert!(daemon.is_mounted());
}

/// Who listens hands over a connection that is not what is mounted there.
fn taken_over_only_what_is_mounted() {
    let daemon = Daemon::start();
    let other = tempfile::tempdir().unwrap();
    let _unmounted = Unmounted(other.path());
    let offered = [other.path().to_path_buf(), daemon.live()].map(|claimed| {
        let device = mount::attach(other.path(), Writes::Nothing).unwrap();
        Connection::begin(device, &claimed, Writes::Nothing).unwrap()
    });
    let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
    let depth = || mounts().matches(other.path().to_str().unwrap()).count();
    let before = depth();
    let socket = socket_path(daemon.directory());
    fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    for connection in &offered {
        let is_known =
            || fs::read_to_string("/proc/self/fdinfo/0").is_ok() && crate::common::kernel_is_at_least(6, 18);
        if connection.mount_point() == daemon.live() && !is_known() {
            continue;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (asking, _) = listener.accept().unwrap();
                assert!(matches!(control::receive(&asking), Ok(Message::Ask)));
                control::send_connection(&asking, connection).unwrap();
                assert!(control::receive(&asking).is_err(), "it is not taken");
            });
            take_over_fails(&daemon, "is not what is mounted on");
        });
    }
    assert!(fs::read_to_string(daemon.working_set()).unwrap().trim().parse::<u64>().is_ok());
    assert_eq!(depth(), before, "nothing of somebody else's is unmounted");
}

/// Unmounts everything on a directory when it goes out of scope.
struct Unmounted<'d>(&'d Path);

impl Drop for Unmounted<'_> {
    fn drop(&mut self) {
        while mount::unmount(self.0).is_ok() {}
    }
}

/// Where others may put a socket, nobody is asked.
fn taken_over_only_where_root_alone_may_listen() {
    let daemon = Daemon::start();
    let above = daemon.directory().parent().unwrap().to_path_buf();
    for mode in [0o1777, 0o775] {
        fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
        take_over_fails(&daemon, "others than root may write to");
    }
    fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).unwrap();
    daemon.taken_over();
}

/// Root connects and says nothing, or asks and says no more: for longer than a read may take, however busy
/// the machine is.
fn silent_successors() {
    let daemon = Daemon::start();
    let load = Load::start(&[], &daemon.meminfo());
    let connect = || UnixStream::connect(socket_path(daemon.directory())).unwrap();
    let (silent, slow) = (connect(), connect());
    std::thread::sleep(SILENCE);
    drop(silent);
    control::send(&slow, &Message::Ask).unwrap();
    assert!(matches!(control::receive(&slow), Ok(Message::Connection(..))));
    std::thread::sleep(SILENCE);
    drop(slow);
    // One takes it and is gone.
    let fickle = connect();
    control::send(&fickle, &Message::Ask).unwrap();
    assert!(matches!(control::receive(&fickle), Ok(Message::Connection(..))));
    // The daemon is to hear both at once: whoever is gone a moment later leaves nobody who has the
    // connection.
    let stopped = Stopped::new(daemon.pid());
    control::send(&fickle, &Message::Taken).unwrap();
    drop(fickle);
    drop(stopped);
    wait_until("it serves on", || daemon.log().contains("serves on"));
    let (_, longest, busy) = load.end();
    assert_short(longest, busy);
    daemon.taken_over();
}

/// A successor that is stopped while it waits for the connection goes on waiting when it is continued.
fn stopped_successor() {
    let daemon = Daemon::start();
    let socket = socket_path(daemon.directory());
    fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let mut successor = cgprocfs().args(["mount", "--takeover"]).arg(daemon.directory()).spawn().unwrap();
    let (asking, _) = listener.accept().unwrap();
    assert!(matches!(control::receive(&asking), Ok(Message::Ask)));
    let pid = successor.id();
    let sleeps = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().any(|line| line.starts_with("State:\tS"))
    };
    wait_until("it waits", sleeps);
    drop(Stopped::new(pid));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(successor.try_wait().unwrap(), None, "it waits still");
    drop(asking);
    assert_eq!(wait_for(&mut successor).code(), Some(1));
}

/// A daemon that has no descriptor to spare for a moment.
fn heard_after_a_failure() {
    let daemon = Daemon::start();
    let limit = |number: &str| {
        let pid = daemon.pid().to_string();
        output(Command::new("prlimit").args(["--pid", &pid]).arg(format!("--nofile={number}:")));
    };
    limit("3");
    let waiting = UnixStream::connect(socket_path(daemon.directory())).unwrap();
    wait_until("it fails", || daemon.log().contains("cannot accept take-over requests"));
    limit("1024");
    drop(waiting);
    daemon.taken_over();
}

/// Where no daemon listens, a successor says so and ends.
fn nobody_to_take_over_from() {
    let dir = tempfile::tempdir().unwrap();
    let failed = finish(cgprocfs().args(["mount", "--takeover"]).arg(dir.path()));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(said.contains("no daemon answers at") && said.lines().count() == 1, "{said}");
}
