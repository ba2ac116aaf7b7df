//! Callers of many accounts on all gateways at once, and what each of their calls came to in its client's eyes.
//!
//! Each call of an account has a price of its own, by which its hold is known in the ledger whatever became of the
//! answer that would have told its id.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use creditgate::credit::Id;
use http::StatusCode;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::exact::{Story, story};
use crate::harness::{Ask, Client, Fleet, Setup, chat_body};

/// What accounts have: of their plan, and bought. For some it is not enough.
pub const ACCOUNTS: [(u32, u32); 20] = [
    (0, 0),
    (0, 1),
    (1, 0),
    (5, 2),
    (0, 13),
    (17, 0),
    (10, 9),
    (21, 1),
    (0, 25),
    (13, 14),
    (31, 0),
    (2, 33),
    (40, 1),
    (0, 60),
    (60, 0),
    (50, 50),
    (100, 0),
    (0, 100),
    (99, 101),
    (7, 400),
];
/// How many calls of an account can have a price of their own.
const PRICES: u32 = 1000;
/// How long a client waits that is told to come again.
const COME_AGAIN: Duration = Duration::from_millis(100);

/// One life of a gateway, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    pub gateway: usize,
    pub number: usize,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    pub account: usize,
    /// Tells it from the account's other calls.
    pub number: u32,
    pub story: Story,
    /// To whom it went.
    pub life: Life,
    pub end: End,
}

#[derive(Clone, Copy, Debug)]
pub enum End {
    /// The gateway refused it. It said that the credits are used up, or something else.
    Refused { status: StatusCode, exhausted: bool },
    /// It went its way, and had this id if the client came to know it.
    Asked(Option<Id>),
}

pub fn account(number: usize) -> String {
    format!("account-{number}")
}

/// In µ.
pub fn price(number: u32) -> u64 {
    1_000_000 + u64::from(number)
}

impl Call {
    /// What the provider knows it by.
    pub fn name(&self) -> String {
        format!("{}/{}", self.account, self.number)
    }

    pub fn price(&self) -> u64 {
        price(self.number)
    }
}

/// The accounts, and a price for each of their calls.
pub fn setup() -> Setup {
    let mut setup = Setup::new();
    for (number, (plan, bought)) in ACCOUNTS.into_iter().enumerate() {
        let name = format!("monthly-{plan}");
        setup = setup.set(&format!("plan.{name}.monthly_credits"), &plan.to_string());
        setup = setup.account_on(&name, &account(number), bought);
    }
    let rule = |number| format!("{{ model = 'm{number}', credits = '1.{number:06}' }}");
    let rules: Vec<String> = (0..PRICES).map(rule).collect();
    setup.set("price.rule", &format!("[{}]", rules.join(", ")))
}

/// The callers' side of a fleet.
pub struct Load {
    client: Client,
    /// Where gateways are, while they are.
    doors: Mutex<Vec<(Life, Option<SocketAddr>)>>,
    /// Calls so far of each account.
    numbers: [AtomicU32; ACCOUNTS.len()],
    started: AtomicUsize,
    /// Calls that may start.
    admitted: watch::Sender<usize>,
    ended: watch::Sender<usize>,
    /// The calls whose answer came whole.
    whole: Mutex<BTreeSet<String>>,
}

impl Load {
    pub fn on(fleet: &Fleet) -> Arc<Self> {
        let gateways = fleet.gateways.iter().enumerate();
        let door = |(gateway, process): (usize, &crate::harness::Process)| {
            (Life { gateway, number: 0 }, Some(process.address))
        };
        Arc::new(Self {
            client: Client::new(),
            doors: Mutex::new(gateways.map(door).collect()),
            numbers: Default::default(),
            started: AtomicUsize::new(0),
            admitted: watch::Sender::new(usize::MAX),
            ended: watch::Sender::new(0),
            whole: Mutex::default(),
        })
    }

    /// Starts `callers` that live `calls` of these stories each, one after another.
    pub fn start(
        self: &Arc<Self>,
        (callers, calls): (usize, usize),
        stories: &[Story],
    ) -> JoinSet<Vec<Call>> {
        let stories: Arc<[Story]> = stories.into();
        let mut running = JoinSet::new();
        for (seed, _) in (0..).zip(0..callers) {
            let (load, stories) = (Arc::clone(self), Arc::clone(&stories));
            let random = StdRng::seed_from_u64(seed);
            running.spawn(async move { load.call_often(calls, &stories, random).await });
        }
        running
    }

