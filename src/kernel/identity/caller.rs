//! Where a process that waits for us is in the hierarchies, and which cgroup is its container.

use crate::error::Error;
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::cgroup::paths::is_deep;
use cgprocfs_core::snapshot::Needs;
use std::time::Duration;

/// A process that waits for us, and how much may be done to find its container.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// Its id, or a thread's.
    pub pid: u32,
    /// How old the last look at its namespace's init may be.
    pub max_age: Duration,
    /// What is going to be asked for its container.
    pub needs: Needs,
    /// Whether nobody else waits for the thread that asks.
    pub may_take_long: bool,
    /// Whether it may be that this thread never comes back.
    pub may_hang: bool,
}

/// A process's place in the hierarchies, within the text of its `/proc/PID/cgroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'t> {
    /// Its own cgroup in the memory controller's hierarchy, `/` for the root.
    pub memory: &'t [u8],
    /// How much of `memory` is the container, an ancestor or the cgroup itself.
    pub container_length: usize,
    /// The whole text.
    pub membership: &'t [u8],
    /// Its id.
    pub pid: u32,
    /// The number of its pid namespace, where that was asked for.
    pub pid_namespace: Option<u64>,
    /// How much more CLOCK_BOOTTIME shows in its time namespace than here, in nanoseconds, where that was asked for.
    pub boot_offset: i64,
    /// Whether whoever waits for the reading does so on a thread that nobody else needs.
    pub may_take_long: bool,
    /// Whether it may be that this thread never comes back.
    pub may_hang: bool,
}

impl<'t> Caller<'t> {
    /// Whoever is in the container at `path`, for views of nothing but its usage of memory.
    #[must_use]
    pub fn of_memory(path: &'t [u8]) -> Self {
        Self {
            memory: path,
            container_length: path.len(),
            membership: b"",
            pid: 0,
            pid_namespace: None,
            boot_offset: 0,
            may_take_long: true,
            may_hang: true,
        }
    }

    /// Whether it is so deep down in some hierarchy that to look at all levels takes long.
    pub(crate) fn is_deep(&self) -> bool {
        self.membership.split(|&byte| byte == b'\n').any(is_deep)
    }

    /// Its own cgroup in another hierarchy.
    pub(crate) fn own_in(&self, hierarchy: &Hierarchy) -> Result<&'t [u8], Error> {
        hierarchy.path_in(self.membership, self.pid)
    }

    /// The container in another hierarchy, if it has a cgroup of its own there: one of the same path, or, where a runtime
    /// keeps hierarchies in different places, of the same name. A container may be without in a hierarchy, and then is in
    /// a cgroup with others, whose numbers are not its own.
    pub(crate) fn container_in(&self, hierarchy: &Hierarchy) -> Result<Option<&'t [u8]>, Error> {
        let own = self.own_in(hierarchy)?;
        let (container, inner) = self.memory.split_at(self.container_length.min(self.memory.len()));
        let Some(there) = own.strip_suffix(inner) else { return Ok(None) };
        let name = |path: &'t [u8]| path.rsplit(|&b| b == b'/').next().unwrap_or_default();
        let is_it = there == container || (!name(there).is_empty() && name(there) == name(container));
        Ok((is_it && there != b"/").then_some(there))
    }

    /// The cgroup whose limits on processors are the container's: all readers of a container see the same ones, whatever
    /// limits some of them have below it. A runtime's own sub-cgroup is such a one, too. Where the container has no cgroup
    /// of its own the reader's limits are all there is.
    pub(crate) fn limited_in(&self, hierarchy: &Hierarchy) -> Result<&'t [u8], Error> {
        let own = self.own_in(hierarchy)?;
        let Some(container) = self.container_in(hierarchy)? else { return Ok(own) };
        let name = own[container.len()..].split(|&b| b == b'/').nth(1).unwrap_or_default();
        let below = &own[..(container.len() + 1 + name.len()).min(own.len())];
        let is_runtimes = below != container && without_crun_subgroup(below) == container;
        Ok(if is_runtimes { below } else { container })
    }
}

/// On cgroup v2 crun puts the processes into a cgroup `container` below the scope that has the limits
/// (crun(1), `run.oci.systemd.subgroup`). Kubernetes and podman judge the scope.
pub(crate) fn without_crun_subgroup(container: &[u8]) -> &[u8] {
    let Some(scope) = container.strip_suffix(b"/container") else { return container };
    let name = scope.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let is_crun_scope = [&b"libpod-"[..], b"crio-"].iter().any(|prefix| {
        name.strip_prefix(*prefix)
            .and_then(|id| id.strip_suffix(b".scope"))
            .is_some_and(|id| id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit))
    });
    if is_crun_scope { scope } else { container }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crun_subgroup_belongs_to_its_scope() {
        let id = "0123456789abcdef".repeat(4);
        for runtime in ["libpod", "crio"] {
            let scope = format!("/machine.slice/{runtime}-{id}.scope");
            assert_eq!(without_crun_subgroup(format!("{scope}/container").as_bytes()), scope.as_bytes());
            assert_eq!(without_crun_subgroup(scope.as_bytes()), scope.as_bytes());
        }
        for other in ["/a/container", "/crio-conmon-0123.scope/container", "/x/containers"] {
            assert_eq!(without_crun_subgroup(other.as_bytes()), other.as_bytes());
        }
    }

    #[test]
    fn containers_in_other_hierarchies() {
        let hierarchies = "4:memory:/docker/ab/inner\n5:cpu:/docker/ab/inner\n6:blkio:/user.slice\n\
            7:cpuset:/system.slice/x:ab/inner\n8:pids:/system.slice/other:cd/inner\n9:cpuacct:/\n";
        let memory = b"/docker/ab/inner";
        let caller = Caller {
            container_length: b"/docker/ab".len(),
            membership: hierarchies.as_bytes(),
            ..Caller::of_memory(memory)
        };
        let there = |controller| {
            let hierarchy = Hierarchy::for_test(controller);
            caller.container_in(&hierarchy).unwrap().map(|path| std::str::from_utf8(path).unwrap())
        };
        assert_eq!(there("cpu"), Some("/docker/ab"));
        assert_eq!(there("blkio"), None);
        assert_eq!(there("cpuset"), None, "not the same name");
        assert_eq!(there("pids"), None);
        assert_eq!(there("cpuacct"), None);
    }
}
