//! Keeps a sandbox in a folder, so that one process goes on where another ended, and several at once
//! see the same.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Moment;
use super::account::Account;

/// Why a sandbox cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or a file in it cannot be read or written.
    #[error("the sandbox in {} cannot be used", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not one that this version of cgw wrote.
    #[error("{} is not a sandbox of this version of cgw", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Kept<A> {
    /// The sandbox's time when it was written, and the wall clock's.
    now: Moment,
    wall: Moment,
    account: A,
}

/// A folder that holds a sandbox.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Which version of the file this process has read or written last.
    seen: Option<SystemTime>,
}

/// The folder, held for this process alone.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "it is held until it is dropped")] File);

impl Store {
    /// Takes a folder, which is made if it is not there.
    pub(super) fn new(folder: &Path) -> Result<Self, Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        // It holds the simulated keys, and people will forget that they are.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), seen: None })
    }

    /// Waits until no other process uses the folder.
    pub(super) fn hold(&self) -> Result<Held, Error> {
        let path = self.folder.join("lock");
        let hold = || {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(Held(file))
        };
        hold().map_err(|source| Error::Io { path: path.clone(), source })
    }

    fn path(&self) -> PathBuf {
        self.folder.join("sandbox.json")
    }

    /// Reads the account if another process has written it since, and what time it was then, by the
    /// sandbox and by the wall clock.
    pub(super) fn read(&mut self, _: &Held) -> Result<Option<(Account, Moment, Moment)>, Error> {
        let path = self.path();
        let written = match fs::metadata(&path).and_then(|meta| meta.modified()) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, source }),
        };
        if self.seen == Some(written) {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let kept: Kept<Account> =
            serde_json::from_slice(&text).map_err(|source| Error::Unreadable { path, source })?;
        self.seen = Some(written);
        Ok(Some((kept.account, kept.now, kept.wall)))
    }

    /// Writes the account, whole or not at all.
    pub(super) fn write(
        &mut self,
        _: &Held,
        account: &Account,
        now: Moment,
        wall: Moment,
    ) -> Result<(), Error> {
        let (path, new) = (self.path(), self.folder.join("sandbox.json.new"));
        let text = serde_json::to_vec(&Kept { now, wall, account })
            .map_err(|source| Error::Unreadable { path: path.clone(), source })?;
        let write = || {
            let mut options = OpenOptions::new();
            options.create(true).truncate(true).write(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&new)?.write_all(&text)?;
            fs::rename(&new, &path)?;
            fs::metadata(&path)?.modified()
        };
        let written = write().map_err(|source| Error::Io { path: path.clone(), source })?;
        self.seen = Some(written);
        Ok(())
    }
}
