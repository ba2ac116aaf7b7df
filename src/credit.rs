//! The rules of money: accounts, lots, holds, prices and months.
//!
//! No I/O, no clock, no float, no async, and no map whose order is left to chance: the same history gives the
//! same books on every machine, which is what the ledger engines and the auditor rely on.

mod amount;
mod price;
mod time;

pub use amount::{AmountError, Credits};
pub use price::{ModelGlob, Price, PriceList, PriceSource, Quote, Rule};
pub use time::Timestamp;
