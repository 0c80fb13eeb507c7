//! A host proves that it is the right one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use cgw::transport::Error;
use cgw::transport::ssh::{HostKeys, Ssh, Tell};

use super::greet;
use crate::sshd::{Setup, Sshd};

fn accept_new(file: PathBuf) -> (HostKeys, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let tell = Tell::new(move |fingerprint| hears.lock().unwrap().push(fingerprint.to_owned()));
    (HostKeys::AcceptNew { file, tell }, told)
}

#[tokio::test]
async fn an_unknown_host_is_refused_with_its_fingerprint() {
    let sshd = Sshd::start();
    let file = sshd.path("absent");
    let ssh = Ssh { host_keys: HostKeys::KnownHosts(file.clone()), ..sshd.ssh() };
    let Err(Error::HostKeyUnknown { fingerprint, kind, .. }) = greet(&ssh).await else {
        panic!("accepted");
    };
    let host_key = kind.trim_start_matches("ssh-");
    assert_eq!(fingerprint, sshd.fingerprint(host_key));
    assert!(!file.exists(), "a host that was refused is not recorded");
}

#[tokio::test]
async fn a_new_host_is_recorded_said_aloud_and_known_from_then_on() {
    let sshd = Sshd::start();
    let file = sshd.path("new/known_hosts");
    let (host_keys, told) = accept_new(file.clone());
    let ssh = Ssh { host_keys, ..sshd.ssh() };
    for _ in 0..2 {
        assert_eq!(greet(&ssh).await.unwrap().code, 0);
    }
    let told = told.lock().unwrap().clone();
    assert!(told == [sshd.fingerprint("ed25519")] || told == [sshd.fingerprint("rsa")], "{told:?}");
    let ssh = Ssh { host_keys: HostKeys::KnownHosts(file.clone()), ..sshd.ssh() };
    assert_eq!(greet(&ssh).await.unwrap().code, 0);
    // OpenSSH finds the host in the file too.
    let name = format!("[127.0.0.1]:{}", sshd.port());
    let found = Command::new("ssh-keygen").args(["-F", &name, "-f"]).arg(&file).output().unwrap();
    assert!(found.status.success());
}

#[tokio::test]
async fn a_host_whose_key_has_changed_is_refused_even_where_new_hosts_are_accepted() {
    let sshd = Sshd::start();
    sshd.stranger("other_host", &["-t", "ed25519"]);
    let file = sshd.known_hosts("other_host");
    let before = fs::read(&file).unwrap();
    let (host_keys, told) = accept_new(file.clone());
    for host_keys in [host_keys, HostKeys::KnownHosts(file.clone())] {
        let Err(Error::HostKeyChanged { fingerprint, expected, .. }) =
            greet(&Ssh { host_keys, ..sshd.ssh() }).await
        else {
            panic!("accepted");
        };
        assert_eq!(fingerprint, sshd.fingerprint("ed25519"));
        assert_eq!(expected, format!("the key in {} line 1", file.display()));
    }
    assert!(told.lock().unwrap().is_empty());
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_host_is_known_by_whichever_of_its_keys_is_recorded_hashed_or_not() {
    let sshd = Sshd::start();
    for key in ["host_ed25519", "host_rsa"] {
        let file = sshd.known_hosts(key);
        let ssh = Ssh { host_keys: HostKeys::KnownHosts(file.clone()), ..sshd.ssh() };
        assert_eq!(greet(&ssh).await.unwrap().code, 0, "{key}");
        let hash = Command::new("ssh-keygen").arg("-Hf").arg(&file).output().unwrap();
        assert!(hash.status.success());
        assert!(fs::read_to_string(&file).unwrap().starts_with("|1|"));
        assert_eq!(greet(&ssh).await.unwrap().code, 0, "{key}, hashed");
    }
}

#[tokio::test]
async fn a_pinned_host_key_must_be_the_right_one() {
    let sshd = Sshd::start();
    let right = sshd.fingerprint("ed25519");
    let only_ed25519 =
        Sshd::with(&Setup { config: vec!["HostKeyAlgorithms ssh-ed25519"], ..Setup::default() });
    let pinned = |pin: String| Ssh { host_keys: HostKeys::Pinned(pin), ..only_ed25519.ssh() };
    let own = only_ed25519.fingerprint("ed25519");
    assert_eq!(greet(&pinned(own.clone())).await.unwrap().code, 0);
    let Err(Error::HostKeyChanged { fingerprint, expected, .. }) =
        greet(&pinned(right.clone())).await
    else {
        panic!("accepted");
    };
    assert_eq!((fingerprint, expected), (own, format!("the pinned {right}")));
}
