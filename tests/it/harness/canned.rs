//! A provider that answers every request with the same bytes, whatever they are.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub struct Canned {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Canned {
    /// Answers with `answer` and closes the connection.
    pub async fn start(answer: &'static [u8]) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), answer).await
    }

    /// The same at an address that the answer may name.
    pub async fn start_at(address: SocketAddr, answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut read = Vec::new();
                let head = loop {
                    if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                        break String::from_utf8_lossy(&read[..end]).into_owned();
                    }
                    if stream.read_buf(&mut read).await.is_ok_and(|read| read > 0) {
                        continue;
                    }
                    break String::new();
                };
                noted.lock().unwrap().push(head);
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { address, heads, task }
    }

    /// The heads of the requests that came, as they were on the wire.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}
