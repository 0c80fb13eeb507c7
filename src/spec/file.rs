//! `cgw.toml`: the same words as the flags, one table a stack.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Declared;
use crate::address::{Stack, VpcId};

/// What the file declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its `[[stack]]` tables.
    #[serde(default, rename = "stack")]
    pub stacks: Vec<StackTable>,
}

/// One `[[stack]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackTable {
    /// Its name.
    pub name: Stack,
    /// What it declares.
    pub declared: Declared,
}

impl<'de> Deserialize<'de> for StackTable {
    /// Reads `name` apart: unknown keys cannot be refused in a flattened struct.
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut table = toml::Table::deserialize(from)?;
        let name = table.remove("name").ok_or_else(|| D::Error::missing_field("name"))?;
        let name = name.try_into().map_err(D::Error::custom)?;
        let declared = toml::Value::Table(table).try_into().map_err(D::Error::custom)?;
        Ok(Self { name, declared })
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says what it may not: unknown keys, wrong types, malformed values.
    #[error("{} cannot be used", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Two of its tables have one name.
    #[error("{} declares the stack {name} twice", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The name.
        name: Stack,
    },
}

impl File {
    /// Reads the file; one that does not exist declares nothing, unless it `must` exist.
    pub fn read(path: &Path, must: bool) -> Result<Self, FileError> {
        let path = path.to_owned();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must => {
                return Ok(Self::default());
            }
            Err(source) => return Err(FileError::Read { path, source }),
        };
        Self::parse(&path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let path = path.to_owned();
        let file: Self = match toml::from_str(text) {
            Ok(file) => file,
            Err(source) => {
                return Err(FileError::Parse { path, source: Box::new(source) });
            }
        };
        let mut names: Vec<&Stack> = file.stacks.iter().map(|stack| &stack.name).collect();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(FileError::Twice { path, name: pair[0].clone() }),
            None => Ok(file),
        }
    }

    /// Returns the table that is meant: the one of that name; without a name the only one that can
    /// be about that VPC.
    ///
    /// Several that could be meant are an error: their names.
    pub fn table(
        &self,
        name: Option<&Stack>,
        vpc: Option<&VpcId>,
    ) -> Result<Option<&StackTable>, Vec<&Stack>> {
        if name.is_some() {
            return Ok(self.stacks.iter().find(|table| Some(&table.name) == name));
        }
        let is_about = |table: &&StackTable| match (&table.declared.vpc, vpc) {
            (Some(own), Some(asked)) => own == asked,
            (None, _) | (_, None) => true,
        };
        let meant: Vec<&StackTable> = self.stacks.iter().filter(is_about).collect();
        match meant.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            several => Err(several.iter().map(|table| &table.name).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Choice, List, Via};

    fn parse(text: &str) -> Result<File, FileError> {
        File::parse(Path::new("cgw.toml"), text)
    }

    #[test]
    fn the_file_says_what_the_flags_say() {
        let file = parse(
            "[[stack]]\nname = \"office\"\nvpc = \"vpc-0a1b2c3d\"\nworkload-ports = [22, 443]\n\
             site-route-tables = [\"rtb-0a1b2c3d\"]\nvia = \"none\"\nport = 2222\n",
        )
        .unwrap();
        let declared = &file.table(None, None).unwrap().unwrap().declared;
        assert_eq!(declared.workload_ports, Some(List(vec![22, 443])));
        assert_eq!(declared.via, Some(Via::None));
        assert_eq!(
            declared.site_route_tables,
            Some(Choice::These(vec!["rtb-0a1b2c3d".parse().unwrap()]))
        );
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_with_the_reason() {
        use std::error::Error;
        for (text, reason) in [
            ("[[stack]]\nname = \"a\"\nvpcs = \"x\"", "unknown field `vpcs`"),
            ("[[stack]]\nname = \"a\"\nport = \"x\"", "invalid type"),
            ("[[stack]]\nname = \"a\"\nvpc = \"x\"", "is not a VPC's id"),
            ("[[stack]]\nvpc = \"vpc-0a1b2c3d\"", "missing field `name`"),
            ("[stacks]\n", "unknown field `stacks`"),
            ("x", "expected"),
        ] {
            let error = parse(text).unwrap_err();
            let source = error.source().unwrap().to_string();
            assert!(source.contains(reason), "{text}: {source}");
        }
        let twice = parse("[[stack]]\nname = \"a\"\n[[stack]]\nname = \"a\"\n").unwrap_err();
        assert!(twice.to_string().contains("declares the stack a twice"), "{twice}");
    }

    #[test]
    fn without_a_name_only_a_single_stack_is_meant() {
        let two = parse("[[stack]]\nname = \"a\"\n[[stack]]\nname = \"b\"\n").unwrap();
        assert_eq!(two.table(None, None).unwrap_err().len(), 2);
        let named = two.table(Some(&"b".parse().unwrap()), None).unwrap();
        assert_eq!(named.unwrap().name.as_str(), "b");
    }

    #[test]
    fn a_table_about_another_vpc_is_not_meant() {
        let file = parse(
            "[[stack]]\nname = \"a\"\nvpc = \"vpc-0a1b2c3d\"\n\
             [[stack]]\nname = \"b\"\nvpc = \"vpc-0a1b2c3e\"\n",
        )
        .unwrap();
        let meant = |vpc: &str| file.table(None, Some(&vpc.parse().unwrap())).unwrap();
        assert_eq!(meant("vpc-0a1b2c3e").unwrap().name.as_str(), "b");
        assert_eq!(meant("vpc-0a1b2c3f"), None);
    }
}
