//! What a tenant can do to other containers: what their reads take beside each attack is held against what
//! they take with the kernel's own file beside the same.
//!
//! `UPDATE_DOCS=1 cargo test isolation::` writes the documentation's table of it anew.

#[path = "../../benches/common/attributes.rs"]
mod attributes;
mod crowds;
mod hang;
mod hanging;
mod nest;
mod protection;
mod table;
pub mod tenant;

pub use self::table::ROWS;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, supervised};
use crate::common::helper::{self, Running};
use crate::common::load::bound;
use crate::common::victim::{BOUND_OF_MOST, Beside, LIMIT, Pair, Victim};
use crate::common::{MOUNT, Need, host_total, is_emulated, test, times, wait_at_most};
use libtest_mimic::{Conclusion, Trial};
use nix::mount::{MntFlags, umount2};
use protection::Tree;
use std::fs;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    const THOUSANDS: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV2, Need::Emulation];
    let own = tests! {
        alone(MOUNT) => [
            aborted_again_and_again,
            masks_stay,
        ],
        alone(THOUSANDS) => [
            protected_children,
        ],
        alone(&[Need::Speed]) => [
            protected_children_of_a_written_system,
        ],
    };
    [own, crowds::tests(), hanging::tests()].into_iter().flatten().collect()
}

/// Writes the table, if that is wanted and nothing has failed.
pub fn end(conclusion: &Conclusion) {
    if !conclusion.has_failed() && std::env::var_os("UPDATE_DOCS").is_some() {
        table::write();
    }
}

/// A test beside which no other of these runs: each loads the machine.
fn alone(name: &str, needs: &'static [Need], body: impl FnOnce() + Send + 'static) -> Trial {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    test(name, needs, move || {
        let _only = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        body();
    })
}

/// How long a load lasts.
const LOAD: Duration = Duration::from_secs(5);

/// The watchdog had no reason to replace the server.
fn assert_is_the_same(daemon: &Daemon, server: &[u32]) {
    assert!(!daemon.log().contains("no sign of life"), "{}", daemon.log());
    assert_eq!(daemon.children(), server, "{}", daemon.log());
}

/// In a guest, where it takes a moment to make them: ten thousand cgroups with protected memory beside the
/// reader, below a limit that they share.
fn protected_children() {
    const COUNT: usize = 10_000;
    let (daemon, tenant) = (Daemon::start(), Cgroup::new().limit(256));
    let home = tenant.child("home");
    for number in 0..COUNT {
        let child = tenant.dir.join(format!("child-{number}"));
        fs::create_dir(&child).unwrap();
        fs::write(child.join("memory.min"), "8192").unwrap();
    }
    let load = tenant::start(&home, "poll", &[&daemon.meminfo(), "4", "51"]);
    let pair = Pair::start(&daemon);
    std::thread::sleep(2 * LOAD);
    let beside = pair.end(&daemon);
    println!("isolation: beside {COUNT} children with memory.min: {beside}");
    beside.check();
    tenant::end(vec![load]).check("children with memory.min");
}

/// The work for one answer does not grow with what a tenant has made.
fn protected_children_of_a_written_system() {
    let alone = Tree::new(0).answer();
    for count in [100, 1000, 10_000] {
        let took = Tree::new(count).answer();
        println!(
            "isolation: {count} children with memory.min: an answer takes {took:.2?}, without {alone:.2?}"
        );
        assert!(took < 5 * alone, "{count} children: {took:?}, without: {alone:?}");
    }
}

