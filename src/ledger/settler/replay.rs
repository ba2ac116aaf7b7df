//! What waits in the journal, asked of the ledger until it has answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::settle::taken;
use crate::ledger::journal::{Journal, JournalError, Waiting};
use crate::ledger::{Ledger, LedgerError};

/// Calls that are read from the journal at once, and how many of them the ledger is asked about at a time.
const PORTION: u32 = 256;
const AT_ONCE: usize = 32;
/// Pauses between attempts while the ledger is away.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// What the ledger said of a call.
enum Answer {
    Taken,
    /// It will never be taken.
    Refused(String),
    /// Nothing that could be relied on.
    Away,
}

/// Asks about what waits, as long as the process lives.
pub(super) async fn replay(ledger: Ledger, journal: Arc<Journal>) {
    loop {
        journal.written().await;
        let mut pause = RETRY_FIRST;
        while !all_taken(&ledger, &journal).await.is_ok_and(|all| all) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MOST);
        }
    }
}

/// Goes through the journal once; says whether the ledger answered to everything.
async fn all_taken(ledger: &Ledger, journal: &Journal) -> Result<bool, JournalError> {
    let mut last = None;
    loop {
        let portion = journal.due(last, PORTION).await?;
        let Some(end) = portion.last() else { return Ok(true) };
        last = Some(end.id);
        let mut answers = stream::iter(portion)
            .map(async |call| (ask(ledger, &call).await, call))
            .buffer_unordered(AT_ONCE);
        let (mut done, mut away) = (Vec::new(), false);
        while let Some((answer, call)) = answers.next().await {
            match answer {
                Answer::Taken => done.push(call),
                Answer::Refused(reason) => journal.refuse(&call, reason).await?,
                Answer::Away => away = true,
            }
        }
        if !done.is_empty() {
            journal.forget(&done).await?;
            tracing::info!(calls = done.len(), "the ledger took what had waited in the journal");
        }
        if away {
            return Ok(false);
        }
    }
}

async fn ask(ledger: &Ledger, call: &Waiting) -> Answer {
    let Waiting { account, id, operation, .. } = call;
    match ledger.apply(account, *id, operation.clone()).await {
        Ok(reply) => match taken(account, *id, operation, reply.outcome) {
            Ok(()) => Answer::Taken,
            Err(refusal) => Answer::Refused(refusal.to_string()),
        },
        Err(error @ LedgerError::Frozen { .. }) => Answer::Refused(error.to_string()),
        Err(LedgerError::Unknown(_) | LedgerError::Unavailable(_)) => Answer::Away,
    }
}
