//! What can't be understood, or has two readings, is refused: it costs nothing and leaves no hold.

mod bodies;
mod framing;
mod paths;

use crate::harness::World;

/// Nothing of all this was charged, is held, or went upstream.
async fn check_untouched(world: &World, account: &str, credits: u64) {
    assert_eq!(world.verify().await["open_holds"], 0);
    assert_eq!(world.credits(account).await["remaining"], credits);
    let seen = world.provider.seen().await;
    assert!(seen.is_empty(), "{seen:#?}");
}
