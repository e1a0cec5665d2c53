use super::*;
use crate::parse::meminfo::Meminfo;
use crate::parse::memory_stat::MemoryStat;
use crate::snapshot::{Container, HugeLevel, HugePool, Level};
use crate::topology::fixtures::snapshot as of_processors;
use crate::units::Bytes;
use proptest::prelude::*;

/// A container of 512 MiB on nodes of 1 and 3 GiB.
fn snapshot(numa_stat: Option<&str>) -> Snapshot {
    let mib = |count: u64| Bytes::new(count << 20);
    let level = Level {
        limit: Some(mib(512)),
        usage: Some(mib(200)),
        stat: Some(MemoryStat {
            anon: Some(mib(100)),
            file: Some(mib(80)),
            active_file: Some(mib(60)),
            inactive_file: Some(mib(20)),
            inactive_anon: Some(mib(100)),
            ..MemoryStat::default()
        }),
        ..Level::default()
    };
    let host = "MemTotal: 4194304 kB\nMemFree: 4000000 kB\nMemAvailable: 4000000 kB\nHugepagesize: 2048 kB\n\
        HugePages_Total: 30\nHugePages_Free: 20\n";
    let container = Container { levels: vec![level], ..Container::default() };
    let mut snapshot = of_processors("0-7", None, Some("0-1"));
    snapshot.meminfo = Some(Meminfo::parse(host.as_bytes().to_vec()).unwrap().into());
    snapshot.scope = Scope::Container(container);
    snapshot.numa_stat = numa_stat.map(|text| NumaStat::parse(text.as_bytes()).unwrap());
    snapshot
}

const NATIVE: &str = "Node 1 MemTotal:        3145728 kB\nNode 1 MemFree:         3000000 kB\n\
    Node 1 MemUsed:          145728 kB\nNode 1 Active:                1 kB\nNode 1 Active(file):        123 kB\n\
    Node 1 FilePages:             1 kB\nNode 1 AnonPages:             1 kB\nNode 1 NewThing:              7 kB\nNode 1 HugePages_Total:    10\n\
    Node 1 HugePages_Free:      5\n";

fn text(snapshot: &Snapshot, path: &str, native: &str) -> String {
    let topology = Topology::of(snapshot).unwrap();
    let memory = MemoryByNode::of(snapshot, &topology).unwrap();
    let read = |path: &[u8]| -> Result<Vec<u8>, ViewError> {
        Ok(match path {
            b"node/node0/meminfo" => "Node 0 HugePages_Total:    20\nNode 0 HugePages_Free:    15\n",
            b"node/node1/meminfo" => NATIVE,
            path if path.ends_with(b"node0/hugepages/hugepages-2048kB/nr_hugepages") => "20\n",
            path if path.ends_with(b"/nr_hugepages") => "10\n",
            path if path.ends_with(b"node0/hugepages/hugepages-2048kB/free_hugepages") => "15\n",
            _ => "5\n",
        }
        .into())
    };
    let text = topology.text(path.as_bytes(), native.into(), Some(&memory), read).unwrap();
    String::from_utf8(text).unwrap()
}

fn numbers(text: &str) -> Vec<(&str, u64)> {
    let number = |line: &str| line.trim_end_matches(" kB").rsplit(' ').next().unwrap().parse().unwrap();
    text.lines()
        .map(|line| (line.split(':').next().unwrap().rsplit(' ').next().unwrap(), number(line)))
        .collect()
}

