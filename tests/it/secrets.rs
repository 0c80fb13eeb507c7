//! Keys are nowhere but in the files that are meant for them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::cloud::Cloud;
use crate::push::Windows;

/// Everything that any process has on its command line while it lasts.
fn command_lines(stop: &AtomicBool) -> String {
    let mut all = String::new();
    while !stop.load(Ordering::SeqCst) {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if !all.contains(&line) {
                all.push_str(&line);
                all.push('\n');
            }
        }
    }
    all
}

/// A text as it could stand in others: as it is, and in base64 wherever it begins there, in the two
/// encodings that Windows knows.
fn forms(text: &str) -> Vec<String> {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut forms = vec![text.to_owned()];
    for bytes in [text.as_bytes(), &wide] {
        for before in 0..3 {
            let mut shifted = vec![0; before];
            shifted.extend(bytes);
            // What is beside the text tells in the characters at both ends.
            let encoded = BASE64.encode(&shifted);
            forms.push(encoded[4..encoded.len() - 4].to_owned());
        }
    }
    forms
}

#[test]
fn keys_are_nowhere_but_in_the_files_meant_for_them() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let stop = stop.clone();
        std::thread::spawn(move || command_lines(&stop))
    };
    let mut said = String::new();
    let mut keep = |run: crate::cloud::Run| {
        said.push_str(&run.out);
        said.push_str(&run.err);
    };
    // A push that fails at the rules, then one that does not.
    windows.faults(&serde_json::json!({ "fail": "netsh -f", "once": true }));
    keep(windows.up(&cloud, &["--json", "--log", "trace"]));
    keep(windows.up(&cloud, &["--log", "trace"]).ok());
    let stack = cloud.id("cloud_vpc");
    for arguments in [
        &["status", "--stack", &stack, "--log", "trace"][..],
        &["status", "--stack", &stack, "--json"],
        &["plan", "--stack", &stack, "--crypto", "guide", "--json", "--log", "debug"],
        &["scripts", "out", "--stack", &stack, "--log", "trace"],
        &["down", "--stack", &stack, "--dry-run", "--json"],
        &["up", "--yes", "--stack", &stack, "--json", "--log", "trace"],
    ] {
        keep(cloud.cgw(arguments).ok());
    }
    stop.store(true, Ordering::SeqCst);
    said.push_str(&watcher.join().unwrap());
    said.push_str(&cloud.dump());
    let server = windows.server();
    let keys: Vec<&str> =
        (0..2).map(|n| server["rules"][n]["auth1psk"].as_str().unwrap()).collect();
    assert_ne!(keys[0], keys[1]);
    assert!(said.contains("stack-record"), "something was said");
    for key in &keys {
        assert!(key.len() >= 32);
        for form in forms(key) {
            assert!(!said.contains(&form), "a key was said, as {form}");
        }
    }
    let shown = cloud.cgw(&["status", "--stack", &stack, "--show-secrets"]).ok();
    assert!(shown.out.contains(keys[0]));
    // The files meant for them: for their owner only.
    let folder = cloud.home.path().join("out");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let mut holding = Vec::new();
    for entry in fs::read_dir(&folder).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let name = entry.file_name().into_string().unwrap();
        if fs::read_to_string(entry.path()).unwrap().contains(keys[0]) {
            holding.push(name);
        }
    }
    holding.sort();
    let meant = ["aws-configuration.xml", "aws-windows-sample.txt", "keys.txt"];
    assert!(meant.iter().all(|name| holding.iter().any(|h| h == name)), "{holding:?}");
    assert!(!holding.iter().any(|name| name == "parameters.json"), "{holding:?}");
    assert_eq!(holding.iter().filter(|name| name.starts_with("tunnel-")).count(), 1, "{holding:?}");
}
