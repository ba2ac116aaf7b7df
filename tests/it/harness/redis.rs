//! A Redis server of one's own: on a free port, in a folder that goes with it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

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
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let child = spawn(port, &settings, folder.path());
        Self { child, port, settings, folder }
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, on what it left on the disk.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.settings, self.folder.path());
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

fn spawn(port: u16, settings: &[String], folder: &Path) -> Child {
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .arg("--dir")
        .arg(folder)
        .args(settings)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!("can't start redis-server ({error}): install it with `apt-get install redis-server`")
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ready = lines.any(|line| line.contains("Ready to accept connections"));
    assert!(ready, "redis-server ended before it was ready");
    std::thread::spawn(move || lines.for_each(drop));
    child
}
