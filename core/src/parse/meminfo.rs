//! `/proc/meminfo` of the host (`fs/proc/meminfo.c`, `mm/hugetlb.c`, `arch/*/mm`).

use super::node_meminfo::{Line as NodeLine, node_meminfo};
use super::{ParseError, decimal, lines};
use crate::units::{Kib, MAX};

macro_rules! fields {
    ($($field:ident $key:literal)+) => {
        /// A line of `/proc/meminfo` that this program knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Field { $($field,)+ }

        impl Field {
            /// All fields, in the order in which kernels print them.
            pub const ALL: &[Field] = &[$(Field::$field,)+];

            /// The key as the kernel prints it, without the colon.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Field::$field => $key,)+ }
            }

            /// The field with exactly this key.
            #[must_use]
            pub fn from_key(key: &[u8]) -> Option<Field> {
                match std::str::from_utf8(key).ok()? {
                    $($key => Some(Field::$field),)+
                    _ => None,
                }
            }
        }
    };
}

fields! {
    MemTotal "MemTotal"
    MemFree "MemFree"
    MemAvailable "MemAvailable"
    Buffers "Buffers"
    Cached "Cached"
    SwapCached "SwapCached"
    Active "Active"
    Inactive "Inactive"
    ActiveAnon "Active(anon)"
    InactiveAnon "Inactive(anon)"
    ActiveFile "Active(file)"
    InactiveFile "Inactive(file)"
    Unevictable "Unevictable"
    Mlocked "Mlocked"
    SwapTotal "SwapTotal"
    SwapFree "SwapFree"
    Zswap "Zswap"
    Zswapped "Zswapped"
    Dirty "Dirty"
    Writeback "Writeback"
    AnonPages "AnonPages"
    Mapped "Mapped"
    Shmem "Shmem"
    KReclaimable "KReclaimable"
    Slab "Slab"
    SReclaimable "SReclaimable"
    SUnreclaim "SUnreclaim"
    KernelStack "KernelStack"
    ShadowCallStack "ShadowCallStack"
    PageTables "PageTables"
    SecPageTables "SecPageTables"
    NfsUnstable "NFS_Unstable"
    Bounce "Bounce"
    WritebackTmp "WritebackTmp"
    CommitLimit "CommitLimit"
    CommittedAs "Committed_AS"
    VmallocTotal "VmallocTotal"
    VmallocUsed "VmallocUsed"
    VmallocChunk "VmallocChunk"
    Percpu "Percpu"
    HardwareCorrupted "HardwareCorrupted"
    AnonHugePages "AnonHugePages"
    ShmemHugePages "ShmemHugePages"
    ShmemPmdMapped "ShmemPmdMapped"
    FileHugePages "FileHugePages"
    FilePmdMapped "FilePmdMapped"
    CmaTotal "CmaTotal"
    CmaFree "CmaFree"
    Unaccepted "Unaccepted"
    Balloon "Balloon"
    HugePagesTotal "HugePages_Total"
    HugePagesFree "HugePages_Free"
    HugePagesRsvd "HugePages_Rsvd"
    HugePagesSurp "HugePages_Surp"
    Hugepagesize "Hugepagesize"
    Hugetlb "Hugetlb"
    DirectMap4k "DirectMap4k"
    DirectMap64k "DirectMap64k"
    DirectMap1M "DirectMap1M"
    DirectMap2M "DirectMap2M"
    DirectMap4M "DirectMap4M"
    DirectMap1G "DirectMap1G"
    DirectMap2G "DirectMap2G"
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What the line is about; a kernel may print lines that this program does not know.
    pub key: Key,
    /// Its number: kibibytes if `in_kib`, else a plain count, as in the `HugePages_…` lines. `None` if it is
    /// malformed or above 2^53: kernels have printed wrapped counters.
    pub value: Option<u64>,
    /// Whether the line ends in ` kB`.
    pub in_kib: bool,
}

/// The key of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A line that the views have a rule for.
    Known(Field),
    /// A line that came with a later kernel, verbatim.
    Unknown(Box<[u8]>),
}

