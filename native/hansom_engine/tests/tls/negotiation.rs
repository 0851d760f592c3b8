//! What is offered and agreed on, and under which options sessions are resumed.

use hansom_engine::Error;
use hansom_engine::transport::{Roots, Sni, TlsClient, TlsOptions, TlsVersion};

use crate::server::{Authority, Server, config_for, plain_config, self_signed, within};
use crate::{TLS12, TLS13, connected, dial, echo, refused, unverified};

#[tokio::test]
async fn the_name_is_not_sent_if_switched_off_but_still_verified() {
    let authority = Authority::new("root");
    let mut server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let options = || TlsOptions { sni: Sni::Disabled, ..authority.trusted() };
    let link = connected(&server, "a.test", options()).await;
    assert_eq!(server.seen().await.sni, None);
    drop(link);
    assert_eq!(refused(&server, "b.test", options()).await.0, "handshake_failure");
}

#[tokio::test]
async fn only_the_versions_asked_for_are_spoken() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["a.test"]);
    let old = Server::start(config_for(&identity, TLS12)).await;
    let new = Server::start(config_for(&identity, TLS13)).await;
    let only = |version| TlsOptions { versions: vec![version], ..authority.trusted() };

    let mut link = connected(&old, "a.test", authority.trusted()).await;
    within(echo(&mut link)).await.unwrap();
    assert_eq!(link.tls_version(), Some(TlsVersion::Tls12));
    let mut link = connected(&new, "a.test", only(TlsVersion::Tls13)).await;
    within(echo(&mut link)).await.unwrap();
    assert_eq!(link.tls_version(), Some(TlsVersion::Tls13));

    let (alert, text) = refused(&old, "a.test", only(TlsVersion::Tls13)).await;
    assert_eq!(alert, "protocol_version");
    assert!(text.contains("received SERVER ALERT"), "{text}");
    assert_eq!(refused(&new, "a.test", only(TlsVersion::Tls12)).await.0, "protocol_version");
}

#[tokio::test]
async fn suites_and_groups_can_be_chosen() {
    const AES_256: u16 = 0x1302;
    const SECP384R1: u16 = 0x0018;
    let authority = Authority::new("root");
    let mut server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let options = TlsOptions {
        cipher_suites: Some(vec![AES_256]),
        groups: Some(vec![SECP384R1]),
        ..authority.trusted()
    };
    let _link = connected(&server, "a.test", options).await;
    let seen = server.seen().await;
    assert_eq!((seen.cipher_suite, seen.group), (AES_256, Some(SECP384R1)));
}

#[tokio::test]
async fn signature_schemes_bind_the_server() {
    const RSA_PSS_SHA256: u16 = 0x0804;
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let options =
        TlsOptions { signature_schemes: Some(vec![RSA_PSS_SHA256]), ..authority.trusted() };
    let (alert, text) = refused(&server, "a.test", options).await;
    assert_eq!(alert, "handshake_failure");
    assert!(text.contains("received SERVER ALERT"), "{text}");
}

#[tokio::test]
async fn no_common_application_protocol_is_the_servers_alert() {
    let authority = Authority::new("root");
    let mut config = plain_config(&authority.issue(&["a.test"]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = Server::start(config).await;
    let options = TlsOptions { alpn: vec![b"http/1.1".to_vec()], ..authority.trusted() };
    assert_eq!(refused(&server, "a.test", options).await.0, "no_application_protocol");
}

#[tokio::test]
async fn sessions_are_resumed_under_equal_options_only() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["a.test", "b.test"]);
    for (versions, alpn) in [(TLS12, "resumption/1.2"), (TLS13, "resumption/1.3")] {
        let mut config = config_for(&identity, versions);
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let server = Server::start(config).await;
        // The protocol keeps these options apart from those of other tests.
        let options = TlsOptions { alpn: vec![alpn.as_bytes().to_vec()], ..authority.trusted() };
        let resumed = async |name: &str, options: &TlsOptions| {
            let mut link = connected(&server, name, options.clone()).await;
            within(echo(&mut link)).await.unwrap();
            assert_eq!(link.alpn(), Some(alpn.as_bytes()));
            assert_eq!(link.peer_certificate(), Ok(identity.chain[0].clone()));
            link.resumed()
        };
        assert!(!resumed("a.test", &options).await);
        assert!(resumed("a.test", &options).await);
        assert!(!resumed("b.test", &options).await, "another name");

        let others = [
            TlsOptions { verify: false, ..options.clone() },
            TlsOptions { check_hostname: false, ..options.clone() },
            TlsOptions {
                roots: Roots::Der(vec![authority.root.clone(), Authority::new("x").root]),
                ..options.clone()
            },
            TlsOptions { depth: Some(3), ..options.clone() },
            TlsOptions { identity: vec![authority.issue(&["me.test"])], ..options.clone() },
        ];
        for other in others {
            assert!(!resumed("a.test", &other).await, "{other:?}");
            assert!(resumed("a.test", &other).await, "{other:?}");
        }
        let never = TlsOptions { resumption: false, ..options.clone() };
        assert!(!resumed("a.test", &never).await);
        assert!(!resumed("a.test", &never).await);
    }
}

#[tokio::test]
async fn an_unverified_session_opens_no_verified_connection() {
    let server = Server::start(plain_config(&self_signed("a.test", false))).await;
    for _ in 0..2 {
        within(echo(&mut connected(&server, "a.test", unverified()).await)).await.unwrap();
    }
    let verifying = TlsOptions::default();
    assert_eq!(refused(&server, "a.test", verifying).await.0, "bad_certificate");
}

#[tokio::test]
async fn bad_options_come_out_of_the_dial() {
    let authority = Authority::new("root");
    let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
    let options = TlsOptions { cipher_suites: Some(vec![0x0005]), ..authority.trusted() };
    assert!(TlsClient::new(&options).is_err());
    match within(dial(&server.dial("a.test", options))).await {
        Err(Error::Option { name, .. }) => assert_eq!(name, "ciphers"),
        other => panic!("{other:?}"),
    }
    match within(dial(&server.dial("a b", authority.trusted()))).await {
        Err(Error::Option { name, .. }) => assert_eq!(name, "server_name_indication"),
        other => panic!("{other:?}"),
    }
}

/// Runs itself again with the environment variable set, which this process must not change.
#[test]
fn secrets_are_logged_when_asked() {
    if std::env::var_os("SSLKEYLOGFILE").is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let authority = Authority::new("root");
            let server = Server::start(plain_config(&authority.issue(&["a.test"]))).await;
            let key_log = std::env::var_os("HANSOM_TEST_KEY_LOG").is_some();
            let options = TlsOptions { key_log, ..authority.trusted() };
            within(echo(&mut connected(&server, "a.test", options).await)).await.unwrap();
        });
        return;
    }
    let file = std::env::temp_dir().join(format!("hansom-keys-{}", std::process::id()));
    let run = |asked: bool| {
        let _ = std::fs::remove_file(&file);
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "negotiation::secrets_are_logged_when_asked"])
            .env("SSLKEYLOGFILE", &file);
        if asked {
            child.env("HANSOM_TEST_KEY_LOG", "1");
        }
        assert!(child.output().unwrap().status.success());
        std::fs::read_to_string(&file).unwrap_or_default()
    };
    assert!(run(true).contains("CLIENT_TRAFFIC_SECRET_0 "));
    assert_eq!(run(false), "");
    let _ = std::fs::remove_file(&file);
}
