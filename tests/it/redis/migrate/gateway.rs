//! The move as an operator sees it: stop, `creditgate migrate`, start.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::super::Server;
use crate::harness::{Setup, World, chat_body};

/// `creditgate migrate` with these arguments and variables.
pub(super) fn migrate(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditgate"));
    command.arg("migrate").args(arguments).env_clear().envs(environment.iter().copied());
    command
}

pub(super) fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

/// Moves the ledger of a world whose gateway has ended, and starts the gateway on what it was moved to.
pub(in super::super) async fn moved(world: &mut World, server: &Server) {
    let (from, to) = (world.launch.ledger.clone(), server.url());
    let output = migrate(&["--from", &from, "--to", &to], &[]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    world.launch.ledger = to;
    world.restart().await;
}

async fn json_of(world: &World, path: &str) -> Value {
    let answer = world.admin("GET", path).send().await;
    assert_eq!(answer.status, 200, "{path}");
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_on_where_it_was() {
    let server = Server::start(&[]);
    let setup = Setup::new().account("a", 100).account("b", 7).closed_account("c", 5);
    let setup = setup.key("cg_second_of_a", "a", None).service_key("cg_of_the_saas");
    let mut world = setup.start().await;
    let mut request = None;
    for _ in 0..3 {
        let answer = world.chat("a").send().await;
        request = Some(answer.header("x-credits-request-id").unwrap().to_owned());
    }
    assert_eq!(world.left("a").await, 97);
    let request = request.unwrap();
    let paths = [
        "/admin/v1/accounts".to_owned(),
        "/admin/v1/accounts/a".to_owned(),
        "/admin/v1/accounts/a/balance".to_owned(),
        "/admin/v1/accounts/a/ledger".to_owned(),
        "/admin/v1/accounts/c/balance".to_owned(),
        "/admin/v1/accounts/c/ledger".to_owned(),
        "/admin/v1/accounts/a/keys".to_owned(),
        "/admin/v1/keys".to_owned(),
        format!("/admin/v1/explain/{request}"),
        "/admin/v1/verify".to_owned(),
    ];
    let mut before = Vec::new();
    for path in &paths {
        before.push(json_of(&world, path).await);
    }

    // A gateway that runs keeps its file.
    let (from, to) = (world.launch.ledger.clone(), server.url());
    let in_use = migrate(&["--from", &from, "--to", &to], &[]).output().unwrap();
    assert_eq!(in_use.status.code(), Some(1));
    assert!(words(&in_use).contains("in use by another gateway"), "{}", words(&in_use));

    world.stop().await.close().await;
    let output = migrate(&["--from", &from], &[("CREDITGATE_LEDGER", &to)]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let shown = String::from_utf8_lossy(&output.stdout);
    for line in ["accounts    3", "lots        3", "open holds  0", "credits     109"] {
        assert!(shown.contains(line), "no {line:?} in\n{shown}");
    }

    // Neither a second move nor a gateway finds a ledger in the file.
    let again = migrate(&["--from", &from, "--to", &to], &[]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(words(&again).contains("it can't be moved twice"), "{}", words(&again));
    let (status, log) = world.launch.fail().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("was moved to Redis on 20") && log.contains(&to), "{log}");

    world.launch.ledger = to;
    world.restart().await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(json_of(&world, path).await, before, "{path}");
    }
    assert_eq!(world.chat("a").send().await.status, 200);
    let second = world.ask("POST", "/v1/chat/completions").bearer("cg_second_of_a");
    assert_eq!(second.json(&chat_body(false)).send().await.status, 200);
    let service = world.ask("POST", "/v1/chat/completions").bearer("cg_of_the_saas");
    let service = service.header("x-credits-account", "a").json(&chat_body(false));
    assert_eq!(service.send().await.status, 200);
    assert_eq!(world.left("a").await, 94);
    assert_eq!(world.chat("c").send().await.status, 403);
    assert_eq!(world.verify().await["clean"], json!(true));
    // Keys are found by their names as well.
    let keys = json_of(&world, "/admin/v1/keys?service=true").await;
    let revoke = format!("/admin/v1/keys/{}", keys["keys"][0]["id"].as_str().unwrap());
    assert_eq!(world.admin("DELETE", &revoke).send().await.status, 200);

    // Back to the file, as the manual says, where what happened since may be lost.
    world.stop().await.close().await;
    let db = rusqlite::Connection::open(from.strip_prefix("sqlite://").unwrap()).unwrap();
    db.execute_batch("DROP TABLE moved; PRAGMA user_version = 1").unwrap();
    drop(db);
    world.launch.ledger = from;
    world.restart().await;
    assert_eq!(world.left("a").await, 97);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_empty_redis_is_filled() {
    let server = Server::start(&[]);
    let mut first = Setup::new().account("a", 1).start().await;
    first.stop().await.close().await;
    let first_file = first.launch.ledger.clone();
    moved(&mut first, &server).await;
    let mut second = Setup::new().account("b", 1).start().await;
    second.stop().await.close().await;

    let taken = migrate(&["--from", &second.launch.ledger, "--to", &server.url()], &[]);
    let taken = { taken }.output().unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(words(&taken).contains("belongs to the ledger of sqlite://"), "{}", words(&taken));
    // The same where accounts were made in Redis itself.
    let third_server = Server::start(&[]);
    let third = Setup::new().account("c", 1).ledger_on(&third_server).start().await;
    let taken = migrate(&["--from", &second.launch.ledger, "--to", &third_server.url()], &[]);
    let taken = { taken }.output().unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(words(&taken).contains("holds accounts or keys already"), "{}", words(&taken));
    assert_eq!(third.left("c").await, 1);
    // Nothing happened to either.
    second.restart().await;
    assert_eq!(second.left("b").await, 1);
    assert_eq!(first.left("a").await, 1);

    // A ledger that went elsewhere is not moved from the file again.
    let elsewhere = Server::start(&[]);
    let gone = migrate(&["--from", &first_file, "--to", &elsewhere.url()], &[]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(words(&gone).contains("it can't be moved twice"), "{}", words(&gone));
}

#[test]
fn a_mistake_is_told_and_a_password_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", folder.path().join("ledger.db").display());
    let secret = "redis://user:hunter2@127.0.0.1:1";
    for (arguments, environment, code, said) in [
        (vec!["--from", &file, "--to", secret], vec![], 1, "there is no ledger at"),
        (vec!["--from", secret, "--to", secret], vec![], 1, "only a ledger in a file"),
        (vec!["--from", &file], vec![], 1, "can only be moved to Redis"),
        (vec!["--from", &file, "--to", &file], vec![], 1, "can only be moved to Redis"),
        (vec!["--from", "redis:/user:hunter2@h"], vec![], 2, "--from: expected"),
        (vec!["--from", &file, "--to", "redis://u:hunter2@h:99999"], vec![], 2, "--to: expected"),
        (vec!["--from", &file], vec![("CREDITGATE_LEDGER", "redis:hunter2@x")], 1, "expected"),
        (vec!["--to", secret], vec![], 2, "--from <ADDRESS>"),
    ] {
        let output = migrate(&arguments, &environment).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
        assert!(words(&output).contains(said), "{arguments:?}: {}", words(&output));
        assert!(!words(&output).contains("hunter2"), "{}", words(&output));
        assert!(!folder.path().join("ledger.db").exists(), "no file is made");
    }
    // A file that is no ledger is left as it is.
    let path = folder.path().join("ledger.db");
    std::fs::File::create(&path).unwrap();
    let output = migrate(&["--from", &file, "--to", secret], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("holds no ledger"), "{}", words(&output));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_answers_nothing_is_moved() {
    let mut world = Setup::new().account("a", 1).start().await;
    world.stop().await.close().await;
    let (from, to) = (world.launch.ledger.clone(), "redis://user:hunter2@127.0.0.1:1");
    let config = world.launch.folder.join("moved.toml");
    std::fs::write(&config, format!("ledger = '{to}'")).unwrap();
    for target in [["--to", to], ["--config", config.to_str().unwrap()]] {
        let output = migrate(&["--from", &from], &[]).args(target).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = words(&output);
        assert!(said.contains("the ledger is redis://user:***@127.0.0.1:1"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    world.restart().await;
    assert_eq!(world.left("a").await, 1);
}
