//! The invariants of the ledger, checked from its entries alone: no rule of when what happens, only what must
//! be true whatever happened. Numbers are those of ledger.md; 9 needs callers at once and is the engines'.

use std::collections::{BTreeMap, BTreeSet};

use creditgate::credit::{
    Account, Book, Credits, Entry, Fact, Id, LotKind, Part, SourceId, Timestamp,
};

#[derive(Clone, Copy)]
struct Lot {
    kind: LotKind,
    start: Timestamp,
    end: Timestamp,
    granted: i64,
    used: i64,
    expired: i64,
    voided: i64,
    repaid: i64,
    held: i64,
}

impl Lot {
    fn remaining(&self) -> i64 {
        self.granted - self.used - self.expired - self.voided - self.repaid
    }

    fn unheld(&self) -> i64 {
        self.remaining() - self.held
    }

    fn is_open(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

/// What the entries so far add up to.
#[derive(Default)]
pub(super) struct Audit {
    seq: u64,
    at: Timestamp,
    gate: Timestamp,
    balance: i64,
    debt: i64,
    lots: BTreeMap<u32, Lot>,
    holds: BTreeMap<Id, Vec<Part>>,
    /// Holds that ran out with nothing charged.
    unpaid: BTreeSet<Id>,
    /// By source: granted, and taken back so far.
    sources: BTreeMap<SourceId, (i64, i64)>,
    issued: BTreeSet<(LotKind, Timestamp)>,
    folded: Account,
}

impl Audit {
    /// Takes the next entry; why it may not stand, if so.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), String> {
        check(entry.seq == self.seq + 1, "4: a gap in the numbers")?;
        check(entry.at >= self.at, "4: time went back")?;
        (self.seq, self.at) = (entry.seq, entry.at);

        let lines = entry.fact.lines();
        check(lines.iter().map(|(_, amount)| amount).sum::<i64>() == 0, "3: lines don't sum to 0")?;
        let ours = |book: &Book| match book {
            Book::Lot(_) | Book::Debt => true,
            Book::Issued | Book::Used | Book::Expired | Book::Voided => false,
        };
        self.balance += lines.iter().filter(|l| ours(&l.0)).map(|l| l.1).sum::<i64>();
        check(entry.balance == self.balance, "3: the balance is not the sum of the entries")?;

        self.fact(&entry.fact)?;
        for (no, lot) in &self.lots {
            let sound = 0 <= lot.held && lot.held <= lot.remaining();
            check(sound, &format!("1: 0 ≤ held ≤ remaining fails for lot {no}"))?;
        }
        check(self.debt >= 0, "the debt is negative")?;
        let remaining: i64 = self.lots.values().map(Lot::remaining).sum();
        check(self.balance == remaining - self.debt, "3: the balance is not lots less debt")?;

        let again = self.folded.record(entry.op, entry.fact.clone(), entry.at);
        check(again.as_ref() == Ok(entry), &format!("the fold writes another entry: {again:?}"))
    }

    /// The account must be what its entries say.
    pub(super) fn state(&self, account: &Account) -> Result<(), String> {
        check(
            *account == self.folded,
            &format!("the fold differs:\n{:?}\n{account:?}", self.folded),
        )?;
        account.check().map_err(|why| why.to_string())?;
        check(account.balance() == self.balance, "3: balance")?;
        check(account.debt.signed() == self.debt, "debt")?;
        for (no, lot) in &self.lots {
            let kept = account.lot(*no).map(|l| [l.granted, l.remaining, l.held].map(i64_of));
            let kept = kept.unwrap_or([lot.granted, 0, 0]);
            let counted = [lot.granted, lot.remaining(), lot.held];
            check(kept == counted, &format!("1: lot {no} is {kept:?}, entries say {counted:?}"))?;
            let parts = account.holds.iter().flat_map(|hold| &hold.parts);
            let held = sum(parts.filter(|part| part.lot == *no));
            check(held == lot.held, &format!("2: lot {no} holds {held}"))?;
        }
        let open: Vec<_> = account.holds.iter().map(|hold| hold.id).collect();
        check(open.len() == self.holds.len(), "2: another number of open holds")?;
        check(open.iter().all(|id| self.holds.contains_key(id)), "2: other open holds")
    }

    fn expired(&mut self, hold: Id, done: i64, parts: &[Part]) -> Result<(), String> {
        let own = self.unreserve(hold)?;
        if done == 0 {
            self.unpaid.insert(hold);
        }
        check(sum(parts) == done, "2: expired with another charge than its work")?;
        let foreign = split(parts, &own).1;
        check(foreign.is_empty(), "8: an expired hold took what it did not hold")?;
        parts.iter().try_for_each(|p| self.lot(p.lot).map(|l| l.used += p.amount.signed()))
    }

    fn corrected(&mut self, fact: &Fact) -> Result<(), String> {
        let Fact::Correct { charged, before, back, repaid, lost, parts, owed, .. } = fact else {
            return Ok(());
        };
        let came_back = sum(back) + repaid.signed() + lost.signed();
        let taken = sum(parts) + owed.signed();
        check(before.signed() + taken - came_back == charged.signed(), "1: a correction")?;
        check(came_back == 0 || taken == 0, "a correction both ways")?;
        self.debt += owed.signed() - repaid.signed();
        for part in back {
            self.lot(part.lot)?.used -= part.amount.signed();
        }
        self.leave(parts, |lot, amount| lot.used += amount)
    }

    fn fact(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Grant { source, lot, lot_kind, start, end, amount, repaid } => {
                let terms = (*lot_kind, *start, *end);
                self.granted(source.as_ref(), *lot, terms, amount.signed(), repaid.signed())
            }
            Fact::Gate { until, .. } => {
                self.gate = *until;
                Ok(())
            }
            Fact::Plan { lot, change, .. } => {
                let at = self.at;
                let lot = self.lot(*lot)?;
                check(lot.kind == LotKind::Plan && lot.is_open(at), "6: no open plan lot")?;
                lot.granted += change;
                Ok(())
            }
            Fact::Hold { hold, amount, deadline: _, parts, feature: _ } => {
                check(!self.holds.contains_key(hold), "5: the hold is open already")?;
                check(self.debt == 0, "8: a new hold in debt")?;
                check(sum(parts) == amount.signed(), "2: the parts are not the hold")?;
                self.holds.insert(*hold, Vec::new());
                self.reserve(*hold, parts)
            }
            Fact::Extend { hold, added, deadline: _, done } => {
                self.reserve(*hold, added)?;
                check(done.signed() <= sum(&self.holds[hold]), "2: more done than held")
            }
            Fact::Settle { hold, charged, parts, owed, late, work: _, job: _ } => {
                self.settled(*hold, charged.signed(), parts, owed.signed(), *late)
            }
            Fact::Charge { hold, charged, parts, owed, feature: _, work: _, job: _ } => {
                self.charged(*hold, charged.signed(), parts, owed.signed())
            }
            Fact::Correct { .. } => self.corrected(fact),
            Fact::Release { hold } => self.given_up(*hold),
            Fact::HoldExpired { hold, done, parts, .. } => {
                self.expired(*hold, done.signed(), parts)
            }
            Fact::LotExpired { lot, amount } => {
                let at = self.at;
                let lot = self.lot(*lot)?;
                check(lot.end <= at && lot.unheld() == amount.signed(), "6: expired too early")?;
                lot.expired += amount.signed();
                Ok(())
            }
            Fact::Repay { parts } => {
                check(self.at < self.gate, "6: repaid through a closed gate")?;
                self.debt -= sum(parts);
                self.leave(parts, |lot, amount| lot.repaid += amount)
            }
            Fact::Void { source, lot, total: _, taken, owed } => {
                let (granted, back) = self.sources.get_mut(source).ok_or("5: unknown source")?;
                *back += taken.signed() + owed.signed();
                check(back <= granted, "1: more taken back than granted")?;
                self.debt += owed.signed();
                let lot = self.lot(*lot)?;
                check(taken.signed() <= lot.unheld(), "8: a refund took held credits")?;
                check(owed.is_zero() || lot.unheld() == taken.signed(), "a debt beside credits")?;
                lot.voided += taken.signed();
                Ok(())
            }
        }
    }

