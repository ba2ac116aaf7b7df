//! The connection that all steps share, and what becomes of it when replies stay away.

use std::sync::{Mutex, PoisonError};

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::io::tcp::TcpSettings;
use ::redis::{Client, IntoConnectionInfo as _, RedisError, RedisResult};

use super::Settings;

/// A client of the server at `url`. Each step is sent at once: not to do so costs up to 40 ms where a step follows
/// another whose reply is still to come.
pub(super) fn client(url: &str) -> RedisResult<Client> {
    let settings = TcpSettings::default().set_nodelay(true);
    Client::open(url.into_connection_info()?.set_tcp_settings(settings))
}

/// One connection at a time. A connection that breaks is made anew by the next call; one on which a reply was late may
/// be dead without anybody knowing, so later calls get another.
pub(super) struct Link {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<Numbered>,
}

/// A connection and which one it is.
#[derive(Clone)]
struct Numbered {
    number: u64,
    connection: ConnectionManager,
}

impl Link {
    pub(super) async fn open(client: Client, settings: &Settings) -> RedisResult<Self> {
        // The next call tries to connect again: callers are told at once, not after a series of attempts.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(settings.connection_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        let connection = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        let current = Mutex::new(Numbered { number: 0, connection });
        Ok(Self { client, config, current })
    }

    /// Asks on the present connection; once more if that one broke, which must be harmless to do twice.
    pub(super) async fn ask<T, F>(&self, ask: impl Fn(ConnectionManager) -> F) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let Numbered { number, connection } = self.current();
        let mut answer = ask(connection.clone()).await;
        if answer.as_ref().is_err_and(RedisError::is_connection_dropped) {
            answer = ask(connection).await;
        }
        if answer.as_ref().is_err_and(RedisError::is_timeout) {
            self.replace(number)?;
        }
        answer
    }

    fn current(&self) -> Numbered {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another connection in the place of this one, unless that has been done. Replies that are still to come on
    /// the former one reach those who wait for them.
    fn replace(&self, number: u64) -> RedisResult<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number == number {
            current.connection =
                ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())?;
            current.number += 1;
        }
        Ok(())
    }
}
