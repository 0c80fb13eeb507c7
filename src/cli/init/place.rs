//! Where the file lies: what is there already, and what is put there.

use std::path::Path;
use std::{fs, io};

use super::super::{Code, Stopped};
use super::Init;
use crate::address::Stack;
use crate::event::Events;
use crate::spec::{Declared, File, SCHEMA_FILE, SCHEMA_TITLE, StackTable, schema};
use crate::ui;

/// A file that is there already.
pub(super) struct Before {
    pub(super) text: String,
    pub(super) file: File,
}

/// Reads the file that a stack is added to; without `--add` one that is there is left alone.
pub(super) fn before(path: &Path, options: &Init) -> Result<Option<Before>, Stopped> {
    let is_there = fs::symlink_metadata(path).is_ok();
    match (is_there, options.add) {
        (false, _) => return Ok(None),
        (true, true) => {}
        (true, false) => {
            return Err(Stopped::refused(
                format!("{} is there already, and is not overwritten", path.display()),
                "add a stack to it with --add, or name another file with --config",
            ));
        }
    }
    let hint = "mend the file, or name another with --config";
    let file = File::read(path, true).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Stopped::refused(format!("{error}{}", cause.unwrap_or_default()), hint)
    })?;
    let text = fs::read_to_string(path).map_err(|error| unwritten(path, &error, hint))?;
    Ok(Some(Before { text, file }))
}

pub(super) fn unwritten(path: &Path, error: &io::Error, hint: &str) -> Stopped {
    Stopped::refused(format!("{} cannot be used: {error}", path.display()), hint)
}

/// INVARIANT: what is written declares what was settled.
pub(super) fn must_say_the_same(
    path: &Path,
    text: &str,
    stack: &Stack,
    declared: &Declared,
) -> Result<(), Stopped> {
    let hint = "add a [[stack]] by hand, or name another file with --config";
    let file = File::parse(path, text)
        .map_err(|error| Stopped::refused(format!("a stack cannot be added: {error}"), hint))?;
    let is_there = |table: &StackTable| &table.name == stack && &table.declared == declared;
    if file.stacks.iter().any(is_there) {
        return Ok(());
    }
    Err(Stopped::refused(format!("{} cannot declare the stack {stack}", path.display()), hint))
}

/// Writes a file that is not there yet; one that is there only grows.
pub(super) fn write(path: &Path, text: &str, is_there: bool) -> io::Result<()> {
    if !is_there {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        return io::Write::write_all(&mut file, text.as_bytes());
    }
    let length = usize::try_from(fs::metadata(path)?.len()).unwrap_or(usize::MAX);
    let more = text.get(length..).ok_or(io::ErrorKind::InvalidData)?;
    let mut file = fs::OpenOptions::new().append(true).open(path)?;
    io::Write::write_all(&mut file, more.as_bytes())
}

/// Puts the schema beside the file; one that is somebody else's is left.
pub(super) fn write_schema(path: &Path, events: &Events) -> Result<(), Stopped> {
    let beside = path.with_file_name(SCHEMA_FILE);
    let text = ui::json_value(&schema());
    match fs::read_to_string(&beside) {
        Ok(before) if before == text => return Ok(()),
        Ok(before) if !before.contains(&format!("\"title\": \"{SCHEMA_TITLE}\"")) => {
            events.warn(format!(
                "{} is not cgw's, and is left as it is: editors will not know the file's keys",
                beside.display()
            ));
            return Ok(());
        }
        Ok(_) | Err(_) => {}
    }
    fs::write(&beside, text).map_err(|error| {
        let stopped = unwritten(&beside, &error, "`cgw schema` prints it");
        Stopped { code: Code::Failed, ..stopped }
    })
}
