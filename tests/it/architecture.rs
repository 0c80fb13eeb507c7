//! What depends on what: the table of rooms, and the few calls that only one place may make.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// Each module and what it may use; a row uses only rows above it.
const ROOMS: &[(&str, &[&str])] = &[
    ("address", &[]),
    ("secret", &[]),
    ("xml", &[]),
    ("event", &["address"]),
    ("time", &[]),
    ("interrupt", &["time"]),
    ("graph", &[]),
    ("diff", &["address"]),
    ("tunnel", &["secret", "xml"]),
    ("aws", &["address", "event", "interrupt", "secret", "time"]),
    ("world", &["address", "aws", "secret", "tunnel"]),
    ("playbook", &["address", "secret", "tunnel"]),
    // SSM's calls are AWS's: their errors, rates and permissions stand in the tables of `aws`.
    ("transport", &["address", "aws", "event", "secret", "time", "xml"]),
    ("server", &["address", "event", "interrupt", "playbook", "time", "transport"]),
    ("spec", &["address", "tunnel"]),
    ("preflight", &["address", "aws", "playbook", "spec", "tunnel", "world"]),
    (
        "resource",
        &["address", "aws", "diff", "event", "playbook", "secret", "server", "tunnel", "world"],
    ),
    (
        "topology",
        &["address", "aws", "playbook", "preflight", "resource", "spec", "tunnel", "world"],
    ),
    ("lease", &["address", "aws", "event", "interrupt", "time"]),
    ("plan", &["address", "aws", "diff", "event", "resource", "server", "topology", "world"]),
    (
        "engine",
        &[
            "address",
            "aws",
            "diff",
            "event",
            "graph",
            "interrupt",
            "plan",
            "resource",
            "time",
            "world",
        ],
    ),
    ("check", &["playbook", "server", "tunnel"]),
    (
        "render",
        &[
            "address",
            "aws",
            "plan",
            "playbook",
            "preflight",
            "resource",
            "topology",
            "tunnel",
            "world",
        ],
    ),
    ("sandbox", &["address", "playbook", "time", "transport"]),
    ("ui", &["address", "event", "plan", "render", "time"]),
    ("cli", &["*"]),
];

/// A path that only some files may have in them, and which.
const ONLY: &[(&str, &[&str])] = &[
    ("ssh2", &["transport/ssh.rs", "transport/ssh/"]),
    ("hyper", &["transport/winrm/session.rs", "sandbox/serve.rs"]),
    ("tokio_rustls", &["transport/winrm/session.rs", "transport/winrm/trust.rs"]),
    ("sspi", &["transport/winrm/ntlm.rs"]),
    ("indicatif", &["ui/bars.rs", "ui/live.rs"]),
    ("schemars", &["spec/"]),
    ("dialoguer", &["ui/mod.rs"]),
    ("openssl", &["aws/password.rs", "transport/ssm/seal.rs"]),
    ("rand", &["resource/dice.rs", "sandbox/"]),
    ("Writer::new", &["plan.rs"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// Collects every path in a file, but for those in its tests, as `a::b::c`.
#[derive(Default)]
struct Paths(BTreeSet<String>);

impl Paths {
    fn of(file: &Path) -> Self {
        let mut paths = Self::default();
        paths.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
        paths
    }

    fn used(&mut self, before: &str, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.used(&format!("{before}{}::", path.ident), &path.tree),
            syn::UseTree::Name(name) => {
                self.0.insert(format!("{before}{}", name.ident));
            }
            syn::UseTree::Rename(name) => {
                self.0.insert(format!("{before}{}", name.ident));
            }
            syn::UseTree::Glob(_) => {
                self.0.insert(format!("{before}*"));
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.used(before, item));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.used("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.0.insert(words.join("::"));
        syn::visit::visit_path(self, path);
    }
}

/// Each file under `src/`, by its path from there, with the paths in it.
fn files() -> BTreeMap<String, BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let name = |path: &PathBuf| path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    sources(&src).iter().map(|path| (name(path), Paths::of(path).0)).collect()
}

#[test]
fn a_module_uses_only_what_the_table_allows() {
    let order: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    for (n, (room, may)) in ROOMS.iter().enumerate() {
        let below = may.iter().find(|used| **used != "*" && !order[..n].contains(used));
        assert_eq!(below, None, "{room} may use what is not above it");
    }
    let mut seen = BTreeSet::new();
    for (file, paths) in files() {
        let room = file.split(['/', '.']).next().unwrap();
        if matches!(room, "main" | "lib") {
            continue;
        }
        let (_, may) = ROOMS.iter().find(|(name, _)| *name == room).expect("the table has it");
        for path in &paths {
            let Some(used) = path.strip_prefix("crate::").and_then(|p| p.split("::").next()) else {
                continue;
            };
            seen.insert((room.to_owned(), used.to_owned()));
            let allowed = used == room || may.contains(&used) || may.contains(&"*");
            assert!(allowed, "{file} uses {path}");
        }
    }
    for (room, may) in ROOMS {
        for used in may.iter().filter(|used| **used != "*") {
            let arrow = ((*room).to_owned(), (*used).to_owned());
            let is_known = seen.contains(&arrow);
            assert!(is_known || *room == "transport", "{room} does not use {used} any more");
        }
    }
}

#[test]
fn the_library_lists_its_modules_in_the_tables_order() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let listed = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let rooms = ROOMS.iter().map(|(room, _)| *room);
    assert_eq!(listed.collect::<Vec<_>>(), rooms.collect::<Vec<_>>());
}

#[test]
fn what_only_one_place_may_do_is_done_nowhere_else() {
    let files = files();
    for (what, places) in ONLY {
        let mut found = 0;
        for (file, paths) in &files {
            let has = paths.iter().any(|path| {
                let is_call = what.contains("::");
                path == what
                    || path.starts_with(&format!("{what}::"))
                    || (is_call && path.ends_with(&format!("::{what}")))
            });
            if has {
                found += 1;
                let is_there = places.iter().any(|place| file.starts_with(place));
                assert!(is_there, "{file} uses {what}");
            }
        }
        assert!(found > 0, "{what} is found nowhere: the rule checks nothing");
    }
}
