//! What is in the way of containers that should have their own files.

use super::binding::{Binding, BoundFile};
use super::finding::{Finding, Severity};
use super::machine;
use super::status::{MountStatus, State};
use crate::containers::cdi;
use std::cmp::Reverse;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// More mounts on one file than this are worth a word.
const DEEP: usize = 16;

/// Everything that is found on this host, the worst first.
#[must_use]
pub fn of_host(status: &MountStatus) -> Vec<Finding> {
    let mut findings = of_daemon(status);
    findings.extend(of_anchors(status));
    for binding in status.bindings.iter().flatten() {
        findings.extend(of_container(binding));
    }
    if status.bindings.is_none() {
        let what = "the mount tables of containers cannot be read in time: who has bound files is not known";
        findings.push(Finding::new(Severity::Warning, "containers-unknown", what));
    }
    findings.extend(of_runtimes(status));
    findings.extend(machine::findings());
    findings.sort_by_key(|finding| Reverse(finding.severity));
    findings
}

fn of_daemon(status: &MountStatus) -> Vec<Finding> {
    let directory = status.directory.display();
    let error =
        |id, what: String, action: String| vec![Finding::new(Severity::Error, id, what).action(action)];
    let mut findings = match status.state {
        State::Serving => Vec::new(),
        State::Absent => error(
            "absent",
            format!("no cgprocfs is at {directory}"),
            "`systemctl start cgprocfs`, or name the directory".into(),
        ),
        State::Stopped => error(
            "stopped",
            format!("nobody serves {directory}: containers have the kernel's own files"),
            "`systemctl start cgprocfs`".into(),
        ),
        State::Waiting => error(
            "waiting",
            format!("nobody answers at {directory}: readers wait for a daemon"),
            format!(
                "see `journalctl -u cgprocfs`; `cgprocfs unmount {directory}` gives them the kernel's files"
            ),
        ),
        State::Lost => error(
            "lost",
            format!("the connection of {directory} is over, and nobody has mounted anew"),
            "`systemctl restart cgprocfs`".into(),
        ),
    };
    if let Some(service) = &status.service {
        let own = env!("CARGO_PKG_VERSION");
        if service.version != own {
            let what = format!("the daemon is of version {}, and this is {own}", service.version);
            let finding = Finding::new(Severity::Warning, "version", what);
            findings.push(finding.action("`systemctl restart cgprocfs`, over which no read fails"));
        }
        if !service.slow.is_empty() {
            let what =
                format!("readers in {} wait for each other: they are slow, or many", service.slow.join(", "));
            findings.push(Finding::new(Severity::Note, "slow", what));
        }
        if status.kept_by.is_none() {
            let what = "nobody keeps the connection: if the daemon dies readers get errors";
            let action = "start it by its unit, or with --supervise";
            findings.push(Finding::new(Severity::Warning, "not-kept", what).action(action));
        }
    }
    findings
}

fn of_anchors(status: &MountStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    if status.state == State::Absent {
        return findings;
    }
    // Those of the tmpfs: nothing below them is asked.
    for path in ["", "proc", "sys"].map(|name| status.directory.join(name)) {
        let mode = fs::symlink_metadata(&path).map(|metadata| metadata.permissions().mode()).unwrap_or(0o755);
        if mode & 0o005 != 0o005 {
            let what = format!(
                "{} can be entered by root alone: rootless containers cannot bind its files",
                path.display()
            );
            let finding = Finding::new(Severity::Error, "mode", what);
            findings.push(finding.action(format!("`chmod 755 {}`", path.display())));
        }
    }
    if status.depth >= DEEP {
        let what = format!(
            "{} mounts lie on one file, two for each connection that was lost; {} are too many",
            status.depth, status.max_depth
        );
        let finding = Finding::new(Severity::Warning, "depth", what);
        findings.push(finding.action("`cgprocfs unmount --anchors`, once no container binds them"));
    }
    findings
}

