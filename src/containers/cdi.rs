//! A specification for the Container Device Interface, by which docker, podman and containerd take the files
//! for a device.
//!
//! An engine refuses a specification of a later version than its own, or with a field that it does not know,
//! so this one has nothing that version 0.3.0 lacks.

use super::bind::Bind;
use cgprocfs_core::view::ViewId;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Serialize;
use std::path::Path;

/// The kind of all devices: `docker run --device cgprocfs.dev/view=all`.
pub const KIND: &str = "cgprocfs.dev/view";

/// Where engines look.
pub const FILE: &str = "/var/run/cdi/cgprocfs.json";

/// The whole file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Specification {
    cdi_version: &'static str,
    kind: &'static str,
    devices: Vec<Device>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    container_edits: Edits,
}

#[derive(Debug, Serialize)]
struct Edits {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<Hook>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    host_path: String,
    container_path: String,
    options: [&'static str; 6],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    hook_name: &'static str,
    path: String,
    args: Vec<String>,
}

impl Specification {
    /// The devices for the views whose anchors are in `directory`: `all` for applications, `system` for
    /// containers with an init of their own, and one for each view. `program` is this one, for what only a
    /// hook can mount.
    #[must_use]
    pub fn new(directory: &Path, views: &[ViewId], program: &Path) -> Self {
        let binds = Bind::all(views).into_iter().filter(|bind| is_there(&bind.anchor(directory)));
        Self::of(&binds.collect::<Vec<_>>(), directory, program)
    }

    /// Whether there is nothing to bind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // But for the two sets.
        self.devices.len() <= 2
    }

    fn of(binds: &[Bind], directory: &Path, program: &Path) -> Self {
        let device = |name: String, binds: &[Bind]| Device {
            name,
            container_edits: Edits {
                mounts: binds
                    .iter()
                    .filter(|bind| bind.is_mounted_by_runc())
                    .map(|bind| mount(*bind, directory))
                    .collect(),
                hooks: hook(binds, directory, program).into_iter().collect(),
            },
        };
        let for_applications: Vec<Bind> =
            binds.iter().filter(|bind| !bind.is_for_systems_only()).copied().collect();
        let sets = [device("all".into(), &for_applications), device("system".into(), binds)];
        let single = binds.iter().map(|bind| device(bind.name(), &[*bind]));
        Self { cdi_version: "0.3.0", kind: KIND, devices: sets.into_iter().chain(single).collect() }
    }
}

/// Whether something is at a path. Whoever serves what is mounted there is not asked.
fn is_there(path: &Path) -> bool {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()).is_ok()
}

fn mount(bind: Bind, directory: &Path) -> Mount {
    Mount {
        host_path: bind.anchor(directory).display().to_string(),
        container_path: bind.target(),
        options: ["rbind", "ro", "rslave", "nosuid", "nodev", "noexec"],
    }
}

/// The hook for what runc does not mount.
fn hook(binds: &[Bind], directory: &Path, program: &Path) -> Option<Hook> {
    let names: Vec<_> =
        binds.iter().filter(|bind| !bind.is_mounted_by_runc()).map(|bind| bind.name()).collect();
    let args = || {
        let begin = ["cgprocfs".into(), "hook".into(), directory.display().to_string()];
        begin.into_iter().chain(names.iter().cloned()).collect()
    };
    (!names.is_empty()).then(|| Hook {
        hook_name: "createContainer",
        path: program.display().to_string(),
        args: args(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn devices(views: &[ViewId]) -> Vec<Value> {
        let specification =
            Specification::of(&Bind::all(views), Path::new("/a"), Path::new("/usr/bin/cgprocfs"));
        let text = serde_json::to_value(&specification).unwrap();
        assert_eq!((&text["cdiVersion"], &text["kind"]), (&json!("0.3.0"), &json!("cgprocfs.dev/view")));
        text["devices"].as_array().unwrap().clone()
    }

    fn targets(device: &Value) -> Vec<&str> {
        let mounts = device["containerEdits"]["mounts"].as_array();
        mounts.into_iter().flatten().map(|mount| mount["containerPath"].as_str().unwrap()).collect()
    }

    #[test]
    fn one_device_for_all_and_one_for_each() {
        let devices = devices(&ViewId::ALL);
        assert_eq!(devices.len(), 2 + Bind::all(&ViewId::ALL).len());
        let (all, system) = (&devices[0], &devices[1]);
        assert_eq!((&all["name"], &system["name"]), (&json!("all"), &json!("system")));
        assert!(targets(all).contains(&"/proc/meminfo") && !targets(all).contains(&"/proc/uptime"));
        assert!(targets(system).contains(&"/proc/uptime"));
        assert!(!targets(system).contains(&"/proc/vmstat"));
        let hooks = &all["containerEdits"]["hooks"];
        let args = ["cgprocfs", "hook", "/a", "vmstat", "pressure-cpu", "pressure-memory", "pressure-io"];
        assert_eq!(
            hooks,
            &json!([{"hookName": "createContainer", "path": "/usr/bin/cgprocfs", "args": args}])
        );
    }

    #[test]
    fn a_device_has_only_what_it_needs() {
        let devices = devices(&[cgprocfs_core::view::find("meminfo").unwrap()]);
        let mount = json!({
            "hostPath": "/a/proc/meminfo",
            "containerPath": "/proc/meminfo",
            "options": ["rbind", "ro", "rslave", "nosuid", "nodev", "noexec"],
        });
        for (device, name) in devices.iter().zip(["all", "system", "meminfo"]) {
            assert_eq!(device, &json!({"name": name, "containerEdits": {"mounts": [mount]}}));
        }
    }
}
