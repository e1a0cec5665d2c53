//! Many readers, deep cgroups, and requests that take long.

use super::nest::Nest;
use super::{LOAD, alone, assert_is_the_same, table, tenant};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, Deadline, supervised};
use crate::common::helper::Running;
use crate::common::victim::{BOUND_OF_MOST, Pair};
use crate::common::{MOUNT, Need, output};
use libtest_mimic::Trial;
use std::fs;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    const SPEED: &[Need] = &[Need::Root, Need::Fuse, Need::Speed];
    tests! {
        alone(MOUNT) => [
            nothing,
            readers_64 = || readers("64 readers", 1, 64),
            readers_of_many_containers = || readers("64 readers in each of 8 containers", 8, 64),
            listings_in_small_pieces,
            missing_names,
            slow_files,
            nested_100 = || nested("readers in 100 nested cgroups, each with a limit", 100),
            nested_400 = || nested("readers in 400", 400),
        ],
        alone(SPEED) => [
            readers_1000 = || readers("1,000 readers", 1, 1000),
            readers_spread_thinly,
            readers_in_namespaces_of_their_own =
                || readers_in_namespaces("4 readers in each of 400 cgroup namespaces", 1, 400),
            readers_of_two_tenants_in_namespaces_of_their_own = || {
                let row = "4 readers in each of 200 cgroup namespaces of each of two tenants";
                readers_in_namespaces(row, 2, 200);
            },
            readers_with_chosen_ids,
            threads_that_open,
            nested_1900 = || nested("readers in 1,900", 1900),
            more_namespaces_than_descriptors,
        ],
    }
}

/// Has another container read beside the load that `start` starts: none of its reads may fail, or take long.
fn hold(row: &str, daemon: &Daemon, start: impl FnOnce() -> Vec<Running>) {
    hold_to(BOUND_OF_MOST, row, daemon, start);
}

fn hold_to(of_most: Duration, row: &str, daemon: &Daemon, start: impl FnOnce() -> Vec<Running>) {
    let pair = Pair::start(daemon);
    let load = start();
    std::thread::sleep(LOAD);
    let beside = pair.end(daemon);
    table::note(row, &beside);
    beside.check_to(of_most);
    if !load.is_empty() {
        tenant::end(load).check(row);
    }
}

/// Beside a container that does nothing.
fn nothing() {
    hold("nothing", &Daemon::start(), Vec::new);
}

/// A number of containers, each with a number of threads that read as fast as they can.
fn readers(row: &str, containers: usize, threads: usize) {
    let (daemon, cgroups) = (Daemon::start(), (0..containers).map(|_| Cgroup::new().limit(256)));
    let cgroups: Vec<_> = cgroups.collect();
    let start = |cgroup| tenant::start(cgroup, "poll", &[&daemon.meminfo(), &threads.to_string(), "0"]);
    hold(row, &daemon, || cgroups.iter().map(start).collect());
}

/// Of one tenant, who has made cgroups of its own: none of them is a crowd.
fn readers_spread_thinly() {
    let (daemon, tenant) = (Daemon::start(), Cgroup::new().limit(256));
    let cgroups: Vec<_> = (0..100).map(|index| tenant.child(index.to_string())).collect();
    let start = |cgroup: &Cgroup| {
        let move_to = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", cgroup.dir.display());
        let launcher = ["unshare", "--cgroup", "sh", "-c", &move_to];
        tenant::start_by(&tenant, &launcher, "poll", &[&daemon.meminfo(), "4", "0"])
    };
    let row = "4 readers in each of 100 cgroups of one container";
    hold(row, &daemon, || cgroups.iter().map(start).collect());
    cgroups.into_iter().for_each(Cgroup::remove);
}

/// The same, but that each of them is a container to whoever looks, by a cgroup namespace of its own. So none
/// of them takes more than its part; and of two such tenants neither has most of what the threads do.
fn readers_in_namespaces(row: &str, tenants: usize, namespaces: usize) {
    let daemon = Daemon::start();
    let tenants: Vec<_> = (0..tenants).map(|_| Cgroup::new().limit(2048)).collect();
    let children =
        |tenant: &Cgroup| (0..namespaces).map(|index| tenant.child(index.to_string())).collect::<Vec<_>>();
    let cgroups: Vec<_> = tenants.iter().flat_map(children).collect();
    let poll = ["poll", &daemon.meminfo(), "4", "0"];
    let start = |cgroup: &Cgroup| tenant::start_by(cgroup, &["unshare", "--cgroup"], poll[0], &poll[1..]);
    hold(row, &daemon, || cgroups.iter().map(start).collect());
    cgroups.into_iter().for_each(Cgroup::remove);
}

