//! Pressure triggers: a container waits for pressure of its own as a program on a host does.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::{self, Running};
use crate::common::{Need, finish, test, wait_until};
use cgprocfs::kernel::CgroupMounts;
use libtest_mimic::Trial;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    const NEEDS: &[Need] = &[Need::Root, Need::Fuse, Need::Pressure, Need::Program("taskset")];
    tests! {
        test(NEEDS) => [
            events_come_as_the_kernel_s,
            poll_without_a_trigger,
            what_is_no_trigger,
            nothing_is_written_otherwise,
            a_thousand,
            a_tenant_with_many_cgroups,
            a_removed_cgroup,
            a_trigger_stays_with_its_container,
            a_trigger_outlives_its_daemon,
        ],
        test(&[Need::Root, Need::Fuse, Need::Pressure]) => [
            no_account_is_kept,
        ],
    }
}

/// 150 ms of a second.
const TRIGGER: &str = "some 150000 1000000";
const VIEW: &str = "proc/pressure/cpu";

fn watchable(options: &[&str]) -> Daemon {
    Daemon::start_with(&[], &[&["--triggers"], options].concat(), &[])
}

/// A cgroup of the memory controller, and the one of the same name whose pressure the kernel keeps an account of.
struct Container {
    memory: Cgroup,
    pressure: PathBuf,
}

impl Container {
    fn new() -> Self {
        let memory = Cgroup::new();
        let top = CgroupMounts::detect(Path::new("/")).unwrap().pressure.unwrap().mount_point;
        let pressure = top.join(memory.dir.file_name().unwrap());
        // On v2 it is the same one.
        if !pressure.exists() {
            fs::create_dir(&pressure).unwrap();
        }
        Self { memory, pressure }
    }

    /// One below.
    fn child(&self, name: &str) -> Self {
        let memory = self.memory.child(name);
        let pressure = self.pressure.join(name);
        if !pressure.exists() {
            fs::create_dir(&pressure).unwrap();
        }
        Self { memory, pressure }
    }

    fn command(&self, words: &[&str]) -> Command {
        let enter = ["sh", "-c", "echo 0 > \"$0\" && exec \"$@\"", &self.procs()];
        self.memory.command(&[&enter, words].concat())
    }

    fn procs(&self) -> String {
        self.pressure.join("cgroup.procs").to_str().unwrap().to_string()
    }

