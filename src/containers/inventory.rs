//! The containers of this host that run.

use super::name::ContainerName;
use crate::kernel::{CgroupMounts, Hierarchy};
use cgprocfs_core::parse::pid::Pid;
use rustix::fs::{Mode, OFlags, open};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The most that is read of a runtime's file.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningContainer {
    /// The runtime's id of it.
    pub name: ContainerName,
    /// What people call it, where that is known and not its id.
    pub alias: Option<String>,
    /// Its processes, as far as they are in its cgroup, the lowest number first.
    pub pids: Vec<Pid>,
}

impl RunningContainer {
    /// Whether somebody means it by a name, an id, or the first twelve or more characters of an id.
    #[must_use]
    pub fn is_called(&self, word: &str) -> bool {
        let is_short = word.len() >= 12 && self.name.id.starts_with(word);
        self.name.id == word || self.alias.as_deref() == Some(word) || is_short
    }
}

/// Finds the containers whose cgroup tells what runtime has made them.
///
/// # Errors
/// Where procfs can't be listed, or no hierarchy has the memory controller.
pub fn running() -> io::Result<Vec<RunningContainer>> {
    let memory = CgroupMounts::detect(Path::new("/")).map_err(io::Error::other)?.memory;
    let mut found: BTreeMap<ContainerName, Vec<Pid>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(name) = name_of(pid, &memory) {
            found.entry(name).or_default().push(pid);
        }
    }
    let aliases = Aliases::of_podman();
    let container = |(name, mut pids): (ContainerName, Vec<Pid>)| {
        pids.sort_unstable();
        let alias = aliases.of(&name);
        RunningContainer { name, alias, pids }
    };
    Ok(found.into_iter().map(container).collect())
}

/// The container that a process is in; `None` for a process of the host, or one that has ended.
fn name_of(pid: Pid, memory: &Hierarchy) -> Option<ContainerName> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = memory.path_in(&text, pid).ok()?;
    ContainerName::of_cgroup(std::str::from_utf8(path).ok()?)
}

/// What people call containers, where their runtimes have noted that.
pub struct Aliases(BTreeMap<String, String>);

impl Aliases {
    /// Reads what podman has noted. docker has a file for each container.
    #[must_use]
    pub fn of_podman() -> Self {
        #[derive(Deserialize)]
        struct Container {
            id: String,
            #[serde(default)]
            names: Vec<String>,
        }
        let path = Path::new("/var/lib/containers/storage/overlay-containers/containers.json");
        let containers: Vec<Container> =
            read(path).and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let named = |container: Container| Some((container.id, container.names.into_iter().next()?));
        Self(containers.into_iter().filter_map(named).collect())
    }

    /// What people call one.
    #[must_use]
    pub fn of(&self, name: &ContainerName) -> Option<String> {
        match name.runtime {
            "podman" => self.0.get(&name.id).cloned(),
            "docker" => of_docker(&name.id),
            _ => None,
        }
    }
}

/// The name that docker's own file says.
fn of_docker(id: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Name")]
        name: String,
    }
    // A cgroup's name, and so the id, may be whatever its owner likes.
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let path = Path::new("/var/lib/docker/containers").join(id).join("config.v2.json");
    let config: Config = serde_json::from_slice(&read(&path)?).ok()?;
    Some(config.name.trim_start_matches('/').to_string())
}

/// Reads a file that a runtime has written: nothing else, and not more than it would write.
fn read(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}
