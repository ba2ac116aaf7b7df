//! Makes connections: whom to greet, by TLS or not, and for how long.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates,
};

use super::Settings;
use crate::config::{Place, RedisUrl};

/// How this engine's servers and Sentinels are reached.
pub(super) struct Dialer {
    tls: Option<TlsCertificates>,
    server: RedisConnectionInfo,
    sentinel: RedisConnectionInfo,
    connect: Duration,
    response: Duration,
    wait: Duration,
}

impl Dialer {
    pub(super) fn new(url: &RedisUrl, settings: &Settings) -> Self {
        let tls = || TlsCertificates { client_tls: None, root_cert: settings.tls_ca.clone() };
        let mut server = RedisConnectionInfo::default()
            .set_db(url.database.into())
            // What says at once that a connection has ended.
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        if let Some(user) = &url.user {
            server = server.set_username(user);
        }
        if let Some(password) = &url.password {
            server = server.set_password(password.expose());
        }
        let mut sentinel = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = &settings.sentinel_user {
            sentinel = sentinel.set_username(user);
        }
        if let Some(password) = &settings.sentinel_password {
            sentinel = sentinel.set_password(password.expose());
        }
        Self {
            tls: url.tls.then(tls),
            server,
            sentinel,
            connect: settings.connection_timeout,
            response: settings.response_timeout,
            wait: settings.response_timeout + settings.replicas_timeout,
        }
    }

    /// A connection that any number of steps share; `ended` is called when it breaks, also while nobody uses it.
    pub(super) async fn shared(
        &self,
        place: &Place,
        ended: impl Fn() + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let told = move |push: PushInfo| -> Result<(), ()> {
            if push.kind == PushKind::Disconnection {
                ended();
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new().set_push_sender(told);
        self.connection(place, &self.server, config, self.response).await
    }

    /// A connection for one step at a time, whose reply may wait for replicas.
    pub(super) async fn lane(&self, place: &Place) -> RedisResult<MultiplexedConnection> {
        self.connection(place, &self.server, AsyncConnectionConfig::new(), self.wait).await
    }

    /// A connection to a server that may turn out to be of no use.
    pub(super) async fn brief(&self, place: &Place) -> RedisResult<MultiplexedConnection> {
        self.connection(place, &self.server, AsyncConnectionConfig::new(), self.response).await
    }

    /// A connection to a Sentinel.
    pub(super) async fn sentinel(&self, place: &Place) -> RedisResult<MultiplexedConnection> {
        self.connection(place, &self.sentinel, AsyncConnectionConfig::new(), self.response).await
    }

    async fn connection(
        &self,
        place: &Place,
        greeting: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
        response: Duration,
    ) -> RedisResult<MultiplexedConnection> {
        let client = self.client(place, greeting)?;
        let config =
            config.set_connection_timeout(Some(self.connect)).set_response_timeout(Some(response));
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| {
            if error.is_timeout() {
                let detail = format!("{:?}", self.connect);
                return RedisError::from((ErrorKind::Io, "no connection within", detail));
            }
            error
        })
    }

    /// Each step is sent at once: not to do so costs up to 40 ms where a step follows another whose reply is still to
    /// come.
    fn client(&self, place: &Place, greeting: &RedisConnectionInfo) -> RedisResult<Client> {
        let (host, port) = (place.host.clone(), place.port);
        let address = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let info = address
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(greeting.clone());
        match &self.tls {
            None => Client::open(info),
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        }
    }
}
