//! Helpers that load the daemon as hard as they can until their stdin ends.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static ENDED: AtomicBool = AtomicBool::new(false);

/// Says that it is ready, and from now on looks for the end of stdin.
pub fn begin() {
    super::helper::ready();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
        // A thread in the middle of its exit is not moved with its process (`cgroup_migrate_add_task`,
        // kernel/cgroup/cgroup.c), so that the cgroup it is left in can't be removed for a moment.
        loop {
            std::thread::park();
        }
    });
}

/// Whether stdin has not ended yet.
pub fn goes_on() -> bool {
    !ENDED.load(Ordering::Relaxed)
}

/// So many threads open, read and close.
pub fn readers(path: &str, threads: usize) {
    begin();
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while goes_on() {
                    assert!(!fs::read(path).unwrap().is_empty());
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} reads", reads.into_inner());
}

/// So many files are open at once, and each is read in its turn.
pub fn descriptors(path: &str, count: usize) {
    let most = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let files: Vec<_> = (0..count).map(|_| File::open(path).unwrap()).collect();
    begin();
    let mut reads = 0;
    while goes_on() {
        let file = &files[reads % files.len()];
        // The second half, of a text whose first half was read long ago.
        assert!(file.read_at(&mut [0; 64], (reads % 2 * 512) as u64).unwrap() > 0);
        reads += 1;
    }
    println!("{} files open, {reads} reads", files.len());
}

/// Cgroups are made and removed, one after the other, some of them entered and read from.
pub fn cgroups(parent: &Path, path: &str) {
    let enter = |dir: &Path| fs::write(dir.join("cgroup.procs"), "0").unwrap();
    // Entered last, so that on v2 the parent, which gives its children the controller, has no process of its
    // own.
    let home = parent.join("home");
    fs::create_dir(&home).unwrap();
    enter(&home);
    begin();
    let (start, mut rounds) = (Instant::now(), 0_u32);
    while goes_on() {
        let dir = parent.join(format!("round-{rounds}"));
        fs::create_dir(&dir).unwrap();
        // To enter is what takes long, and most cgroups are gone without ever having been read from.
        if rounds % 8 == 0 {
            enter(&dir);
            assert!(!fs::read(path).unwrap().is_empty());
            enter(&home);
        }
        fs::remove_dir(&dir).unwrap();
        rounds += 1;
    }
    println!("{:.0} cgroups a second", f64::from(rounds) / start.elapsed().as_secs_f64());
}

/// Reads a file again and again, opened anew, and through one that stays open, in pieces. Each text has to be
/// whole and to begin with `line`. Says how long the longest read took.
pub fn enduring(path: &str, line: &str) {
    let open = File::open(path).unwrap();
    begin();
    let (mut longest, mut reads) = (Duration::ZERO, 0);
    let check = |text: &[u8]| {
        let text = std::str::from_utf8(text).unwrap();
        assert_eq!(text.lines().next(), Some(line), "{text}");
        assert!(text.lines().count() > 40 && text.ends_with(" kB\n"), "short: {text}");
    };
    while goes_on() {
        let start = Instant::now();
        check(&fs::read(path).unwrap());
        let mut text = Vec::new();
        loop {
            let mut piece = [0; 600];
            let length = open.read_at(&mut piece, text.len() as u64).unwrap();
            if length == 0 {
                break;
            }
            text.extend_from_slice(&piece[..length]);
        }
        check(&text);
        longest = longest.max(start.elapsed());
        reads += 2;
    }
    println!("{reads} {}", longest.as_micros());
}
