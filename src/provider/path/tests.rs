use proptest::prelude::*;

use super::*;
use crate::provider::Dialect;

fn get(raw: &str) -> Result<String, PathError> {
    Dialect::OpenAi.normalise(&Method::GET, raw).map(|path| path.to_string())
}

#[test]
fn spellings_of_one_path_become_one() {
    for raw in [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/v1/v1/chat/completions",
        "//v1//chat/completions//",
        "/v1/./chat/%2e/completions/",
        "/v1/models/../chat/completions",
        "/v1/models/%2E%2e/chat/completions",
        "/v1/ch%61t/completion%73",
        "/%76%31/chat/completions",
    ] {
        assert_eq!(get(raw).as_deref(), Ok("/v1/chat/completions"), "{raw}");
    }
    assert_eq!(get("/").as_deref(), Ok("/v1"));
    assert_eq!(get("/v1/models/ft:gpt-4o:a;b=c").as_deref(), Ok("/v1/models/ft:gpt-4o:a;b=c"));
    assert_eq!(get("/v1/models/ft%3agpt").as_deref(), Ok("/v1/models/ft:gpt"));
    assert_eq!(get("/v1/files/%c3%a9").as_deref(), Ok("/v1/files/%C3%A9"));
    assert_eq!(get("/v1/files/..;/x").as_deref(), Ok("/v1/files/..;/x"));
    assert_eq!(get("/v1/files/100%25").as_deref(), Ok("/v1/files/100%25"));
}

