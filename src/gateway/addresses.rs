//! The provider's addresses in free answers, changed so that they lead back through the gateway; and who calls at one that
//! an upload was given (PROVIDERS.md, "Addresses in answers").
//!
//! Only an address of the very host that the provider is configured with is changed, since nothing else is reached through
//! the gateway, and only one at which the gateway knows a free route of the provider's. Where a request goes is not decided
//! here: an address leads to a provider's name and a path, like any other request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{ETAG, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request};
use serde_json::value::RawValue;

use super::auth::{self, Caller};
use super::head::only;
use super::record::Record;
use super::rejection::Rejection;
use super::ticket::Holder;
use super::{Gateway, Outcome};
use crate::config::{Name, Provider};
use crate::directory::Check;
use crate::policy::Place;
use crate::provider::Class;
use crate::provider::addresses::{Addresses, Upload};
use crate::provider::credentials::{TICKET, query_without_key};

/// How the addresses of an answer are changed.
pub struct WayBack<'a> {
    pub addresses: Addresses,
    provider: &'a Name,
    settings: &'a Provider,
    /// The gateway's own address, without a slash at its end.
    public: String,
}

/// Where an address leads through the gateway.
struct Back {
    address: String,
    /// The upload that it goes on with.
    upload: Option<String>,
}

impl Gateway {
    /// Identifies the caller by its key, or by the ticket in the address of an upload. Where accounts are kept apart, an
    /// upload is gone on with by the account that began it.
    pub(super) async fn caller(
        &self,
        place: &Place<'_>,
        head: &request::Parts,
        check: Check,
        record: &mut Record,
    ) -> Result<Caller, Rejection> {
        let identified = self.identify(head, check, record).await;
        let query = head.uri.query().unwrap_or_default();
        let upload = match place.route.upload(&place.path, query) {
            Upload::Absent => return identified,
            Upload::Named(id) => Some(id),
            Upload::Doubtful => None,
        };
        let now = (self.clock)();
        let open = |id: Cow<'_, str>| self.tickets.open(place.provider, &id, query, now);
        let holder = upload.and_then(open);
        let is_free = place.route.class == Class::Free;
        let caller = match (identified, &holder) {
            (Err(Rejection::KeyMissing), Some(holder)) if is_free => {
                let caller = auth::identify_holder(&self.directory, holder, check, now).await?;
                record.called_by(&caller);
                caller
            }
            (identified, _) => identified?,
        };
        let is_own = holder.is_some_and(|holder| holder.account == caller.record.account);
        if is_own || !self.is_strict(place.provider) {
            Ok(caller)
        } else {
            Err(Rejection::NoSuchThing)
        }
    }

    /// How the answer to a request is to be changed, if it is.
    pub(super) fn way_back<'a>(
        &'a self,
        place: &Place<'a>,
        head: &request::Parts,
    ) -> Option<WayBack<'a>> {
        let addresses = place.route.addresses(&head.method)?;
        let public = match &self.config.public_url {
            Some(url) => url.as_str().to_owned(),
            None => format!("http://{}", authority(head)?),
        };
        let provider = place.provider;
        Some(WayBack { addresses, provider, settings: &self.config.providers[provider], public })
    }

    /// The same answer with addresses that lead back.
    pub(super) fn led_back(&self, outcome: Outcome, way: &WayBack<'_>, caller: &Caller) -> Outcome {
        match (way.addresses, outcome) {
            (Addresses::Member(member), Outcome::Own(mut answer)) => {
                if let Some(changed) = way.in_json(member, answer.body()) {
                    *answer.body_mut() = changed;
                    answer.headers_mut().remove(ETAG);
                }
                Outcome::Own(answer)
            }
            // No JSON.
            (Addresses::Member(_), passed @ Outcome::Passed(..)) => passed,
            (Addresses::Headers(names), Outcome::Own(mut answer)) => {
                self.upload_led_back(names, way, caller, answer.headers_mut());
                Outcome::Own(answer)
            }
            (Addresses::Headers(names), Outcome::Passed(mut answer, passing)) => {
                self.upload_led_back(names, way, caller, answer.headers_mut());
                Outcome::Passed(answer, passing)
            }
        }
    }

    fn upload_led_back(
        &self,
        names: &[&'static str],
        way: &WayBack<'_>,
        caller: &Caller,
        headers: &mut HeaderMap,
    ) {
        for name in names.iter().copied().map(HeaderName::from_static) {
            let Some(address) = headers.get(&name).and_then(|value| value.to_str().ok()) else {
                continue;
            };
            let with_ticket = || {
                let Back { address, upload } = way.back(address, &Method::POST)?;
                let holder = Holder { key: caller.hash(), account: caller.record.account.clone() };
                let ticket = self.tickets.seal(way.provider, &upload?, &holder, (self.clock)())?;
                HeaderValue::try_from(format!("{address}&{TICKET}={ticket}")).ok()
            };
            match with_ticket() {
                Some(back) => drop(headers.insert(name, back)),
                None => way.warn(),
            }
        }
    }
}

