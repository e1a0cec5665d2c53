use super::*;
use crate::service::MAX_SERVING_THREADS;
use std::sync::mpsc;

const LONG: Duration = Duration::from_secs(10);

fn owner(number: u64) -> Owner {
    number.to_string().as_bytes().into()
}

#[test]
fn owners_take_turns_and_each_keeps_its_order() {
    let (pool, (sender, done)) = (Arc::new(WorkerPool::fast()), mpsc::channel());
    let (go, gate) = mpsc::channel::<()>();
    pool.accept(Lane::Slow, owner(0), Box::new(move || gate.recv().unwrap_or(())));
    for (owner, what) in [(1, "1a"), (1, "1b"), (1, "1c"), (2, "2a"), (2, "2b")] {
        let sender = sender.clone();
        pool.accept(Lane::Slow, self::owner(owner), Box::new(move || sender.send(what).unwrap()));
    }
    go.send(()).unwrap();
    let order: Vec<_> = (0..5).map(|_| done.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(order, ["1a", "2a", "1b", "2b", "1c"]);
}

#[test]
fn one_that_is_stuck_holds_up_its_owner_alone() {
    let (pool, (sender, done)) = (Arc::new(WorkerPool::fast()), mpsc::channel());
    let (go, gate) = mpsc::channel::<()>();
    pool.accept(Lane::Slow, owner(1), Box::new(move || gate.recv().unwrap_or(())));
    for owner in [1, 2] {
        let sender = sender.clone();
        pool.accept(Lane::Slow, self::owner(owner), Box::new(move || sender.send(owner).unwrap()));
    }
    assert_eq!(done.recv_timeout(LONG), Ok(2));
    assert!(done.recv_timeout(2 * STUCK_TIMEOUT).is_err());
    go.send(()).unwrap();
    assert_eq!(done.recv_timeout(LONG), Ok(1));
}

#[test]
fn lanes_do_not_wait_for_each_other() {
    let (pool, (sender, done)) = (Arc::new(WorkerPool::fast()), mpsc::channel());
    let (go, gate) = mpsc::channel::<()>();
    for lane in [Lane::Slow, Lane::Blocking] {
        pool.accept(lane, owner(1), Box::new(|| thread::sleep(STUCK_TIMEOUT / 2)));
    }
    pool.accept(Lane::Slow, owner(2), Box::new(move || gate.recv().unwrap_or(())));
    let began = Instant::now();
    pool.accept(Lane::Fast, owner(1), Box::new(move || sender.send(()).unwrap()));
    done.recv_timeout(LONG).unwrap();
    assert!(began.elapsed() < LONG / 2);
    drop(go);
}

#[test]
fn what_is_for_later_is_done_then_and_a_panic_ends_nothing() {
    let (pool, (sender, done)) = (Arc::new(WorkerPool::fast()), mpsc::channel());
    let at = Instant::now() + Duration::from_millis(30);
    pool.accept(Lane::Slow, owner(1), Box::new(|| panic!("on purpose")));
    pool.push_later(at, Box::new(move || sender.send(Instant::now()).unwrap()));
    assert!(done.recv_timeout(LONG).unwrap() >= at);
}

/// Whoever has the pool's lock may be less important than everybody else, and may have to wait for a
/// processor.
#[test]
fn a_serving_thread_does_not_wait_for_the_lock() {
    let (pool, (sender, done)) =
        (Arc::new(WorkerPool::slow(LessImportant::than_this_process())), mpsc::channel());
    let (serving, locked) = (Arc::clone(&pool), pool.state.lock());
    thread::spawn(move || {
        let (job, later) = (sender.clone(), sender.clone());
        serving.push(Lane::Slow, owner(1), Box::new(move || job.send("job").unwrap()));
        serving.push_later(Instant::now(), Box::new(move || later.send("later").unwrap()));
        sender.send("goes on").unwrap();
    });
    assert_eq!(done.recv_timeout(LONG), Ok("goes on"));
    assert!(done.recv_timeout(STUCK_TIMEOUT).is_err(), "it was not queued without the lock");
    drop(locked);
    let mut said = [(); 2].map(|()| done.recv_timeout(LONG).unwrap());
    said.sort();
    assert_eq!(said, ["job", "later"]);
}

/// Submits jobs that hang until `gate` is dropped, of `count` owners below the cgroup. Returns how many were
/// refused.
fn hang(pool: &Arc<WorkerPool>, gate: &Arc<Mutex<mpsc::Receiver<()>>>, cgroup: &str, count: usize) -> usize {
    let push = |number| {
        let (gate, kept) = (Arc::clone(gate), Arc::new(()));
        let in_job = Arc::clone(&kept);
        // One by one, as threads that wait in the kernel are.
        let job = Box::new(move || {
            gate.lock().recv().unwrap_or_default();
            drop(in_job);
        });
        pool.accept(Lane::Blocking, format!("{cgroup}/{number}").into_bytes().into(), job);
        Arc::strong_count(&kept) == 1
    };
    (0..count).filter(|number| push(*number)).count()
}

#[test]
fn a_tenant_whose_looks_hang_leaves_threads_to_others() {
    let (pool, (sender, done)) =
        (Arc::new(WorkerPool::blocking(LessImportant::than_this_process())), mpsc::channel());
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    hang(&pool, &gate, "/tenant", 200);
    let wait = Instant::now();
    while !pool.state.lock().waiting.values().all(VecDeque::is_empty) {
        assert!(wait.elapsed() < LONG, "it is not known that they hang");
        thread::sleep(STUCK_TIMEOUT);
    }
    let working = |prefix: &str| {
        let state = pool.state.lock();
        state.working.keys().filter(|(_, owner)| owner.starts_with(prefix.as_bytes())).count()
    };
    assert!(working("/tenant/") < MAX_BLOCKING_THREADS / 2, "{}", working("/tenant/"));
    assert_eq!(hang(&pool, &gate, "/tenant", 1), 1, "it is refused at once");
    let began = Instant::now();
    for name in ["/other", "/another/1/2"] {
        let sender = sender.clone();
        pool.accept(Lane::Blocking, name.as_bytes().into(), Box::new(move || sender.send(()).unwrap()));
        done.recv_timeout(LONG).unwrap();
    }
    assert!(began.elapsed() < LONG / 2);
    drop(go);
}

#[test]
fn a_job_that_is_not_done_is_dropped() {
    let (pool, (sender, done)) =
        (Arc::new(WorkerPool::blocking(LessImportant::than_this_process())), mpsc::channel());
    let (go, gate) = mpsc::channel::<()>();
    // At that depth one may hang.
    let push =
        |name: &str, job| pool.accept(Lane::Blocking, format!("/1/2/3/4/5/6/{name}").as_bytes().into(), job);
    push("a", Box::new(move || gate.recv().unwrap_or_default()));
    struct Told(mpsc::Sender<bool>, bool);
    impl Told {
        fn done(mut self) {
            self.1 = true;
        }
    }
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(self.1).unwrap();
        }
    }
    let told = Told(sender, false);
    push("b", Box::new(move || told.done()));
    assert_eq!(done.recv_timeout(LONG), Ok(false));
    drop(go);
}

