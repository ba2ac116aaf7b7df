//! The engine's own promises: once, durable, together, and audited.

mod file;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::credit::{Credits, Done, LotKind, Refusal, Timestamp};
use crate::directory::Owner;

const START: i64 = 1_800_000_000_000;

/// A ledger in a folder of its own, with a clock that stands still until it is moved.
struct Bench {
    folder: tempfile::TempDir,
    now: Arc<AtomicI64>,
    store: Option<Store>,
    ids: u128,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(START));
        let mut bench = Self { folder, now, store: None, ids: 0 };
        bench.open();
        bench
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("ledger.db")
    }

    fn open(&mut self) {
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)));
        self.store = Some(Store::open(&self.path(), clock).unwrap());
    }

    async fn reopen(&mut self) {
        let store = self.store.take().unwrap();
        store.close().await;
        drop(store);
        self.open();
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    fn pass(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
    }

    /// An id made now.
    fn id(&mut self) -> Id {
        self.ids += 1;
        let millis = u128::try_from(self.now().millis()).unwrap();
        Id::from_u128((millis << 80) | (7 << 76) | self.ids)
    }

    async fn apply(&self, id: Id, operation: Operation) -> Result<Done, Refusal> {
        self.store().apply(&account(), id, operation).await.unwrap().outcome
    }

    /// An open account with so many gift credits.
    async fn account_with(&mut self, credits: u32) {
        let record = Record {
            account: account(),
            version: 0,
            plan: "free".into(),
            anchor: self.now(),
            zone: chrono_tz::Tz::UTC,
            created: self.now(),
            when_exhausted: None,
        };
        let create = Change::Create { record, gate_until: Timestamp::MAX };
        let id = self.id();
        let changed = self.store().change(id, create).await.unwrap();
        assert!(matches!(changed, Changed::Done { .. }), "{changed:?}");
        if credits > 0 {
            let id = self.id();
            self.apply(id, grant("gift:1", credits)).await.unwrap();
        }
    }

    async fn held(&self) -> Account {
        self.store().read(&account(), None).await.unwrap().unwrap()
    }

    async fn assert_clean(&self) {
        let report = self.store().audit().await.unwrap();
        assert!(report.is_clean(), "{:?}", report.broken);
    }
}

fn account() -> AccountId {
    "acc".parse().unwrap()
}

fn grant(source: &str, credits: u32) -> Operation {
    Operation::Grant {
        source: source.parse().unwrap(),
        kind: LotKind::Gift,
        start: Timestamp::from_millis(START),
        end: Timestamp::MAX,
        amount: Credits::whole(credits),
    }
}

fn hold(credits: u32) -> Operation {
    let amount = Credits::whole(credits);
    Operation::Hold { amount, ttl_millis: 60_000, version: 1, period: None, feature: None }
}

fn settle(credits: u32) -> Operation {
    Operation::Settle { amount: Credits::whole(credits), work: None, job: None }
}

fn charge(credits: u32) -> Operation {
    Operation::Charge {
        amount: Credits::whole(credits),
        period: None,
        work: None,
        job: None,
        feature: None,
    }
}

