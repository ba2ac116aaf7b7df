//! The layers around [`Gateway::handle`], from the outside in. A concern is a layer only if it knows nothing of routes,
//! callers and credits.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use super::body::Unread;
use super::{Answer, Gateway};

/// The service of the data plane, at most `in_flight` requests at once. A request is in flight until its answer has
/// ended, so its place travels with the answer; one that finds no place is refused at once rather than made to wait.
pub fn stack(
    gateway: Arc<Gateway>,
    in_flight: usize,
) -> BoxCloneSyncService<Request<Incoming>, Response<Answer>, Infallible> {
    let places = Arc::new(Semaphore::new(in_flight.min(Semaphore::MAX_PERMITS)));
    BoxCloneSyncService::new(service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        let place = Arc::clone(&places).try_acquire_owned();
        async move {
            let Ok(place) = place else {
                drop(Unread::new(Request::into_body(request)));
                return Ok(plain(StatusCode::SERVICE_UNAVAILABLE));
            };
            let answer = AssertUnwindSafe(gateway.handle(request)).catch_unwind().await;
            // A defect costs one request, not its connection; the guards of its call have been dropped by now. What
            // it may have left half-done is shared by nobody: requests share only what locks and channels protect.
            let answer = answer.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR));
            Ok(answer.map(|answer| answer.in_place(place)))
        }
    }))
}

/// An answer before any dialect is known.
fn plain(status: StatusCode) -> Response<Answer> {
    let body = r#"{"error":{"message":"The gateway is busy or failed; nothing was charged. Try again in a moment.","type":"server_error","param":null,"code":"gateway_busy"}}"#;
    let mut response = Response::new(Answer::own(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
