//! Steps that are acknowledged only when replicas have them, and the server's own file: grants, refunds, changes of the
//! directory. A fail-over must not take back what somebody paid for.
//!
//! The step goes over a connection that nobody shares, for a connection that waits holds up all that is sent after it.
//! It is followed at once by a write of no importance and by the wait. The write is there because a server waits for
//! what was written *on this connection*, and a step that is repeated is answered from memory and writes nothing. That
//! all three go to one server in one piece is what makes the wait mean this step: asked of whoever is the master a moment
//! later, it could be fulfilled by a server that has never seen it.

use std::time::Duration;

use ::redis::{Cmd, Pipeline, Value, cmd};

use super::dial::Dialer;
use super::link::Failure;
use super::node::{Node, Present};
use super::{Settings, keys};
use crate::config::Replicas;

/// What a step waits for, as it is set.
pub(super) struct Acknowledgement {
    replicas: Replicas,
    limit: Duration,
}

/// What a step waits for on one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    replicas: u8,
    /// Whether the server's own file must be synced too, and the replicas' files.
    files: bool,
    limit: Duration,
}

impl Acknowledgement {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { replicas: settings.replicas, limit: settings.replicas_timeout }
    }

    /// What there is to wait for on this server; perhaps nothing.
    pub(super) fn of(&self, server: &Present) -> Option<Wait> {
        let replicas = match self.replicas {
            Replicas::Auto => server.replicas.min(1),
            Replicas::AtLeast(number) => number,
        };
        let wait = Wait { replicas, files: server.syncs, limit: self.limit };
        (replicas > 0 || server.syncs).then_some(wait)
    }
}

impl Wait {
    fn command(&self) -> Cmd {
        let millis = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        let mut command = cmd(if self.files { "WAITAOF" } else { "WAIT" });
        if self.files {
            command.arg(1);
        }
        command.arg(self.replicas).arg(millis);
        command
    }

    /// Whether the reply says that all have it; else how many replicas do.
    fn fulfilled(&self, reply: &Value) -> Result<(), u64> {
        let number = |value: &Value| match value {
            Value::Int(number) => u64::try_from(*number).unwrap_or_default(),
            _ => 0,
        };
        let (own_file, replicas) = match reply {
            Value::Array(both) => {
                (both.first().is_some_and(|own| number(own) > 0), both.get(1).map_or(0, number))
            }
            other => (!self.files, number(other)),
        };
        if own_file && replicas >= u64::from(self.replicas) { Ok(()) } else { Err(replicas) }
    }

    /// What is said when too few had it in time.
    pub(super) fn complaint(&self, had: u64) -> String {
        let Self { replicas, files, limit } = self;
        let file = if *files { " and its own file" } else { "" };
        format!(
            "it was carried out, but {had} of {replicas} replicas{file} confirmed it within {limit:?}, so that a fail-over \
             could undo it: repeat it with the same id or source, which has one effect. If this goes on, look after the \
             replicas, or set `replicas` and `replicas_timeout` under [redis]"
        )
    }
}

/// Carries out `command`, which has to do with `key`, and waits.
pub(super) async fn send(
    dialer: &Dialer,
    node: &Node,
    wait: Wait,
    asking: bool,
    (key, command): (&str, &Cmd),
) -> Result<Value, Failure> {
    let lane = match node.lane() {
        Some(lane) => lane,
        None => dialer.lane(&node.place).await.map_err(Failure::Redis)?,
    };
    let mut commands = Pipeline::with_capacity(5);
    let allow = |commands: &mut Pipeline| {
        if asking {
            commands.cmd("ASKING");
        }
    };
    allow(&mut commands);
    commands.add_command(command.clone());
    allow(&mut commands);
    commands.cmd("SET").arg(keys::fence_beside(key)).arg(1).add_command(wait.command());
    let replies = lane.ask_all(&commands).await;
    let mut replies = replies.map_err(Failure::Redis)?;
    node.keep_lane(lane);
    let (waited, fenced) = (replies.pop(), replies.pop());
    if asking {
        replies.pop();
    }
    let reply = replies.pop().unwrap_or(Value::Nil).extract_error().map_err(Failure::Redis)?;
    let waited = match fenced {
        Some(Value::ServerError(_)) | None => Err(0),
        Some(_) => wait.fulfilled(&waited.unwrap_or(Value::Nil)),
    };
    waited.map(|()| reply).map_err(|had| Failure::TooFew(wait.complaint(had)))
}
