//! The views in containers of a real runtime, bound as the documentation says.

use crate::common::daemon::Daemon;
use crate::common::{Need, field, helper, test};
use cgprocfs_core::parse::CgroupVersion;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

const RUNC: &[Need] = &[Need::Root, Need::Fuse, Need::Program("runc"), Need::Program("busybox")];
const CRUN: &[Need] = &[Need::Root, Need::Fuse, Need::Program("crun"), Need::Program("busybox")];
const PROGRAMS: &[Need] = &[
    Need::Root,
    Need::Fuse,
    Need::Speed,
    Need::Program("runc"),
    Need::Program("busybox"),
    Need::Program("top"),
    Need::Program("mpstat"),
    Need::Program("htop"),
];

const AT_REST: &[Need] = &[
    Need::Root,
    Need::Fuse,
    Need::Speed,
    Need::Program("runc"),
    Need::Program("mpstat"),
    Need::Program("node"),
    Need::Program("java"),
    Need::PythonModule("psutil"),
];

pub fn tests() -> Vec<Trial> {
    tests! {
        test(RUNC) => [
            runc_container_sees_its_memory,
            runc_container_with_own_cgroup_namespace,
            runc_container_cannot_write,
            runc_containers_side_by_side,
            runc_container_follows,
            runc_masks_what_is_there = || masks_what_is_there(Runtime::Runc),
            counters_outlive_the_daemon,
        ],
        test(CRUN) => [
            crun_masks_what_is_there = || masks_what_is_there(Runtime::Crun),
            crun_container_sees_its_memory,
        ],
        test(PROGRAMS) => [
            real_programs,
        ],
        test(AT_REST) => [
            real_programs_at_rest,
        ],
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Runtime {
    Runc,
    Crun,
}

impl Runtime {
    fn command(self) -> Command {
        match self {
            Self::Runc => Command::new("runc"),
            Self::Crun => {
                // It takes a hybrid system for v2 where it finds the unified hierarchy.
                let alone =
                    "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun --cgroup-manager=cgroupfs \"$@\"";
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "slave", "sh", "-c", alone, "crun"]);
                command
            }
        }
    }

    /// What is bound in its containers.
    fn views(self) -> Vec<(&'static str, &'static str)> {
        let mut views = vec![
            ("proc/meminfo", "/proc/meminfo"),
            ("proc/stat", "/proc/stat"),
            ("proc/cpuinfo", "/proc/cpuinfo"),
            ("proc/uptime", "/proc/uptime"),
            ("proc/loadavg", "/proc/loadavg"),
            ("sys/devices/system/cpu", "/sys/devices/system/cpu"),
            ("working_set", "/run/cgprocfs/working_set"),
        ];
        if Path::new("/sys/devices/system/node").exists() {
            views.push(("sys/devices/system/node", "/sys/devices/system/node"));
        }
        // runc has a list of what may lie below /proc.
        if self == Self::Crun {
            views.extend([("proc/vmstat", "/proc/vmstat"), ("proc/pressure/cpu", "/proc/pressure/cpu")]);
        }
        views
    }
}

/// A bundle for a runtime, removed with its container when it goes out of scope.
struct Bundle {
    runtime: Runtime,
    dir: tempfile::TempDir,
    id: String,
}

const MIB: u64 = 1 << 20;

impl Bundle {
    fn new(daemon: &Daemon, memory: u64, cgroup_namespace: bool, script: &str) -> Self {
        Self::of(Runtime::Runc, daemon, memory, cgroup_namespace, script)
    }

