//! A simulated AWS account and Windows Server, deterministic from a seed.

mod draws;
pub mod host;
mod moment;

pub use draws::Draws;
pub use moment::Moment;
