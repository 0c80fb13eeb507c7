//! The two verbs that touch the world: `observe()` and `apply()`.

mod apply;
mod look;
mod observe;

pub use apply::{Failure, Options, Outcome, apply};
pub use observe::{observe, observe_again};
