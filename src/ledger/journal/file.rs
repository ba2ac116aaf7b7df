//! The journal's file and the one thread that writes it: steps that wait together are one transaction, synced before
//! anybody is told of it.

use std::path::Path;
use std::sync::mpsc;

use rusqlite::{Connection, Row, Transaction, params};
use tokio::sync::oneshot;

use super::{JournalError, Waiting};
use crate::credit::{AccountId, Credits, Id, Operation};
use crate::ledger::sqlite::{OpenError, schema};

/// The format that this version reads and writes, in `PRAGMA user_version`.
const FORMAT: i64 = 1;
/// Steps in one transaction.
const BATCH: usize = 256;

/// Tells that the transaction of which a step was part is on the disk.
type Answer = Box<dyn FnOnce() + Send>;
type Step = Box<dyn FnOnce(&Transaction<'_>) -> rusqlite::Result<Answer> + Send>;

/// What a journal holds when it is opened.
pub(super) struct Found {
    pub(super) rows: Vec<Waiting>,
    /// Calls that ran when the gateway died.
    pub(super) interrupted: Vec<Waiting>,
    pub(super) refused: usize,
}

/// The file, as those see it who write to it.
pub(super) struct File {
    steps: mpsc::Sender<Step>,
}

impl File {
    /// Opens or creates the journal at `path` and starts its thread. Calls that ran when the gateway died have ended.
    pub(super) fn open(path: &Path) -> Result<(Self, Found), OpenError> {
        let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let mut db = schema::connect(path).map_err(sqlite)?;
        db.pragma_update(None, "synchronous", "full").map_err(sqlite)?;
        let format: i64 =
            db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite)?;
        match format {
            FORMAT => {}
            0 => create(&mut db).map_err(sqlite)?,
            found => return Err(OpenError::Format { path: path.to_owned(), found, known: FORMAT }),
        }
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        schema::sync_folder(path).map_err(io)?;
        let found = find(&mut db).map_err(sqlite)?;
        let (steps, queue) = mpsc::channel();
        let write = move || write(&mut db, &queue);
        std::thread::Builder::new().name("journal".into()).spawn(write).map_err(io)?;
        Ok((Self { steps }, found))
    }

    /// Carries out `step` and waits until it is on the disk.
    pub(super) async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        let step: Step = Box::new(move |db| {
            let done = step(db)?;
            // Whoever asked may be gone; what was asked is done all the same.
            Ok(Box::new(move || drop(reply.send(done))))
        });
        // A step that fails drops its reply with the transaction: why stands in the log.
        self.steps.send(step).map_err(|_| JournalError)?;
        answer.await.map_err(|_| JournalError)
    }
}

/// Notes what the ledger is to be asked, in place of what was noted of the call before.
pub(super) fn put(
    db: &Transaction<'_>,
    state: &str,
    Waiting { account, id, allowed, operation }: &Waiting,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO call VALUES (?1, ?2, ?3, ?4, ?5, NULL) ON CONFLICT (id) DO UPDATE
               SET state = excluded.state, allowed = excluded.allowed, operation = excluded.operation";
    let row = params![bytes(*id), account.as_str(), state, allowed.micros(), to_json(operation)?];
    db.prepare_cached(sql)?.execute(row).map(|_| ())
}

/// Notes what the ledger is to be asked if the gateway dies, unless the call has ended meanwhile.
pub(super) fn confirm(db: &Transaction<'_>, id: Id, operation: &Operation) -> rusqlite::Result<()> {
    let sql = "UPDATE call SET operation = ?2 WHERE id = ?1 AND state = 'running'";
    db.prepare_cached(sql)?.execute(params![bytes(id), to_json(operation)?]).map(|_| ())
}

/// Calls whose end the ledger has not taken, oldest first, after the call `after`.
pub(super) fn due(
    db: &Connection,
    after: Option<Id>,
    limit: u32,
) -> rusqlite::Result<Vec<Waiting>> {
    let sql = "SELECT id, account, allowed, operation FROM call
               WHERE state = 'ended' AND id > ?1 ORDER BY id LIMIT ?2";
    let after = after.map_or([0; 16], bytes);
    db.prepare_cached(sql)?.query_map(params![after, limit], read)?.collect()
}

/// The ledger has taken them.
pub(super) fn forget(db: &Transaction<'_>, ids: &[Id]) -> rusqlite::Result<()> {
    let mut delete = db.prepare_cached("DELETE FROM call WHERE id = ?1")?;
    ids.iter().try_for_each(|id| delete.execute([bytes(*id)]).map(|_| ()))
}

/// The ledger will never take it: kept for a person to look at.
pub(super) fn refuse(db: &Transaction<'_>, id: Id, reason: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE call SET state = 'refused', reason = ?2 WHERE id = ?1";
    db.prepare_cached(sql)?.execute(params![bytes(id), reason]).map(|_| ())
}

fn create(db: &mut Connection) -> rusqlite::Result<()> {
    let step = db.transaction()?;
    step.execute_batch(include_str!("schema.sql"))?;
    step.pragma_update(None, "user_version", FORMAT)?;
    step.commit()
}

fn find(db: &mut Connection) -> rusqlite::Result<Found> {
    let step = db.transaction()?;
    let sql = "SELECT id, account, allowed, operation FROM call WHERE state = 'running'";
    let interrupted = step.prepare(sql)?.query_map([], read)?.collect::<Result<_, _>>()?;
    step.execute("UPDATE call SET state = 'ended' WHERE state = 'running'", [])?;
    let rows = due(&step, None, u32::MAX)?;
    let sql = "SELECT count(*) FROM call WHERE state = 'refused'";
    let refused = step.query_row(sql, [], |row| row.get(0))?;
    step.commit()?;
    Ok(Found { rows, interrupted, refused })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    let wrong = |at, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error)
    };
    let account: String = row.get(1)?;
    let operation: String = row.get(3)?;
    let operation: Operation =
        serde_json::from_str(&operation).map_err(|error| wrong(3, error.into()))?;
    Ok(Waiting {
        id: row.get::<_, [u8; 16]>(0).map(|bytes| Id::from_u128(u128::from_be_bytes(bytes)))?,
        account: AccountId::try_from(account).map_err(|error| wrong(1, error.into()))?,
        allowed: Credits::from_micros(row.get(2)?).unwrap_or_default(),
        operation,
    })
}

fn write(db: &mut Connection, queue: &mpsc::Receiver<Step>) {
    while let Ok(first) = queue.recv() {
        let steps = std::iter::once(first).chain(queue.try_iter().take(BATCH - 1));
        if let Err(error) = write_together(db, steps) {
            tracing::error!(%error, "the journal could not be written");
        }
    }
}

fn write_together(db: &mut Connection, steps: impl Iterator<Item = Step>) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    let answers = steps.map(|step| step(&transaction)).collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    for answer in answers {
        answer();
    }
    Ok(())
}

fn to_json(operation: &Operation) -> rusqlite::Result<String> {
    serde_json::to_string(operation)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn bytes(id: Id) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}
