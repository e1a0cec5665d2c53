//! Paths below `sys/devices/system`.

/// The processor that a path below `sys/devices/system` belongs to, and the rest of the path with its slash.
#[must_use]
pub fn of_processor(path: &[u8]) -> Option<(u32, &[u8])> {
    split(path.strip_prefix(b"cpu/")?, b"cpu")
}

/// The memory node that a path below `sys/devices/system` belongs to, and the rest of the path with its
/// slash.
pub(super) fn of_node(path: &[u8]) -> Option<(u32, &[u8])> {
    split(path.strip_prefix(b"node/")?, b"node")
}

fn split<'p>(path: &'p [u8], what: &[u8]) -> Option<(u32, &'p [u8])> {
    let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    Some((numbered(&path[..end], what)?, &path[end..]))
}

/// The number in a name such as `cpu7`, as the kernel writes it.
pub(super) fn numbered(name: &[u8], what: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(what)?;
    let is_plain = digits == b"0" || digits.first().is_some_and(|digit| (b'1'..=b'9').contains(digit));
    let number = std::str::from_utf8(digits).ok().filter(|_| is_plain)?;
    number.parse().ok()
}
