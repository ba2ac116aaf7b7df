//! Which calls may be sent a second time, and which of them to another address (SEMANTICS.md, "More addresses").
//!
//! A provider may have received a call whose answer never came, and may bill its work: so what is no mere reading is sent
//! to it once. Another address is what an operator has set up for that case, for work that ends with its answer: nobody
//! has seen the first answer, and nobody pays for it here. What makes something that stays must not be made twice.

use http::Method;
use memchr::memmem;

use crate::provider::Operation;
use crate::provider::ids::{Within, references};

/// What a body says that begins something which the provider goes on with. That a prompt has the word in quotes does no
/// harm: the call stays at the first address.
const GOES_ON: &[u8] = b"\"background\"";

/// Whether a call may be sent again that the provider may have received.
pub fn may_be_repeated(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether work may go to another address, with another key: it names nothing that is kept under one key only. Looks
/// through `body`, so ask only when it matters.
pub fn may_move(operation: Operation, body: &[u8]) -> bool {
    ends_with_its_answer(operation)
        && memmem::find(body, GOES_ON).is_none()
        && references(body, Within::Body, operation == Operation::Response)
            .is_ok_and(|named| named.is_empty())
}

/// Whether the work is done when it is answered, and concerns nothing else that the provider keeps.
fn ends_with_its_answer(operation: Operation) -> bool {
    match operation {
        Operation::Chat
        | Operation::Completion
        | Operation::Invoke
        | Operation::Response
        | Operation::Embedding
        | Operation::Image
        | Operation::Speech
        | Operation::Transcription
        | Operation::Translation
        | Operation::Document
        | Operation::Moderation
        | Operation::Classification
        | Operation::Rerank => true,
        Operation::Provenance
        | Operation::Decision
        | Operation::Run
        | Operation::Search
        | Operation::Batch
        | Operation::FineTuning
        | Operation::Eval
        | Operation::Video
        | Operation::Agent
        | Operation::Session
        | Operation::Realtime
        | Operation::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_is_repeated() {
        assert!(may_be_repeated(&Method::GET));
        assert!(!may_be_repeated(&Method::POST));
        assert!(!may_be_repeated(&Method::DELETE));
    }

    #[test]
    fn what_goes_on_with_something_kept_does_not_move() {
        assert!(may_move(Operation::Response, br#"{"input":"my conversation"}"#));
        assert!(!may_move(Operation::Response, br#"{"previous_response_id": "resp_1"}"#));
        assert!(!may_move(Operation::Chat, br#"{"messages":[{"file":{"file_id":"file-1"}}]}"#));
        assert!(!may_move(Operation::Run, b"{}"));
    }
}
