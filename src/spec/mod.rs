//! What the user asks for (flags, `cgw.toml`, the stack's record), parsed into types that are right.

mod declared;
mod file;
mod values;

pub use declared::Declared;
pub use file::{File, FileError, StackTable};
pub use values::{Choice, Cidr, Endpoint, List, NoCidr, NoEndpoint, Via};
