//! What a call costs: a list of rules, of which the first that matches decides (semantics.md section 3).
//!
//! Knows nothing of routes or of the configuration file: a provider, an operation and a model are names here.

use std::fmt;
use std::sync::Arc;

use wildmatch::WildMatchPattern;

use super::{Credits, Rates, Unit, Usage};

/// The rules in the order in which they are tried, and what is charged when none matches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceList {
    /// Tried from first to last.
    pub rules: Vec<Rule>,
    /// The price of every other call; `None` refuses calls that no rule prices.
    pub default: Option<Price>,
}

/// A price, and the calls it is for. A condition that is `None` holds for every call.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name of the provider, as in the configuration.
    pub provider: Option<String>,
    /// The kind of work: chat, embeddings, image, …
    pub operation: Option<String>,
    /// The model's name. A call that names no model doesn't match a rule that has this condition.
    pub model: Option<Glob>,
    /// What the call is for, as a service key says. A call that says nothing doesn't match a rule that has this condition.
    pub feature: Option<Glob>,
    /// What a matching call costs.
    pub price: Price,
}

/// How a call's cost is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Price {
    /// The same for every call, whatever the model does.
    PerCall(Credits),
    /// By the work that the provider reports.
    PerUnit(Arc<Rates>),
}

/// A pattern of names in which `*` stands for any run of characters, also none. Case counts; no other
/// character is special.
#[derive(Clone, PartialEq)]
pub struct Glob {
    text: String,
    // A wildcard for one character is not offered: NUL, which no name contains, stands in for it.
    pattern: WildMatchPattern<'*', '\0'>,
}

/// The price of one call, and where in the list it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// What the call costs.
    pub price: Price,
    /// Which part of the list said so.
    pub rule: PriceSource,
}

/// The part of the list that decided a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceSource {
    /// The rule at this index, from 0.
    Rule(usize),
    /// No rule matched.
    Default,
}

impl PriceList {
    /// The price of a call; `None` when nothing prices it, which refuses it.
    pub fn quote(
        &self,
        provider: &str,
        operation: &str,
        model: Option<&str>,
        feature: Option<&str>,
    ) -> Option<Quote> {
        let matches = |rule: &Rule| rule.matches(provider, operation, model, feature);
        let matching = self.rules.iter().position(matches);
        let (price, rule) = match matching {
            Some(index) => (&self.rules[index].price, PriceSource::Rule(index)),
            None => (self.default.as_ref()?, PriceSource::Default),
        };
        Some(Quote { price: price.clone(), rule })
    }
}

impl Price {
    /// What a call of middling size costs: to tell the dearest of several prices. A thousand tokens each way, a minute of
    /// sound, a thousand characters, a picture, a search, a page.
    pub fn usual(&self) -> Credits {
        match self {
            Self::PerCall(credits) => *credits,
            Self::PerUnit(rates) => rates.price(
                &Usage::NOTHING
                    .with(Unit::Input, 1_000)
                    .with(Unit::Output, 1_000)
                    .with(Unit::Image, 1)
                    .with(Unit::AudioSecond, 60_000)
                    .with(Unit::Characters, 1_000)
                    .with(Unit::Search, 1)
                    .with(Unit::Page, 1),
            ),
        }
    }
}

impl Rule {
    fn matches(
        &self,
        provider: &str,
        operation: &str,
        model: Option<&str>,
        feature: Option<&str>,
    ) -> bool {
        let fits = |glob: &Option<Glob>, name: Option<&str>| {
            glob.as_ref().is_none_or(|glob| name.is_some_and(|name| glob.matches(name)))
        };
        self.provider.as_deref().is_none_or(|name| name == provider)
            && self.operation.as_deref().is_none_or(|name| name == operation)
            && fits(&self.model, model)
            && fits(&self.feature, feature)
    }
}

