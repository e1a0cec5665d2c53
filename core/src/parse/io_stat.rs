//! What block devices did for a cgroup: `io.stat` of cgroup v2, `blkio.throttle.io_service_bytes` and
//! `io_serviced` of v1.

use super::{CgroupVersion, ParseError, count, decimal, lines};

/// One device's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceIo {
    /// The device's numbers.
    pub device: (u32, u32),
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes discarded.
    pub discarded_bytes: u64,
    /// Requests to read.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
    /// Requests to discard.
    pub discards: u64,
}

impl DeviceIo {
    /// Parses the devices' counters: `io.stat` of v2, or of v1 `blkio.throttle.io_service_bytes` and then
    /// `io_serviced`.
    ///
    /// # Errors
    /// Where the text is cut short.
    pub fn parse_all(version: CgroupVersion, text: &[u8]) -> Result<Vec<Self>, ParseError> {
        match version {
            CgroupVersion::V1 => v1(text),
            CgroupVersion::V2 => v2(text),
        }
    }
}

/// The devices of `io.stat`. A device that did nothing has nothing but its numbers there, or is missing. A
/// malformed counter is 0, and a line that does not begin with a device is left out.
fn v2(text: &[u8]) -> Result<Vec<DeviceIo>, ParseError> {
    // Some kernels end the file with a device that did nothing, and without the newline.
    let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    if text[whole..].contains(&b'=') {
        return Err(ParseError::Truncated);
    }
    Ok(lines(&text[..whole])?.filter_map(v2_line).collect())
}

fn v2_line(line: &[u8]) -> Option<DeviceIo> {
    let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
    let mut io = DeviceIo { device: device(words.next()?)?, ..DeviceIo::default() };
    for word in words {
        let Some(equals) = word.iter().position(|&b| b == b'=') else {
            // Linux 5.15 to 5.17 print devices that did nothing on the line of the next that did something.
            io.device = device(word).unwrap_or(io.device);
            continue;
        };
        let (key, value) = (&word[..equals], &word[equals + 1..]);
        let counter = match key {
            b"rbytes" => &mut io.read_bytes,
            b"wbytes" => &mut io.written_bytes,
            b"dbytes" => &mut io.discarded_bytes,
            b"rios" => &mut io.reads,
            b"wios" => &mut io.writes,
            b"dios" => &mut io.discards,
            // Controllers that are set up for it add keys of their own.
            _ => continue,
        };
        *counter = count(value).unwrap_or(0);
    }
    Some(io)
}

/// The devices of both files of v1, one after the other: bytes up to a line `Total`, then requests.
fn v1(text: &[u8]) -> Result<Vec<DeviceIo>, ParseError> {
    let mut devices: Vec<DeviceIo> = Vec::new();
    let mut is_bytes = true;
    for line in lines(text)? {
        let mut words = line.split(|&b| b == b' ');
        let (first, second, third) = (words.next().unwrap_or_default(), words.next(), words.next());
        if first == b"Total" {
            is_bytes = false;
            continue;
        }
        let (Some(kind), Some(value)) = (second, third) else { continue };
        let value = count(value).unwrap_or(0);
        // A device that is gone, or never had a number, is `(unknown)`.
        let Some(device) = device(first) else { continue };
        let index = devices.iter().position(|io| io.device == device).unwrap_or_else(|| {
            devices.push(DeviceIo { device, ..DeviceIo::default() });
            devices.len() - 1
        });
        let io = &mut devices[index];
        match (kind, is_bytes) {
            (b"Read", true) => io.read_bytes = value,
            (b"Write", true) => io.written_bytes = value,
            (b"Discard", true) => io.discarded_bytes = value,
            (b"Read", false) => io.reads = value,
            (b"Write", false) => io.writes = value,
            (b"Discard", false) => io.discards = value,
            _ => {}
        }
    }
    Ok(devices)
}