fn of_container(binding: &Binding) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = binding.shown();
    let paths = |wanted: &dyn Fn(&BoundFile) -> bool| {
        let paths: Vec<_> =
            binding.files.iter().filter(|file| wanted(file)).map(|file| &*file.path).collect();
        (!paths.is_empty()).then(|| paths.join(", "))
    };
    let meant = binding.alias.clone().unwrap_or_else(|| binding.pid.to_string());
    if let Some(paths) = paths(&|file| file.is_lost) {
        let what = format!(
            "{name} gets errors from {paths}: the daemon that served them is gone, and they are no slaves"
        );
        findings
            .push(Finding::new(Severity::Error, "dead", what).action(format!("`cgprocfs attach {meant}`")));
    }
    if let Some(paths) = paths(&|file| !file.follows && !file.is_lost) {
        let what = format!(
            "{name} has bound {paths} without slave propagation: it gets errors if the daemon is lost"
        );
        let action = "start it with rslave (in Kubernetes mountPropagation: HostToContainer)";
        findings.push(Finding::new(Severity::Warning, "not-slave", what).action(action));
    }
    if !binding.of_lxcfs.is_empty() {
        let what = format!("{name} has {} of lxcfs", binding.of_lxcfs.join(", "));
        let action = "have it use one of the two: see `cgprocfs config lxc`, or the package cgprocfs-lxcfs";
        let severity = if binding.files.is_empty() { Severity::Note } else { Severity::Warning };
        findings.push(Finding::new(severity, "lxcfs", what).action(action));
    }
    findings
}

/// What engines find.
fn of_runtimes(status: &MountStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    let has_engine =
        ["dockerd", "podman", "containerd", "crio"].into_iter().filter(|name| machine::has_program(name));
    let engines: Vec<_> = has_engine.collect();
    if !engines.is_empty() && status.state == State::Serving {
        match fs::read_to_string(cdi::FILE) {
            Ok(text) if !text.contains(&*status.directory.to_string_lossy()) => {
                let what = format!("{} is about another directory", cdi::FILE);
                let finding = Finding::new(Severity::Warning, "cdi", what);
                findings.push(finding.action(format!("`cgprocfs cdi {}`", status.directory.display())));
            }
            Ok(_) => {}
            Err(_) => {
                let what = format!("{} do not know the devices cgprocfs.dev/view", engines.join(", "));
                let finding = Finding::new(Severity::Warning, "cdi", what);
                findings.push(finding.action(format!("`cgprocfs cdi {}`", status.directory.display())));
            }
        }
    }
    if machine::has_program("runc") {
        let what = "runc refuses to bind proc/vmstat and proc/pressure: containers have them by --device or by `attach`";
        findings.push(Finding::new(Severity::Note, "runc", what));
    }
    if Path::new("/var/run/nri/nri.sock").exists() {
        findings.push(Finding::new(
            Severity::Note,
            "nri",
            "the container runtime offers NRI, at /var/run/nri/nri.sock",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State) -> MountStatus {
        MountStatus {
            directory: "/nonexistent".into(),
            state,
            service: None,
            kept_by: None,
            requests_per_second: None,
            views: Vec::new(),
            takes_triggers: false,
            depth: 2,
            max_depth: 64,
            bindings: Some(Vec::new()),
        }
    }

    fn ids(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn each_state_has_its_line() {
        for (state, id) in [
            (State::Absent, "absent"),
            (State::Stopped, "stopped"),
            (State::Waiting, "waiting"),
            (State::Lost, "lost"),
        ] {
            let findings = of_daemon(&status(state));
            assert_eq!(ids(&findings), [id]);
            assert!(findings[0].severity == Severity::Error && findings[0].action.is_some());
            assert!(!findings[0].to_string().contains('\n'));
        }
        assert_eq!(of_daemon(&status(State::Serving)), []);
        assert_eq!(ids(&of_anchors(&MountStatus { depth: DEEP, ..status(State::Stopped) })), ["depth"]);
    }

    #[test]
    fn each_kind_of_bind_has_its_line() {
        let file = |follows, is_lost| BoundFile { path: "/proc/meminfo".into(), follows, is_lost };
        let binding = |files: Vec<BoundFile>, of_lxcfs: &[&str]| Binding {
            pid: 7,
            name: "docker 0123".into(),
            alias: Some("web".into()),
            files,
            of_lxcfs: of_lxcfs.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(of_container(&binding(vec![file(true, false)], &[])), []);
        assert_eq!(ids(&of_container(&binding(vec![file(false, false)], &[]))), ["not-slave"]);
        let dead = of_container(&binding(vec![file(false, true)], &[]));
        assert_eq!(dead[0].to_string().split("; ").last(), Some("`cgprocfs attach web`"));
        assert_eq!(ids(&of_container(&binding(vec![file(true, false)], &["/proc/stat"]))), ["lxcfs"]);
    }
}
