//! What a fleet costs: many containers, each asked once a second, so that every answer is cold.
//!
//! Measured in one run for the floor, a FUSE file system that does nothing; one that reads what an answer is
//! made from, and makes none; lxcfs, where it is installed; another build of cgprocfs, if
//! `CGPROCFS_OTHER_BUILD` names one; and the kernel's own files. The daemons' processor time is that of a
//! cgroup of their own. Times depend on the machine and on who else uses it: the ratios are what counts.
//! `cargo bench --bench fleet`, as root; `-- --seconds 3` makes each cell shorter, `-- --containers 100`
//! leaves out what has more than a hundred, and `-- --only cost` (or `sysfs`, `growth`, `overload`, `idle`) every
//! other table. With `-- --json` stdout is a line of JSON for each cell, and the tables go to stderr.
#![allow(clippy::unwrap_used)]

#[path = "../common/attributes.rs"]
mod attributes;
#[path = "../common/containers.rs"]
mod containers;
#[path = "../common/floor.rs"]
mod floor;
#[path = "../common/janitor.rs"]
mod janitor;
mod poller;
#[path = "../common/reads.rs"]
mod reads;
mod server;
#[path = "../common/subject.rs"]
mod subject;

use containers::{Containers, FILES};
use janitor::Janitor;
use poller::{Figures, Manner, Plan};
use serde::Serialize;
use server::Meter;
use std::path::Path;
use subject::{BEFORE, Subject};

/// One cell of a table.
#[derive(Serialize)]
struct Cell<'a> {
    table: &'a str,
    subject: &'a str,
    containers: usize,
    files: String,
    #[serde(flatten)]
    figures: Figures,
}

struct Bench {
    containers: Containers,
    _janitor: Janitor,
    most: usize,
    seconds: f64,
    json: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).map(|at| &arguments[at + 1..]);
    if let Some(rest) = after("--serve-floor") {
        return floor::serve(Path::new(&rest[0]), None);
    }
    if let Some(rest) = after("--serve-reads") {
        return floor::serve(Path::new(&rest[0]), Some(reads::Reads::new()));
    }
    if let Some(rest) = after("--poll") {
        return poller::run(rest);
    }
    if let Some(rest) = after("--read-once") {
        return println!("{}", poller::read_all(rest));
    }
    if arguments.iter().any(|a| a == "--test") || !rustix::process::geteuid().is_root() {
        return println!("nothing measured: run `cargo bench --bench fleet` as root");
    }
    let most = after("--containers").map_or(1000, |rest| rest[0].parse().unwrap());
    janitor::keep_mounts_apart();
    let containers = Containers::new(&format!("cgprocfs-bench-{}", std::process::id()), most);
    let bench = Bench {
        _janitor: Janitor::start(&containers.tops),
        containers,
        most,
        seconds: after("--seconds").map_or(5.0, |rest| rest[0].parse().unwrap()),
        json: after("--json").is_some(),
    };
    let only = after("--only").map(|rest| rest[0].as_str());
    let is_wanted = |table: &str| only.is_none_or(|only| only == table);
    if is_wanted("cost") {
        bench.cost();
    }
    if is_wanted("sysfs") {
        bench.sysfs();
    }
    if is_wanted("growth") {
        bench.growth();
    }
    if is_wanted("overload") {
        bench.overload();
    }
    if is_wanted("idle") {
        bench.idle();
    }
}

impl Bench {
    fn line(&self, line: &str) {
        if self.json { eprintln!("{line}") } else { println!("{line}") }
    }

    fn title(&self, title: &str) {
        self.line(&format!("\n{title}"));
        self.line(&format!(
            "{:10} {:>10} {:28} {:>9} {:>9} {:>9} {:>8} {:>9} {:>6}",
            "", "containers", "files", "cpu us", "p50 us", "p99 us", "done %", "rss KiB", "fds"
        ));
    }

    /// Has containers poll files of a subject, and says what it took.
    fn cell(&self, table: &str, subject: &Subject, containers: usize, files: &[&str], manner: Manner) {
        let paths: Vec<_> = files.iter().map(|file| path_of(subject, file)).collect();
        let meter = Meter::of(subject);
        let plan = Plan { containers, paths, manner, seconds: self.seconds };
        let figures = poller::measure(&plan, &self.containers, &meter);
        let files = if files.len() == 1 { files[0].to_string() } else { format!("{} files", files.len()) };
        self.line(&format!(
            "{:10} {containers:>10} {files:28} {:9.0} {:9.0} {:9.0} {:8.1} {:9} {:6}",
            subject.name,
            figures.cpu_us,
            figures.p50_us,
            figures.p99_us,
            figures.done,
            figures.rss_kib,
            figures.descriptors
        ));
        if self.json {
            let cell = Cell { table, subject: subject.name, containers, files, figures };
            println!("{}", serde_json::to_string(&cell).unwrap());
        }
    }

