//! The load of containers, held against what runs there and against the kernel's own.

use super::in_container;
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::{helper, output, patience};
use cgprocfs::kernel::CgroupMounts;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The averages of a line of it, and how many tasks there are.
fn parts(line: &str) -> ([f64; 3], u32) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let average = |index: usize| words[index].parse().unwrap_or_else(|_| panic!("{line}"));
    let total = words[3].split_once('/').unwrap().1;
    ([average(0), average(1), average(2)], total.parse().unwrap())
}

/// Three spin on whatever there is; the load is three, of which one minute shows a part after some seconds.
pub fn average() {
    let spin = "while :; do :; done & ".repeat(3);
    let script = format!("cat /proc/loadavg; {spin} sleep 11; cat /proc/loadavg");
    let said = in_container(None, &script);
    let loads: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let [first, last] = &loads[..] else { panic!("{said}") };
    assert!(first[0].parse::<f64>().unwrap() < 1.0, "{said}");
    let one: f64 = last[0].parse().unwrap();
    // 3 (1 - exp(-10/60)) is 0.46, and what there was at first has gone down by then.
    assert!((0.4..1.2).contains(&one), "{said}");
    let (running, total) = last[3].split_once('/').unwrap();
    assert!(running.parse::<u32>().unwrap() >= 3 && total.parse::<u32>().unwrap() >= 5, "{said}");
}

/// How long it takes to read what tells the load of containers, in seconds of a processor.
fn readings(containers: &[(Cgroup, Child)]) -> f64 {
    let began = clock_gettime(ClockId::ThreadCPUTime);
    for (container, child) in containers {
        fs::read(container.dir.join("cgroup.procs")).unwrap();
        fs::read(format!("/proc/{}/status", child.id())).unwrap();
    }
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - began).unwrap().as_secs_f64()
}

/// What it costs to follow five hundred containers: less than a hundredth of one processor, or than twice
/// what it takes here to read the same files every five seconds, if that is more.
pub fn of_five_hundred_containers() {
    let daemon = Daemon::start();
    let pod = Cgroup::new();
    let path = daemon.path("proc/loadavg");
    let start = |index: usize| {
        let container = pod.child(index.to_string());
        let words = ["sh", "-c", "head -c 4 \"$0\" && exec sleep 60 > /dev/null", path.to_str().unwrap()];
        let mut child = container.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
        (container, child)
    };
    let containers: Vec<_> = (0..500).map(start).collect();
    let readings_before = readings(&containers);
    let (before, started) = (daemon.processor_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(20));
    let share = (daemon.processor_time() - before) / started.elapsed().as_secs_f64();
    let least = readings_before.max(readings(&containers)) / 5.0;
    let [shown, least_shown] = [share, least].map(|share| share * 100.0);
    println!(
        "processors: loads of 500 containers: {shown:.2} % of one processor, readings alone {least_shown:.2} %"
    );
    for (container, mut child) in containers {
        child.kill().unwrap();
        child.wait().unwrap();
        container.remove();
    }
    assert!(share < (2.0 * least).max(0.01), "{share}, of which readings take {least}");
}

/// After a burst of a second it is what the kernel would have counted of it since the container began, and
/// not as if it had always been so.
pub fn of_a_young_container() {
    let script = "timeout 1 sh -c 'while :; do :; done'; cat /proc/loadavg; sleep 11; cat /proc/loadavg";
    let said = in_container(None, script);
    for line in said.lines() {
        let ([one, five, fifteen], _) = parts(line);
        assert!((0.0..0.2).contains(&one) && five <= one && five < 0.05 && fifteen < 0.05, "{said}");
    }
}

