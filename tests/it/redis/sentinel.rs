//! A master that Sentinels watch is killed, and another takes its place: steps go on, and what was promised is there.

use creditgate::ledger::redis::{OpenError, Settings};

use super::Server;
use super::promises::open_at;
use super::servers::{Sentinel, replica_of};
use super::storm::Storm;

#[tokio::test(flavor = "multi_thread")]
async fn another_master_takes_over_and_no_grant_is_lost() {
    let mut master = Server::start(&[]);
    let _replica = replica_of(&master, &[]).await;
    let sentinels = Sentinel::three(&master).await;
    let ledger = open_at(&Sentinel::url(&sentinels), Settings::default()).await.unwrap();
    let storm = Storm::start(&ledger, &["acc", "demo", "shop"].map(String::from)).await;
    storm.pass(20).await;
    master.kill();
    storm.pass(20).await;
    assert!(ledger.is_available());
    println!("lost by a fail-over of Sentinel: {:?}", storm.end().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sentinels_do_not_know_is_told() {
    let master = Server::start(&[]);
    let _replica = replica_of(&master, &[]).await;
    let sentinels = Sentinel::three(&master).await;
    let url = Sentinel::url(&sentinels);
    let unknown = open_at(&url.replace("mymaster", "other"), Settings::default()).await;
    let Err(OpenError::NoSuchMaster(name)) = unknown else { panic!("`other` was found") };
    assert_eq!(name, "other");
    drop(sentinels);
    let gone = open_at(&url, Settings::default()).await;
    assert!(matches!(gone, Err(OpenError::NoSentinel { .. })));
}
