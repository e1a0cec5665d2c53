//! Commands that a page has within a sentence, where no mark fits: which test runs each, or why none does.

use super::code;
use crate::common::documentation::pages;
use crate::common::test;
use libtest_mimic::Trial;
use std::collections::BTreeSet;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[]) => [
            commands_in_a_sentence_are_known,
        ],
    }
}

/// What becomes of a command.
enum Fate {
    /// This test runs it, perhaps with other names.
    Run(&'static str),
    NotRun(&'static str),
}
use Fate::{NotRun, Run};

const BY_CI: Fate = NotRun(".ci/run does");
const BENCHMARK: Fate = NotRun("takes minutes, and its figures are for a person");

const COMMANDS: &[(&str, Fate)] = &[
    (".ci/msrv", NotRun("downloads a compiler")),
    (".ci/run", NotRun("runs the tests")),
    ("CGPROCFS_VM=all cargo test vm::", NotRun("takes an hour and a half")),
    ("UPDATE_GOLDEN=1 cargo test golden::", NotRun("writes the files that it checks")),
    ("apt install ./target/debian/cgprocfs-lxcfs_*.deb", Run("systemd::package_in_place_of_lxcfs")),
    ("cargo bench --bench fleet", BENCHMARK),
    ("cargo bench --bench read", BENCHMARK),
    ("cargo bench --bench syscalls", BENCHMARK),
    ("cargo bench -p cgprocfs-core", BENCHMARK),
    ("cargo run -p cgprocfs-core --example own_memory", BY_CI),
    ("cargo test --lib", NotRun("runs the tests")),
    ("cargo test golden::", NotRun("runs the tests")),
    ("cat /proc/meminfo", Run("mount::cat")),
    ("cgprocfs answer", Run("containers::podman_system_calls_with_runc")),
    ("cgprocfs attach", Run("containers::all_containers_twice")),
    ("cgprocfs attach CONTAINER", Run("containers::attached_by_name")),
    ("cgprocfs capture", Run("cli::capture_says_what_show_says")),
    ("cgprocfs config", Run("containers::podman_volumes_for_all_containers")),
    ("cgprocfs config lxc", NotRun("containers:: runs the same for podman")),
    ("cgprocfs detach", Run("containers::attached_and_detached")),
    ("cgprocfs doctor", Run("diagnosis::doctor_names_what_is_wrong")),
    ("cgprocfs hook", Run("containers::hook_that_can_do_nothing")),
    ("cgprocfs mount", Run("cli::already_mounted")),
    ("cgprocfs mount --supervise", Run("lifecycle::supervisor_killed")),
    (
        "cgprocfs mount --supervise --layout=lxcfs /var/lib/lxcfs",
        NotRun("lxcfs::plain_tree has another directory"),
    ),
    ("cgprocfs mount --takeover", Run("survival::taken_over")),
    ("cgprocfs run", Run("run::free_tells_the_limit")),
    ("cgprocfs seccomp-profile", Run("containers::podman_system_calls_with_runc")),
    ("cgprocfs show", Run("documentation::show_needs_no_daemon")),
    ("cgprocfs show --pid PID meminfo", Run("documentation::show_needs_no_daemon")),
    ("cgprocfs status", Run("diagnosis::status_of_a_daemon")),
    ("cgprocfs unmount", Run("mount::unmounted_by_command")),
    ("cgprocfs unmount --anchors", Run("lifecycle::anchors_removed_under_containers")),
    ("fuzz/run 600", BY_CI),
    ("fuzz/run 600 answer", BY_CI),
    ("grep cgprocfs /proc/self/mountinfo", NotRun("shows what a reader is told to look at")),
    ("kill -9", Run("survival::killed_a_thousand_times")),
    ("loom/run", BY_CI),
    ("mkdir -p /run/cgprocfs", NotRun("tests serve a directory of their own")),
    ("systemctl reload cgprocfs", Run("systemd::reload_applies_options")),
    ("systemctl restart", Run("systemd::crash_restart_and_stop")),
    ("systemctl restart cgprocfs", Run("systemd::crash_restart_and_stop")),
    ("systemctl start cgprocfs", Run("systemd::restarted_after_a_crash_loop")),
    ("systemctl stop", Run("systemd::crash_restart_and_stop")),
    ("umount --force", Run("systemd::connection_aborted")),
];

/// Every command within a sentence is in the table, with a test that there is; and none is there in vain.
fn commands_in_a_sentence_are_known() {
    let programs: BTreeSet<&str> = COMMANDS.iter().map(|(command, _)| program(command)).collect();
    let pages = pages();
    let sentences = pages.iter().map(|(_, page)| page.split("```").step_by(2).collect::<String>());
    let sentences: String = sentences.collect();
    let is_command = |code: &&str| programs.contains(program(code)) && (code.contains(['/', ' ']));
    let found: BTreeSet<&str> = code(&sentences).into_iter().filter(is_command).collect();
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
    assert_eq!(found, known, "commands in sentences, and the table of them");
    let names = super::names_of_tests();
    for (command, fate) in COMMANDS {
        match fate {
            Run(test) => assert!(names.iter().any(|name| name == test), "{command}: there is no {test}"),
            NotRun(reason) => assert!(!reason.is_empty(), "{command}"),
        }
    }
}

/// The program of a command: its first word that is no assignment.
fn program(command: &str) -> &str {
    command.split(' ').find(|word| !word.contains('=')).unwrap_or_default()
}
