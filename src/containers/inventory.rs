//! The containers of this host that run.

use super::name::ContainerName;
use crate::kernel::{CgroupMounts, Hierarchy};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningContainer {
    /// The runtime's id of it.
    pub name: ContainerName,
    /// What people call it, where that is known and not its id.
    pub alias: Option<String>,
    /// Its processes, as far as they are in its cgroup, the lowest number first.
    pub pids: Vec<u32>,
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
    let mut found: BTreeMap<ContainerName, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(name) = name_of(pid, &memory) {
            found.entry(name).or_default().push(pid);
        }
    }
    let aliases = aliases();
    let container = |(name, mut pids): (ContainerName, Vec<u32>)| {
        pids.sort_unstable();
        let alias = aliases.get(&name.id).cloned().or_else(|| alias_of_docker(&name));
        RunningContainer { name, alias, pids }
    };
    Ok(found.into_iter().map(container).collect())
}

/// The container that a process is in; `None` for a process of the host, or one that has ended.
fn name_of(pid: u32, memory: &Hierarchy) -> Option<ContainerName> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let path = memory.path_in(&text, pid).ok()?;
    ContainerName::of_cgroup(std::str::from_utf8(path).ok()?)
}

/// What people call a container, where its runtime has noted that.
#[must_use]
pub fn alias(name: &ContainerName) -> Option<String> {
    aliases().remove(&name.id).or_else(|| alias_of_docker(name))
}

/// The name that docker's own file says.
fn alias_of_docker(name: &ContainerName) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Name")]
        name: String,
    }
    let path = Path::new("/var/lib/docker/containers").join(&name.id).join("config.v2.json");
    let config: Config = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some(config.name.trim_start_matches('/').to_string())
}

/// The names of podman's containers, by id.
fn aliases() -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Container {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }
    let text = fs::read("/var/lib/containers/storage/overlay-containers/containers.json").unwrap_or_default();
    let containers: Vec<Container> = serde_json::from_slice(&text).unwrap_or_default();
    containers
        .into_iter()
        .filter_map(|container| Some((container.id, container.names.into_iter().next()?)))
        .collect()
}
