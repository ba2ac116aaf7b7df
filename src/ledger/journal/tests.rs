//! What the journal promises: nothing written is lost, nobody gets more than the allowance.

use super::*;

const SOME: Credits = Credits::whole(3);

fn call(account: &str, number: u128, allowed: Credits, operation: Operation) -> Waiting {
    Waiting { account: account.parse().unwrap(), id: Id::from_u128(number), allowed, operation }
}

fn unheld(account: &str, number: u128, amount: u32) -> Waiting {
    let charge = Operation::Charge {
        amount: Credits::ZERO,
        period: None,
        work: None,
        job: None,
        feature: None,
    };
    call(account, number, Credits::whole(amount), charge)
}

fn settle(account: &str, number: u128) -> Waiting {
    call(account, number, Credits::ZERO, Operation::Settle { amount: SOME, work: None, job: None })
}

fn charged(mut call: Waiting) -> Waiting {
    call.operation = Operation::Charge {
        amount: call.allowed,
        period: None,
        work: None,
        job: None,
        feature: None,
    };
    call
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Journal {
        Journal::open(&self.0.path().join("journal.db")).unwrap()
    }
}

#[tokio::test]
async fn what_was_written_waits_until_it_is_forgotten() {
    let folder = Folder::new();
    let journal = folder.open();
    for number in 1..=300 {
        journal.end(settle("a", number)).await.unwrap();
    }
    assert_eq!(journal.counts(), Counts { waiting: 300, ..Counts::default() });
    drop(journal);
    let journal = folder.open();
    tokio::time::timeout(std::time::Duration::from_secs(20), journal.written()).await.unwrap();
    let first = journal.due(None, 256).await.unwrap();
    assert_eq!(first, (1..=256).map(|number| settle("a", number)).collect::<Vec<_>>());
    let second = journal.due(Some(first[255].id), 256).await.unwrap();
    assert_eq!(second.len(), 44);
    journal.forget(&first).await.unwrap();
    journal.refuse(&second[0], "the hold is older than 72 hours".into()).await.unwrap();
    let left = Counts { waiting: 43, refused: 1, allowed: Credits::ZERO };
    assert_eq!(journal.counts(), left);
    drop(journal);
    let journal = folder.open();
    assert_eq!(journal.counts(), left);
    assert_eq!(journal.due(None, 256).await.unwrap(), second[1..]);
}

#[tokio::test]
async fn an_account_gets_its_allowance_until_its_calls_are_charged() {
    let folder = Folder::new();
    let journal = folder.open();
    let allowance = Credits::whole(5);
    journal.allow(unheld("a", 1, 3), allowance).await.unwrap();
    assert_eq!(journal.allow(unheld("a", 2, 3), allowance).await, Err(NotAllowed::Spent));
    journal.allow(unheld("a", 3, 2), allowance).await.unwrap();
    journal.allow(unheld("b", 4, 5), allowance).await.unwrap();
    assert_eq!(journal.counts().allowed, Credits::whole(10));
    assert!(journal.due(None, 9).await.unwrap().is_empty(), "they are running");

    let (ended, released) = (charged(unheld("a", 1, 3)), settle("a", 3));
    journal.end(ended.clone()).await.unwrap();
    assert_eq!(journal.allow(unheld("a", 5, 1), allowance).await, Err(NotAllowed::Spent));
    let released = Waiting { operation: Operation::Release, ..released };
    journal.end(released.clone()).await.unwrap();
    assert_eq!(journal.due(None, 9).await.unwrap(), [ended.clone(), released]);
    journal.allow(unheld("a", 5, 2), allowance).await.unwrap();
    journal.forget(&[ended]).await.unwrap();
    journal.allow(unheld("a", 6, 3), allowance).await.unwrap();
    assert_eq!(journal.allow(unheld("a", 7, 1), allowance).await, Err(NotAllowed::Spent));
}

#[tokio::test]
async fn a_call_that_was_cut_short_is_charged_what_was_confirmed() {
    let folder = Folder::new();
    let journal = folder.open();
    let (first, second, third) = (unheld("a", 1, 3), unheld("a", 2, 3), unheld("a", 3, 3));
    for call in [&first, &second, &third] {
        journal.allow(call.clone(), Credits::whole(9)).await.unwrap();
    }
    journal.confirm(second.id, charged(second.clone()).operation).await.unwrap();
    let ended = charged(third);
    journal.end(ended.clone()).await.unwrap();
    // A heartbeat that comes late changes nothing.
    journal.confirm(ended.id, first.operation.clone()).await.unwrap();
    drop(journal);
    let journal = folder.open();
    assert_eq!(journal.due(None, 9).await.unwrap(), [first, charged(second), ended]);
    assert_eq!(journal.counts().allowed, Credits::whole(9));
    let spent = journal.allow(unheld("a", 4, 1), Credits::whole(9)).await;
    assert_eq!(spent, Err(NotAllowed::Spent), "they are still to be charged");
}

#[tokio::test]
async fn a_journal_belongs_to_one_gateway() {
    let folder = Folder::new();
    let journal = folder.open();
    let second = Journal::open(&folder.0.path().join("journal.db"));
    assert!(matches!(second, Err(OpenError::InUse(_))));
    drop(journal);
    drop(folder.open());
}