/// Readers are counted by their thread ids, as far as these differ.
fn readers_with_chosen_ids() {
    let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(2048));
    let load = || vec![tenant::start(&cgroup, "poll-with-few-ids", &[&daemon.meminfo(), "1000"])];
    hold("1,000 readers whose ids have few last bits", &daemon, load);
}

/// Who opens files reads nothing.
fn threads_that_open() {
    let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(2048));
    let load = || vec![tenant::start(&cgroup, "open", &[&daemon.meminfo(), "1000"])];
    hold("1,000 threads that open and close the file", &daemon, load);
}

/// Where a directory is listed anew for each piece, and names are looked up one after the other, it is 17 ms
/// and more.
const BOUND_OF_MOST_BESIDE_NAMES: Duration = Duration::from_millis(15);

/// Beside one that lists directories in as small pieces as it can.
fn listings_in_small_pieces() {
    let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(256));
    let directory = daemon.path("sys/devices/system/cpu");
    let load = || vec![tenant::start(&cgroup, "list", &[directory.to_str().unwrap(), "16"])];
    hold_to(
        BOUND_OF_MOST_BESIDE_NAMES,
        "lists the directory of processors, 512 bytes at a time",
        &daemon,
        load,
    );
}

/// Beside one that looks for files that are not there.
fn missing_names() {
    let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(256));
    let directory = daemon.path("sys/devices/system/cpu");
    let load = || vec![tenant::start(&cgroup, "miss", &[directory.to_str().unwrap(), "16"])];
    hold_to(BOUND_OF_MOST_BESIDE_NAMES, "looks for files that are missing", &daemon, load);
}

/// For some files of processors the kernel asks the hardware, or waits until that may be asked again.
fn slow_files() {
    let faults = tempfile::tempdir().unwrap();
    fs::write(faults.path().join("slow"), "20").unwrap();
    let daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    let cgroup = Cgroup::new().limit(256);
    let file = daemon.path("sys/devices/system/cpu/cpu0/topology/core_id");
    let load = || vec![tenant::start(&cgroup, "poll", &[file.to_str().unwrap(), "64", "0"])];
    hold("64 readers of files that take the kernel 20 ms each", &daemon, load);
}

/// Readers at the bottom of that many cgroups, a little less often than their numbers are read anew.
fn nested(row: &str, depth: usize) {
    let daemon = supervised();
    let _deadline = Deadline::new(&daemon);
    let server = daemon.children();
    let nest = Nest::new(depth, 12);
    let start = |cgroup| tenant::start(cgroup, "poll", &[&daemon.meminfo(), "1", "51"]);
    // What that many levels take of both processors leaves others less than the rest does.
    let of_most = if depth > 1000 { 5 * BOUND_OF_MOST } else { BOUND_OF_MOST };
    hold_to(of_most, row, &daemon, || nest.readers.iter().map(start).collect());
    assert_is_the_same(&daemon, &server);
}

/// Others can be told apart, and answered, whatever number of namespaces a tenant makes.
fn more_namespaces_than_descriptors() {
    let daemon = Daemon::start_by(&["prlimit", "--nofile=256:256"]);
    let tenant = Cgroup::new().limit(1024);
    let uptime = daemon.path("proc/uptime");
    let load = || {
        let load = tenant::start(&tenant, "namespaces", &[uptime.to_str().unwrap(), "360"]);
        // Of a container that was there before something may still be known.
        for _ in 0..60 {
            let fresh = Cgroup::new().limit(64);
            let of_processors = "sys/devices/system/cpu/cpu0/topology/core_id";
            for view in ["proc/uptime", "proc/meminfo", "working_set", of_processors] {
                output(&mut fresh.command(&["cat", daemon.path(view).to_str().unwrap()]));
            }
        }
        vec![load]
    };
    hold("360 namespaces, and a daemon that may have 256 files open", &daemon, load);
}
