//! How long the pure pieces of a metered call take, one by one, in the order in which a call meets them.

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use creditgate::config::Config;
use creditgate::credit::{Account, Credits, Id, LotKind, Operation as Step, Timestamp, apply};
use creditgate::gateway::peek::peek;
use creditgate::policy::{Asked, Terms, place};
use creditgate::provider::{Demand, Dialect, Evidence, ModelAt, Operation, UsageReader};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::Method;

/// When everything happens, in milliseconds.
const NOW: i64 = 1_800_000_000_000;

criterion_group!(pieces, request, ledger, answer);
criterion_main!(pieces);

/// What a request is, and what it costs.
fn request(criterion: &mut Criterion) {
    let config = config();
    let body = chat();
    let chat =
        Asked { method: &Method::POST, upgrade: false, hint: None, path: "/v1/chat/completions" };
    let mut group = criterion.benchmark_group("request");
    group.bench_function("place", |bencher| {
        bencher.iter(|| place(&config, black_box(chat)).expect("a path"));
    });
    let long = Asked { path: "/openai/v1/threads/thread_1/runs/run_1/steps/step_1", ..chat };
    group.bench_function("place below a provider's name", |bencher| {
        bencher.iter(|| place(&config, black_box(long)).expect("a path"));
    });
    let place = place(&config, chat).expect("a path");
    group.bench_function("quote, the last of 20 rules", |bencher| {
        bencher.iter(|| place.quote(Terms::Priced, &config.prices, black_box(&["model-19"]), None));
    });
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("peek into a kilobyte", |bencher| {
        bencher.iter(|| peek(ModelAt::Json, Some("application/json"), black_box(&body)));
    });
    group.bench_function("count a kilobyte's demand", |bencher| {
        bencher.iter(|| Demand::of(Operation::Chat, false, black_box(&body)));
    });
    group.finish();
}

/// A step of the rules of money.
fn ledger(criterion: &mut Criterion) {
    let account = account();
    let hold = Step::Hold {
        amount: Credits::whole(1),
        ttl_millis: 60_000,
        version: 1,
        period: None,
        feature: None,
    };
    let settle = Step::Settle { amount: Credits::whole(1), work: None, job: None };
    let running = stepped(&account, 9, &hold);
    let mut group = criterion.benchmark_group("ledger");
    group.bench_function("hold", |bencher| {
        bencher.iter(|| stepped(black_box(&account), 9, &hold));
    });
    group.bench_function("settle", |bencher| {
        bencher.iter(|| stepped(black_box(&running), 9, &settle));
    });
    group.finish();
}

/// What is looked for in an answer.
fn answer(criterion: &mut Criterion) {
    let kind = Some("text/event-stream");
    let stream: Vec<String> = (0..50).map(|_| event(r#"{"content":" river"}"#)).collect();
    let bytes: usize = stream.iter().map(String::len).sum();
    let mut group = criterion.benchmark_group("answer");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("evidence in 50 events", |bencher| {
        bencher.iter_batched_ref(
            || Evidence::for_response(Dialect::OpenAi, kind),
            |evidence| stream.iter().for_each(|event| evidence.feed(black_box(event.as_bytes()))),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("usage in 50 events", |bencher| {
        bencher.iter_batched_ref(
            || UsageReader::for_response(Dialect::OpenAi, Operation::Chat, kind),
            |reader| {
                for event in &stream {
                    reader.feed(black_box(event.as_bytes()));
                }
                reader.report()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// One provider, and prices of twenty models.
fn config() -> Config {
    let provider = "[provider.openai]\ndialect = 'openai'\nbase_url = 'https://example.com/v1'\nkey = 'none'\n";
    let rules =
        (0..20).map(|number| format!("[[price.rule]]\nmodel = 'model-{number}'\ncredits = 1\n"));
    let text: String = std::iter::once(provider.to_owned()).chain(rules).collect();
    Config::parse(&text, Path::new("bench"), &|_| None).expect("a valid file")
}

fn chat() -> Bytes {
    let text = "Tell me about rivers. ".repeat(40);
    let body = format!(
        r#"{{"model":"model-19","stream":true,"messages":[{{"role":"user","content":"{text}"}}]}}"#
    );
    Bytes::from(body)
}

fn event(delta: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"m\",\
         \"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

/// An account with a lot of each of three purchases.
fn account() -> Account {
    let open = Step::Gate { until: Timestamp::MAX, version: 1 };
    let account = stepped(&Account::default(), 1, &open);
    (2..5).fold(account, |account, number| {
        let grant = Step::Grant {
            source: format!("order:{number}").parse().expect("a source's name"),
            kind: LotKind::Purchased,
            start: Timestamp::from_millis(NOW),
            end: Timestamp::MAX,
            amount: Credits::whole(100),
        };
        stepped(&account, number, &grant)
    })
}

fn stepped(account: &Account, number: u128, step: &Step) -> Account {
    let id = Id::from_u128((u128::from(NOW.unsigned_abs()) << 80) | number);
    let applied = apply(account, None, id, step, Timestamp::from_millis(NOW)).expect("sound books");
    assert!(applied.reply.outcome.is_ok(), "{:?}", applied.reply);
    applied.account
}
