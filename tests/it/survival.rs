//! What readers see when the daemon dies, is replaced, or hangs: nothing.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, Deadline, server, supervised};
use crate::common::helper;
use crate::common::load::{self, LIMIT, Load};
use crate::common::victim::BOUND;
use crate::common::{
    Busy, MOUNT, Need, Stopped, cgprocfs, copy_program, field, finish, output, test, times, wait_at_most,
    wait_until,
};
use cgprocfs::lifecycle::Connection;
use cgprocfs::lifecycle::control::{self, Message};
use cgprocfs::lifecycle::handover::socket_path;
use cgprocfs::mount::{self, Writes};
use libtest_mimic::Trial;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    let mut tests = tests! {
        test(MOUNT) => [
            killed_again_and_again = || killed(times(200)),
            killed_in_the_middle_of_an_open,
            killed_in_the_middle_of_a_read,
            a_request_that_hangs_is_answered_once,
            a_container_that_hung_is_left_aside,
            a_request_that_crashes_is_answered_once,
            replaced_by_sighup,
            taken_over,
            taken_over_only_by_root,
            taken_over_only_what_is_mounted,
            taken_over_only_where_root_alone_may_listen,
            silent_successors,
            nobody_to_take_over_from,
            stuck_thread,
            stopped_daemon,
            crash_loop,
            stop_unmounts,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("prlimit")]) => [heard_after_a_failure],
        test(&[Need::Root, Need::Fuse, Need::OtherBuild]) => [upgraded],
    };
    tests.push(test("survival::killed_a_thousand_times", MOUNT, || killed(1000)).with_ignored_flag(true));
    tests
}

