//! A simulated provider that speaks the dialects of `OpenAI`, Anthropic and Gemini, so that the gateway can be tried,
//! tested and measured without a real one.
//!
//! It answers deterministically (the same request gets the same bytes, files and batches apart), remembers what it was
//! asked, and misbehaves on demand: see [`HELP`]. Knows nothing of the gateway. A token is four characters, rounded up.

mod anthropic;
mod audio;
mod batches;
mod chat;
mod coded;
mod content;
mod control;
mod files;
mod gemini;
mod openai;
mod request;
mod respond;
mod responses;
mod script;
mod socket;
mod switches;
mod uploads;
mod vectors;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::{self, Limits};

/// What the simulated provider answers and how to make it misbehave, for people.
pub const HELP: &str = "\
The simulated provider speaks the dialects of OpenAI, Anthropic and Gemini, and takes any model name and any key
that is not empty, where the dialect wants it.

Switches come in the header `x-sim`, or in the model's name after a `+` (`sim-small+delay=50ms,chunks=5`),
separated by commas. A value may be percent-encoded.

  delay=MS              wait before the status line (50, 50ms, 2s)
  status=N              answer with this error (400 to 599)
  break=before-headers  close the connection without an answer
  break=after-headers   send the status line and headers, then cut
  break=after:N         cut after N events of a stream, or midway in any other body
  error-event=N         send an error event after N pieces of content, then end
  silent                open, send no content, end
  chunks=N              pieces of content (4, at most 100000)
  gap=MS                wait between the events of a stream
  split=SEED            cut the same bytes at other places, chosen from SEED
  coding=NAME           compress the answer, whatever was accepted (gzip, deflate, br, zstd)
  hold=PLACE            wait at one of the places of `break` until POST /_sim/release
  body=TEXT             the text of the answer
  tool                  answer a chat with a tool call
  input-tokens=N        report this usage
  output-tokens=N
  cached-tokens=N       of the input
  reasoning-tokens=N    of the output
  seconds=N             report that a recording lasted so long, and no tokens
  no-usage              report none

GET /_sim/requests      what it was asked, oldest first, and what became of the answers
DELETE /_sim/requests   forget that
GET /_sim/counts        the same as numbers
POST /_sim/release      let the held answers go on
";

const LIMITS: Limits = Limits {
    connections: 20_000,
    head_bytes: 64 * 1024,
    head_timeout: Duration::from_mins(1),
    drain: Duration::from_secs(1),
};

/// Serves the simulated provider on `listener` until `stop`.
pub async fn serve(listener: TcpListener, stop: CancellationToken) {
    let provider = Arc::new(respond::Provider::default());
    let service = tower::service_fn(move |request| {
        let provider = Arc::clone(&provider);
        async move { Ok::<_, Infallible>(provider.respond(request).await) }
    });
    server::serve(listener, LIMITS, service, || (), &[], stop).await;
}

#[cfg(test)]
mod tests;
