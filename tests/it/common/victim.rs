//! Another container beside a load: how long its reads take, of our view and of the kernel's own file.

use super::cgroup::Cgroup;
use super::daemon::Daemon;
use super::helper::{self, Running};
use super::storm::{begin, goes_on};
use super::{allowed, load};
use nix::mount::{MntFlags, umount2};
use std::fmt;
use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

/// As seldom as a program that watches something closely.
const PAUSE: Duration = Duration::from_millis(3);
/// How long a read may take beside whatever load: less than a person notices.
pub const BOUND: Duration = Duration::from_millis(250);
/// And of a hundred all but one no longer than this.
pub const BOUND_OF_MOST: Duration = Duration::from_millis(25);
/// The same as a multiple of what it takes with the kernel's own file beside the same load.
const TIMES_THE_KERNELS: u32 = 5;
/// The container's limit, in MiB.
pub const LIMIT: u64 = 64;

/// The helper: opens, reads and closes a file every 3 ms until its stdin ends. A read that fails, or whose
/// text does not begin with one of `lines`, if there are any, is an error.
pub fn victim(path: &str, lines: &[&str]) {
    begin();
    let (mut took, mut errors) = (Vec::new(), Vec::new());
    while goes_on() {
        let start = Instant::now();
        let text = fs::read_to_string(path);
        took.push(start.elapsed());
        match text {
            Ok(text) if !text.ends_with('\n') => errors.push(format!("cut short: {text:?}")),
            Ok(text) if !(lines.is_empty() || lines.iter().any(|line| text.lines().next() == Some(line))) => {
                errors.push(text);
            }
            Ok(_) => {}
            Err(error) => errors.push(error.to_string()),
        }
        std::thread::sleep(PAUSE);
    }
    took.sort_unstable();
    let at =
        |part: usize| took.get(took.len().saturating_sub(1) * part / 1000).map_or(0, Duration::as_micros);
    println!("{} {} {} {} {}", took.len(), errors.len(), at(500), at(990), at(1000));
    if let Some(error) = errors.first() {
        println!("{}", error.lines().next().unwrap_or_default());
    }
}

/// What a victim has seen.
#[derive(Clone)]
pub struct Seen {
    pub reads: usize,
    pub errors: usize,
    pub median: Duration,
    /// Of a hundred reads one took longer.
    pub late: Duration,
    pub longest: Duration,
    first_error: String,
}

impl Seen {
    fn parse(said: &str) -> Self {
        let (figures, first_error) = said.split_once('\n').unwrap_or((said, ""));
        let figures: Vec<u64> = figures.split(' ').map(|figure| figure.parse().unwrap()).collect();
        let count = |place: usize| usize::try_from(figures[place]).unwrap();
        let time = |place: usize| Duration::from_micros(figures[place]);
        let first_error = first_error.trim().to_string();
        let (reads, errors) = (count(0), count(1));
        Self { reads, errors, median: time(2), late: time(3), longest: time(4), first_error }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, errors, median, late, longest, first_error } = self;
        write!(f, "{reads} reads, median {median:.2?}, 99 % {late:.2?}, longest {longest:.2?}")?;
        if *errors > 0 { write!(f, ", {errors} errors: {first_error}") } else { Ok(()) }
    }
}

/// A container that reads while others do what they do.
pub struct Victim(Running);

impl Victim {
    /// One in `cgroup` that reads a file; where `lines` are named, each text has to begin with one of these.
    pub fn start(cgroup: &Cgroup, path: &str, lines: &[&str]) -> Self {
        let words = helper::command("victim", &[&[path], lines].concat());
        Self(helper::start(&mut cgroup.command(&words.iter().map(String::as_str).collect::<Vec<_>>())))
    }

    /// Ends it. One that hangs is freed by having the daemon's connection aborted, which is an error for it.
    pub fn end(mut self, daemon: &Daemon) -> Seen {
        drop(self.0.process.stdin.take());
        let deadline = Instant::now() + allowed(Duration::from_secs(10));
        while self.0.process.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = umount2(&daemon.live(), MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut said = String::new();
        self.0.stdout.read_to_string(&mut said).unwrap();
        Seen::parse(said.trim())
    }
}

/// Two victims in one container, side by side: one reads our view, the other the kernel's own file.
pub struct Pair {
    ours: Victim,
    kernels: Victim,
    _cgroup: Cgroup,
}

impl Pair {
    /// Our view is bound over `/proc/meminfo`, as containers have it.
    pub fn start(daemon: &Daemon) -> Self {
        let cgroup = Cgroup::new().limit(LIMIT);
        let line = format!("MemTotal:       {:8} kB", LIMIT << 10);
        let words = helper::command("victim", &["/proc/meminfo", &line]);
        let ours = Victim(load::bound(&[], &cgroup, &daemon.meminfo(), &words));
        let kernels = Victim::start(&cgroup, "/proc/meminfo", &[]);
        Self { ours, kernels, _cgroup: cgroup }
    }

    pub fn end(self, daemon: &Daemon) -> Beside {
        Beside { ours: self.ours.end(daemon), kernels: self.kernels.end(daemon) }
    }
}

/// What both have seen beside the same load.
pub struct Beside {
    pub ours: Seen,
    pub kernels: Seen,
}

impl Beside {
    /// No read of ours may have failed, nor have taken longer than it may.
    pub fn check(&self) {
        self.check_to(BOUND_OF_MOST);
    }

    /// The same with another bound for all but one of a hundred.
    pub fn check_to(&self, of_most: Duration) {
        self.holds_to(&self.ours, of_most);
    }

    /// The same of another view that was read meanwhile.
    pub fn holds(&self, seen: &Seen) {
        self.holds_to(seen, BOUND_OF_MOST);
    }

    fn holds_to(&self, seen: &Seen, of_most: Duration) {
        assert!(seen.reads > 0 && seen.errors == 0, "{seen}");
        self.is_quick(seen, of_most);
    }

    /// Whether it was told of errors or not, it did not have to wait.
    pub fn is_quick(&self, seen: &Seen, of_most: Duration) {
        let kernels = &self.kernels;
        let longest = (seen.longest, BOUND, kernels.longest);
        let late = (seen.late, of_most, kernels.late);
        // Of fewer reads the longest is among the 99 of 100.
        let of_many = (seen.reads >= 100).then_some(late);
        for (took, bound, theirs) in [longest].into_iter().chain(of_many) {
            let bound = allowed(bound).max(theirs * TIMES_THE_KERNELS);
            assert!(
                took < bound,
                "{took:?} is longer than {bound:?}: {seen}; the kernel's own file: {kernels}"
            );
        }
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the kernel's own file: {}", self.ours, self.kernels)
    }
}
