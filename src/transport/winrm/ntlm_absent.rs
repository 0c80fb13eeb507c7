//! Stands for NTLM in a build without it.

use crate::secret::Secret;
use crate::transport::Cause;

/// A login that cannot be.
pub(super) enum Ntlm {}

impl Ntlm {
    /// Says that there is none.
    pub(super) fn new(_: &str, _: &Secret, _: &str, _: Option<&[u8]>) -> Result<Self, Cause> {
        Err("this cgw was built without NTLM".into())
    }

    pub(super) fn answer(&mut self, _: Vec<u8>) -> Result<Vec<u8>, Cause> {
        match *self {}
    }

    pub(super) fn seal(&mut self, _: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Cause> {
        match *self {}
    }

    pub(super) fn open(&mut self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Cause> {
        match *self {}
    }
}
