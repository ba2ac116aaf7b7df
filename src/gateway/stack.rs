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
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use super::{Answer, Gateway};

/// The service of the data plane, at most `in_flight` requests at once.
pub fn stack(
    gateway: Arc<Gateway>,
    in_flight: usize,
) -> BoxCloneSyncService<Request<Incoming>, Response<Answer>, Infallible> {
    let handle = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move {
            let answer = AssertUnwindSafe(gateway.handle(request)).catch_unwind().await;
            // A defect costs one request, not its connection; the guards of its call have been dropped by now. What
            // it may have left half-done is shared by nobody: requests share only what locks and channels protect.
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR)))
        }
    });
    let limited = ServiceBuilder::new()
        // Refuses at once where the limit below would make requests wait.
        .load_shed()
        // Shared by all connections.
        .layer(GlobalConcurrencyLimitLayer::new(in_flight))
        .service(handle);
    // What the layers can't answer becomes an answer here: nothing leaves as an error.
    BoxCloneSyncService::new(service_fn(move |request| {
        let answer = limited.clone().oneshot(request);
        async move {
            let answer = answer.await;
            Ok(answer.unwrap_or_else(|_: BoxError| plain(StatusCode::SERVICE_UNAVAILABLE)))
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
