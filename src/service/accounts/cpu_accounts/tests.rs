use super::*;
use cgprocfs_core::machine::Machine;
use cgprocfs_core::snapshot::{Container, Scope};

#[test]
fn who_has_most_gives_way() {
    let accounts = CpuAccounts::new(TickRate::USUAL);
    let mut accounts = accounts.accounts.lock();
    let account = CpuAccount::after(Nanos::ZERO, BootTime::default(), &Cpus::default());
    let (start, last_seen) = (Ticks::default(), BootTime::default());
    for id in 1..=16 {
        let path = if id <= 2 { format!("/small/{id}") } else { format!("/large/{id}") };
        let record = ContainerAccount { start, last_seen, had_init: false, account: account.clone() };
        let entry = Entry { path: Some(path.into()), record };
        accounts.weight += entry.weight();
        accounts.by_container.insert(CgroupId::new(id), entry);
    }
    accounts.make_room(17);
    assert_eq!(accounts.by_container.len(), 16);
    accounts.make_room(16);
    assert_eq!(accounts.by_container.len(), 14);
    assert!([1, 2].into_iter().all(|id| accounts.by_container.contains_key(&CgroupId::new(id))));
    assert_eq!(accounts.weight, 14);
}

#[test]
fn long_paths_leave_room_for_fewer() {
    let accounts = CpuAccounts::new(TickRate::USUAL);
    let ask = |id, path: &[u8]| {
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, Scope::Container(Container::default()));
        snapshot.cpus = Some(Cpus::default());
        (snapshot.start, snapshot.uptime) = (Some(Ticks::default()), Some(BootTime::default()));
        let container = CgroupRef { id: CgroupId::new(id), path };
        accounts.counters(container, &snapshot, None).unwrap();
    };
    let long = [b'x'; 2560];
    (0..5000).for_each(|id| ask(id, &long));
    (0..5000).for_each(|id| ask(id, &long));
    let mut accounts = accounts.accounts.lock();
    let (weight, known) = (accounts.weight, accounts.by_container.len());
    assert!(weight == 11 * known && weight < MAX_ACCOUNTS + 11, "{known} weigh {weight}");
    (0..5000).for_each(|id| accounts.remove(CgroupId::new(id)));
    assert_eq!(accounts.weight, 0);
}

#[test]
fn another_container_begins_where_the_last_was_seen_or_later() {
    let rate = TickRate::USUAL;
    let seen = |nanoseconds, had_init| ContainerAccount {
        start: Ticks::new(100),
        last_seen: BootTime::from_nanos(nanoseconds),
        had_init,
        account: CpuAccount::after(Nanos::ZERO, BootTime::default(), &Cpus::default()),
    };
    let begins = |start| {
        let mut life = Life::default();
        life.start = Ticks::new(start);
        life
    };
    let middle_of_tick_200 = 2_005_000_000;
    for (start, had_init, over) in
        [(201, true, true), (200, true, true), (199, true, false), (100, true, false), (201, false, false)]
    {
        let record = seen(middle_of_tick_200, had_init);
        assert_eq!(is_over(&record, &begins(start), rate), over, "{start} {had_init}");
    }
    assert!(!is_over(&seen(1_005_000_000, true), &begins(100), rate), "it was seen in its first tick");
}
