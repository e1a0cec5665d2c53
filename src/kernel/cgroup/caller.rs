//! The cgroups of a process that waits for an answer, and which of them is its container.

use super::ancestors::ancestors;
use super::mounts::Hierarchy;
use super::paths::{is_at_or_below, is_deep, last_name};
use crate::error::Error;
use crate::kernel::namespace_id::NamespaceId;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::time::ClockOffset;

/// The cgroups of a process, as slices of its `/proc/PID/cgroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'t> {
    /// Its own cgroup in the memory controller's hierarchy, `/` for the root.
    pub cgroup: &'t [u8],
    /// Its container in that hierarchy: a prefix of `cgroup`, which is an ancestor or the cgroup itself.
    pub container: &'t [u8],
    /// The whole text of `/proc/PID/cgroup`.
    pub proc_cgroup: &'t [u8],
    /// Its process id.
    pub pid: Pid,
    /// The number of its pid namespace, if that was requested.
    pub pid_namespace: Option<NamespaceId>,
    /// How much later CLOCK_BOOTTIME is in its time namespace than here, in nanoseconds, if that was
    /// requested.
    pub boot_offset: ClockOffset,
    /// Whether the current thread may take long, because nobody else needs it.
    pub may_take_long: bool,
    /// Whether the current thread may hang for ever.
    pub may_hang: bool,
}

impl<'t> Caller<'t> {
    /// A caller in the container at `path`, for views of its memory alone.
    #[must_use]
    pub fn in_cgroup(path: &'t [u8]) -> Self {
        Self {
            cgroup: path,
            container: path,
            proc_cgroup: b"",
            pid: Pid::UNSEEN,
            pid_namespace: None,
            boot_offset: ClockOffset::NONE,
            may_take_long: true,
            may_hang: true,
        }
    }

    /// Whether its cgroup in some hierarchy is so deep that reading all levels takes long.
    pub(crate) fn is_deep(&self) -> bool {
        self.proc_cgroup.split(|&byte| byte == b'\n').any(is_deep)
    }

    /// Its own cgroup in another hierarchy.
    pub(crate) fn own_in(&self, hierarchy: &Hierarchy) -> Result<&'t [u8], Error> {
        hierarchy.path_in(self.proc_cgroup, self.pid)
    }

    /// The container in another hierarchy, if it has a cgroup of its own there: one of the same path or, if a
    /// runtime uses different paths in different hierarchies, of the same name. Where below it the reader is
    /// may differ, too: an init system in the container makes cgroups only where it limits something. A
    /// container may have no cgroup of its own in a hierarchy. Then it shares one with others, whose numbers
    /// are not its own.
    pub(crate) fn container_in(&self, hierarchy: &Hierarchy) -> Result<Option<&'t [u8]>, Error> {
        let own = self.own_in(hierarchy)?;
        let container = self.container;
        if container == b"/" {
            return Ok(None);
        }
        if is_at_or_below(own, container) {
            return Ok(Some(&own[..container.len()]));
        }
        // The one nearest the root: a tenant may call cgroups of its own what it likes.
        let mut levels = ancestors(own);
        Ok(levels.find(|level| last_name(level) == last_name(container)))
    }

    /// The cgroup whose limits on CPUs are the container's. All readers of a container see the same limits,
    /// whatever limits some of them have below it; the sub-cgroup that a runtime makes counts as the
    /// container. If the container has no cgroup of its own, the reader's limits are all there is.
    pub(crate) fn limited_in(&self, hierarchy: &Hierarchy) -> Result<&'t [u8], Error> {
        let own = self.own_in(hierarchy)?;
        let Some(container) = self.container_in(hierarchy)? else { return Ok(own) };
        let name = own[container.len()..].split(|&b| b == b'/').nth(1).unwrap_or_default();
        let below = &own[..(container.len() + 1 + name.len()).min(own.len())];
        let is_of_runtime = below != container && without_crun_subgroup(below) == container;
        Ok(if is_of_runtime { below } else { container })
    }
}

/// On cgroup v2 crun puts the processes into a cgroup `container` below the scope that has the limits
/// (crun(1), `run.oci.systemd.subgroup`). Kubernetes and podman judge the scope.
pub(crate) fn without_crun_subgroup(container: &[u8]) -> &[u8] {
    let Some(scope) = container.strip_suffix(b"/container") else { return container };
    let name = last_name(scope);
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
            container: b"/docker/ab",
            proc_cgroup: hierarchies.as_bytes(),
            ..Caller::in_cgroup(memory)
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
        // An init system makes cgroups only where it limits something.
        for (memory, cpu, expected) in [
            ("/docker/ab/inner", "/docker/ab", Some("/docker/ab")),
            ("/docker/ab", "/docker/ab/inner/too", Some("/docker/ab")),
            ("/docker/ab/inner", "/system.slice/ab", Some("/system.slice/ab")),
            ("/docker/ab", "/system.slice/ab/other/ab", Some("/system.slice/ab")),
            ("/docker/ab/inner", "/docker/abc", None),
            ("/docker/ab/inner", "/docker", None),
        ] {
            let text = format!("4:memory:{memory}\n5:cpu:{cpu}\n");
            let caller = Caller {
                container: b"/docker/ab",
                proc_cgroup: text.as_bytes(),
                ..Caller::in_cgroup(memory.as_bytes())
            };
            let there = caller.container_in(&Hierarchy::for_test("cpu")).unwrap();
            assert_eq!(there, expected.map(str::as_bytes), "{memory} {cpu}");
        }
    }
}
