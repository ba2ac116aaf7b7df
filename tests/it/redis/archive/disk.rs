//! A full disk stops archiving, and nothing else; nothing goes from Redis that is not on the disk.

use super::super::Server;
use super::{CAUGHT_UP, all_archived, archived, archiving, chats, in_redis};
use crate::harness::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_keeps_entries_in_redis_until_there_is_room() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let world = archiving(&server, folder.path()).start().await;
    chats(&world, "a", 5).await;
    all_archived(&server).await;

    world.gateway.limit_files(Some(1));
    chats(&world, "a", 5).await;
    eventually("the archive is behind", CAUGHT_UP, async || {
        (world.metrics().await["creditgate_archive_behind_seconds"] > 0).then_some(())
    })
    .await;
    assert_eq!(in_redis(&server).await, 10);
    assert_eq!(world.chat("b").send().await.status, 200);
    assert_eq!(world.admin("GET", "/ready").send().await.status, 200);

    world.gateway.limit_files(None);
    all_archived(&server).await;
    assert_eq!(world.verify().await["entries"], 3 + 20 + 3 + 2);
    assert_eq!(archived(folder.path())["a"], 3 + 20);
    eventually("the archive is not behind", CAUGHT_UP, async || {
        (world.metrics().await["creditgate_archive_behind_seconds"] == 0).then_some(())
    })
    .await;
}
