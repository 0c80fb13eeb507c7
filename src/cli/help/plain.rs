//! Lays Markdown out for a terminal: lines of a width, tables as lists, no fences, no addresses.

use std::fmt::Write as _;

/// How wide the text is at most: what every terminal shows, and what is easily read.
const WIDTH: usize = 80;

/// What the lines before belong to.
enum Open {
    Nothing,
    /// A paragraph or an item of a list: the indent of its first line and of the others, its words.
    Paragraph(String, usize, String),
    /// A block that is shown as it is.
    Block,
    /// A table, with the heads of its columns.
    Table(Vec<String>),
}

/// Returns the text of a topic as a terminal should show it.
pub(super) fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut open = Open::Nothing;
    for line in markdown.lines() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        open = match (open, bare) {
            (Open::Block, _) if bare.starts_with("```") => Open::Nothing,
            (Open::Block, _) => {
                let line = if bare.is_empty() { String::new() } else { format!("    {line}") };
                writeln!(text, "{line}").expect("a String takes all");
                Open::Block
            }
            (before, _) if bare.starts_with("```") => {
                end(&mut text, before);
                Open::Block
            }
            (before, "") => {
                end(&mut text, before);
                text.push('\n');
                Open::Nothing
            }
            (Open::Table(heads), _) => {
                if !bare.starts_with("| ---") {
                    row(&mut text, &heads, &cells(bare));
                }
                Open::Table(heads)
            }
            (before, _) if bare.starts_with("| ") => {
                end(&mut text, before);
                Open::Table(cells(bare))
            }
            (before, _) if bare.starts_with('#') => {
                end(&mut text, before);
                writeln!(text, "{line}").expect("a String takes all");
                Open::Nothing
            }
            (before, _) if mark(bare) > 0 => {
                end(&mut text, before);
                let mark = mark(bare);
                let first = format!("{}{}", &line[..indent], &bare[..mark]);
                Open::Paragraph(first, indent + mark, bare[mark..].to_owned())
            }
            (Open::Paragraph(first, others, words), _) => {
                Open::Paragraph(first, others, format!("{words} {bare}"))
            }
            (Open::Nothing, _) => {
                Open::Paragraph(line[..indent].to_owned(), indent, bare.to_owned())
            }
        };
    }
    end(&mut text, open);
    text
}

/// The length of what marks an item of a list: `- `, `1. `.
fn mark(line: &str) -> usize {
    let number = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match &line[number..] {
        rest if number == 0 && rest.starts_with("- ") => 2,
        rest if number > 0 && rest.starts_with(". ") => number + 2,
        _ => 0,
    }
}

fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|');
    row.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// A row: its first cell, and beneath it the others, after the second one with the heads of their
/// columns.
fn row(text: &mut String, heads: &[String], cells: &[String]) {
    let Some((first, others)) = cells.split_first() else { return };
    wrap(text, "  ", 4, first);
    let others =
        others.iter().zip(&heads[1..]).enumerate().filter(|(_, (cell, _))| !cell.is_empty());
    let others = others.map(|(n, (cell, head))| {
        if n == 0 || head.is_empty() { cell.clone() } else { format!("({head}: {cell})") }
    });
    wrap(text, "      ", 6, &others.collect::<Vec<_>>().join(" "));
}

/// Writes what was open to its end.
fn end(text: &mut String, open: Open) {
    match open {
        Open::Paragraph(first, others, words) => wrap(text, &first, others, &words),
        Open::Nothing | Open::Block | Open::Table(_) => {}
    }
}

/// Writes words in lines, the first after `first`, the others set in.
fn wrap(text: &mut String, first: &str, others: usize, words: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in without_addresses(words).split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(text, "{line}").expect("a String takes all");
            line = " ".repeat(others);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    if !is_empty {
        writeln!(text, "{line}").expect("a String takes all");
    }
}

/// Takes where a link leads away: nobody can follow it here.
fn without_addresses(words: &str) -> String {
    let mut parts = words.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some(open) = text.rfind('[') {
            text.remove(open);
        }
        text.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_laid_out_for_a_terminal() {
        let markdown = "# Title\n\nSee [the other](other.md), which\nis longer.\n\n- an item\n  of two \
                        lines\n10. ten\n\n```sh\ncgw up\n```\n\n| flag | purpose | default | |\n\
                        | --- | --- | --- | --- |\n| `--vpc` | the VPC | | ● |\n| `--via` | the way | ssm | |\n";
        let shown = "# Title\n\nSee the other, which is longer.\n\n- an item of two lines\n10. ten\n\n    \
                     cgw up\n\n  `--vpc`\n      the VPC ●\n  `--via`\n      the way (default: ssm)\n";
        assert_eq!(plain(markdown), shown);
    }

    #[test]
    fn no_line_is_wider_than_it_must_be_and_no_word_is_lost() {
        let words = "word ".repeat(60);
        let item = format!("- {words}");
        let shown = plain(&item);
        assert!(shown.lines().all(|line| line.len() <= WIDTH), "{shown}");
        assert!(shown.lines().skip(1).all(|line| line.starts_with("  word")), "{shown}");
        assert_eq!(shown.matches("word").count(), 60);
    }
}
