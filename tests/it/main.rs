//! All tests that need a mount, a container, another program or a kernel, in one program: a module for each subject.
//!
//! Modules run one after the other, for some load the machine and others measure. A filter is a part of a name, such as
//! `oracle::` or `mount::cat`.
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

struct Module {
    tests: fn() -> Vec<Trial>,
    /// So many at a time; `None` is one for each processor.
    threads: Option<usize>,
    /// What is done once all have run.
    end: fn(&Conclusion),
}

impl Module {
    const fn new(tests: fn() -> Vec<Trial>) -> Self {
        Self { tests, threads: None, end: |_| () }
    }
}

/// The quick ones first.
static MODULES: [Module; 28] = [
    Module::new(golden::tests),
    Module::new(architecture::tests),
    Module::new(documentation::tests),
    Module::new(diagnosis::tests),
    Module::new(cli::tests),
    Module::new(mount::tests),
    Module::new(identity::tests),
    Module::new(run::tests),
    Module::new(topology::tests),
    Module::new(confinement::tests),
    Module::new(programs::tests),
    Module::new(consumers::tests),
    Module::new(containers::tests),
    Module::new(runtimes::tests),
    Module::new(triggers::tests),
    Module::new(response::tests),
    Module::new(oracle::tests),
    Module::new(cpusets::tests),
    Module::new(lifecycle::tests),
    Module::new(lxcfs::tests),
    Module::new(fleet::tests),
    Module::new(survival::tests),
    Module::new(systemd::tests),
    Module::new(hostile::tests),
    Module::new(processors::tests),
    Module { threads: Some(1), ..Module::new(processors::tests_that_run_alone) },
    Module { end: isolation::end, ..Module::new(isolation::tests) },
    // A guest keeps one processor busy, but waits now and then, and at the end some should not run alone.
    Module { threads: Some(4), end: vm::end, ..Module::new(vm::tests) },
];

fn main() -> ExitCode {
    if let Some(ended) = confinement::tried().or_else(common::helper::run) {
        return ended;
    }
    common::raise_file_limit();
    let arguments = Arguments::from_args();
    let mut status = ExitCode::SUCCESS;
    for module in &MODULES {
        let tests = (module.tests)();
        if !tests.iter().any(|test| is_wanted(test, &arguments)) {
            continue;
        }
        let mut arguments = arguments.clone();
        arguments.test_threads = arguments.test_threads.or(module.threads);
        let conclusion = libtest_mimic::run(&arguments, tests);
        if conclusion.has_failed() {
            status = ExitCode::FAILURE;
        }
        (module.end)(&conclusion);
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
