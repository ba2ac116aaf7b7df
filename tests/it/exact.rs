//! An account with N credits gets N calls, however many callers ask at once and whatever goes wrong meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use creditgate::credit::Id;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::harness::{Setup, World};

const CALLERS: usize = 200;
const CREDITS: u32 = 37;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_callers_exactly_37_are_served_from_37_credits() {
    for _ in 0..3 {
        let mut world = Setup::new().account("shared", CREDITS).start().await;
        let asked = (0..CALLERS).map(|caller| {
            // What is held shows as held, so the answers come only when all have asked.
            let ask = if caller % 2 == 0 { world.chat("shared") } else { world.stream("shared") };
            tokio::spawn(ask.sim("delay=500ms").send())
        });
        let asked: Vec<_> = asked.collect();
        let (mut served, mut refused) = (0, 0);
        for answer in asked {
            let answer = answer.await.unwrap();
            match answer.status.as_u16() {
                200 => served += 1,
                402 => refused += 1,
                other => panic!("{other}: {:?}", answer.body),
            }
        }
        assert_eq!((served, refused), (37, 163));
        assert_eq!(world.provider.seen().await.len(), 37);
        assert_eq!(world.left("shared").await, 0);

        let books = world.stop().await;
        assert_eq!(books.charges("shared").await.len(), 37);
        assert_eq!(books.audit().await.open_holds, 0);
    }
}

/// What happens in one call, and whether it did work.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// What the provider is told to do.
    pub switches: &'static str,
    pub stream: bool,
    /// The client leaves when it has read this.
    pub leaves_at: Option<&'static str>,
    /// The client leaves before the answer's head.
    pub leaves_first: bool,
    pub worked: bool,
}

pub const fn story(switches: &'static str, stream: bool, worked: bool) -> Story {
    Story { switches, stream, leaves_at: None, leaves_first: false, worked }
}

pub const STORIES: [Story; 17] = [
    story("", false, true),
    story("", true, true),
    story("delay=40ms", false, true),
    story("gap=5ms", true, true),
    story("chunks=30,split=3", true, true),
    story("status=500", false, false),
    story("status=429", true, false),
    story("delay=20ms,status=503", false, false),
    story("break=before-headers", false, false),
    story("break=after:1", false, false),
    story("break=after:1", true, false),
    story("break=after:3", true, true),
    story("error-event=0", true, false),
    story("silent", true, false),
    Story { leaves_at: Some("\"role\":\"assistant\""), ..story("hold=after:1", true, false) },
    Story { leaves_at: Some("\"content\":\"The \""), ..story("hold=after:2", true, true) },
    Story { leaves_first: true, ..story("hold=before-headers", false, false) },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_work_is_charged_and_nothing_else_until_the_credits_are_gone() {
    for seed in 0..3 {
        mixed(seed).await;
    }
}

async fn mixed(seed: u64) {
    let world = Arc::new(Setup::new().account("shared", CREDITS).start().await);
    let mut random = StdRng::seed_from_u64(seed);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let story = *STORIES.choose(&mut random).unwrap();
            let starts = Duration::from_millis(random.random_range(0..300));
            tokio::spawn(call(Arc::clone(&world), story, starts, caller.to_string()))
        })
        .collect();
    let mut worked = BTreeSet::new();
    let mut exhausted = 0;
    for caller in callers {
        match caller.await.unwrap() {
            End::Worked(id) => assert!(worked.insert(id), "one id for two calls"),
            End::Nothing => {}
            End::Exhausted => exhausted += 1,
        }
    }
    assert_eq!(worked.len(), CREDITS as usize, "seed {seed}");
    assert!(exhausted > 0, "seed {seed}: nobody came too late");
    assert_eq!(world.left("shared").await, 0);
    let asked = world.provider.seen().await.len();

    let mut world = Arc::into_inner(world).unwrap();
    let books = world.stop().await;
    let charges = books.charges("shared").await;
    assert_eq!(charges.keys().copied().collect::<BTreeSet<Id>>(), worked, "seed {seed}");
    assert!(charges.values().all(|charged| *charged == 1_000_000));
    assert_eq!(books.holds("shared").await.len(), asked, "each hold is one request upstream");
    let report = books.audit().await;
    assert_eq!((report.open_holds, report.unsettled.len()), (0, 0));
}

enum End {
    Worked(Id),
    Nothing,
    /// Refused for good.
    Exhausted,
}

/// Lives a story, after coming again for as long as the credits are held by others.
async fn call(world: Arc<World>, story: Story, starts: Duration, name: String) -> End {
    tokio::time::sleep(starts).await;
    loop {
        let ask = if story.stream { world.stream("shared") } else { world.chat("shared") };
        let open = ask.sim(story.switches).header("x-caller", &name).open();
        let mut answer = if story.leaves_first {
            tokio::select! {
                refused = open => refused,
                () = world.provider.was_asked_by(&name) => return End::Nothing,
            }
        } else {
            open.await
        };
        if answer.status == 402 {
            let refused = answer.whole().await;
            match refused.code().as_str() {
                "insufficient_quota" => return End::Exhausted,
                "credits_held" => tokio::time::sleep(Duration::from_millis(20)).await,
                other => panic!("{other}"),
            }
            continue;
        }
        let id = answer.request_id();
        if let Some(text) = story.leaves_at {
            answer.until(text).await;
        } else {
            // Some break off: that is the story.
            let _ = answer.rest().await;
        }
        return if story.worked { End::Worked(id.unwrap()) } else { End::Nothing };
    }
}
