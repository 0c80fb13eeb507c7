//! Who is let in, who is believed, and what others could read along.

use std::fs;
use std::sync::Arc;

use cgw::secret::Secret;
use cgw::transport::Error;
use cgw::transport::winrm::{Login, Trust, Winrm};
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{greet, offering};
use crate::winrmd::{PASSWORD, USER, Winrmd};

#[tokio::test]
async fn over_http_every_message_is_sealed() {
    let service = Winrmd::start(&json!({}));
    for user in [USER.to_owned(), format!("DOMAIN\\{USER}")] {
        assert_eq!(greet(&Winrm { user, ..service.sealed() }).await.unwrap().code, 0);
    }
    let stats = service.stats();
    assert_eq!((stats.count("clear"), stats.count("badly sealed")), (0, 0));
    assert_eq!(stats.count("Create"), 2);
    assert!(stats.count("sealed") >= 8);
}

#[tokio::test]
async fn over_https_a_login_is_bound_to_the_certificate() {
    // The service lets in only what is bound, by the hash that the certificate's signature has.
    for hash in ["sha256", "sha384", "sha512"] {
        let service = Winrmd::start(&json!({ "tls": "ca", "hash": hash }));
        for winrm in [service.pinned(Login::Ntlm), service.signed(Login::Ntlm)] {
            assert_eq!(greet(&winrm).await.unwrap().code, 0, "{hash}");
        }
    }
}

#[tokio::test]
async fn basic_is_for_verified_tls_alone() {
    let service = offering(&["Basic"], &json!({ "tls": "ca" }));
    for winrm in [service.pinned(Login::Basic), service.signed(Login::Basic)] {
        assert_eq!(greet(&winrm).await.unwrap().code, 0);
    }
    let error = greet(&service.trusting(Trust::Nobody, Login::Basic)).await.unwrap_err();
    assert!(matches!(error, Error::CertificateUnknown { .. }), "{error:?}");
    let logins = service.stats().count("login Basic");

    let plain = offering(&["Basic"], &json!({}));
    let error = greet(&plain.sealed()).await.unwrap_err();
    let Error::PasswordRefused { offered, .. } = &error else { panic!("{error:?}") };
    assert_eq!(offered, "Basic");
    let stats = plain.stats();
    assert_eq!((stats.count("login Basic"), stats.count("clear")), (0, 0));
    assert!(logins > 0 && service.stats().count("login Basic") == logins);
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_gets_nothing() {
    let (service, other) = (
        Winrmd::start(&json!({ "tls": "self-signed" })),
        Winrmd::start(&json!({ "tls": "self-signed" })),
    );
    let expected = other.fingerprint();
    let wrong = service.trusting(Trust::Pinned(expected.parse().unwrap()), Login::Ntlm);
    let error = greet(&wrong).await.unwrap_err();
    let Error::CertificateChanged { fingerprint, expected: pinned, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((fingerprint, pinned), (&service.fingerprint(), &expected));
    assert!(!error.may_pass() && error.hint().is_some());
    assert_eq!(service.stats().count("login Negotiate"), 0);
}

#[tokio::test]
async fn an_unknown_certificate_is_told_so_that_it_can_be_pinned() {
    let service = Winrmd::start(&json!({ "tls": "ca" }));
    let other = Winrmd::start(&json!({ "tls": "ca" }));
    let stranger = Winrm { port: service.sealed().port, ..other.signed(Login::Ntlm) };
    for winrm in [stranger, service.trusting(Trust::Nobody, Login::Ntlm)] {
        let error = greet(&winrm).await.unwrap_err();
        let Error::CertificateUnknown { fingerprint, .. } = &error else { panic!("{error:?}") };
        assert!(error.to_string().contains(fingerprint), "{error}");
        assert_eq!(service.stats().count("login Negotiate"), 0);
        assert_eq!(*fingerprint, service.fingerprint());
    }
    assert_eq!(greet(&service.pinned(Login::Ntlm)).await.unwrap().code, 0);
}

#[tokio::test]
async fn a_copy_of_a_certificate_is_not_the_certificate() {
    #[derive(Debug)]
    struct Always(Arc<CertifiedKey>);

    impl ResolvesServerCert for Always {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    let (service, thief) = (
        Winrmd::start(&json!({ "tls": "self-signed" })),
        Winrmd::start(&json!({ "tls": "self-signed" })),
    );
    let certificate =
        CertificateDer::from_pem_file(service.path("state/server.pem")).expect("it is there");
    let key = PrivateKeyDer::from_pem_file(thief.path("state/server.key")).expect("it is there");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(CertifiedKey::new(vec![certificate], key).into())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(tcp).await.map(drop)
    };
    let winrm = Winrm { port, ..service.pinned(Login::Basic) };
    let (error, accepted) = tokio::join!(greet(&winrm), accept);
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_file_without_certificates_is_named() {
    let service = Winrmd::start(&json!({ "tls": "ca" }));
    let empty = service.path("empty.pem");
    fs::write(&empty, "").unwrap();
    for file in [empty, service.path("absent.pem")] {
        let error = service.trusting(Trust::CaFile(file.clone()), Login::Ntlm).check().unwrap_err();
        assert!(matches!(&error, Error::ReadCertificates { file: at, .. } if *at == file));
    }
    service.signed(Login::Ntlm).check().unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_shown_nowhere() {
    let (plain, tls) = (
        Winrmd::start(&json!({})),
        offering(&["Negotiate", "Basic"], &json!({ "tls": "self-signed" })),
    );
    for (winrm, offers) in [
        (plain.sealed(), "Negotiate"),
        (tls.pinned(Login::Ntlm), "Negotiate, Basic"),
        (tls.pinned(Login::Basic), "Negotiate, Basic"),
    ] {
        let winrm = Winrm { password: Secret::new("hunter2"), ..winrm };
        let error = greet(&winrm).await.unwrap_err();
        assert!(!format!("{error} {error:?} {winrm:?}").contains("hunter2"));
        let Error::PasswordRefused { offered, .. } = &error else { panic!("{error:?}") };
        assert_eq!(offered, offers);
        assert!(!error.may_pass() && error.hint().unwrap().contains("Protected Users"));
    }
    let stranger = Winrm { user: "stranger".to_owned(), ..plain.sealed() };
    let error = greet(&stranger).await.unwrap_err();
    assert!(matches!(error, Error::PasswordRefused { .. }), "{error:?}");
    assert!(!format!("{stranger:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_server_without_ntlm_and_a_user_without_rights_are_told_apart() {
    let error = greet(&Winrmd::start(&json!({ "ntlm": "blocked" })).sealed()).await.unwrap_err();
    assert!(matches!(error, Error::NtlmBlocked { .. }), "{error:?}");
    let error = greet(&Winrmd::start(&json!({ "is_admin": false })).sealed()).await.unwrap_err();
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
    assert!(!error.had_begun() && !error.may_pass());
    let error = greet(&Winrmd::start(&json!({ "max_shells": 0 })).sealed()).await.unwrap_err();
    let Error::Start { source, .. } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("w:QuotaLimit"), "{source}");
}
