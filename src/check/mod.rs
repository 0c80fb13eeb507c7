//! Judges how things are; pure.

mod tunnel;

pub use tunnel::{Fault, fallback, judge};
