//! What the rows say: amounts counted, and the account as the core would store it.

use std::collections::BTreeMap;

use creditgate::credit::{
    Account, Funds, Hold, Id, Lot, LotKind, OpenJob, Part, Source, SourceId, Timestamp,
};

use super::{Begun, Model, Place, Row, Running, Terms, credits};

impl Model {
    pub(super) fn at(&self, lot: u32, place: Place) -> i128 {
        self.count(|row| row.lot == lot && row.place == place)
    }

    fn count(&self, counts: impl Fn(&Row) -> bool) -> i128 {
        self.rows.iter().filter(|row| counts(row)).map(|row| row.amount).sum()
    }

    pub(super) fn held(&self, lot: u32) -> i128 {
        self.count(|row| row.lot == lot && matches!(row.place, Place::Held(..)))
    }

    pub(super) fn remaining(&self, lot: u32) -> i128 {
        self.at(lot, Place::Free) + self.held(lot)
    }

    pub(super) fn granted(&self, lot: u32) -> i128 {
        self.count(|row| row.lot == lot)
    }

    pub(super) fn in_lots(&self) -> i128 {
        self.count(|row| matches!(row.place, Place::Free | Place::Held(..)))
    }

    pub(super) fn is_plan(&self, no: u32) -> bool {
        self.lots.iter().any(|lot| lot.no == no && lot.kind == LotKind::Plan)
    }

    /// Lots that may be used at `now`, in burn order.
    pub(super) fn open_lots(&self, now: Timestamp) -> Vec<u32> {
        let mut open: Vec<_> =
            self.lots.iter().filter(|lot| lot.start <= now && now < lot.end).collect();
        open.sort_by_key(|lot| (priority(lot.kind), lot.end, lot.start, lot.no));
        open.into_iter().map(|lot| lot.no).collect()
    }

    /// The unheld credits that may be used at `now`, in burn order.
    pub(super) fn usable(&self, now: Timestamp) -> Vec<(u32, Place)> {
        self.open_lots(now).into_iter().map(|lot| (lot, Place::Free)).collect()
    }

    /// What `id` holds, in the order in which it was reserved: rows are never reordered.
    pub(super) fn parts_of(&self, id: Id) -> Vec<(u32, Place)> {
        let own = |row: &&Row| matches!(row.place, Place::Held(holder, _) if holder == id);
        self.rows.iter().filter(own).map(|row| (row.lot, row.place)).collect()
    }

    /// What could be spent at `now`.
    pub(in crate::core) fn funds(&self, now: Timestamp) -> Funds {
        let open = self.open_lots(now);
        let of_kind = |kind| {
            let lots = self.lots.iter().filter(|lot| lot.kind == kind && open.contains(&lot.no));
            credits(lots.map(|lot| self.at(lot.no, Place::Free)).sum())
        };
        let plan = self.lots.iter().find(|lot| lot.kind == LotKind::Plan && open.contains(&lot.no));
        Funds {
            active: now < self.gate,
            plan: of_kind(LotKind::Plan),
            gift: of_kind(LotKind::Gift),
            purchased: of_kind(LotKind::Purchased),
            held: credits(open.iter().map(|no| self.held(*no)).sum()),
            debt: credits(self.debt),
            plan_end: plan.map(|lot| lot.end),
        }
    }

    /// What the lots hold, less the debt.
    pub(in crate::core) fn balance(&self) -> i64 {
        i64::try_from(self.in_lots() - self.debt).unwrap()
    }

    /// The source as the core would remember it.
    pub(in crate::core) fn source(&self, source: &SourceId) -> Option<Source> {
        let old = self.sources.get(source)?;
        Some(Source {
            lot: old.lot,
            kind: old.kind,
            start: old.start,
            end: old.end,
            granted: credits(old.amount),
            expired: credits(old.expired),
            voided: credits(old.voided),
            reclaimed: credits(old.taken + old.owed),
        })
    }

    /// The account as the core would store it at `now`, as entry number `seq`.
    pub(in crate::core) fn account(&self, seq: u64, now: Timestamp) -> Account {
        let kept = |lot: &&Terms| {
            let may_fill = now < lot.end || self.paid_a_job(lot.no, now);
            self.remaining(lot.no) > 0 || (may_fill && !lot.forgotten)
        };
        let mut lots: Vec<_> = self.lots.iter().filter(kept).map(|lot| self.lot(lot)).collect();
        lots.sort_by_key(|lot| (priority(lot.kind), lot.end, lot.start, lot.no));
        Account {
            seq,
            clock: self.clock,
            gate_until: self.gate,
            version: self.version,
            debt: credits(self.debt),
            plan_start: self.plan_start,
            lots_opened: u32::try_from(self.lots.len()).unwrap(),
            lots,
            holds: self.holds(),
            expired: self.expired.iter().filter(|old| now < old.settle_until).copied().collect(),
            jobs: self.open_jobs(now).map(open_job).collect(),
        }
    }

    /// Jobs whose charge may be corrected at `now`: the newest ones.
    pub(super) fn open_jobs(&self, now: Timestamp) -> impl Iterator<Item = &Begun> {
        self.jobs.iter().filter(move |job| now < job.until)
    }

    /// Whether credits of the lot paid for a job that is open at `now`.
    pub(super) fn paid_a_job(&self, lot: u32, now: Timestamp) -> bool {
        self.open_jobs(now).any(|job| job.paid.iter().any(|(paid, _)| *paid == lot))
    }

    fn lot(&self, lot: &Terms) -> Lot {
        Lot {
            no: lot.no,
            kind: lot.kind,
            source: lot.source.clone(),
            start: lot.start,
            end: lot.end,
            granted: credits(self.granted(lot.no)),
            remaining: credits(self.remaining(lot.no)),
            held: credits(self.held(lot.no)),
        }
    }

    fn holds(&self) -> Vec<Hold> {
        let mut parts = BTreeMap::<Id, Vec<Part>>::new();
        for row in &self.rows {
            if let Place::Held(holder, _) = row.place {
                let part = Part { lot: row.lot, amount: credits(row.amount) };
                parts.entry(holder).or_default().push(part);
            }
        }
        let hold = |&Running { id, deadline, done }: &Running| Hold {
            id,
            deadline,
            done: credits(done),
            parts: parts.remove(&id).unwrap_or_default(),
        };
        self.running.iter().map(hold).collect()
    }
}

fn open_job(job: &Begun) -> OpenJob {
    let part = |&(lot, amount): &(u32, i128)| Part { lot, amount: credits(amount) };
    OpenJob {
        call: job.call,
        correct_until: job.until,
        charged: credits(job.charged),
        owed: credits(job.owed),
        parts: job.paid.iter().map(part).collect(),
        job: job.job.clone(),
    }
}

/// The burn order's first rule, as the specification has it.
fn priority(kind: LotKind) -> u8 {
    match kind {
        LotKind::Plan => 10,
        LotKind::Gift => 15,
        LotKind::Purchased => 20,
    }
}
