//! The layers around [`Gateway::handle`], from the outside in. A concern is a layer only if it knows nothing of routes,
//! callers and credits.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::util::{BoxCloneSyncService, MapResultLayer};
use tower::{BoxError, ServiceBuilder, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

use super::{Answer, Gateway};

/// The service of the data plane, at most `in_flight` requests at once.
pub fn stack(
    gateway: Arc<Gateway>,
    in_flight: usize,
) -> BoxCloneSyncService<Request<Incoming>, Response<Shielded>, Infallible> {
    let handle = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<_, Infallible>(gateway.handle(request).await) }
    });
    let service = ServiceBuilder::new()
        // What the layers below can't answer becomes an answer here: nothing leaves as an error.
        .map_result(|answered: Result<Response<Shielded>, BoxError>| {
            Ok::<_, Infallible>(answered.unwrap_or_else(|_| refused_for_load()))
        })
        // Refuses at once where the limit below would make requests wait.
        .load_shed()
        // Shared by all connections.
        .layer(GlobalConcurrencyLimitLayer::new(in_flight))
        // A defect costs one request, not the process; the guards of its call have been dropped by then.
        .layer(CatchPanicLayer::custom(panicked as fn(_) -> _))
        .service(handle);
    BoxCloneSyncService::new(service)
}

/// An answer's body behind the layer that catches panics.
pub type Shielded = UnsyncBoxBody<Bytes, BoxError>;

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response<Answer> {
    tracing::error!("a request failed by a defect of the gateway: see the panic above");
    plain(StatusCode::INTERNAL_SERVER_ERROR)
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
