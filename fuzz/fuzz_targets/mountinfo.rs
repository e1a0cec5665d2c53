//! The mount table: what was understood, escaped as the kernel does it, is understood as the same.
#![no_main]

use cgprocfs::parse::mountinfo::mounts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(table) = mounts(text) else { return };
    assert_eq!(table.len(), text.split(|&b| b == b'\n').filter(|line| !line.is_empty()).count());
    let again: Vec<u8> = table
        .iter()
        .flat_map(|mount| {
            let fields = [&mount.root, &mount.mount_point, &mount.fs_type, &mount.super_options];
            let [root, point, fs_type, options] = fields.map(|field| escape(field));
            format!("1 2 0:3 {root} {point} rw shared:1 - {fs_type} x {options}\n").into_bytes()
        })
        .collect();
    assert_eq!(mounts(&again).unwrap(), table);
});

/// `mangle` of the kernel's fs/proc_namespace.c, of any byte that is not plain.
fn escape(field: &[u8]) -> String {
    let one = |&byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'=' | b',' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    field.iter().map(one).collect()
}
