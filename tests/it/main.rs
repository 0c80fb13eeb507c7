//! All integration tests in one binary, so that linking is paid once.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests unwrap, report, read the environment that tests/run makes, and take the time"
)]

mod architecture;
mod bench;
mod by_hand;
mod cloud;
mod contract;
mod documents;
mod export;
mod faults;
mod fleet;
mod hostile;
mod init;
mod launch;
mod lifecycle;
mod model;
mod plan;
mod planning;
mod preflight;
mod proxy;
mod push;
mod rotate;
mod sandbox;
mod schedules;
mod secrets;
mod ssh;
mod sshd;
mod ssm;
mod stock;
mod watch;
mod winrm;
mod winrmd;
