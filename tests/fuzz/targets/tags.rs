//! The tags of a stack's record and of other people's objects: what is read of them can be written
//! again, in tags that AWS takes.

#![no_main]

use std::collections::BTreeMap;

use cgw::address::Stack;
use cgw::aws::Tags;
use cgw::spec::Declared;
use cgw_fuzz::is_one_saying;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let tags = read(text);
    let declared = Declared::from_tags(&tags);
    let written = declared.to_tags();
    assert_eq!(Declared::from_tags(&written), declared);
    for (key, value) in &written {
        assert!(key.len() <= 128 && value.encode_utf16().count() <= 256, "{key}={value}");
    }
    let is_printable = written.values().all(|value| !value.contains(char::is_control));
    assert_eq!(declared.unprintable().is_empty(), is_printable);

    let stack: Stack = "office".parse().unwrap();
    let tags = Tags(tags);
    for (what, value) in tags.announced(&stack) {
        assert_eq!(tags.announcement(&stack, what), Some(value));
        is_one_saying(value);
    }
    assert_eq!(tags.belongs_to(&stack), tags.stack() == Some("office"));
    if let Some(key) = tags.node_key(&stack, "route") {
        assert!(tags.belongs_to(&stack));
        is_one_saying(key);
    }
    tags.announcers().for_each(is_one_saying);
});

/// Each line is a tag: `key=value`, where a vertical bar stands for a line feed, and a key without
/// a colon for one of what is declared.
fn read(text: &str) -> BTreeMap<String, String> {
    let tag = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let of_record = format!("cgw:declared:{key}");
        let key = if key.starts_with("cgw:") { key.to_owned() } else { of_record };
        Some((key, value.replace('|', "\n")))
    };
    text.split('\n').filter_map(tag).collect()
}