    /// One more call of each account, in turn.
    pub async fn one_of_each_account(&self) -> Vec<Call> {
        let mut random = StdRng::seed_from_u64(u64::MAX);
        let mut lived = Vec::new();
        for account in 0..ACCOUNTS.len() {
            lived.push(self.call(account, story("", false, true), &mut random).await);
        }
        lived
    }

    /// Lets no more than so many calls start, until more are admitted: what is done in the middle of the work is not
    /// done after it on a machine that is slow.
    pub fn admit(&self, calls: usize) {
        self.admitted.send_replace(calls);
    }

    /// Waits until so many calls have ended. Those that are to come again have not.
    pub async fn ended(&self, calls: usize) {
        self.ended.subscribe().wait_for(|ended| *ended >= calls).await.unwrap();
    }

    /// The calls whose answer has come whole so far: their gateways know that they have ended.
    pub fn whole(&self) -> BTreeSet<String> {
        self.whole.lock().unwrap().clone()
    }

    /// No call goes to this gateway from now on.
    pub fn close(&self, gateway: usize) -> Life {
        let mut doors = self.doors.lock().unwrap();
        doors[gateway].1 = None;
        doors[gateway].0
    }

    /// Calls go to this gateway again, which lives anew.
    pub fn open(&self, gateway: usize, address: SocketAddr) {
        let (life, door) = &mut self.doors.lock().unwrap()[gateway];
        life.number += 1;
        *door = Some(address);
    }

    async fn call_often(&self, calls: usize, stories: &[Story], mut random: StdRng) -> Vec<Call> {
        let mut lived = Vec::new();
        for _ in 0..calls {
            let turn = self.started.fetch_add(1, Ordering::Relaxed);
            self.admitted.subscribe().wait_for(|admitted| turn < *admitted).await.unwrap();
            let account = random.random_range(0..ACCOUNTS.len());
            let story = *stories.choose(&mut random).unwrap();
            loop {
                let call = self.call(account, story, &mut random).await;
                let end = call.end;
                lived.push(call);
                let End::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. } = end else {
                    break;
                };
                tokio::time::sleep(COME_AGAIN).await;
            }
            self.ended.send_modify(|ended| *ended += 1);
        }
        lived
    }

    async fn call(&self, account: usize, story: Story, random: &mut StdRng) -> Call {
        let number = self.numbers[account].fetch_add(1, Ordering::Relaxed);
        assert!(number < PRICES, "more calls than prices");
        let (life, address) = {
            let doors = self.doors.lock().unwrap();
            let open = doors.iter().filter_map(|(life, door)| Some((*life, (*door)?)));
            *open.collect::<Vec<_>>().choose(random).expect("a gateway is open")
        };
        let patience = Duration::from_millis(random.random_range(0..60));
        let mut call = Call { account, number, story, life, end: End::Asked(None) };
        let mut body = chat_body(story.stream);
        body["model"] = format!("m{number}").into();
        let ask = self.client.ask(address, "POST", "/v1/chat/completions").json(&body);
        let ask = ask.of(&self::account(account)).header("x-caller", &call.name());
        let (end, whole) = live(ask.sim(story.switches), story, patience).await;
        call.end = end;
        if whole {
            self.whole.lock().unwrap().insert(call.name());
        }
        call
    }
}

/// Lives a story; says how it ended, and whether its answer came whole.
async fn live(ask: Ask, story: Story, patience: Duration) -> (End, bool) {
    let opened = if story.leaves_first {
        tokio::select! {
            opened = ask.try_open() => opened,
            () = tokio::time::sleep(patience) => return (End::Asked(None), false),
        }
    } else {
        ask.try_open().await
    };
    let Some(mut answer) = opened else { return (End::Asked(None), false) };
    let (status, id) = (answer.status, answer.request_id());
    // A provider's own refusal carries the id of its call.
    if id.is_none() && [402, 403, 503].contains(&status.as_u16()) {
        let exhausted = answer.reaches(r#""code":"insufficient_quota""#).await;
        return (End::Refused { status, exhausted }, false);
    }
    let whole = match story.leaves_at {
        Some(text) => {
            answer.reaches(text).await;
            false
        }
        // Some break off: that is the story.
        None => answer.rest().await.is_ok(),
    };
    (End::Asked(id), whole)
}
