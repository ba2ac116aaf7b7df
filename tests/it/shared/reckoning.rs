//! What clients saw, what the provider saw, and what the ledger says, held against each other call by call.

use std::collections::{BTreeMap, BTreeSet};

use creditgate::credit::{Credits, Fact, Id, Timestamp};
use creditgate::ledger::audit::Unsettled;

use super::load::{ACCOUNTS, Call, End, Life, account, price};
use crate::harness::{Fleet, Seen};

/// What the ledger says of a call.
struct Held {
    id: Id,
    /// In µ.
    charged: Option<u64>,
    unsettled: Option<Unsettled>,
}

/// What was found beside that everything is as it must be.
#[derive(Debug, Default)]
pub struct Found {
    /// Calls that were served and charged.
    pub charged: usize,
    /// Calls that were served at least in part, and not charged, because their gateway was killed.
    pub unpaid: usize,
    /// Calls that were refused because the credits were used up.
    pub exhausted: usize,
    /// Calls that were refused because no ledger could be asked.
    pub turned_away: usize,
    /// Credits that accounts owe: work that was done before its hold ran out and charged after others had the credits.
    pub owed: u64,
}

/// The lives that ended without a word, and calls that had been settled before.
pub type Killed = BTreeMap<Life, BTreeSet<String>>;

/// Holds all sides against each other. The gateways have ended, or have nothing left to do.
pub async fn reckon(fleet: &Fleet, calls: &[Call], killed: &Killed) -> Found {
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for request in fleet.provider.seen().await {
        let name = request.headers["x-caller"].clone();
        assert!(seen.insert(name.clone(), request).is_none(), "{name} came twice");
    }
    let mut held = holds(fleet).await;
    let mut found = Found::default();
    for call in calls {
        let place = (call.account, call.price());
        let (held, seen) = (held.remove(&place), seen.remove(&call.name()));
        let settled = killed.get(&call.life);
        let killed = settled.is_some_and(|settled| !settled.contains(&call.name()));
        check(call, held.as_ref(), seen.as_ref(), killed, &mut found);
    }
    assert!(seen.is_empty(), "the provider was asked by nobody: {seen:#?}");
    assert!(held.is_empty(), "credits were held for nobody: {:?}", held.keys());
    for number in 0..ACCOUNTS.len() {
        found.owed += balanced(fleet, number, calls).await;
    }
    found
}

/// Every hold, by account and price.
async fn holds(fleet: &Fleet) -> BTreeMap<(usize, u64), Held> {
    let report = fleet.books.audit().await;
    assert_eq!(report.open_holds, 0);
    let unsettled = report.unsettled.into_iter().map(|call| (call.request, call));
    let mut unsettled: BTreeMap<Id, Unsettled> = unsettled.collect();
    let mut holds = BTreeMap::new();
    for number in 0..ACCOUNTS.len() {
        // That nothing was resolved twice is checked where the charges are read.
        let of_calls = fleet.books.charges(&account(number)).await;
        for entry in fleet.books.entries(&account(number)).await {
            let Fact::Hold { hold: id, amount, .. } = entry.fact else { continue };
            let charged = of_calls.get(&id).copied();
            let held = Held { id, charged, unsettled: unsettled.remove(&id) };
            let before = holds.insert((number, amount.micros()), held);
            assert!(before.is_none(), "{amount} were held twice for a call of {number}");
        }
    }
    assert!(unsettled.is_empty(), "unsettled calls without a hold: {unsettled:#?}");
    holds
}

/// One call; `killed` if its gateway was before it is known to have settled it.
fn check(call: &Call, held: Option<&Held>, seen: Option<&Seen>, killed: bool, found: &mut Found) {
    let context = || {
        let unsettled = held.and_then(|held| held.unsettled.as_ref());
        format!("{call:#?}\nkilled: {killed}, unsettled: {unsettled:?}\n{seen:#?}")
    };
    let charged = held.and_then(|held| held.charged);
    assert!(charged.is_none_or(|charged| charged == call.price()), "{charged:?}: {}", context());
    assert!(seen.is_none() || held.is_some(), "served without a hold: {}", context());
    match call.end {
        End::Refused { status, exhausted } => {
            assert!(seen.is_none() && charged.is_none(), "refused: {}", context());
            found.exhausted += usize::from(exhausted);
            found.turned_away += usize::from(status == 503);
            return;
        }
        End::Asked(Some(id)) => assert_eq!(held.map(|held| held.id), Some(id), "{}", context()),
        End::Asked(None) => {}
    }
    if charged.is_some() {
        assert!(call.story.worked && seen.is_some(), "charged for nothing: {}", context());
        found.charged += 1;
        return;
    }
    if !call.story.worked {
        return;
    }
    assert!(killed, "served for nothing: {}", context());
    if seen.is_some_and(|seen| seen.sent_bytes > 0) {
        let listed = held.and_then(|held| held.unsettled.as_ref()).unwrap_or_else(|| {
            panic!("served, not charged, and not on the list: {}", context());
        });
        assert_eq!(listed.account.as_str(), account(call.account));
        assert_eq!((listed.held.micros(), listed.charged), (call.price(), Credits::ZERO));
        found.unpaid += 1;
    }
}

/// What was granted is there or was charged, and nobody was turned away who could pay. Returns the debt, in µ.
async fn balanced(fleet: &Fleet, number: usize, calls: &[Call]) -> u64 {
    let name = account(number);
    let books = fleet.books.ledger().read(&name.parse().unwrap(), None).await.unwrap().unwrap();
    let charges: u64 = fleet.books.charges(&name).await.values().sum();
    let (plan, bought) = ACCOUNTS[number];
    let granted = i64::from(plan + bought) * 1_000_000;
    let balance = books.balance();
    assert_eq!(balance + i64::try_from(charges).unwrap(), granted, "{name}");
    assert!(books.holds.is_empty(), "{name}: {:?}", books.holds);
    let of_account = calls.iter().filter(|call| call.account == number);
    let exhausted =
        of_account.filter(|call| matches!(call.end, End::Refused { exhausted: true, .. }));
    for call in exhausted {
        let price = i64::try_from(price(call.number)).unwrap();
        assert!(balance < price, "{name} has {balance} µ, and {call:?} was refused");
    }
    assert!(books.debt.is_zero() || books.funds(Timestamp::MIN).unheld().is_zero(), "{books:?}");
    books.debt.micros()
}
