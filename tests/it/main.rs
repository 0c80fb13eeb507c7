//! All integration tests in one binary, so that linking is paid once.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod bench;
mod cloud;
mod faults;
mod lifecycle;
mod plan;
mod proxy;
mod push;
mod secrets;
mod ssh;
mod sshd;