#[test]
fn what_waits_is_bounded_at_each_level() {
    let pool = Arc::new(WorkerPool::blocking(LessImportant::than_this_process()));
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let waiting = || pool.state.lock().waiting.values().map(VecDeque::len).sum::<usize>();
    // Sooner than that they hang is known.
    assert!(hang(&pool, &gate, "/tenant", 2 * MAX_WAITING) > 0);
    assert!(waiting() <= MAX_WAITING / 2, "{}", waiting());
    assert_eq!(hang(&pool, &gate, "/other", 1), 0);
    drop(go);
}

/// What the service manager would not let be made is missing to whoever needs it next.
#[test]
fn the_unit_has_room_for_all_threads() {
    let unit = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/cgprocfs.service"));
    let unit = unit.unwrap();
    let most = unit.lines().find_map(|line| line.strip_prefix("TasksMax=")).unwrap();
    // Those that follow loads and pressure, sweep, and so on; what looks into namespaces; what stops the
    // unit.
    const OTHERS: usize = 32;
    let needed = MAX_THREADS + MAX_THREADS + MAX_BLOCKING_THREADS + MAX_SERVING_THREADS + OTHERS;
    assert!(most.parse::<usize>().unwrap() >= needed, "{most}, {needed} are needed");
}

#[test]
fn there_are_no_more_threads_than_may_be() {
    let pool = Arc::new(WorkerPool::fast());
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    for owner in 0..2 * MAX_THREADS as u64 {
        let gate = Arc::clone(&gate);
        pool.accept(Lane::Slow, self::owner(owner), Box::new(move || gate.lock().recv().unwrap_or_default()));
        assert!(pool.state.lock().threads <= MAX_THREADS);
    }
    drop(go);
}
