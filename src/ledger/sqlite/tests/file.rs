//! The file: whose it is, what it keeps of its own, and what somebody did to it.

use super::*;

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let bench = Bench::new();
    let clock: Clock = Arc::new(|| Timestamp::MIN);
    let second = Store::open(&bench.path(), clock);
    assert!(matches!(second, Err(OpenError::InUse(_))));
}

#[tokio::test]
async fn a_file_of_another_format_is_refused() {
    let mut bench = Bench::new();
    bench.store.take().unwrap().close().await;
    with_sql(&bench.path(), "PRAGMA user_version = 99");
    let clock: Clock = Arc::new(|| Timestamp::MIN);
    let opened = Store::open(&bench.path(), clock).map(|_| ());
    assert!(matches!(opened, Err(OpenError::Format { found: 99, .. })), "{opened:?}");
}

#[tokio::test]
async fn the_auditor_finds_what_was_tampered_with() {
    let tampering = [
        ("UPDATE lot SET remaining = remaining + 1, granted = granted + 1", "differs from the sum"),
        ("UPDATE entry SET balance = balance + 1 WHERE seq = 2", "sum of the entries"),
        ("UPDATE entry SET at = 1 WHERE seq = 3", "time went back"),
        ("DELETE FROM entry WHERE seq = 3", "entry 4 follows entry 2"),
        (
            "UPDATE entry SET fact = replace(fact, '\"charged\":1000000', '\"charged\":900000')",
            "was charged 0.9, taken 1",
        ),
        (
            "UPDATE entry SET fact = replace(fact, '\"charged\":2000000', '\"charged\":1900000')",
            "was charged 1.9, taken 2",
        ),
        (
            "UPDATE entry SET fact = replace(fact, '\"amount\":2000000}],\"owed\":0',
                 '\"amount\":1000000}],\"owed\":1000000')",
            "a charge through a closed gate, not of all, or not in burn order",
        ),
        (
            "UPDATE entry SET fact = replace(fact, '\"until\":253402300799000', '\"until\":0')",
            "a charge through a closed gate, not of all, or not in burn order",
        ),
        (
            "UPDATE entry SET fact = replace(fact, '\"kind\":\"settle\",', '\"kind\":\"charge\",')",
            "was charged beside its hold",
        ),
        (
            "UPDATE entry SET fact = (SELECT fact FROM entry WHERE seq = 5) WHERE seq = 6",
            "had been charged before",
        ),
        (
            "UPDATE entry SET fact = replace(fact, '\"amount\":6000000', '\"amount\":7000000')",
            "balance 6000000",
        ),
    ];
    for (sql, finding) in tampering {
        let mut bench = Bench::new();
        bench.account_with(6).await;
        let call = bench.id();
        bench.apply(call, hold(1)).await.unwrap();
        bench.apply(call, settle(1)).await.unwrap();
        for call in [bench.id(), bench.id()] {
            bench.apply(call, charge(2)).await.unwrap();
        }
        bench.assert_clean().await;
        bench.store.take().unwrap().close().await;
        with_sql(
            &bench.path(),
            &format!("DROP TRIGGER entry_never_changes; DROP TRIGGER entry_never_goes; {sql}"),
        );
        bench.open();
        let report = bench.store().audit().await.unwrap();
        let found = report.broken.iter().any(|broken| broken.what.contains(finding));
        assert!(found, "{sql}: {:?}", report.broken);
    }
}

#[tokio::test]
async fn entries_can_not_be_changed() {
    let mut bench = Bench::new();
    bench.account_with(5).await;
    bench.store.take().unwrap().close().await;
    let db = rusqlite::Connection::open(bench.path()).unwrap();
    for sql in ["UPDATE entry SET balance = 0", "DELETE FROM entry"] {
        let refused = db.execute(sql, []).unwrap_err();
        assert!(refused.to_string().contains("immutable"), "{refused}");
    }
}

fn with_sql(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_file_of_the_version_before_goes_on() {
    let mut bench = Bench::new();
    bench.account_with(5).await;
    let (open, settled) = (bench.id(), bench.id());
    for call in [open, settled] {
        assert_eq!(bench.apply(call, hold(1)).await, Ok(Done::Held));
    }
    let charged = bench.apply(settled, settle(1)).await;
    let before = bench.held().await;
    bench.store.take().unwrap().close().await;
    // What that version did not have.
    with_sql(
        &bench.path(),
        "DROP TABLE job; DROP TABLE claim; DROP TABLE owned;
         ALTER TABLE record DROP COLUMN when_exhausted",
    );
    bench.open();
    assert_eq!(bench.held().await, before);
    let record = bench.store().record(&account()).await.unwrap().unwrap();
    assert_eq!(record.when_exhausted, None);
    // What was done before is known, and what is new works.
    assert_eq!(bench.apply(settled, settle(1)).await, charged);
    let job = Some("openai/resp_1;input=1".parse().unwrap());
    let amount = Credits::whole(1);
    let began = bench.apply(open, Operation::Settle { amount, work: None, job }).await;
    assert_eq!(began, charged);
    bench.reopen().await;
    let id = bench.id();
    let correct = Operation::Correct { call: open, amount: Credits::whole(9), work: None };
    let corrected = bench.apply(id, correct).await;
    let (before, charged, owed) = (amount, Credits::whole(9), Credits::whole(5));
    assert_eq!(corrected, Ok(Done::Corrected { before, charged, owed }));
    bench.assert_clean().await;
}
