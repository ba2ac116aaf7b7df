//! Paths that look alike, and what is read out of them.

use super::*;

#[test]
fn other_providers_keep_what_openai_offers_below_their_own_beginning() {
    for row in rows().into_iter().filter(|row| row.provider == "openai") {
        for (dialect, beginning) in [
            (Dialect::Azure, "/openai/v1"),
            (Dialect::Azure, "/openai"),
            (Dialect::Gemini, "/v1beta/openai"),
        ] {
            let path = format!("{beginning}{}", row.path.strip_prefix("/v1").unwrap());
            let route = find(dialect, &row.method, &example(&path));
            assert_eq!(route.class, class(&row.cls), "{dialect} {} {path}", row.method);
            assert_eq!(route.language, Dialect::OpenAi, "{dialect} {} {path}", row.method);
        }
    }
}

#[test]
fn lookalikes_are_told_apart() {
    use Dialect::{
        Anthropic, Azure, Bedrock, Cohere, DeepSeek, Gemini, Mistral, Ollama, OpenAi, Vertex,
    };
    let vertex = "/v1/projects/p/locations/l/publishers/anthropic/models";
    for (dialect, method, path, expected) in [
        (Anthropic, "POST", "/v1/messages", Class::Metered),
        (Anthropic, "POST", "/v1/messages/count_tokens", Class::Free),
        (Anthropic, "POST", "/v1/messages/batches", Class::Metered),
        (Anthropic, "GET", "/v1/messages/batches", Class::Free),
        (Anthropic, "POST", "/v1/messages/batches/b/cancel", Class::Free),
        (Anthropic, "GET", "/v1/messages", Class::Unknown),
        (Anthropic, "POST", "/v1/chat/completions", Class::Unknown),
        (Anthropic, "GET", "/v1/organizations/brand/new", Class::Administration),
        (Gemini, "POST", "/v1beta/models/m:generateContent", Class::Metered),
        (Gemini, "POST", "/v1beta/models/a/b/c:generateContent", Class::Metered),
        (Gemini, "POST", "/v1beta/models/m:x:generateContent", Class::Metered),
        (Gemini, "POST", "/v1beta/models/m%3AgenerateContent", Class::Metered),
        (Gemini, "POST", "/v1beta/models/m:countTokens", Class::Free),
        (Gemini, "POST", "/v1beta/models/m:countTokens/x:generateContent", Class::Metered),
        (Gemini, "POST", "/v1beta/models/m:generateContent/x:countTokens", Class::Free),
        (Gemini, "POST", "/v1beta/models/m:brandNew", Class::Unknown),
        (Gemini, "POST", "/v1beta/models/m", Class::Unknown),
        (Gemini, "POST", "/v1beta/agents/a", Class::Free),
        (Gemini, "POST", "/v1beta/agents/a:brandNew", Class::Unknown),
        (Gemini, "POST", "/v1beta/corpora/c/documents/d:generateContent", Class::Unknown),
        (Gemini, "POST", "/v1beta/fileSearchStores/s:importFile", Class::Free),
        (Gemini, "POST", "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore", Class::Free),
        (Gemini, "GET", "/v1beta/fileSearchStores/s/operations/o:1", Class::Free),
        (Gemini, "GET", "/v1beta/models/m:generateContent", Class::Free),
        (Gemini, "POST", "/v1beta/batches/b:cancel", Class::Free),
        (Gemini, "POST", "/v1beta/files:register", Class::Free),
        (Gemini, "POST", "/v1beta/auth_tokens", Class::SessionGrant),
        (Gemini, "POST", "/v1beta/interactions/i/auth_tokens", Class::SessionGrant),
        (Gemini, "POST", "/v1beta/interactions/i/cancel", Class::Free),
        (Gemini, "POST", "/v1beta/openai/chat/completions", Class::Metered),
        (Gemini, "POST", "/v1beta/openai/chat/completions/x", Class::Free),
        (Vertex, "POST", &format!("{vertex}/claude:rawPredict"), Class::Metered),
        (Vertex, "POST", &format!("{vertex}/count-tokens:rawPredict"), Class::Free),
        (Vertex, "POST", &format!("{vertex}/count-tokens:streamRawPredict"), Class::Metered),
        (Vertex, "POST", "/v1/projects/p/locations/l/models/m:generateContent", Class::Unknown),
        (Vertex, "POST", "/v1/projects/p/locations/l/operations/o:cancel", Class::Free),
        (Azure, "POST", "/openai/deployments/d/chat/completions", Class::Metered),
        (Azure, "POST", "/openai/deployments/d/chat/completions/x", Class::Unknown),
        (Azure, "POST", "/anthropic/v1/messages/count_tokens", Class::Free),
        (Mistral, "POST", "/v1/conversations/c", Class::Metered),
        (OpenAi, "POST", "/v1/conversations/c", Class::Free),
        (Mistral, "POST", "/v1/client/sessions", Class::SessionGrant),
        (DeepSeek, "POST", "/v1/chat/completions", Class::Metered),
        (Cohere, "POST", "/v1/tokenize", Class::Free),
        (Ollama, "POST", "/api/show", Class::Free),
        (Ollama, "POST", "/api/pull", Class::Administration),
        (Bedrock, "POST", "/model/a%2Fb/converse", Class::Metered),
        (Bedrock, "POST", "/model/a/count-tokens", Class::Free),
        (Bedrock, "POST", "/model/a/b/converse", Class::Unknown),
    ] {
        assert_eq!(find(dialect, method, path).class, expected, "{dialect} {method} {path}");
    }
    for dialect in Dialect::ALL {
        assert_eq!(find(dialect, "GET+Upgrade", "/v1/x").class, Class::Realtime, "{dialect}");
    }
}

