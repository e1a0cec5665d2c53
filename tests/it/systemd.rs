//! The unit as it is, under a real systemd that is the first process of namespaces of its own.

use crate::common::cgroup::Cgroup;
use crate::common::helper::{self, Running};
use crate::common::load::{self, LIMIT, Load};
use crate::common::{
    Need, Stopped, cgprocfs_path, field, finish, host_total, output, test, times, wait_at_most, wait_until,
};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SYSTEMD: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV1, Need::Program("systemctl")];

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Program("systemd-analyze")]) => [
            exposure,
        ],
        test(SYSTEMD) => [
            crash_restart_and_stop,
            watchdog,
            crash_loop,
            stopped_in_a_crash_loop,
            anchors,
            started_beside_the_unit,
            connection_aborted,
        ],
    }
}

/// What `systemd-analyze security` thinks of it, from 0 to 10.
fn exposure() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/cgprocfs.service");
    let said =
        output(Command::new("systemd-analyze").args(["security", "--no-pager", "--offline=true"]).arg(unit));
    let level = said.lines().find_map(|line| line.split("Overall exposure level for").nth(1));
    println!("systemd: exposure{}", level.unwrap());
    let number = level.unwrap().split_whitespace().nth(1).unwrap();
    assert!(number.parse::<f64>().unwrap() <= 1.6, "{said}");
}

/// A systemd that has the unit, ended with all that it started when it goes out of scope.
struct System {
    launcher: Child,
    pid: u32,
    cgroup: PathBuf,
    /// Where its log is.
    directory: tempfile::TempDir,
}

impl System {
    fn boot() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.');
        let cgroup = Path::new("/sys/fs/cgroup/systemd").join(format!("cgprocfs-test-{name}"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/boot");
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let launcher = Command::new(script)
            .arg(directory.path())
            .arg(cgprocfs_path())
            .arg(&cgroup)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut system = Self { launcher, pid: 0, cgroup, directory };
        wait_at_most(20, "systemd boots", || {
            system.pid = load::children(system.launcher.id()).first().copied().unwrap_or(0);
            Path::new(&format!("/proc/{}/root/run/booted", system.pid)).exists()
        });
        system
    }

    /// The words that run a command there.
    fn enter(&self) -> Vec<String> {
        let words = ["nsenter", "--target", &self.pid.to_string(), "-m", "-u", "-i", "-p", "-r", "-w"];
        words.map(str::to_string).to_vec()
    }

    fn command(&self, words: &[&str]) -> Command {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).args(words);
        command
    }

    fn systemctl(&self, words: &[&str]) -> String {
        output(self.command(&["systemctl"]).args(words))
    }

    /// Changes a unit.
    fn add_to(&self, unit: &str, name: &str, text: &str) {
        let directory = format!("/proc/{}/root/etc/systemd/system/{unit}.d", self.pid);
        fs::create_dir_all(&directory).unwrap();
        fs::write(Path::new(&directory).join(format!("{name}.conf")), text).unwrap();
        self.systemctl(&["daemon-reload"]);
    }

    fn remove_from(&self, unit: &str, name: &str) {
        let directory = format!("/proc/{}/root/etc/systemd/system/{unit}.d", self.pid);
        fs::remove_file(Path::new(&directory).join(format!("{name}.conf"))).unwrap();
        self.systemctl(&["daemon-reload"]);
    }

    fn show(&self, property: &str) -> String {
        self.systemctl(&["show", "--value", "-p", property, "cgprocfs"]).trim().to_string()
    }