/// What no reader waits longer than for another daemon.
fn assert_short(longest: Duration, busy: Busy) {
    let bound = busy.stretches(Duration::from_secs(1));
    assert!(longest < bound, "a read took {longest:?}, longer than {bound:?}");
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

fn killed(count: usize) {
    let daemon = supervised();
    let load = Load::start(&[], &daemon.meminfo());
    let mut pid = server(&daemon, &[]);
    let depth = || fs::read_to_string("/proc/self/mounts").unwrap().matches(&daemon.meminfo()).count();
    let before = depth();
    for round in 1..=count {
        // At another moment of what it does each time.
        std::thread::sleep(Duration::from_micros(100_000 + round as u64 * 7919 % 20_000));
        signal(pid, Signal::KILL);
        pid = server(&daemon, &[pid]);
        // One that is killed before it serves counts as one that can't.
        wait_until("it serves", || daemon.log().matches("serving").count() > round);
        // However slow the machine is: one that never answers keeps readers waiting, and that is not what is shown here.
        is_served(&daemon);
    }
    assert_eq!(depth(), before, "a daemon that resumes a connection lays nothing");
    let busy = load.busy;
    let (reads, longest) = load.end();
    println!("survival: killed {count} times: {reads} reads, none failed, the longest took {longest:?}");
    assert!(reads > count as u64);
    assert_short(longest, busy);
    assert_eq!(daemon.log().matches("starting it again").count(), count, "{}", daemon.log());
}

/// A supervised daemon that can be made to hang, the directory with its faults, and what ends a test that does.
fn faulty() -> (tempfile::TempDir, Daemon, Deadline) {
    let faults = tempfile::tempdir().unwrap();
    let path = faults.path().to_str().unwrap();
    let daemon = Daemon::start_with(&[], &["--supervise"], &[("CGPROCFS_FAULTS", path)]);
    let deadline = Deadline::new(&daemon);
    (faults, daemon, deadline)
}

/// Ends the hanging in any case: who waits for an answer can't be killed.
struct Hang(std::path::PathBuf);

impl Hang {
    fn new(faults: &tempfile::TempDir) -> Self {
        let path = faults.path().join("hang");
        fs::write(&path, "").unwrap();
        Self(path)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Waits until a request was fetched that is not answered.
fn wait_for_hanging(faults: &tempfile::TempDir) {
    wait_until("a request hangs", || faults.path().join("hanging").exists());
}

fn killed_in_the_middle_of_an_open() {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let cgroup = Cgroup::new().limit(LIMIT);
    let hang = Hang::new(&faults);
    let mut reader = cgroup.command(&["cat", &daemon.meminfo()]);
    let reader = reader.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    wait_for_hanging(&faults);
    signal(pid, Signal::KILL);
    drop(hang);
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(field(&String::from_utf8(output.stdout).unwrap(), "MemTotal"), LIMIT << 10);
}

/// The file was opened before, and half of it was read.
fn killed_in_the_middle_of_a_read() {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let file = File::open(daemon.meminfo()).unwrap();
    let mut first = [0; 512];
    file.read_exact_at(&mut first, 0).unwrap();
    // What was read lately would be given out again without a look.
    std::thread::sleep(Duration::from_millis(100));
    let hang = Hang::new(&faults);
    let reader = std::thread::spawn(move || {
        let mut text = [0; 4096];
        let length = file.read_at(&mut text, 0).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    });
    wait_for_hanging(&faults);
    signal(pid, Signal::KILL);
    drop(hang);
    let text = reader.join().unwrap();
    assert_eq!(field(&text, "MemTotal"), crate::common::host_total());
    assert!(text.ends_with('\n') && text.lines().count() > 40, "{text}");
}

/// A reader that is the only one that something happens to.
struct Reader(Child, Cgroup);

impl Reader {
    fn new(path: &str) -> Self {
        let cgroup = Cgroup::new().limit(LIMIT);
        let mut command = cgroup.command(&["sh", "-c", "read go; exec cat \"$0\"", path]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap(), cgroup)
    }

    /// Has `fault` happen to whatever it reads.
    fn has(&self, faults: &tempfile::TempDir, fault: &str) {
        fs::write(faults.path().join(fault), self.0.id().to_string()).unwrap();
    }

    fn go(&mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until it was told of that error.
    fn ends_with(self, error: &str) {
        let output = self.0.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(error), "{}: {said}", output.status);
    }
}

const POISONED: &str = "Input/output error";

fn is_served(daemon: &Daemon) {
    let text = fs::read_to_string(daemon.meminfo()).unwrap();
    assert_eq!(field(&text, "MemTotal"), crate::common::host_total());
}

/// The server after the one that hung answers it with an error, without trying it.
fn a_request_that_hangs_is_answered_once() {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let mut reader = Reader::new(&daemon.meminfo());
    reader.has(&faults, "hang");
    let _hang = Hang(faults.path().join("hang"));
    reader.go();
    wait_for_hanging(&faults);
    // The daemon writes down once a second that it runs.
    std::thread::sleep(Duration::from_millis(4500));
    is_served(&daemon);
    fs::remove_file(faults.path().join("hanging")).unwrap();
    signal(pid, Signal::KILL);
    reader.ends_with(POISONED);
    is_served(&daemon);
    assert!(!faults.path().join("hanging").exists(), "it was tried again");
    assert_eq!(daemon.log().matches("get an error").count(), 1, "{}", daemon.log());
}

/// The container of a request that a server has ended over is served by threads that serve nobody else.
fn a_container_that_hung_is_left_aside() {
    let (faults, daemon, _deadline) = faulty();
    let pid = server(&daemon, &[]);
    let cgroup = Cgroup::new().limit(LIMIT);
    // It lives on, for it is looked at after its answer, perhaps.
    let script = "read go; read line < \"$0\"; echo told; exec sleep 60";
    let mut command = cgroup.command(&["sh", "-c", script, &daemon.meminfo()]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut reader = command.spawn().unwrap();
    fs::write(faults.path().join("hang"), reader.id().to_string()).unwrap();
    let hang = Hang(faults.path().join("hang"));
    reader.stdin.take().unwrap().write_all(b"\n").unwrap();
    wait_for_hanging(&faults);
    std::thread::sleep(Duration::from_millis(4500));
    signal(pid, Signal::KILL);
    reader.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    drop(hang);

    let server = server(&daemon, &[pid]);
    let aside = || {
        let tasks = fs::read_dir(format!("/proc/{server}/task")).unwrap();
        let name =
            |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
        tasks.filter_map(name).any(|name| name.trim() == "aside")
    };
    // Threads that have nothing to do end after five seconds.
    wait_until("it was looked for", || !aside());
    let other = Cgroup::new().limit(LIMIT);
    let read = |cgroup: &Cgroup| {
        let text = output(&mut cgroup.command(&["cat", &daemon.meminfo()]));
        assert_eq!(field(&text, "MemTotal"), LIMIT << 10);
    };
    read(&other);
    assert!(!aside(), "others are served as ever");
    read(&cgroup);
    assert!(aside(), "{}", daemon.log());
    reader.kill().unwrap();
    reader.wait().unwrap();
}

/// Three servers die of it, and the fourth lives.
fn a_request_that_crashes_is_answered_once() {
    let (faults, daemon, _deadline) = faulty();
    server(&daemon, &[]);
    let mut reader = Reader::new(&daemon.meminfo());
    reader.has(&faults, "crash");
    reader.go();
    reader.ends_with(POISONED);
    is_served(&daemon);
    // Before Linux 6.9 the successor opens the file, and it is the read of it that three more die of.
    let servers = if crate::common::kernel_is_at_least(6, 9) { 3 } else { 4 };
    wait_until("it says so", || daemon.log().contains(&format!("resumed by server {servers}")));
    let log = daemon.log();
    assert_eq!(log.matches("starting it again").count(), servers, "{log}");
    assert_eq!(log.matches("get an error").count(), 1, "{log}");
}

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
    let busy = load.busy;
    let (reads, longest) = load.end();
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
    let busy = load.busy;
    let (reads, longest) = load.end();
    println!(
        "survival: upgraded {} times: {reads} reads, none failed, the longest took {longest:?}",
        times(10)
    );
    assert_short(longest, busy);
}

fn taken_over() {
    let mut daemon = Daemon::start();
    let load = Load::start(&[], &daemon.meminfo());
    for _ in 0..times(20) {
        std::thread::sleep(Duration::from_millis(50));
        daemon = daemon.taken_over();
    }
    let busy = load.busy;
    let (reads, longest) = load.end();
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
    wait_until("it says so", || daemon.log().contains("somebody who is not root asks"));

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

/// Root connects and says nothing, or asks and says no more.
fn silent_successors() {
    let daemon = Daemon::start();
    let load = Load::start(&[], &daemon.meminfo());
    let connect = || UnixStream::connect(socket_path(daemon.directory())).unwrap();
    let (silent, slow) = (connect(), connect());
    std::thread::sleep(Duration::from_secs(1));
    drop(silent);
    control::send(&slow, &Message::Ask).unwrap();
    assert!(matches!(control::receive(&slow), Ok(Message::Connection(..))));
    std::thread::sleep(Duration::from_secs(1));
    drop(slow);
    // One takes it and is gone.
    let fickle = connect();
    control::send(&fickle, &Message::Ask).unwrap();
    assert!(matches!(control::receive(&fickle), Ok(Message::Connection(..))));
    control::send(&fickle, &Message::Taken).unwrap();
    drop(fickle);
    wait_until("it serves on", || daemon.log().contains("serving on"));
    let busy = load.busy;
    let (_, longest) = load.end();
    assert_short(longest, busy);
    daemon.taken_over();
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
    wait_until("it fails", || daemon.log().contains("cannot hear who wants to take over"));
    limit("1024");
    drop(waiting);
    daemon.taken_over();
}

fn nobody_to_take_over_from() {
    let dir = tempfile::tempdir().unwrap();
    let failed = finish(cgprocfs().args(["mount", "--takeover"]).arg(dir.path()));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(said.contains("no daemon answers at") && said.lines().count() == 1, "{said}");
}

/// A request hangs: whoever asked waits, all others are served, and nobody has a reason to replace the daemon.
fn stuck_thread() {
    let (faults, daemon, _deadline) = faulty();
    let (pid, bound) = (server(&daemon, &[]), Busy::now().stretches(BOUND));
    let mut reader = Reader::new(&daemon.meminfo());
    reader.has(&faults, "hang");
    let hang = Hang(faults.path().join("hang"));
    reader.go();
    wait_for_hanging(&faults);
    let cgroup = Cgroup::new().limit(LIMIT);
    let (start, mut longest) = (Instant::now(), Duration::ZERO);
    while start.elapsed() < Duration::from_secs(15) {
        let asked = Instant::now();
        let text = output(&mut cgroup.command(&["cat", &daemon.meminfo()]));
        assert_eq!(field(&text, "MemTotal"), LIMIT << 10);
        longest = longest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("survival: beside a request that hangs: the longest read took {longest:?}");
    assert!(longest < bound, "a read took {longest:?}, longer than {bound:?}");
    assert_eq!((daemon.children(), reader.0.try_wait().unwrap()), (vec![pid], None), "{}", daemon.log());
    drop(hang);
    let Reader(reader, _cgroup) = reader;
    let text = reader.wait_with_output().unwrap().stdout;
    assert_eq!(field(&String::from_utf8(text).unwrap(), "MemTotal"), LIMIT << 10);
}

fn stopped_daemon() {
    let daemon = supervised();
    let pid = server(&daemon, &[]);
    let load = Load::start(&[], &daemon.meminfo());
    let stopped = Stopped::new(pid);
    wait_at_most(30, "the stopped daemon is killed", || daemon.log().contains("no sign of life"));
    assert_ne!(server(&daemon, &[pid]), pid);
    let busy = load.busy;
    let (_, longest) = load.end();
    println!("survival: stopped: the longest read took {longest:?}");
    assert!(longest < crate::common::patience(10) + busy.stretches(Duration::from_secs(1)), "{longest:?}");
    std::mem::forget(stopped);
}

/// Whoever waits gets an error, nobody waits any more, and once the cause is gone all is as before.
fn crash_loop() {
    let (faults, mut daemon, _deadline) = faulty();
    let cgroup = Cgroup::new().limit(LIMIT);
    let words = helper::command("reopen", &["/proc/meminfo"]);
    let mut container = load::bound(&[], &cgroup, &daemon.meminfo(), &words);
    assert_eq!(container.ask(), load::total());
    let pid = server(&daemon, &[]);
    let hang = Hang::new(&faults);
    let mut reader = Command::new("cat");
    let mut reader =
        reader.arg(daemon.meminfo()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_hanging(&faults);
    let crash = faults.path().join("crash-at-start");
    fs::write(&crash, "").unwrap();
    signal(pid, Signal::KILL);
    drop(hang);
    // Who waits has an error, and nobody is left with one: the kernel's own file is there meanwhile.
    assert!(!crate::common::wait_for(&mut reader).success());
    for round in 1..=2 {
        wait_until("the supervisor lets go", || {
            let _ = container.ask();
            daemon.log().matches("the daemon ends again and again").count() >= round
        });
        wait_until("the kernel's own file", || container.ask() == native());
    }
    fs::remove_file(&crash).unwrap();
    wait_until("its own numbers", || container.ask() == load::total());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert_eq!(container.ask(), native());
}

fn native() -> String {
    format!("MemTotal:       {:8} kB", crate::common::host_total())
}

fn stop_unmounts() {
    for stop in [Signal::TERM, Signal::INT] {
        let mut daemon = supervised();
        server(&daemon, &[]);
        output(Command::new("cat").arg(daemon.meminfo()));
        daemon.signal(stop);
        assert!(daemon.wait().success());
        assert!(!daemon.is_mounted());
    }
}