#[test]
fn doubtful_paths_are_refused() {
    let long = format!("/{}", "a".repeat(BYTES_MAX));
    for (raw, error) in [
        ("", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("v1/models", PathError::NotAbsolute),
        (long.as_str(), PathError::TooLong),
        (&long[..BYTES_MAX], PathError::TooLong), // Too long once it has its /v1.
        ("/v1/models/%", PathError::InvalidEscape),
        ("/v1/models/%4", PathError::InvalidEscape),
        ("/v1/models/%zz", PathError::InvalidEscape),
        ("/v1/models/%+1", PathError::InvalidEscape),
        ("/v1/models/%00", PathError::ForbiddenEscape),
        ("/v1/models/%0a", PathError::ForbiddenEscape),
        ("/v1/models/%5C..", PathError::ForbiddenEscape),
        ("/v1/models\\x", PathError::ForbiddenByte),
        ("/v1/models\u{1}", PathError::ForbiddenByte),
        ("/v1/modèles", PathError::ForbiddenByte),
        ("/v1/models?x", PathError::ForbiddenByte),
        ("/v1/models#x", PathError::ForbiddenByte),
        ("/v1/models/%C0%AE", PathError::NotUtf8),
        ("/v1/models/%ff", PathError::NotUtf8),
        ("/v1/models/%252e%252e", PathError::EscapedTwice),
        ("/v1/models/%25%32%66", PathError::EscapedTwice),
        ("/..", PathError::AboveRoot),
        ("/v1/../../v1/models", PathError::AboveRoot),
        ("/v1/v1/v1/v1/models", PathError::TooManyVersions),
    ] {
        assert_eq!(get(raw), Err(error), "{raw}");
    }
}

#[test]
fn an_escaped_slash_is_part_of_a_model_name_or_refused() {
    assert_eq!(get("/models/meta%2fllama").as_deref(), Ok("/v1/models/meta%2Fllama"));
    for raw in [
        "/v1/models/..%2Forganization",
        "/v1/models/a%2F%2e%2e%2Fb",
        "/v1/models/a%2F",
        "/v1/organization%2Fcosts",
        "/v1%2Forganization/costs",
    ] {
        assert_eq!(get(raw), Err(PathError::EscapedSlash), "{raw}");
    }
    for method in [Method::POST, Method::DELETE] {
        let path = Dialect::OpenAi.normalise(&method, "/v1/models/meta%2Fllama");
        assert_eq!(path, Err(PathError::EscapedSlash), "{method}");
    }
}

#[test]
fn each_dialect_has_paths_begin_in_its_own_way() {
    use Dialect::{
        Anthropic, Azure, Bedrock, Cohere, DeepSeek, Gemini, Mistral, Ollama, OpenAi, OpenRouter,
        Vertex,
    };
    for (dialect, raw, expected) in [
        (OpenAi, "/openai/v1/chat/completions", "/v1/chat/completions"),
        (OpenAi, "/v1/openai/v1/chat/completions", "/v1/chat/completions"),
        (OpenAi, "/v1beta/models", "/v1/v1beta/models"),
        (Anthropic, "/messages", "/v1/messages"),
        (Anthropic, "/v1/v1/messages", "/v1/messages"),
        (Gemini, "/models/m:generateContent", "/v1beta/models/m:generateContent"),
        (Gemini, "/v1/models/m:generateContent", "/v1/models/m:generateContent"),
        (Gemini, "/v1/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        (Gemini, "/v1beta/v1alpha/models", "/v1alpha/models"),
        (Gemini, "/v1beta/models/m%3AgenerateContent", "/v1beta/models/m:generateContent"),
        (Gemini, "/v1/upload/v1beta/files", "/upload/v1beta/files"),
        (Gemini, "/v1beta/openai/models", "/v1beta/openai/models"),
        (Vertex, "/projects/p/locations/l/models", "/v1/projects/p/locations/l/models"),
        (Vertex, "/v1beta1/projects/p", "/v1beta1/projects/p"),
        (Azure, "/openai/deployments/d/chat/completions", "/openai/deployments/d/chat/completions"),
        (Azure, "/v1/openai/deployments/d/embeddings", "/openai/deployments/d/embeddings"),
        (Azure, "/deployments/d/embeddings", "/openai/deployments/d/embeddings"),
        (Azure, "/openai/v1/responses", "/openai/v1/responses"),
        (Azure, "/v1/responses", "/openai/v1/responses"),
        (Azure, "/anthropic/v1/messages", "/anthropic/v1/messages"),
        (OpenRouter, "/api/v1/chat/completions", "/api/v1/chat/completions"),
        (OpenRouter, "/v1/chat/completions", "/api/v1/chat/completions"),
        (OpenRouter, "/chat/completions", "/api/v1/chat/completions"),
        (OpenRouter, "/v1/api/v1/messages", "/api/v1/messages"),
        (OpenRouter, "/api/alpha/decisions", "/api/alpha/decisions"),
        (Mistral, "/ocr", "/v1/ocr"),
        (Mistral, "/v2/rooms", "/v2/rooms"),
        (DeepSeek, "/v1/chat/completions", "/chat/completions"),
        (DeepSeek, "/beta/completions", "/beta/completions"),
        (DeepSeek, "/anthropic/v1/messages", "/anthropic/v1/messages"),
        (Cohere, "/v1/v2/chat", "/v2/chat"),
        (Cohere, "/v1/chat", "/v1/chat"),
        (Cohere, "/chat", "/v2/chat"),
        (Cohere, "/compatibility/v1/embeddings", "/compatibility/v1/embeddings"),
        (Ollama, "/api/chat", "/api/chat"),
        (Ollama, "/v1/api/chat", "/api/chat"),
        (Ollama, "/v1/models", "/v1/models"),
        (Ollama, "/", "/"),
        (Bedrock, "/model/a.b-v1%3A0/converse", "/model/a.b-v1:0/converse"),
        (Bedrock, "/v1/model/a/invoke", "/model/a/invoke"),
        (Bedrock, "/model/arn:aws:x%2fa/invoke", "/model/arn:aws:x%2Fa/invoke"),
    ] {
        let path = dialect.normalise(&Method::POST, raw).unwrap();
        assert_eq!(path.as_str(), expected, "{dialect} {raw}");
    }
    let path = Bedrock.normalise(&Method::POST, "/model%2Fa/invoke");
    assert_eq!(path, Err(PathError::EscapedSlash));
    let path = Bedrock.normalise(&Method::POST, "/model/a%2F..%2Fb/invoke");
    assert_eq!(path, Err(PathError::EscapedSlash));
    let path = Gemini.normalise(&Method::POST, "/v1beta/models/a%2Fb:generateContent");
    assert_eq!(path, Err(PathError::EscapedSlash));
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(
        dialect in prop::sample::select(Dialect::ALL.to_vec()),
        raw in "/([/.%2vV1eEfF5a-c;:~\\\\]|%[0-9a-fA-F]{2}|models/|v1/|v1beta/|v2/|openai/|api/|upload/|anthropic/){0,40}",
    ) {
        if let Ok(once) = dialect.normalise(&Method::GET, &raw) {
            let twice = dialect.normalise(&Method::GET, once.as_str());
            prop_assert_eq!(Ok(once), twice);
        }
    }

    #[test]
    fn any_text_is_answered(
        dialect in prop::sample::select(Dialect::ALL.to_vec()),
        raw in any::<String>(),
    ) {
        let _ = dialect.normalise(&Method::POST, &raw);
    }
}
