//! A Redis server of one's own: on a free port, in a folder that goes with it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ::redis::{AsyncConnectionConfig, FromRedisValue};
use creditgate::config::RedisUrl;
use rand::Rng;

use super::SOON;

/// Ports that systems give to nobody who does not ask for them: one that a server has left for a moment is still free
/// when it comes back.
const PORTS: Range<u16> = 10_000..32_000;
/// Ports that are tried: other programs ask for some of them.
const ATTEMPTS: usize = 10;
/// What a server says that answers.
const READY: &str = "Ready to accept connections";

pub struct RedisServer {
    child: Child,
    port: u16,
    settings: Vec<String>,
    folder: tempfile::TempDir,
}

impl RedisServer {
    /// Starts a server with these settings besides the usual ones.
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        for _ in 0..ATTEMPTS {
            let port = rand::rng().random_range(PORTS);
            if let Some(child) = spawn(port, &settings, folder.path(), READY) {
                return Self { child, port, settings, folder };
            }
        }
        panic!("redis-server did not start on any of {ATTEMPTS} ports, with {settings:?}");
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, on what it left on the disk.
    pub fn restart(&mut self) {
        self.come_back(&[], READY);
    }

    /// The same for a server that reads so slowly what it has on the disk that it is still at it.
    pub fn restart_slowly(&mut self) {
        self.come_back(&["--key-load-delay", "100"], "Server initialized");
    }

    /// Starts it again with nothing, after it has ended.
    pub fn restart_empty(&mut self) {
        self.folder = tempfile::tempdir().unwrap();
        self.restart();
    }

    fn come_back(&mut self, settings: &[&str], sign: &str) {
        let mut all = self.settings.clone();
        all.extend(settings.iter().map(ToString::to_string));
        let child = spawn(self.port, &all, self.folder.path(), sign);
        self.child = child.expect("redis-server ended before it was there");
    }

    /// Has it carry out a command, on a connection of its own.
    pub async fn command(&self, words: &[&str]) -> ::redis::Value {
        self.ask(words).await
    }

    /// The same, where the answer has a form.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let client = ::redis::Client::open(self.url()).unwrap();
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(SOON));
        let patient = patient.set_connection_timeout(Some(SOON));
        let connected = client.get_multiplexed_async_connection_with_config(&patient).await;
        let mut connection = connected.unwrap();
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut connection).await.unwrap()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address as the configuration reads it.
pub fn redis_url(url: &str) -> RedisUrl {
    RedisUrl::parse(url).unwrap_or_else(|| panic!("{url} is no address"))
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The server program: `redis-server`, unless the variable names another of its kind.
fn program() -> String {
    std::env::var("CREDITGATE_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// A server that has given a sign in its log; nothing if it ends before.
fn spawn(port: u16, settings: &[String], folder: &Path, sign: &str) -> Option<Child> {
    let child = Command::new(program())
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .arg("--dir")
        .arg(folder)
        .args(settings)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!("can't start {} ({error}): install `redis-server`", program())
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    if !lines.any(|line| line.contains(sign)) {
        child.wait().unwrap();
        return None;
    }
    std::thread::spawn(move || lines.for_each(drop));
    Some(child)
}
