//! LXC with the hook of the package, in its containers of each kind.

use super::{LIMIT, Lxcfs, total};
use crate::common::{Need, finish, host_total, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub fn tests() -> Vec<Trial> {
    const LXC: &[Need] =
        &[Need::Root, Need::Fuse, Need::CgroupV1, Need::Program("lxc-start"), Need::Program("busybox")];
    tests! {
        test(LXC) => [
            privileged,
            unprivileged,
            nested,
        ],
    }
}

/// The first id of the users of an unprivileged container.
const MAPPED: u32 = 200_000;

/// A container, destroyed when it goes out of scope.
struct Container {
    process: Child,
    name: String,
    directory: PathBuf,
}

impl Container {
    /// Starts one of which the first process says what it reads in files, until it is told to end.
    fn start(lxcfs: &Lxcfs, name: &str, more: &str, owner: Option<u32>) -> Self {
        Self::start_with(lxcfs, name, more, owner, "")
    }

    /// The same, where it runs a script first.
    fn start_with(lxcfs: &Lxcfs, name: &str, more: &str, owner: Option<u32>, first: &str) -> Self {
        let directory = lxcfs.at(name);
        let root = directory.join("root");
        for path in ["bin", "proc", "sys", "dev", "tmp", "run", "var/lib/lxcfs"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let name = format!("cgprocfs-test-{}-{name}", std::process::id());
        // The hook of the package, with this test's directories in the place of the host's.
        let hook =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/lxcfs/lxc.mount.hook"));
        let hook = hook
            .unwrap()
            .replace("source=/run/cgprocfs", &format!("source={}", lxcfs.at("run/lxcfs").display()))
            .replace("tree=/var/lib/lxcfs", &format!("tree={}", lxcfs.at("tree").display()))
            .replace("$root$tree", "$root/var/lib/lxcfs");
        let hook_file = directory.join("hook");
        fs::write(&hook_file, hook).unwrap();
        fs::set_permissions(&hook_file, fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(
            "lxc.uts.name = test\nlxc.rootfs.path = dir:{}\nlxc.mount.auto = proc:mixed sys:ro\n\
             lxc.cgroup.memory.limit_in_bytes = {LIMIT}M\nlxc.autodev = 1\nlxc.net.0.type = empty\n\
             lxc.apparmor.profile = unconfined\nlxc.hook.mount = {}\n{more}",
            root.display(),
            hook_file.display()
        );
        fs::write(directory.join("config"), config).unwrap();
        if let Some(owner) = owner {
            for path in [&directory, &root] {
                chown(path, Some(owner), Some(owner)).unwrap();
            }
            for path in ["tmp", "dev", "run", "var/lib/lxcfs"] {
                chown(root.join(path), Some(owner), Some(owner)).unwrap();
            }
        }
        let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/lxcfs/lxc.mount.hook");
        fs::copy(packaged, root.join("hook")).unwrap();
        let script = "busybox cat /proc/meminfo > /tmp/meminfo; busybox cat /proc/uptime > /tmp/uptime
            busybox cat /sys/devices/system/cpu/online > /tmp/online; busybox cat /proc/pressure/memory > /tmp/pressure
            busybox cat /var/lib/lxcfs/proc/meminfo > /tmp/nested; busybox cat /proc/self/mountinfo > /tmp/mounts
            busybox mv /tmp/mounts /tmp/done
            while busybox sleep 0.05; do busybox cat /proc/meminfo > /tmp/new; busybox mv /tmp/new /tmp/now; done";
        let log = fs::File::create(directory.join("said")).unwrap();
        // Where newuidmap(1) is installed it asks these files what root may map.
        let allowed = directory.join("allowed");
        fs::write(&allowed, format!("root:{MAPPED}:65536\n")).unwrap();
        let allow = "for file in /etc/subuid /etc/subgid; do [ ! -e $file ] || mount --bind \"$0\" $file; done; exec lxc-start \"$@\"";
        let process = Command::new("unshare")
            .args(["--mount", "--propagation", "slave", "sh", "-ec", allow])
            .arg(&allowed)
            .args(["--foreground", "--name", &name, "--lxcpath"])
            .arg(&directory)
            .arg("--rcfile")
            .arg(directory.join("config"))
            .args(["--logpriority", "WARN", "--logfile"])
            .arg(directory.join("log"))
            .args(["--", "/bin/busybox", "sh", "-c", &format!("export PATH=/bin; {first}\n{script}")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut container = Self { process, name, directory };
        wait_until("the container has read", || {
            let ended = container.process.try_wait().unwrap();
            assert_eq!(ended, None, "{}", container.said());
            container.root("tmp/done").exists()
        });
        container
    }

    fn root(&self, file: &str) -> PathBuf {
        self.directory.join("root").join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root(file)).unwrap()
    }

    fn said(&self) -> String {
        ["said", "log"].map(|name| fs::read_to_string(self.directory.join(name)).unwrap_or_default()).concat()
    }

    /// It sees itself, in files that follow what happens on the host.
    fn is_right(&self) {
        assert_eq!(total(&self.read("tmp/meminfo")), LIMIT << 10, "{}", self.said());
        assert_eq!(total(&self.read("tmp/nested")), LIMIT << 10);
        let uptime: f64 = self.read("tmp/uptime").split(' ').next().unwrap().parse().unwrap();
        assert!(uptime < 60.0, "{uptime}");
        assert!(self.read("tmp/pressure").contains("avg10="));
        assert!(!self.read("tmp/online").is_empty());
        let mounts = self.read("tmp/done");
        for path in ["/proc/meminfo", "/proc/uptime", "/sys/devices/system/cpu", "/proc/pressure"] {
            let mount = mounts.lines().rfind(|line| line.contains(&format!(" {path} ")));
            let mount = mount.unwrap_or_else(|| panic!("{path}: {mounts}"));
            assert!(mount.contains("master:") || path == "/proc/pressure", "{mount}");
        }
    }

    fn sees(&self, kib: u64) {
        // What it read before does not count.
        let _ = fs::remove_file(self.root("tmp/now"));
        wait_until("the container reads that", || {
            let now = fs::read_to_string(self.root("tmp/now")).unwrap_or_default();
            now.starts_with("MemTotal") && total(&now) == kib
        });
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("LXC said:\n{}", self.said());
        }
        let _ = finish(
            Command::new("lxc-stop").args(["--kill", "--name", &self.name, "--lxcpath"]).arg(&self.directory),
        );
        let _ = self.process.kill();
        let _ = self.process.wait();
        let layout = cgprocfs_cgroups();
        for hierarchy in layout {
            for prefix in ["lxc.monitor.", "lxc.payload."] {
                let _ = fs::remove_dir(hierarchy.join(format!("{prefix}{}", self.name)));
            }
            let _ = fs::remove_dir(hierarchy.join("lxc.pivot"));
        }
    }
}

/// The mount points of all hierarchies.
fn cgprocfs_cgroups() -> Vec<PathBuf> {
    let entries = fs::read_dir("/sys/fs/cgroup").unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

/// Right numbers, also after the server was killed, and the kernel's own after the end.
fn is_right_and_follows(lxcfs: &mut Lxcfs, container: &Container) {
    container.is_right();
    let before = lxcfs.server();
    lxcfs.signal(before, Signal::KILL);
    wait_until("another serves", || ![0, before].contains(&lxcfs.server()));
    container.sees(LIMIT << 10);
    assert!(lxcfs.end().success());
    container.sees(host_total());
}

/// A privileged container of LXC has its own numbers, and keeps them when the daemon restarts.
fn privileged() {
    let mut lxcfs = Lxcfs::start(&["-f"]);
    let container = Container::start(&lxcfs, "privileged", "", None);
    is_right_and_follows(&mut lxcfs, &container);
}

/// So has one with mapped user ids.
fn unprivileged() {
    let mut lxcfs = Lxcfs::start(&["-f"]);
    let map = format!("lxc.idmap = u 0 {MAPPED} 65536\nlxc.idmap = g 0 {MAPPED} 65536\n");
    let container = Container::start(&lxcfs, "unprivileged", &map, Some(MAPPED));
    is_right_and_follows(&mut lxcfs, &container);
}

/// A container may start others with what it has: the tree is in it, where the hook finds it.
fn nested() {
    let lxcfs = Lxcfs::start(&["-f"]);
    let inner = "busybox mkdir -p /tmp/inner/proc /tmp/inner/sys; busybox mount -t proc proc /tmp/inner/proc
        LXC_ROOTFS_MOUNT=/tmp/inner busybox sh -e /hook && busybox cat /tmp/inner/proc/meminfo > /tmp/inner-meminfo
        busybox cat /tmp/inner/proc/uptime > /tmp/inner-uptime";
    let container = Container::start_with(&lxcfs, "nested", "", None, inner);
    container.is_right();
    assert_eq!(total(&container.read("tmp/inner-meminfo")), LIMIT << 10, "{}", container.said());
    assert!(!container.read("tmp/inner-uptime").is_empty());
}
