//! A connection without a client library: for requests that no library sends.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub async fn connect(to: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(to).await.unwrap(), read: Vec::new() }
    }

    /// Sends `bytes`. That the other side has closed already shows when its answer is read.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Says that nothing more comes.
    pub async fn end(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads until `text` has come.
    pub async fn until(&mut self, text: &str) -> String {
        soon(text, async {
            while !self.text().contains(text) {
                let read = self.stream.read_buf(&mut self.read).await.unwrap();
                assert!(read > 0, "closed without {text:?}: {:?}", self.text());
            }
        })
        .await;
        self.text()
    }

    /// All that comes until the other side closes.
    pub async fn rest(mut self) -> String {
        soon("the other side closes", async {
            // A reset ends the connection as well; what came before it counts.
            while self.stream.read_buf(&mut self.read).await.is_ok_and(|read| read > 0) {}
        })
        .await;
        self.text()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}