    fn granted(
        &mut self,
        source: Option<&SourceId>,
        no: u32,
        (kind, start, end): (LotKind, Timestamp, Timestamp),
        granted: i64,
        repaid: i64,
    ) -> Result<(), String> {
        check(self.at < end, "6: a lot that has ended was opened")?;
        if let Some(source) = source {
            let first = self.sources.insert(source.clone(), (granted, 0)).is_none();
            check(first, "5: a source granted twice")?;
        } else {
            check(self.at < self.gate, "6: a period was opened through a closed gate")?;
            check(self.issued.insert((kind, start)), "5: a period was opened twice")?;
            let plans = self.lots.values_mut().filter(|lot| lot.kind == LotKind::Plan);
            plans.for_each(|lot| lot.end = lot.end.min(self.at));
        }
        check(repaid == self.debt.min(granted), "8: a grant repays debt first")?;
        self.debt -= repaid;
        let (used, expired, voided, held) = (0, 0, 0, 0);
        let lot = Lot { kind, start, end, granted, used, expired, voided, repaid, held };
        check(self.lots.insert(no, lot).is_none(), "5: a lot's number was given twice")
    }

    fn settled(
        &mut self,
        hold: Id,
        charged: i64,
        parts: &[Part],
        owed: i64,
        late: bool,
    ) -> Result<(), String> {
        check(sum(parts) + owed == charged, "3: the charge is not parts and debt")?;
        let mine = self.holds.get(&hold).filter(|_| !late).cloned().unwrap_or_default();
        let (own, overrun) = split(parts, &mine);
        let beyond = owed > 0 || !overrun.is_empty();
        check(!beyond || sum(&own) == sum(&mine), "8: an overrun before the hold was used up")?;
        // While the hold still reserves its own, nothing of that looks unheld.
        self.leave(&overrun, |lot, amount| lot.used += amount)?;
        let at = self.at;
        let free = self.lots.values().any(|lot| lot.is_open(at) && lot.unheld() > 0);
        check(owed == 0 || !free, "8: a debt beside credits")?;
        if late {
            self.unpaid.remove(&hold);
        } else {
            self.unreserve(hold)?;
        }
        self.debt += owed;
        own.iter()
            .try_for_each(|part| self.lot(part.lot).map(|lot| lot.used += part.amount.signed()))
    }

