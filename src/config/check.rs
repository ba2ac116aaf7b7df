//! What must hold between the values of a file, after each of them has a meaning of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::environment::variable_part;
use super::error::Fault;
use super::layer::{self, Step};
use super::{Config, ConfigError, Fallback, FallbackKey, LedgerUrl, Name, OnOutage, Provider};
use crate::credit::{REMEMBERED_MILLIS, Rule};
use crate::provider::Operation;

/// A third of it is the pause between two renewals of a hold, which must leave the ledger time to answer.
const SHORTEST_HOLD: Duration = Duration::from_secs(3);

/// An empty file of the archive takes some pages.
const SMALLEST_FILE: usize = 64 * 1024;

/// Refuses a configuration that contradicts itself; `text` is the file, in which the place is looked for.
pub(super) fn file(config: &Config, text: &str) -> Result<(), Fault> {
    let found = providers(config)
        .or_else(|| plans(config))
        .or_else(|| prices(&config.prices.rules, &config.providers))
        .or_else(|| limits(config))
        .or_else(|| archive(config))
        .or_else(|| tasks(config));
    found.map_or(Ok(()), |contradiction| Err(contradiction.fault(text)))
}

/// Refuses rules that would never do what they say; `text` is the file that they stand in.
pub(super) fn rules(
    rules: &[Rule],
    providers: &BTreeMap<Name, Provider>,
    text: &str,
) -> Result<(), Fault> {
    prices(rules, providers).map_or(Ok(()), |contradiction| Err(contradiction.fault(text)))
}

/// Refuses what only the environment and the file together can get wrong.
pub(super) fn all(config: &Config) -> Result<(), ConfigError> {
    if let (Some(_), LedgerUrl::Sqlite(_)) = (&config.archive.folder, &config.ledger) {
        return Err(ConfigError::NothingToArchive(config.ledger.to_string()));
    }
    // Port 0 asks the system for a free port, each time another.
    if config.listen == config.admin_listen && config.listen.port() != 0 {
        return Err(ConfigError::SameListener(config.listen));
    }
    Ok(())
}

/// Refuses an outage rule for a ledger that has no outages.
pub(super) fn outage(config: &Config) -> Result<(), ConfigError> {
    match (&config.ledger, config.outage.on_outage) {
        (LedgerUrl::Sqlite(_), OnOutage::Allow) => Err(ConfigError::NothingToAllow),
        (LedgerUrl::Sqlite(_) | LedgerUrl::Redis(_), OnOutage::Refuse)
        | (LedgerUrl::Redis(_), OnOutage::Allow) => Ok(()),
    }
}

fn tasks(config: &Config) -> Option<Contradiction<'_>> {
    let remembered = Duration::from_millis(REMEMBERED_MILLIS);
    (config.tasks.time > remembered).then(|| Contradiction {
        steps: vec![Step::Key("tasks"), Step::Key("time")],
        message: "a task lasts at most 72 h".to_owned(),
        hint: Some("that is how long it is known what became of its first call".to_owned()),
    })
}

fn archive(config: &Config) -> Option<Contradiction<'_>> {
    let contradiction = |key, message: &str, hint: &str| Contradiction {
        steps: vec![Step::Key("archive"), Step::Key(key)],
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    };
    let archive = &config.archive;
    if archive.folder.as_ref().is_some_and(|folder| folder.as_os_str().is_empty()) {
        let hint = "name a directory, or leave the key out to archive nothing";
        return Some(contradiction("folder", "the archive's folder has no name", hint));
    }
    (archive.rotate < SMALLEST_FILE).then(|| {
        let hint = "a file that small would hold next to nothing";
        contradiction("rotate", "a file of the archive has at least 64 KiB", hint)
    })
}

struct Contradiction<'c> {
    steps: Vec<Step<'c>>,
    message: String,
    hint: Option<String>,
}

impl Contradiction<'_> {
    fn fault(self, text: &str) -> Fault {
        let Self { steps, message, hint } = self;
        Fault { message, hint, span: layer::find(text, &steps) }
    }
}