    fn of(runtime: Runtime, daemon: &Daemon, memory: u64, cgroup_namespace: bool, script: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("cgprocfs-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::tempdir().unwrap();
        // The container's root file system is for its users to enter.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = dir.path().join("rootfs");
        for directory in ["bin", "proc", "sys", "dev", "run/cgprocfs"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        copy_program(Path::new("/bin/busybox"), &root);
        copy_program(&std::env::current_exe().unwrap(), &root);
        let bundle = Self { runtime, dir, id };
        bundle.configure(daemon, memory, cgroup_namespace, script);
        bundle
    }

    fn configure(&self, daemon: &Daemon, memory: u64, cgroup_namespace: bool, script: &str) {
        let made = self.runtime.command().arg("spec").current_dir(self.dir.path()).status().unwrap();
        assert!(made.success());
        let path = self.dir.path().join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/bin/busybox", "sh", "-c", script]);
        spec["linux"]["cgroupsPath"] = json!(format!("/{}", self.id));
        spec["linux"]["resources"]["memory"] = json!({ "limit": memory });
        spec["linux"]["resources"]["cpu"] = json!({ "quota": 50_000, "period": 100_000 });
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        if cgroup_namespace {
            namespaces.push(json!({ "type": "cgroup" }));
        }
        let mounts = spec["mounts"].as_array_mut().unwrap();
        for (view, destination) in self.runtime.views() {
            let source = daemon.path(view);
            mounts.push(json!({
                "type": "bind", "source": source, "destination": destination, "options": ["rbind", "ro", "rslave"]
            }));
        }
        fs::write(path, spec.to_string()).unwrap();
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.dir.path().join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut spec);
        fs::write(path, spec.to_string()).unwrap();
    }

    /// The shell and what it calls are the host's.
    fn with_programs_of_the_host(&self) {
        self.change(|spec| {
            spec["process"]["args"][0] = json!("/usr/bin/env");
            let mounts = spec["mounts"].as_array_mut().unwrap();
            for directory in
                ["/usr", "/lib", "/lib64", "/bin", "/etc"].into_iter().filter(|path| Path::new(path).exists())
            {
                let options = ["rbind", "ro"];
                mounts.push(
                json!({ "type": "bind", "source": directory, "destination": directory, "options": options }),
            );
            }
        });
    }

    fn command(&self) -> Command {
        let mut command = self.runtime.command();
        command.args(["run", "--bundle"]).arg(self.dir.path()).arg(&self.id).stdin(Stdio::null());
        command
    }

    fn run(&self) -> String {
        let Output { status, stdout, stderr } = self.command().output().unwrap();
        assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.runtime.command().args(["delete", "--force", &self.id]).stderr(Stdio::null()).status();
    }
}

/// Copies a program, and the libraries that it asks for, to where it looks for them.
fn copy_program(program: &Path, root: &Path) {
    let name = PathBuf::from("bin").join(program.file_name().unwrap());
    fs::copy(program, root.join(name)).unwrap();
    let listed = Command::new("ldd").arg(program).output().unwrap();
    for library in
        String::from_utf8(listed.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
    {
        let to = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(library, to).unwrap();
    }
}

fn helper_in_container(name: &str, arguments: &[&str]) -> String {
    let mut words = helper::command(name, arguments);
    words[0] = format!("/bin/{}", Path::new(&words[0]).file_name().unwrap().to_str().unwrap());
    words.join(" ")
}

const SHOW: &str = "/bin/busybox cat /proc/meminfo /run/cgprocfs/working_set";

fn runc_container_sees_its_memory() {
    let daemon = Daemon::start();
    let text = Bundle::new(&daemon, 64 * MIB, false, SHOW).run();
    assert_eq!(field(&text, "MemTotal"), 64 << 10);
    assert!(field(&text, "MemAvailable") > 50 << 10, "{text}");
    let working_set: u64 = text.lines().last().unwrap().parse().unwrap();
    assert!(working_set > 0 && working_set < 16 * MIB, "{working_set}");
}

fn runc_container_with_own_cgroup_namespace() {
    let daemon = Daemon::start();
    let hog = helper_in_container("hog", &["20"]);
    let script = format!(
        "/bin/busybox sleep 5 | {hog} & while ! /bin/busybox grep -qE 'AnonPages: +[2-9][0-9]{{4}} kB' /proc/meminfo; do :; done; {SHOW}"
    );
    let text = Bundle::new(&daemon, 64 * MIB, true, &script).run();
    let text = text.trim_start_matches("ready\n");
    assert_eq!(field(text, "MemTotal"), 64 << 10);
    assert!((20 << 10..28 << 10).contains(&field(text, "AnonPages")), "{text}");
    assert!(text.lines().last().unwrap().parse::<u64>().unwrap() >= 20 * MIB, "{text}");
}

/// With views where runc binds none.
fn crun_container_sees_its_memory() {
    let daemon = Daemon::start();
    let script = format!(
        "{SHOW}; /bin/busybox grep -c ^processor /proc/cpuinfo; /bin/busybox cat /sys/devices/system/cpu/online; \
         /bin/busybox grep -E '^(nr_free_pages|oom_kill) ' /proc/vmstat; /bin/busybox cat /proc/pressure/cpu"
    );
    for cgroup_namespace in [false, true] {
        let text = Bundle::of(Runtime::Crun, &daemon, 64 * MIB, cgroup_namespace, &script).run();
        assert_eq!(field(&text, "MemTotal"), 64 << 10);
        assert!(field(&text, "MemAvailable") > 50 << 10, "{text}");
        let rest: Vec<&str> = text.lines().skip_while(|line| line.contains(':')).collect();
        let [working_set, processors, online, free, oom_kills, some, full] = rest[..] else {
            panic!("{text}")
        };
        let working_set: u64 = working_set.parse().unwrap();
        assert!(working_set > 0 && working_set < 16 * MIB, "{working_set}");
        assert_eq!((processors, online, oom_kills), ("1", "0", "oom_kill 0"));
        let free: u64 = free.strip_prefix("nr_free_pages ").unwrap().parse().unwrap();
        assert!((50 << 8..=64 << 8).contains(&free), "{text}");
        assert!(some.starts_with("some avg10=") && full.starts_with("full avg10="), "{text}");
    }
}

fn runc_container_cannot_write() {
    let daemon = Daemon::start();
    let script = "for f in /proc/meminfo /run/cgprocfs/working_set; do \
        (echo x > $f) 2>/dev/null && echo written; /bin/busybox chmod 666 $f 2>/dev/null && echo changed; done; echo end";
    assert_eq!(Bundle::new(&daemon, 64 * MIB, false, script).run(), "end\n");
}

fn runc_containers_side_by_side() {
    let daemon = Daemon::start();
    let bundles: Vec<_> = [48, 64, 80]
        .map(|mib| {
            let line = format!("MemTotal:       {:8} kB", mib << 10);
            let expect = helper_in_container("expect", &["/proc/meminfo", &format!("'{line}'"), "300"]);
            Bundle::new(&daemon, mib * MIB, false, &format!("{expect} && echo all"))
        })
        .into_iter()
        .collect();
    let running: Vec<_> = bundles
        .iter()
        .map(|bundle| bundle.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for container in running {
        let output = container.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"all\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A container that runs all the time, while the daemon is stopped, started, and loses its connection.
fn runc_container_follows() {
    let mut daemon = Daemon::start();
    let script = "while read line; do /bin/busybox head -n 1 /proc/meminfo || echo error; done";
    let bundle = Bundle::new(&daemon, 64 * MIB, false, script);
    let mut container = bundle.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(container.stdout.take().unwrap()).lines();
    let mut orders = container.stdin.take().unwrap();
    let mut ask = || {
        orders.write_all(b"\n").unwrap();
        answers.next().unwrap().unwrap()
    };
    let line = |kib: u64| format!("MemTotal:       {kib:8} kB");
    let (own, native) = (line(64 << 10), line(crate::common::host_total()));
    assert_eq!(ask(), own);
    for lose in [|daemon: &Daemon| daemon.signal(rustix::process::Signal::TERM), abort] {
        let start = Instant::now();
        lose(&daemon);
        daemon.wait();
        assert_eq!(ask(), native);
        println!("containers: the kernel's own file {:?} after the connection was lost", start.elapsed());
        daemon = daemon.again();
        assert_eq!(ask(), own);
    }
    drop(orders);
    assert!(crate::common::wait_for(&mut container).success());
}

/// A runtime is told to mask what the host has of each processor, and containers have not.
fn masks_what_is_there(runtime: Runtime) {
    const MASKED: &str = "/sys/devices/system/cpu/cpu0/topology";
    let faults = tempfile::tempdir().unwrap();
    fs::write(faults.path().join("masked"), "topology").unwrap();
    let mut daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    for is_served in [true, false] {
        let script =
            format!("/bin/busybox ls {MASKED} 2>&1; /bin/busybox cat /sys/devices/system/cpu/online");
        let bundle = Bundle::of(runtime, &daemon, 64 * MIB, false, &script);
        bundle.change(|spec| spec["linux"]["maskedPaths"] = json!([MASKED, "/proc/kcore"]));
        let said = bundle.run();
        let lines: Vec<&str> = said.lines().collect();
        match lines[..] {
            [masked, online] if is_served => {
                assert!(masked.contains("No such file") && online == "0", "{said}")
            }
            [online] if !is_served => assert!(online.starts_with('0'), "{said}"),
            _ => panic!("{said}"),
        }
        if is_served {
            abort(&daemon);
            daemon.wait();
        }
    }
}

/// Of a container that spins on half a processor, while its daemon is killed and its limit is changed.
fn counters_outlive_the_daemon() {
    let daemon = Daemon::start_with(&[], &["--supervise"], &[]);
    let script = "while :; do :; done & while read line; do \
        /bin/busybox cat /proc/stat /proc/uptime /proc/loadavg /sys/devices/system/cpu/online; \
        /bin/busybox grep -c ^processor /proc/cpuinfo; echo end; done";
    let bundle = Bundle::new(&daemon, 64 * MIB, false, script);
    let mut container = bundle.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(container.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut orders = container.stdin.take().unwrap();
    let mut ask = || {
        orders.write_all(b"\n").unwrap();
        answers.by_ref().take_while(|line| line != "end").collect::<Vec<_>>()
    };
    let set_quota = |quota: u32| {
        let layout = cgprocfs::kernel::CgroupMounts::detect(Path::new("/")).unwrap();
        let cpu = layout.cpu.unwrap();
        let directory = cpu.mount_point.join(&bundle.id);
        match cpu.version {
            CgroupVersion::V1 => fs::write(directory.join("cpu.cfs_quota_us"), quota.to_string()).unwrap(),
            CgroupVersion::V2 => fs::write(directory.join("cpu.max"), format!("{quota} 100000")).unwrap(),
        }
    };
    let numbers = |line: &str| -> Vec<u64> {
        line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect()
    };
    let mut before: HashMap<String, Vec<u64>> = HashMap::new();
    for round in 0..12 {
        match round % 4 {
            1 => set_quota(150_000),
            3 => set_quota(50_000),
            _ => {
                let child = daemon.children()[0];
                let pid = rustix::process::Pid::from_raw(child.try_into().unwrap()).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(120));
        let said = ask();
        let text = said.join("\n");
        for line in said.iter().filter(|line| line.starts_with("cpu")) {
            let (key, now) = (line.split(' ').next().unwrap().to_string(), numbers(line));
            let last = before.entry(key).or_insert_with(|| now.clone());
            assert!(now.iter().zip(last.iter()).all(|(now, last)| now >= last), "{last:?}, then:\n{text}");
            *last = now;
        }
        // Of three words on, what follows is uptime, load, list and number of processors.
        let [uptime, load, online, count] = &said[said.len() - 4..] else { panic!("{text}") };
        let count: usize = count.parse().unwrap();
        assert_eq!(said.iter().filter(|line| line.starts_with("cpu")).count(), 1 + count, "{text}");
        assert_eq!(*online, if count == 1 { "0".to_string() } else { format!("0-{}", count - 1) });
        let uptime: Vec<f64> = uptime.split(' ').map(|number| number.parse().unwrap()).collect();
        assert!(uptime[0] < 60.0 && uptime[1] <= uptime[0] * 2.0, "{text}");
        // The shell and busybox, in a pid namespace of their own.
        let (tasks, last_pid) = load.rsplit_once(' ').unwrap();
        assert!(tasks.contains('/') && (2..1000).contains(&last_pid.parse::<u32>().unwrap()), "{text}");
    }
    let user = before["cpu"][0];
    assert!((20..400).contains(&user), "{before:?}");
    load_outlives(&daemon, ask);
    drop(orders);
    drop(bundle);
    let _ = crate::common::wait_for(&mut container);
}

/// One task spins, so that the load of one minute is above that of fifteen; with another daemon it does not begin anew.
fn load_outlives(daemon: &Daemon, mut ask: impl FnMut() -> Vec<String>) {
    let mut load = || -> Vec<f64> {
        let said = ask();
        let line = said.iter().rfind(|line| line.contains('/')).unwrap();
        line.split(' ').take(3).map(|number| number.parse().unwrap()).collect()
    };
    load();
    std::thread::sleep(std::time::Duration::from_millis(5600));
    let before = load();
    let pid = rustix::process::Pid::from_raw(daemon.children()[0].try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let after = load();
    let is_near = before.iter().zip(&after).all(|(before, after)| (after - before).abs() < 0.1);
    assert!(before[0] > before[2] && after[0] > after[2] && is_near, "{before:?}, then {after:?}");
}

/// While something spins: what programs of the host show in there is what the cgroup counts meanwhile.
fn real_programs() {
    for (spinners, quota, processors) in [(1, 50_000, 1), (3, 200_000, 2)] {
        show_what_is_counted(spinners, quota, processors);
    }
}

/// So many spin, on so much of each 100 ms, which is seen as so many processors.
fn show_what_is_counted(spinners: usize, quota: u32, processors: u32) {
    let daemon = Daemon::start();
    let spin = "while :; do :; done & ".repeat(spinners);
    let script = "sleep 1; export LC_ALL=C; while read order; do sh -c \"$order\"; echo end; done";
    let bundle = Bundle::new(&daemon, 64 * MIB, true, &format!("{spin} {script}"));
    bundle.with_programs_of_the_host();
    bundle.change(|spec| spec["linux"]["resources"]["cpu"]["quota"] = json!(quota));
    let usage = || {
        let cpuacct = cgprocfs::kernel::CgroupMounts::detect(Path::new("/")).unwrap().cpuacct.unwrap();
        let directory = cpuacct.mount_point.join(&bundle.id);
        match cpuacct.version {
            CgroupVersion::V1 => {
                fs::read_to_string(directory.join("cpuacct.usage")).unwrap().trim().parse::<f64>().unwrap()
                    / 1e9
            }
            CgroupVersion::V2 => {
                let text = fs::read_to_string(directory.join("cpu.stat")).unwrap();
                let value = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
                value.parse::<f64>().unwrap() / 1e6
            }
        }
    };
    let mut container = bundle.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(container.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut orders = container.stdin.take().unwrap();
    let mut ask = |order: &str| {
        orders.write_all(format!("{order}\n").as_bytes()).unwrap();
        said.by_ref().take_while(|line| line != "end").collect::<Vec<_>>().join("\n")
    };
    ask("true");
    for (order, place) in [
        ("top -b -n 2 -d 2 | grep Cpu | tail -n 1 | tr , ' ' | sed 's/ id .*//'", None),
        ("mpstat 2 1 | tail -n 1", None),
        ("vmstat 2 2 | tail -n 1", Some(14)),
    ] {
        let (before, started) = (usage(), Instant::now());
        let shown = ask(order);
        let counted = (usage() - before) / started.elapsed().as_secs_f64() / f64::from(quota) * 1e7;
        let words: Vec<&str> = shown.split_whitespace().collect();
        let idle = place.map_or_else(|| words.last(), |place| words.get(place));
        let idle: f64 = idle.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{shown:?}"));
        println!("containers: {order}: {idle} % idle, {counted:.1} % of its limit were used");
        assert!((100.0 - idle - counted).abs() < 5.0, "{order}: {idle}, {counted}");
    }
    let rest = ask("uptime; lscpu | grep '^CPU(s)'; htop --version | head -n 1; free -m | grep Mem");
    assert!(
        rest.contains("up 0 min")
            && rest.contains(&format!("CPU(s):                                  {processors}")),
        "{rest}"
    );
    assert!(rest.contains("htop ") && rest.contains("Mem:              64 "), "{rest}");
    drop(bundle);
    let _ = crate::common::wait_for(&mut container);
}

/// On half a processor where nothing else runs: they are idle, agree on what there is, and complain of nothing.
fn real_programs_at_rest() {
    let daemon = Daemon::start();
    let script = "export LC_ALL=C; top -b -n 2 -d 1 | grep Cpu | tail -n 1; mpstat 1 1 | tail -n 1; \
        vmstat 1 2 | tail -n 1; iostat -c 1 2 | grep -A 1 avg-cpu | tail -n 1; \
        python3 -c 'import psutil as p; print(100 - p.cpu_percent(3)); \
        print(p.cpu_count(), p.virtual_memory().total >> 20, p.swap_memory().total)'; \
        node -p 'const os = require(\"os\"); `${os.cpus().length} ${os.totalmem() >> 20} ${os.uptime() < 60}`'; \
        java -XX:-UsePerfData -XshowSettings:system -version 2>&1 | grep 'Effective CPU Count'; \
        getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; lscpu | grep '^CPU(s)'; free -m | grep Mem";
    let bundle = Bundle::new(&daemon, 256 * MIB, true, script);
    bundle.with_programs_of_the_host();
    let output = bundle.command().output().unwrap();
    let (said, complaints) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(complaints, "", "{said}");
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let [top, mpstat, vmstat, iostat, psutil, rest @ ..] = &lines[..] else { panic!("{said}") };
    let number = |word: &str| word.parse::<f64>().unwrap_or_else(|_| panic!("{word:?} in {said}"));
    let word = |line: &str, place: usize| line.split_whitespace().nth(place).map(number).unwrap();
    let of_top = top.split(',').find_map(|field| field.trim().strip_suffix(" id")).unwrap();
    let idle = [number(of_top), word(mpstat, 11), word(vmstat, 14), word(iostat, 5), number(psutil)];
    println!("containers: at rest top, mpstat, vmstat, iostat and psutil show {idle:?} % idle");
    assert!(idle.iter().all(|idle| *idle > 90.0), "{said}");
    let words: Vec<Vec<&str>> = rest.iter().map(|line| line.split_whitespace().collect()).collect();
    let [psutil, node, java, online, configured, lscpu, free] = &words[..] else { panic!("{said}") };
    assert_eq!(psutil[..2], ["1", "256"], "{said}");
    assert_eq!(node[..], ["1", "256", "true"], "{said}");
    assert_eq!(java.last(), Some(&"1"), "{said}");
    assert_eq!([online[..].concat(), configured[..].concat()], ["1", "1"], "{said}");
    assert_eq!((lscpu.last(), free[1]), (Some(&"1"), "256"), "{said}");
}

fn abort(daemon: &Daemon) {
    crate::common::output(Command::new("umount").args(["--force", "--lazy"]).arg(daemon.live()));
}
