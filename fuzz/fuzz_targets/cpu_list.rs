//! Lists of processors: what was understood, written as the kernel does, is understood as the same.
#![no_main]

use cgprocfs_core::parse::cpu_list::CpuList;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(list) = CpuList::parse(text) else { return };
    assert_eq!(list.len(), list.iter().count());
    assert!(list.iter().zip(list.iter().skip(1)).all(|(one, next)| one < next));
    assert_eq!(CpuList::parse(format!("{list}\n").as_bytes()), Ok(list.clone()));
    assert_eq!(list.within(&list), list);
});
