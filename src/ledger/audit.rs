//! The auditor: replays an account's entries and says which rule the books break, if any.
//!
//! It trusts nothing but the entries: it folds them anew, checks each against the rules of money (ledger.md,
//! Invariants), and compares the end with what the engine keeps. Pure: an engine feeds it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::credit::{
    Account, AccountId, Book, Credits, Entry, Fact, Hold, Id, LotKind, Part, SourceId, Timestamp,
};

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Accounts that were checked.
    pub accounts: u64,
    /// Entries that were replayed.
    pub entries: u64,
    /// Holds that are open and have not reached their deadline.
    pub open_holds: u64,
    /// Rules that are broken, by account.
    pub broken: Vec<Finding>,
    /// Calls whose hold ran out before their settlement came: they may have been served unpaid.
    pub unsettled: Vec<Unsettled>,
}

impl Report {
    /// Whether no rule is broken.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whose books.
    pub account: AccountId,
    /// After which entry.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

/// A call that ended without a settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsettled {
    /// Whose call.
    pub account: AccountId,
    /// The call's id.
    pub request: Id,
    /// What was held for it.
    pub held: Credits,
    /// What its last heartbeat had confirmed, and was charged.
    pub charged: Credits,
    /// When its hold ran out.
    pub expired_at: Timestamp,
}

/// Audits one account: feed its entries in order, then close.
pub struct Auditor {
    account: AccountId,
    books: Account,
    sums: BTreeMap<u32, LotSums>,
    sources: BTreeSet<SourceId>,
    expired: BTreeMap<Id, Unsettled>,
    charged: BTreeSet<Id>,
    balance: i64,
    entries: u64,
    findings: Vec<Finding>,
}

#[derive(Default)]
struct LotSums {
    granted: i64,
    remaining: i64,
    out: i64,
}

impl Auditor {
    /// An auditor of `account`, before its first entry.
    pub fn new(account: AccountId) -> Self {
        Self {
            account,
            books: Account::default(),
            sums: BTreeMap::new(),
            sources: BTreeSet::new(),
            expired: BTreeMap::new(),
            charged: BTreeSet::new(),
            balance: 0,
            entries: 0,
            findings: Vec::new(),
        }
    }

    /// Replays the next entry.
    pub fn entry(&mut self, entry: &Entry) {
        self.entries += 1;
        if entry.seq != self.books.seq + 1 {
            self.broken(entry.seq, format!("entry {} follows entry {}", entry.seq, self.books.seq));
        }
        if entry.at < self.books.clock {
            self.broken(entry.seq, "time went back".into());
        }
        self.check_lines(entry);
        self.check_rules(entry);
        self.note_unsettled(entry);
        let before = self.books.clone();
        let replayed = self.books.record(entry.op, entry.fact.clone(), entry.at);
        match replayed.and_then(|replayed| self.books.check().map(|()| replayed)) {
            Ok(replayed) if replayed.balance == self.balance => {}
            Ok(replayed) => {
                let what =
                    format!("the lots say {} µ, the lines {} µ", replayed.balance, self.balance);
                self.broken(entry.seq, what);
            }
            Err(broken) => {
                self.broken(entry.seq, broken.0);
                self.books = before;
            }
        }
        self.books.seq = entry.seq;
    }

    /// Compares the end with what the engine keeps and adds what was found to `report`.
    pub fn close(mut self, stored: &Account, now: Timestamp, report: &mut Report) {
        if *stored != self.books {
            self.broken(
                stored.seq,
                "the state that is kept differs from the sum of the entries".into(),
            );
        }
        for hold in &stored.holds {
            if hold.deadline <= now {
                let (request, held, charged) = (hold.id, hold.amount(), hold.done);
                let (account, expired_at) = (self.account.clone(), hold.deadline);
                report.unsettled.push(Unsettled { account, request, held, charged, expired_at });
            } else {
                report.open_holds += 1;
            }
        }
        report.accounts += 1;
        report.entries += self.entries;
        report.broken.append(&mut self.findings);
        report.unsettled.extend(self.expired.into_values());
    }

    /// Invariants 1 and 3: lines sum to zero; per lot, granted = remaining + all that left it; the balance is the sum.
    fn check_lines(&mut self, entry: &Entry) {
        let lines = entry.fact.lines();
        let sum: i64 = lines.iter().map(|(_, amount)| amount).sum();
        if sum != 0 {
            self.broken(entry.seq, format!("the lines sum to {sum} µ"));
        }
        let issues = matches!(entry.fact, Fact::Grant { .. } | Fact::Plan { .. });
        for (book, amount) in lines {
            match book {
                Book::Lot(no) => {
                    let lot = self.sums.entry(no).or_default();
                    lot.remaining += amount;
                    if issues {
                        lot.granted += amount;
                    } else {
                        lot.out -= amount;
                    }
                    if lot.remaining < 0 || lot.granted != lot.remaining + lot.out {
                        self.broken(entry.seq, format!("lot {no} gave more than it was granted"));
                    }
                    self.balance += amount;
                }
                Book::Debt => self.balance += amount,
                Book::Issued | Book::Used | Book::Expired | Book::Voided => {}
            }
        }
        if entry.balance != self.balance {
            let what =
                format!("balance {} µ, sum of the entries {} µ", entry.balance, self.balance);
            self.broken(entry.seq, what);
        }
    }

