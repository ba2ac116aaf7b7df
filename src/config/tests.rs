//! The default loads and documents every key; files in `tests/fixtures/config` load, or fail with the text beside them.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::credit::{Price, Unit, Usage};

fn no_env(_: &str) -> Option<String> {
    None
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("gateway.toml"), &no_env)
}

fn with_env(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::load(None, &env)
}

/// The files of a folder of fixtures, in the order of their names.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

/// The default with every setting that is off switched on.
fn uncommented() -> String {
    let lines = DEFAULT.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c != ' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The keys that the grammar knows in `section`, as it says itself when asked for one that it doesn't.
fn known_keys(section: &str) -> Vec<String> {
    let file = if section.is_empty() {
        "zzzzzzzz = 1".to_owned()
    } else {
        format!("{section}\nzzzzzzzz = 1")
    };
    let error = load(&file).unwrap_err().to_string();
    let (_, keys) = error.split_once("the keys here are ").unwrap_or_else(|| {
        error.split_once("the only key here is ").unwrap_or_else(|| panic!("{error}"))
    });
    keys.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_default_loads_and_says_what_it_should() {
    let config = Config::load(None, &no_env).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    let plans: Vec<_> = config
        .plans
        .iter()
        .map(|(name, plan)| format!("{name} {}", plan.monthly_credits))
        .collect();
    assert_eq!(plans, ["business 500", "enterprise 800", "hacker 0", "startups 300"]);
    let providers: Vec<_> = config
        .providers
        .iter()
        .map(|(name, provider)| format!("{name} {} {}", provider.dialect, provider.base_url))
        .collect();
    let expected = [
        "anthropic anthropic https://api.anthropic.com",
        "gemini gemini https://generativelanguage.googleapis.com",
        "openai openai https://api.openai.com/v1",
    ];
    assert_eq!(providers, expected);
    let openai = &config.providers["openai"];
    assert_eq!(openai.base_url.as_str(), "https://api.openai.com/v1");
    assert_eq!(openai.timeouts.header, Duration::from_mins(10));
    assert_eq!(openai.key, Some(SecretSource::Env("OPENAI_API_KEY".to_owned())));
    assert_eq!(config.limits.metered_body, 64 * 1024 * 1024);
    assert_eq!(config.limits.heartbeat(), Duration::from_secs(20));
    assert!(config.prices.quote("openai", "chat", None, None).is_some());
}

#[test]
fn the_default_documents_every_key() {
    let document: toml::Table = toml::from_str(&uncommented()).unwrap();
    let has = |path: &[&str], key: &str| {
        let mut tables = vec![&document];
        for step in path {
            let values = tables.iter().filter_map(|table| table.get(*step));
            let inner = values.flat_map(|value| match value {
                toml::Value::Array(tables) => tables.iter().collect(),
                other => vec![other],
            });
            tables = inner.map(|value| value.as_table().unwrap()).collect();
        }
        tables.iter().any(|table| table.contains_key(key))
    };
    for (section, path) in [
        ("", &[][..]),
        ("[log]", &["log"]),
        ("[redis]", &["redis"]),
        ("[provider.x]", &["provider", "openai"]),
        ("[[provider.x.fallback]]", &["provider", "openai", "fallback"]),
        ("[provider_defaults]", &["provider_defaults"]),
        ("[plan.x]", &["plan", "hacker"]),
        ("[plan_defaults]", &["plan_defaults"]),
        ("[price]", &["price"]),
        ("[price.default]", &["price", "default"]),
        ("[[price.rule]]", &["price", "rule"]),
        ("[refusal]", &["refusal"]),
        ("[outage]", &["outage"]),
        ("[metering]", &["metering"]),
        ("[headers]", &["headers"]),
        ("[limits]", &["limits"]),
        ("[archive]", &["archive"]),
    ] {
        for key in known_keys(section) {
            assert!(has(path, &key), "`{key}` of {section} is not in config/gateway.toml");
        }
    }
}

#[test]
fn settings_that_are_off_load_when_switched_on() {
    // The archive is for a ledger in Redis.
    let redis = |name: &str| (name == "CREDITGATE_LEDGER").then(|| "redis://localhost".to_owned());
    let path = Path::new("config/gateway.toml");
    let mut config = Config::parse(&uncommented(), path, &redis).unwrap();
    assert!(config.archive.folder.is_some());
    let list = load(include_str!("../../config/prices.toml")).unwrap().prices.rules;
    assert_eq!(config.prices.rules.len(), 2 + list.len());
    let mut providers = config.providers.values_mut();
    let openai = providers.find(|provider| provider.next_after.is_some()).unwrap();
    assert_eq!(openai.fallbacks.len(), 1);
    (openai.next_after, openai.fallbacks) = (None, Vec::new());
    // What a plan or a provider may say for itself is shown with the value that holds if it doesn't.
    let default = Config::load(None, &no_env).unwrap();
    assert_eq!((config.plans, config.providers), (default.plans, default.providers));
}

#[test]
fn valid_files_load_and_what_is_in_force_loads_as_the_same() {
    let files = fixtures("valid");
    assert!(files.len() >= 3);
    for path in files {
        let config = Config::load(Some(&path), &no_env).unwrap_or_else(|error| panic!("{error}"));
        let effective = config.effective();
        let again = load(&effective).unwrap_or_else(|error| panic!("{error}\n{effective}"));
        assert_eq!(config, again, "{effective}");
    }
    let default = Config::load(None, &no_env).unwrap();
    assert_eq!(load(&default.effective()).unwrap(), default);
}

/// With `BLESS=1` the texts are written instead of compared.
#[test]
fn invalid_files_fail_with_the_text_beside_them() {
    let files = fixtures("invalid");
    assert!(files.len() >= 12);
    let mut different = Vec::new();
    for path in files {
        let name = PathBuf::from(path.file_name().unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let error = match Config::parse(&text, &name, &no_env) {
            Ok(_) => panic!("{} loads", name.display()),
            Err(error) => format!("{error}\n"),
        };
        assert!(!error.contains("sk-live"), "a secret is shown:\n{error}");
        let beside = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(beside, error).unwrap();
        } else if fs::read_to_string(&beside).unwrap_or_default() != error {
            different.push(error);
        }
    }
    assert!(different.is_empty(), "other texts than beside the files:\n{}", different.join("\n"));
}

#[test]
fn a_file_replaces_the_keys_that_it_names_and_whole_lists() {
    let config =
        load("[limits]\ndrain = \"5s\"\n[plan.one]\nmonthly_credits = 7\nburst = 3").unwrap();
    let default = Config::load(None, &no_env).unwrap();
    assert_eq!(config.limits, Limits { drain: Duration::from_secs(5), ..default.limits });
    assert_eq!(config.plans.len(), 1);
    let pace = config.plans["one"].pace;
    assert_eq!(pace, Pace { burst: NonZeroU32::new(3).unwrap(), ..default.plans["hacker"].pace });
    assert_eq!(config.providers, default.providers);
}

#[test]
fn a_price_list_without_a_default_has_none() {
    let config = load("[[price.rule]]\nmodel = \"gpt-*\"\ncredits = \"0.5\"").unwrap();
    assert!(config.prices.quote("openai", "chat", Some("gpt-5"), None).is_some());
    assert_eq!(config.prices.quote("openai", "chat", Some("o3"), None), None);
}

#[test]
fn the_rules_of_a_price_list_come_after_those_of_the_file() {
    let text = "[price]\nfile = \"config/multipliers.toml\"\n[[price.rule]]\nmodel = \"gpt-4.1\"\ncredits = 7";
    let config = load(text).unwrap();
    for (model, credits) in [("gpt-4.1", 7), ("gpt-4.1-2025-04-14", 3), ("gpt-5.2", 3), ("o3", 1)] {
        let price = config.prices.quote("openai", "chat", Some(model), None).unwrap().price;
        assert_eq!(price, Price::PerCall(Credits::whole(credits)), "{model}");
    }
    // Its default counts where the file has none.
    let text = format!("{text}\n[price.default]\ncredits = 2");
    let default = load(&text).unwrap().prices.quote("openai", "chat", None, None).unwrap().price;
    assert_eq!(default, Price::PerCall(Credits::whole(2)));
}

#[test]
fn the_price_lists_that_are_shipped_load_and_price_what_they_name() {
    for (model, amounts, expected) in [
        ("gpt-5-mini", [(Unit::Input, 1_000_000), (Unit::CachedInput, 1_000_000)], "0.275"),
        ("gpt-5-mini-2025-08-07", [(Unit::Output, 500_000), (Unit::Reasoning, 500_000)], "2"),
        ("gpt-image-1", [(Unit::ImageOutput, 6_240), (Unit::Image, 1)], "0.2496"),
        ("anthropic/claude-sonnet-4.5", [(Unit::CacheWrites, 1_000), (Unit::Input, 0)], "0.00375"),
        ("whisper-1", [(Unit::AudioSecond, 60_000), (Unit::Input, 0)], "0.006"),
    ] {
        let config = load("[price]\nfile = \"config/prices.toml\"").unwrap();
        let quote = config.prices.quote("openai", "chat", Some(model), None).unwrap();
        let Price::PerUnit(rates) = quote.price else { panic!("{model} has a price per call") };
        let usage = amounts.into_iter().fold(Usage::NOTHING, |all, (unit, n)| all.with(unit, n));
        assert_eq!(rates.price(&usage).to_string(), expected, "{model}");
        assert_eq!(config.prices.quote("openai", "chat", Some("gpt-5.9"), None), None);
    }
}

#[test]
fn the_environment_stands_above_the_file() {
    let config = with_env(&[
        ("CREDITGATE_LISTEN", "0.0.0.0:80"),
        ("CREDITGATE_ADMIN_LISTEN", ""),
        ("CREDITGATE_ADMIN_TOKEN", "token"),
        ("CREDITGATE_LEDGER", "sqlite:///var/lib/creditgate/creditgate.db"),
        ("CREDITGATE_OPENAI_BASE_URL", "http://localhost:9000/v1/"),
        ("CREDITGATE_OPENAI_KEY", "sk-live"),
    ])
    .unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.ledger.to_string(), "sqlite:///var/lib/creditgate/creditgate.db");
    let openai = &config.providers["openai"];
    assert_eq!(openai.base_url.as_str(), "http://localhost:9000/v1");
    assert_eq!(openai.key, Some(SecretSource::Env("CREDITGATE_OPENAI_KEY".to_owned())));
    assert!(!config.effective().contains("sk-live"));
}

#[test]
fn a_mistake_in_the_environment_names_the_variable_and_not_its_value() {
    for (name, value) in [
        ("CREDITGATE_LISTEN", "localhost"),
        ("CREDITGATE_LEDGER", "redis://:hunter2@localhost:port"),
        ("CREDITGATE_OPENAI_BASE_URL", "https://me:hunter2@localhost"),
    ] {
        let error = with_env(&[(name, value)]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("the environment variable {name}: expected")),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_listeners_are_two() {
    let error = with_env(&[("CREDITGATE_LISTEN", "127.0.0.1:8081")]).unwrap_err();
    assert!(matches!(error, ConfigError::SameListener(_)), "{error}");
    let free_ports =
        [("CREDITGATE_LISTEN", "127.0.0.1:0"), ("CREDITGATE_ADMIN_LISTEN", "127.0.0.1:0")];
    assert!(with_env(&free_ports).is_ok());
}

#[test]
fn only_a_ledger_that_can_be_away_lets_calls_through() {
    let load =
        |ledger: &str| load(&format!("ledger = \"{ledger}\"\n[outage]\non_outage = \"allow\""));
    assert!(load("redis://localhost").is_ok());
    let error = load("sqlite://creditgate.db").unwrap_err();
    assert!(matches!(error, ConfigError::NothingToAllow), "{error}");
}

#[test]
fn only_a_redis_ledger_is_archived() {
    let error = load("[archive]\nfolder = \"a\"").unwrap_err();
    assert!(matches!(error, ConfigError::NothingToArchive(_)), "{error}");
    assert!(load("ledger = \"redis://h\"\n[archive]\nfolder = \"a\"").is_ok());
    assert_eq!(load("").unwrap().archive.keep, Duration::from_hours(720));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error =
        Config::load(Some(Path::new("/nowhere/gateway.toml")), &no_env).unwrap_err().to_string();
    assert!(error.starts_with("the configuration /nowhere/gateway.toml can't be read"), "{error}");
}

#[test]
fn base_urls_fall_into_their_parts() {
    let config = with_env(&[("CREDITGATE_OPENAI_BASE_URL", "http://[::1]:9000/a/v1//")]).unwrap();
    let url = &config.providers["openai"].base_url;
    assert_eq!((url.is_tls(), url.authority(), url.path()), (false, "[::1]:9000", "/a/v1"));
    let config = with_env(&[("CREDITGATE_OPENAI_BASE_URL", "https://api.example.com/")]).unwrap();
    let url = &config.providers["openai"].base_url;
    assert_eq!((url.is_tls(), url.authority(), url.path()), (true, "api.example.com", ""));
    for bad in [
        "api.example.com",
        "/v1",
        "ftp://api.example.com",
        "https://",
        "https://user@api.example.com",
        "https://api.example.com/v1?a=b",
        "https://api.example.com/v1#a",
        "https://api.example.com:",
        "https://api.example.com:99999",
        "https://api example.com",
    ] {
        assert!(with_env(&[("CREDITGATE_OPENAI_BASE_URL", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn the_password_of_the_ledger_is_never_shown() {
    for (url, shown) in [
        ("redis://localhost:6379", "redis://localhost:6379"),
        ("redis://localhost", "redis://localhost:6379"),
        (
            "rediss://gateway:hunter2@ledger.example.com:6380/2",
            "rediss://gateway:***@ledger.example.com:6380/2",
        ),
        ("redis://:hunter2@[::1]:6379", "redis://:***@[::1]:6379"),
        (
            "redis+sentinel://gateway:hunter2%21@a,b:7/mymaster/2",
            "redis+sentinel://gateway:***@a:26379,b:7/mymaster/2",
        ),
        ("rediss+cluster://:hunter2@a:1,[::1]:2", "rediss+cluster://:***@a:1,[::1]:2"),
    ] {
        let config = with_env(&[("CREDITGATE_LEDGER", url)]).unwrap();
        assert_eq!(config.ledger.to_string(), shown);
        let kept = |redis: &RedisUrl| {
            redis.password.as_ref().is_none_or(|p| p.expose().starts_with("hunter2"))
        };
        assert!(matches!(&config.ledger, LedgerUrl::Redis(redis) if kept(redis)));
        assert!(config.effective().contains(&format!("ledger = \"{shown}\"")));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
    for bad in [
        "redis://",
        "redis://localhost:",
        "redis://localhost:99999",
        "redis://localhost/accounts",
        "redis://localhost?protocol=resp3",
        "rediss://localhost/#insecure",
        "valkey://localhost",
        "redis://a,b",
        "redis://localhost:0",
        "redis://localhost:+1",
        "redis://[localhost]",
        "redis://::1",
        "redis://me:%ff@localhost",
        "redis://localhost/99999",
        "redis+sentinel://localhost:26379",
        "redis+sentinel://localhost/my master",
        "redis+sentinel://,/mymaster",
        "redis+sentinel://localhost/mymaster/x",
        "redis+cluster://a/1",
        "redis+cluster://",
        "redis+proxy://a",
        "http://localhost",
    ] {
        assert!(with_env(&[("CREDITGATE_LEDGER", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    // Cuts of the default, some of which are no configuration: then there must be a text that says so.
    let texts = (0..DEFAULT.len()).step_by(31).filter_map(|end| DEFAULT.get(..end));
    let mistakes = texts.filter_map(|cut| load(cut).err()).map(|error| error.to_string());
    assert!(mistakes.count() > 10);
    for text in ["\u{feff}é = \"é\u{301}\"", "a = \"\"\"\n\n\né", "[[[", "=\t\0", "'é' = 1"] {
        assert!(load(text).is_err(), "{text:?}");
    }
}