    /// Processor time and latency of one poll, of each file and of all, by readers of three kinds.
    fn cost(&self) {
        let subjects = subject::subjects();
        let count = self.most.min(100);
        for (manner, title) in [
            (Manner::Opens, "long-lived readers that open the file anew"),
            (Manner::IsNew, "a new process each time"),
            (Manner::Keeps, "long-lived readers that keep the file open"),
        ] {
            self.title(title);
            // Whoever reads: what a file costs more than another is the same.
            let single = if manner == Manner::Opens { &FILES[..] } else { &FILES[..1] };
            for files in single.iter().map(std::slice::from_ref).chain([&FILES[..]]) {
                let has_it = |subject: &&Subject| subject.name != "reads" || files == &FILES[..1];
                for subject in subjects.iter().filter(has_it) {
                    self.cell(title, subject, count, files, manner);
                }
            }
        }
    }

    /// What is below `sys/devices/system`, beside `proc/meminfo`.
    fn sysfs(&self) {
        self.title("below sys/devices/system: a file, a listing, and a name that is not there");
        let of_cpus = "sys/devices/system/cpu/";
        let missing = format!("{of_cpus}{}", poller::MISSING);
        for file in [FILES[0], "sys/devices/system/cpu/cpu0/topology/core_id", of_cpus, &missing] {
            for subject in subject::subjects().iter().filter(|subject| is_answering(subject)) {
                self.cell("sysfs", subject, self.most.min(100), &[file], Manner::Opens);
            }
        }
    }

    /// The same with more and more containers.
    fn growth(&self) {
        self.title("growth");
        for count in [10, 100, 1000].into_iter().filter(|count| *count <= self.most) {
            for subject in subject::subjects().iter().filter(|subject| subject.name != "kernel") {
                self.cell("growth", subject, count, &FILES[..1], Manner::Opens);
            }
        }
    }

    /// More than can be done: two others want each processor, too.
    fn overload(&self) {
        self.title("beside two programs that want a processor each");
        for subject in subject::subjects().iter().filter(|subject| is_answering(subject)) {
            let _spinners = server::Spinners::start(2);
            for count in [self.most / 2, self.most] {
                self.cell("overload", subject, count, &FILES, Manner::Opens);
            }
        }
    }

    /// What is done while nobody asks, after all containers were seen.
    fn idle(&self) {
        self.line(&format!(
            "\nnobody asks, after {} containers\n{:10} {:>12} {:>16}",
            self.most, "", "cpu us/s", "wake-ups in 10 s"
        ));
        for subject in subject::subjects().iter().filter(|subject| is_answering(subject)) {
            let (paths, meter) = (vec![path_of(subject, FILES[0])], Meter::of(subject));
            let plan = Plan { containers: self.most, paths, manner: Manner::Opens, seconds: 1.0 };
            poller::measure(&plan, &self.containers, &meter);
            let (cpu_us, wakeups) = meter.idle();
            self.line(&format!("{:10} {cpu_us:12.1} {wakeups:16}", subject.name));
            if self.json {
                let cell = serde_json::json!({"table": "idle", "subject": subject.name, "containers": self.most, "cpu_us_per_second": cpu_us, "wakeups": wakeups});
                println!("{cell}");
            }
        }
    }
}

/// Whether a subject answers with what a container should see.
fn is_answering(subject: &Subject) -> bool {
    !["kernel", "floor", "reads"].contains(&subject.name)
}

/// Where a subject has a file. The floor has one file, which is as good as any.
fn path_of(subject: &Subject, file: &str) -> String {
    let path = match &subject.server {
        Some(server) if ["cgprocfs", BEFORE].contains(&subject.name) => {
            server.dir.path().join("live").join(file)
        }
        Some(_) if ["floor", "reads"].contains(&subject.name) => subject.path.clone(),
        Some(server) => server.dir.path().join(file),
        None => Path::new("/").join(file),
    };
    path.display().to_string()
}
