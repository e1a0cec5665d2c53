//! sysinfo(2): memory, swap, load and age of a container, from what `proc/meminfo`, `proc/loadavg` and
//! `proc/uptime` are made from.

use super::word_size::WordSize;
use crate::error::ViewError;
use crate::memory;
use crate::parse::meminfo::Field;
use crate::snapshot::{Needs, Scope, Snapshot};
use crate::time::Nanos;
use crate::units::{Bytes, Kib};
use crate::view::uptime::age_in_hundredths;

/// What the call says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct SysInfo {
    /// How long the container has run, in seconds, rounded up.
    pub container_uptime: u64,
    /// How long the system has run by the clock of the caller's time namespace, in seconds, rounded up.
    pub system_uptime: u64,
    /// Load averages over one, five and fifteen minutes.
    pub loads: [f64; 3],
    /// All memory.
    pub total_ram: Kib,
    /// Memory that nobody uses.
    pub free_ram: Kib,
    /// Memory that processes share.
    pub shared_ram: Kib,
    /// Memory that buffers take.
    pub buffer_ram: Kib,
    /// All swap space.
    pub total_swap: Kib,
    /// Swap space that is free.
    pub free_swap: Kib,
    /// How many tasks there are.
    pub tasks: u32,
}

/// Whose age the call says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UptimeOf {
    /// The container's, as in `proc/uptime`.
    Container,
    /// That of the system, by the clock of the caller's time namespace: for containers that keep the kernel's
    /// own `/proc/uptime`.
    System,
}

/// A load of 1 as sysinfo(2) has it (`SI_LOAD_SHIFT`, include/uapi/linux/sysinfo.h).
const LOAD_OF_ONE: f64 = 65_536.0;

const FIELDS: [Field; 6] =
    [Field::MemTotal, Field::MemFree, Field::Shmem, Field::Buffers, Field::SwapTotal, Field::SwapFree];

impl SysInfo {
    /// What has to be in the snapshot.
    pub const NEEDS: Needs = Needs::USAGE.and(Needs::LEVELS).and(Needs::LOAD).and(Needs::BOOT);

    /// What the call says to a process of the snapshot's container; `None` in no container, where the kernel
    /// knows.
    ///
    /// # Errors
    /// Where something that it is made from was not loaded, or is malformed.
    pub fn of(snapshot: &Snapshot) -> Result<Option<Self>, ViewError> {
        let Scope::Container(container) = &snapshot.scope else { return Ok(None) };
        let [total_ram, free_ram, shared_ram, buffer_ram, total_swap, free_swap] =
            memory::values(snapshot, container, FIELDS)?;
        let load = snapshot.load.ok_or(ViewError::NotLoaded("the container's load"))?;
        let now = snapshot.uptime()?.by_clock(snapshot.boot.offset);
        Ok(Some(Self {
            container_uptime: age_in_hundredths(snapshot)?.div_ceil(100),
            system_uptime: now.get().div_ceil(Nanos::SECOND.get()),
            loads: load.averages,
            total_ram,
            free_ram,
            shared_ram,
            buffer_ram,
            total_swap,
            free_swap,
            tasks: load.tasks.total.max(1),
        }))
    }

    /// The call's `struct sysinfo` for a program with words of that size, with the age of `uptime`: amounts are in bytes, or in pages of
    /// `page` where 32 bits can't hold bytes (`do_sysinfo()` and `compat_sys_sysinfo()`, kernel/sys.c).
    #[must_use]
    pub fn to_bytes(self, words: WordSize, page: Bytes, uptime: UptimeOf) -> Vec<u8> {
        let bytes = [
            self.total_ram,
            self.free_ram,
            self.shared_ram,
            self.buffer_ram,
            self.total_swap,
            self.free_swap,
        ]
        .map(|amount| amount.to_bytes().get());
        let is_large = bytes[0].max(bytes[4]) > u32::MAX.into();
        let unit = if words == WordSize::Bits32 && is_large { page.get().max(1) } else { 1 };
        let tasks = u16::try_from(self.tasks).unwrap_or(u16::MAX);
        let mut out = Struct { words, bytes: Vec::with_capacity(112) };
        out.word(match uptime {
            UptimeOf::Container => self.container_uptime,
            UptimeOf::System => self.system_uptime,
        });
        self.loads.iter().for_each(|load| out.word(fixed_point(*load)));
        bytes.iter().for_each(|amount| out.word(amount / unit));
        out.bytes.extend(tasks.to_ne_bytes());
        out.align();
        // No memory is high.
        out.word(0);
        out.word(0);
        out.bytes.extend(u32::try_from(unit).unwrap_or(u32::MAX).to_ne_bytes());
        out.bytes.resize(words.size_of_sysinfo(), 0);
        out.bytes
    }
}

