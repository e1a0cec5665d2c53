//! What a tenant can do to other containers: what their reads take beside each attack is held against what they take
//! with the kernel's own file beside the same.
//!
//! `UPDATE_DOCS=1 cargo test isolation::` writes the documentation's table of it anew.

mod hang;
mod nest;
mod protection;
mod table;
pub mod tenant;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, Deadline, supervised};
use crate::common::helper::{self, Running};
use crate::common::load::bound;
use crate::common::victim::{BOUND_OF_MOST, Beside, LIMIT, Pair, Victim};
use crate::common::{MOUNT, Need, allowed, output, test, wait_at_most};
use hang::HeldExec;
use libtest_mimic::{Conclusion, Trial};
use nest::Nest;
use nix::mount::{MntFlags, umount2};
use protection::Tree;
use std::fs;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    const THOUSANDS: &[Need] = &[Need::Root, Need::Fuse, Need::CgroupV2, Need::Emulation];
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
            hanging_exec = || {
            hanging_exec("an exec that hangs, and others that ask for the container's age", |tenant| {
                (HeldExec::new(tenant), Vec::new())
            });
        },
            hanging_exec_of_init = || {
            hanging_exec("the same, where it is the container's init that hangs", |tenant| {
                let held = HeldExec::init(tenant, &["pid", "cgroup"]);
                let enter = held.enter();
                (held, enter)
            });
        },
            hanging_exec_of_an_init_that_is_searched_for = || {
            hanging_exec("the same, and others have entered nothing but its pid namespace", |tenant| {
                let held = HeldExec::init(tenant, &["pid"]);
                let enter = held.enter();
                (held, enter)
            });
        },
            hanging_execs_in_many_cgroups,
            hanging_exec_and_the_load_of_others,
            aborted_again_and_again,
            masks_stay,
        ],
        alone(SPEED) => [
            readers_1000 = || readers("1,000 readers", 1, 1000),
            readers_spread_thinly,
            nested_1900 = || nested("readers in 1,900", 1900),
            more_namespaces_than_descriptors,
        ],
        alone(THOUSANDS) => [
            protected_children,
        ],
        alone(&[Need::Speed]) => [
            protected_children_of_a_written_system,
        ],
    }
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

/// Has another container read beside the load that `start` starts: none of its reads may fail, or take long.
fn hold<T>(row: &str, daemon: &Daemon, start: impl FnOnce() -> T) {
    hold_to(BOUND_OF_MOST, row, daemon, start);
}

fn hold_to<T>(of_most: Duration, row: &str, daemon: &Daemon, start: impl FnOnce() -> T) {
    let pair = Pair::start(daemon);
    let load = start();
    std::thread::sleep(LOAD);
    let beside = pair.end(daemon);
    drop(load);
    table::note(row, &beside);
    beside.check_to(of_most);
}

fn nothing() {
    hold("nothing", &Daemon::start(), || ());
}

/// In each of so many containers so many threads that read as fast as they can.
fn readers(row: &str, containers: usize, threads: usize) {
    let (daemon, cgroups) = (Daemon::start(), (0..containers).map(|_| Cgroup::new().limit(256)));
    let cgroups: Vec<_> = cgroups.collect();
    let start = |cgroup| tenant::start(cgroup, "poll", &[&daemon.meminfo(), &threads.to_string(), "0"]);
    hold(row, &daemon, || cgroups.iter().map(start).collect::<Vec<_>>());
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
    hold("4 readers in each of 100 cgroups of one container", &daemon, || {
        cgroups.iter().map(start).collect::<Vec<_>>()
    });
    cgroups.into_iter().for_each(Cgroup::remove);
}

fn listings_in_small_pieces() {
    let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(256));
    let directory = daemon.path("sys/devices/system/cpu");
    let load = || tenant::start(&cgroup, "list", &[directory.to_str().unwrap(), "16"]);
    hold("lists the directory of processors, 512 bytes at a time", &daemon, load);
}

fn missing_names() {
    let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(256));
    let directory = daemon.path("sys/devices/system/cpu");
    let load = || tenant::start(&cgroup, "miss", &[directory.to_str().unwrap(), "16"]);
    hold("looks for files that are missing", &daemon, load);
}

/// For some files of processors the kernel asks the hardware, or waits until that may be asked again.
fn slow_files() {
    let faults = tempfile::tempdir().unwrap();
    fs::write(faults.path().join("slow"), "20").unwrap();
    let daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    let cgroup = Cgroup::new().limit(256);
    let file = daemon.path("sys/devices/system/cpu/cpu0/topology/core_id");
    let load = || tenant::start(&cgroup, "poll", &[file.to_str().unwrap(), "64", "0"]);
    hold("64 readers of files that take the kernel 20 ms each", &daemon, load);
}