#[test]
fn parts_are_where_the_kernel_says() {
    let stat = "anon N0=0 N1=104857600\nfile N0=20971520 N1=62914560\nactive_file N0=20971520 N1=41943040\n";
    let snapshot = snapshot(Some(stat));
    let shown = text(&snapshot, "node/node1/meminfo", NATIVE);
    assert_eq!(
        shown,
        "Node 1 MemTotal:         393216 kB\nNode 1 MemFree:          215558 kB\n\
         Node 1 MemUsed:          177658 kB\nNode 1 Active:            40960 kB\nNode 1 Active(file):      40960 kB\n\
         Node 1 FilePages:         61440 kB\nNode 1 AnonPages:        102400 kB\nNode 1 NewThing:              0 kB\n\
         Node 1 HugePages_Total:    10\nNode 1 HugePages_Free:      5\n"
    );
    let other = text(&snapshot, "node/node0/meminfo", NATIVE);
    let both =
        numbers(&shown).into_iter().zip(numbers(&other)).map(|((key, one), (_, two))| (key, one + two));
    let all: Vec<_> = both.take(7).map(|(_, sum)| sum >> 10).collect();
    assert_eq!(all, [512, 312, 200, 60, 60, 80, 100], "as proc/meminfo has it");
}

#[test]
fn with_cgroup_v1_pages_are_counted() {
    let stat = "total=1 N0=0 N1=1\nfile=1 N0=0 N1=1\nhierarchical_total=46080 N0=0 N1=46080\n\
        hierarchical_file=20480 N0=5120 N1=15360\n";
    let shown = text(&snapshot(Some(stat)), "node/node1/meminfo", NATIVE);
    let shown: Vec<_> = numbers(&shown).into_iter().map(|(_, kib)| kib >> 10).collect();
    // Nothing is said of how anonymous memory is spread but that all that is in use is there.
    assert_eq!(shown[..7], [384, 191, 192, 45, 45, 60, 100]);
}

#[test]
fn a_node_has_at_least_what_is_in_use_there() {
    let stat = "anon N0=188743680 N1=0\nfile N0=0 N1=0\n";
    let snapshot = snapshot(Some(stat));
    let of = |path| {
        numbers(&text(&snapshot, path, NATIVE))[..3].iter().map(|(_, kib)| kib >> 10).collect::<Vec<_>>()
    };
    assert_eq!(of("node/node0/meminfo"), [180, 0, 180]);
    assert_eq!(of("node/node1/meminfo"), [332, 312, 20]);
}

#[test]
fn without_a_word_of_the_kernel_s_it_is_divided_as_the_host_s() {
    let snapshot = snapshot(None);
    let shown = text(&snapshot, "node/node1/meminfo", NATIVE);
    let shown: Vec<_> = numbers(&shown).into_iter().map(|(_, kib)| kib >> 10).collect();
    assert_eq!(shown[..7], [384, 234, 150, 45, 45, 60, 75]);
    let none = text(&of_one_node_alone(snapshot), "node/node0/meminfo", NATIVE);
    assert!(numbers(&none).iter().all(|(_, kib)| *kib == 0), "{none}");
}

/// Processors of the other one are the container's, its memory is not.
fn of_one_node_alone(mut snapshot: Snapshot) -> Snapshot {
    snapshot.nodes.as_mut().unwrap().allowed = crate::parse::cpu_list::CpuList::parse(b"1\n").ok();
    snapshot
}

#[test]
fn counts_of_a_node() {
    let stat = "anon N0=0 N1=8192\nkernel_stack N0=0 N1=16384\nworkingset_refault_file N0=3 N1=4\n";
    let native = "nr_free_pages 9\nnr_zone_inactive_anon 9\nnr_anon_pages 9\nworkingset_refault_file 9\nnuma_hit 9\n\
        nr_vmscan_write 9\n";
    let shown = text(&snapshot(Some(stat)), "node/node1/vmstat", native);
    let counts = "nr_zone_inactive_anon 25600\nnr_anon_pages 25600\nworkingset_refault_file 4\nnuma_hit 0\nnr_vmscan_write 0\n";
    assert!(shown.starts_with("nr_free_pages ") && shown.ends_with(counts), "{shown}");
}

