//! Every way to log in.

use std::fs;
use std::path::Path;

use cgw::secret::Secret;
use cgw::transport::ssh::{Auth, Ssh};
use cgw::transport::{Error, Exit};

use super::greet;
use crate::sshd::{Agent, Setup, Sshd, SystemUser};

fn key(path: &Path, passphrase: Option<&str>) -> Vec<Auth> {
    let path = path.to_path_buf();
    vec![Auth::Key { path, passphrase: passphrase.map(Secret::new) }]
}

#[tokio::test]
async fn a_key_that_is_not_let_in_is_refused_with_what_was_tried() {
    let sshd = Sshd::start();
    let stranger = sshd.stranger("stranger", &["-t", "ed25519"]);
    let ssh = Ssh { auth: key(&stranger, None), ..sshd.ssh() };
    let Err(Error::LoginRefused { tried, offered, .. }) = greet(&ssh).await else {
        panic!("accepted");
    };
    assert_eq!(tried, [format!("key {}", stranger.display())]);
    assert_eq!(offered, "publickey");
}

#[tokio::test]
async fn ways_to_log_in_are_tried_until_one_is_accepted() {
    let sshd = Sshd::start();
    let stranger = sshd.stranger("stranger", &["-t", "ed25519"]);
    let mut auth = key(&sshd.path("absent"), None);
    auth.extend(key(&stranger, None));
    auth.push(Auth::Agent(Some(sshd.path("no_agent"))));
    auth.extend(key(&sshd.key(), None));
    assert_eq!(greet(&Ssh { auth, ..sshd.ssh() }).await.unwrap().code, 0);
}

#[tokio::test]
async fn an_encrypted_key_needs_its_own_passphrase() {
    let sshd = Sshd::start();
    let own = sshd.another_key("own", &["-t", "ed25519", "-N", "open sesame"]);
    let pem = ["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "open sesame"];
    let pem = sshd.another_key("pem", &pem);
    for file in [own, pem] {
        let with = |passphrase| Ssh { auth: key(&file, passphrase), ..sshd.ssh() };
        assert_eq!(greet(&with(Some("open sesame"))).await.unwrap().code, 0);
        let wrong = greet(&with(Some("hunter2"))).await.unwrap_err();
        assert!(matches!(&wrong, Error::PassphraseWrong { file: at } if *at == file), "{wrong:?}");
        let missing = greet(&with(None)).await.unwrap_err();
        assert!(matches!(missing, Error::PassphraseMissing { .. }), "{missing:?}");
        assert!(!format!("{wrong} {wrong:?} {:?}", with(Some("hunter2"))).contains("hunter2"));
    }
}

#[tokio::test]
async fn keys_of_every_usual_form_are_let_in() {
    let sshd = Sshd::start();
    let forms = [
        ("pkcs1", &["-t", "rsa", "-b", "2048", "-m", "PEM"][..], "BEGIN RSA PRIVATE KEY"),
        ("pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"], "BEGIN PRIVATE KEY"),
        ("rsa", &["-t", "rsa", "-b", "2048"], "BEGIN OPENSSH PRIVATE KEY"),
        ("ecdsa", &["-t", "ecdsa"], "BEGIN OPENSSH PRIVATE KEY"),
    ];
    for (name, options, head) in forms {
        let file = sshd.another_key(name, options);
        assert!(fs::read_to_string(&file).unwrap().contains(head));
        let ssh = Ssh { auth: key(&file, None), ..sshd.ssh() };
        assert_eq!(greet(&ssh).await.unwrap().code, 0, "{name}");
    }
}

#[tokio::test]
async fn a_file_that_is_absent_or_no_private_key_is_named() {
    let sshd = Sshd::start();
    let absent = sshd.path("absent");
    let error = greet(&Ssh { auth: key(&absent, None), ..sshd.ssh() }).await.unwrap_err();
    assert!(matches!(&error, Error::ReadKey { file, .. } if *file == absent), "{error:?}");
    let public = sshd.path("id.pub");
    let error = greet(&Ssh { auth: key(&public, None), ..sshd.ssh() }).await.unwrap_err();
    assert!(matches!(&error, Error::KeyUnusable { file, .. } if *file == public), "{error:?}");
}

