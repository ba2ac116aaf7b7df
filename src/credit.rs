//! The rules of money: accounts, lots, holds, prices and months.
//!
//! No I/O, no clock, no float, no async, and no map whose order is left to chance: the same history gives the
//! same books on every machine, which is what the ledger engines and the auditor rely on.

mod amount;
mod time;

pub use amount::Credits;
pub use time::Timestamp;
