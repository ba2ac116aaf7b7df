//! The rules of money: accounts, lots, holds, prices and months.
//!
//! No I/O, no clock, no float, no async, and no map whose order is left to chance: the same history gives the
//! same books on every machine, which is what the ledger engines and the auditor rely on.

mod account;
mod amount;
mod apply;
mod claim;
mod entry;
mod id;
mod job;
mod lot;
mod operation;
mod period;
mod price;
mod rates;
mod time;
mod usage;

pub use account::{Account, Broken, ExpiredHold, Funds, HOLDS_MAX, Hold, REMEMBERED_MILLIS};
pub use amount::{AmountError, Credits};
pub use apply::{Applied, apply, read};
pub use claim::{
    BadClaim, Claim, ClaimName, Claims, Decision, Fate, Repeated, SENT_AGAIN_MAX, Task, decide,
};
pub use entry::{Book, Entry, Fact};
pub use id::{AccountId, BadAccountId, BadFeature, BadId, BadSourceId, Feature, Id, SourceId};
pub use job::{BadJob, CORRECTABLE_MILLIS, JOBS_MAX, Job, OpenJob};
pub use lot::{Lot, LotKind, Part, Source};
pub use operation::{Done, Operation, Refusal, Reply};
pub use period::{Period, purchase_end};
pub use price::{Glob, Price, PriceList, PriceSource, Quote, Rule};
pub use rates::{BadRates, Rates};
pub use time::Timestamp;
pub use usage::{BadWork, Basis, Unit, Usage, Work};