#[tokio::test]
async fn one_id_has_one_effect_also_after_a_restart() {
    let mut bench = Bench::new();
    bench.account_with(5).await;
    let call = bench.id();
    assert_eq!(bench.apply(call, hold(2)).await, Ok(Done::Held));
    assert_eq!(bench.apply(call, hold(2)).await, Ok(Done::Held), "asked again");
    assert_eq!(bench.apply(call, hold(3)).await, Err(Refusal::Conflict), "other arguments");
    assert_eq!(bench.held().await.funds(bench.now()).held, Credits::whole(2));

    let charged = Ok(Done::Settled { charged: Credits::whole(2), owed: Credits::ZERO });
    assert_eq!(bench.apply(call, settle(2)).await, charged);
    bench.reopen().await;
    assert_eq!(bench.apply(call, settle(2)).await, charged);
    assert_eq!(bench.apply(call, settle(1)).await, Err(Refusal::Conflict));
    assert_eq!(bench.apply(call, Operation::Release).await, Err(Refusal::AlreadyResolved));
    assert_eq!(bench.held().await.balance(), 3_000_000);
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_call_is_charged_settled_or_released_and_only_once() {
    let mut bench = Bench::new();
    bench.account_with(9).await;
    let paid = |credits| Done::Settled { charged: Credits::whole(credits), owed: Credits::ZERO };
    let [settled, released, charged, refused] = [bench.id(), bench.id(), bench.id(), bench.id()];
    bench.apply(settled, hold(1)).await.unwrap();
    bench.apply(settled, settle(1)).await.unwrap();
    bench.apply(released, hold(1)).await.unwrap();
    bench.apply(released, Operation::Release).await.unwrap();
    assert_eq!(bench.apply(charged, charge(2)).await, Ok(paid(2)));
    assert_eq!(bench.apply(refused, settle(1)).await, Err(Refusal::AlreadyResolved));
    bench.reopen().await;
    assert_eq!(bench.apply(settled, charge(1)).await, Err(Refusal::AlreadyResolved));
    assert_eq!(bench.apply(released, charge(1)).await, Err(Refusal::AlreadyResolved));
    assert_eq!(bench.apply(charged, charge(2)).await, Ok(paid(2)), "the same answer");
    assert_eq!(bench.apply(charged, charge(1)).await, Err(Refusal::Conflict));
    assert_eq!(bench.apply(charged, hold(2)).await, Err(Refusal::Conflict), "it comes too late");
    assert_eq!(bench.apply(charged, settle(2)).await, Err(Refusal::AlreadyResolved));
    assert_eq!(bench.apply(refused, charge(1)).await, Ok(paid(1)), "nothing was done for it yet");
    let given_up = bench.id();
    assert_eq!(bench.apply(given_up, Operation::Release).await, Err(Refusal::AlreadyResolved));
    bench.reopen().await;
    assert_eq!(bench.apply(given_up, hold(1)).await, Err(Refusal::AlreadyResolved), "too late");
    assert_eq!(bench.apply(given_up, charge(1)).await, Err(Refusal::AlreadyResolved));
    assert_eq!(bench.held().await.balance(), 5_000_000);
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_refusal_is_remembered_too() {
    let mut bench = Bench::new();
    bench.account_with(1).await;
    let call = bench.id();
    assert_eq!(bench.apply(call, hold(2)).await, Err(Refusal::Exhausted));
    let later = bench.id();
    bench.apply(later, grant("gift:2", 9)).await.unwrap();
    assert_eq!(bench.apply(call, hold(2)).await, Err(Refusal::Exhausted), "the same answer");
    let fresh = bench.id();
    assert_eq!(bench.apply(fresh, hold(2)).await, Ok(Done::Held));
}

#[tokio::test]
async fn ids_are_refused_after_72_hours() {
    let mut bench = Bench::new();
    bench.account_with(5).await;
    let call = bench.id();
    bench.pass(72 * 3_600_000);
    assert_eq!(bench.apply(call, hold(1)).await, Ok(Done::Held), "just in time");
    let late = bench.id();
    bench.pass(72 * 3_600_000 + 1);
    assert_eq!(bench.apply(late, hold(1)).await, Err(Refusal::TooOld));
}

#[tokio::test]
async fn a_source_grants_once_for_ever() {
    let mut bench = Bench::new();
    bench.account_with(5).await;
    bench.pass(400 * 86_400_000);
    bench.reopen().await;
    let (again, other) = (bench.id(), bench.id());
    assert_eq!(bench.apply(again, grant("gift:1", 5)).await, Ok(Done::GrantedBefore { lot: 1 }));
    assert_eq!(bench.apply(other, grant("gift:1", 6)).await, Err(Refusal::Conflict));
    assert_eq!(bench.held().await.balance(), 5_000_000);
}

#[tokio::test]
async fn what_expired_is_not_asked_back() {
    let mut bench = Bench::new();
    bench.account_with(0).await;
    let end = bench.now().after_millis(1000);
    let (start, kind) = (bench.now(), LotKind::Purchased);
    let source: crate::credit::SourceId = "in_1".parse().unwrap();
    let amount = Credits::whole(10);
    let id = bench.id();
    let bought = Operation::Grant { source: source.clone(), kind, start, end, amount };
    bench.apply(id, bought).await.unwrap();
    let call = bench.id();
    bench.apply(call, hold(4)).await.unwrap();
    bench.apply(call, settle(4)).await.unwrap();
    bench.pass(1000);
    let refund = bench.id();
    // 4 used, 6 expired: only the used part becomes debt.
    let voided = bench.apply(refund, Operation::Void { source, total: amount }).await;
    assert_eq!(voided, Ok(Done::Voided { taken: Credits::ZERO, owed: Credits::whole(4) }));
    bench.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_get_exactly_what_is_there() {
    let mut bench = Bench::new();
    bench.account_with(37).await;
    let calls: Vec<Id> = (0..200).map(|_| bench.id()).collect();
    let bench = Arc::new(bench);
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.apply(call, hold(1)).await })
        })
        .collect();
    let mut held = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(Done::Held) => held += 1,
            other => assert_eq!(other, Err(Refusal::Held)),
        }
    }
    assert_eq!(held, 37);
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_changed_record_makes_older_callers_stale() {
    let mut bench = Bench::new();
    bench.account_with(5).await;
    let (id, call) = (bench.id(), bench.id());
    let key = Key {
        id: "key_1".into(),
        name: "test".into(),
        owner: Owner::Account(account()),
        prefix: "cg_123456".into(),
        created: bench.now(),
        ends: None,
        revoked: None,
    };
    let hash = KeyHash::of("cg_secret");
    bench.store().change(id, Change::IssueKey { key, hash }).await.unwrap();
    assert_eq!(bench.apply(call, hold(1)).await, Err(Refusal::Stale { version: 2 }));
    let fresh = Operation::Hold {
        amount: Credits::whole(1),
        ttl_millis: 60_000,
        version: 2,
        period: None,
        feature: None,
    };
    assert_eq!(bench.apply(call, fresh).await, Ok(Done::Held), "under the same id");
    let revoke = bench.id();
    bench.store().change(revoke, Change::RevokeKey { id: "key_1".into() }).await.unwrap();
    let known = bench.store().key(hash).await.unwrap().unwrap();
    assert!(!known.key.is_valid(bench.now()));
    assert_eq!(known.version, 3);
}

