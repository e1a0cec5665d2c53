//! Mistakes on the command line, help, and what a package is made from.

use super::fails;
use crate::common::{Need, cgprocfs, output, test};
use libtest_mimic::Trial;
use std::fs;
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[]) => [
            usage_errors,
            help_and_version,
            manual_pages_and_completions,
        ],
        test(&[Need::Program("systemd-analyze")]) => [
            unit_is_clean,
        ],
    }
}

/// A page for every command that a person uses, and completions that know its options.
fn manual_pages_and_completions() {
    let directory = tempfile::tempdir().unwrap();
    for what in ["man", "completions"] {
        output(cgprocfs().arg("generate").arg(what).arg(directory.path()));
    }
    for command in ["mount", "unmount", "show", "capture", "run"] {
        let page = fs::read_to_string(directory.path().join(format!("cgprocfs-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains(command), "{page}");
    }
    for file in ["cgprocfs.bash", "_cgprocfs", "cgprocfs.fish"] {
        let text = fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(text.contains("supervise"), "{file}: {text}");
    }
    fails(cgprocfs().args(["generate", "man", "/nonexistent"]), 1, "name a directory that can be written to");
    fails(cgprocfs().args(["generate", "completions", "/nonexistent"]), 1, "cannot write to /nonexistent");
}

/// A mistake on the command line is one line that says what was meant, and exit code 2.
fn usage_errors() {
    for (arguments, message) in [
        (&["--nonsense"][..], "unexpected argument '--nonsense'"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
        (&["mout"], "'mout'; did you mean `mount`?; see `cgprocfs --help`"),
        (&["run", "--memry", "1M", "--", "true"], "'--memry' found; did you mean `--memory`?"),
        (&["show", "--cpu-view", "quot"], "did you mean `quota`?"),
        (
            &["run", "--views", "memnfo", "--", "true"],
            "there is no view \"memnfo\"; did you mean `proc/meminfo`?",
        ),
        (&[], "a command is missing"),
        (&["run"], "missing: <COMMAND>...; see `cgprocfs run --help`"),
        (&["run", "--memory", "12Q", "--", "true"], "'12Q' for '--memory <SIZE>': not a size: write"),
        (&["run", "--memory", "--", "true"], "--memory <SIZE>"),
        (&["run", "--refresh", "0ms", "--", "true"], "not a time: write"),
        (&["run", "--refresh", "fast", "--", "true"], "not a time: write"),
        (&["show", "--pid", "x"], "'x' for '--pid <PID>'"),
        (
            &["run", "--views", "meminfo,nothing", "--", "true"],
            "there is no view \"nothing\"; the views are proc/",
        ),
        (&["mount", "/a", "/b"], "unexpected argument '/b'"),
    ] {
        fails(cgprocfs().args(arguments), 2, message);
    }
}

/// Help and version go to stdout and are no failure.
fn help_and_version() {
    assert!(output(cgprocfs().arg("--help")).contains("Usage: cgprocfs"));
    assert!(output(cgprocfs().args(["run", "--help"])).contains("--memory <SIZE>"));
    assert_eq!(output(cgprocfs().arg("--version")), concat!("cgprocfs ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// systemd finds nothing to say against the unit.
fn unit_is_clean() {
    // The unit names the program where it is installed; here it is where it was built.
    let unit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/cgprocfs.service")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("cgprocfs.service");
    let fallback = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/cgprocfs-fallback.service");
    fs::copy(fallback, dir.path().join("cgprocfs-fallback.service")).unwrap();
    let program = crate::common::cgprocfs_path();
    fs::write(&copy, unit.replace("/usr/bin/cgprocfs", program.to_str().unwrap())).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().unwrap();
    let complaints = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<_> = complaints.lines().filter(|line| line.contains("cgprocfs")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{complaints}");
    assert!(unit.contains("Type=notify"));
}
