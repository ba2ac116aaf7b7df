//! TLS with a certificate authority of one's own, and a user that may do what is needed and no more.

use std::path::Path;
use std::process::Command;

use creditgate::config::Topology;
use creditgate::credit::{Credits, Done, Operation};
use creditgate::directory::{KeyHash, Owner};
use creditgate::ledger::Change;
use creditgate::ledger::redis::{ACL_RULE, OpenError, Settings, Unfit};

use super::directory::{create, key};
use super::promises::{funded, hold, is_held, new_id, open_at};
use super::raw::Raw;
use super::{Server, redis_url};
use crate::harness::free_port;

/// A certificate authority, and a certificate of this machine that it signed.
pub fn certificates(folder: &Path) {
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
    let make = |words: &str| {
        let made = Command::new("openssl").args(words.split(' ')).current_dir(folder).output();
        let made = made.expect("`openssl` is missing: install it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    make(&format!("req -x509 {new_key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
    make(&format!("req {new_key} -keyout key.pem -out request -subj /CN=redis"));
    make(
        "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_needs_a_certificate_that_is_trusted() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(ours.path());
    certificates(theirs.path());
    let file = |name| ours.path().join(name).display().to_string();
    let port = free_port();
    let server = Server::start(
        &[
            &["--tls-port", &port.to_string(), "--tls-auth-clients", "no"][..],
            &["--tls-cert-file", &file("cert.pem"), "--tls-key-file", &file("key.pem")],
            &["--tls-ca-cert-file", &file("ca.pem")],
        ]
        .concat(),
    );
    let url = format!("rediss://127.0.0.1:{port}");
    let trusting = |folder: &Path| {
        let tls_ca = Some(std::fs::read(folder.join("ca.pem")).unwrap());
        Settings { tls_ca, ..Settings::default() }
    };
    let ledger = open_at(&url, trusting(ours.path())).await.unwrap();
    let account = funded(&ledger, "acc", 2).await;
    assert!(is_held(&ledger.apply(&account, new_id(), hold(1)).await));
    // Another authority, the system's, and no TLS on the other side.
    for (url, settings) in [
        (url.as_str(), trusting(theirs.path())),
        (url.as_str(), Settings::default()),
        (server.url().replace("redis:", "rediss:").as_str(), trusting(ours.path())),
    ] {
        let opened = open_at(url, settings).await;
        assert!(matches!(opened, Err(OpenError::Unreachable(_))), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_documented_rule_can_work_and_with_less_is_refused_at_the_start() {
    let server = Server::start(&[]);
    let mut raw = Raw::open(&server.url()).await;
    let knows_waitaof = !raw.info("redis_version:7.0.").await;
    let mut rule: Vec<&str> = ACL_RULE.split_whitespace().collect();
    if knows_waitaof {
        rule.push("+waitaof");
    }
    let whole = [&["ACL", "SETUSER", "gateway", "reset", "on", ">p@ss/w:rd"], rule.as_slice()];
    raw.ask(&whole.concat()).await;
    let Topology::Single(place) = redis_url(&server.url()).topology else { panic!("one server") };
    let url = format!("redis://gateway:p%40ss%2Fw%3Ard@{place}");
    let ledger = open_at(&url, Settings::default()).await.unwrap();
    let account = funded(&ledger, "acc", 2).await;
    let id = new_id();
    assert!(is_held(&ledger.apply(&account, id, hold(1)).await));
    let settle = Operation::Settle { amount: Credits::whole(1), work: None, job: None };
    let settled = ledger.apply(&account, id, settle).await.unwrap();
    assert!(matches!(settled.outcome, Ok(Done::Settled { .. })));
    create(&ledger, "shop").await;
    let owners = [Owner::Account("shop".parse().unwrap()), Owner::Service];
    for (name, owner) in ["key_1", "key_2"].into_iter().zip(owners) {
        let hash = KeyHash::of(name);
        let issue = Change::IssueKey { key: key(name, owner), hash };
        ledger.change(new_id(), issue).await.unwrap();
        ledger.change(new_id(), Change::RevokeKey { id: name.into() }).await.unwrap();
        assert!(ledger.key(hash).await.unwrap().unwrap().key.revoked.is_some());
    }
    assert_eq!(ledger.keys(None).await.unwrap().len(), 1);
    assert_eq!(ledger.records("", 10).await.unwrap().len(), 1);
    assert_eq!(ledger.explain(id).await.unwrap().len(), 2);
    assert!(ledger.audit().await.unwrap().is_clean());

    // One command less, each in turn. These two are asked for before anything else, and `select` and those of a cluster
    // not at all here.
    let elsewhere = ["+info", "+select", "+asking", "+cluster|slots", "+cluster|info"];
    let commands = rule.iter().filter(|word| word.starts_with('+') && !elsewhere.contains(word));
    for command in commands {
        let less = command.replace('+', "-");
        raw.ask(&["ACL", "SETUSER", "gateway", &less]).await;
        match open_at(&url, Settings::default()).await {
            Err(OpenError::Unfit(Unfit::Forbidden(_))) => {}
            Err(OpenError::Unfit(Unfit::NoTime(_))) if *command == "+time" => {}
            Err(other) => panic!("{command}: {other}"),
            Ok(_) => panic!("accepted without {command}"),
        }
        raw.ask(&["ACL", "SETUSER", "gateway", command]).await;
    }
    raw.ask(&["ACL", "SETUSER", "gateway", "-info"]).await;
    let refused = open_at(&url, Settings::default()).await.err().unwrap().to_string();
    assert!(refused.contains("+info"), "{refused}");
    let wrong = open_at(&url.replace("p%40ss", "pass"), Settings::default()).await.err().unwrap();
    assert!(!wrong.to_string().contains("pass%2F"), "{wrong}");
}