impl Key {
    fn of(key: &[u8]) -> Self {
        Field::from_key(key).map_or_else(|| Self::Unknown(key.into()), Self::Known)
    }
}

/// The parsed file: its lines in their order, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meminfo {
    text: Vec<u8>,
    lines: Vec<Line>,
}

impl Meminfo {
    /// Parses the file. Lines other than `Key: number` are left out: one malformed line is no reason to have
    /// none of the others.
    ///
    /// # Errors
    /// Where the text is cut short, or `MemTotal` is missing, 0 or above 2^53.
    pub fn parse(text: Vec<u8>) -> Result<Self, ParseError> {
        let lines = lines(&text)?.filter_map(line).collect();
        let meminfo = Self { text, lines };
        match meminfo.count(Field::MemTotal) {
            None | Some(0) => Err(ParseError::Missing(Field::MemTotal.key())),
            Some(_) => Ok(meminfo),
        }
    }

    /// Parses a node's file, whose lines begin with `Node 0 ` (drivers/base/node.c). A node may be without
    /// memory.
    ///
    /// # Errors
    /// Where the text is cut short, or `MemTotal` is missing or above 2^53.
    pub fn parse_of_node(text: &[u8]) -> Result<Self, ParseError> {
        let plain =
            |line: NodeLine<'_>| Line { key: Key::of(line.key), value: line.value, in_kib: line.in_kib };
        let meminfo = Self { text: text.to_vec(), lines: node_meminfo(text)?.map(plain).collect() };
        let has_total = meminfo.lines.iter().any(|line| line.key == Key::Known(Field::MemTotal));
        has_total.then_some(meminfo).ok_or(ParseError::Missing(Field::MemTotal.key()))
    }

    /// The file as it was read.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The lines in the kernel's order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The number of a line whatever its unit; `None` if this kernel does not have the line, or it is
    /// malformed.
    #[must_use]
    pub fn count(&self, field: Field) -> Option<u64> {
        self.lines.iter().find(|line| line.key == Key::Known(field)).and_then(|line| line.value)
    }

    /// Whether this kernel has the line, and it is malformed.
    #[must_use]
    pub fn is_malformed(&self, field: Field) -> bool {
        self.lines.iter().any(|line| line.key == Key::Known(field) && line.value.is_none())
    }

    /// The keys of the lines that are malformed.
    pub fn malformed_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter(|line| line.value.is_none()).map(|line| match &line.key {
            Key::Known(field) => field.key().as_bytes(),
            Key::Unknown(key) => key,
        })
    }

    /// A line in kibibytes; 0 if this kernel does not have it.
    #[must_use]
    pub fn kib(&self, field: Field) -> Kib {
        Kib::new(self.count(field).unwrap_or(0))
    }

    /// Slabs and other kernel memory that can be reclaimed; before Linux 4.20 slabs alone.
    #[must_use]
    pub fn reclaimable_slab(&self) -> Kib {
        self.count(Field::KReclaimable).map_or_else(|| self.kib(Field::SReclaimable), Kib::new)
    }

    /// What can be allocated without swapping; before Linux 3.14, which does not say, what is free.
    #[must_use]
    pub fn available(&self) -> Kib {
        self.count(Field::MemAvailable).map_or_else(|| self.kib(Field::MemFree), Kib::new)
    }
}

fn line(line: &[u8]) -> Option<Line> {
    let colon = line.iter().position(|&b| b == b':')?;
    let (key, rest) = (&line[..colon], line[colon + 1..].trim_ascii());
    let plain_key = |b: &u8| b.is_ascii_alphanumeric() || b"_()".contains(b);
    if key.is_empty() || key.len() > 32 || !key.iter().all(plain_key) {
        return None;
    }
    let (number, in_kib) = match rest.strip_suffix(b" kB") {
        Some(number) => (number.trim_ascii(), true),
        None => (rest, false),
    };
    let value = decimal(number).ok().filter(|value| *value <= MAX);
    Some(Line { key: Key::of(key), value, in_kib })
}

#[cfg(test)]
mod tests;