    /// A helper that has `count` triggers on the view, or the kernel's file, at `path`.
    fn watch(&self, path: &Path, count: usize, trigger: &str) -> Running {
        let words = helper::command("watch", &[path.to_str().unwrap(), &count.to_string(), trigger]);
        helper::start(&mut self.command(&words.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// Two that want the same processor, which is half a second of stall in each.
    fn stall(&self) -> [Spinner; 2] {
        let start = || {
            let words = ["taskset", "1", "sh", "-c", "while :; do :; done"];
            Spinner(self.command(&words).stdin(Stdio::null()).spawn().unwrap())
        };
        [start(), start()]
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Whatever is still in it is moved where it does not keep it from being removed.
        let top = self.pressure.parent().unwrap().join("cgroup.procs");
        for pid in fs::read_to_string(self.procs()).unwrap_or_default().lines() {
            let _ = fs::write(&top, pid);
        }
        for _ in 0..100 {
            if !self.pressure.exists()
                || self.pressure == self.memory.dir
                || fs::remove_dir(&self.pressure).is_ok()
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Spinner(Child);

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The view and the kernel's own file of the cgroup, at the same time.
fn events_come_as_the_kernel_s() {
    let (daemon, container) = (watchable(&[]), Container::new());
    let native = container.pressure.join("cpu.pressure");
    // Who has not CAP_SYS_RESOURCE, as root in a container, may ask the kernel for windows of two seconds.
    let mut both = [daemon.path(VIEW), native].map(|path| container.watch(&path, 1, "some 300000 2000000"));
    both.iter_mut().for_each(|watch| assert_eq!(watch.ask(), "1 []"));
    let spinners = container.stall();
    let mut events = |seconds| {
        let started = Instant::now();
        let mut counts = [0_u32; 2];
        std::thread::scope(|scope| {
            for (watch, count) in both.iter_mut().zip(&mut counts) {
                scope.spawn(move || {
                    while started.elapsed() < Duration::from_secs(seconds) {
                        *count += match watch.ask().as_str() {
                            "1 0" => 1,
                            "0 0" => 0,
                            said => panic!("{said}"),
                        };
                    }
                });
            }
        });
        counts
    };
    let [ours, kernel] = events(20);
    println!("triggers: {ours} events in twenty seconds, the kernel's own {kernel}");
    // For who may not ask for less the kernel looks every two seconds, and tells every other time.
    assert!((9..=11).contains(&ours) && (1..=ours).contains(&kernel), "{ours}, {kernel}");
    drop(spinners);
    // What was still to be told.
    events(3);
    assert_eq!(events(3)[0], 0, "no pressure, no events");
}

/// Nothing was written to it: what the kernel says of its own file is said.
fn poll_without_a_trigger() {
    let daemon = watchable(&[]);
    let polled = |path: &Path| {
        let file = fs::File::open(path).unwrap();
        let all = PollFlags::POLLIN | PollFlags::POLLOUT | PollFlags::POLLPRI;
        let mut polled = [PollFd::new(file.as_fd(), all)];
        poll(&mut polled, PollTimeout::ZERO).unwrap();
        polled[0].revents()
    };
    assert_eq!(polled(&daemon.path(VIEW)), polled(&Path::new("/").join(VIEW)));
}

fn what_is_no_trigger() {
    let daemon = watchable(&[]);
    let open = || OpenOptions::new().read(true).write(true).open(daemon.path(VIEW)).unwrap();
    for text in ["", "some", "some 1 100\n", "most 150000 1000000\n", "some 2000000 1000000\n", "\u{e9}"] {
        let written = open().write(text.as_bytes());
        let is_refused = written.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL));
        assert!(is_refused || text.is_empty(), "{text:?}: {written:?}");
    }
    let mut file = open();
    let text = format!("{TRIGGER}\n");
    assert_eq!(file.write(text.as_bytes()).unwrap(), text.len());
    assert_eq!(file.write(text.as_bytes()).unwrap_err().raw_os_error(), Some(libc::EBUSY));
    // It can still be read, and be truncated by whoever opens it.
    assert!(fs::read_to_string(daemon.path(VIEW)).unwrap().starts_with("some avg10="));
    fs::File::create(daemon.path(VIEW)).unwrap().write_all(text.as_bytes()).unwrap();
    for other in ["proc/meminfo", "proc/stat", "working_set"] {
        let refused = OpenOptions::new().write(true).open(daemon.path(other)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EROFS), "{other}");
    }
    assert_eq!(daemon.log().lines().count(), 1, "{}", daemon.log());
}

/// Without the option, and everywhere but in files of pressure.
fn nothing_is_written_otherwise() {
    let daemon = Daemon::start();
    let refused = OpenOptions::new().write(true).open(daemon.path(VIEW)).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let daemon = watchable(&[]);
    let live = |path: &str| daemon.live().join(path);
    let new = live("proc/new");
    for (what, result) in [
        ("create", fs::File::create(&new).map(drop)),
        ("mkdir", fs::create_dir(&new)),
        ("symlink", std::os::unix::fs::symlink("x", &new)),
        ("link", fs::hard_link(live("proc/stat"), &new)),
        ("unlink", fs::remove_file(live("proc/stat"))),
        ("rmdir", fs::remove_dir(live("proc/pressure"))),
        ("rename", fs::rename(live("proc/stat"), &new)),
        ("chmod", fs::set_permissions(live(VIEW), std::os::unix::fs::PermissionsExt::from_mode(0o600))),
        ("chown", std::os::unix::fs::chown(live(VIEW), Some(1), None)),
        ("truncate", OpenOptions::new().write(true).truncate(true).open(live("proc/stat")).map(drop)),
        ("write", OpenOptions::new().write(true).open(live("sys/devices/system/cpu/online")).map(drop)),
    ] {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EROFS), "{what}");
    }
}

/// Whatever cgroups it makes, another container has its triggers at once, and it loses some of its own.
fn a_tenant_with_many_cgroups() {
    let (daemon, tenant, other) = (watchable(&[]), Container::new(), Container::new());
    let children: Vec<_> = (0..20).map(|number| tenant.child(&number.to_string())).collect();
    let mut watches: Vec<_> =
        children.iter().map(|child| child.watch(&daemon.path(VIEW), 65, TRIGGER)).collect();
    let armed = |watch: &mut Running| watch.ask().split_once(' ').unwrap().0.parse::<u32>().unwrap();
    let armed: Vec<u32> = watches.iter_mut().map(armed).collect();
    println!("triggers: a tenant's cgroups had {armed:?}");
    assert!(armed.iter().sum::<u32>() >= 1024, "nobody else wanted them");
    let mut one = other.watch(&daemon.path(VIEW), 10, TRIGGER);
    assert_eq!(one.ask(), "10 []");
    let told = watches[0].ask();
    assert_ne!(told.split_once(' ').unwrap().1, "0", "those that lost theirs are told");
    let _spinners = other.stall();
    let told = one.ask();
    assert!(told != "0 0" && told.ends_with(" 0"), "{told}");
    let log = daemon.log();
    assert_eq!(log.matches("pressure triggers are taken").count(), 1, "{log}");
}

/// One container may have 64, another is not hindered, and closing gives all back.
fn a_thousand() {
    let (daemon, container, other) = (watchable(&[]), Container::new(), Container::new());
    let descriptors = daemon.descriptors();
    for _ in 0..2 {
        let mut many = container.watch(&daemon.path(VIEW), 1000, TRIGGER);
        assert_eq!(many.ask(), format!("64 [{}]", libc::ENOSPC));
        let mut one = other.watch(&daemon.path(VIEW), 1, TRIGGER);
        assert_eq!(one.ask(), "1 []");
        let spinners = other.stall();
        assert_eq!(one.ask(), "1 0");
        drop(spinners);
        assert_eq!(many.ask(), "0 0", "of another container's pressure it hears nothing");
        drop((many, one));
        wait_until("all are closed", || daemon.descriptors() <= descriptors + 8);
    }
    // Closed while others are polled, and without ever having been.
    let open_and_close = || {
        for _ in 0..1000 {
            let mut file = OpenOptions::new().read(true).write(true).open(daemon.path(VIEW)).unwrap();
            file.write_all(format!("{TRIGGER}\n").as_bytes()).unwrap();
        }
    };
    // What is opened at the moment of a close gets the number of that.
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(open_and_close))));
    assert_eq!(daemon.log().lines().count(), 1, "{}", daemon.log());
}

