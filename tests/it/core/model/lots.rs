//! What opens, changes and takes back lots.

use creditgate::credit::{Done, LotKind, Period, Refusal, SourceId, Timestamp};

use super::{Granted, MAX, Model, Place, Terms, credits, micros};

impl Model {
    pub(super) fn grant(
        &mut self,
        source: &SourceId,
        (kind, start, end, amount): (LotKind, Timestamp, Timestamp, i128),
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        if let Some(old) = self.sources.get(source) {
            let same = (old.kind, old.start, old.end, old.amount) == (kind, start, end, amount);
            let before = Done::GrantedBefore { lot: old.lot };
            return if same { Ok(before) } else { Err(Refusal::Conflict) };
        }
        if end <= start || end <= now {
            return Err(Refusal::Ended);
        }
        if self.in_lots() + amount > MAX {
            return Err(Refusal::TooMuch);
        }
        let (lot, repaid) = self.open_lot(kind, Some(source), (start, end), amount);
        let granted =
            Granted { lot, kind, start, end, amount, voided: 0, owed: 0, taken: 0, expired: 0 };
        self.sources.insert(source.clone(), granted);
        Ok(Done::Granted { lot, repaid: credits(repaid) })
    }

    /// The open plan lot gets what the new allowance leaves after what is gone from it, and keeps what is held.
    pub(super) fn change_plan(&mut self, allowance: i128, now: Timestamp) -> Result<Done, Refusal> {
        let Some(lot) = self.open_lots(now).into_iter().find(|no| self.is_plan(*no)) else {
            return Ok(Done::Planned { change: 0 });
        };
        let remaining = self.remaining(lot);
        let gone = self.granted(lot) - remaining;
        let change = (allowance - gone).max(self.held(lot)) - remaining;
        if self.in_lots() + change > MAX {
            return Err(Refusal::TooMuch);
        }
        self.put(lot, Place::Free, change);
        self.wrote |= change != 0;
        Ok(Done::Planned { change: i64::try_from(change).unwrap() })
    }

    pub(super) fn void(
        &mut self,
        source: &SourceId,
        total: i128,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        let before = self.clone();
        let old = self.sources.get(source).cloned().ok_or(Refusal::UnknownSource)?;
        let due = (total.min(old.amount) - old.voided).max(0);
        let taken = self.take(due, &[(old.lot, Place::Free)], Place::Voided);
        // What was there, less what is there, what was asked for, and what had expired whenever it did.
        let used = old.amount - self.at(old.lot, Place::Free) - old.expired;
        let owed = (due - taken).min(used - old.taken - taken - old.owed).max(0);
        self.debt += owed;
        self.owe(old.lot, owed, now);
        if self.debt > MAX {
            *self = before;
            return Err(Refusal::TooMuch);
        }
        self.wrote |= due > 0;
        let asked = Granted {
            voided: old.voided + due,
            owed: old.owed + owed,
            taken: old.taken + taken,
            ..old
        };
        self.sources.insert(source.clone(), asked);
        Ok(Done::Voided { taken: credits(taken), owed: credits(owed) })
    }

    pub(super) fn open_period(&mut self, period: Option<Period>, now: Timestamp) {
        let Some(Period { start, end, allowance }) = period else { return };
        let new = self.plan_start < start && start <= now && now < end;
        if !new || allowance.is_zero() || self.in_lots() + micros(allowance) > MAX {
            return;
        }
        let current = |lot: &&mut Terms| lot.kind == LotKind::Plan && now < lot.end;
        if let Some(lot) = self.lots.iter_mut().find(current) {
            lot.end = now;
            let rest = (lot.no, Place::Free);
            self.take(MAX, &[rest], Place::Expired);
        }
        self.open_lot(LotKind::Plan, None, (start, end), micros(allowance));
        self.plan_start = start;
        self.wrote = true;
    }

    fn open_lot(
        &mut self,
        kind: LotKind,
        source: Option<&SourceId>,
        (start, end): (Timestamp, Timestamp),
        amount: i128,
    ) -> (u32, i128) {
        let no = u32::try_from(self.lots.len()).unwrap() + 1;
        self.lots.push(Terms { no, kind, source: source.cloned(), start, end, forgotten: false });
        self.put(no, Place::Free, amount);
        let repaid = self.take(self.debt, &[(no, Place::Free)], Place::Repaid);
        self.debt -= repaid;
        (no, repaid)
    }
}