#[tokio::test]
async fn a_hold_that_ran_out_is_listed_until_it_is_settled() {
    let mut bench = Bench::new();
    bench.account_with(5).await;
    let call = bench.id();
    bench.apply(call, hold(2)).await.unwrap();
    let (more, done) = (Credits::ZERO, Credits::whole(1));
    let beat = Operation::Extend { beat: 1, more, ttl_millis: 60_000, done };
    bench.apply(call, beat).await.unwrap();
    bench.pass(60_001);
    let report = bench.store().audit().await.unwrap();
    assert_eq!(report.unsettled.len(), 1, "found before anything is written");
    // The next step of the account writes it down: the confirmed part is charged, the rest is back.
    let other = bench.id();
    bench.apply(other, hold(4)).await.unwrap();
    let report = bench.store().audit().await.unwrap();
    assert_eq!(report.unsettled[0].request, call);
    assert_eq!(report.unsettled[0].charged, Credits::whole(1));
    // A settlement that comes late charges what is missing, and is no longer listed.
    bench.apply(other, Operation::Release).await.unwrap();
    let charged = Ok(Done::Settled { charged: Credits::whole(1), owed: Credits::ZERO });
    assert_eq!(bench.apply(call, settle(2)).await, charged);
    assert!(bench.store().audit().await.unwrap().unsettled.is_empty());
    bench.assert_clean().await;
}

#[tokio::test]
async fn holds_may_arrive_in_another_order_than_their_ids() {
    let mut bench = Bench::new();
    bench.account_with(5).await;
    let (earlier, later) = (bench.id(), bench.id());
    assert_eq!(bench.apply(later, hold(1)).await, Ok(Done::Held));
    assert_eq!(bench.apply(earlier, hold(1)).await, Ok(Done::Held));
    bench.assert_clean().await;
}
