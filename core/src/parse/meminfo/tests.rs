use super::*;

#[test]
fn lines_keep_order_unit_and_unknown_keys() {
    let text = b"MemTotal:       24684096 kB\nNewThing:     7 kB\nHugePages_Total:       3\n";
    let meminfo = Meminfo::parse(text.to_vec()).unwrap();
    assert_eq!(meminfo.lines()[1].key, Key::Unknown((*b"NewThing").into()));
    assert_eq!(meminfo.count(Field::HugePagesTotal), Some(3));
    assert!(!meminfo.lines()[2].in_kib);
    assert_eq!(meminfo.kib(Field::MemTotal), Kib::new(24_684_096));
    assert_eq!(meminfo.kib(Field::Zswap), Kib::ZERO);
    assert_eq!(meminfo.text(), text);
}

#[test]
fn nodes_have_a_file_each() {
    let text =
        b"Node 1 MemTotal:       134217728 kB\nNode 1 MemFree:  7 kB\nNode 1 HugePages_Total:     3\nodd\n";
    let node = Meminfo::parse_of_node(text).unwrap();
    assert_eq!(node.kib(Field::MemTotal), Kib::new(134_217_728));
    assert_eq!((node.kib(Field::MemFree).get(), node.count(Field::HugePagesTotal)), (7, Some(3)));
    let none = Meminfo::parse_of_node(b"Node 1 MemTotal: 0 kB\nNode 1 MemFree: -1 kB\n").unwrap();
    assert_eq!((none.kib(Field::MemTotal), none.kib(Field::MemFree)), (Kib::ZERO, Kib::ZERO));
    let malformed = [Field::MemFree, Field::MemTotal, Field::Zswap].map(|field| none.is_malformed(field));
    assert_eq!(malformed, [true, false, false]);
    let total = Meminfo::parse_of_node(b"Node 1 MemTotal: -1 kB\n").unwrap();
    assert!(total.is_malformed(Field::MemTotal) && total.kib(Field::MemTotal) == Kib::ZERO);
    assert_eq!(Meminfo::parse_of_node(b"MemTotal: 1 kB\n"), Err(ParseError::Missing("MemTotal")));
    assert_eq!(Meminfo::parse_of_node(b""), Err(ParseError::Missing("MemTotal")));
}

#[test]
fn every_key_finds_its_field() {
    for &field in Field::ALL {
        assert_eq!(Field::from_key(field.key().as_bytes()), Some(field));
    }
}

#[test]
fn nonsense_is_refused() {
    for text in ["", "MemFree: 1 kB\n", "MemTotal: 0 kB\n"] {
        assert_eq!(Meminfo::parse(text.into()), Err(ParseError::Missing("MemTotal")));
    }
    for line in ["MemTotal 1 kB", "Mem\x1bTotal: 1 kB", "MemTotal: -1 kB", "MemTotal: x kB", ": 1 kB"] {
        let parsed = Meminfo::parse(format!("{line}\n").into_bytes());
        assert_eq!(parsed, Err(ParseError::Missing("MemTotal")), "{line}");
    }
    assert_eq!(Meminfo::parse(b"MemTotal: 1 kB".to_vec()), Err(ParseError::Truncated));
    let wrapped = b"MemTotal: 18446744073709472944 kB\n".to_vec();
    assert_eq!(Meminfo::parse(wrapped), Err(ParseError::Missing("MemTotal")));
}

#[test]
fn a_malformed_line_denies_nobody_the_rest() {
    for line in ["Bounce: 18446744073709551604 kB", "Bounce: -4 kB", "Bounce", "Bo\x1bunce: 1 kB", ""] {
        let text = format!("MemTotal: 10 kB\n{line}\nMemFree: 5 kB\n");
        let meminfo = Meminfo::parse(text.into_bytes()).unwrap();
        let counts = [Field::Bounce, Field::MemFree].map(|field| meminfo.count(field));
        assert_eq!(counts, [None, Some(5)], "{line}");
    }
}

/// The alarm for a new kernel: a line without a rule is served as 0, which is safe, but somebody should
/// find out what it means.
#[test]
fn this_kernel_prints_no_field_that_is_unknown_here() {
    let meminfo = Meminfo::parse(std::fs::read("/proc/meminfo").unwrap()).unwrap();
    let unknown: Vec<_> = meminfo.lines().iter().filter(|l| matches!(l.key, Key::Unknown(_))).collect();
    assert!(unknown.is_empty(), "give these a rule in view/meminfo: {unknown:?}");
}
