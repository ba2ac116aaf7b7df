//! Commands as requests of the admin API: method, path, body, and how the answer is shown. Sends nothing.

use http::Method;
use serde_json::{Value, json};

use super::operate::{AccountAction, Grant, GrantKind, KeyAction, Route, Void};
use super::show::{self, Show};
use crate::provider::Dialect;

/// One request, and what becomes of its answer.
pub(super) struct Call {
    pub method: Method,
    /// Below `/admin/v1`. Made of checked words, which need no escapes.
    pub path: String,
    body: Option<Value>,
    pub show: Show,
    /// What the operator should know even if no answer comes.
    pub notice: Option<String>,
}

impl Call {
    pub(super) fn get(path: String, show: Show) -> Self {
        Self { method: Method::GET, path, body: None, show, notice: None }
    }

    pub(super) fn post(path: String, body: Value, show: Show) -> Self {
        Self { method: Method::POST, path, body: Some(without_nulls(body)), show, notice: None }
    }

    /// The body as JSON.
    pub(super) fn body(&self) -> Option<String> {
        self.body.as_ref().map(Value::to_string)
    }
}

impl AccountAction {
    pub(super) fn call(self) -> Call {
        match self {
            Self::Create(new) => {
                let body = json!({
                    "account": new.account, "plan": new.plan, "anchor": new.anchor,
                    "time_zone": new.time_zone, "gate": new.gate,
                    "when_exhausted": status(&new.when_exhausted),
                });
                Call::post("/accounts".to_owned(), body, show::account)
            }
            Self::Show { account } => Call::get(format!("/accounts/{account}"), show::account),
            Self::List { after, limit } => {
                let after = after.map_or(String::new(), |after| format!("&after={after}"));
                Call::get(format!("/accounts?limit={limit}{after}"), show::accounts)
            }
            Self::Gate { account, until } => {
                let body = json!({ "until": until });
                Call::post(format!("/accounts/{account}/gate"), body, show::account)
            }
            Self::Plan { account, plan } => {
                let body = json!({ "plan": plan });
                Call::post(format!("/accounts/{account}/plan"), body, show::account)
            }
            Self::Exhausted { account, status: word } => {
                let body = json!({ "status": status(&word) });
                Call::post(format!("/accounts/{account}/when-exhausted"), body, show::account)
            }
        }
    }
}

/// A status as the number that it is; any other word as it is.
fn status(word: &str) -> Value {
    word.parse::<u16>().map_or_else(|_| word.into(), Value::from)
}

impl KeyAction {
    pub(super) fn call(self) -> Call {
        // Without an account: the keys of the service. The grammar asks for one of the two.
        let place = |account: Option<crate::credit::AccountId>| {
            account.map_or("/keys".to_owned(), |account| format!("/accounts/{account}/keys"))
        };
        match self {
            Self::Issue { account, service: _, name, ends } => {
                Call::post(place(account), json!({ "name": name, "ends": ends }), show::issued)
            }
            Self::List { account, service: _ } => Call::get(place(account), show::keys),
            Self::Revoke { key } => {
                Call { method: Method::DELETE, ..Call::get(format!("/keys/{key}"), show::revoked) }
            }
        }
    }
}

impl Grant {
    pub(super) fn call(self) -> Call {
        let fresh = || format!("admin:{}", uuid::Uuid::now_v7());
        let notice = self.source.is_none();
        let source = self.source.map_or_else(fresh, String::from);
        let kind = match self.kind {
            GrantKind::Gift => "gift",
            GrantKind::Purchased => "purchased",
        };
        let body = json!({
            "source": source, "kind": kind, "credits": self.credits.to_string(),
            "starts": self.starts, "ends": self.ends,
        });
        let call = Call::post(format!("/accounts/{}/grants", self.account), body, show::granted);
        let notice = notice.then(|| {
            format!("if no answer comes, repeat this with `--source {source}`: it counts once")
        });
        Call { notice, ..call }
    }
}

impl Void {
    pub(super) fn call(self) -> Call {
        let body = json!({ "source": self.source, "credits": self.credits.to_string() });
        Call::post(format!("/accounts/{}/voids", self.account), body, show::voided)
    }
}

impl Route {
    pub(super) fn call(self) -> Call {
        let body = json!({
            "method": self.method.as_str(), "path": self.path, "model": self.model, "feature": self.feature,
            "upgrade": self.upgrade,
            "dialect": self.dialect.map(Dialect::as_str),
        });
        Call::post("/route".to_owned(), body, show::route)
    }
}

/// What wasn't said isn't sent.
fn without_nulls(body: Value) -> Value {
    match body {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_names_its_source_before_it_is_sent() {
        let grant = |source: Option<&str>| Grant {
            account: "acme".parse().unwrap(),
            credits: "2.50".parse().unwrap(),
            kind: GrantKind::Gift,
            source: source.map(|source| source.parse().unwrap()),
            starts: None,
            ends: None,
        };
        let call = grant(Some("in_1")).call();
        assert_eq!((call.path.as_str(), &call.notice), ("/accounts/acme/grants", &None));
        let body: Value = serde_json::from_str(&call.body().unwrap()).unwrap();
        assert_eq!(body, json!({"source": "in_1", "kind": "gift", "credits": "2.5"}));

        let call = grant(None).call();
        let body: Value = serde_json::from_str(&call.body().unwrap()).unwrap();
        let source = body["source"].as_str().unwrap();
        assert!(source.starts_with("admin:") && call.notice.unwrap().contains(source));
    }

    #[test]
    fn a_key_without_an_account_is_the_services() {
        let issue = |account: Option<&str>| KeyAction::Issue {
            account: account.map(|account| account.parse().unwrap()),
            service: account.is_none(),
            name: "x".to_owned(),
            ends: None,
        };
        assert_eq!(issue(None).call().path, "/keys");
        assert_eq!(issue(Some("acme")).call().path, "/accounts/acme/keys");
    }
}