impl Glob {
    /// The pattern `text`. Every text is a pattern.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), pattern: WildMatchPattern::new(text) }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        self.pattern.matches(name)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// `rule 1` is the first rule of the list: people count from one.
impl fmt::Display for PriceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(index) => write!(f, "rule {}", index + 1),
            Self::Default => f.write_str("default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        provider: Option<&str>,
        operation: Option<&str>,
        model: Option<&str>,
        credits: u32,
    ) -> Rule {
        Rule {
            provider: provider.map(str::to_owned),
            operation: operation.map(str::to_owned),
            model: model.map(Glob::new),
            feature: None,
            price: Price::PerCall(Credits::whole(credits)),
        }
    }

    fn list() -> PriceList {
        PriceList {
            rules: vec![
                rule(None, None, Some("gpt-*-mini"), 2),
                rule(None, None, Some("gpt-*"), 3),
                rule(Some("openai"), Some("image"), None, 10),
                rule(None, Some("embeddings"), None, 0),
            ],
            default: Some(Price::PerCall(Credits::whole(1))),
        }
    }

    /// Credits and source of a quote, as text.
    fn quoted(
        list: &PriceList,
        provider: &str,
        operation: &str,
        model: Option<&str>,
    ) -> Option<String> {
        list.quote(provider, operation, model, None).map(|quote| match quote.price {
            Price::PerCall(credits) => format!("{credits} by {}", quote.rule),
            Price::PerUnit(_) => format!("units by {}", quote.rule),
        })
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let list = list();
        for (provider, operation, model, expected) in [
            ("openai", "chat", Some("gpt-5-mini"), "2 by rule 1"),
            ("openai", "chat", Some("gpt-5"), "3 by rule 2"),
            ("openai", "image", Some("gpt-image-1"), "3 by rule 2"),
            ("openai", "image", Some("dall-e-3"), "10 by rule 3"),
            ("other", "image", Some("dall-e-3"), "1 by default"),
            ("other", "embeddings", Some("text-embedding-3-small"), "0 by rule 4"),
            ("openai", "chat", Some("o3"), "1 by default"),
        ] {
            assert_eq!(quoted(&list, provider, operation, model).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_rule_for_a_model_needs_a_model() {
        let list = PriceList { rules: vec![rule(None, None, Some("*"), 5)], ..list() };
        assert_eq!(quoted(&list, "openai", "chat", None).as_deref(), Some("1 by default"));
        assert_eq!(quoted(&list, "openai", "chat", Some("")).as_deref(), Some("5 by rule 1"));
    }

    #[test]
    fn a_rule_for_a_feature_needs_that_feature() {
        let playground =
            Rule { feature: Some(Glob::new("playground*")), ..rule(None, Some("chat"), None, 0) };
        let list = PriceList { rules: vec![playground], ..list() };
        for (feature, price) in [
            (Some("playground-2"), 0),
            (Some("playground"), 0),
            (Some("my-playground"), 1),
            (None, 1),
        ] {
            let quote = list.quote("openai", "chat", Some("o3"), feature).unwrap();
            assert_eq!(quote.price, Price::PerCall(Credits::whole(price)), "{feature:?}");
        }
        let other = list.quote("openai", "image", None, Some("playground")).unwrap();
        assert_eq!(other.price, Price::PerCall(Credits::whole(1)));
    }

    #[test]
    fn without_a_default_an_unpriced_call_has_no_price() {
        let list = PriceList { default: None, ..list() };
        assert_eq!(quoted(&list, "openai", "chat", Some("o3")), None);
        assert_eq!(quoted(&list, "openai", "chat", None), None);
        assert_eq!(quoted(&list, "openai", "chat", Some("gpt-5")).as_deref(), Some("3 by rule 2"));
    }

    #[test]
    fn only_the_star_is_special() {
        for (glob, model, fits) in [
            ("gpt-4.1", "gpt-4.1", true),
            ("gpt-4.1", "gpt-4x1", false),
            ("gpt-4", "gpt-4.1", false),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini-2", false),
            ("ft:*:acme:*", "ft:gpt-4o:acme::abc", true),
            ("gpt-?", "gpt-5", false),
            ("gpt-?", "gpt-?", true),
            ("GPT-*", "gpt-5", false),
            ("*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(Glob::new(glob).matches(model), fits, "{glob} on {model}");
        }
    }
}
