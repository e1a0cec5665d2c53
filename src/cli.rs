//! What a person sees: a file for each subcommand, the log, and what to do about an error.

mod capture;
mod cpu_view;
mod failure;
mod generate;
mod hint;
mod logging;
mod mount;
mod program;
mod run;
mod show;
mod systemd;
mod unmount;
mod usage;
mod views;

pub use self::program::main;
