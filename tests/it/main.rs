//! All tests that need a mount, a container, another program or a kernel, in one program: a module for each
//! subject.
//!
//! Groups of them run one after the other, for some load the machine and others measure. A filter is a part
//! of a name, such as `oracle::` or `mount::cat`.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod common;

mod architecture;
mod cli;
mod confinement;
mod consumers;
mod containers;
mod cpusets;
mod diagnosis;
mod documentation;
mod fleet;
mod golden;
mod hostile;
mod identity;
mod isolation;
mod lifecycle;
mod lxcfs;
mod mount;
mod oracle;
mod processors;
mod programs;
mod response;
mod run;
mod runtimes;
mod survival;
mod systemd;
mod topology;
mod triggers;
mod vm;

use libtest_mimic::{Arguments, Conclusion, Trial};
use std::process::ExitCode;

/// Tests that run beside each other.
struct Group {
    /// Modules.
    tests: &'static [fn() -> Vec<Trial>],
    /// So many at a time; `None` is one for each processor.
    threads: Option<usize>,
    /// What is done once all have run.
    end: fn(&Conclusion),
}

impl Group {
    const fn new(tests: &'static [fn() -> Vec<Trial>]) -> Self {
        Self { tests, threads: None, end: |_| () }
    }
}

/// What waits more than it works, for clocks and for processes: it neither loads the machine nor measures it.
/// The longest begin.
const PATIENT: &[fn() -> Vec<Trial>] = &[
    identity::tests,
    containers::tests,
    mount::tests,
    run::tests,
    lifecycle::tests,
    diagnosis::tests,
    confinement::tests,
    consumers::tests,
    cli::tests,
    programs::tests,
    golden::tests,
    lxcfs::tests,
    topology::tests,
    architecture::tests,
    documentation::tests,
    runtimes::tests,
];

/// The quick ones first.
static GROUPS: [Group; 13] = [
    Group { threads: Some(4), ..Group::new(PATIENT) },
    Group::new(&[triggers::tests]),
    Group::new(&[response::tests]),
    Group::new(&[oracle::tests]),
    Group::new(&[cpusets::tests]),
    Group::new(&[fleet::tests]),
    Group::new(&[survival::tests]),
    Group::new(&[systemd::tests]),
    Group::new(&[hostile::tests]),
    Group::new(&[processors::tests]),
    Group { threads: Some(1), ..Group::new(&[processors::tests_that_run_alone]) },
    Group { end: isolation::end, ..Group::new(&[isolation::tests]) },
    // A guest keeps one processor busy, but waits now and then, and at the end some should not run alone.
    Group { threads: Some(4), end: vm::end, ..Group::new(&[vm::tests]) },
];

fn main() -> ExitCode {
    if let Some(ended) = confinement::tried().or_else(common::helper::run) {
        return ended;
    }
    common::raise_file_limit();
    let arguments = Arguments::from_args();
    let mut status = ExitCode::SUCCESS;
    for group in &GROUPS {
        let tests: Vec<_> = group.tests.iter().flat_map(|tests| tests()).collect();
        if !tests.iter().any(|test| is_wanted(test, &arguments)) {
            continue;
        }
        let mut arguments = arguments.clone();
        arguments.test_threads = arguments.test_threads.or(group.threads);
        let conclusion = libtest_mimic::run(&arguments, tests);
        if conclusion.has_failed() {
            status = ExitCode::FAILURE;
        }
        (group.end)(&conclusion);
    }
    status
}

/// As libtest-mimic decides it, but for what is ignored.
fn is_wanted(test: &Trial, arguments: &Arguments) -> bool {
    let is_meant = |filter: &String| {
        if arguments.exact { test.name() == filter } else { test.name().contains(filter.as_str()) }
    };
    arguments.filter.as_ref().is_none_or(is_meant) && !arguments.skip.iter().any(is_meant)
}