#[tokio::test]
async fn an_agent_logs_in_with_its_key() {
    let sshd = Sshd::start();
    let agent = Agent::start(&sshd, &sshd.key());
    let ssh = Ssh { auth: vec![Auth::Agent(Some(agent.socket.clone()))], ..sshd.ssh() };
    assert_eq!(greet(&ssh).await.unwrap().code, 0);
}

#[tokio::test]
async fn an_agent_without_a_key_that_is_let_in_is_refused() {
    let sshd = Sshd::start();
    let agent = Agent::start(&sshd, &sshd.stranger("stranger", &["-t", "ed25519"]));
    let ssh = Ssh { auth: vec![Auth::Agent(Some(agent.socket.clone()))], ..sshd.ssh() };
    let Err(Error::LoginRefused { tried, .. }) = greet(&ssh).await else { panic!("accepted") };
    assert_eq!(tried, ["agent (1 keys)"]);
}

/// What only root can try; `tests/run` does so with `cargo test --test it -- --ignored needs_root`.
mod needs_root {
    use super::*;

    async fn logs_in(config: Vec<&'static str>, password: &str) -> Result<Exit, Error> {
        let user = SystemUser::with_password("right password");
        let sshd = Sshd::with(&Setup { config, ..Setup::default() });
        let auth = vec![Auth::Password(Secret::new(password))];
        greet(&Ssh { user: user.name.clone(), auth, ..sshd.ssh() }).await
    }

    #[tokio::test]
    #[ignore = "makes a system user"]
    async fn a_password_logs_in() {
        let config = vec!["PasswordAuthentication yes"];
        assert_eq!(logs_in(config, "right password").await.unwrap().code, 0);
    }

    #[tokio::test]
    #[ignore = "makes a system user"]
    async fn a_password_answers_a_keyboard_interactive_question() {
        let config = vec!["UsePAM yes", "KbdInteractiveAuthentication yes"];
        assert_eq!(logs_in(config, "right password").await.unwrap().code, 0);
    }

    #[tokio::test]
    #[ignore = "makes a system user"]
    async fn a_wrong_password_is_refused_and_shown_nowhere() {
        let config = vec!["PasswordAuthentication yes"];
        let error = logs_in(config, "hunter2").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        let Error::LoginRefused { tried, .. } = error else { panic!("{error:?}") };
        assert_eq!(tried, ["password", "keyboard-interactive"]);
    }
}

/// What OpenSSH offers by default in the version that a Windows Server comes with (its `myproposal.h`).
const OFFERS: &[(&str, &[&str])] = &[
    (
        "2019 and 2022, OpenSSH 7.7 and 8.1",
        &[
            "KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,\
             ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,\
             diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
             diffie-hellman-group14-sha256,diffie-hellman-group14-sha1",
            "HostKeyAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-512,rsa-sha2-256,ssh-rsa",
            "PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-512,rsa-sha2-256,ssh-rsa",
        ],
    ),
    (
        "2025, OpenSSH 9.5",
        &[
            "KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256,\
             curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
             ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,\
             diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
             diffie-hellman-group14-sha256",
            "HostKeyAlgorithms ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256",
            "PubkeyAcceptedAlgorithms ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256",
        ],
    ),
];
/// The same in all of them.
const CIPHERS: [&str; 2] = [
    "Ciphers chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,\
     aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "MACs umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,\
     hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,\
     umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1",
];

#[tokio::test]
async fn what_each_windows_server_offers_is_enough() {
    for (server, offer) in OFFERS {
        let config = offer.iter().chain(&CIPHERS).copied().collect();
        let sshd = Sshd::with(&Setup { config, ..Setup::default() });
        for kind in ["ed25519", "rsa"] {
            let file = sshd.another_key(kind, &["-t", kind]);
            let ssh = Ssh { auth: key(&file, None), ..sshd.ssh() };
            let exit = greet(&ssh).await.unwrap_or_else(|error| {
                panic!("Windows Server {server}, {kind}: {error:?}\n{}", sshd.log())
            });
            assert_eq!(exit.code, 0, "{server}, {kind}");
        }
    }
}
