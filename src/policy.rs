//! What becomes of a request before its body is read: where it goes, what it is there, whether it is passed on, and
//! at what price.
//!
//! Pure. The gateway acts by it and the admin API explains it, so that what is explained is what is done.

use http::Method;

use crate::config::{
    Administration, Config, Name, Refusal as Refusals, SessionGrants, UnknownRoutes,
};
use crate::credit::{Credits, Price, PriceList, PriceSource};
use crate::provider::{Class, Path, PathError, Route};

/// Where a request goes, and what it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The provider's name in the configuration.
    pub provider: &'a Name,
    /// The path as it is classified and sent.
    pub path: Path,
    /// What the route table says.
    pub route: Route,
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
    /// It asks for a WebSocket.
    WebSocket,
}

/// A price, and what set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// What the call costs.
    pub price: Credits,
    /// The part of the price list that says so; nothing where the list was not asked.
    pub rule: Option<PriceSource>,
}

/// Finds the provider of a request and classifies its path. `raw` is the path as it was sent, without a query;
/// `upgrade` says that the request asks for a WebSocket.
pub fn place<'a>(
    config: &'a Config,
    method: &Method,
    upgrade: bool,
    raw: &str,
) -> Result<Place<'a>, PathError> {
    let (provider, rest) = mount(config, raw);
    let path = Path::normalise(method, rest)?;
    // The default provider is one of those configured; the other names were found among them.
    let dialect = config.providers[provider].dialect;
    let route = dialect.route(method, upgrade, &path);
    Ok(Place { provider, path, route })
}

/// A path may start with a provider's name; without one it goes to the default provider.
fn mount<'a, 'p>(config: &'a Config, path: &'p str) -> (&'a Name, &'p str) {
    let (first, rest) =
        path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
    match config.providers.get_key_value(first) {
        Some((name, _)) => (name, &path[path.len() - rest.len() - 1..]),
        None => (&config.default_provider, path),
    }
}

impl Place<'_> {
    /// Whether the request asks the gateway itself for the balance: `GET /credits`, at the root or below a base URL that
    /// ends with `/v1`.
    pub fn asks_balance(&self, method: &Method) -> bool {
        *method == Method::GET && self.path.as_str() == "/v1/credits"
    }

    /// What the class of the route means here (semantics.md section 2).
    pub fn terms(&self, method: &Method, refusals: &Refusals) -> Result<Terms, Denied> {
        match self.route.class {
            Class::Free => Ok(Terms::Free),
            Class::Metered => Ok(Terms::Priced),
            Class::Realtime => Err(Denied::WebSocket),
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

    /// What a call for `model` costs on these terms; nothing when no rule prices it, which refuses it.
    pub fn quote(&self, terms: Terms, prices: &PriceList, model: Option<&str>) -> Option<Quoted> {
        match terms {
            Terms::Free => Some(Quoted { price: Credits::ZERO, rule: None }),
            Terms::Fixed(price) => Some(Quoted { price, rule: None }),
            Terms::Priced => {
                let operation = self.route.operation.as_str();
                let quote = prices.quote(self.provider.as_str(), operation, model)?;
                let Price::PerCall(price) = quote.price;
                Some(Quoted { price, rule: Some(quote.rule) })
            }
        }
    }
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
        let place = place(config, &method, false, path).unwrap();
        let what = match place.terms(&method, &config.refusal) {
            Err(denied) => format!("{denied:?}"),
            Ok(terms) => match place.quote(terms, &config.prices, None) {
                Some(Quoted { price, rule: Some(rule) }) => format!("{price} by {rule}"),
                Some(Quoted { price, rule: None }) => format!("{price}"),
                None => "no price".to_owned(),
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
            ("GET", "/local", "openai /v1/local 0"),
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
            (Method::POST, "/credits", false),
            (Method::GET, "/credits/x", false),
        ] {
            let place = place(&config, &method, false, path).unwrap();
            assert_eq!(place.asks_balance(&method), expected, "{method} {path}");
        }
    }
}
