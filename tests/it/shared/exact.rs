//! What one gateway does holds on all of them: for credits, keys, subscriptions and grants.

use std::collections::{BTreeMap, BTreeSet};

use creditgate::credit::Id;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::harness::{Fleet, RedisServer, Setup, chat_body};

const GATEWAYS: usize = 4;
/// Of each account.
const CALLERS: usize = 15;

/// The key of the account that was set up first.
const FIRST_KEY: &str = "key_0000000000000000";

/// What accounts have: of their plan, and bought.
const ACCOUNTS: [(u32, u32); 18] = [
    (0, 0),
    (0, 1),
    (1, 0),
    (1, 1),
    (0, 2),
    (3, 0),
    (1, 2),
    (2, 3),
    (5, 0),
    (0, 7),
    (3, 4),
    (7, 2),
    (1, 8),
    (9, 2),
    (0, 11),
    (13, 0),
    (6, 7),
    (14, 1),
];

fn name(number: usize) -> String {
    format!("account-{number}")
}

fn setup() -> Setup {
    let mut setup = Setup::new().account("owing", 1).closed_account("inactive", 5);
    for (number, (plan, bought)) in ACCOUNTS.into_iter().enumerate() {
        let plan_name = format!("monthly-{plan}");
        setup = setup.set(&format!("plan.{plan_name}.monthly_credits"), &plan.to_string());
        setup = setup.account_on(&plan_name, &name(number), bought);
    }
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_300_callers_on_four_gateways_exactly_as_many_are_served_as_there_are_credits() {
    let redis = RedisServer::start(&["--appendonly", "yes"]);
    let fleet = Fleet::start(setup(), redis, GATEWAYS).await;
    // Used on one gateway, and paid back through another.
    assert_eq!(fleet.gateways[0].chat("owing").send().await.status, 200);
    fleet.resolved().await;
    fleet.gateways[1].run(&["void", "owing", "1", "--source", "test:owing"]);
    fleet.provider.forget().await;

    let mut has: BTreeMap<String, u32> =
        BTreeMap::from([("owing".into(), 0), ("inactive".into(), 0)]);
    for (number, (plan, bought)) in ACCOUNTS.into_iter().enumerate() {
        has.insert(name(number), plan + bought);
    }
    let mut callers: Vec<&String> = has.keys().cycle().take(CALLERS * has.len()).collect();
    assert_eq!(callers.len(), 300);
    let mut random = StdRng::seed_from_u64(1);
    callers.shuffle(&mut random);
    let asked = callers.into_iter().map(|account| {
        let gateway = &fleet.gateways[random.random_range(0..GATEWAYS)];
        let ask = if random.random() { gateway.chat(account) } else { gateway.stream(account) };
        let ask = ask.header("x-caller", account).sim("hold=before-headers");
        (account, tokio::spawn(ask.send()))
    });
    let asked: Vec<_> = asked.collect();
    let credits: u32 = has.values().sum();
    // All credits are held at once; whoever comes later finds them held or used.
    fleet.provider.holds(credits.into()).await;
    fleet.provider.release().await;

    let mut served: BTreeMap<&str, BTreeSet<Id>> = BTreeMap::new();
    for (account, answer) in asked {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            let id = answer.header("x-credits-request-id").unwrap().parse().unwrap();
            assert!(served.entry(account).or_default().insert(id), "one id for two calls");
            continue;
        }
        let refused = match account.as_str() {
            "inactive" => (403, "billing_not_active"),
            "owing" => (402, "credits_owed"),
            _ if answer.code() == "credits_held" => (402, "credits_held"),
            _ => (402, "insufficient_quota"),
        };
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), refused, "{account}");
    }
    fleet.resolved().await;
    let mut reached: BTreeMap<String, u32> = BTreeMap::new();
    for seen in fleet.provider.seen().await {
        *reached.entry(seen.headers["x-caller"].clone()).or_default() += 1;
    }
    for (account, credits) in &has {
        let served = served.remove(account.as_str()).unwrap_or_default();
        assert_eq!(served.len(), *credits as usize, "{account}");
        assert_eq!(reached.remove(account).unwrap_or_default(), *credits, "{account}");
        check_books(&fleet, account, &served).await;
        // Any gateway explains any call.
        for id in served.iter().take(1) {
            let gateway = &fleet.gateways[random.random_range(0..GATEWAYS)];
            let explained = gateway.run(&["explain", &id.to_string()]);
            assert_eq!(explained["account"], json!(account));
            assert_eq!(explained["state"], "charged");
        }
    }
    for gateway in &fleet.gateways {
        let report = gateway.verify().await;
        assert_eq!((&report["open_holds"], &report["unsettled"]), (&json!(0), &json!([])));
    }
    assert_eq!(fleet.gateways[3].run(&["verify"])["clean"], true);
}

