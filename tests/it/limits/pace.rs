//! The plan's pace.

use crate::harness::{Answer, Setup, World};

fn check_slow_down(answer: &Answer, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, code));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(answer.header("x-should-retry"), None);
}

/// Asks until it is refused, and says how many were answered before.
async fn until_refused(world: &World, key: &str) -> usize {
    for answered in 0..50 {
        let answer = world.ask("GET", "/v1/models").bearer(key).send().await;
        if answer.status != 200 {
            check_slow_down(&answer, "rate_limit_exceeded");
            return answered;
        }
    }
    panic!("never refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_asks_too_fast_is_told_to_wait() {
    let setup = Setup::new().set("plan.slow.monthly_credits", "100");
    let setup = setup.set("plan.slow.requests_per_minute", "1").set("plan.slow.burst", "5");
    let setup = setup.account_on("slow", "a", 0).account_on("slow", "b", 0);
    let world = setup.key("cg_second_of_a", "a", None).start().await;
    assert_eq!(until_refused(&world, &crate::harness::key_of("a")).await, 5);
    // A second key doesn't help, and other accounts don't notice.
    assert_eq!(until_refused(&world, "cg_second_of_a").await, 0);
    check_slow_down(&world.chat("a").send().await, "rate_limit_exceeded");
    assert_eq!(world.chat("b").send().await.status, 200);
    assert_eq!(world.verify().await["open_holds"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_can_not_starve_the_others_of_its_account() {
    let setup = Setup::new().set("plan.fair.monthly_credits", "0");
    let setup = setup.set("plan.fair.key_requests_per_minute", "1").set("plan.fair.burst", "4");
    let setup = setup.account_on("fair", "a", 0).key("cg_second_of_a", "a", None);
    let world = setup.start().await;
    assert_eq!(until_refused(&world, &crate::harness::key_of("a")).await, 4);
    assert_eq!(until_refused(&world, "cg_second_of_a").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_runs_as_many_calls_at_once_as_its_plan_allows() {
    let setup = Setup::new().set("plan.narrow.monthly_credits", "100");
    let setup = setup.set("plan.narrow.concurrency", "2");
    let world = setup.account_on("narrow", "a", 0).account("b", 1).start().await;
    let one = tokio::spawn(world.chat("a").sim("hold=before-headers").send());
    let mut two = world.stream("a").sim("hold=after:2").open().await;
    world.provider.holds(2).await;
    let answer = world.chat("a").send().await;
    check_slow_down(&answer, "too_many_running");
    // Free calls and other accounts go on.
    assert_eq!(world.ask("GET", "/v1/models").of("a").send().await.status, 200);
    assert_eq!(world.chat("b").send().await.status, 200);
    world.provider.release().await;
    two.rest().await.unwrap();
    assert_eq!(one.await.unwrap().status, 200);
    assert_eq!(world.left("a").await, 98);
    assert_eq!(world.chat("a").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_comes_back_however_its_call_ended() {
    let setup = Setup::new().set("plan.one.monthly_credits", "100");
    let world = setup.set("plan.one.concurrency", "1").account_on("one", "a", 0).start().await;
    for _ in 0..3 {
        for switches in
            ["status=500", "break=before-headers", "break=after:1", "break=after:3", "silent"]
        {
            let ask = world.stream("a").sim(switches);
            if let Some(mut answer) = ask.try_open().await {
                assert_ne!(answer.status, 429, "{switches}");
                let _ = answer.rest().await;
            }
            world.resolved().await;
        }
        let mut answer = world.stream("a").sim("hold=after:2").open().await;
        answer.until("content").await;
        drop(answer);
        world.resolved().await;
    }
    assert_eq!(world.chat("a").send().await.status, 200);
}
