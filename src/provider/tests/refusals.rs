//! A refusal in each dialect: the provider's own words, in which its libraries find the class of the error and the
//! sentence for a person.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::*;

fn word(dialect: Dialect, status: u16, code: &str) -> (Worded, Value) {
    let refusal = Refusal {
        status: StatusCode::from_u16(status).unwrap(),
        kind: "insufficient_quota",
        code,
        message: "You have used \"all\".",
        param: None,
        retry_after: (status == 429).then_some(2),
        request: "req_1",
    };
    let worded = dialect.refusal(&refusal);
    let body = serde_json::from_slice(&worded.body).unwrap();
    (worded, body)
}

#[test]
fn openai_says_type_and_code() {
    for dialect in [Dialect::OpenAi, Dialect::Azure, Dialect::OpenRouter, Dialect::DeepSeek] {
        let (worded, _) = word(dialect, 402, "credits_held");
        let expected = concat!(
            r#"{"error":{"message":"You have used \"all\".","type":"insufficient_quota","#,
            r#""param":null,"code":"credits_held"}}"#
        );
        assert_eq!((worded.status.as_u16(), &worded.body[..]), (402, expected.as_bytes()));
        assert_eq!(worded.header, None);
    }
}

#[test]
fn anthropic_goes_by_the_status() {
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
    ] {
        let (worded, body) = word(Dialect::Anthropic, status, "credits_held");
        let expected = json!({
            "type": "error",
            "error": {
                "type": kind,
                "message": "You have used \"all\".",
                "details": { "error_code": "credits_held" },
            },
            "request_id": "req_1",
        });
        assert_eq!((worded.status.as_u16(), body), (status, expected));
        let (name, value) = worded.header.unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("request-id", "req_1"));
    }
}

#[test]
fn google_says_number_word_and_reason() {
    for dialect in [Dialect::Gemini, Dialect::Vertex] {
        for (status, code, word_of_status, reason) in [
            (400, "invalid_path", "INVALID_ARGUMENT", "INVALID_PATH"),
            (402, "insufficient_quota", "RESOURCE_EXHAUSTED", "INSUFFICIENT_CREDITS"),
            (402, "credits_held", "RESOURCE_EXHAUSTED", "CREDITS_HELD"),
            (403, "billing_not_active", "PERMISSION_DENIED", "SUBSCRIPTION_INACTIVE"),
            (413, "request_too_large", "INVALID_ARGUMENT", "REQUEST_TOO_LARGE"),
            (500, "internal_error", "INTERNAL", "INTERNAL_ERROR"),
            (502, "provider_unreachable", "UNAVAILABLE", "PROVIDER_UNREACHABLE"),
            (503, "credit_store_unavailable", "UNAVAILABLE", "CREDIT_STORE_UNAVAILABLE"),
            (504, "provider_timeout", "DEADLINE_EXCEEDED", "PROVIDER_TIMEOUT"),
        ] {
            let (_, body) = word(dialect, status, code);
            let error = &body["error"];
            assert_eq!(
                (&error["code"], &error["status"]),
                (&json!(status), &json!(word_of_status))
            );
            assert_eq!(error["message"], "You have used \"all\".");
            let info = &error["details"][0];
            assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
            assert_eq!(info["reason"], reason);
            assert_eq!(error["details"].as_array().unwrap().len(), 1);
        }
        let (_, body) = word(dialect, 429, "rate_limit_exceeded");
        let retry = &body["error"]["details"][1];
        assert_eq!(retry["@type"], "type.googleapis.com/google.rpc.RetryInfo");
        assert_eq!(retry["retryDelay"], "2s");
        // The sentence by which Google's libraries know a wrong key.
        let (_, body) = word(dialect, 401, "invalid_api_key");
        assert_eq!(body["error"]["message"], "API key not valid. You have used \"all\".");
        assert_eq!(body["error"]["status"], "UNAUTHENTICATED");
    }
}

#[test]
fn the_others_are_short() {
    let message = "You have used \"all\".";
    let (_, body) = word(Dialect::Mistral, 402, "insufficient_quota");
    let expected = json!({
        "object": "error",
        "message": message,
        "type": "insufficient_quota",
        "param": null,
        "code": "insufficient_quota",
    });
    assert_eq!(body, expected);
    let (_, body) = word(Dialect::Cohere, 402, "insufficient_quota");
    assert_eq!(body, json!({ "message": message, "code": "insufficient_quota", "id": "req_1" }));
    let (_, body) = word(Dialect::Ollama, 402, "insufficient_quota");
    assert_eq!(body, json!({ "error": message }));
    for (status, sent, kind) in [
        (402, 403, "AccessDeniedException"),
        (403, 403, "AccessDeniedException"),
        (429, 429, "ThrottlingException"),
        (503, 503, "ServiceUnavailableException"),
        (400, 400, "ValidationException"),
    ] {
        let (worded, body) = word(Dialect::Bedrock, status, "insufficient_quota");
        assert_eq!(body, json!({ "message": message }));
        assert_eq!(worded.status.as_u16(), sent);
        let (name, value) = worded.header.unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-amzn-errortype", kind));
    }
}

#[test]
fn the_key_goes_where_the_provider_wants_it() {
    use Credential::{Bearer, Header, Headers};
    for (dialect, language, expected) in [
        (Dialect::OpenAi, Dialect::OpenAi, Bearer),
        (Dialect::Anthropic, Dialect::Anthropic, Header("x-api-key")),
        (Dialect::Gemini, Dialect::Gemini, Header("x-goog-api-key")),
        (Dialect::Gemini, Dialect::OpenAi, Bearer),
        (Dialect::Vertex, Dialect::Anthropic, Bearer),
        (Dialect::Azure, Dialect::OpenAi, Header("api-key")),
        (Dialect::Azure, Dialect::Anthropic, Headers(["api-key", "x-api-key"])),
        (Dialect::OpenRouter, Dialect::Anthropic, Bearer),
        (Dialect::Mistral, Dialect::Mistral, Bearer),
        (Dialect::DeepSeek, Dialect::Anthropic, Header("x-api-key")),
        (Dialect::Cohere, Dialect::Cohere, Bearer),
        (Dialect::Ollama, Dialect::Ollama, Bearer),
        (Dialect::Bedrock, Dialect::Bedrock, Bearer),
    ] {
        assert_eq!(dialect.credential(language), expected, "{dialect} in {language}");
    }
}
