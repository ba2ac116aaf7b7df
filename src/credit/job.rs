//! Work that goes on after its call was charged, and what is remembered of it until its charge is corrected.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Credits, Id, Part, Timestamp};

/// How long the charge of a job may be corrected, in ms: 35 days (semantics.md section 4).
pub const CORRECTABLE_MILLIS: u64 = 35 * 24 * 60 * 60 * 1000;

/// Jobs of one account whose charge may be corrected, at once: bounds its size in the store. Beyond them the oldest
/// keep their charge.
pub const JOBS_MAX: usize = 256;

/// How a job is found again and priced: its name, a semicolon, and the terms of its price. One word of 1 to 768 printable
/// ASCII characters without spaces. The rules of money pass it on and never read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Job(String);

/// Why a text describes no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job is written as its name, `;` and its terms, in 1 to 768 characters without spaces")]
pub struct BadJob;

impl Job {
    /// A job with this name, on these terms.
    ///
    /// # Errors
    /// [`BadJob`] for characters that have no place in one word, or too many of them.
    pub fn new(name: &str, terms: &str) -> Result<Self, BadJob> {
        if name.contains(';') {
            return Err(BadJob);
        }
        format!("{name};{terms}").try_into()
    }

    /// What it is found by.
    pub fn name(&self) -> &str {
        self.0.split_once(';').map_or("", |(name, _)| name)
    }

    /// What it is priced by.
    pub fn terms(&self) -> &str {
        self.0.split_once(';').map_or("", |(_, terms)| terms)
    }
}

impl TryFrom<String> for Job {
    type Error = BadJob;

    fn try_from(text: String) -> Result<Self, BadJob> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        let has_name = text.find(';').is_some_and(|at| at > 0);
        if text.len() <= 768 && printable && has_name { Ok(Self(text)) } else { Err(BadJob) }
    }
}

impl FromStr for Job {
    type Err = BadJob;

    fn from_str(text: &str) -> Result<Self, BadJob> {
        text.to_owned().try_into()
    }
}

impl From<Job> for String {
    fn from(job: Job) -> Self {
        job.0
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is remembered of a job that was charged, until the charge is corrected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenJob {
    /// The call that began it.
    pub call: Id,
    /// A correction is accepted before this instant.
    pub correct_until: Timestamp,
    /// What was charged in all.
    pub charged: Credits,
    /// What of it became debt, at once or by a refund of what it was taken from: the last of it.
    pub owed: Credits,
    /// The lots that the rest was taken from, in the order in which it was.
    pub parts: Vec<Part>,
    /// How it is found and priced.
    pub job: Job,
}
