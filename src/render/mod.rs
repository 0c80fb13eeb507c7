//! Turns plans and what was observed into other forms: cost, IAM policy, templates; pure.

pub mod cost;
pub mod export;
pub mod policy;