/// Readers at the bottom of that many cgroups, a little less often than their numbers are read anew.
fn nested(row: &str, depth: usize) {
    let daemon = supervised();
    let _deadline = Deadline::new(&daemon);
    let server = daemon.children();
    let nest = Nest::new(depth, 12);
    let start = |cgroup| tenant::start(cgroup, "poll", &[&daemon.meminfo(), "1", "51"]);
    // What so many levels take of both processors leaves others less than the rest does.
    let of_most = if depth > 1000 { 5 * BOUND_OF_MOST } else { BOUND_OF_MOST };
    hold_to(of_most, row, &daemon, || nest.readers.iter().map(start).collect::<Vec<_>>());
    assert_is_the_same(&daemon, &server);
}

/// The watchdog had no reason to replace the server.
fn assert_is_the_same(daemon: &Daemon, server: &[u32]) {
    assert!(!daemon.log().contains("no sign of life"), "{}", daemon.log());
    assert_eq!(daemon.children(), server, "{}", daemon.log());
}

/// In a guest, where it takes a moment to make them: beside the reader so many cgroups whose memory is protected, below a limit that both share.
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
    drop(load);
    println!("isolation: beside {COUNT} children with memory.min: {beside}");
    beside.check();
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

/// What takes to know how old the container is, for which its processes are looked at.
const AGE: [&str; 3] = ["proc/uptime", "proc/stat", "proc/loadavg"];
/// Whoever asks waits no longer for his own answer, be it an error.
const PATIENCE: Duration = Duration::from_secs(4);

