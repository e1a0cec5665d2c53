//! What an administrator sets in `/etc/default/cgprocfs`, and how a running unit gets it.

use super::{SYSTEMD, System, container, total};
use crate::common::cgroup::Cgroup;
use crate::common::load::LIMIT;
use crate::common::{output, test, wait_until};
use libtest_mimic::Trial;
use std::fs;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(SYSTEMD) => [
            reload_applies_options,
            other_options_after_a_restart,
        ],
    }
}

/// Sets options for the unit, which has to be reloaded or started then.
fn set(system: &System, options: &str) {
    let directory = format!("/proc/{}/root/etc/default", system.pid);
    fs::create_dir_all(&directory).unwrap();
    fs::write(format!("{directory}/cgprocfs"), options).unwrap();
}

/// The type of what lies on top at an anchor.
fn on_top(system: &System, view: &str) -> String {
    let mounts = output(&mut system.command(&["cat", "/proc/mounts"]));
    let mut on_it = mounts.lines().filter(|line| line.contains(&format!(" /run/cgprocfs/{view} ")));
    on_it.next_back().unwrap().split(' ').nth(2).unwrap().to_string()
}

fn devices(system: &System) -> String {
    output(&mut system.command(&["cat", "/var/run/cdi/cgprocfs.json"]))
}

fn has_environment(pid: u32, option: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|variable| variable == option.as_bytes())
}

/// No read fails while options are applied, and what runs already has the other views, too.
fn reload_applies_options() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    set(&system, "# Few.\nCGPROCFS_VIEWS=meminfo,working_set\n");
    system.systemctl(&["start", "cgprocfs"]);
    let mut early = container(&system, &cgroup);
    assert_eq!(early.ask(), total(LIMIT));
    assert_eq!(["proc/meminfo", "proc/stat"].map(|view| on_top(&system, view)), ["fuse.cgprocfs", "proc"]);
    wait_until("devices are described", || !devices(&system).contains("proc/stat"));

    let load = system.load();
    let views = ["meminfo,stat", "meminfo,loadavg", "meminfo"];
    for (round, views) in views.into_iter().cycle().take(9).enumerate() {
        let cpu_view = ["quota", "cpuset"][round % 2];
        set(&system, &format!("CGPROCFS_VIEWS={views}\nCGPROCFS_CPU_VIEW={cpu_view}\n"));
        let before = system.server();
        system.systemctl(&["reload", "cgprocfs"]);
        for view in ["stat", "loadavg"] {
            let expected = if views.contains(view) { "fuse.cgprocfs" } else { "proc" };
            assert_eq!(on_top(&system, &format!("proc/{view}")), expected, "{views}");
        }
        let option = format!("CGPROCFS_CPU_VIEW={cpu_view}");
        wait_until("another serves, with the option", || {
            let server = system.server();
            ![0, before].contains(&server) && has_environment(server, &option)
        });
        wait_until("the unit is active", || system.show("ActiveState") == "active");
        assert_eq!(early.ask(), total(LIMIT));
    }
    assert!(!devices(&system).contains("proc/stat"));
    let (reads, longest, busy) = load.end();
    assert!(longest < busy.stretches(Duration::from_secs(2)), "{longest:?}");
    println!("systemd: options applied 9 times: {reads} reads, none failed, the longest took {longest:?}");

    // A word that is not understood stops nobody who reads.
    set(&system, "CGPROCFS_VIEWS=memory\n");
    let refused = crate::common::finish(system.command(&["systemctl"]).args(["reload", "cgprocfs"]));
    assert!(!refused.status.success());
    assert_eq!(early.ask(), total(LIMIT));
    assert!(system.log().contains("there is no view"), "{}", system.log());
}

/// A restart has the views of that time, too, though the mount is the same.
fn other_options_after_a_restart() {
    let system = System::boot();
    // Of how it is started, and where, the unit has its own opinion.
    set(&system, "CGPROCFS_SUPERVISE=1\nCGPROCFS_LAYOUT=lxcfs\nCGPROCFS_TRIGGERS=yes\n");
    system.systemctl(&["start", "cgprocfs"]);
    assert_eq!(on_top(&system, "proc/stat"), "fuse.cgprocfs");
    let status = output(&mut system.command(&["cgprocfs", "status", "--json"]));
    assert!(status.contains("\"takes_triggers\": true") && status.contains("systemd's"), "{status}");
    let live = output(&mut system.command(&["stat", "-c", "%d", "/run/cgprocfs/live"]));
    set(&system, "CGPROCFS_VIEWS=meminfo\n");
    system.systemctl(&["restart", "cgprocfs"]);
    assert_eq!(["proc/meminfo", "proc/stat"].map(|view| on_top(&system, view)), ["fuse.cgprocfs", "proc"]);
    assert_eq!(output(&mut system.command(&["stat", "-c", "%d", "/run/cgprocfs/live"])), live);
}
