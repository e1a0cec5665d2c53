//! What the kernel and the host's set-up have, and what is missed without it.

use super::finding::{Finding, Severity};
use crate::kernel::CgroupMounts;
use std::fs;
use std::path::Path;

/// Since when the kernel has something, and what is so before.
const KERNEL_FEATURES: [(u32, u32, &str, &str); 5] = [
    (5, 6, "no-time-namespaces", "`cgprocfs run` shows elapsed times since the host's boot"),
    (5, 12, "no-attach", "`cgprocfs attach` does not work"),
    (5, 19, "no-peak", "on cgroup v2 the peak in the report of `cgprocfs run` is the largest sample"),
    (
        6,
        9,
        "no-resend",
        "what a killed daemon had read is found by the next one, not sent again by the kernel; a few kinds of requests fail then",
    ),
    (
        6,
        11,
        "no-init-lookup",
        "the first reader of a container that came from outside is looked for among all processes",
    ),
];

/// What is found, whoever serves.
pub(super) fn findings() -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(version().map(of_kernel).unwrap_or_default());
    match CgroupMounts::detect(Path::new("/")) {
        Ok(mounts) if !mounts.memory.is_fully_visible() => {
            let what = "only part of the cgroup hierarchy is visible from here";
            findings.push(
                Finding::new(Severity::Error, "cgroup-namespace", what).action("run this on the host itself"),
            );
        }
        Ok(_) => {}
        Err(error) => {
            let finding = Finding::new(Severity::Error, "cgroup", error.to_string());
            findings.push(finding.action("mount the memory controller"));
        }
    }
    if !Path::new("/dev/fuse").exists() {
        let finding = Finding::new(Severity::Error, "fuse", "/dev/fuse is missing");
        findings.push(finding.action("`modprobe fuse`"));
    }
    if !Path::new("/proc/pressure").exists() {
        let what = "the kernel keeps no account of pressure: containers have no proc/pressure";
        findings.push(Finding::new(Severity::Note, "no-pressure", what).action("boot with psi=1"));
    }
    if reads("/sys/fs/selinux/enforce", "1") {
        let what = "SELinux is enforced: its containers may read FUSE files, but `working_set` of a lost daemon is an error there";
        findings.push(Finding::new(Severity::Note, "selinux", what));
    }
    if reads("/sys/module/apparmor/parameters/enabled", "Y") {
        let what = "AppArmor is on: the profiles of docker and containerd allow all that is read here";
        findings.push(Finding::new(Severity::Note, "apparmor", what));
    }
    findings
}

/// What a kernel of that version lacks.
fn of_kernel(running: (u32, u32)) -> Vec<Finding> {
    let lacking = KERNEL_FEATURES.into_iter().filter(|(major, minor, ..)| running < (*major, *minor));
    lacking
        .map(|(major, minor, id, what)| {
            Finding::new(Severity::Note, id, format!("before Linux {major}.{minor} {what}"))
        })
        .collect()
}

/// The error that the kernel returns, as far as it says what the kernel has.
fn version() -> Option<(u32, u32)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn reads(path: &str, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|is| is.trim() == text)
}

/// Whether a program is where administrators' shells look.
pub(super) fn has_program(name: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_lacks_what_came_later() {
        let ids = |version| of_kernel(version).iter().map(|finding| finding.id).collect::<Vec<_>>();
        assert_eq!(ids((6, 11)), [""; 0]);
        assert_eq!(ids((6, 1)), ["no-resend", "no-init-lookup"]);
        assert_eq!(ids((5, 4)).len(), KERNEL_FEATURES.len());
        assert!(version() > Some((2, 6)));
    }
}