    /// Invariants 5 to 8, on the books before the entry.
    fn check_rules(&mut self, entry: &Entry) {
        let at = entry.at;
        match &entry.fact {
            Fact::Grant { source: Some(source), .. } => {
                if !self.sources.insert(source.clone()) {
                    self.broken(entry.seq, format!("source `{source}` granted twice"));
                }
            }
            Fact::Grant { source: None, lot_kind, .. } => {
                if *lot_kind != LotKind::Plan {
                    self.broken(entry.seq, "a lot without a source that is no plan lot".into());
                }
            }
            Fact::Hold { hold, amount, parts, .. } => {
                self.check_charged_once(*hold, entry.seq);
                if at >= self.books.gate_until {
                    self.broken(entry.seq, "a hold through a closed gate".into());
                }
                if !self.books.debt.is_zero() {
                    self.broken(entry.seq, "a hold in debt".into());
                }
                if *parts != self.in_burn_order(*amount, at) {
                    self.broken(entry.seq, "a hold that is not all, or not in burn order".into());
                }
            }
            Fact::LotExpired { lot, .. } => {
                if self.books.lot(*lot).is_some_and(|lot| at < lot.end) {
                    self.broken(entry.seq, format!("lot {lot} expired before its end"));
                }
            }
            Fact::HoldExpired { hold, .. } => {
                if self.books.hold(*hold).is_some_and(|hold| at < hold.deadline) {
                    self.broken(entry.seq, format!("{hold} expired before its deadline"));
                }
            }
            Fact::Settle { hold, charged, parts, owed, .. } => {
                self.check_taken((*hold, *charged), parts, *owed, entry.seq);
            }
            Fact::Charge { hold, charged, parts, owed, .. } => {
                self.check_taken((*hold, *charged), parts, *owed, entry.seq);
                self.check_charged_once(*hold, entry.seq);
                if self.books.hold(*hold).is_some() {
                    self.broken(entry.seq, format!("{hold} was charged beside its hold"));
                }
                let active = at < self.books.gate_until;
                let due = if active { self.in_burn_order(*charged, at) } else { vec![] };
                if *parts != due {
                    let what = "a charge through a closed gate, not of all, or not in burn order";
                    self.broken(entry.seq, what.into());
                }
                self.charged.insert(*hold);
            }
            Fact::Correct { .. } => self.check_corrected(entry),
            Fact::Gate { .. }
            | Fact::Plan { .. }
            | Fact::Extend { .. }
            | Fact::Release { .. }
            | Fact::Repay { .. }
            | Fact::Void { .. } => {}
        }
    }

    /// What a correction brings in is what it hands out, from the charge that the job had.
    fn check_corrected(&mut self, entry: &Entry) {
        let Fact::Correct { hold, charged, before, back, repaid, lost, parts, owed, .. } =
            &entry.fact
        else {
            return;
        };
        let sum = |parts: &[Part], rest: Credits| {
            parts.iter().fold(rest, |sum, part| sum.saturating_add(part.amount))
        };
        let returned = sum(back, repaid.saturating_add(*lost));
        let taken = sum(parts, *owed);
        if before.saturating_add(taken) != charged.saturating_add(returned) {
            let what = format!("{hold}: {before} and {taken} less {returned} is no {charged}");
            self.broken(entry.seq, what);
        }
        let missing = charged.saturating_sub(*before);
        if *parts != self.in_burn_order(missing, entry.at) {
            self.broken(entry.seq, "a correction that is not in burn order".into());
        }
        let known = self.books.job(*hold);
        if known.is_none_or(|job| job.charged != *before || entry.at >= job.correct_until) {
            self.broken(entry.seq, format!("{hold} had no such charge to correct"));
        }
    }

    /// All that is charged is taken or owed.
    fn check_taken(
        &mut self,
        (hold, charged): (Id, Credits),
        parts: &[Part],
        owed: Credits,
        seq: u64,
    ) {
        let taken = parts.iter().fold(owed, |sum, part| sum.saturating_add(part.amount));
        if taken != charged {
            self.broken(seq, format!("{hold} was charged {charged}, taken {taken}"));
        }
    }

    /// A call that was charged without a hold is not charged or held for again.
    fn check_charged_once(&mut self, hold: Id, seq: u64) {
        if self.charged.contains(&hold) {
            self.broken(seq, format!("{hold} had been charged before"));
        }
    }

    /// What a hold or a charge of `amount` must take: from open lots, earliest in burn order first, unheld credits only.
    fn in_burn_order(&self, amount: Credits, at: Timestamp) -> Vec<Part> {
        let mut left = amount;
        let mut parts = Vec::new();
        for lot in self.books.lots.iter().filter(|lot| lot.is_open(at)) {
            let amount = lot.unheld().min(left);
            if !amount.is_zero() {
                parts.push(Part { lot: lot.no, amount });
                left = left.saturating_sub(amount);
            }
        }
        parts
    }

    fn note_unsettled(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::HoldExpired { hold, done, .. } => {
                let held = self.books.hold(*hold).map_or(Credits::ZERO, Hold::amount);
                let (account, request, charged) = (self.account.clone(), *hold, *done);
                let unsettled = Unsettled { account, request, held, charged, expired_at: entry.at };
                self.expired.insert(*hold, unsettled);
            }
            Fact::Settle { hold, late: true, .. }
            | Fact::Release { hold }
            | Fact::Charge { hold, .. } => {
                self.expired.remove(hold);
            }
            Fact::Settle { .. }
            | Fact::Correct { .. }
            | Fact::Grant { .. }
            | Fact::Gate { .. }
            | Fact::Plan { .. }
            | Fact::Hold { .. }
            | Fact::Extend { .. }
            | Fact::LotExpired { .. }
            | Fact::Repay { .. }
            | Fact::Void { .. } => {}
        }
    }

    fn broken(&mut self, seq: u64, what: String) {
        self.findings.push(Finding { account: self.account.clone(), seq, what });
    }
}
