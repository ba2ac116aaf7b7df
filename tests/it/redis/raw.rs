//! A connection beside the engine's, for what no gateway does.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo as _, RedisConnectionInfo, RedisResult,
    Value, cmd,
};

use super::redis_url;
use creditgate::config::{Place, RedisUrl, Topology};

/// To one server, or to whichever node of a cluster has the key.
pub struct Raw {
    connection: MultiplexedConnection,
    database: u16,
}

impl Raw {
    pub async fn open(url: &str) -> Self {
        let RedisUrl { topology, database, .. } = redis_url(url);
        let place = match topology {
            Topology::Single(place) => place,
            Topology::Cluster(places) => places[0].clone(),
            Topology::Sentinel { .. } => panic!("a Sentinel takes no commands"),
        };
        Self { connection: connect(&place, database).await.unwrap(), database }
    }

    pub async fn ask(&mut self, words: &[&str]) -> Value {
        self.try_ask(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The answer as a text.
    pub async fn text(&mut self, words: &[&str]) -> String {
        let answer = self.ask(words).await;
        ::redis::from_redis_value(answer).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The answer as bytes.
    pub async fn bytes(&mut self, words: &[&str]) -> Vec<u8> {
        let answer = self.ask(words).await;
        ::redis::from_redis_value(answer).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Whether the answer, a text, has this in it.
    pub async fn says(&mut self, words: &[&str], what: &str) -> bool {
        self.text(words).await.contains(what)
    }

    /// Whether the server says this of itself.
    pub async fn info(&mut self, what: &str) -> bool {
        self.says(&["INFO", "everything"], what).await
    }

    pub async fn try_ask(&mut self, words: &[&str]) -> RedisResult<Value> {
        let mut command: Cmd = cmd(words[0]);
        command.arg(&words[1..]);
        loop {
            let reply = command.query_async(&mut self.connection).await;
            let Err(error) = &reply else { return reply };
            let Some((place, _)) = error.redirect_node() else { return reply };
            let (host, port) = place.rsplit_once(':').unwrap();
            let place = Place { host: host.to_owned(), port: port.parse().unwrap() };
            self.connection = connect(&place, self.database).await?;
        }
    }
}

async fn connect(place: &Place, database: u16) -> RedisResult<MultiplexedConnection> {
    // Long enough for a machine that is busy with other tests.
    let limit = Some(Duration::from_secs(30));
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(limit).set_response_timeout(limit);
    let info = (place.host.as_str(), place.port).into_connection_info()?;
    let settings = RedisConnectionInfo::default().set_db(database.into());
    let client = Client::open(info.set_redis_settings(settings))?;
    client.get_multiplexed_async_connection_with_config(&config).await
}
