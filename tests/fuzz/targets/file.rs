//! `cgw.toml`: what it declares is the same once written and read again, and in the record's tags.

#![no_main]

use std::path::Path;

use cgw::spec::{Declared, File, StackTable};
use cgw_fuzz::is_one_saying;
use libfuzzer_sys::fuzz_target;

/// What stays on the machine that says it.
const NOT_RECORDED: &[&str] =
    &["region", "profile", "site-profile", "winrm-ca", "identity", "endpoint-url"];

fuzz_target!(|text: &str| {
    match File::parse(Path::new("cgw.toml"), text) {
        Ok(file) => {
            let again = File::parse(Path::new("cgw.toml"), &written(&file.stacks));
            assert_eq!(again.unwrap(), file);
            for StackTable { declared, .. } in file.stacks {
                let recorded = Declared::from_tags(&declared.to_tags());
                assert_eq!(recorded, declared.without(NOT_RECORDED));
            }
        }
        Err(error) => {
            let said = error.to_string();
            is_one_saying(&said);
            assert_eq!(said.lines().count(), 1, "{said:?}");
        }
    }
});

fn written(stacks: &[StackTable]) -> String {
    let table = |StackTable { name, declared }: &StackTable| {
        format!("[[stack]]\nname = \"{name}\"\n{}", toml::to_string(declared).unwrap())
    };
    stacks.iter().map(table).collect()
}
