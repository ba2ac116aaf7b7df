//! What becomes of a request before its body is read: where it goes, what it is there, whether it is passed on, and
//! at what price.
//!
//! Pure. The gateway acts by it and the admin API explains it, so that what is explained is what is done.

use http::Method;

use crate::config::{
    Administration, Config, Name, Refusal as Refusals, SessionGrants, UnknownRoutes,
};
use crate::credit::{Credits, Price, PriceList, PriceSource};
use crate::provider::socket::Protocol;
use crate::provider::{
    Class, Dialect, Operation, Path, PathError, Placed, Route, Spelled, choose, place as place_in,
};

/// Where a request goes, and what it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The provider's name in the configuration.
    pub provider: &'a Name,
    /// The path as it is classified and sent.
    pub path: Path,
    /// What the route table says.
    pub route: Route,
    /// The path is the gateway's own.
    balance: bool,
}

/// What a request costs, before its body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Nothing.
    Free,
    /// By the price list.
    Priced,
    /// This much, whatever the price list says.
    Fixed(Credits),
}

/// Why the configuration doesn't let a request pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It would hand out a credential of the provider.
    SessionGrant,
    /// It administers the provider's organisation.
    Administration,
    /// It writes to a route that nobody knows.
    UnknownRoute,
    /// Its method is none of HTTP's usual ones.
    Method,
    /// It asks for a WebSocket of a kind that can't be metered.
    WebSocket,
}

/// A price, and what set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// What the call costs.
    pub price: Price,
    /// The part of the price list that says so; nothing where the list was not asked.
    pub rule: Option<PriceSource>,
}

/// What is looked at of a request to find its place.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    pub method: &'r Method,
    /// It asks for a WebSocket.
    pub upgrade: bool,
    /// The dialect that its headers show, if they do: see [`crate::provider::hint`].
    pub hint: Option<Dialect>,
    /// The path as it was sent, without a query.
    pub path: &'r str,
}

/// Finds the provider of a request and classifies its path.
///
/// A path may start with a provider's name. Without one, the request goes to the default provider, unless its path or
/// its headers show that it speaks another dialect: then to the first provider of that dialect, in the order of names.
pub fn place<'a>(config: &'a Config, asked: Asked<'_>) -> Result<Place<'a>, PathError> {
    let spelled = Spelled::read(asked.path)?;
    let segments = spelled.segments()?;
    let Asked { method, upgrade, hint, path: _ } = asked;
    let mounted = segments.split_first().and_then(|(first, rest)| {
        config.providers.get_key_value(*first).map(|(name, provider)| (name, provider, rest))
    });
    if let Some((provider, settings, rest)) = mounted {
        let placed = place_in(settings.dialect, method, upgrade, rest)?;
        return Ok(Place::new(provider, rest, placed));
    }
    let others = config.providers.keys().filter(|name| **name != config.default_provider);
    let names = std::iter::once(&config.default_provider).chain(others);
    let dialects = names.clone().map(|name| config.providers[name].dialect);
    let (at, placed) = choose(&dialects, hint, method, upgrade, &segments)
        .unwrap_or((0, Err(PathError::NotAbsolute)));
    let provider = names.clone().nth(at).unwrap_or(&config.default_provider);
    Ok(Place::new(provider, &segments, placed?))
}

impl<'a> Place<'a> {
    fn new(provider: &'a Name, segments: &[&str], placed: Placed) -> Self {
        let Placed { path, route } = placed;
        let balance = segments.iter().skip_while(|segment| **segment == "v1").eq(&["credits"]);
        Self { provider, path, route, balance }
    }
}

impl Place<'_> {
    /// Whether the request asks the gateway itself for the balance: `GET /credits`, at the root or below a base URL that
    /// ends with `/v1`.
    pub fn asks_balance(&self, method: &Method) -> bool {
        *method == Method::GET && self.balance
    }

    /// The protocol of a WebSocket, if the path is that of one whose responses can be metered.
    pub fn socket(&self) -> Option<Protocol> {
        Protocol::of(&self.route, &self.path)
    }

    /// What the class of the route means here (semantics.md section 2).
    pub fn terms(&self, method: &Method, refusals: &Refusals) -> Result<Terms, Denied> {
        match self.route.class {
            Class::Free => Ok(Terms::Free),
            Class::Metered => Ok(Terms::Priced),
            Class::Realtime => self.socket().map(|_| Terms::Priced).ok_or(Denied::WebSocket),
            Class::SessionGrant => match refusals.session_grants {
                SessionGrants::Refuse => Err(Denied::SessionGrant),
                SessionGrants::Price(price) => Ok(Terms::Fixed(price)),
            },
            Class::Administration => match refusals.administration {
                Administration::Refuse => Err(Denied::Administration),
                Administration::Free => Ok(Terms::Free),
            },
            Class::Unknown => match method.as_str() {
                "GET" | "HEAD" | "DELETE" | "OPTIONS" => Ok(Terms::Free),
                "POST" | "PUT" | "PATCH" => match refusals.unknown_routes {
                    UnknownRoutes::Meter => Ok(Terms::Priced),
                    UnknownRoutes::Free => Ok(Terms::Free),
                    UnknownRoutes::Refuse => Err(Denied::UnknownRoute),
                },
                _ => Err(Denied::Method),
            },
        }
    }

    /// What a call for one of `models` costs on these terms: the price of the dearest, since the provider chooses.
    /// Nothing when no rule prices one of them, which refuses it.
    /// `feature`: what the call is for, where that may decide.
    pub fn quote(
        &self,
        terms: Terms,
        prices: &PriceList,
        models: &[&str],
        feature: Option<&str>,
    ) -> Option<Quoted> {
        match terms {
            Terms::Free => Some(Quoted { price: Price::PerCall(Credits::ZERO), rule: None }),
            Terms::Fixed(price) => Some(Quoted { price: Price::PerCall(price), rule: None }),
            Terms::Priced => dearest(self.provider, self.route.operation, prices, models, feature),
        }
    }
}