/// Its program has gone elsewhere and still polls.
fn a_removed_cgroup() {
    let (daemon, container) = (watchable(&[]), Container::new());
    let mut watch = container.watch(&daemon.path(VIEW), 1, TRIGGER);
    assert_eq!(watch.ask(), "1 []");
    let pid = watch.process.id().to_string();
    let away = Container::new();
    fs::write(away.procs(), &pid).unwrap();
    fs::write(away.memory.dir.join("cgroup.procs"), &pid).unwrap();
    drop(container);
    assert_eq!(watch.ask(), "1 1");
    assert_eq!(watch.ask(), "1 1", "it stays so");
    let before = daemon.processor_time();
    std::thread::sleep(Duration::from_secs(2));
    let used = daemon.processor_time() - before;
    assert!(used < 0.04, "{used} s: there is nothing to look at any more");
}

/// Whoever has the open file after a restart is not told of the pressure of another container.
fn a_trigger_stays_with_its_container() {
    let daemon = watchable(&["--supervise"]);
    let (container, other) = (Container::new(), Container::new());
    let mut watch = container.watch(&daemon.path(VIEW), 1, TRIGGER);
    assert_eq!(watch.ask(), "1 []");
    let pid = watch.process.id().to_string();
    fs::write(other.procs(), &pid).unwrap();
    fs::write(other.memory.dir.join("cgroup.procs"), &pid).unwrap();
    let before = crate::common::load::children(daemon.pid());
    daemon.signal(Signal::HUP);
    wait_until("another serves", || {
        let now = crate::common::load::children(daemon.pid());
        now.len() == 1 && now != before
    });
    let _spinners = other.stall();
    assert_eq!(watch.ask(), "1 1");
}

/// A program sleeps in poll(2) while the daemon is replaced, and when it is killed, and is told of the next event.
fn a_trigger_outlives_its_daemon() {
    let daemon = watchable(&["--supervise"]);
    let container = Container::new();
    let mut watch = container.watch(&daemon.path(VIEW), 1, TRIGGER);
    assert_eq!(watch.ask(), "1 []");
    let children = || crate::common::load::children(daemon.pid());
    for signal in [Signal::HUP, Signal::KILL] {
        let before = children();
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| watch.ask());
            std::thread::sleep(Duration::from_millis(300));
            match signal {
                Signal::HUP => daemon.signal(signal),
                _ => kill_process(Pid::from_raw(before[0].try_into().unwrap()).unwrap(), signal).unwrap(),
            }
            wait_until("another serves", || children().len() == 1 && children() != before);
            let _spinners = container.stall();
            asked.join().unwrap()
        });
        assert_eq!(asked, "1 0", "{signal:?}");
        // Whatever else there was to be told.
        std::thread::sleep(Duration::from_millis(1200));
        watch.ask();
    }
}

/// Of a cgroup whose account is switched off there is no file of pressure, and a reader is told so of the view, too.
fn no_account_is_kept() {
    let (daemon, container) = (Daemon::start(), Container::new());
    let switch = container.pressure.join("cgroup.pressure");
    // Since Linux 6.1.
    if !switch.exists() {
        return;
    }
    let view = daemon.path(VIEW);
    let read = |path: &Path| {
        let output = finish(container.command(&["cat", path.to_str().unwrap()]).env("LC_ALL", "C"));
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), error.trim().rsplit(": ").next().unwrap_or_default().to_string())
    };
    let own = container.pressure.join("cpu.pressure");
    assert_eq!((read(&view).0, read(&own).0), (true, true));
    fs::write(&switch, "0").unwrap();
    // The last answer may still be given.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(read(&view), read(&own));
    assert_eq!(read(&view), (false, "No such file or directory".to_string()));
    fs::write(&switch, "1").unwrap();
    assert!(read(&view).0);
}
