//! The two verbs that touch the world: [`Looks::observe`] and [`apply()`].

mod apply;
mod look;

pub use apply::{Failure, Options, Outcome, apply};
pub use look::Looks;