/// Asks once for a view, from a cgroup, by words that a command there begins with.
fn ask(cgroup: &Cgroup, enter: &[String], daemon: &Daemon, view: &str) -> Child {
    let path = daemon.path(view);
    let words = enter.iter().map(String::as_str).chain(["cat", path.to_str().unwrap()]);
    let mut command = cgroup.command(&words.collect::<Vec<_>>());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Who may do that may unmount anything of the host's, but what he stops is everybody's.
fn aborted_again_and_again() {
    /// On the host, which can't have any number of them.
    const MOST_MOUNTS: usize = 250;
    let (mut daemon, other, tenant) = (supervised(), Cgroup::new().limit(LIMIT), Cgroup::new().limit(64));
    let before = daemon.mounts();
    // Its own, or while nobody serves the kernel's.
    let [own, native] = [LIMIT << 10, host_total()].map(|total| format!("MemTotal:       {total:8} kB"));
    let victims =
        [&daemon.meminfo(), "/proc/meminfo"].map(|path| Victim::start(&other, path, &[&own, &native]));
    let load = bound(&[], &tenant, &daemon.meminfo(), &helper::command("abort", &["/proc/meminfo"]));
    std::thread::sleep(3 * LOAD);
    drop(load);
    let [ours, kernels] = victims.map(|victim| victim.end(&daemon));
    let beside = Beside { ours, kernels };
    println!(
        "isolation: beside `umount --force` again and again, with the kernel's file in between: {beside}"
    );
    println!("isolation: mounts: {before} before, {} after", daemon.mounts());
    // What is asked between the loss of the connection and the kernel's file, with a read every 3 ms.
    let (seen, log) = (&beside.ours, daemon.log());
    let aborts = log.matches("aborted by somebody else").count();
    println!("isolation: {aborts} aborts, {} failed reads", seen.errors);
    // An emulated processor takes up to 50 ms for what takes a real one 10.
    let of_each = if is_emulated() { 16 } else { 3 };
    assert!(aborts >= times(2) && seen.errors <= of_each * aborts, "{aborts} aborts, {seen}");
    beside.is_quick(seen, BOUND_OF_MOST);
    assert!(daemon.is_running(), "the supervisor has given up");
    let own = format!("{own}\n");
    let read = || crate::common::finish(&mut other.command(&["head", "-n1", &daemon.meminfo()])).stdout;
    // It may have learnt to wait for a minute.
    wait_at_most(75, "it serves again", || read() == own.as_bytes());
    assert!(daemon.mounts() <= MOST_MOUNTS, "{} mounts", daemon.mounts());
    assert!(daemon.is_running(), "the supervisor has given up");
}

/// What runtimes mask of each processor is to be had in no container, whoever lays what on the directory that
/// is bound. Newer ones mask `thermal_throttle`, which few machines have: here it is `topology` that they do.
fn masks_stay() {
    const MASKED: &str = "/sys/devices/system/cpu/cpu0/topology";
    // As runc does, once all is mounted.
    const SCRIPT: &str = "mount --rbind \"$0\" /sys/devices/system/cpu || exit; if [ -e \"$1\" ]; then
            ls \"$1\" | grep . && exit 1; mount -t tmpfs -o ro tmpfs \"$1\" || exit
        fi; shift; exec \"$@\"";
    let faults = tempfile::tempdir().unwrap();
    fs::write(faults.path().join("masked"), "topology").unwrap();
    let faults = [("CGPROCFS_FAULTS", faults.path().to_str().unwrap())];
    let (mut daemon, cgroup) = (Daemon::start_with(&[], &[], &faults), Cgroup::new().limit(64));
    let directory = daemon.path("sys/devices/system/cpu");
    let start = |path: &str| {
        let enter = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", SCRIPT];
        let words = helper::command("reopen", &[path]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        helper::start(
            &mut cgroup.command(&[&enter[..], &[directory.to_str().unwrap(), MASKED], &words].concat()),
        )
    };
    let container = || [format!("{MASKED}/core_id").as_str(), "/sys/devices/system/cpu/online"].map(start);
    let check = |container: &mut [Running; 2], when: &str| {
        let [masked, shown] = container.each_mut().map(Running::ask);
        assert!(masked.starts_with("error"), "{when}: visible: {masked}");
        assert!(shown.starts_with('0'), "{when}: what is not masked: {shown}");
    };
    let mut containers = vec![container()];
    for round in ["", ", once more"] {
        check(containers.last_mut().unwrap(), &format!("served{round}"));
        umount2(&daemon.live(), MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW).unwrap();
        daemon.wait();
        // One that starts while nobody serves finds the kernel's directory, and masks what it finds there.
        containers.push(container());
        for container in &mut containers {
            check(container, &format!("when the connection is lost{round}"));
        }
        daemon = daemon.again_with_environment(&faults);
        for container in &mut containers {
            check(container, &format!("after a new start{round}"));
        }
    }
}
