use super::*;

fn life(start: u64) -> Life {
    let mut life = Life::default();
    life.start = Ticks::new(start);
    life
}

fn path() -> Arc<[u8]> {
    b"/c"[..].into()
}

fn job() -> Continuation {
    Box::new(|_| {})
}

#[test]
fn the_first_looks_for_all() {
    let starts = StartTimes::new(MAX_KNOWN);
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Unknown));
    let SearchWait::MustSearch(_) = starts.wait((CgroupId::new(7), &path()), job(), Ticks::new(90)) else {
        panic!("nobody looks")
    };
    assert!(matches!(starts.wait((CgroupId::new(7), &path()), job(), Ticks::new(95)), SearchWait::Parked));
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Searching));
    assert_eq!(starts.found(CgroupId::new(7), Some(life(80))).len(), 2);
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Known(seen) if seen.life.start.get() == 80));
    assert!(matches!(
        starts.wait((CgroupId::new(7), &path()), job(), Ticks::new(99)),
        SearchWait::Finished(_)
    ));
    starts.sweep(|_| true, |number, _| assert_eq!(number.get(), 7));
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Known(_)));
    starts.sweep(|cgroup| (cgroup.id.get(), cgroup.path) != (7, b"/c"), |_, _| panic!("it is gone"));
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Unknown));
}

#[test]
fn what_was_found_so_far_is_told_while_the_look_hangs() {
    let starts = StartTimes::new(MAX_KNOWN);
    let SearchWait::MustSearch(so_far) = starts.wait((CgroupId::new(7), &path()), job(), Ticks::new(90))
    else {
        panic!("nobody looks")
    };
    assert_eq!(starts.give_up(CgroupId::new(7), &so_far).len(), 1);
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Partial(start) if start.get() == 90));
    so_far.store(85, Ordering::Relaxed);
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Partial(start) if start.get() == 85));
    assert!(starts.give_up(CgroupId::new(7), &so_far).is_empty());
    assert!(starts.found(CgroupId::new(7), None).is_empty());
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Partial(start) if start.get() == 85));
    starts.sweep(|_| true, |_, _| {});
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Unknown), "it is looked for again");
}

#[test]
fn a_look_that_hangs_at_a_container_that_is_gone_is_forgotten() {
    let starts = StartTimes::new(MAX_KNOWN);
    let SearchWait::MustSearch(so_far) = starts.wait((CgroupId::new(7), &path()), job(), Ticks::new(90))
    else {
        panic!("nobody looks")
    };
    starts.sweep(|_| false, |_, _| {});
    assert_eq!(starts.give_up(CgroupId::new(7), &so_far).len(), 1, "somebody waits for it");
    starts.sweep(
        |cgroup| (cgroup.id.get(), cgroup.path) == (7, &*path()),
        |_, _| panic!("nothing is known of it"),
    );
    assert!(matches!(starts.of(CgroupId::new(7)), StartLookup::Partial(_)));
    starts.sweep(|_| false, |_, _| {});
    assert!(starts.containers.lock().is_empty());
    assert!(starts.found(CgroupId::new(7), Some(life(80))).is_empty() && starts.containers.lock().is_empty());
}

#[test]
fn as_many_as_one_likes_are_not_remembered() {
    let starts = StartTimes::new(MAX_KNOWN);
    for container in 1..3 * MAX_KNOWN as u64 {
        starts.wait((CgroupId::new(container), &path()), job(), Ticks::new(1));
        starts.found(CgroupId::new(container), Some(life(1)));
    }
    assert!(starts.containers.lock().len() <= MAX_KNOWN);
}

#[test]
fn whoever_has_many_leaves_room_for_others() {
    let starts = StartTimes::new(MAX_KNOWN);
    let find = |container: u64, path: &str, life| {
        starts.wait((CgroupId::new(container), &path.as_bytes().into()), job(), Ticks::new(1));
        starts.found(CgroupId::new(container), life);
    };
    (1..=100).for_each(|other| find(other, "/pods/other", Some(life(1))));
    for container in 1000..1000 + 3 * MAX_KNOWN as u64 {
        find(container, &format!("/pods/tenant/{container}"), Some(life(1)));
    }
    assert!((1..=100).all(|other| matches!(starts.of(CgroupId::new(other)), StartLookup::Known(_))));
    // Nor does it help to have looks that fail, or that hang.
    (100_000..100_000 + 3 * MAX_KNOWN as u64).for_each(|container| find(container, "/pods/tenant", None));
    for container in 200_000..200_000 + 3 * MAX_KNOWN as u64 {
        starts.wait((CgroupId::new(container), &path()), job(), Ticks::new(1));
    }
    (300_000..300_100).for_each(|container| find(container, "/pods/tenant", Some(life(1))));
    assert!((1..=100).all(|other| matches!(starts.of(CgroupId::new(other)), StartLookup::Known(_))));
}

#[test]
fn whoever_has_most_gives_half() {
    let starts = StartTimes::new(MAX_KNOWN);
    let find = |container: u64, path: &str| {
        starts.wait((CgroupId::new(container), &path.as_bytes().into()), job(), Ticks::new(1));
        starts.found(CgroupId::new(container), Some(life(1)));
    };
    (1..=2).for_each(|other| find(other, "/pods/other"));
    (100..110).for_each(|container| find(container, &format!("/pods/tenant/{container}")));
    starts.close_half();
    assert_eq!(starts.containers.lock().len(), 6);
    assert!((1..=2).all(|other| matches!(starts.of(CgroupId::new(other)), StartLookup::Known(_))));
}