    /// The server, by its number here.
    fn server(&self) -> u32 {
        let inside = self.show("MainPID");
        let is_it = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            numbers.split_whitespace().last() == Some(&inside) && numbers.split_whitespace().count() > 1
        };
        let procs = fs::read_to_string(self.cgroup.join("system.slice/cgprocfs.service/cgroup.procs"));
        let pids: Vec<u32> = procs.unwrap_or_default().lines().map(|line| line.parse().unwrap()).collect();
        pids.into_iter().find(|pid| is_it(pid)).unwrap_or(0)
    }

    fn load(&self) -> Load {
        Load::start(&self.enter(), MEMINFO)
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(
            &finish(&mut self.command(&["systemctl", "status", "-n100", "cgprocfs"])).stdout,
        )
        .into_owned()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
            if self.pid != 0 {
                eprintln!("{}", self.log());
            }
        }
        // The first process takes all others with it; who waits for a server that is stopped can't be killed.
        let abort = ["umount", "--force", "--lazy", "/run/cgprocfs/live"];
        if self.pid != 0 {
            let _ = finish(&mut self.command(&abort));
        }
        let pid = self.pid.try_into().ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
        // systemd makes cgroups in the hierarchy of v2, too.
        let name = self.cgroup.file_name().unwrap();
        for cgroup in [&self.cgroup, &Path::new("/sys/fs/cgroup/unified").join(name)] {
            for _ in 0..200 {
                if !cgroup.exists() || cgprocfs::run::remove_cgroup(cgroup).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

const MEMINFO: &str = "/run/cgprocfs/proc/meminfo";

/// A container that was started now: what it reads in its bind of the anchor, each time it is asked.
fn container(system: &System, cgroup: &Cgroup) -> Running {
    load::bound(&system.enter(), cgroup, MEMINFO, &helper::command("reopen", &["/proc/meminfo"]))
}

fn total(mib: u64) -> String {
    format!("MemTotal:       {:8} kB", mib << 10)
}

fn native() -> String {
    format!("MemTotal:       {:8} kB", host_total())
}

fn crash_restart_and_stop() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    system.systemctl(&["start", "cgprocfs"]);
    let seen = output(&mut system.command(&["cat", "/proc/mounts"]));
    assert!(seen.contains("/run/cgprocfs/live fuse.cgprocfs"), "{seen}");
    // The mounts are shared here, as on any host: the kernel's own files are not to be covered with the anchors.
    let is_covered = |line: &str| line.contains(" fuse.cgprocfs ") && !line.contains(" /run/cgprocfs/");
    assert!(!seen.lines().any(is_covered), "{seen}");
    assert_ne!(system.server(), 0);
    let status = fs::read_to_string(format!("/proc/{}/status", system.server())).unwrap();
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_string();
    // CAP_SYS_PTRACE; without CAP_SETPCAP it can't change what it was bounded to.
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "CapBnd:"];
    let sets = sets.map(|key| u64::from_str_radix(&line(key), 16).unwrap());
    assert_eq!(sets, [0, 1 << 19, 1 << 19, 0, 1 << 19 | 1 << 21]);
    assert_eq!([line("NoNewPrivs:"), line("Seccomp:")], ["1", "2"]);
    // The unit's filter, and the two of its own.
    assert!(line("Seccomp_filters:").parse::<u32>().unwrap() >= 3, "{status}");
    assert!(!line("Uid:").starts_with("0\t"), "{status}");

    // As an unprivileged user it serves all views, to the host's processes and to a container's.
    // What no processor here has fails in the kernel's own, too, and some files are there to be written to.
    const ALL: &[&str] =
        &["find", "/run/cgprocfs/live", "-type", "f", "-perm", "/444", "-not", "-path", "*/power/*"];
    const READ: &[&str] = &["-exec", "timeout", "5", "cat", "{}", "+"];
    output(&mut system.command(&[ALL, &["-not", "-name", "slabinfo"], READ].concat()));
    let enter = system.enter();
    let words: Vec<&str> = enter.iter().map(String::as_str).chain([ALL, READ].concat()).collect();
    let text = output(&mut cgroup.command(&words));
    assert!(text.contains("slabinfo - version") && text.contains("btime "), "{text}");

    let mut early = container(&system, &cgroup);
    assert_eq!(early.ask(), total(LIMIT));
    let load = system.load();
    let stack = || {
        let mounts = output(&mut system.command(&["cat", "/proc/mounts"]));
        mounts.lines().filter(|line| line.contains(" /run/cgprocfs/proc/meminfo ")).count()
    };
    let depth = stack();
    for _ in 0..times(20) {
        let pid = system.server();
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        std::thread::sleep(Duration::from_millis(250));
        // Who is killed before it serves keeps readers waiting for the next, and the next.
        wait_until("another serves", || {
            ![0, pid].contains(&system.server()) && system.show("ActiveState") == "active"
        });
    }
    let crashes: usize = system.show("NRestarts").parse().unwrap();
    assert_eq!(crashes, times(20), "{}", system.log());
    // More starts in so short a time would count as a crash loop.
    for _ in 0..times(10) {
        let pid = system.server();
        system.systemctl(&["restart", "cgprocfs"]);
        assert_ne!(system.server(), pid);
        std::thread::sleep(Duration::from_millis(250));
    }
    assert_eq!(stack(), depth, "a restart lays nothing");
    let busy = load.busy;
    let (reads, longest) = load.end();
    println!(
        "systemd: killed {} times, restarted {} times: {reads} reads, none failed, the longest took {longest:?}",
        times(20),
        times(10)
    );
    assert!(longest < busy.stretches(Duration::from_secs(2)), "{longest:?}");

    let mut late = container(&system, &cgroup);
    assert_eq!([early.ask(), late.ask()], [total(LIMIT), total(LIMIT)]);
    system.systemctl(&["stop", "cgprocfs"]);
    let mut between = container(&system, &cgroup);
    for container in [&mut early, &mut late, &mut between] {
        assert_eq!(container.ask(), native());
    }
    assert_eq!(output(&mut system.command(&["cat", "/run/cgprocfs/working_set"])), "");
    let seen = output(&mut system.command(&["cat", "/proc/mounts"]));
    assert!(!seen.contains("/run/cgprocfs/live fuse"), "{seen}");
    system.systemctl(&["start", "cgprocfs"]);
    for container in [&mut early, &mut late, &mut between] {
        assert_eq!(container.ask(), total(LIMIT));
    }
}

