//! Makes a Windows Server the customer gateway of an AWS Site-to-Site VPN, and takes it away again.
//!
//! A module uses only modules above its own line here.

pub mod address;
pub mod secret;
pub mod xml;
pub mod event;
pub mod time;
pub mod interrupt;
pub mod graph;
pub mod diff;
pub mod tunnel;
pub mod aws;
pub mod world;
pub mod playbook;
pub mod transport;
pub mod server;
pub mod spec;
pub mod preflight;
pub mod resource;
pub mod topology;
pub mod lease;
pub mod plan;
pub mod engine;
pub mod check;
pub mod render;
pub mod sandbox;
pub mod ui;
pub mod cli;
