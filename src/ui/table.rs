//! Tells rows in columns.

use comfy_table::{Table, presets};

/// Returns rows whose columns stand one below the other, without lines between them.
#[must_use]
pub fn tell<const COLUMNS: usize>(rows: impl IntoIterator<Item = [String; COLUMNS]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_rows(rows);
    let lines = table.to_string();
    lines.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}
