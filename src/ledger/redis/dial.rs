//! Makes connections: whom to greet, by TLS or not, and for how long.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, RedisError, RedisResult, cmd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::pipe::Pipe;
use super::{OpenError, Settings};
use crate::config::{Place, RedisUrl};

/// How this engine's servers and Sentinels are reached.
pub(super) struct Dialer {
    tls: Option<TlsConnector>,
    server: Vec<Cmd>,
    sentinel: Vec<Cmd>,
    connect: Duration,
    response: Duration,
    wait: Duration,
}

impl Dialer {
    pub(super) fn new(url: &RedisUrl, settings: &Settings) -> Result<Self, OpenError> {
        let password = |password: &Option<crate::config::Secret>| {
            password.as_ref().map(|password| password.expose().to_owned())
        };
        let mut server = greeting(url.user.as_deref(), password(&url.password));
        if url.database != 0 {
            server.push(cmd("SELECT").arg(url.database).to_owned());
        }
        let sentinel =
            greeting(settings.sentinel_user.as_deref(), password(&settings.sentinel_password));
        let tls = url.tls.then(|| trusting(settings.tls_ca.as_deref())).transpose();
        Ok(Self {
            tls: tls.map_err(OpenError::Certificates)?,
            server,
            sentinel,
            connect: settings.connection_timeout,
            response: settings.response_timeout,
            wait: settings.response_timeout + settings.replicas_timeout,
        })
    }

    /// A connection that any number of steps share; `ended` is called when it breaks, also while nobody uses it.
    pub(super) async fn shared(
        &self,
        place: &Place,
        ended: impl FnOnce() + Send + 'static,
    ) -> RedisResult<Pipe> {
        self.connection(place, &self.server, self.response, ended).await
    }

    /// A connection for one step at a time, whose reply may wait for replicas.
    pub(super) async fn lane(&self, place: &Place) -> RedisResult<Pipe> {
        self.connection(place, &self.server, self.wait, || ()).await
    }

    /// A connection to a server that may turn out to be of no use.
    pub(super) async fn brief(&self, place: &Place) -> RedisResult<Pipe> {
        self.connection(place, &self.server, self.response, || ()).await
    }

    /// A connection to a Sentinel.
    pub(super) async fn sentinel(&self, place: &Place) -> RedisResult<Pipe> {
        self.connection(place, &self.sentinel, self.response, || ()).await
    }

    async fn connection(
        &self,
        place: &Place,
        greeting: &[Cmd],
        patience: Duration,
        ended: impl FnOnce() + Send + 'static,
    ) -> RedisResult<Pipe> {
        let connecting = async {
            let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
            // Each step is sent at once: not to do so costs up to 40 ms where a step follows another whose reply is
            // still to come.
            stream.set_nodelay(true)?;
            let pipe = match &self.tls {
                None => Pipe::start(stream, patience, ended),
                Some(tls) => {
                    let name =
                        ServerName::try_from(place.host.clone()).map_err(io::Error::other)?;
                    Pipe::start(tls.connect(name, stream).await?, patience, ended)
                }
            };
            for words in greeting {
                pipe.ask(words).await?;
            }
            Ok(pipe)
        };
        timeout(self.connect, connecting).await.unwrap_or_else(|_| {
            let detail = format!("no connection within {:?}", self.connect);
            Err(RedisError::from(io::Error::new(io::ErrorKind::TimedOut, detail)))
        })
    }
}

/// Who we are, where somebody asks.
fn greeting(user: Option<&str>, password: Option<String>) -> Vec<Cmd> {
    let Some(password) = password else { return Vec::new() };
    let mut words = cmd("AUTH");
    if let Some(user) = user {
        words.arg(user);
    }
    vec![words.arg(password).to_owned()]
}

/// TLS that trusts the authorities in `pem`, or the system's.
fn trusting(pem: Option<&[u8]>) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no certificate of an authority was found",
        ));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
