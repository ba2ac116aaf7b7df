//! Both engines beside each other: random histories of claims must give the same replies, the same books and the same
//! entries; and whatever happens, no key is charged twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use creditgate::credit::{
    AccountId, ClaimName, Claims, Credits, Fact, Id, LotKind, Operation, Repeated, Task, Timestamp,
};
use creditgate::ledger::{Claimed, Clock, Ledger, redis, sqlite};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::{RedisServer, redis_url};

const HISTORIES: u64 = 60;
const STEPS: u32 = 120;
const START: i64 = 1_800_000_000_000;
const TTL: u64 = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_say_and_keep_the_same() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut met = BTreeMap::new();
    for seed in 0..HISTORIES {
        let now = Arc::new(AtomicI64::new(START));
        let told = Arc::clone(&now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(told.load(Ordering::SeqCst)));
        let path = folder.path().join(format!("{seed}.db"));
        let file = sqlite::Store::open(&path, Arc::clone(&clock)).unwrap();
        let settings = redis::Settings { time: redis::Time::Gateway, ..Default::default() };
        let shared = redis::Store::open(&redis_url(&redis.url()), clock, settings).await.unwrap();
        let ledgers = [Ledger::Sqlite(Arc::new(file)), Ledger::Redis(Arc::new(shared))];
        History { ledgers, now, random: StdRng::seed_from_u64(seed), seed, open: vec![] }
            .run(&mut met)
            .await;
    }
    println!("{met:?}");
    for what in ["pays", "rides", "refused", "running", "delivered", "sent_often"] {
        assert!(met.get(what).is_some_and(|count| *count > 10), "{what}: {met:?}");
    }
}

struct History {
    ledgers: [Ledger; 2],
    now: Arc<AtomicI64>,
    random: StdRng,
    seed: u64,
    /// Calls whose end may be asked for, with the key that they had.
    open: Vec<(Id, Option<ClaimName>)>,
}

impl History {
    async fn run(mut self, met: &mut BTreeMap<&'static str, u32>) {
        let account = format!("claims-{}", self.seed).parse().unwrap();
        let gate = Operation::Gate { until: Timestamp::MAX, version: 1 };
        let grant = Operation::Grant {
            source: "in_1".parse().unwrap(),
            kind: LotKind::Gift,
            start: Timestamp::MIN,
            end: Timestamp::MAX,
            amount: Credits::whole(40),
        };
        for (number, operation) in [gate, grant].into_iter().enumerate() {
            let id = self.id(u32::try_from(number).unwrap() + 1_000_000);
            self.apply(&account, id, operation).await;
        }
        for number in 0..STEPS {
            match self.random.random_range(0..10) {
                0..5 => {
                    let claimed = self.call(&account, number).await;
                    *met.entry(kind(&claimed)).or_default() += 1;
                }
                5..8 if !self.open.is_empty() => self.end(&account).await,
                8 if !self.open.is_empty() => {
                    let at = self.random.random_range(0..self.open.len());
                    let (more, done) =
                        (Credits::ZERO, Credits::whole(self.random.random_range(0..2)));
                    let beat = number;
                    let extend = Operation::Extend { beat, more, ttl_millis: TTL, done };
                    self.apply(&account, self.open[at].0, extend).await;
                }
                _ => {
                    let most = [1_000, 50_000, 200_000, 90_000_000][self.random.random_range(0..4)];
                    let pause = self.random.random_range(0..most);
                    self.now.fetch_add(pause, Ordering::SeqCst);
                }
            }
        }
        self.compare(&account).await;
        for ledger in &self.ledgers {
            assert!(ledger.audit().await.unwrap().is_clean());
        }
        self.ledgers[0].close().await;
    }