/// What was served is charged, and nothing else; nothing is left.
async fn check_books(fleet: &Fleet, account: &str, served: &BTreeSet<Id>) {
    // What the one account has that may not spend it, and what the other owes for its first call.
    let (left, before) = match account {
        "inactive" => (5_000_000, 0),
        "owing" => (-1_000_000, 1),
        _ => (0, 0),
    };
    assert_eq!(fleet.balance(account).await, left, "{account}");
    let charges = fleet.books.charges(account).await;
    assert!(charges.values().all(|charge| *charge == 1_000_000), "{account}: {charges:?}");
    assert!(served.iter().all(|id| charges.contains_key(id)), "{account}");
    assert_eq!(charges.len(), served.len() + before, "{account}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_through_one_gateway_holds_for_the_next_call_on_all_others() {
    let setup = Setup::new().account("customer", 100).account("other", 100).account("empty", 0);
    let redis = RedisServer::start(&["--appendonly", "yes"]);
    let fleet = Fleet::start(setup.key("cg_second", "customer", None), redis, GATEWAYS).await;
    let all = async |account: &str| {
        let mut answers = Vec::new();
        for gateway in &fleet.gateways {
            let answer = gateway.chat(account).send().await;
            let code = if answer.status == 200 { String::new() } else { answer.code() };
            answers.push((answer.status.as_u16(), code));
        }
        answers
    };
    let each = |status: u16, code: &str| vec![(status, code.to_owned()); GATEWAYS];
    // Each gateway has the account and its keys in memory from here on.
    assert_eq!(all("customer").await, each(200, ""));
    assert_eq!(all("empty").await, each(402, "insufficient_quota"));

    fleet.gateways[1].run(&["account", "gate", "customer", "closed"]);
    assert_eq!(all("customer").await, each(403, "billing_not_active"));
    fleet.gateways[2].run(&["account", "gate", "customer", "open"]);
    assert_eq!(all("customer").await, each(200, ""));

    let keys = fleet.gateways[3].run(&["key", "list", "customer"]);
    assert!(keys.to_string().contains(FIRST_KEY), "{keys:#}");
    fleet.gateways[0].run(&["key", "revoke", FIRST_KEY]);
    assert_eq!(all("customer").await, each(401, "invalid_api_key"));
    for gateway in &fleet.gateways {
        let second = gateway.ask("POST", "/v1/chat/completions").bearer("cg_second");
        assert_eq!(second.json(&chat_body(false)).send().await.status, 200);
    }
    assert_eq!(all("other").await, each(200, ""));

    let four = ["grant", "empty", "4", "--kind", "purchased", "--source", "invoice:1"];
    fleet.gateways[2].run(&four);
    assert_eq!(all("empty").await, each(200, ""));
    fleet.resolved().await;
    assert_eq!(all("empty").await, each(402, "insufficient_quota"));
    // The same invoice, told to another gateway.
    fleet.gateways[3].run(&four);
    assert_eq!(all("empty").await, each(402, "insufficient_quota"));
    fleet.resolved().await;
    assert_eq!(fleet.gateways[0].verify().await["unsettled"], json!([]));
}
