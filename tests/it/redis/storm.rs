//! Callers and a cashier that don't stop while servers fail, and what must be true afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use creditgate::credit::{
    AccountId, Credits, Done, Id, LotKind, Operation, Refusal, Reply, SourceId, Timestamp,
};
use creditgate::ledger::{Ledger, LedgerError};
use tokio::task::JoinSet;

use super::promises::{funded, new_id};
use super::servers::PATIENCE;
use crate::harness::eventually;

/// Callers of each account at once.
const CALLERS: usize = 2;
/// More than all callers can use.
const CREDITS: u32 = 1_000_000;

/// Load on some accounts.
pub(super) struct Storm {
    ledger: Ledger,
    accounts: Vec<Arc<Account>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

/// What one account's callers and its cashier were told.
struct Account {
    name: AccountId,
    /// Calls that were charged.
    charged: AtomicU32,
    /// Calls whose hold was gone when they were to be charged.
    gone: AtomicU32,
    /// Grants that were acknowledged: the sources `in_2` to this number.
    granted: AtomicU32,
}

/// What a fail-over undid.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Holds that were answered, and not there when their calls were to be charged.
    pub(super) holds: u32,
    /// Charges that were answered, and are not in the log.
    pub(super) charges: u32,
}

impl Storm {
    /// Starts calling and granting on accounts of these names.
    pub(super) async fn start(ledger: &Ledger, names: &[String]) -> Self {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let mut accounts = Vec::new();
        for name in names {
            let name = funded(ledger, name, CREDITS).await;
            let [charged, gone] = [0, 0].map(AtomicU32::new);
            let account = Arc::new(Account { name, charged, gone, granted: AtomicU32::new(1) });
            for _ in 0..CALLERS {
                tasks.spawn(call_on(ledger.clone(), Arc::clone(&account), Arc::clone(&stop)));
            }
            tasks.spawn(grant_on(ledger.clone(), Arc::clone(&account), Arc::clone(&stop)));
            accounts.push(account);
        }
        Self { ledger: ledger.clone(), accounts, stop, tasks }
    }

    /// Waits until every account has had so many more calls, and one grant more.
    pub(super) async fn pass(&self, calls: u32) {
        let counts = |account: &Arc<Account>| {
            (account.charged.load(Ordering::SeqCst), account.granted.load(Ordering::SeqCst))
        };
        let before: Vec<_> = self.accounts.iter().map(counts).collect();
        eventually("every account is served", PATIENCE, async || {
            let now = self.accounts.iter().map(counts);
            let mut both = before.iter().zip(now);
            both.all(|(old, new)| new.0 >= old.0 + calls && new.1 > old.1).then_some(())
        })
        .await;
    }

    /// Ends it, and compares what was told with what `ledger` says: nothing twice, no grant lost, every rule kept.
    pub(super) async fn end(mut self) -> Lost {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let mut lost = Lost::default();
        for account in &self.accounts {
            let entries = self.ledger.entries(&account.name, 0, u32::MAX).await.unwrap();
            let of = |name: &str| entries.iter().filter(|e| e.fact.name() == name).count();
            let charged = account.charged.load(Ordering::SeqCst);
            let found = u32::try_from(of("settle")).unwrap();
            assert!(found <= charged, "{}: {found} charges for {charged} calls", account.name);
            lost.charges += charged - found;
            lost.holds += account.gone.load(Ordering::SeqCst);
            for number in 2..=account.granted.load(Ordering::SeqCst) {
                let source = source(number);
                let kept = self.ledger.source(&account.name, &source).await.unwrap();
                assert!(kept.is_some(), "{}: the grant {number} was lost", account.name);
            }
            let books = self.ledger.read(&account.name, None).await.unwrap().unwrap();
            let granted = u32::try_from(of("grant")).unwrap() - 1;
            let balance = i64::from(CREDITS) + i64::from(granted) - i64::from(found);
            assert_eq!(books.balance(), balance * 1_000_000, "{}", account.name);
        }
        let report = self.ledger.audit().await.unwrap();
        assert!(report.is_clean(), "{:?}", report.broken);
        lost
    }
}

async fn call_on(ledger: Ledger, account: Arc<Account>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let (id, amount) = (new_id(), Credits::whole(1));
        let ask = Operation::Hold {
            amount,
            ttl_millis: 600_000,
            version: 1,
            period: None,
            feature: None,
        };
        let held = until_known(&ledger, &account.name, id, ask).await;
        assert!(matches!(held.outcome, Ok(Done::Held)), "{held:?}");
        let settled = until_known(
            &ledger,
            &account.name,
            id,
            Operation::Settle { amount, work: None, job: None },
        )
        .await;
        match settled.outcome {
            Ok(Done::Settled { .. }) => account.charged.fetch_add(1, Ordering::SeqCst),
            Err(Refusal::AlreadyResolved) => account.gone.fetch_add(1, Ordering::SeqCst),
            other => panic!("{other:?}"),
        };
    }
}

async fn grant_on(ledger: Ledger, account: Arc<Account>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let number = account.granted.load(Ordering::SeqCst) + 1;
        let (kind, amount) = (LotKind::Gift, Credits::whole(1));
        let (start, end) = (Timestamp::MIN, Timestamp::MAX);
        let grant = Operation::Grant { source: source(number), kind, start, end, amount };
        let granted = until_known(&ledger, &account.name, new_id(), grant).await;
        let done = granted.outcome.unwrap();
        assert!(matches!(done, Done::Granted { .. } | Done::GrantedBefore { .. }), "{done:?}");
        account.granted.store(number, Ordering::SeqCst);
        // A lot stays in the books as long as it has credits: there must not be too many.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The name of the `number`th grant.
fn source(number: u32) -> SourceId {
    format!("in_{number}").parse().unwrap()
}

/// Repeats a step under its id until the ledger answers.
pub(super) async fn until_known(
    ledger: &Ledger,
    account: &AccountId,
    id: Id,
    operation: Operation,
) -> Reply {
    loop {
        match ledger.apply(account, id, operation.clone()).await {
            Ok(reply) => return reply,
            // The machine's time is for the servers now, which look for each other.
            Err(LedgerError::Unknown(_) | LedgerError::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(frozen @ LedgerError::Frozen { .. }) => panic!("{frozen}"),
        }
    }
}
