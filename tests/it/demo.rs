//! The demo: everything on one machine, and nothing left behind.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{SOON, eventually};

/// A demo that is killed if the test fails.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_where_everything_is_and_cleans_up_at_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let listens = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditgate"));
    command.args(["demo", "--json"]).args(listens).env_clear().env("TMPDIR", folder.path());
    let mut demo = Demo(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(demo.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    for name in ["gateway", "admin", "provider"] {
        assert!(ready[name].as_str().unwrap().starts_with("http://127.0.0.1:"), "{ready}");
    }
    for account in ["demo", "broke", "paused"] {
        assert!(ready["accounts"][account]["key"].as_str().unwrap().starts_with("cg_"), "{ready}");
    }
    assert!(!ready["admin_token"].as_str().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "its data is in TMPDIR");

    let pressed = Command::new("kill").arg("-INT").arg(demo.0.id().to_string()).status();
    assert!(pressed.unwrap().success());
    let status = eventually("the demo ends", SOON, async || demo.0.try_wait().unwrap()).await;
    assert!(status.success(), "{status}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}
