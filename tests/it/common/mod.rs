//! What the tests on the real kernel share: guards that clean up after themselves, and helper programs.

pub mod cgroup;
pub mod daemon;
pub mod disk;
pub mod documentation;
pub mod foreground;
pub mod helper;
pub mod load;
mod need;
pub mod storm;
pub mod trigger;
pub mod victim;

pub use self::need::{MOUNT, Need, PYTHON};

use libtest_mimic::{Completion, Trial};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A test that is ignored with a reason where this machine lacks what it needs.
pub fn test(name: &str, needs: &'static [Need], body: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = needs.iter().find_map(|need| need.missing()) {
            return Ok(Completion::ignored_with(reason));
        }
        body();
        Ok(Completion::Completed)
    })
}

/// Tests by the names of their functions, with what they need: `test(NEEDS) => [one, another = || body(7)]`.
macro_rules! tests {
    (@body $name:ident) => { $name };
    (@body $name:ident $body:expr) => { $body };
    ($($by:ident($needs:expr) => [$($name:ident $(= $body:expr)?),* $(,)?]),* $(,)?) => {
        vec![$($(
            $by(&$crate::common::name_of(module_path!(), stringify!($name)), $needs, tests!(@body $name $($body)?))
        ),*),*]
    };
}

/// What a test is called: by the module of its subject, in whatever part of that it is.
pub fn name_of(module: &str, name: &str) -> String {
    let module = module.split("::").nth(1).unwrap_or(module);
    format!("{module}::{name}")
}

/// Some tests open thousands of files.
pub fn raise_file_limit() {
    let most = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// The program under test.
pub fn cgprocfs() -> Command {
    Command::new(cgprocfs_path())
}

pub fn cgprocfs_path() -> PathBuf {
    std::env::var_os("CGPROCFS").map_or_else(|| env!("CARGO_BIN_EXE_cgprocfs").into(), PathBuf::from)
}

/// A build that is not the one under test: of a release, where that was built.
pub fn other_build() -> Option<PathBuf> {
    let named = std::env::var_os("CGPROCFS_OTHER_BUILD").map(PathBuf::from);
    let release = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/cgprocfs");
    named.or(Some(release)).filter(|path| path.exists())
}

/// The Debian package of that name, where it was built.
pub fn package(name: &str) -> Option<PathBuf> {
    let built = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian")).ok()?;
    let prefix = format!("{name}_");
    let is_package = |path: &PathBuf| {
        let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        file.starts_with(&prefix) && file.ends_with(".deb")
    };
    let built = built.filter_map(|entry| Some(entry.ok()?.path())).filter(is_package);
    built.max_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok())
}

/// Copies a program by another process: a file that is open for writing in this one, and so for a moment in
/// every process that another test starts just then, can't be executed.
pub fn copy_program(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) {
    output(Command::new("cp").arg(from).arg(to));
}

/// Runs a command that prints little and ends soon.
pub fn finish(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    wait_for(&mut process);
    process.wait_with_output().unwrap()
}

/// Standard output of a command that succeeds.
pub fn output(command: &mut Command) -> String {
    let output = finish(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The number in a line of a meminfo text.
pub fn field(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    let line = line.unwrap_or_else(|| panic!("no line {key} in:\n{meminfo}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub fn host_total() -> u64 {
    field(&std::fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal")
}

/// Whether the processor is not emulated.
pub fn is_native() -> bool {
    patience(1) == Duration::from_secs(1)
}

/// Whether this is a guest, where a test may change what all of it depends on.
pub fn is_emulated() -> bool {
    !is_native()
}

/// So many times, or a tenth of that where the processor is emulated.
pub fn times(count: usize) -> usize {
    if is_native() { count } else { count.div_ceil(10) }
}

/// How much longer than elsewhere things may take here: a guest under software emulation is slow.
pub fn patience(seconds: u64) -> Duration {
    allowed(Duration::from_secs(seconds))
}

/// How long something may take here that has a bound elsewhere.
pub fn allowed(elsewhere: Duration) -> Duration {
    elsewhere * std::env::var("CGPROCFS_TEST_PATIENCE").map_or(1, |times| times.parse().unwrap())
}

/// How busy the machine is with other things: to be asked before a test loads it.
#[derive(Clone, Copy)]
pub struct Busy(f64);

impl Busy {
    /// Spins on each processor for a while, to see how long others keep it waiting. An average of the load
    /// would say how busy the machine was with the tests before.
    pub fn now() -> Self {
        // Short: other tests have bounds meanwhile.
        const WORK: Duration = Duration::from_millis(20);
        let spin = || {
            let began = Instant::now();
            while cgprocfs::sys::thread_time() < WORK {}
            began.elapsed().as_secs_f64() / WORK.as_secs_f64()
        };
        let processors = std::thread::available_parallelism().unwrap().get();
        let waited: f64 = std::thread::scope(|scope| {
            let spinning: Vec<_> = (0..processors).map(|_| scope.spawn(spin)).collect();
            spinning.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        Self((waited / processors as f64).max(1.0))
    }

    /// The busier of two moments.
    pub fn or(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// How long something may take on this machine that has a bound on an idle one: each processor that more
    /// than one wants is shared.
    pub fn stretches(self, idle: Duration) -> Duration {
        allowed(idle).mul_f64(self.0)
    }
}

/// Waits until `done`, at most ten seconds.
pub fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_at_most(10, what, done);
}

/// Waits until `done`, at most a number of seconds.
pub fn wait_at_most(seconds: u64, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience(seconds);
    while !done() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
}

/// Waits for a process to end; one that does not is killed, and the test fails.
pub fn wait_for(process: &mut std::process::Child) -> std::process::ExitStatus {
    let deadline = Instant::now() + patience(60);
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            process.kill().unwrap();
            process.wait().unwrap();
            panic!("a process did not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process that is stopped until this goes out of scope.
pub struct Stopped(Pid);

impl Stopped {
    pub fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let stopped = Self(pid);
        kill_process(pid, Signal::STOP).unwrap();
        // A thread that runs does what it is at before it stops.
        wait_until("all threads are stopped", || !threads_run(pid));
        stopped
    }
}

/// Whether a thread of a process runs, or would when it is woken.
fn threads_run(pid: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().any(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tR") || line.starts_with("State:\tS"))
    })
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}
