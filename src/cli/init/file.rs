//! The text of `cgw.toml`: what is declared and why, and what else could be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::address::Stack;
use crate::spec::{Declared, SCHEMA_FILE};

/// What stands in the file for what is not said: its default, else an example.
const OTHERWISE: &[(&str, &str)] = &[
    ("vpc", "\"vpc-0a1b2c3d4e5f60001\""),
    ("region", "\"eu-west-1\""),
    ("profile", "\"network\""),
    ("cloud-cidr", "\"10.0.0.0/16\""),
    ("instance", "\"i-0a1b2c3d4e5f60002\""),
    ("launch", "\"t3.large\""),
    ("launch-subnet", "\"subnet-0a1b2c3d4e5f60007\""),
    ("key-pair", "\"office\""),
    ("site-region", "\"eu-central-1\""),
    ("site-profile", "\"site\""),
    ("gateway-ip", "\"203.0.113.10\""),
    ("private-ip", "\"192.168.10.5\""),
    ("eip", "\"eipalloc-0a1b2c3d4e5f60003\""),
    ("site-cidr", "\"192.168.10.0/24\""),
    ("route-tables", "[\"rtb-0a1b2c3d4e5f60004\"]"),
    ("site-route-tables", "\"all\""),
    ("subnet-cidr", "\"10.0.9.0/24\""),
    ("admin-cidr", "[\"198.51.100.0/24\"]"),
    ("workload-ports", "[22, 3389]"),
    ("crypto", "\"modern\""),
    ("ping", "\"10.0.1.10\""),
    ("minimal-roles", "false"),
    ("replace-rules", "false"),
    ("playbook", "\"playbook\""),
    ("via", "\"ssm\""),
    ("host", "\"gateway.example.com\""),
    ("port", "22"),
    ("user", "\"Administrator\""),
    ("host-key", "\"SHA256:tbw/hJZOwwUzqpglsHPZPjqlDs2DKFAHuEC272Fc/RA\""),
    ("winrm-fingerprint", "\"5f9c1a2e0b7d4c38a6f1e2d3c4b5a69788796a5b4c3d2e1f0a9b8c7d6e5f4031\""),
    ("winrm-ca", "\"ca.pem\""),
    ("identity", "\"office.pem\""),
    ("endpoint-url", "\"http://127.0.0.1:4566\""),
];

/// Returns a `[[stack]]` with what is declared, each key with what it is for and why it is so.
pub(super) fn table(
    name: &Stack,
    declared: &Declared,
    reasons: &BTreeMap<&'static str, String>,
) -> String {
    let mut text =
        "[[stack]]\n# The stack's name, which stands in the tags of all that it makes\n".to_owned();
    let mut line = |words: String| writeln!(text, "{words}").expect("a String takes all");
    line(format!("name = \"{name}\""));
    let values = toml::Table::try_from(declared).expect("each key has a form in TOML");
    for (flag, about) in Declared::ABOUT {
        let Some(value) = values.get(*flag) else { continue };
        line(String::new());
        line(format!("# {}", about.trim()));
        if let Some(because) = reasons.get(flag) {
            line(format!("# Here: {}", one_line(because)));
        }
        line(format!("{flag} = {value}"));
    }
    text
}

/// Returns the whole of a new file; what is not declared stands in it as a comment.
pub(super) fn whole(table: &str, declared: &Declared) -> String {
    let said = declared.flags();
    let mut text = format!(
        "#:schema ./{SCHEMA_FILE}\n\
         # Each [[stack]] is a VPN: `cgw plan` shows what it would be, `cgw up` makes it.\n\
         # A flag on the command line wins over what stands here.\n\n\
         {table}\n\
         # What else can be declared, each with its default or an example. It counts once the # before\n\
         # its name is taken away.\n"
    );
    for (flag, about) in Declared::ABOUT.iter().filter(|(flag, _)| !said.contains(flag)) {
        let value = OTHERWISE.iter().find(|(of, _)| of == flag).map_or("\"\"", |(_, value)| value);
        writeln!(text, "\n# {}\n#{flag} = {value}", about.trim()).expect("a String takes all");
    }
    text
}

/// Returns what a file says that gets one more stack.
pub(super) fn added(before: &str, table: &str) -> String {
    let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{end}\n{table}")
}

/// A comment ends with its line, and holds no control character (TOML 1.0, «Comment»).
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;
    use crate::spec::File;

    fn read(text: &str) -> Vec<(Stack, Declared)> {
        let file = File::parse(Path::new("cgw.toml"), text);
        let file = file.unwrap_or_else(|error| panic!("{error}:\n{text}"));
        file.stacks.into_iter().map(|table| (table.name, table.declared)).collect()
    }

    /// What is declared by some lines of the table above.
    fn declared(lines: &[(&str, &str)]) -> Declared {
        let lines: Vec<String> =
            lines.iter().map(|(flag, value)| format!("{flag} = {value}")).collect();
        toml::from_str(&lines.join("\n")).unwrap()
    }

    #[test]
    fn every_key_has_a_value_to_stand_there_where_it_is_not_said() {
        let keys: Vec<&str> = OTHERWISE.iter().map(|(flag, _)| *flag).collect();
        assert_eq!(keys, Declared::FLAGS);
        assert_eq!(declared(OTHERWISE).flags(), Declared::FLAGS);
    }

    #[test]
    fn what_stands_as_a_comment_can_be_put_in_force() {
        let name: Stack = "office".parse().unwrap();
        let text =
            whole(&table(&name, &Declared::default(), &BTreeMap::new()), &Declared::default());
        assert_eq!(text.lines().next(), Some("#:schema ./cgw.schema.json"));
        assert_eq!(read(&text), [(name.clone(), Declared::default())]);
        let is_key =
            |line: &str| OTHERWISE.iter().any(|(flag, _)| line.starts_with(&format!("#{flag} =")));
        let lines = text.lines().map(|line| if is_key(line) { &line[1..] } else { line });
        let in_force = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(read(&in_force), [(name, declared(OTHERWISE))]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was_declared(
            lines in subsequence(OTHERWISE, 0..OTHERWISE.len()),
            because in any::<String>(),
            user in proptest::option::of("[^\\p{Cc}]{0,20}"),
            tables in select(vec!["\"none\"", "\"all\"", "[]", "[\"rtb-0a1b2c3d\", \"rtb-0a1b2c3e\"]"]),
        ) {
            let mut declared = declared(&lines);
            declared.user = user;
            if declared.site_route_tables.is_some() {
                declared.site_route_tables = self::declared(&[("site-route-tables", tables)]).site_route_tables;
            }
            let reasons = declared.flags().into_iter().map(|flag| (flag, because.clone())).collect();
            let (one, other): (Stack, Stack) = ("one".parse().unwrap(), "other".parse().unwrap());
            let text = whole(&table(&one, &declared, &reasons), &declared);
            let two = added(&text, &table(&other, &declared, &reasons));
            prop_assert_eq!(read(&text), [(one.clone(), declared.clone())]);
            prop_assert_eq!(read(&two), [(one, declared.clone()), (other, declared)]);
        }
    }
}
