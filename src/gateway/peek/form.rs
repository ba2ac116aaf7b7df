//! The fields `model` and `stream` of a multipart form that lies in memory.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::{BodyDataStream, Full};
use multer::{Constraints, Multipart, SizeLimit};

use super::{MODEL_BYTES_MAX, Malformed, Peek, checked_model};

/// `true` and `false` are shorter; so that a field of any other size is the wrong type rather than a fault.
const STREAM_BYTES_MAX: u64 = 64;

pub(super) fn peek(content_type: &str, body: &Bytes) -> Result<Peek, Malformed> {
    // The whole body is here, so the future never waits: one poll carries it to its end.
    match pin!(read(content_type, body)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(peek) => peek,
        Poll::Pending => Err(Malformed::NotAForm),
    }
}

async fn read(content_type: &str, body: &Bytes) -> Result<Peek, Malformed> {
    let boundary = multer::parse_boundary(content_type).map_err(|_| Malformed::NotAForm)?;
    // One byte above the limit, so that the name that is too long can be told from a broken form.
    let limits = SizeLimit::new()
        .for_field("model", MODEL_BYTES_MAX as u64 + 1)
        .for_field("stream", STREAM_BYTES_MAX);
    let stream = BodyDataStream::new(Full::<Bytes>::new(body.clone()));
    let mut form =
        Multipart::with_constraints(stream, boundary, Constraints::new().size_limit(limits));
    let (mut model, mut stream) = (None, None);
    while let Some(field) = form.next_field().await.map_err(|_| Malformed::NotAForm)? {
        let (name, place) = match field.name() {
            Some("model") => ("model", &mut model),
            Some("stream") => ("stream", &mut stream),
            Some(_) | None => continue,
        };
        let value = field.bytes().await.map_err(|error| match error {
            multer::Error::FieldSizeExceeded { .. } if name == "model" => Malformed::ModelTooLong,
            multer::Error::FieldSizeExceeded { .. } => Malformed::WrongType { field: "stream" },
            _ => Malformed::NotAForm,
        })?;
        let value =
            std::str::from_utf8(&value).map_err(|_| Malformed::WrongType { field: name })?;
        if place.replace(value.to_owned()).is_some() {
            return Err(Malformed::DuplicateField { field: name });
        }
    }
    let model = model.map(|model| checked_model(&model)).transpose()?;
    let stream = match stream.map(|stream| stream.to_ascii_lowercase()).as_deref() {
        Some("true" | "1") => true,
        Some("false" | "0" | "") | None => false,
        Some(_) => return Err(Malformed::WrongType { field: "stream" }),
    };
    Ok(Peek { model, others: Vec::new(), stream })
}