impl WayBack<'_> {
    /// Where the provider's `address`, asked with `method`, leads through the gateway; nothing if it doesn't.
    fn back(&self, address: &str, method: &Method) -> Option<Back> {
        let (base, dialect) = (&self.settings.base_url, self.settings.dialect);
        let uri: Uri = address.parse().ok()?;
        uri.authority()?;
        if (uri.scheme(), host_and_port(&uri)) != (base.uri().scheme(), host_and_port(base.uri())) {
            return None;
        }
        let below = uri.path().strip_prefix(base.path()).filter(|rest| rest.starts_with('/'))?;
        let path = dialect.normalise(method, below).ok()?;
        let route = dialect.route(method, false, &path);
        if route.class != Class::Free || !route.is_listed() {
            return None;
        }
        let query = uri.query().map(query_without_key).filter(|query| !query.is_empty());
        let upload = match route.upload(&path, query.as_deref().unwrap_or_default()) {
            Upload::Named(id) => Some(id.into_owned()),
            Upload::Absent | Upload::Doubtful => None,
        };
        let mut address = format!("{}/{}{path}", self.public, self.provider.as_str());
        if let Some(query) = query {
            address.push('?');
            address.push_str(&query);
        }
        Some(Back { address, upload })
    }

    /// `text` with the addresses in `member` changed; nothing where there is nothing to change.
    fn in_json(&self, member: &str, text: &Bytes) -> Option<Bytes> {
        let mut changed = Vec::new();
        let (mut from, mut leads_past) = (0, false);
        for value in values(member, text)? {
            let Ok(address) = serde_json::from_str::<Cow<'_, str>>(value.get()) else { continue };
            let Some(Back { address, .. }) = self.back(&address, &Method::GET) else {
                leads_past = true;
                continue;
            };
            let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
            changed.extend_from_slice(&text[from..start]);
            serde_json::to_writer(&mut changed, &address).ok()?;
            from = start + value.get().len();
        }
        if leads_past {
            self.warn();
        }
        if from == 0 {
            return None;
        }
        changed.extend_from_slice(&text[from..]);
        Some(changed.into())
    }

    fn warn(&self) {
        let provider = self.provider.as_str();
        tracing::warn!(
            provider,
            "an address in an answer is not below the provider's `base_url`: it leads past the gateway"
        );
    }
}

/// The values of `member` in a JSON object and in the objects of its list `data`, in their order.
fn values<'t>(member: &str, text: &'t [u8]) -> Option<Vec<&'t RawValue>> {
    type Members<'t> = BTreeMap<Cow<'t, str>, &'t RawValue>;
    let all: Members<'t> = serde_json::from_slice(text).ok()?;
    let things: Vec<&'t RawValue> =
        all.get("data").and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
    let of = |thing: &'t RawValue| serde_json::from_str::<Members<'t>>(thing.get()).ok();
    let inner = things.into_iter().filter_map(|thing| of(thing)?.get(member).copied());
    let mut values: Vec<&RawValue> = all.get(member).copied().into_iter().chain(inner).collect();
    values.sort_by_key(|value| value.get().as_ptr() as usize);
    Some(values)
}

fn host_and_port(uri: &Uri) -> (String, u16) {
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    (uri.host().unwrap_or_default().to_ascii_lowercase(), uri.port_u16().unwrap_or(usual))
}

