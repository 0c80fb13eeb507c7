//! `cgw.toml`: the same words as the flags, one table a stack.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::Declared;
use crate::address::{Stack, VpcId};

/// The longest file in bytes: a stack takes some hundred.
const LONGEST: u64 = 1 << 20;

/// What the file declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// Its `[[stack]]` tables.
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

impl StackTable {
    /// Reads `name` apart: unknown keys cannot be refused in a flattened struct.
    fn read(mut table: toml::Table) -> Result<Self, String> {
        let name = table.remove("name").ok_or("a [[stack]] has no name")?;
        let name: Stack = name.try_into().map_err(|error| one_line(&error))?;
        let declared = toml::Value::Table(table).try_into();
        let declared = declared.map_err(|error| format!("stack {name}: {}", one_line(&error)))?;
        Ok(Self { name, declared })
    }
}

/// Tells an error of the parser without the picture that it draws of the place.
fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', ", ")
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
        source: io::Error,
    },
    /// It is longer than any that declares stacks.
    #[error("{} has more than {LONGEST} bytes, and so declares no stacks", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is no TOML.
    #[error("{} cannot be read: line {line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// It says what it may not: unknown keys, wrong types, malformed values.
    #[error("{} cannot be used: {what}", path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
        /// In which table and why.
        what: String,
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
        let text = match text_of(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !must => {
                return Ok(Self::default());
            }
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Err(FileError::TooLong { path });
            }
            Err(source) => return Err(FileError::Read { path, source }),
        };
        Self::parse(&path, &text)
    }

    /// Reads what a file of this name says.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let path = path.to_owned();
        let mut table: toml::Table = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            FileError::Syntax { path: path.clone(), line, what: one_line(&error) }
        })?;
        let wrong = |what| FileError::Meaning { path: path.clone(), what };
        let stacks = table.remove("stack").unwrap_or_else(|| toml::Value::Array(Vec::new()));
        if let Some(key) = table.keys().next() {
            return Err(wrong(format!("unknown key {key:?}; a stack is declared by [[stack]]")));
        }
        let stacks: Vec<toml::Table> = stacks.try_into().map_err(|e| wrong(one_line(&e)))?;
        let stacks = stacks.into_iter().map(StackTable::read).collect::<Result<_, _>>();
        let file = Self { stacks: stacks.map_err(wrong)? };
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

/// Reads a file that may be any, such as a device without an end.
fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST { Err(ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Choice, Via};

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
        assert_eq!(declared.workload_ports, Some("22,443".parse().unwrap()));
        assert_eq!(declared.via, Some(Via::None));
        assert_eq!(
            declared.site_route_tables,
            Some(Choice::These(vec!["rtb-0a1b2c3d".parse().unwrap()]))
        );
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_with_the_reason() {
        for (text, reason) in [
            ("[[stack]]\nname = \"a\"\nvpcs = \"x\"", "stack a: unknown field `vpcs`"),
            ("[[stack]]\nname = \"a\"\nport = \"x\"", "stack a: invalid type"),
            ("[[stack]]\nname = \"a\"\nvpc = \"x\"", "is not a VPC's id"),
            ("[[stack]]\nname = \"a\"\nsite-cidr = \"10.0.0.1/8\"", "the network is 10.0.0.0/8"),
            ("[[stack]]\nname = \"a\"\nendpoint-url = \"x\"", "is not an endpoint"),
            ("[[stack]]\nname = \"A\"", "is not a stack's name"),
            ("[[stack]]\nvpc = \"vpc-0a1b2c3d\"", "has no name"),
            ("[stack]\nname = \"a\"", "invalid type: map, expected a sequence"),
            ("[stacks]\n", "unknown key \"stacks\""),
            ("\"a\\nb\" = 1", "unknown key \"a\\nb\""),
            ("\n\nx", "line 3: "),
        ] {
            let told = parse(text).unwrap_err().to_string();
            assert!(told.contains(reason), "{text}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
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