/// A load as the kernel has it in the structure.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates at both ends")]
fn fixed_point(load: f64) -> u64 {
    (load * LOAD_OF_ONE) as u64
}

impl WordSize {
    const fn size_of_sysinfo(self) -> usize {
        match self {
            Self::Bits32 => 64,
            Self::Bits64 => 112,
        }
    }
}

/// A structure of words, as a C compiler lays it out.
struct Struct {
    words: WordSize,
    bytes: Vec<u8>,
}

impl Struct {
    fn word(&mut self, value: u64) {
        match self.words {
            WordSize::Bits32 => self.bytes.extend(u32::try_from(value).unwrap_or(u32::MAX).to_ne_bytes()),
            WordSize::Bits64 => self.bytes.extend(value.to_ne_bytes()),
        }
    }

    fn align(&mut self) {
        let word = match self.words {
            WordSize::Bits32 => 4,
            WordSize::Bits64 => 8,
        };
        self.bytes.resize(self.bytes.len().next_multiple_of(word), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: SysInfo = SysInfo {
        container_uptime: 7,
        system_uptime: 7000,
        loads: [0.5, 1.0, 2.25],
        total_ram: Kib::new(256 << 10),
        free_ram: Kib::new(200 << 10),
        shared_ram: Kib::new(4),
        buffer_ram: Kib::ZERO,
        total_swap: Kib::new(8 << 20),
        free_swap: Kib::new(7 << 20),
        tasks: 70_000,
    };
    const PAGE: Bytes = Bytes::new(4096);

    fn words<const N: usize>(bytes: &[u8]) -> Vec<u64> {
        let number = |word: &[u8]| match *word {
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
            _ => u64::from_ne_bytes(word.try_into().unwrap()),
        };
        bytes.chunks_exact(N).map(number).collect()
    }

    #[test]
    fn words_of_64_bits() {
        let bytes = INFO.to_bytes(WordSize::Bits64, PAGE, UptimeOf::Container);
        assert_eq!(bytes.len(), 112);
        let words = words::<8>(&bytes);
        assert_eq!(words[..4], [7, 32_768, 65_536, 147_456]);
        assert_eq!(words[4..10], [256 << 20, 200 << 20, 4096, 0, 8 << 30, 7 << 30]);
        let of_system = INFO.to_bytes(WordSize::Bits64, PAGE, UptimeOf::System);
        assert_eq!((of_system[..8].to_vec(), &of_system[8..]), (7000u64.to_ne_bytes().to_vec(), &bytes[8..]));
        assert_eq!(bytes[80..82], u16::MAX.to_ne_bytes());
        assert_eq!((&words[11..13], &bytes[104..108]), (&[0, 0][..], &1u32.to_ne_bytes()[..]));
    }

    #[test]
    fn words_of_32_bits_count_pages_where_bytes_are_too_many() {
        let bytes = INFO.to_bytes(WordSize::Bits32, PAGE, UptimeOf::Container);
        assert_eq!(bytes.len(), 64);
        let many = words::<4>(&bytes);
        assert_eq!(many[..10], [7, 32_768, 65_536, 147_456, 65_536, 51_200, 1, 0, 2 << 20, 7 << 18]);
        assert_eq!(many[11..14], [0, 0, 4096]);
        let few = SysInfo { total_swap: Kib::ZERO, free_swap: Kib::ZERO, ..INFO };
        let few = words::<4>(&few.to_bytes(WordSize::Bits32, PAGE, UptimeOf::Container));
        assert_eq!((few[4], few[13]), (256 << 20, 1));
    }
}