#[test]
fn huge_pages_are_cut_to_the_limit() {
    let mut snapshot = snapshot(None);
    let files = |snapshot: &Snapshot| {
        ["nr_hugepages", "free_hugepages", "surplus_hugepages", "demote"]
            .map(|name| text(snapshot, &format!("node/node1/hugepages/hugepages-2048kB/{name}"), "10\n"))
    };
    assert_eq!(files(&snapshot), ["10\n"; 4]);
    let Scope::Container(container) = &mut snapshot.scope else { panic!() };
    let none = Some(Bytes::ZERO);
    let level =
        HugeLevel { limit: Some(Bytes::new(12 << 21)), usage: none, reserved: none, ..HugeLevel::default() };
    container.huge_pages = Some(vec![HugePool {
        size: Kib::new(2048),
        host_total: 30,
        nodes_free: None,
        levels: vec![level],
        container: Some(0),
    }]);
    assert_eq!(files(&snapshot), ["3\n", "3\n", "0\n", "10\n"]);
    let shown = text(&snapshot, "node/node1/meminfo", NATIVE);
    assert!(shown.ends_with("HugePages_Total:     3\nNode 1 HugePages_Free:      3\n"), "{shown}");
}

proptest! {
    /// What is free on one node is not to be had from another.
    #[test]
    fn huge_pages_add_up(
        nodes in prop::collection::vec((0..100_u64, 0..100_u64), 1..5),
        total in 0..400_u64,
        free in 0..400_u64,
    ) {
        let host: Vec<[u64; 2]> = nodes.into_iter().map(|(free, in_use)| [free + in_use, free]).collect();
        let [of_all, free_of_all] = [0, 1].map(|index| host.iter().map(|pages| pages[index]).sum::<u64>());
        let total = total.min(of_all);
        let free = free.min(total).min(free_of_all);
        let divided = divide_pages([total, free], &host);
        prop_assert_eq!(divided.iter().map(|[total, _]| total).sum::<u64>(), total);
        prop_assert_eq!(divided.iter().map(|[_, free]| free).sum::<u64>(), free);
        let is_possible = |(own, host): (&[u64; 2], &[u64; 2])| {
            own[1] <= own[0] && own[0] <= host[0] && own[1] <= host[1]
        };
        prop_assert!(divided.iter().zip(&host).all(is_possible), "{:?} of {:?}", divided, host);
    }

    /// Whatever is in use where, the nodes together have what there is, and none has more free, or in use,
    /// than it has.
    #[test]
    fn nodes_add_up(
        nodes in prop::collection::vec((0..1_u64 << 33, 0..1_u64 << 33), 1..9),
        total in 0..1_u64 << 33,
        free in 0..1_u64 << 33,
        page in prop::sample::select(vec![4_u64, 16, 64]),
    ) {
        let free = free.min(total);
        let (in_use, sizes): (Vec<u64>, Vec<u64>) = nodes.into_iter().unzip();
        let divided = divide(total, free, &in_use, &sizes, page);
        prop_assert_eq!(divided.iter().map(|(total, _)| total).sum::<u64>(), total);
        prop_assert_eq!(divided.iter().map(|(_, free)| free).sum::<u64>(), free);
        prop_assert!(divided.iter().all(|(total, free)| free <= total));
        if in_use.iter().sum::<u64>() <= total - free {
            prop_assert!(divided.iter().zip(&in_use).all(|((total, free), used)| total - free >= *used));
        }
    }

    /// Nothing is lost, and nobody gets more than a fair part, rounded up.
    #[test]
    fn parts_are_fair(whole in 0..1_u64 << 53, weights in prop::collection::vec(0..1_u64 << 53, 1..9)) {
        let parts = spread(whole, &weights);
        prop_assert_eq!(parts.iter().sum::<u64>(), whole);
        let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        for (part, weight) in parts.iter().zip(&weights).filter(|_| sum > 0) {
            // What is left of the whole once its exact part is taken away is less than one.
            let (exact, part) = (u128::from(whole) * u128::from(*weight), u128::from(*part) * sum);
            prop_assert!(exact.abs_diff(part) < sum);
        }
    }
}
