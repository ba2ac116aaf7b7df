//! Many gateways, one archive: one of them writes it, in the folder that is the ledger's.

use std::path::Path;

use super::super::Server;
use super::{
    CAUGHT_UP, all_archived, archived, archiving, chats, command, in_redis, ledger, with_folder,
};
use crate::harness::{Launch, World, eventually};

/// A copy of a folder as it stands.
fn copied(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Starts a gateway whose archiver is expected to say these words.
async fn says(world: &mut World, launch: &Launch, words: &str) {
    world.gateway = launch.start().await;
    said(world, words).await;
}

/// The archiver says these words, and the gateway serves all the same.
async fn said(world: &World, words: &str) {
    eventually(words, CAUGHT_UP, async || {
        world.gateway.lines().iter().any(|line| line.to_string().contains(words)).then_some(())
    })
    .await;
    assert_eq!(world.chat("a").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_the_folder_goes_on_where_the_first_was_killed() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let mut world = archiving(&server, folder.path()).start().await;
    chats(&world, "a", 20).await;
    all_archived(&server).await;
    // Both have the folder; the first archives for both.
    let second = with_folder(&world, "second", Some(folder.path())).start().await;
    let mut first = std::mem::replace(&mut world.gateway, second);
    chats(&world, "b", 20).await;
    all_archived(&server).await;
    assert_eq!(world.metrics().await["creditgate_archived_entries_total"], 0);
    assert_eq!(ledger(&world, "b").await.len(), 43, "it reads what the other one writes");
    first.kill();
    chats(&world, "b", 20).await;
    all_archived(&server).await;
    assert_eq!(world.metrics().await["creditgate_archived_entries_total"], 40);
    assert_eq!(archived(folder.path())["b"], 83);
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_was_held_up_does_not_go_on_beside_its_successor() {
    let (server, place) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let [own, copy] = ["own", "copy"].map(|name| place.path().join(name));
    let mut world = archiving(&server, &own).start().await;
    chats(&world, "a", 20).await;
    all_archived(&server).await;
    world.gateway.hold_up(true);
    copied(&own, &copy);
    let launch = with_folder(&world, "copy", Some(&copy));
    let first = std::mem::replace(&mut world.gateway, launch.start().await);
    chats(&world, "a", 20).await;
    all_archived(&server).await;
    // The first one goes on, in vain: its turn is over, and then its folder is behind.
    first.hold_up(false);
    chats(&world, "b", 20).await;
    all_archived(&server).await;
    assert_eq!(archived(&copy)["b"], 43);
    world.stop().await.close().await;
    world.gateway = first;
    chats(&world, "b", 5).await;
    eventually("the old copy is known as such", CAUGHT_UP, async || {
        world.gateway.log().contains("the folder is an old copy").then_some(())
    })
    .await;
    assert_eq!(in_redis(&server).await, 10, "nothing goes that is not archived");
    assert_eq!(archived(&own)["a"], 43);
    // What is not in its folder, it doesn't make up.
    let answer = world.admin("GET", "/admin/v1/accounts/a/ledger").send().await;
    assert_eq!(answer.status, 409);
    assert_eq!(world.admin("GET", "/admin/v1/verify").send().await.status, 409);
    // Back with the right folder, everything is there.
    world.gateway = launch.start().await;
    all_archived(&server).await;
    assert_eq!(ledger(&world, "a").await.len(), 83);
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_ledgers_own_archive_is_written() {
    let (server, place) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let [own, empty] = ["own", "empty"].map(|name| place.path().join(name));
    let mut world = archiving(&server, &own).start().await;
    chats(&world, "a", 3).await;
    all_archived(&server).await;
    world.stop().await.close().await;

    // Another ledger finds entries that are not its own.
    let other_server = Server::start(&[]);
    let other = archiving(&other_server, &own).start().await;
    said(&other, "with entries of another ledger").await;
    drop(other);

    // The ledger has an archive, and this folder is not it.
    let launch = with_folder(&world, "empty", Some(&empty));
    says(&mut world, &launch, "and the folder has none: set `folder` to the archive's own").await;
    chats(&world, "a", 3).await;
    assert_eq!(world.admin("GET", "/admin/v1/accounts/a/ledger").send().await.status, 409);
    assert!(super::files(&empty).is_empty());
    assert_eq!(in_redis(&server).await, 8);

    // It is lost: a new one begins, and what was in the old one is known to be missing.
    assert_eq!(command::<u64>(&server, &["DEL", "{archive}:id"]).await, 1);
    all_archived(&server).await;
    let last = format!("/admin/v1/accounts/a/ledger?after={}", 3 + 6);
    let page = world.admin("GET", &last).send().await.json();
    assert_eq!(page["entries"].as_array().unwrap().len(), 8);
    let answer = world.admin("GET", "/admin/v1/accounts/a/ledger").send().await;
    assert_eq!(answer.status, 409);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("before number 10"), "{detail}");
    assert_eq!(world.admin("GET", "/admin/v1/verify").send().await.status, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_is_archived_once_and_never_over_another_one() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let world = archiving(&server, folder.path());
    let mut world = world.set("archive.keep", "'1h'").start().await;
    chats(&world, "a", 2).await;
    eventually("all is archived", CAUGHT_UP, async || {
        (world.metrics().await["creditgate_archived_entries_total"] == 10).then_some(())
    })
    .await;
    let log = command::<Vec<String>>(&server, &["KEYS", "*:log"]).await.remove(0);
    let messages: Vec<(String, Vec<String>)> =
        command(&server, &["XRANGE", &log, "-", "+", "COUNT", "1"]).await;
    let words: Vec<&str> = messages[0].1.iter().map(String::as_str).collect();
    let [_, account, _, entry] = words.as_slice() else { panic!("{words:?}") };

    // As after a fail-over: the same entry under a later id.
    command::<String>(&server, &["XADD", &log, "*", "a", account, "e", entry]).await;
    let shard = log.replace(":log", ":archived");
    let last = async || {
        let end: Vec<(String, Vec<String>)> =
            command(&server, &["XREVRANGE", &log, "+", "-", "COUNT", "1"]).await;
        let position: String = command(&server, &["HGET", &shard, "position"]).await;
        (end[0].0 == position).then_some(())
    };
    eventually("it is passed over", CAUGHT_UP, last).await;
    let before = archived(folder.path());
    assert_eq!(before.values().sum::<u64>(), 10);

    // Another entry of the same number.
    let other = entry.replacen(" 0 gate", " 1 gate", 1);
    assert_ne!(other, *entry);
    command::<String>(&server, &["XADD", &log, "*", "a", account, "e", &other]).await;
    eventually("it is found out", CAUGHT_UP, async || {
        world.gateway.log().contains("is another one in the archive than in Redis").then_some(())
    })
    .await;
    assert_eq!(archived(folder.path()), before);

    // A file that is missing is named.
    world.stop().await.close().await;
    std::fs::rename(&super::files(folder.path())[0], folder.path().join("aside")).unwrap();
    std::fs::write(folder.path().join("archive-000002.sqlite"), "").unwrap();
    let launch = world.launch.clone();
    says(&mut world, &launch, "archive-000001.sqlite` is not file 1 of this archive").await;
}
