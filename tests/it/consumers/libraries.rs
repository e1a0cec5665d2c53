//! Libraries that other programs ask.

use super::{Container, LIMIT, cache, check_file, close, from_bytes, values};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::{Need, PYTHON, field, test};
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Root, Need::Fuse, Need::PythonModule("psutil")]) => [
            psutil,
        ],
        test(DISKS) => [
            psutil_disks,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("node")]) => [
            node,
        ],
    }
}

const DISKS: &[Need] = &[Need::Root, Need::Fuse, Need::Disks, Need::PythonModule("psutil")];

/// psutil's virtual_memory() and swap_memory() are made from the file as it says.
fn psutil() {
    const SCRIPT: &str = "
import psutil, sys
psutil.PROCFS_PATH = sys.argv[1]
memory = psutil.virtual_memory()
with open('/proc/meminfo') as meminfo:
    file = meminfo.read()
psutil.PROCFS_PATH = '/proc'
assert psutil.virtual_memory().total == memory.total
swap = psutil.swap_memory()
for name in memory._fields:
    print(name, getattr(memory, name))
for name in swap._fields:
    print('swap.' + name, getattr(swap, name))
print('---')
print(file)
";
    let container = Container::start();
    let proc = container.daemon.path("proc").to_str().unwrap().to_string();
    let text = container.output(&[PYTHON, "-W", "error", "-c", SCRIPT, &proc]);
    let (shown, file) = values(&text);
    let file = check_file(file);
    assert!(shown.values().all(|value| *value >= 0.0), "{text}");
    let shown_kib = |name: &str| from_bytes(shown[name]);
    assert_eq!(shown_kib("total"), LIMIT);
    for (name, expected) in [
        ("available", field(&file, "MemAvailable")),
        ("free", field(&file, "MemFree")),
        ("cached", cache(&file)),
        ("buffers", field(&file, "Buffers")),
        ("shared", field(&file, "Shmem")),
        ("slab", field(&file, "Slab")),
        ("active", field(&file, "Active")),
        ("inactive", field(&file, "Inactive")),
        ("swap.total", field(&file, "SwapTotal")),
        ("swap.free", field(&file, "SwapFree")),
    ] {
        close(name, shown_kib(name), expected);
    }
    for name in ["available", "free", "used", "cached", "buffers", "shared", "slab", "active", "inactive"] {
        assert!(shown_kib(name) <= LIMIT, "{name}: {text}");
    }
    assert_eq!(
        shown_kib("used") + shown_kib("free") + shown_kib("cached") + shown_kib("buffers"),
        LIMIT,
        "{text}"
    );
    let percent = (shown["total"] - shown["available"]) / shown["total"] * 100.0;
    assert!((shown["percent"] - percent).abs() < 0.06, "{text}");
    assert_eq!(shown["swap.used"], shown["swap.total"] - shown["swap.free"], "{text}");
}

/// os.totalmem() and os.freemem() of Node.js are the file's.
fn node() {
    const SCRIPT: &str = "
const os = require('os');
const file = require('fs').readFileSync('/proc/meminfo', 'utf8');
const free = os.freemem();
console.log('totalmem', os.totalmem());
console.log('freemem', free);
console.log('---');
console.log(file);
";
    let container = Container::start();
    let text = container.output(&["node", "-e", SCRIPT]);
    let (shown, file) = values(&text);
    let file = check_file(file);
    assert_eq!(from_bytes(shown["totalmem"]), LIMIT);
    close("freemem", from_bytes(shown["freemem"]), field(&file, "MemAvailable"));
}

/// A container that has not written to a disk is no system without disks.
fn psutil_disks() {
    let script = "import psutil, sys; psutil.PROCFS_PATH = sys.argv[1]; disks = psutil.disk_io_counters(True); \
        print(len(disks), sum(disk.write_bytes for disk in disks.values()))";
    let (daemon, container) = (Daemon::start(), Cgroup::new());
    let disks = |path: &str| {
        let said = crate::common::output(&mut container.command(&[PYTHON, "-c", script, path]));
        let mut words = said.split_whitespace().map(|word| word.parse::<u64>().unwrap());
        (words.next().unwrap(), words.next().unwrap())
    };
    let (ours, native) = (disks(daemon.path("proc").to_str().unwrap()), disks("/proc"));
    assert!(native.0 > 0, "psutil sees no disks of the host");
    assert_eq!(ours, (native.0, 0));
}
