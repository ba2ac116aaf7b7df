//! One gateway process.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use super::client::{Ask, Client};
use super::{SOON, chat_body, eventually};

/// The token of the admin API.
pub const TOKEN: &str = "admin-token-of-the-tests";
/// What the provider accepts.
pub const PROVIDER_KEY: &str = "provider-key-of-the-tests";

/// The file in a gateway's folder with the authorities that it trusts instead of the system's.
pub const TRUSTED: &str = "trusted.pem";

/// What a gateway is started with.
#[derive(Clone)]
pub struct Launch {
    pub folder: PathBuf,
    pub config: PathBuf,
    pub listen: SocketAddr,
    /// The address of its ledger.
    pub ledger: String,
}

/// A gateway that serves, or did.
pub struct Process {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    client: Client,
    child: Child,
    log: PathBuf,
}

impl Launch {
    /// Starts a gateway and waits until it says that it is ready.
    pub async fn start(&self) -> Process {
        self.try_start().await.unwrap_or_else(|last| panic!("the gateway ended: {last}"))
    }

    /// The same as a supervisor does it: a gateway that gives up is started again.
    pub async fn supervise(&self) -> Process {
        eventually("a gateway stays", SOON, async || self.try_start().await.ok()).await
    }

    /// Starts a gateway and waits until it is ready; its last words, if it ends instead.
    async fn try_start(&self) -> Result<Process, String> {
        let mut process = self.spawn();
        let ready = eventually("the gateway is ready", SOON, async || {
            if process.child.try_wait().unwrap().is_some() {
                return Some(Err(process.log()));
            }
            Some(Ok(process.lines().into_iter().find(|line| line["message"] == "ready")?))
        })
        .await?;
        let address = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        (process.address, process.admin) = (address("gateway"), address("admin"));
        Ok(process)
    }

    /// Starts a gateway that is expected to give up, and returns its last words.
    pub async fn fail(&self) -> (ExitStatus, String) {
        let mut process = self.spawn();
        let status = process.ended().await;
        (status, process.log())
    }

    fn spawn(&self) -> Process {
        let unique = uuid::Uuid::now_v7();
        let log = self.folder.join(format!("gateway-{unique}.log"));
        // A file that may not grow is an error to the program, not its end: `disk` tells it so.
        let trusted = self.folder.join(TRUSTED);
        let trusted = trusted.exists().then_some(("SSL_CERT_FILE", trusted));
        let child = Command::new("/bin/sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_creditgate")])
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .env_clear()
            .envs(trusted)
            .env("CREDITGATE_LISTEN", self.listen.to_string())
            .env("CREDITGATE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("CREDITGATE_ADMIN_TOKEN", TOKEN)
            .env("CREDITGATE_LEDGER", &self.ledger)
            .env("CREDITGATE_OPENAI_KEY", PROVIDER_KEY)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Process { address: nowhere, admin: nowhere, client: Client::new(), child, log }
    }
}

impl Process {
    /// A request to it.
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        self.client.ask(self.address, method, path)
    }

    /// A chat of `account`.
    pub fn chat(&self, account: &str) -> Ask {
        self.ask("POST", "/v1/chat/completions").of(account).json(&chat_body(false))
    }

    /// A streamed chat of `account`.
    pub fn stream(&self, account: &str) -> Ask {
        self.ask("POST", "/v1/chat/completions").of(account).json(&chat_body(true))
    }

    /// A request to its admin listener.
    pub fn admin(&self, method: &str, path: &str) -> Ask {
        self.admin_as(TOKEN, method, path)
    }

    /// The same with another token.
    pub fn admin_as(&self, token: &str, method: &str, path: &str) -> Ask {
        self.client.ask(self.admin, method, path).bearer(token)
    }

    /// Runs a command of the command line on it and returns its JSON.
    pub fn run(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).arg("--json").output().unwrap();
        let (out, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {errors}{out}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// The command line, about to run a command on it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creditgate"));
        command.args(arguments).env_clear().env("CREDITGATE_ADMIN_TOKEN", TOKEN);
        command.arg("--admin").arg(format!("http://{}", self.admin));
        command
    }

    /// What the auditor finds. Fails if a rule is broken.
    pub async fn verify(&self) -> Value {
        let report = self.admin("GET", "/admin/v1/verify").send().await.json();
        assert_eq!(report["broken"], json!([]), "{report:#}");
        report
    }

    /// Every series of the metrics whose value is a whole number. Fails if a line is none of the format's.
    pub async fn metrics(&self) -> BTreeMap<String, u64> {
        let answer = self.admin("GET", "/metrics").send().await;
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.ends_with("# EOF\n"));
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            value.parse::<f64>().unwrap_or_else(|error| panic!("{error}: {line}"));
            if let Ok(value) = value.parse() {
                series.insert(name.to_owned(), value);
            }
        }
        series
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The lines of its log that are JSON and whole.
    pub fn lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Lets none of its files grow beyond `bytes`, or all of them again.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let (process, limit) = (self.child.id().to_string(), format!("--fsize={limit}:"));
        let set = Command::new("prlimit").args(["--pid", &process, &limit]).status();
        assert!(set.expect("`prlimit` is missing: install util-linux").success());
    }

    /// Asks it to end, as a supervisor does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Holds it up as it stands, or lets it go on.
    pub fn hold_up(&self, stands_still: bool) {
        self.signal(if stands_still { "STOP" } else { "CONT" });
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(process).status();
        assert!(sent.unwrap().success());
    }

    /// Ends it without a word, as a power cut does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the gateway ends", SOON, async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the gateway's last lines, newest first:\n{}", last.join("\n"));
        }
    }
}

/// Writes `text` as a configuration in `folder`.
pub fn write_config(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    path
}