fn device(word: &[u8]) -> Option<(u32, u32)> {
    let colon = word.iter().position(|&b| b == b':')?;
    let number = |digits: &[u8]| u32::try_from(decimal(digits).ok()?).ok();
    Some((number(&word[..colon])?, number(&word[colon + 1..])?))
}

/// The names of the malformed counters in either version's file: keys, or kinds of requests.
pub fn malformed_counters(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Controllers that are set up for it print more than numbers.
    const KNOWN: [&[u8]; 6] = [b"rbytes", b"wbytes", b"dbytes", b"rios", b"wios", b"dios"];
    fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
        line.split(|&b| b == b' ').filter(|word| !word.is_empty())
    }
    let is_number = |word: &[u8]| word.iter().all(|b| b.is_ascii_digit() || *b == b'-');
    text.split(|&b| b == b'\n').flat_map(move |line| {
        let before = std::iter::once(&b""[..]).chain(words(line));
        words(line).zip(before).filter_map(move |(word, before)| {
            let (name, value) = match word.iter().position(|&b| b == b'=') {
                Some(equals) => (&word[..equals], &word[equals + 1..]),
                // The numbers of v1, and not a device, `8:0`.
                None => (before, word),
            };
            let is_counter =
                KNOWN.contains(&name) || name == before && !before.is_empty() && is_number(value);
            (is_counter && count(value).is_none()).then_some(name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IO: DeviceIo = DeviceIo {
        device: (254, 0),
        read_bytes: 1024,
        written_bytes: 2048,
        discarded_bytes: 0,
        reads: 3,
        writes: 4,
        discards: 0,
    };

    #[test]
    fn both_versions() {
        let text = b"254:0 rbytes=1024 wbytes=2048 rios=3 wios=4 dbytes=0 dios=0 cost.usage=7\n7:1\n";
        assert_eq!(v2(text).unwrap(), [IO, DeviceIo { device: (7, 1), ..DeviceIo::default() }]);
        let text = b"254:0 Read 1024\n254:0 Write 2048\n254:0 Sync 1\n254:0 Total 3072\nTotal 3072\n\
            254:0 Read 3\n254:0 Write 4\n254:0 Total 7\nTotal 7\n";
        assert_eq!(v1(text).unwrap(), [IO]);
        assert_eq!(v1(b"Total 0\nTotal 0\n").unwrap(), []);
        assert_eq!(v2(b"").unwrap(), []);
        assert_eq!(
            v2(b"7:7 7:6 254:0 rbytes=1024 wbytes=2048 rios=3 wios=4 dbytes=0 dios=0\n7:1 ").unwrap(),
            [IO]
        );
        assert_eq!(v1(b"(unknown) Read 0\nTotal 0\nTotal 0\n").unwrap(), []);
    }

    #[test]
    fn a_malformed_counter_is_0() {
        let none = DeviceIo { device: (8, 0), ..DeviceIo::default() };
        let malformed = b"8:0 rbytes=-4096 wbytes=18446744073709551615 rios=x wios=3\n";
        assert_eq!(v2(malformed).unwrap(), [DeviceIo { writes: 3, ..none }]);
        assert!(malformed_counters(malformed).eq([&b"rbytes"[..], b"wbytes", b"rios"]));
        let malformed = b"8:0 Read -1\n8:0 Write 7\n8:0\nTotal 6\nTotal 0\n";
        assert_eq!(v1(malformed).unwrap(), [DeviceIo { written_bytes: 7, ..none }]);
        assert!(malformed_counters(malformed).eq([&b"Read"[..]]));
        assert_eq!(malformed_counters(b"8:0 rbytes=1 cost.usage=x\n").count(), 0);
    }

    #[test]
    fn what_is_no_device_is_left_out() {
        for text in ["x rbytes=1\n", "8 rbytes=1\n", "99999999999:0\n"] {
            assert_eq!(v2(text.as_bytes()).unwrap(), [], "{text:?}");
        }
        assert_eq!(v2(b"8:0 rbytes=1"), Err(ParseError::Truncated));
        assert_eq!(v1(b"8:0 Read 1"), Err(ParseError::Truncated));
    }
}
