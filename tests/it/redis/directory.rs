//! Accounts and keys in Redis.

use creditgate::config::WhenExhausted;
use creditgate::credit::{AccountId, Credits, Operation, Refusal, Timestamp};
use creditgate::directory::{Key, KeyHash, Owner, Record};
use creditgate::ledger::{Change, Changed, Ledger};

use super::Server;
use super::promises::{new_id, now, open};

fn record(name: &str) -> Record {
    let (anchor, created) = (Timestamp::from_millis(1_769_853_600_000), now());
    let (account, plan) = (name.parse().unwrap(), "basic".to_owned());
    let zone = chrono_tz::Tz::Europe__Berlin;
    Record { account, version: 0, plan, anchor, zone, created, when_exhausted: None }
}

pub(super) fn key(id: &str, owner: Owner) -> Key {
    Key {
        id: id.into(),
        name: "the shop's assistant ".into(),
        owner,
        prefix: "cg_123456".into(),
        created: now(),
        ends: Some(Timestamp::MAX),
        revoked: None,
    }
}

pub(super) async fn create(ledger: &Ledger, name: &str) -> Changed {
    let create = Change::Create { record: record(name), gate_until: Timestamp::MAX };
    ledger.change(new_id(), create).await.unwrap()
}

fn version(changed: &Changed) -> u64 {
    match changed {
        Changed::Done { record: Some(record), .. } => record.version,
        other => panic!("not done: {other:?}"),
    }
}

async fn hold(ledger: &Ledger, account: &AccountId, version: u64) -> Option<Refusal> {
    let hold = Operation::Hold {
        amount: Credits::ZERO,
        ttl_millis: 1000,
        version,
        period: None,
        feature: None,
    };
    ledger.apply(account, new_id(), hold).await.unwrap().outcome.err()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_raises_the_version_and_stops_the_next_call() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let account: AccountId = "shop".parse().unwrap();
    assert_eq!(version(&create(&ledger, "shop").await), 1);
    assert!(matches!(create(&ledger, "shop").await, Changed::AccountExists));
    assert_eq!(hold(&ledger, &account, 1).await, None);

    let (hash, owner) = (KeyHash::of("cg_secret"), Owner::Account(account.clone()));
    let issued = key("key_1", owner);
    let issue = Change::IssueKey { key: issued.clone(), hash };
    assert_eq!(version(&ledger.change(new_id(), issue).await.unwrap()), 2);
    let known = ledger.key(hash).await.unwrap().unwrap();
    assert_eq!((known.key, known.version), (issued.clone(), 2));
    assert_eq!(ledger.keys(Some(&account)).await.unwrap(), [issued]);
    assert_eq!(hold(&ledger, &account, 1).await, Some(Refusal::Stale { version: 2 }));

    let revoke = Change::RevokeKey { id: "key_1".into() };
    let revoked = ledger.change(new_id(), revoke.clone()).await.unwrap();
    assert!(matches!(revoked, Changed::Done { key: Some(key), .. } if key == hash));
    let first = ledger.key(hash).await.unwrap().unwrap();
    assert!(first.key.revoked.is_some() && !first.key.is_valid(now()));
    assert_eq!(hold(&ledger, &account, 2).await, Some(Refusal::Stale { version: 3 }));
    assert_eq!(version(&ledger.change(new_id(), revoke).await.unwrap()), 4);
    let second = ledger.key(hash).await.unwrap().unwrap();
    assert_eq!(second.key.revoked, first.key.revoked, "revoked once");

    let plan =
        Change::Plan { account: account.clone(), plan: "pro".into(), allowance: Credits::whole(9) };
    assert_eq!(version(&ledger.change(new_id(), plan).await.unwrap()), 5);
    let close = Change::Gate { account: account.clone(), until: now() };
    let id = new_id();
    assert_eq!(version(&ledger.change(id, close.clone()).await.unwrap()), 6);
    assert_eq!(version(&ledger.change(id, close).await.unwrap()), 6, "the same step again");
    assert_eq!(hold(&ledger, &account, 6).await, Some(Refusal::Inactive));

    let now_known = ledger.record(&account).await.unwrap().unwrap();
    let created = now_known.created;
    let expected = Record { version: 6, plan: "pro".into(), created, ..record("shop") };
    assert_eq!(now_known, expected);
    for (before, status) in [(6, Some(WhenExhausted::TooManyRequests)), (7, None)] {
        let change = Change::WhenExhausted { account: account.clone(), status };
        assert_eq!(version(&ledger.change(new_id(), change).await.unwrap()), before + 1);
        assert_eq!(ledger.record(&account).await.unwrap().unwrap().when_exhausted, status);
    }
    let open = Change::Gate { account: account.clone(), until: Timestamp::MAX };
    let other = ledger.change(id, open).await.unwrap();
    assert!(matches!(other, Changed::Refused(Refusal::Conflict)), "{other:?}");
    assert!(ledger.audit().await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_to_be_missing() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let nobody: AccountId = "nobody".parse().unwrap();
    assert_eq!(ledger.record(&nobody).await.unwrap(), None);
    assert!(ledger.read(&nobody, None).await.unwrap().is_none());
    assert!(ledger.key(KeyHash::of("cg_x")).await.unwrap().is_none());
    let hash = KeyHash::of("cg_secret");
    for change in [
        Change::Gate { account: nobody.clone(), until: Timestamp::MAX },
        Change::Plan { account: nobody.clone(), plan: "pro".into(), allowance: Credits::ZERO },
        Change::IssueKey { key: key("key_1", Owner::Account(nobody.clone())), hash },
    ] {
        let changed = ledger.change(new_id(), change).await.unwrap();
        assert!(matches!(changed, Changed::NoSuchAccount), "{changed:?}");
    }
    assert!(ledger.key(hash).await.unwrap().is_none());
    let revoke = Change::RevokeKey { id: "key_1".into() };
    assert!(matches!(ledger.change(new_id(), revoke).await.unwrap(), Changed::NoSuchKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_listed_in_order_page_by_page() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let mut names: Vec<String> = (0..25).map(|n| format!("shop-{n}")).collect();
    for name in &names {
        create(&ledger, name).await;
    }
    // Books without a record are no account of the directory.
    let gate = Operation::Gate { until: Timestamp::MAX, version: 1 };
    ledger.apply(&"shop-10a".parse().unwrap(), new_id(), gate).await.unwrap();
    names.sort();
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = ledger.records(&after, 10).await.unwrap();
        let Some(last) = page.last() else { break };
        last.account.as_str().clone_into(&mut after);
        listed.extend(page.iter().map(|record| record.account.to_string()));
    }
    assert_eq!(listed, names);
}

#[tokio::test(flavor = "multi_thread")]
async fn service_keys_belong_to_no_account() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let (issued, hash) = (key("key_s", Owner::Service), KeyHash::of("cg_service"));
    let issue = Change::IssueKey { key: issued.clone(), hash };
    ledger.change(new_id(), issue).await.unwrap();
    let known = ledger.key(hash).await.unwrap().unwrap();
    assert_eq!((known.key, known.version), (issued.clone(), 0));
    assert_eq!(ledger.keys(None).await.unwrap(), [issued]);
    let revoke = Change::RevokeKey { id: "key_s".into() };
    ledger.change(new_id(), revoke).await.unwrap();
    assert!(!ledger.key(hash).await.unwrap().unwrap().key.is_valid(now()));
}