    fn charged(&mut self, hold: Id, charged: i64, parts: &[Part], owed: i64) -> Result<(), String> {
        check(!self.holds.contains_key(&hold), "5: charged beside its hold")?;
        check(sum(parts) + owed == charged, "3: the charge is not parts and debt")?;
        let (at, open) = (self.at, self.at < self.gate);
        check(open || parts.is_empty(), "6: charged through a closed gate")?;
        self.leave(parts, |lot, amount| lot.used += amount)?;
        let free = self.lots.values().any(|lot| lot.is_open(at) && lot.unheld() > 0);
        check(owed == 0 || !open || !free, "8: a debt beside credits")?;
        self.debt += owed;
        Ok(())
    }

    /// Credits that nobody held leave open lots, or are reserved: in burn order, from unheld credits.
    fn leave(&mut self, parts: &[Part], mut book: impl FnMut(&mut Lot, i64)) -> Result<(), String> {
        let at = self.at;
        for part in parts {
            let lot = self.lot(part.lot)?;
            check(lot.is_open(at), "6: credits left a lot outside its window")?;
            check(part.amount.signed() > 0, "2: an empty part")?;
            check(part.amount.signed() <= lot.unheld(), "8: credits that others hold were used")?;
            book(lot, part.amount.signed());
        }
        let order = |no: &u32, lot: &Lot| (lot.kind, lot.end, lot.start, *no);
        let last = parts.iter().map(|part| order(&part.lot, &self.lots[&part.lot])).max();
        let earlier = |(no, lot): (&u32, &Lot)| {
            lot.is_open(at) && Some(order(no, lot)) < last && lot.unheld() > 0
        };
        check(!self.lots.iter().any(earlier), "7: an earlier lot was passed over")
    }

    fn reserve(&mut self, hold: Id, parts: &[Part]) -> Result<(), String> {
        check(parts.is_empty() || self.at < self.gate, "6: reserved through a closed gate")?;
        self.leave(parts, |lot, amount| lot.held += amount)?;
        self.holds.get_mut(&hold).ok_or("5: the hold is not open")?.extend_from_slice(parts);
        Ok(())
    }

    fn given_up(&mut self, hold: Id) -> Result<(), String> {
        if self.holds.contains_key(&hold) {
            return self.unreserve(hold).map(drop);
        }
        check(self.unpaid.remove(&hold), "5: nothing to give up")
    }

    fn unreserve(&mut self, hold: Id) -> Result<Vec<Part>, String> {
        let parts = self.holds.remove(&hold).ok_or("5: the hold is not open")?;
        for part in &parts {
            self.lot(part.lot)?.held -= part.amount.signed();
        }
        Ok(parts)
    }

    fn lot(&mut self, no: u32) -> Result<&mut Lot, String> {
        self.lots.get_mut(&no).ok_or_else(|| format!("lot {no} was never opened"))
    }
}

/// What of `parts` comes out of `held`, and what beyond it.
fn split(parts: &[Part], held: &[Part]) -> (Vec<Part>, Vec<Part>) {
    let (mut left, mut own, mut beyond) = (held.to_vec(), Vec::new(), Vec::new());
    for part in parts {
        let mut rest = part.amount.signed();
        for mine in left.iter_mut().filter(|mine| mine.lot == part.lot) {
            let used = rest.min(mine.amount.signed());
            mine.amount = credits(mine.amount.signed() - used);
            rest -= used;
        }
        own.push(Part { lot: part.lot, amount: credits(part.amount.signed() - rest) });
        beyond.push(Part { lot: part.lot, amount: credits(rest) });
    }
    beyond.retain(|part| !part.amount.is_zero());
    (own, beyond)
}

fn sum<'a>(parts: impl IntoIterator<Item = &'a Part>) -> i64 {
    parts.into_iter().map(|part| part.amount.signed()).sum()
}

fn i64_of(amount: Credits) -> i64 {
    amount.signed()
}

fn credits(micros: i64) -> Credits {
    Credits::from_micros(micros.unsigned_abs()).unwrap()
}

fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("invariant {otherwise}")) }
}
