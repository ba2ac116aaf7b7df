//! `GET /credits`: what the caller's account has, for anybody with a valid key. Free.

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::auth::Caller;
use super::rejection::Rejection;
use super::{Gateway, Plan};
use crate::statement::Statement;

impl Gateway {
    /// The balance of the caller's account.
    pub(super) async fn balance(
        &self,
        caller: &Caller,
        plan: &Plan,
    ) -> Result<Response<Bytes>, Rejection> {
        let now = (self.clock)();
        let record = &caller.record;
        let period = record.period(plan.monthly_credits, now);
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
