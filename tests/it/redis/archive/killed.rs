//! A gateway that is killed while it archives: whatever it was doing, each entry is in the archive once.

use std::path::Path;
use std::time::Duration;

use super::super::Server;
use super::{all_archived, archived, archiving, command, files, in_redis};
use crate::harness::{SOON, World, eventually};

const ROUNDS: u64 = 16;
/// In as many shards, so that telling them all takes a while.
const ACCOUNTS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_between_insert_commit_and_trim_lose_no_entry_and_double_none() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let mut setup = archiving(&server, folder.path()).set("limits.hold_ttl", "'3s'");
    for number in 0..ACCOUNTS {
        setup = setup.account(&format!("c{number}"), 1000);
    }
    let mut world = setup.start().await;
    let mut between = 0;
    for round in 0..ROUNDS {
        let callers = call(&world);
        if round % 2 == 0 {
            // Anywhere: each time somewhere else.
            tokio::time::sleep(Duration::from_millis(200 + 100 * round)).await;
        } else {
            // After a commit, while Redis is being told of it.
            let before = sum(folder.path());
            eventually("something is archived", SOON, async || {
                (sum(folder.path()) > before).then_some(())
            })
            .await;
        }
        world.gateway.kill();
        for caller in callers {
            caller.await.unwrap();
        }
        let twice = sum(folder.path()) + in_redis(&server).await - written(&server).await;
        between += u64::from(twice > 0);
        // Whoever had the right to archive is gone, which the next one would wait for.
        command::<u64>(&server, &["DEL", "{archive}:lease"]).await;
        world.restart().await;
    }
    assert!(between > 0, "no kill came between a commit and what Redis was told");
    all_archived(&server).await;
    world.resolved().await;
    all_archived(&server).await;
    let sum = sum(folder.path());
    assert_eq!(sum, written(&server).await);
    assert_eq!(world.verify().await["entries"], sum);
    assert!(files(folder.path()).len() > 1);
}

fn call(world: &World) -> Vec<tokio::task::JoinHandle<()>> {
    let callers = (0..3).map(|caller| {
        let account = |number: usize| format!("c{}", (number * 3 + caller) % ACCOUNTS);
        let asks: Vec<_> = (0..60).map(|number| world.chat(&account(number))).collect();
        tokio::spawn(async move {
            for ask in asks {
                let Some(answer) = ask.try_open().await else { return };
                assert_eq!(answer.status, 200);
            }
        })
    });
    callers.collect()
}

/// Entries in the archive. Fails unless each is there once.
fn sum(folder: &Path) -> u64 {
    archived(folder).values().sum()
}

/// Entries that were ever written.
async fn written(server: &Server) -> u64 {
    let mut written = 0;
    for books in command::<Vec<String>>(server, &["KEYS", "*:a:*"]).await {
        let head: Vec<u8> = command(server, &["HGET", &books, "f"]).await;
        written += head[1..9].iter().rev().fold(0, |seq, byte| seq << 8 | u64::from(*byte));
    }
    written
}
