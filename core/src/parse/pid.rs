//! The number of a process or of one of its threads.

use super::{ParseError, decimal};
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The number of a process or of a thread, which holds in one pid namespace only: where nothing else is said, in
/// that of whoever serves.
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(transparent))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(u32);

impl Pid {
    /// What the kernel says for a process that the namespace does not have.
    pub const UNSEEN: Self = Self(0);
    /// The first process of a namespace.
    pub const INIT: Self = Self(1);

    /// A number as the kernel gives it.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Parses the number as the kernel writes it.
    ///
    /// # Errors
    /// As [`decimal`], and [`ParseError::OutOfRange`] where no process has that number.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        u32::try_from(decimal(text)?).map(Self).map_err(|_| ParseError::OutOfRange)
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Pid {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}
