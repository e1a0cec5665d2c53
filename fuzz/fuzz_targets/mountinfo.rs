//! The mount table: what was understood, escaped as the kernel does it, is understood as the same.
#![no_main]

use cgprocfs_core::parse::mountinfo::Mount;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(table) = Mount::parse_all(text) else { return };
    assert_eq!(table.len(), text.split(|&b| b == b'\n').filter(|line| !line.is_empty()).count());
    let again: Vec<u8> = table
        .iter()
        .flat_map(|mount| {
            let Mount { id, parent, shared, master, .. } = mount;
            let tag =
                |name, group: &Option<u64>| group.map_or(String::new(), |group| format!("{name}:{group} "));
            let tags = tag("shared", shared) + &tag("master", master);
            let Mount { device, root, mount_point, fs_type, source, super_options, .. } = mount;
            let fields = [device, root, mount_point, fs_type, source, super_options];
            let [device, root, point, fs_type, source, options] = fields.map(|field| escape(field));
            format!("{id} {parent} {device} {root} {point} rw {tags}- {fs_type} {source} {options}\n")
                .into_bytes()
        })
        .collect();
    assert_eq!(Mount::parse_all(&again).unwrap(), table);
});

/// `mangle` of the kernel's fs/proc_namespace.c, of any byte that is not plain.
fn escape(field: &[u8]) -> String {
    let one = |&byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'=' | b',' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    field.iter().map(one).collect()
}
