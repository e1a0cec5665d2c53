//! What a runtime's configuration has to say, for each runtime.

use super::bind::{Bind, DIRECTORY};
use super::cdi::KIND;
use cgprocfs_core::view::ViewId;
use std::fmt::Write;
use std::path::Path;

/// A runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// The options of `docker run`
    Docker,
    /// A file for /etc/containers/containers.conf.d, for all containers
    Podman,
    /// The lines of a service in a compose file
    Compose,
    /// Lines for a container's configuration, or for all in /usr/share/lxc/config/common.conf.d
    Lxc,
    /// Why systemd-nspawn can't have them by itself, and what to do
    Nspawn,
    /// A drop-in file for a service of systemd
    Systemd,
    /// The volumes of a pod
    Kubernetes,
}

/// The text, which is a valid file where the runtime has one.
#[must_use]
pub fn snippet(runtime: Runtime, views: &[ViewId]) -> String {
    let all = Bind::all(views);
    let for_applications: Vec<_> = all.iter().filter(|bind| !bind.is_for_systems_only()).copied().collect();
    let by_runc: Vec<_> = for_applications.iter().filter(|bind| bind.is_mounted_by_runc()).copied().collect();
    match runtime {
        Runtime::Docker => docker(&by_runc),
        Runtime::Podman => podman(&by_runc),
        Runtime::Compose => format!("services:\n  app:\n    devices:\n      - {KIND}=all\n"),
        Runtime::Lxc => lxc(&all),
        Runtime::Nspawn => NSPAWN.into(),
        Runtime::Systemd => systemd(&for_applications),
        Runtime::Kubernetes => kubernetes(&by_runc),
    }
}

fn anchor(bind: Bind) -> String {
    bind.anchor(Path::new(DIRECTORY)).display().to_string()
}

/// Lines made from binds.
fn lines(binds: &[Bind], line: impl Fn(Bind) -> String) -> String {
    binds.iter().fold(String::new(), |mut text, bind| {
        // Writing to a string never fails.
        let _ = writeln!(text, "{}", line(*bind));
        text
    })
}

fn docker(binds: &[Bind]) -> String {
    let volumes = lines(binds, |bind| format!("#   --volume {}:{}:ro,rslave", anchor(bind), bind.target()));
    format!(
        "# From docker 28.2 on. There is no default for all containers: name the device for each, or in its compose file.\n\
         --device {KIND}=all\n\
         # System calls, too: make FILE of the profile that you use now by `cgprocfs seccomp-profile --base`. For all\n\
         # containers it is \"seccomp-profile\" in daemon.json.\n#   --security-opt seccomp=FILE\n\
         # Before:\n{volumes}"
    )
}

fn podman(binds: &[Bind]) -> String {
    let volumes = lines(binds, |bind| format!("#   \"{}:{}:ro,rslave\",", anchor(bind), bind.target()));
    format!(
        "# /etc/containers/containers.conf.d/cgprocfs.conf, from podman 4.4 on\n[containers]\ndevices = [\"{KIND}=all\"]\n\
         # System calls, too, once `cgprocfs seccomp-profile` was written to that file:\n\
         # seccomp_profile = \"/etc/containers/cgprocfs-seccomp.json\"\n\
         # Before:\n# volumes = [\n{volumes}# ]\n"
    )
}

fn lxc(binds: &[Bind]) -> String {
    let entry = |bind: Bind| {
        let (target, kind) = (bind.target(), if bind.is_directory() { "dir" } else { "file" });
        let target = target.trim_start_matches('/');
        match bind.is_in_kernel_file_system() {
            true => format!("lxc.mount.entry = {} {target} none rbind,ro,rslave,optional 0 0", anchor(bind)),
            false => {
                format!(
                    "lxc.mount.entry = {} {target} none bind,ro,rslave,optional,create={kind} 0 0",
                    anchor(bind)
                )
            }
        }
    };
    format!("# After the lines that mount proc and sys.\n{}", lines(binds, entry))
}

const NSPAWN: &str =
    "# systemd-nspawn mounts nothing in /proc. Once the container runs:\n# cgprocfs attach MACHINE\n";

fn systemd(binds: &[Bind]) -> String {
    let paths = lines(binds, |bind| format!("BindReadOnlyPaths=-{}:{}:rbind", anchor(bind), bind.target()));
    format!(
        "# /etc/systemd/system/NAME.service.d/cgprocfs.conf\n[Unit]\nAfter=cgprocfs.service\nWants=cgprocfs.service\n\n[Service]\n{paths}"
    )
}

fn kubernetes(binds: &[Bind]) -> String {
    let mounts = lines(binds, |bind| {
        format!(
            "        - {{name: cgprocfs-{}, mountPath: {}, mountPropagation: HostToContainer, readOnly: true}}",
            bind.name().replace('_', "-"),
            bind.target()
        )
    });
    let volumes = lines(binds, |bind| {
        format!(
            "    - {{name: cgprocfs-{}, hostPath: {{path: {}, type: {}}}}}",
            bind.name().replace('_', "-"),
            anchor(bind),
            if bind.is_directory() { "Directory" } else { "File" }
        )
    });
    format!("spec:\n  containers:\n    - name: app\n      volumeMounts:\n{mounts}  volumes:\n{volumes}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn each_runtime_has_its_lines() {
        for runtime in Runtime::value_variants() {
            let text = snippet(*runtime, &ViewId::ALL);
            assert!(text.ends_with('\n') && text.contains("cgprocfs"), "{text}");
            // It breaks ps and top in an application's container.
            assert_eq!(text.contains("proc/uptime"), *runtime == Runtime::Lxc, "{text}");
            let has_pressure = matches!(runtime, Runtime::Lxc | Runtime::Systemd);
            assert_eq!(text.contains("pressure"), has_pressure, "{text}");
        }
        let only = snippet(Runtime::Lxc, &[cgprocfs_core::view::find("meminfo").unwrap()]);
        assert_eq!(
            only,
            "# After the lines that mount proc and sys.\n\
             lxc.mount.entry = /run/cgprocfs/proc/meminfo proc/meminfo none rbind,ro,rslave,optional 0 0\n"
        );
    }
}
