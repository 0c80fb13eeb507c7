//! Turns plans and what was observed into other forms: cost, IAM policy; pure.

pub mod cost;
pub mod policy;