fn providers(config: &Config) -> Option<Contradiction<'_>> {
    let mut variables = BTreeMap::new();
    for name in config.providers.keys() {
        if let Some(other) = variables.insert(variable_part(name), name) {
            return Some(Contradiction {
                steps: vec![Step::Key("provider"), Step::Key(name.as_str())],
                message: format!(
                    "the providers `{other}` and `{name}` would share their environment variables"
                ),
                hint: Some("`-` and `_` are the same there: rename one of them".to_owned()),
            });
        }
    }
    if let Some(contradiction) = config.providers.iter().find_map(fallbacks) {
        return Some(contradiction);
    }
    let default = &config.default_provider;
    (!config.providers.contains_key(default)).then(|| Contradiction {
        steps: vec![Step::Key("default_provider")],
        message: format!(
            "the default provider is `{default}`, but there is no [provider.{default}]"
        ),
        hint: Some(match config.providers.keys().next() {
            Some(name) => format!("write `default_provider = \"{name}\"` above the first section"),
            None => "a file that has [provider] replaces the shipped providers: name at least one"
                .to_owned(),
        }),
    })
}

fn fallbacks<'c>((name, provider): (&'c Name, &'c Provider)) -> Option<Contradiction<'c>> {
    let mut steps = vec![Step::Key("provider"), Step::Key(name.as_str())];
    if provider.next_after.is_some() && provider.fallbacks.is_empty() {
        steps.push(Step::Key("next_after"));
        return Some(Contradiction {
            steps,
            message: "there is no fallback to which a call could go on".to_owned(),
            hint: Some(format!(
                "write [[provider.{name}.fallback]], or set `header_timeout` to give up earlier"
            )),
        });
    }
    let same = Fallback { base_url: None, key: FallbackKey::Same };
    let index = provider.fallbacks.iter().position(|fallback| *fallback == same)?;
    steps.extend([Step::Key("fallback"), Step::Index(index)]);
    Some(Contradiction {
        steps,
        message: "this fallback is the provider itself again".to_owned(),
        hint: Some("give it a `base_url`, a `key`, or both".to_owned()),
    })
}

fn plans(config: &Config) -> Option<Contradiction<'_>> {
    config.plans.is_empty().then(|| Contradiction {
        steps: vec![Step::Key("plan")],
        message: "there is no plan, so nobody could subscribe".to_owned(),
        hint: Some(
            "a file that has [plan] replaces the shipped plans: name at least one".to_owned(),
        ),
    })
}

fn prices<'c>(
    rules: &'c [Rule],
    providers: &'c BTreeMap<Name, Provider>,
) -> Option<Contradiction<'c>> {
    rules.iter().enumerate().find_map(|(index, rule)| {
        let mut steps = vec![Step::Key("price"), Step::Key("rule"), Step::Index(index)];
        let Rule { provider, operation, model, feature, price: _ } = rule;
        if provider.is_none() && operation.is_none() && model.is_none() && feature.is_none() {
            return Some(Contradiction {
                steps,
                message: "this rule matches every call, so that no later one is ever tried"
                    .to_owned(),
                hint: Some(
                    "name a provider, an operation, a model or a feature, or write [price.default]"
                        .to_owned(),
                ),
            });
        }
        if let Some(unknown) = rule.operation.as_deref().and_then(|o| o.parse::<Operation>().err())
        {
            steps.push(Step::Key("operation"));
            let message = format!("{unknown}, so this rule would never match");
            let known = Operation::ALL.map(Operation::as_str).join(", ");
            return Some(Contradiction {
                steps,
                message,
                hint: Some(format!("the operations are {known}")),
            });
        }
        let name = rule.provider.as_deref().filter(|name| !providers.contains_key(*name))?;
        steps.push(Step::Key("provider"));
        let known: Vec<_> = providers.keys().map(Name::as_str).collect();
        Some(Contradiction {
            steps,
            message: format!("there is no [provider.{name}], so this rule would never match"),
            hint: Some(format!("the providers are {}", known.join(", "))),
        })
    })
}

fn limits(config: &Config) -> Option<Contradiction<'_>> {
    let limits = &config.limits;
    if limits.hold_ttl < SHORTEST_HOLD {
        return Some(Contradiction {
            steps: vec![Step::Key("limits"), Step::Key("hold_ttl")],
            message: "a hold must live at least 3 s".to_owned(),
            hint: Some("a running call renews it after a third of that time".to_owned()),
        });
    }
    (limits.buffered_bodies < limits.metered_body).then(|| Contradiction {
        steps: vec![Step::Key("limits")],
        message: format!(
            "`buffered_bodies` is {} bytes, in which no body of `metered_body`, {} bytes, fits",
            limits.buffered_bodies, limits.metered_body
        ),
        hint: Some("raise the one or lower the other".to_owned()),
    })
}
