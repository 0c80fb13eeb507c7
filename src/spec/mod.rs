//! What the user asks for (flags, `cgw.toml`, the stack's record), parsed into types that are right.

mod declared;
mod file;
mod schema;
mod values;

pub use declared::{Declared, FilePath, host_key_tag};
pub use file::{File, FileError, StackTable};
pub use schema::{SCHEMA_FILE, SCHEMA_TITLE, schema};
pub use values::{Choice, Cidr, Endpoint, Fingerprint, List, NoCidr, NoEndpoint, Via};
