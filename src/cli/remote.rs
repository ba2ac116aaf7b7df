//! The admin listener as the command line reaches it: one request, one answer, or a sentence that says why not.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use crate::config::Secret;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// An audit of a large ledger takes its time.
const ANSWER_LIMIT: Duration = Duration::from_mins(30);
/// The longest answer, in bytes: an audit may list many calls.
const ANSWER_MAX: usize = 256 * 1024 * 1024;

/// Where the gateway is, and how it is asked.
#[derive(Args)]
pub(super) struct Remote {
    /// The gateway's admin listener.
    #[arg(
        long, global = true, env = "CREDITGATE_ADMIN", default_value = "http://127.0.0.1:8081",
        value_name = "URL", value_parser = address
    )]
    admin: Uri,
    /// The admin token. Better in the environment, where other users don't see it.
    #[arg(
        long, global = true, env = "CREDITGATE_ADMIN_TOKEN", hide_env_values = true,
        value_parser = secret
    )]
    token: Option<Secret>,
    /// Print the answer as the API gives it: one JSON document.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Why there is no result. One sentence each: what happened, why, what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("no admin token: set CREDITGATE_ADMIN_TOKEN to the token of the gateway")]
    NoToken,
    #[error(
        "the admin token has characters that a header can't carry: look for line breaks in CREDITGATE_ADMIN_TOKEN"
    )]
    BadToken,
    #[error(
        "can't reach the admin listener at {at} ({why}): is the gateway running, and is --admin its address?"
    )]
    Away { at: String, why: String },
    #[error("{at} gave no answer within {ANSWER_LIMIT:?}: look at the gateway's log")]
    Slow { at: String },
    #[error(
        "the gateway at {at} doesn't accept this admin token: set CREDITGATE_ADMIN_TOKEN to the one that it was started with"
    )]
    WrongToken { at: String },
    #[error("{0}")]
    Refused(String),
    #[error(
        "{at} answered {status}, but not as an admin listener does: is --admin the address of one?"
    )]
    Foreign { at: String, status: StatusCode },
    #[error(
        "trusted certificates are needed for `https` and were not found ({0}): install the `ca-certificates` package"
    )]
    Certificates(std::io::Error),
}

/// The part of a refusal that people read (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Remote {
    /// Sends one request and returns the JSON of its answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<String, RemoteError> {
        let request = self.request(method, path, body)?;
        let at = || self.at();
        let asking = async {
            let away =
                |error: &(dyn Error + 'static)| RemoteError::Away { at: at(), why: root(error) };
            let response = self.client()?.request(request).await.map_err(|error| away(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await;
            Ok((head.status, body.map_err(|error| away(&*error))?.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(ANSWER_LIMIT, asking)
            .await
            .map_err(|_| RemoteError::Slow { at: at() })??;
        let foreign = || RemoteError::Foreign { at: at(), status };
        if status.is_success() {
            let json: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&body);
            json.map_err(|_| foreign())?;
            return String::from_utf8(body.into()).map_err(|_| foreign());
        }
        let Problem { detail } = serde_json::from_slice(&body).map_err(|_| foreign())?;
        Err(match status {
            StatusCode::UNAUTHORIZED => RemoteError::WrongToken { at: at() },
            _ => RemoteError::Refused(detail),
        })
    }

    /// The address without a slash at its end.
    fn at(&self) -> String {
        self.admin.to_string().trim_end_matches('/').to_owned()
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Request<Full<Bytes>>, RemoteError> {
        let token = self.token.as_ref().filter(|token| !token.expose().is_empty());
        let token = token.ok_or(RemoteError::NoToken)?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut bearer = bearer.map_err(|_| RemoteError::BadToken)?;
        bearer.set_sensitive(true);
        let uri = format!("{}/admin/v1{path}", self.at());
        let request = Request::builder().method(method).uri(uri).header(AUTHORIZATION, bearer);
        let away = |error: http::Error| RemoteError::Away { at: self.at(), why: error.to_string() };
        request.body(Full::from(body.unwrap_or_default())).map_err(away)
    }

    fn client(
        &self,
    ) -> Result<Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>, RemoteError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_LIMIT));
        let connector = hyper_rustls::HttpsConnectorBuilder::new();
        let connector = if self.admin.scheme() == Some(&http::uri::Scheme::HTTPS) {
            connector.with_native_roots().map_err(RemoteError::Certificates)?
        } else {
            // No certificate is ever looked at: plain connections only.
            let none = rustls::RootCertStore::empty();
            let plain = rustls::ClientConfig::builder().with_root_certificates(none);
            connector.with_tls_config(plain.with_no_client_auth())
        };
        let connector = connector.https_or_http().enable_http1().wrap_connector(http);
        Ok(Client::builder(TokioExecutor::new()).build(connector))
    }
}

/// What lies at the bottom of an error: `Connection refused` says more than `client error`.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

fn address(text: &str) -> Result<Uri, &'static str> {
    let expected = "expected an address such as `http://127.0.0.1:8081`";
    let uri: Uri = text.parse().map_err(|_| expected)?;
    let web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
    if web { Ok(uri) } else { Err(expected) }
}

#[expect(clippy::unnecessary_wraps, reason = "clap's parsers may fail; every text is a secret")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.trim_end().to_owned()))
}
