//! What stands before a provider: it passes bytes on, with TLS or without, counts connections and closes them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{SOON, eventually};

pub struct Front {
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    provider: SocketAddr,
    tls: Option<TlsAcceptor>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// What was agreed on in each TLS handshake.
    protocols: Mutex<Vec<String>>,
    /// Which of the connections are closed: those accepted up to this one.
    closed: watch::Sender<usize>,
}

impl Front {
    /// Before the provider at `provider`, without TLS.
    pub async fn plain(provider: SocketAddr) -> Self {
        Self::start(provider, None).await
    }

    /// The same with TLS. `folder` has `cert.pem` and `key.pem`; `protocols` are what the server speaks.
    pub async fn tls(provider: SocketAddr, folder: &Path, protocols: &[&str]) -> Self {
        let certificates = CertificateDer::pem_file_iter(folder.join("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let mut config =
            config.with_single_cert(certificates.map(Result::unwrap).collect(), key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self::start(provider, Some(Arc::new(config).into())).await
    }

    async fn start(provider: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            provider,
            tls,
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            protocols: Mutex::default(),
            closed: watch::Sender::new(0),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = shared.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                shared.open.fetch_add(1, Ordering::Relaxed);
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    state.serve(stream, number).await;
                    state.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, state, task }
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> usize {
        self.state.accepted.load(Ordering::Relaxed)
    }

    /// What was agreed on in each TLS handshake.
    pub fn protocols(&self) -> Vec<String> {
        self.state.protocols.lock().unwrap().clone()
    }

    /// Closes all connections, and waits until the other side has, too.
    pub async fn close(&self) {
        self.state.closed.send_replace(self.connections());
        eventually("the connections are closed", SOON, async || {
            (self.state.open.load(Ordering::Relaxed) == 0).then_some(())
        })
        .await;
    }
}

impl State {
    async fn serve(&self, stream: TcpStream, number: usize) {
        let Some(tls) = &self.tls else { return self.forward(stream, number).await };
        let Ok(stream) = tls.accept(stream).await else { return };
        let protocol = stream.get_ref().1.alpn_protocol().unwrap_or_default();
        self.protocols.lock().unwrap().push(String::from_utf8_lossy(protocol).into_owned());
        self.forward(stream, number).await;
    }

    async fn forward(&self, mut near: impl AsyncRead + AsyncWrite + Unpin, number: usize) {
        let mut closed = self.closed.subscribe();
        let mut far = TcpStream::connect(self.provider).await.unwrap();
        let ended = tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => true,
            _ = closed.wait_for(|closed| number <= *closed) => false,
        };
        if !ended && near.shutdown().await.is_ok() {
            while near.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}
