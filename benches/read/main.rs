//! What reading a view costs: open, read to the end, close.
//!
//! Measured in one run against the kernel's own `/proc/meminfo`; the floor, a FUSE file system with the same
//! flags that does nothing; one that reads what an answer is made from, and makes none; lxcfs, where it is
//! installed; and another build of cgprocfs, if `CGPROCFS_OTHER_BUILD` names one, as that from before a
//! change. Times depend on the machine and on who else uses it: the ratios are what counts. `cargo bench
//! --bench read`, as root; `-- --seconds 1` makes each cell shorter; with `-- --json` stdout is a line of
//! JSON for each cell, with the figures of all its rounds, and the tables go to stderr.
#![allow(clippy::unwrap_used)]

#[path = "../common/attributes.rs"]
mod attributes;
#[path = "../common/floor.rs"]
mod floor;
#[path = "../common/janitor.rs"]
mod janitor;
mod reader;
#[path = "../common/reads.rs"]
mod reads;
mod report;
#[path = "../common/subject.rs"]
mod subject;

use reader::{Container, Setting};
use report::{Cell, Output};
use std::fs;
use std::path::{Path, PathBuf};
use subject::{BEFORE, Subject};

const ROUNDS: usize = 3;

const SETTINGS: &[Setting] = &[
    Setting { name: "1 reader, one CPU", pinned: true, readers: 1, fresh: false, pause: 0.0 },
    Setting { name: "4 readers, one CPU", pinned: true, readers: 4, fresh: false, pause: 0.0 },
    Setting { name: "1 reader, all CPUs", pinned: false, readers: 1, fresh: false, pause: 0.0 },
    Setting { name: "4 readers, all CPUs", pinned: false, readers: 4, fresh: false, pause: 0.0 },
    Setting { name: "a new thread each time, one CPU", pinned: true, readers: 1, fresh: true, pause: 0.0 },
    Setting { name: "every 110 ms, one CPU", pinned: true, readers: 1, fresh: false, pause: 0.11 },
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).map(|at| &arguments[at + 1..]);
    if let Some(rest) = after("--serve-floor") {
        return floor::serve(Path::new(&rest[0]), None);
    }
    if let Some(rest) = after("--serve-reads") {
        return floor::serve(Path::new(&rest[0]), Some(reads::Reads::new()));
    }
    if let Some([path, readers, fresh, pause, seconds]) = after("--read") {
        let parse = |text: &str| text.parse::<f64>().unwrap();
        return reader::run(
            Path::new(path),
            readers.parse().unwrap(),
            fresh == "fresh",
            parse(pause),
            parse(seconds),
        );
    }
    if arguments.iter().any(|a| a == "--test") || !rustix::process::geteuid().is_root() {
        println!("nothing measured: run `cargo bench --bench read` as root");
        return;
    }
    janitor::keep_mounts_apart();
    let seconds = after("--seconds").map_or(1.0, |rest| rest[0].parse().unwrap());
    let output = Output { json: after("--json").is_some() };
    let (subjects, container) = (subject::subjects(), Container::new());
    measure_settings(&subjects, &container, seconds, output);
    measure_views(&subjects, &container, seconds / 2.0, output);
}

/// `proc/meminfo`, in every way to read it. Subjects take turns, so that what disturbs the machine meets all
/// of them.
fn measure_settings(subjects: &[Subject], container: &Container, seconds: f64, output: Output) {
    for setting in SETTINGS {
        let mut rounds = vec![Vec::new(); subjects.len()];
        for _ in 0..ROUNDS {
            for (subject, rounds) in subjects.iter().zip(&mut rounds) {
                rounds.push(reader::measure(subject, &subject.path, setting, container, seconds));
            }
        }
        let cells = subjects.iter().zip(&rounds);
        let cells: Vec<_> =
            cells.map(|(subject, rounds)| Cell::new(setting, "proc/meminfo", subject, rounds)).collect();
        output.setting(setting, &cells);
    }
}

/// Every view, by one reader, with everything on one CPU.
fn measure_views(subjects: &[Subject], container: &Container, seconds: f64, output: Output) {
    let setting = &SETTINGS[0];
    output.views(setting);
    for view in cgprocfs_core::view::ViewId::ALL {
        let mut cells = Vec::new();
        for subject in subjects.iter().filter(|subject| subject.name != "floor") {
            let path = path_of(subject, view.path());
            if fs::read(&path).is_ok() {
                let measure = |_| reader::measure(subject, &path, setting, container, seconds);
                let rounds: Vec<_> = (0..ROUNDS).map(measure).collect();
                cells.push(Cell::new(setting, view.path(), subject, &rounds));
            }
        }
        output.view(view.path(), &cells);
    }
}

fn path_of(subject: &Subject, view: &str) -> PathBuf {
    match &subject.server {
        Some(server) if ["cgprocfs", BEFORE].contains(&subject.name) => {
            server.dir.path().join("live").join(view)
        }
        Some(server) => server.dir.path().join(view),
        None => Path::new("/").join(view),
    }
}
