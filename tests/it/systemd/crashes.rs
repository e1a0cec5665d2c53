//! A daemon that dies, again and again, and what systemd makes of it.

use super::{SYSTEMD, System, container, total};
use crate::common::cgroup::Cgroup;
use crate::common::load::LIMIT;
use crate::common::{Stopped, host_total, output, test, times, wait_at_most, wait_until};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(SYSTEMD) => [
            crash_restart_and_stop,
            watchdog,
            crash_loop,
            stopped_in_a_crash_loop,
            restarted_after_a_crash_loop,
        ],
    }
}

fn native() -> String {
    format!("MemTotal:       {:8} kB", host_total())
}

/// No read fails over a crash and a restart; a stop gives containers the kernel's files.
fn crash_restart_and_stop() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    system.systemctl(&["start", "cgprocfs"]);
    let seen = output(&mut system.command(&["cat", "/proc/mounts"]));
    assert!(seen.contains("/run/cgprocfs/live fuse.cgprocfs"), "{seen}");
    // The mounts are shared here, as on any host: the kernel's own files are not to be covered with the
    // anchors.
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
    let (reads, longest, busy) = load.end();
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

/// A daemon that is stopped is killed and started again by systemd.
fn watchdog() {
    let system = System::boot();
    system.systemctl(&["start", "cgprocfs"]);
    let load = system.load();
    let pid = system.server();
    let stopped = Stopped::new(pid);
    wait_at_most(30, "the stopped daemon is killed", || ![0, pid].contains(&system.server()));
    std::mem::forget(stopped);
    let (_, longest, busy) = load.end();
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
    // Who waits for a server is told that there will be none; whoever asks after that has the kernel's own
    // file.
    let aborted = "error: Software caused connection abort (os error 103)";
    let (gave_up, mut answers) = (AtomicBool::new(false), Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !gave_up.load(Ordering::Relaxed) {
                let answer = container.ask();
                if answers.last() != Some(&answer) {
                    answers.push(answer);
                }
            }
        });
        let has_failed = || system.show("ActiveState") == "failed";
        let result = catch_unwind(AssertUnwindSafe(|| wait_at_most(80, "systemd gives up", has_failed)));
        gave_up.store(true, Ordering::Relaxed);
        result.unwrap();
    });
    let expected = [total(LIMIT), aborted.to_string(), native()];
    assert!(expected.ends_with(&answers), "{answers:?}: {}", system.log());
    println!("systemd: crash loop: systemd has given up after {:?}", start.elapsed());
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

/// Whoever mends the cause and starts it again need not wait for the next attempt, and nothing unmounts it
/// then.
fn restarted_after_a_crash_loop() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    system.systemctl(&["start", "cgprocfs"]);
    let mut container = container(&system, &cgroup);
    system.add_to("cgprocfs.service", "broken", "[Service]\nExecStart=\nExecStart=/bin/false\n");
    let pid = system.server();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    let state = |unit: &str| system.systemctl(&["show", "--value", "-p", "ActiveState", unit]);
    wait_at_most(80, "it waits for another attempt", || state("cgprocfs-fallback").trim() == "activating");
    wait_until("the container has the kernel's file", || container.ask() == native());
    system.remove_from("cgprocfs.service", "broken");
    system.systemctl(&["reset-failed", "cgprocfs"]);
    system.systemctl(&["restart", "cgprocfs"]);
    let server = system.server();
    for _ in 0..20 {
        assert_eq!(container.ask(), total(LIMIT), "{}", system.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((system.server(), state("cgprocfs-fallback").trim()), (server, "inactive"));
}
