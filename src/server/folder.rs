//! Leaves scripts in a folder, for a person.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::Error;
use crate::playbook;

/// Returns the names of the scripts that a folder holds already; none where there is no folder.
///
/// Whose rights change and whose files are overwritten is a folder of scripts, or none at all: one
/// that holds anything else is an error.
pub fn scripts_in(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Write { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        // A part is what an interrupted run left.
        let part = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
        if !playbook::is_script(part.unwrap_or(&name)) {
            return Err(Error::Occupied { folder: folder.to_owned(), name });
        }
        found.push(name);
    }
    Ok(found)
}

/// Writes files that only their owner may read into a folder that only its owner may enter.
///
/// Of what was written there before nothing stays, and nobody ever sees half of a file.
pub fn write_folder<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    let files: Vec<(&str, &[u8])> = files.into_iter().collect();
    let old = scripts_in(folder)?;
    make_private(folder).map_err(failed(folder))?;
    for path in old.iter().map(|name| folder.join(name)) {
        fs::remove_file(&path).map_err(failed(&path))?;
    }
    for (name, contents) in files {
        let path = folder.join(name);
        let part = folder.join(format!(".{name}.part"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&part).map_err(failed(&part))?;
        file.write_all(contents).map_err(failed(&part))?;
        fs::rename(&part, &path).map_err(failed(&path))?;
    }
    Ok(())
}

/// Has a folder be there that only its owner may enter.
#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// Has a folder be there that only its owner may enter (S-1-3-4, «owner rights»); what is made in it
/// inherits that. Never yet run: it was written where there is no Windows.
#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut icacls = std::process::Command::new("icacls.exe");
    icacls.arg(folder).args(["/inheritance:r", "/grant:r", "*S-1-3-4:(OI)(CI)F"]);
    let done = icacls.output()?;
    let said = || String::from_utf8_lossy(&done.stdout).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(io::Error::other(said())) }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_of_scripts_is_its_owners_alone_even_when_it_was_not() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("scripts");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("run.ps1"), "old").unwrap();
        fs::write(folder.join(".run.ps1.part"), "left over").unwrap();
        write_folder(&folder, [("run.ps1", b"new".as_slice())]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("run.ps1")), 0o600);
        assert_eq!(fs::read_to_string(folder.join("run.ps1")).unwrap(), "new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_holds_other_things_is_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(parent.path().join("thesis.txt"), "years").unwrap();
        fs::write(parent.path().join("run.ps1"), "old").unwrap();
        let error = write_folder(parent.path(), [("run.ps1", b"new".as_slice())]).unwrap_err();
        assert!(error.to_string().contains("it holds thesis.txt"), "{error}");
        let mode = fs::metadata(parent.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o755);
        assert_eq!(fs::read_to_string(parent.path().join("run.ps1")).unwrap(), "old");
    }
}
