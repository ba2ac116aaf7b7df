//! `GET /credits`: what the caller's account has, for anybody with a valid key. Free.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};

use super::auth::Caller;
use super::rejection::Rejection;
use super::{Gateway, Plan};
use crate::provider::Path;
use crate::statement::Statement;

/// Whether a request asks for the balance: at the root, or below a base URL that ends with `/v1`.
pub(super) fn is_asked(method: &Method, path: &Path) -> bool {
    *method == Method::GET && path.as_str() == "/v1/credits"
}

impl Gateway {
    /// The balance of the caller's account.
    pub(super) async fn balance(
        &self,
        caller: &Caller,
        plan: &Plan,
    ) -> Result<Response<Bytes>, Rejection> {
        let now = (self.clock)();
        let record = &caller.record;
        let period = super::period(record, plan, now);
        let books = self.ledger.read(&record.account, period).await?;
        let books = books.unwrap_or_default();
        let statement = Statement::new(record, &books, plan.monthly_credits, period, now);
        let body = serde_json::to_vec(&statement).map_err(|error| {
            tracing::error!(%error, "a balance could not be written as JSON");
            Rejection::Internal
        })?;
        let mut response = Response::new(Bytes::from(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}
