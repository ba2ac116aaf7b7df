//! Whether the servers let us work, found out when the engine starts: every command is used once, on every server.

use ::redis::{Cmd, Pipeline, Value};

use super::link::Request;
use super::node::Node;
use super::{OpenError, Store, Time, Unfit, functions, keys};

impl Store {
    /// Refuses servers on which a step would fail for want of a permission.
    pub(super) async fn check_permissions(&self) -> Result<(), OpenError> {
        for node in self.link.map().nodes() {
            if node.is_present() {
                self.check_permissions_on(&node).await?;
            }
        }
        Ok(())
    }

    async fn check_permissions_on(&self, node: &Node) -> Result<(), OpenError> {
        let map = self.link.map();
        let is_there = |shard: &keys::Shard| {
            map.owner(&shard.log()).is_some_and(|owner| std::ptr::eq(&raw const *owner, node))
        };
        // A server with few slots may have no shard yet.
        let Some(shard) = keys::Shard::all().find(is_there) else { return Ok(()) };
        let commands = commands(shard, self.functions.load(), self.time == Time::Server);
        let replies = self.link.ask(&shard.log(), Request::Many(&commands)).await;
        // A server that goes away now is looked for like any other.
        let Ok(Value::Array(replies)) = replies else { return Ok(()) };
        for reply in replies {
            match reply {
                Value::ServerError(error) => {
                    let words = format!("{} {}", error.code(), error.details().unwrap_or_default());
                    if is_of_permission(&words) {
                        return Err(Unfit::Forbidden(words).into());
                    }
                }
                Value::BulkString(answer) => {
                    let answer = String::from_utf8_lossy(&answer);
                    if let Some(why) = answer.strip_prefix("time: ") {
                        return Err(Unfit::NoTime(why.to_owned()).into());
                    }
                    // What a full memory or a full disk forbids now is no lack of permission.
                    if let Some(why) =
                        answer.strip_prefix("refused: ").filter(|why| is_of_permission(why))
                    {
                        return Err(Unfit::Forbidden(why.to_owned()).into());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Servers have said this in more than one way.
fn is_of_permission(words: &str) -> bool {
    ["NOPERM", "permission", "can't run this"].iter().any(|sign| words.contains(sign))
}

/// What no script can use, and a script that uses the rest and leaves nothing; of it all only the functions stay.
fn commands(shard: keys::Shard, load: &Cmd, asks_for_time: bool) -> Pipeline {
    let mut commands = Pipeline::new();
    commands.add_command(load.clone());
    // There is no such function, which is no lack of permission.
    commands.cmd("FCALL").arg("creditgate").arg(1).arg(shard.log());
    commands.cmd("WAIT").arg(0).arg(1);
    // Unknown to Redis 7.0, which is no lack of permission.
    commands.cmd("WAITAOF").arg(0).arg(0).arg(1);
    commands.add_command(functions::probe(shard, asks_for_time));
    commands
}