    async fn call(&mut self, account: &AccountId, number: u32) -> Claimed {
        let id = self.id(number);
        let name = |kind: u8, number: u8| ClaimName([kind * 16 + number; 32]);
        let key = self.random.random_bool(0.7).then(|| self.random.random_range(0..3));
        let task = self.random.random_bool(0.5).then(|| self.random.random_range(0..2));
        let key = key.map(|number| name(1, number));
        let task = task.map(|number| Task { name: name(2, number), calls: 4, millis: 3 * TTL });
        let claims = Claims { key, task };
        let hold = Operation::Hold {
            amount: Credits::whole(self.random.random_range(0..3)),
            ttl_millis: TTL,
            version: self.random.random_range(0..20).min(1),
            period: None,
            feature: self.random.random_bool(0.5).then(|| "7".parse().unwrap()),
        };
        let claimed = self.hold(account, id, hold.clone(), claims).await;
        // A reply may be lost: the same question has the same answer.
        if let Claimed::Answered { reply, rides } = &claimed {
            let again = self.hold(account, id, hold, claims).await;
            let Claimed::Answered { reply: second, rides: still } = again else {
                panic!("{again:?}")
            };
            assert_eq!((&second.outcome, still), (&reply.outcome, *rides));
            if reply.outcome.is_ok() {
                self.open.push((id, key));
            }
        }
        claimed
    }

    /// Ends one of the open calls.
    async fn end(&mut self, account: &AccountId) {
        let at = self.random.random_range(0..self.open.len());
        let (id, key) = self.open.swap_remove(at);
        if let Some(key) = key.filter(|_| self.random.random_bool(0.4)) {
            for ledger in &self.ledgers {
                ledger.delivered(account, key, id).await.unwrap();
            }
        }
        let amount = Credits::whole(self.random.random_range(0..3));
        let operation = match self.random.random_range(0..10) {
            0..3 => Operation::Release,
            3 => Operation::Charge { amount, period: None, work: None, job: None, feature: None },
            _ => Operation::Settle { amount, work: None, job: None },
        };
        self.apply(account, id, operation).await;
    }

    fn id(&self, number: u32) -> Id {
        let millis = u128::from(self.now.load(Ordering::SeqCst).unsigned_abs());
        Id::from_u128(millis << 80 | u128::from(self.seed) << 32 | u128::from(number))
    }

    async fn hold(&self, account: &AccountId, id: Id, hold: Operation, claims: Claims) -> Claimed {
        let [file, shared] = &self.ledgers;
        let expected = file.hold(account, id, hold.clone(), claims).await.unwrap();
        let found = shared.hold(account, id, hold.clone(), claims).await.unwrap();
        assert_eq!(found, expected, "history {}: {id} {hold:?} {claims:?}", self.seed);
        found
    }

    async fn apply(&self, account: &AccountId, id: Id, operation: Operation) {
        let [file, shared] = &self.ledgers;
        let expected = file.apply(account, id, operation.clone()).await.unwrap();
        let found = shared.apply(account, id, operation.clone()).await.unwrap();
        assert_eq!(found, expected, "history {}: {id} {operation:?}", self.seed);
    }

    async fn compare(&self, account: &AccountId) {
        let [file, shared] = &self.ledgers;
        let books = file.read(account, None).await.unwrap();
        assert_eq!(shared.read(account, None).await.unwrap(), books);
        let entries = file.entries(account, 0, u32::MAX).await.unwrap();
        assert_eq!(shared.entries(account, 0, u32::MAX).await.unwrap(), entries);
        let held = entries.iter().filter(|entry| matches!(entry.fact, Fact::Hold { .. })).count();
        assert!(held > 5, "only {held} holds");
    }
}

fn kind(claimed: &Claimed) -> &'static str {
    match claimed {
        Claimed::Answered { rides: true, .. } => "rides",
        Claimed::Answered { reply, .. } if reply.outcome.is_ok() => "pays",
        Claimed::Answered { .. } => "refused",
        Claimed::Repeated(Repeated::Running) => "running",
        Claimed::Repeated(Repeated::Delivered) => "delivered",
        Claimed::Repeated(Repeated::SentOften) => "sent_often",
    }
}
