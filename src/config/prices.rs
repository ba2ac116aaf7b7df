//! `[price]`: rules for a call or for each unit of its work, in the file itself and in a price list beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::check;
use super::error::Fault;
use super::layer::{self, Step};
use super::scalar::{optional, scalar};
use super::{Config, ConfigError, Name};
use crate::credit::{Credits, Glob, Price, PriceList, Rates, Rule, Unit};

/// `[price]` of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceTable {
    file: Option<PathBuf>,
    default: Option<DefaultPrice>,
    #[serde(default)]
    rule: Vec<PriceRule>,
}

/// A price list: a file with nothing but prices, so that it can be shared, generated and replaced by itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    price: ListedPrices,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedPrices {
    default: Option<DefaultPrice>,
    #[serde(default)]
    rule: Vec<PriceRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultPrice {
    #[serde(deserialize_with = "scalar")]
    credits: Credits,
}

/// One rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    provider: Option<Name>,
    operation: Option<Name>,
    model: Option<String>,
    feature: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    credits: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    input: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    cached_input: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    cache_writes: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    audio_input: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    image_input: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    output: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    reasoning: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    audio_output: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    image_output: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    image: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    audio_second: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    characters: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    search: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    page: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    minimum: Option<Credits>,
    #[serde(default, deserialize_with = "optional")]
    max_output_tokens: Option<std::num::NonZeroU32>,
}

/// One rule as it is meant.
#[derive(Deserialize)]
#[serde(try_from = "RuleTable")]
struct PriceRule(Rule);

impl PriceTable {
    /// The rules of the file itself, and the name of the list that is to be added.
    pub(super) fn into_list(self) -> (PriceList, Option<PathBuf>) {
        let Self { file, default, rule } = self;
        (ListedPrices { default, rule }.into_list(), file)
    }
}

impl ListedPrices {
    fn into_list(self) -> PriceList {
        PriceList {
            rules: self.rule.into_iter().map(|PriceRule(rule)| rule).collect(),
            default: self.default.map(|price| Price::PerCall(price.credits)),
        }
    }
}

/// Adds the price list `file` to `config`: its rules are tried after those of the configuration, and its default counts
/// where the configuration has none. `path` and `text` are the configuration's, beside which the list lies.
pub(super) fn add(
    config: &mut Config,
    file: &Path,
    path: &Path,
    text: &str,
) -> Result<(), ConfigError> {
    let list = path.parent().unwrap_or(Path::new("")).join(file);
    let prices = std::fs::read_to_string(&list).map_err(|error| {
        let fault = Fault {
            message: format!("the price list {} can't be read: {error}", list.display()),
            hint: Some("a path that is not absolute starts beside this file".to_owned()),
            span: layer::find(text, &[Step::Key("price"), Step::Key("file")]),
        };
        fault.in_file(path, text)
    })?;
    let parsed = toml::from_str::<PriceFile>(&prices).map_err(Fault::from).and_then(|parsed| {
        let added = parsed.price.into_list();
        check::rules(&added.rules, &config.providers, &prices)?;
        Ok(added)
    });
    let added = parsed.map_err(|fault| fault.in_file(&list, &prices))?;
    config.prices.rules.extend(added.rules);
    config.prices.default = config.prices.default.take().or(added.default);
    Ok(())
}

impl TryFrom<RuleTable> for PriceRule {
    type Error = &'static str;

    fn try_from(table: RuleTable) -> Result<Self, &'static str> {
        let given = [
            (Unit::Input, table.input),
            (Unit::CachedInput, table.cached_input),
            (Unit::CacheWrites, table.cache_writes),
            (Unit::AudioInput, table.audio_input),
            (Unit::ImageInput, table.image_input),
            (Unit::Output, table.output),
            (Unit::Reasoning, table.reasoning),
            (Unit::AudioOutput, table.audio_output),
            (Unit::ImageOutput, table.image_output),
            (Unit::Image, table.image),
            (Unit::AudioSecond, table.audio_second),
            (Unit::Characters, table.characters),
            (Unit::Search, table.search),
            (Unit::Page, table.page),
        ];
        let per_unit = given.iter().any(|(_, credits)| credits.is_some());
        let bounds = table.minimum.is_some() || table.max_output_tokens.is_some();
        let price = match (table.credits, per_unit) {
            (Some(credits), false) if !bounds => Price::PerCall(credits),
            (Some(_), _) => {
                return Err(
                    "a rule prices the call (`credits`) or the units of its work, not both",
                );
            }
            (None, true) => {
                let most = table.max_output_tokens.map(|most| u64::from(most.get()));
                let rates = Rates::new(table.minimum.unwrap_or_default(), most);
                let priced = given.into_iter().filter_map(|(unit, credits)| Some((unit, credits?)));
                Price::PerUnit(Arc::new(
                    priced.fold(rates, |rates, (unit, credits)| rates.with(unit, credits)),
                ))
            }
            (None, false) => {
                return Err(
                    "this rule has no price: set `credits` for a call, or `input`, `output` … for its work",
                );
            }
        };
        Ok(Self(Rule {
            provider: table.provider.map(|name| name.as_str().to_owned()),
            operation: table.operation.map(|name| name.as_str().to_owned()),
            model: table.model.as_deref().map(Glob::new),
            feature: table.feature.as_deref().map(Glob::new),
            price,
        }))
    }
}