/// What the price list says of `operation` for one of `models`: the price of the dearest. `feature`: what it is for, where
/// that may decide.
pub fn dearest(
    provider: &Name,
    operation: Operation,
    prices: &PriceList,
    models: &[&str],
    feature: Option<&str>,
) -> Option<Quoted> {
    let one = |model: Option<&str>| {
        let quote = prices.quote(provider.as_str(), operation.as_str(), model, feature)?;
        Some(Quoted { price: quote.price, rule: Some(quote.rule) })
    };
    if models.is_empty() {
        return one(None);
    }
    let quotes: Option<Vec<Quoted>> = models.iter().map(|model| one(Some(model))).collect();
    quotes?.into_iter().max_by_key(|quoted| quoted.price.usual())
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use super::*;

    const TWO_PROVIDERS: &str = "
        [provider.openai]
        dialect = \"openai\"
        base_url = \"http://one.test/v1\"
        key = \"none\"
        [provider.local]
        dialect = \"openai\"
        base_url = \"http://two.test/v1\"
        key = \"none\"
        [price.default]
        credits = 1
        [[price.rule]]
        provider = \"local\"
        credits = 0
    ";

    fn config(more: &str) -> Config {
        let text = format!("{more}\n{TWO_PROVIDERS}");
        Config::parse(&text, FilePath::new("test.toml"), &|_| None).unwrap()
    }

    /// Provider, path, and what the request costs or why it is denied, as text.
    fn decide(config: &Config, method: &str, path: &str) -> String {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let asked = Asked { method: &method, upgrade: false, hint: None, path };
        let place = place(config, asked).unwrap();
        let what = match place.terms(&method, &config.refusal) {
            Err(denied) => format!("{denied:?}"),
            Ok(terms) => match place.quote(terms, &config.prices, &[], None) {
                None => "no price".to_owned(),
                Some(Quoted { price: Price::PerUnit(_), .. }) => "units".to_owned(),
                Some(Quoted { price: Price::PerCall(price), rule: Some(rule) }) => {
                    format!("{price} by {rule}")
                }
                Some(Quoted { price: Price::PerCall(price), rule: None }) => format!("{price}"),
            },
        };
        format!("{} {} {what}", place.provider, place.path)
    }

    #[test]
    fn a_request_goes_where_its_path_says() {
        let config = config("");
        for (method, path, expected) in [
            ("POST", "/v1/chat/completions", "openai /v1/chat/completions 1 by default"),
            ("POST", "/openai/chat/completions", "openai /v1/chat/completions 1 by default"),
            ("POST", "/local/v1/chat/completions", "local /v1/chat/completions 0 by rule 1"),
            ("GET", "/local", "local /v1 0"),
            ("POST", "//local//chat/./completions", "local /v1/chat/completions 0 by rule 1"),
            ("GET", "/v1/models", "openai /v1/models 0"),
            ("POST", "/v1/brand/new", "openai /v1/brand/new 1 by default"),
            ("TRACE", "/v1/brand/new", "openai /v1/brand/new Method"),
        ] {
            assert_eq!(decide(&config, method, path), expected);
        }
    }

    #[test]
    fn the_configuration_decides_on_what_is_not_in_the_table() {
        for (choice, expected) in
            [("meter", "1 by default"), ("free", "0"), ("refuse", "UnknownRoute")]
        {
            let config = config(&format!("[refusal]\nunknown_routes = \"{choice}\""));
            let decided = decide(&config, "POST", "/v1/brand/new");
            assert_eq!(decided, format!("openai /v1/brand/new {expected}"));
        }
    }

    #[test]
    fn a_session_grant_is_refused_or_has_its_own_price() {
        let path = "/v1/realtime/client_secrets";
        assert_eq!(decide(&config(""), "POST", path), format!("openai {path} SessionGrant"));
        let priced = config("[refusal]\nsession_grants = \"7.5\"");
        assert_eq!(decide(&priced, "POST", path), format!("openai {path} 7.5"));
    }

    #[test]
    fn the_balance_is_asked_at_two_places() {
        let config = config("");
        for (method, path, expected) in [
            (Method::GET, "/credits", true),
            (Method::GET, "/v1/credits", true),
            (Method::GET, "/v1/v1/credits", true),
            (Method::GET, "/openai/v1/credits", true),
            (Method::POST, "/credits", false),
            (Method::GET, "/credits/x", false),
        ] {
            let asked = Asked { method: &method, upgrade: false, hint: None, path };
            let place = place(&config, asked).unwrap();
            assert_eq!(place.asks_balance(&method), expected, "{method} {path}");
        }
    }
}