/// A process of the tenant can't be looked at, and its others ask for what would take just that.
fn hanging_exec(row: &str, hang: impl FnOnce(&Cgroup) -> (HeldExec, Vec<String>)) {
    let (daemon, other, tenant) = (supervised(), Cgroup::new().limit(LIMIT), Cgroup::new().limit(64));
    let _deadline = Deadline::new(&daemon);
    let server = daemon.children();
    let pair = Pair::start(&daemon);
    let ages = AGE.map(|view| Victim::start(&other, daemon.path(view).to_str().unwrap(), None));
    let (held, enter) = hang(&tenant);
    let asked = Instant::now();
    let two_of_each = AGE.iter().flat_map(|view| [view; 2]);
    let mut waiting: Vec<_> = two_of_each.map(|view| (view, ask(&tenant, &enter, &daemon, view))).collect();
    let mut answers = Vec::new();
    while asked.elapsed() < 3 * LOAD {
        let answered = waiting.extract_if(.., |(_, reader)| reader.try_wait().unwrap().is_some());
        answers.extend(answered.map(|(view, _)| (view, asked.elapsed())));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (beside, ages) = (pair.end(&daemon), ages.map(|age| age.end(&daemon)));
    drop(held);
    let never: Vec<&str> = waiting.iter().map(|(view, _)| **view).collect();
    println!(
        "isolation: beside an exec that hangs, the tenant's own: {answers:.2?}, and not at all {never:?}"
    );
    waiting.iter_mut().for_each(|(_, reader)| drop(reader.wait()));
    for (view, age) in AGE.iter().zip(&ages) {
        println!("isolation: beside {row}, {view}: {age}");
    }
    table::note(row, &beside);
    beside.check();
    ages.iter().for_each(|age| beside.holds(age));
    assert_is_the_same(&daemon, &server);
    let late = answers.iter().find(|(_, took)| *took > allowed(PATIENCE));
    assert!(never.is_empty() && late.is_none(), "the tenant waits for itself: {late:?}, {never:?}");
}

/// In each of many cgroups of a tenant a process can't be looked at, and another one asks how old its container is. Nobody knows yet
/// how old others are.
fn hanging_execs_in_many_cgroups() {
    /// More than there are threads that look.
    const COUNT: usize = 60;
    const FRESH: usize = 10;
    let (daemon, tenant) = (supervised(), Cgroup::new().limit(256));
    let _deadline = Deadline::new(&daemon);
    let server = daemon.children();
    let cgroups: Vec<_> = (0..COUNT).map(|number| tenant.child(number.to_string())).collect();
    let fresh: Vec<_> = (0..FRESH).map(|_| Cgroup::new().limit(LIMIT)).collect();
    let eldest = |cgroup: &Cgroup| cgroup.command(&["sleep", "1000"]).spawn().unwrap();
    let mut eldest: Vec<_> = fresh.iter().map(eldest).collect();
    let born = Instant::now();
    let held = HeldExec::in_each(&cgroups);
    let pair = Pair::start(&daemon);
    let ask_age = |cgroup| ask(cgroup, &[], &daemon, "proc/uptime");
    let mut waiting: Vec<_> = cgroups.iter().map(ask_age).collect();
    let uptime = daemon.path("proc/uptime");
    let uptime = uptime.to_str().unwrap();
    let first_reads = |cgroup: &Cgroup| {
        let (age, victim) = (born.elapsed(), Victim::start(cgroup, uptime, None));
        let text = output(&mut cgroup.command(&["cat", uptime]));
        (victim.end(&daemon), text.split(' ').next().unwrap().parse::<f64>().unwrap(), age)
    };
    let (at_once, later) = fresh.split_at(FRESH / 2);
    let mut seen: Vec<_> = at_once.iter().map(first_reads).collect();
    // Until all of them would be known to hang.
    std::thread::sleep(LOAD);
    seen.extend(later.iter().map(first_reads));
    let beside = pair.end(&daemon);
    drop(held);
    waiting.iter_mut().chain(&mut eldest).for_each(|process| drop(process.kill()));
    waiting.iter_mut().chain(&mut eldest).for_each(|process| drop(process.wait()));
    cgroups.into_iter().for_each(Cgroup::remove);
    for (seen, uptime, age) in &seen {
        println!(
            "isolation: a container of {age:.1?} reads its uptime, {uptime}, for the first time: {seen}"
        );
    }
    table::note(&format!("{COUNT} execs that hang, each in a cgroup of its own"), &beside);
    beside.check();
    for (seen, uptime, age) in &seen {
        beside.holds(seen);
        assert!(*uptime > age.as_secs_f64() - 0.1, "{uptime}, and its first process is older than {age:?}");
    }
    assert_is_the_same(&daemon, &server);
}

/// Two of a container start to spin while a process of another, which is sampled too, can't be looked at.
fn hanging_exec_and_the_load_of_others() {
    let (daemon, other, tenant) = (supervised(), Cgroup::new().limit(64), Cgroup::new().limit(64));
    let _deadline = Deadline::new(&daemon);
    let load = |cgroup: &Cgroup| {
        let path = daemon.path("proc/loadavg");
        let text = output(&mut cgroup.command(&["cat", path.to_str().unwrap()]));
        text.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    // From now on both are sampled.
    let quiet = [&tenant, &other].map(load);
    let spinners = tenant::start(&other, "spin", &["2"]);
    let held = HeldExec::new(&tenant);
    // In 15 seconds two of them come to 0.44, of which the next sample may be five seconds late.
    let (start, mut now) = (Instant::now(), quiet[1]);
    while start.elapsed() < allowed(4 * LOAD) && now < quiet[1] + 0.25 {
        std::thread::sleep(Duration::from_millis(500));
        now = load(&other);
    }
    drop(held);
    drop(spinners);
    println!("isolation: the load of another: {} before, {now} after {:.0?}", quiet[1], start.elapsed());
    assert!(now >= quiet[1] + 0.25, "it does not move: {} and then {now}", quiet[1]);
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
        load
    };
    hold("360 namespaces, and a daemon that may have 256 files open", &daemon, load);
}

/// Who may do that may unmount anything of the host's, but what he stops is everybody's.
fn aborted_again_and_again() {
    /// On the host, which can't have any number of them.
    const MOST_MOUNTS: usize = 300;
    let (mut daemon, other, tenant) = (supervised(), Cgroup::new().limit(LIMIT), Cgroup::new().limit(64));
    let before = daemon.mounts();
    let victims = [&daemon.meminfo(), "/proc/meminfo"].map(|path| Victim::start(&other, path, None));
    let load = bound(&[], &tenant, &daemon.meminfo(), &helper::command("abort", &["/proc/meminfo"]));
    std::thread::sleep(3 * LOAD);
    drop(load);
    let [ours, kernels] = victims.map(|victim| victim.end(&daemon));
    let beside = Beside { ours, kernels };
    println!(
        "isolation: beside `umount --force` again and again, with the kernel's file in between: {beside}"
    );
    println!("isolation: mounts: {before} before, {} after", daemon.mounts());
    // Some between each loss of the connection and the kernel's file.
    let seen = &beside.ours;
    assert!(seen.errors * 20 <= seen.reads, "{seen}");
    beside.is_quick(seen, BOUND_OF_MOST);
    assert!(daemon.is_running(), "the supervisor has given up");
    let own = format!("MemTotal:       {:8} kB\n", LIMIT << 10);
    let read = || crate::common::finish(&mut other.command(&["head", "-n1", &daemon.meminfo()])).stdout;
    // It may have learnt to wait for a minute.
    wait_at_most(75, "it serves again", || read() == own.as_bytes());
    assert!(daemon.mounts() <= MOST_MOUNTS, "{} mounts", daemon.mounts());
    assert!(daemon.is_running(), "the supervisor has given up");
}

/// What runtimes mask of each processor is to be had in no container, whoever lays what on the directory that is bound.
/// Newer ones mask `thermal_throttle`, which few machines have: here it is `topology` that they do.
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
