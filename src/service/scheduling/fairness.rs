//! What keeps a container from taking the serving threads from others.

use super::pace::Pace;
use super::serving_account::{Busyness, ChargeRules, ServingAccount};
use super::serving_accounts::ServingAccounts;
use super::slow_processes::SlowProcesses;
use crate::service::clock::{as_micros, microseconds};
use cgprocfs_core::parse::pid::Pid;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often in a window somebody looks for a crowd.
const CROWD_CHECKS: u32 = 4;
/// The threads have hardly any time left where this part of it was taken.
const BUSY_PART: u32 = 8;

/// One in this many requests that read nothing is charged: to find out whose it is takes longer than the
/// request.
const REQUESTS_PER_CHARGE: u32 = 16;
/// What one of them takes of a serving thread, about.
const SMALL_REQUEST: Duration = Duration::from_micros(8);

/// How much of the serving threads each container has taken, and which ones have to wait for themselves.
pub(in crate::service) struct Fairness {
    /// What counts as slow.
    pub(in crate::service) pace: Pace,
    /// How busy the serving threads are.
    pub(in crate::service) busyness: Busyness,
    /// By container.
    pub(in crate::service) accounts: ServingAccounts,
    /// The processes whose next request goes to the slow lane.
    pub(in crate::service) slow_processes: SlowProcesses,
    /// How many threads serve.
    threads: u32,
    /// How many requests that read nothing there were while the threads were busy.
    small_requests: AtomicU32,
    /// Whether the container of the last one that was charged is in the slow lane.
    last_was_slow: AtomicBool,
    /// The part of a window in which somebody has looked for a crowd, by its number.
    last_check: AtomicU64,
}

impl Fairness {
    /// Nobody has taken anything yet of so many threads.
    pub(in crate::service) fn new(pace: Pace, threads: usize) -> Self {
        let (accounts, slow_processes) = (ServingAccounts::default(), SlowProcesses::default());
        let (threads, last_check) = (u32::try_from(threads).unwrap_or(u32::MAX), AtomicU64::new(0));
        let small_requests = AtomicU32::new(0);
        Self {
            pace,
            busyness: Busyness::default(),
            accounts,
            slow_processes,
            threads,
            small_requests,
            last_was_slow: AtomicBool::new(false),
            last_check,
        }
    }

    /// Charges a reader of a container for a serving thread from `began` until `ended`.
    pub(in crate::service) fn charge(
        &self,
        account: &ServingAccount,
        pid: Pid,
        began: Instant,
        ended: Instant,
    ) {
        account.charge(ChargeRules::new(&self.busyness, self.pace), pid, began, ended);
        if self.busyness.is_busy() {
            self.check_for_crowd(ended);
        }
    }

    /// Whether the next request that reads nothing is to be charged to its container. Where the last one's
    /// was in the slow lane, others of that crowd follow most likely, none of which is known yet.
    pub(in crate::service) fn is_sampled(&self) -> bool {
        let is_sampled = || self.small_requests.fetch_add(1, Ordering::Relaxed) % REQUESTS_PER_CHARGE == 0;
        self.busyness.is_busy() && (self.last_was_slow.load(Ordering::Relaxed) || is_sampled())
    }

    /// Charges a container for one request that reads nothing, and for those in between that nobody was
    /// charged for.
    pub(in crate::service) fn charge_sample(&self, account: &ServingAccount, pid: Pid, now: Instant) {
        account.add(
            ChargeRules::new(&self.busyness, self.pace),
            pid,
            SMALL_REQUEST * REQUESTS_PER_CHARGE,
            now,
        );
        self.check_for_crowd(now);
        self.last_was_slow.store(account.is_slow(now), Ordering::Relaxed);
    }

    /// Where a tenant has taken most of the threads in this window or the last, with whatever number of
    /// containers, all of these go to the slow lane. Somebody looks a few times in a window.
    fn check_for_crowd(&self, now: Instant) {
        let look = microseconds(now) / as_micros(self.pace.window / CROWD_CHECKS);
        if self.last_check.swap(look, Ordering::Relaxed) == look {
            return;
        }
        let window = microseconds(now) / as_micros(self.pace.window);
        let least = as_micros(self.pace.window * self.threads / BUSY_PART);
        let crowds = [window, window.wrapping_sub(1)].map(|window| self.accounts.crowd(window, least));
        for crowd in crowds {
            let size = crowd.len() as f64;
            for (place, account) in crowd.iter().enumerate() {
                account.make_slow_for_crowd(self.pace, place as f64 / size, now);
            }
        }
    }
}
