//! What the fuzz targets have in common.

/// Fails if a text that is printed would do anything to a terminal but show itself.
pub fn is_harmless(printed: &str) {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    assert!(!printed.contains(obeyed), "{printed:?}");
}

/// Fails if what one sentence says could be taken for another one.
pub fn is_one_saying(words: &str) {
    let said = cgw::ui::saying(words);
    is_harmless(&said);
    assert!(said.lines().skip(1).all(|line| line.starts_with("    ")), "{said:?}");
}

/// Cuts an input in two at a place that it names itself: its first two bytes.
#[must_use]
pub fn halves(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (at, rest) = input.split_first_chunk::<2>()?;
    let at = usize::from(u16::from_le_bytes(*at));
    Some(rest.split_at(at.min(rest.len())))
}