/// Processes in a cgroup, which are ended with this.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn start(count: usize, cgroup: impl Fn(usize) -> PathBuf) -> Self {
        let start = |index| {
            let procs = cgroup(index).join("cgroup.procs");
            let script = "echo 0 >\"$0\" && exec sleep 600";
            Command::new("sh").args(["-c", script]).arg(procs).spawn().unwrap()
        };
        Self((0..count).map(start).collect())
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// A cgroup whose tasks can be frozen, thawed and removed with this.
struct Freezer {
    directory: PathBuf,
    file: PathBuf,
    words: [&'static str; 2],
}

impl Freezer {
    /// Of cgroup v1, where there is one; else a cgroup of v2, which has to be below `pod`.
    fn below(pod: &Cgroup) -> Self {
        let name = format!("cgprocfs-test-{}", std::process::id());
        let (directory, file, words) = match CgroupMounts::detect(Path::new("/")).unwrap().freezer {
            Some(freezer) => (freezer.mount_point.join(name), "freezer.state", ["FROZEN", "THAWED"]),
            None => (pod.dir.join(name), "cgroup.freeze", ["1", "0"]),
        };
        fs::create_dir(&directory).unwrap();
        let freezer = Self { file: directory.join(file), directory, words };
        assert!(freezer.file.exists(), "{}", freezer.file.display());
        freezer
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(&self.file, self.words[1]);
        for _ in 0..500 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Idle tasks that are frozen are said to be uninterruptible by cgroup v1, and the kernel does not count
/// them.
pub fn without_frozen_tasks() {
    let daemon = Daemon::start();
    let pod = Cgroup::new();
    let freezer = Freezer::below(&pod);
    let is_in_pod = freezer.directory.starts_with(&pod.dir);
    let sleepers =
        Sleepers::start(20, |_| if is_in_pod { freezer.directory.clone() } else { pod.dir.clone() });
    if !is_in_pod {
        crate::common::wait_until("all are there", || pod.pids().len() == 20);
        for pid in pod.pids() {
            fs::write(freezer.directory.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }
    let load = daemon.path("proc/loadavg");
    let shown = || parts(&output(&mut pod.command(&["cat", load.to_str().unwrap()])));
    // To start them is a load, which ends on its own.
    std::thread::sleep(patience(1));
    shown();
    fs::write(&freezer.file, freezer.words[0]).unwrap();
    std::thread::sleep(patience(1).max(Duration::from_secs(11)));
    let ([one, ..], total) = shown();
    fs::write(&freezer.file, freezer.words[1]).unwrap();
    drop(sleepers);
    // Two looks would have made it 20 (1 - exp(-10/60)), which is 3.
    assert!(one < 0.5 && total >= 20, "{one} of {total}");
}

/// Whatever cgroups they are in, all tasks are there.
pub fn of_seven_hundred_cgroups() {
    const COUNT: u32 = 700;
    let daemon = Daemon::start();
    let pod = Cgroup::new();
    let children: Vec<_> = (0..COUNT).map(|index| pod.bare_child(index.to_string())).collect();
    let _sleepers = Sleepers::start(children.len(), |index| children[index].dir.clone());
    crate::common::wait_until("all are there", || children.iter().all(|child| !child.pids().is_empty()));
    let load = daemon.path("proc/loadavg");
    let total = || parts(&output(&mut pod.command(&["cat", load.to_str().unwrap()]))).1;
    // The reader, too.
    assert_eq!(total(), COUNT + 1);
    std::thread::sleep(Duration::from_secs(6));
    assert!((COUNT..=COUNT + 1).contains(&total()));
}

/// How long it is read at each second, when two processes begin to spin and when they end.
const SECONDS: u64 = 55;
const BURST: std::ops::Range<u64> = 3..28;

/// Prints a view and the kernel's own file at each second, and lets two processes spin for a while.
pub fn read_load(path: &str) {
    let native = || fs::read_to_string("/proc/loadavg").unwrap();
    // Whoever reads in the moment in which the kernel counts is counted, and so is the daemon.
    let (before, began) = (parts(&native()).0, Instant::now());
    while parts(&native()).0 == before && began.elapsed() < Duration::from_secs(6) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    let (mut spinners, began) = (Vec::new(), Instant::now());
    for second in 0..SECONDS {
        std::thread::sleep(Duration::from_secs(second).saturating_sub(began.elapsed()));
        print!("{}{}", fs::read_to_string(path).unwrap(), native());
        if second == BURST.start {
            let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
            spinners.extend([spin(), spin()]);
        }
        if second == BURST.end {
            spinners.iter_mut().for_each(|spinner: &mut Child| spinner.kill().unwrap());
            spinners.iter_mut().for_each(|spinner| assert!(!spinner.wait().unwrap().success()));
        }
    }
}

/// A container that is the only load has the host's, at every second of a burst and of the silence after it.
/// Where the emulator has to wait the guest's kernel has much to do at once, and is not idle but for the
/// container: then it is tried again.
pub fn is_the_kernels() {
    let daemon = Daemon::start();
    let attempts: Vec<_> = (0..3).map_while(|_| difference_to_the_kernels(&daemon)).collect();
    assert!(attempts.len() < 3, "{}", attempts.join("\n"));
}

/// What was read, if that differs too much.
fn difference_to_the_kernels(daemon: &Daemon) -> Option<String> {
    const PERIODS: [f64; 3] = [60.0, 300.0, 900.0];
    let pod = Cgroup::new();
    let load = daemon.path("proc/loadavg");
    let reader = helper::command("read-load", &[load.to_str().unwrap()]);
    let mut command = pod.command(&reader.iter().map(String::as_str).collect::<Vec<_>>());
    let said = command.stdout(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let lines: Vec<[f64; 3]> = said.lines().map(|line| parts(line).0).collect();
    // The guest has just booted, which goes on to decay, in steps that may be five seconds behind.
    let residue = lines[1];
    let off = |second: f64, pair: &[[f64; 3]]| {
        let off = |index: usize| {
            let rest = |age: f64| residue[index] * (-age.max(0.0) / PERIODS[index]).exp();
            let others = pair[1][index] - pair[0][index];
            (others - rest(second - 5.0)).max(rest(second) - others).max(0.0)
        };
        [0, 1, 2].map(off).into_iter().fold(0.0, f64::max)
    };
    let off = lines.chunks(2).enumerate().map(|(second, pair)| (off(second as f64, pair), second));
    let worst = off.fold((0.0, 0), |worst, now| if now.0 > worst.0 { now } else { worst });
    println!("processors: load is the kernel's within {:.3}, at second {}", worst.0, worst.1);
    assert_eq!(lines.len() as u64, 2 * SECONDS);
    let while_two_spin = lines[2 * usize::try_from(BURST.end).unwrap() - 2][0];
    let is_near = worst.0 < 0.1 && while_two_spin > 0.5;
    (!is_near).then(|| format!("{worst:?}, and {while_two_spin} while two spin:\n{said}"))
}
