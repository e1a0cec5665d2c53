//! What is in the way of containers that should have their own files.

use super::binding::{Binding, Bindings, BoundFile};
use super::finding::{Finding, Severity};
use super::machine;
use super::status::{MountStatus, State};
use crate::containers::bind::DIRECTORY;
use crate::containers::cdi;
use serde_json::Value;
use std::cmp::Reverse;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What LXC runs for each container, by the configuration that lxcfs brings.
const LXC_HOOK: &str = "/usr/share/lxcfs/lxc.mount.hook";

/// From how many mounts on one file on that is worth a word.
const DEEP_STACK: usize = 16;

/// Everything that is found on this host, the worst first.
#[must_use]
pub fn of_host(status: &MountStatus) -> Vec<Finding> {
    let mut findings = of_daemon(status);
    findings.extend(of_anchors(status));
    match &status.bindings {
        Some(bindings) => findings.extend(of_bindings(status, bindings)),
        None => {
            let what = "procfs cannot be listed: who has bound files is not known";
            findings.push(Finding::new(Severity::Warning, "containers-unknown", what));
        }
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
    if status.state == State::Serving && status.service.is_none() {
        let what = "the daemon gave no status: it is of an older version, or has too much to do";
        let finding = Finding::new(Severity::Warning, "no-status", what);
        findings.push(finding.action("`systemctl restart cgprocfs` starts the version that is installed"));
    }
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
        if service.kept_by.is_none() {
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
    for name in ["", "proc", "proc/pressure", "sys", "sys/devices", "sys/devices/system"] {
        let path = status.directory.join(name);
        let mode = fs::symlink_metadata(&path).map(|metadata| metadata.permissions().mode()).unwrap_or(0o755);
        if mode & 0o005 != 0o005 {
            let what = format!(
                "{} can be entered by root alone: rootless containers cannot bind its files",
                path.display()
            );
            let action = format!(
                "`cgprocfs unmount --anchors {}`, and start the daemon again",
                status.directory.display()
            );
            findings.push(Finding::new(Severity::Error, "mode", what).action(action));
        }
    }
    if status.depth >= DEEP_STACK {
        let what = format!(
            "{} mounts lie on one file, two for each connection that was lost; {} are too many",
            status.depth, status.max_depth
        );
        let finding = Finding::new(Severity::Warning, "depth", what);
        let directory = status.directory.display();
        findings.push(
            finding.action(format!("`cgprocfs unmount --anchors {directory}`, once no container binds them")),
        );
    }
    findings
}

fn of_bindings(status: &MountStatus, bindings: &Bindings) -> Vec<Finding> {
    let of_container = |binding| of_container(binding, &status.directory);
    let mut findings: Vec<Finding> = bindings.namespaces.iter().flat_map(of_container).collect();
    for pid in &bindings.unread {
        let what = format!("the mount table of process {pid} is too large: what it has bound is not known");
        findings.push(Finding::new(Severity::Warning, "container-unknown", what));
    }
    if !bindings.is_complete {
        let what = "there are too many mounts to look at all of them: some containers are left out";
        findings.push(Finding::new(Severity::Warning, "containers-unknown", what));
    }
    findings
}

fn of_container(binding: &Binding, directory: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = binding.shown();
    let paths = |wanted: &dyn Fn(&BoundFile) -> bool| {
        let paths: Vec<_> =
            binding.files.iter().filter(|file| wanted(file)).map(|file| &*file.path).collect();
        (!paths.is_empty()).then(|| paths.join(", "))
    };
    let elsewhere =
        (directory != Path::new(DIRECTORY)).then(|| format!(" --directory {}", directory.display()));
    // Not by its name, which others may have chosen.
    let attach = format!("`cgprocfs attach {}{}`", binding.pid, elsewhere.unwrap_or_default());
    if let Some(paths) = paths(&|file| file.is_lost) {
        let what = format!(
            "{name} gets errors from {paths}: the daemon that served them is gone, and the mounts do not follow it (rslave)"
        );
        findings.push(Finding::new(Severity::Error, "dead", what).action(attach));
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
            Ok(text) if !text.contains(&format!("\"{}/", status.directory.display())) => {
                let what = format!("{} is about another directory", cdi::FILE);
                let finding = Finding::new(Severity::Warning, "cdi", what);
                findings.push(finding.action(format!("`cgprocfs cdi {}`", status.directory.display())));
            }
            Ok(text) => findings.extend(of_hook(&text)),
            Err(_) => {
                let what = format!("{} do not know the devices cgprocfs.dev/view", engines.join(", "));
                let finding = Finding::new(Severity::Warning, "cdi", what);
                findings.push(finding.action(format!("`cgprocfs cdi {}`", status.directory.display())));
            }
        }
    }
    if fs::read_to_string(LXC_HOOK).is_ok_and(|hook| !hook.contains("cgprocfs")) {
        let what = format!("{LXC_HOOK} of lxcfs lays its own files in every container of LXC");
        let finding = Finding::new(Severity::Note, "lxcfs-hook", what);
        findings.push(finding.action("the package cgprocfs-lxcfs takes its place"));
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

/// A device whose hook is gone keeps every container with it from starting.
fn of_hook(specification: &str) -> Option<Finding> {
    let specification: Value = serde_json::from_str(specification).ok()?;
    let devices = specification["devices"].as_array()?.iter();
    let hooks = devices.filter_map(|device| device["containerEdits"]["hooks"].as_array()).flatten();
    let mut programs = hooks.filter_map(|hook| hook["path"].as_str());
    let missing = programs.find(|program| !Path::new(program).exists())?;
    let what =
        format!("{} names {missing}, which is missing: no container with such a device starts", cdi::FILE);
    Some(Finding::new(Severity::Error, "cdi-hook", what).action("`cgprocfs cdi`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::parse::pid::Pid;

    fn status(state: State) -> MountStatus {
        MountStatus {
            directory: "/nonexistent".into(),
            tree: None,
            state,
            since: None,
            service: None,
            requests_per_second: None,
            views: Vec::new(),
            takes_triggers: false,
            depth: 2,
            max_depth: 64,
            bindings: Some(Bindings::default()),
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
        assert_eq!(ids(&of_daemon(&status(State::Serving))), ["no-status"]);
        let hook = |program: &str| {
            format!(r#"{{"devices":[{{"containerEdits":{{"hooks":[{{"path":"{program}"}}]}}}}]}}"#)
        };
        assert_eq!(of_hook(&hook("/nonexistent/cgprocfs")).map(|finding| finding.id), Some("cdi-hook"));
        assert_eq!(of_hook(&hook("/proc/self/exe")).or(of_hook("{}")).or(of_hook("x")), None);
        assert_eq!(ids(&of_anchors(&MountStatus { depth: DEEP_STACK, ..status(State::Stopped) })), ["depth"]);
    }

    #[test]
    fn each_kind_of_bind_has_its_line() {
        let file = |follows, is_lost| BoundFile { path: "/proc/meminfo".into(), follows, is_lost };
        let binding = |files: Vec<BoundFile>, of_lxcfs: &[&str]| Binding {
            pid: Pid::new(7),
            runtime: Some("docker"),
            id: Some("0123".into()),
            name: "docker 0123".into(),
            alias: Some("web".into()),
            files,
            of_lxcfs: of_lxcfs.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(of_container(&binding(vec![file(true, false)], &[]), Path::new(DIRECTORY)), []);
        assert_eq!(
            ids(&of_container(&binding(vec![file(false, false)], &[]), Path::new(DIRECTORY))),
            ["not-slave"]
        );
        let dead = of_container(&binding(vec![file(false, true)], &[]), Path::new("/x"));
        assert_eq!(dead[0].to_string().split("; ").last(), Some("`cgprocfs attach 7 --directory /x`"));
        assert_eq!(
            ids(&of_container(&binding(vec![file(true, false)], &["/proc/stat"]), Path::new(DIRECTORY))),
            ["lxcfs"]
        );
    }
}
