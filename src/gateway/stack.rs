//! The layers around [`Gateway::handle`], from the outside in. A concern is a layer only if it knows nothing of routes,
//! callers and credits.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tower::{Service, service_fn};

use super::{Answer, Gateway};

type Answering = BoxFuture<'static, Result<Response<Answer>, Infallible>>;

/// The service of the data plane, at most `in_flight` requests at once. A request is in flight until its answer has
/// ended, so its place travels with the answer; one that finds no place is refused at once rather than made to wait.
pub fn stack(
    gateway: Arc<Gateway>,
    in_flight: usize,
) -> impl Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible, Future = Answering>
+ Clone {
    let places = Arc::new(Semaphore::new(in_flight.min(Semaphore::MAX_PERMITS)));
    service_fn(move |request| -> Answering {
        let gateway = Arc::clone(&gateway);
        let place = Arc::clone(&places).try_acquire_owned();
        // Boxed, so that a connection has the memory only while it waits for an answer.
        Box::pin(async move {
            let Ok(place) = place else { return Ok(gateway.shed(request)) };
            let answer = AssertUnwindSafe(gateway.handle(request)).catch_unwind().await;
            // A defect costs one request, not its connection; the guards of its call have been dropped by now. What
            // it may have left half-done is shared by nobody: requests share only what locks and channels protect.
            let answer = answer.unwrap_or_else(|_| failed());
            Ok(answer.map(|answer| answer.in_place(place)))
        })
    })
}

/// The answer to a request that met a defect, before any dialect is known.
fn failed() -> Response<Answer> {
    let body = r#"{"error":{"message":"The gateway failed; nothing was charged. Try again.","type":"server_error","param":null,"code":"internal_error"}}"#;
    let mut response = Response::new(Answer::own(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