fn watchdog() {
    let system = System::boot();
    system.systemctl(&["start", "cgprocfs"]);
    let load = system.load();
    let pid = system.server();
    let stopped = Stopped::new(pid);
    wait_at_most(30, "the stopped daemon is killed", || ![0, pid].contains(&system.server()));
    std::mem::forget(stopped);
    let busy = load.busy;
    let (_, longest) = load.end();
    println!("systemd: stopped, killed by the watchdog: the longest read took {longest:?}");
    assert!(longest < crate::common::patience(10) + busy.stretches(Duration::from_secs(2)), "{longest:?}");
    assert_eq!(system.show("NRestarts"), "1");
}

/// A daemon that can't start any more, for a while.
fn crash_loop() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    system.systemctl(&["start", "cgprocfs"]);
    let mut container = container(&system, &cgroup);
    assert_eq!(container.ask(), total(LIMIT));
    let broken = "[Service]\nExecStart=\nExecStart=/bin/false\n";
    system.add_to("cgprocfs.service", "broken", broken);
    // As the unit has it, but for the minute.
    let unit =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/cgprocfs-fallback.service"));
    let sooner: String = unit
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("ExecStart="))
        .fold("[Service]\nExecStart=\n".into(), |text, line| {
            text + &line.replace("sleep 60", "sleep 5") + "\n"
        });
    system.add_to("cgprocfs-fallback.service", "sooner", &sooner);
    let pid = system.server();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    let start = Instant::now();
    wait_at_most(80, "systemd gives up", || system.show("ActiveState") == "failed");
    wait_until("the kernel's own file is there", || container.ask() == native());
    println!("systemd: crash loop: the kernel's own file after {:?}", start.elapsed());
    // It is mended, and nobody has to start it again.
    system.remove_from("cgprocfs.service", "broken");
    wait_at_most(30, "it has its own numbers", || container.ask() == total(LIMIT));
    wait_until("systemd knows", || system.show("ActiveState") == "active");
}

/// Who stops it while it waits for another attempt has it stopped.
fn stopped_in_a_crash_loop() {
    let system = System::boot();
    system.systemctl(&["start", "cgprocfs"]);
    system.add_to("cgprocfs.service", "broken", "[Service]\nExecStart=\nExecStart=/bin/false\n");
    let pid = system.server();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    let waits = || {
        let state = system.systemctl(&["show", "--value", "-p", "ActiveState", "cgprocfs-fallback"]);
        state.trim() == "activating"
    };
    wait_at_most(80, "it waits for another attempt", waits);
    system.systemctl(&["stop", "cgprocfs"]);
    wait_until("it does not any more", || !waits());
}

/// What the unit makes is readable by other users than root, whatever its umask, and is no more each time.
fn anchors() {
    let system = System::boot();
    let read = |path: &str| {
        let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", path];
        output(&mut system.command(&nobody))
    };
    let mut left = Vec::new();
    for _ in 0..3 {
        system.systemctl(&["start", "cgprocfs"]);
        assert!(read("/run/cgprocfs/working_set").trim().parse::<u64>().is_ok());
        assert!(!read("/run/cgprocfs/proc/pressure/cpu").is_empty());
        system.systemctl(&["stop", "cgprocfs"]);
        assert_eq!(read("/run/cgprocfs/working_set"), "");
        assert!(read(MEMINFO).contains("DirectMap"));
        let mounts = output(&mut system.command(&["cat", "/proc/mounts"]));
        left.push(mounts.lines().filter(|line| line.contains(" /run/cgprocfs")).count());
    }
    assert!(left.iter().all(|count| *count == left[0]), "{left:?}");
}

/// Somebody starts another one beside the unit.
fn started_beside_the_unit() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    system.systemctl(&["start", "cgprocfs"]);
    let mut container = container(&system, &cgroup);
    for options in [&[][..], &["--supervise"]] {
        let words = [&["cgprocfs", "mount"], options, &["/run/cgprocfs"]].concat();
        let refused = finish(&mut system.command(&words));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("is served already"), "{said}");
        assert_eq!(container.ask(), total(LIMIT));
    }
    // Nor does that keep the unit from starting again.
    system.systemctl(&["restart", "cgprocfs"]);
    assert_eq!(container.ask(), total(LIMIT));
}

/// The connection is lost under a daemon that lives.
fn connection_aborted() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    system.systemctl(&["start", "cgprocfs"]);
    let mut container = container(&system, &cgroup);
    assert_eq!(container.ask(), total(LIMIT));
    let start = Instant::now();
    output(&mut system.command(&["umount", "--force", "--lazy", "/run/cgprocfs/live"]));
    wait_until("the container has its values again", || container.ask() == total(LIMIT));
    println!("systemd: connection aborted: a container has its own values again after {:?}", start.elapsed());
    assert_eq!(field(&output(&mut system.command(&["cat", MEMINFO])), "MemTotal"), host_total());
}
