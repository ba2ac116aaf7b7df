//! Who may operate: whoever shows the token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method};
use subtle::ConstantTimeEq;

use super::Admin;
use super::problem::{Kind, Problem};
use crate::config::Secret;
use crate::directory::KeyHash;

/// Lets a request pass that shows the token, and notes every change.
pub(super) async fn with_token(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = if shows(request.headers(), &admin.token) {
        next.run(request).await
    } else {
        let detail = "send the admin token as `Authorization: Bearer …`; it is the one that `admin_token` names in the \
                      gateway's configuration";
        let mut refused = Problem::new(Kind::Unauthorized, detail).into_response();
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        refused
    };
    let status = response.status().as_u16();
    if method == Method::GET {
        tracing::debug!(target: "creditgate::admin", status, "{method} {path}");
    } else {
        tracing::info!(target: "creditgate::admin", status, "{method} {path}");
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Hashes are compared, in constant time: neither the token's text nor its length shows in how long it takes.
fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let presented = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, presented)) = presented.and_then(|value| value.split_once(' ')) else {
        return false;
    };
    let (presented, token) = (KeyHash::of(presented.trim()), KeyHash::of(token.expose()));
    scheme.eq_ignore_ascii_case("bearer") && bool::from(presented.0.ct_eq(&token.0))
}
