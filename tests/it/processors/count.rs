//! How many processors a container has.

use super::{PSUTIL, host_count, in_container};
use crate::common::{MOUNT, Need, PYTHON, cgprocfs, output, test};
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            number_of_processors,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("lscpu")]) => [
            number_for_lscpu,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("node")]) => [
            number_for_node,
        ],
        test(PSUTIL) => [
            number_for_psutil,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("java")]) => [
            java,
        ],
    }
}

/// Everybody counts the same; one on half a processor, all of them with a limit above the host's.
fn number_of_processors() {
    let script = "getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; grep -c ^processor /proc/cpuinfo; \
        grep -c '^cpu[0-9]' /proc/stat; cat /sys/devices/system/cpu/online";
    let numbers = |cpus| in_container(cpus, script);
    assert_eq!(numbers(Some("0.5")), "1\n1\n1\n1\n0\n");
    let all = host_count();
    let list = if all == 1 { "0".to_string() } else { format!("0-{}", all - 1) };
    for cpus in [None, Some("1000")] {
        assert_eq!(numbers(cpus), format!("{all}\n{all}\n{all}\n{all}\n{list}\n"));
    }
    let words =
        ["run", "--cpus", "0.5", "--cpu-view", "cpuset", "--", "grep", "-c", "^processor", "/proc/cpuinfo"];
    assert_eq!(output(cgprocfs().args(words)), format!("{all}\n"));
    let words = ["run", "--cpus=0.5", "--views=stat,working_set", "--", "sh", "-c", script];
    assert_eq!(output(cgprocfs().args(words)), format!("{all}\n{all}\n{all}\n1\n{list}\n"));
}

/// lscpu counts the processors of the container.
fn number_for_lscpu() {
    let said = in_container(Some("0.5"), "lscpu 2>&1");
    let field = |key: &str| {
        let value = said.lines().find_map(|line| line.trim_start().strip_prefix(key));
        value.unwrap_or_else(|| panic!("no {key} in {said}")).trim().to_string()
    };
    assert_eq!((field("CPU(s):"), field("On-line CPU(s) list:")), ("1".into(), "0".into()));
    assert!(!said.contains("Off-line"), "{said}");
}

/// So does Node.js.
fn number_for_node() {
    let script = "node -p 'os.cpus().length' 2>&1";
    assert_eq!(in_container(Some("0.5"), script), "1\n");
}

/// So does psutil.
fn number_for_psutil() {
    let script = format!(
        "{PYTHON} -c 'import os, psutil; print(os.cpu_count(), psutil.cpu_count(), len(psutil.cpu_times(True)))' 2>&1"
    );
    assert_eq!(in_container(Some("0.5"), &script), "1 1 1\n");
}

/// The JVM starts without a warning.
fn java() {
    let said = in_container(Some("0.5"), "java -XshowSettings:system -version 2>&1");
    assert!(!said.to_lowercase().contains("warning"), "{said}");
    assert!(said.contains("version"), "{said}");
}
