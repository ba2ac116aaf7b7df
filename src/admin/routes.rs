//! What the gateway would do with a request, and why. Decided by the same code that decides for real.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::Method;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::input::Body;
use super::problem::Problem;
use crate::config::Config;
use crate::credit::{Credits, Feature, Price, PriceSource, Rates, Unit};
use crate::policy::{self, Denied, Place, Quoted, Terms};
use crate::provider::{Class, Dialect};
use crate::statement::Decimal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    method: String,
    /// As a client sends it; a query is not looked at.
    path: String,
    model: Option<String>,
    /// What a service key says that it is for.
    feature: Option<Feature>,
    /// Whether it asks for a WebSocket. It doesn't, if it isn't said.
    #[serde(default)]
    upgrade: bool,
    /// The dialect that its headers show, where several know the path.
    dialect: Option<Dialect>,
}

#[derive(Serialize)]
pub(super) struct Routed {
    /// The provider that it goes to, what it is there, and the path that is sent. Nothing, if the path can't be read.
    provider: Option<String>,
    class: Option<&'static str>,
    operation: Option<&'static str>,
    pattern: Option<&'static str>,
    path: Option<String>,
    decision: Decision,
    /// What it costs, if it is passed on and costs the same whatever comes of it.
    credits: Option<Decimal>,
    /// What each unit of its work costs, if that decides.
    rates: Option<BTreeMap<&'static str, Decimal>>,
    /// The rule that prices it, if one does.
    rule: Option<String>,
    /// One sentence for a person.
    explanation: String,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    /// The gateway answers it itself.
    Answered,
    /// Passed on without charge.
    Free,
    /// Passed on and charged.
    Metered,
    /// Not passed on.
    Refused,
}

/// What would be done, before it is said where.
struct Verdict {
    decision: Decision,
    quoted: Option<Quoted>,
    explanation: String,
}

pub(super) async fn route(
    State(admin): State<Arc<Admin>>,
    Body(asked): Body<Asked>,
) -> Result<Json<Routed>, Problem> {
    let method = Method::from_bytes(asked.method.as_bytes()).map_err(|_| {
        Problem::malformed("`method` is the method of a request, such as `GET` or `POST`")
    })?;
    let path = asked.path.split(['?', '#']).next().unwrap_or_default();
    let place = policy::place(
        &admin.config,
        policy::Asked { method: &method, upgrade: asked.upgrade, hint: asked.dialect, path },
    );
    let verdict = match &place {
        Ok(place) => {
            let feature = asked.feature.as_ref().map(Feature::as_str);
            verdict(&admin.config, place, &method, asked.model.as_deref(), feature)
        }
        Err(error) => {
            Verdict::refused(format!("Refused, because the path has no single reading. {error}"))
        }
    };
    let place = place.ok();
    let route = place.as_ref().map(|place| place.route);
    Ok(Json(Routed {
        provider: place.as_ref().map(|place| place.provider.to_string()),
        class: route.map(|route| route.class.as_str()),
        operation: route.map(|route| route.operation.as_str()),
        pattern: route.map(|route| route.pattern),
        path: place.map(|place| place.path.to_string()),
        decision: verdict.decision,
        credits: verdict.quoted.as_ref().and_then(|quoted| match quoted.price {
            Price::PerCall(credits) => Some(Decimal(credits)),
            Price::PerUnit(_) => None,
        }),
        rates: verdict.quoted.as_ref().and_then(|quoted| match &quoted.price {
            Price::PerCall(_) => None,
            Price::PerUnit(rates) => Some(by_unit(rates).collect()),
        }),
        rule: verdict.quoted.and_then(|quoted| quoted.rule).map(|rule| rule.to_string()),
        explanation: verdict.explanation,
    }))
}

fn verdict(
    config: &Config,
    place: &Place<'_>,
    method: &Method,
    model: Option<&str>,
    feature: Option<&str>,
) -> Verdict {
    if place.asks_balance(method) {
        let explanation =
            "Answered by the gateway itself with the account's balance, without charge.";
        return Verdict {
            decision: Decision::Answered,
            quoted: None,
            explanation: explanation.into(),
        };
    }
    let terms = match place.terms(method, &config.refusal) {
        Ok(terms) => terms,
        Err(denied) => return Verdict::refused(why_denied(denied).to_owned()),
    };
    let models: Vec<&str> = model.into_iter().collect();
    let Some(quoted) = place.quote(terms, &config.prices, &models, feature) else {
        let model = model.map_or("without a model".to_owned(), |model| format!("for `{model}`"));
        return Verdict::refused(format!(
            "Refused, because no rule prices a call {model} and there is no [price.default]."
        ));
    };
    let (decision, explanation) = match terms {
        Terms::Free => (Decision::Free, why_free(place.route.class).to_owned()),
        Terms::Priced | Terms::Fixed(_) => {
            (Decision::Metered, why_metered(&quoted, place.route.class))
        }
    };
    Verdict { decision, quoted: Some(quoted), explanation }
}

impl Verdict {
    fn refused(explanation: String) -> Self {
        Self { decision: Decision::Refused, quoted: None, explanation }
    }
}

fn by_unit(rates: &Rates) -> impl Iterator<Item = (&'static str, Decimal)> {
    Unit::ALL.into_iter().filter_map(|unit| Some((unit.as_str(), Decimal(rates.own(unit)?))))
}

fn why_metered(quoted: &Quoted, class: Class) -> String {
    let price = match &quoted.price {
        Price::PerCall(price) if *price == Credits::whole(1) => "1 credit".to_owned(),
        Price::PerCall(price) => format!("{price} credits"),
        Price::PerUnit(rates) => {
            let prices = Unit::ALL
                .into_iter()
                .filter_map(|unit| Some(format!("{} {}", unit.as_str(), rates.own(unit)?)));
            format!("what its work costs ({})", prices.collect::<Vec<_>>().join(", "))
        }
    };
    let by = match quoted.rule {
        Some(PriceSource::Rule(index)) => format!("rule {} of [[price.rule]]", index + 1),
        Some(PriceSource::Default) => "[price.default]".to_owned(),
        None => "`session_grants`".to_owned(),
    };
    let because = match class {
        Class::Unknown => "it writes to a route that nobody knows",
        Class::SessionGrant => "it hands out a credential of the provider",
        Class::Free | Class::Metered | Class::Administration | Class::Realtime => "it is AI work",
    };
    format!("Metered at {price} by {by}, because {because}.")
}

fn why_free(class: Class) -> &'static str {
    match class {
        Class::Free => "Free, because it is no AI work: passed on without a look at the credits.",
        Class::Administration => "Free, because `administration = \"free\"` passes it on.",
        Class::Unknown => {
            "Free, because nobody knows the route and it is a read, or `unknown_routes` says so."
        }
        Class::Metered | Class::SessionGrant | Class::Realtime => "Free.",
    }
}

fn why_denied(denied: Denied) -> &'static str {
    match denied {
        Denied::SessionGrant => {
            "Refused, because it hands out a credential of the provider and `session_grants` does not price it."
        }
        Denied::Administration => {
            "Refused, because it administers the provider's organisation and `administration = \"refuse\"`."
        }
        Denied::UnknownRoute => {
            "Refused, because it writes to a route that nobody knows and `unknown_routes = \"refuse\"`."
        }
        Denied::Method => "Refused, because its method is none of HTTP's usual ones.",
        Denied::WebSocket => "Refused, because a WebSocket of this kind can't be metered.",
    }
}