#[test]
fn a_model_in_the_path_is_read_as_it_stands_there() {
    for (dialect, path, expected) in [
        (Dialect::Gemini, "/v1/models/gemini-3:generateContent", Some("gemini-3")),
        (Dialect::Gemini, "/models/a/b:streamGenerateContent", Some("a/b")),
        (Dialect::Gemini, "/v1beta/tunedModels/t:generateContent", Some("t")),
        (Dialect::Gemini, "/v1beta/models/gemini-3:countTokens", None),
        (Dialect::Azure, "/openai/deployments/mine/chat/completions", Some("mine")),
        (Dialect::Azure, "/openai/v1/chat/completions", None),
        (Dialect::Bedrock, "/model/arn%3Aaws%2Fx/converse", Some("arn:aws%2Fx")),
        (
            Dialect::Vertex,
            "/v1/projects/p/locations/l/publishers/google/models/g:predict",
            Some("g"),
        ),
    ] {
        let path = dialect.normalise(&Method::POST, path).unwrap();
        let route = dialect.route(&Method::POST, false, &path);
        assert_eq!(route.model_in(&path), expected, "{dialect} {path}");
    }
}

#[test]
fn the_base_url_stands_for_what_it_says() {
    for (dialect, base, path, expected) in [
        (Dialect::OpenAi, "/v1", "/v1/models", "/v1/models"),
        (Dialect::OpenAi, "/openai/v1", "/v1/models", "/openai/v1/models"),
        (Dialect::OpenAi, "/v1beta/openai", "/v1/models", "/v1beta/openai/models"),
        (Dialect::OpenAi, "", "/v1/models", "/models"),
        (Dialect::Anthropic, "", "/v1/messages", "/v1/messages"),
        (Dialect::Anthropic, "/v1", "/v1/messages", "/v1/messages"),
        (Dialect::Anthropic, "/proxy", "/v1/messages", "/proxy/v1/messages"),
        (Dialect::Anthropic, "/proxy/v1", "/v1/messages", "/proxy/v1/messages"),
        (Dialect::Gemini, "/v1beta", "/v1beta/models", "/v1beta/models"),
        (Dialect::OpenRouter, "/api/v1", "/api/v1/models", "/api/v1/models"),
        (Dialect::OpenRouter, "", "/api/v1/models", "/api/v1/models"),
        (Dialect::DeepSeek, "", "/chat/completions", "/chat/completions"),
        (Dialect::Azure, "/openai", "/openai/v1/models", "/openai/v1/models"),
    ] {
        let path = dialect.normalise(&Method::GET, path).unwrap();
        assert_eq!(dialect.below(base, &path), expected, "{dialect} {base} {path}");
    }
}
