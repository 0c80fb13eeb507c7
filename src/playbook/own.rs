//! A user's own steps, which replace or join those of the playbook.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::scripts;

/// The file that orders the steps.
const MANIFEST: &str = "manifest.json";

/// The steps of a user's folder, by file name: `NN-name.ps1`, and perhaps a `manifest.json` in the
/// place of the playbook's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Own(BTreeMap<String, Vec<u8>>);

/// Why a folder of steps cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{name} is no step: steps are called NN-name.ps1, and manifest.json orders them")]
    NoStep {
        /// The file's name.
        name: String,
    },
    /// The manifest is not one.
    #[error("manifest.json is not a list of steps")]
    Manifest {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The manifest names a step that is not there.
    #[error("manifest.json names {file}, which is neither there nor in the playbook")]
    Absent {
        /// The step's file.
        file: String,
    },
    /// A step needs what does not come before it.
    #[error("manifest.json: {id} needs {need}, which does not come before it")]
    Order {
        /// The step.
        id: String,
        /// What it needs.
        need: String,
    },
    /// A step that no manifest names would never run.
    #[error("{name} is new, and no manifest.json in the folder names it: it would never run")]
    Unnamed {
        /// The file's name.
        name: String,
    },
}

/// What a manifest says of a step.
#[derive(Debug, Deserialize)]
struct Step {
    id: String,
    file: String,
    needs: Vec<String>,
}

/// Says whether a file of this name can be a step.
pub(super) fn is_step(name: &str) -> bool {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_script = Path::new(name).extension().is_some_and(|extension| extension == "ps1");
    digits == 2 && name[2..].starts_with('-') && is_script && name.chars().all(is_plain)
}

impl Own {
    /// Reads a folder and checks that its steps and its manifest go together.
    pub fn read(folder: &Path) -> Result<Self, OwnError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OwnError::Read { path, source }
        };
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !is_step(&name) && name != MANIFEST {
                return Err(OwnError::NoStep { name });
            }
            files.insert(name, fs::read(&path).map_err(failed(&path))?);
        }
        let own = Self(files);
        own.check()?;
        Ok(own)
    }

    fn check(&self) -> Result<(), OwnError> {
        let is_ours = |name: &str| scripts().any(|(ours, _)| ours == name);
        let Some(manifest) = self.0.get(MANIFEST) else {
            let new = self.0.keys().find(|name| !is_ours(name));
            return new.map_or(Ok(()), |name| Err(OwnError::Unnamed { name: name.clone() }));
        };
        let steps: Vec<Step> =
            serde_json::from_slice(manifest).map_err(|source| OwnError::Manifest { source })?;
        let mut before: Vec<String> = Vec::new();
        for Step { id, file, needs } in steps {
            if !self.has(&file) && !is_ours(&file) {
                return Err(OwnError::Absent { file });
            }
            if let Some(need) = needs.into_iter().find(|need| !before.contains(need)) {
                return Err(OwnError::Order { id, need });
            }
            before.push(id);
        }
        Ok(())
    }

    /// Says whether it has a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns its files.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Result<Own, OwnError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Own::read(folder.path())
    }

    #[test]
    fn steps_replace_those_of_the_playbook_and_join_them_through_a_manifest() {
        assert!(folder(&[("75-mtu.ps1", "param()")]).unwrap().has("75-mtu.ps1"));
        let manifest = r#"[{"id": "preflight", "file": "10-preflight.ps1", "needs": []},
            {"id": "mine", "file": "95-mine.ps1", "needs": ["preflight"]}]"#;
        let own = folder(&[("95-mine.ps1", ""), ("manifest.json", manifest)]).unwrap();
        assert_eq!(own.files().count(), 2);
    }

    #[test]
    fn a_folder_that_would_not_do_what_it_says_is_refused() {
        let said = |files: &[(&str, &str)]| folder(files).unwrap_err().to_string();
        assert!(said(&[("common.ps1", "")]).contains("is no step"));
        assert!(said(&[("95-mine.ps1", "")]).contains("would never run"));
        assert!(said(&[("manifest.json", "{}")]).contains("not a list"));
        let absent = r#"[{"id": "x", "file": "96-x.ps1", "needs": []}]"#;
        assert!(said(&[("manifest.json", absent)]).contains("96-x.ps1"));
        let order = r#"[{"id": "mtu", "file": "75-mtu.ps1", "needs": ["roles"]}]"#;
        assert!(said(&[("manifest.json", order)]).contains("needs roles"));
    }
}