/// The host and port by which the caller has found the gateway.
fn authority(head: &request::Parts) -> Option<Cow<'_, Authority>> {
    let host = || only(&head.headers, &HOST).ok()??.to_str().ok()?.parse().ok();
    let asked = head.uri.authority().map(Cow::Borrowed);
    let authority = asked.or_else(|| host().map(Cow::Owned))?;
    (!authority.as_str().contains('@')).then_some(authority)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn config(dialect: &str, base: &str) -> Config {
        let text = format!(
            "default_provider = \"p\"\n[provider.p]\ndialect = \"{dialect}\"\n\
             base_url = \"{base}\"\nkey = \"none\"\n[price.default]\ncredits = 1\n"
        );
        Config::parse(&text, Path::new("x.toml"), &|_| None).unwrap()
    }

    fn way(config: &Config) -> WayBack<'_> {
        let (provider, settings) = config.providers.first_key_value().unwrap();
        let addresses = Addresses::Member("results_url");
        WayBack { addresses, provider, settings, public: "http://gate:1".to_owned() }
    }

    #[test]
    fn an_address_below_the_providers_own_leads_back() {
        const RESULTS: &str = "/v1/messages/batches/b/results";
        const BACK: Option<&str> = Some("http://gate:1/p/v1/messages/batches/b/results");
        for (base, address, back) in [
            ("https://p.test", "https://p.test", BACK),
            ("https://p.test", "https://P.test:443", BACK),
            ("https://p.test:443/", "https://p.test", BACK),
            ("http://p.test:8/in", "http://p.test:8/in", BACK),
            // Another place.
            ("http://p.test:8/in", "http://p.test:8/inside", None),
            ("http://p.test:8/in", "http://p.test:8", None),
            ("https://p.test", "http://p.test", None),
            ("https://p.test", "https://p.test:444", None),
            ("https://p.test", "https://p.test.evil", None),
            ("https://p.test", "https://p.test@evil", None),
            ("https://p.test", "https://evil\\\\@p.test", None),
            ("https://p.test", "", None),
            ("https://p.test", "//p.test", None),
        ] {
            let config = config("anthropic", base);
            let found = way(&config).back(&format!("{address}{RESULTS}"), &Method::GET);
            assert_eq!(found.map(|back| back.address).as_deref(), back, "{base} {address}");
        }
        // The version is said once.
        let config = config("anthropic", "https://p.test/v1");
        let found = way(&config).back(&format!("https://p.test{RESULTS}"), &Method::GET);
        assert_eq!(found.map(|back| back.address).as_deref(), BACK);
    }

    #[test]
    fn only_what_is_free_there_leads_back() {
        let config = config("anthropic", "https://p.test");
        for (path, back) in [
            (
                "/v1/messages/batches/b/results?beta=true",
                "/v1/messages/batches/b/results?beta=true",
            ),
            ("/v1/messages/batches/b/results?key=k", "/v1/messages/batches/b/results"),
            ("/v1/organizations/me", ""),
            ("/elsewhere", ""),
            ("/v1/%2e%2e/%zz", ""),
        ] {
            let found = way(&config).back(&format!("https://p.test{path}"), &Method::GET);
            let back = (!back.is_empty()).then(|| format!("http://gate:1/p{back}"));
            assert_eq!(found.map(|back| back.address), back, "{path}");
        }
    }

    #[test]
    fn an_upload_keeps_its_id_and_loses_a_key() {
        let config = config("gemini", "https://p.test");
        let address = "https://p.test/upload/v1beta/files?key=k&upload_id=A_-1&upload_protocol=x";
        let back = way(&config).back(address, &Method::POST).unwrap();
        assert_eq!(
            back.address,
            "http://gate:1/p/upload/v1beta/files?upload_id=A_-1&upload_protocol=x"
        );
        assert_eq!(back.upload.as_deref(), Some("A_-1"));
    }

    #[test]
    fn all_other_bytes_of_a_document_stay() {
        let config = config("anthropic", "https://p.test");
        let changed = |text: &str| {
            let changed = way(&config).in_json("results_url", &Bytes::from(text.to_owned()));
            changed.map(|changed| String::from_utf8(changed.into()).unwrap())
        };
        let (old, new) = (
            "https:\\/\\/p.test/v1/messages/batches/b/results",
            "http://gate:1/p/v1/messages/batches/b/results",
        );
        let text = format!(
            "\n{{ \"x\" : 1.0e5,\"results_url\":\"{old}\", \"y\":{{\"results_url\":\"{old}\"}},\
             \"data\" : [ {{\"results_url\" : \"{old}\"}}, {{\"results_url\":null}}, 7,\
             {{\"r\\u0065sults_url\":\"{old}\"}}, {{\"results_url\":\"http://other/\"}} ] }} "
        );
        let mut expected = text.replace(old, new);
        // What stands deeper is no address of a batch.
        expected = expected.replacen(
            &format!("\"y\":{{\"results_url\":\"{new}\"}}"),
            &format!("\"y\":{{\"results_url\":\"{old}\"}}"),
            1,
        );
        assert_eq!(changed(&text), Some(expected));
        for text in ["{\"results_url\":null}", "{}", "[]", "no JSON", "{\"data\":7}", ""] {
            assert_eq!(changed(text), None, "{text}");
        }
    }
}
