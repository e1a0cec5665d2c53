//! What runtimes call a container, by the path of its cgroup.

use std::fmt;

/// A container of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName {
    /// What has started it: `docker`, `podman`, `containerd`, `cri-o`, `kubernetes`, `lxc` or `nspawn`.
    pub runtime: &'static str,
    /// The runtime's id of it, or its name where that is the id.
    pub id: String,
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As runtimes shorten an id.
        let is_hash = self.id.len() == 64 && is_hex(&self.id);
        write!(f, "{} {}", self.runtime, if is_hash { &self.id[..12] } else { &self.id })
    }
}

impl ContainerName {
    /// The container that a cgroup is of, or is in; `None` where no runtime that is known has made it.
    ///
    /// The forms are those of runc's and crun's two cgroup managers, of LXC 4 and later, and of
    /// systemd-nspawn.
    #[must_use]
    pub fn of_cgroup(path: &str) -> Option<Self> {
        let components: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        (0..components.len()).find_map(|depth| {
            let above = depth.checked_sub(1).map_or("", |above| components[above]);
            Self::of_component(components[depth], above, &components[..depth])
        })
    }

    fn of_component(name: &str, above: &str, all_above: &[&str]) -> Option<Self> {
        let of = |runtime, id: &str| Some(Self { runtime, id: id.to_string() });
        let unit = name.strip_suffix(".scope").unwrap_or(name);
        for (prefix, runtime) in [
            ("docker-", "docker"),
            ("libpod-", "podman"),
            ("cri-containerd-", "containerd"),
            ("crio-", "cri-o"),
        ] {
            if let Some(id) = unit.strip_prefix(prefix).filter(|id| is_hex(id)) {
                return of(runtime, id);
            }
        }
        if let Some(name) = unit.strip_prefix("lxc.payload.") {
            return of("lxc", name);
        }
        if let Some(machine) = name.strip_suffix(".scope").and_then(|name| name.strip_prefix("machine-")) {
            return of("nspawn", &unescaped(machine));
        }
        if let Some(machine) =
            name.strip_suffix(".service").and_then(|name| name.strip_prefix("systemd-nspawn@"))
        {
            return of("nspawn", &unescaped(machine));
        }
        let is_of_pod = all_above.first().is_some_and(|top| top.starts_with("kubepods"));
        match above {
            "docker" if is_hex(name) => of("docker", name),
            "libpod_parent" => of("podman", name.strip_prefix("libpod-").unwrap_or(name)),
            "lxc" => of("lxc", name),
            "default" | "moby" | "k8s.io" if all_above.len() == 1 => of("containerd", name),
            _ if is_of_pod && name.len() == 64 && is_hex(name) => of("kubernetes", name),
            _ => None,
        }
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A part of a unit's name, in which systemd writes some characters as `\x2d` (systemd.unit(5)).
fn unescaped(name: &str) -> String {
    let mut rest = name;
    let mut plain = Vec::new();
    while let Some(byte) = rest.bytes().next() {
        let escape = rest.strip_prefix("\\x").and_then(|hex| hex.get(..2));
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                plain.push(escaped);
                rest = &rest[4..];
            }
            None => {
                plain.push(byte);
                // Bytes of a longer character follow one by one.
                let next = (1..=rest.len()).find(|&end| rest.is_char_boundary(end)).unwrap_or(rest.len());
                plain.extend_from_slice(&rest.as_bytes()[1..next]);
                rest = &rest[next..];
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "aaefb9d8aaefb9d8aaefb9d8aaefb9d8aaefb9d8aaefb9d8aaefb9d8aaefb9d8";

    #[test]
    fn every_form_of_a_path() {
        let pod = "kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice";
        for (path, runtime, id) in [
            (format!("/docker/{ID}"), "docker", ID),
            (format!("/system.slice/docker-{ID}.scope"), "docker", ID),
            (format!("/system.slice/docker-{ID}.scope/init.scope"), "docker", ID),
            (format!("/machine.slice/libpod-{ID}.scope/container"), "podman", ID),
            (format!("/libpod_parent/libpod-{ID}"), "podman", ID),
            (
                format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
                "podman",
                ID,
            ),
            (
                format!("/kubepods.slice/kubepods-burstable.slice/{pod}/cri-containerd-{ID}.scope"),
                "containerd",
                ID,
            ),
            (format!("/kubepods.slice/{pod}/crio-{ID}.scope"), "cri-o", ID),
            (format!("/kubepods/besteffort/pod2fc932ce/{ID}"), "kubernetes", ID),
            ("/default/web".into(), "containerd", "web"),
            ("/lxc.payload.web".into(), "lxc", "web"),
            ("/lxc/web/init.scope".into(), "lxc", "web"),
            ("/machine.slice/machine-a\\x2db.scope/payload".into(), "nspawn", "a-b"),
            ("/machine.slice/systemd-nspawn@web.service".into(), "nspawn", "web"),
        ] {
            let name = ContainerName::of_cgroup(&path);
            assert_eq!(name, Some(ContainerName { runtime, id: id.into() }), "{path}");
        }
        for path in
            ["/", "", "/user.slice/user-0.slice/session-1.scope", "/system.slice/docker.service", "/docker"]
        {
            assert_eq!(ContainerName::of_cgroup(path), None, "{path}");
        }
        // What runs beside the container is not in it.
        assert_eq!(ContainerName::of_cgroup(&format!("/machine.slice/libpod-conmon-{ID}.scope")), None);
    }

    #[test]
    fn ids_are_shortened_and_names_are_not() {
        let shown = |path: &str| ContainerName::of_cgroup(path).unwrap().to_string();
        assert_eq!(shown(&format!("/docker/{ID}")), "docker aaefb9d8aaef");
        assert_eq!(shown("/lxc/a-name-that-is-long"), "lxc a-name-that-is-long");
        assert_eq!(unescaped("ä\\x2dö\\x"), "ä-ö\\x");
    }
}
