//! Who asks: a process in each container, once a second, spread over it.

use crate::containers::Containers;
use crate::server::Meter;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How files are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Opened anew.
    Opens,
    /// By a new process.
    IsNew,
    /// Through a descriptor that stays open.
    Keeps,
}

/// What is measured.
pub struct Plan {
    pub containers: usize,
    pub paths: Vec<String>,
    pub manner: Manner,
    pub seconds: f64,
}

/// What it took.
#[derive(Serialize)]
pub struct Figures {
    /// The daemon's processor time for one poll that was done.
    pub cpu_us: f64,
    /// How long a poll took.
    pub p50_us: f64,
    pub p99_us: f64,
    /// How many of those that were due were done, in per cent.
    pub done: f64,
    pub rss_kib: u64,
    pub descriptors: usize,
}

/// Since the start of CLOCK_MONOTONIC, which all processes share.
fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap()
}

/// The first second is for daemons to get to know the containers.
pub fn measure(plan: &Plan, containers: &Containers, meter: &Meter) -> Figures {
    let begin = now() + Duration::from_secs_f64(1.0 + plan.containers as f64 * 0.006);
    let (from, until) = (begin + Duration::from_secs(1), begin + Duration::from_secs_f64(1.0 + plan.seconds));
    let manner = match plan.manner {
        Manner::Opens => "opens",
        Manner::IsNew => "new",
        Manner::Keeps => "keeps",
    };
    let start = |container: usize| -> Child {
        let offset = Duration::from_secs_f64((container as f64 + 0.5) / plan.containers as f64);
        let mut command = Command::new("sh");
        let enter = format!("{}exec unshare --pid --fork \"$@\"", containers.enter(container));
        command.args(["-c", &enter, "sh"]).arg(std::env::current_exe().unwrap()).arg("--poll");
        command.args([begin + offset, from, until].map(|time| time.as_nanos().to_string())).arg(manner);
        command.args(&plan.paths).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let pollers: Vec<Child> = (0..plan.containers).map(start).collect();
    assert!(now() < begin, "this machine takes too long to start so many");
    std::thread::sleep(from - now());
    let (ran, woke) = (meter.ran(), Instant::now());
    std::thread::sleep(until.saturating_sub(now()));
    let (ran, seconds) = (meter.ran() - ran, woke.elapsed().as_secs_f64());
    let (rss_kib, descriptors) = meter.size();
    let mut times: Vec<f64> = Vec::new();
    for poller in pollers {
        let text = String::from_utf8(poller.wait_with_output().unwrap().stdout).unwrap();
        times.extend(text.lines().map(|line| line.parse::<f64>().unwrap()));
    }
    times.sort_unstable_by(f64::total_cmp);
    let of_sorted = |per_cent: usize| times.get(times.len() * per_cent / 100).copied().unwrap_or(f64::NAN);
    Figures {
        cpu_us: ran.as_secs_f64() * 1e6 / times.len() as f64,
        p50_us: of_sorted(50),
        p99_us: of_sorted(99),
        done: times.len() as f64 / (plan.containers as f64 * seconds.round()) * 100.0,
        rss_kib,
        descriptors,
    }
}

/// Polls from one moment on, and prints how long each poll took that has ended within two others.
pub fn run(arguments: &[String]) {
    let time = |index: usize| Duration::from_nanos(arguments[index].parse().unwrap());
    let (begin, from, until) = (time(0), time(1), time(2));
    let (manner, paths) = (arguments[3].as_str(), &arguments[4..]);
    let kept: Vec<File> =
        paths.iter().filter(|_| manner == "keeps").map(|path| File::open(path).unwrap()).collect();
    let (mut took, mut due) = (Vec::new(), begin);
    while due < until {
        std::thread::sleep(due.saturating_sub(now()));
        let microseconds = match manner {
            "new" => {
                let this = std::env::current_exe().unwrap();
                let said = Command::new(this).arg("--read-once").args(paths).output().unwrap().stdout;
                String::from_utf8(said).unwrap().trim().parse().unwrap()
            }
            "keeps" => {
                let mut buffer = vec![0; 131_072];
                let began = Instant::now();
                kept.iter().for_each(|file| assert!(file.read_at(&mut buffer, 0).unwrap() > 0));
                began.elapsed().as_secs_f64() * 1e6
            }
            _ => read_all(paths),
        };
        // Where polls wait for longer than they are apart, none may begin and end within the time.
        if (from..=until).contains(&now()) {
            took.push(microseconds);
        }
        // A poll that was late does not make the next one early.
        due += Duration::from_secs(now().saturating_sub(due).as_secs() + 1);
    }
    took.iter().for_each(|microseconds| println!("{microseconds:.1}"));
}

/// The name of a file that is nowhere, which the file system is asked for each time.
pub const MISSING: &str = "missing";

/// Opens, reads to the end and closes each file, lists what ends with a slash, looks up what is
/// [missing](MISSING), and tells how many microseconds that took.
pub fn read_all(paths: &[String]) -> f64 {
    let (began, mut buffer) = (Instant::now(), vec![0; 131_072]);
    for path in paths {
        if path.ends_with('/') {
            assert!(std::fs::read_dir(path).unwrap().count() > 0);
        } else if path.ends_with(MISSING) {
            assert!(std::fs::metadata(path).is_err());
        } else {
            let mut file = File::open(path).unwrap();
            while file.read(&mut buffer).unwrap() > 0 {}
        }
    }
    began.elapsed().as_secs_f64() * 1e6
}
