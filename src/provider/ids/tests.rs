//! What requests and answers say of things.

use super::*;

fn placed(dialect: Dialect, method: &str, path: &str) -> (Route, Path, Method) {
    let method: Method = method.parse().unwrap();
    let path = dialect.normalise(&method, path).unwrap();
    (dialect.route(&method, false, &path), path, method)
}

fn thing(dialect: Dialect, method: &str, path: &str) -> Option<String> {
    let (route, path, method) = placed(dialect, method, path);
    route.thing_in(&method, &path)
}

#[test]
fn a_path_is_about_one_thing() {
    use Dialect::{Anthropic, Cohere, Gemini, Mistral, OpenAi, Vertex};
    for (dialect, method, path, expected) in [
        (OpenAi, "POST", "/v1/chat/completions", None),
        (OpenAi, "GET", "/v1/files", None),
        (OpenAi, "GET", "/v1/files/file-1/content", Some("file-1")),
        (OpenAi, "POST", "/v1/threads/t/runs/r/submit_tool_outputs", Some("t")),
        (OpenAi, "GET", "/v1/models/gpt-5", None),
        (OpenAi, "GET", "/v1/models/ft:gpt:a", Some("ft:gpt:a")),
        (OpenAi, "DELETE", "/v1/models/mine", Some("mine")),
        (Anthropic, "GET", "/v1/models/claude", None),
        (Anthropic, "GET", "/v1/skills/pptx", None),
        (Anthropic, "GET", "/v1/skills/skill_1", Some("skill_1")),
        (Anthropic, "GET", "/v1/messages/batches/b/results", Some("b")),
        (Gemini, "POST", "/v1beta/models/gemini:generateContent", None),
        (Gemini, "GET", "/v1beta/models/veo/operations/o", Some("models/veo/operations/o")),
        (Gemini, "POST", "/v1beta/tunedModels/t:generateContent", Some("tunedModels/t")),
        (Gemini, "DELETE", "/v1beta/fileSearchStores/s/documents/d", Some("fileSearchStores/s")),
        (Gemini, "GET", "/v1beta/interactions/i", Some("interactions/i")),
        (Vertex, "GET", "/v1/projects/p/locations/l/cachedContents/c", Some("cachedContents/c")),
        (
            Vertex,
            "POST",
            "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
            None,
        ),
        (Mistral, "GET", "/v1/files/f/url", Some("f")),
        (Cohere, "POST", "/v2/batches/b:cancel", Some("b")),
    ] {
        assert_eq!(thing(dialect, method, path).as_deref(), expected, "{dialect} {method} {path}");
    }
}

#[test]
fn what_no_table_lists_belongs_to_what_one_lists() {
    for (path, expected) in
        [("/v1/files/file-1/brand/new", Some("file-1")), ("/v1/brand/new", None)]
    {
        let (route, path, _) = placed(Dialect::OpenAi, "GET", path);
        assert_eq!(route.class, Class::Unknown);
        assert_eq!(Dialect::OpenAi.thing_around(&path).as_deref(), expected);
    }
}

#[test]
fn only_the_thing_itself_is_deleted() {
    for (path, expected) in [("/v1/threads/t", Some("t")), ("/v1/threads/t/messages/m", None)] {
        let (route, path, method) = placed(Dialect::OpenAi, "DELETE", path);
        assert_eq!(route.deletes(&method, &path).as_deref(), expected);
    }
}

#[test]
fn lists_are_of_things_and_not_of_what_lies_below_one() {
    use Dialect::{Anthropic, Gemini, OpenAi};
    for (dialect, path, expected) in [
        (OpenAi, "/v1/files", true),
        (OpenAi, "/v1/chat/completions", true),
        (OpenAi, "/v1/models", false),
        (OpenAi, "/v1/threads/t/messages", false),
        (Anthropic, "/v1/messages/batches", true),
        (Gemini, "/v1beta/cachedContents", true),
        (Gemini, "/v1beta/models", false),
    ] {
        let (route, path, method) = placed(dialect, "GET", path);
        assert_eq!(route.lists(&method, &path), expected, "{path}");
    }
}

#[test]
fn an_address_is_a_file_of_the_providers_or_nobodys() {
    for (address, expected) in [
        ("https://generativelanguage.googleapis.com/v1beta/files/a", Some("files/a")),
        ("HTTPS://u@GenerativeLanguage.googleapis.com.:443/x/files/a", None),
        ("HTTPS://u@GenerativeLanguage.googleapis.com.:443//v1beta/files/a?b", Some("files/a")),
        ("https://gateway.example/v1beta/files/a", Some("files/a")),
        ("files/a", Some("files/a")),
        ("https://example.com/files/a.pdf", None),
        ("gs://bucket/files/a", None),
        ("https://youtu.be/x", None),
    ] {
        assert_eq!(google::file_at(address).as_deref(), expected, "{address}");
    }
}

fn list(text: &str, query: &str) -> (String, Option<String>) {
    let (route, ..) = placed(Dialect::OpenAi, "GET", "/v1/files");
    let list = List::read(route, query, text.as_bytes()).unwrap();
    let own = list.of(|id| id.starts_with("own"));
    (String::from_utf8(own).unwrap(), list.next(query))
}

#[test]
fn a_list_is_cut_down_and_nothing_else_is_changed() {
    let text = r#"{"object": "list", "data": [{"id":"x1"}, {"id": "own1", "n": 1.50}, {"n":2},
        {"id":"own2"} ], "first_id":"x1", "last_id" : "own2", "has_more": false}"#;
    let expected = r#"{"object": "list", "data": [{"id": "own1", "n": 1.50},{"id":"own2"}], "first_id":"own1", "last_id" : "own2", "has_more": false}"#;
    assert_eq!(list(text, ""), (expected.to_owned(), None));
    let whole = r#"{"data":[{"id":"own1"} , {"id":"own2"}],"first_id":"own1","has_more":false}"#;
    assert_eq!(list(whole, "").0, whole);
    assert_eq!(list("[ {\"id\":\"x\"} ]", "").0, "[]");
}

#[test]
fn an_empty_part_says_where_the_next_one_is() {
    let text = r#"{"data":[{"id":"x1"},{"id":"x/2"}],"has_more":true}"#;
    let next = list(text, "limit=2&after=x0&order=asc").1;
    assert_eq!(next.as_deref(), Some("limit=2&order=asc&after=x%2F2"));
    let (route, ..) = placed(Dialect::Anthropic, "GET", "/v1/files");
    let text = br#"{"data":[{"id":"x1"}],"first_id":"x1","last_id":"x1","has_more":true}"#;
    let read = |query| List::read(route, query, text).unwrap().next(query);
    assert_eq!(read("").as_deref(), Some("after%5Fid=x1").map(|_| "after_id=x1"));
    assert_eq!(read("before_id=x2").as_deref(), Some("before_id=x1"));
    let (route, ..) = placed(Dialect::Gemini, "GET", "/v1beta/files");
    let text = br#"{"files":[{"name":"files/x"}],"nextPageToken":"t"}"#;
    let read = List::read(route, "pageSize=1", text).unwrap();
    assert_eq!(read.next("pageSize=1").as_deref(), Some("pageSize=1&pageToken=t"));
    assert_eq!(read.of(|_| false), br#"{"files":[],"nextPageToken":"t"}"#);
}

#[test]
fn what_a_model_writes_makes_nothing() {
    let (route, path, method) = placed(Dialect::OpenAi, "POST", "/v1/responses");
    let mut made = route.made(&method, &path, b"{}").unwrap();
    let answer = br#"{"id":"resp_1","metadata":{"id":"x1"},"output":[{"id":"msg_1","content":[{"id":"x2","text":"{\"id\":\"x3\"}"}],"arguments":{"id":"x4"}}]}"#;
    for byte in answer {
        made.feed(&[*byte]);
    }
    let ids: Vec<String> = made.news().into_iter().map(|made| made.id).collect();
    assert_eq!(ids, ["resp_1", "msg_1"]);
}

#[test]
fn models_of_ones_own_and_sessions_are_named_in_bodies() {
    for (body, expected) in [
        (r#"{"model":"ft:m:a"}"#, Some("ft:m:a")),
        (r#"{"setup":{"model":"models/m"}}"#, None),
        (r#"{"setup":{"model":"tunedModels/t"}}"#, Some("tunedModels/t")),
        (r#"{"setup":{"model":"projects\/p/locations/l/tunedModels\/t"}}"#, Some("tunedModels/t")),
        (r#"{"setup":{"sessionResumption":{"handle":"a/b:c"}}}"#, Some("sessions/a/b:c")),
        (r#"{"setup":{"session_resumption":{"h\u0061ndle":"a"}}}"#, Some("sessions/a")),
        (r#"{"setup":{"sessionResumption":{"handle":"","transparent":true}}}"#, None),
        (r#"{"setup":{"sessionResumption":{"handle":null}}}"#, None),
        (r#"{"setup":{"systemInstruction":{"handle":"a"}}}"#, None),
    ] {
        let named = references(body.as_bytes(), Within::Event, false).unwrap();
        assert_eq!(named.first().map(String::as_str), expected, "{body}");
    }
}

#[test]
fn a_query_names_models_of_ones_own_and_calls() {
    for (query, expected) in [
        ("", &[][..]),
        ("model=gpt-realtime&x=ft:m", &[]),
        ("model=ft:m:a", &["ft:m:a"]),
        ("m%6Fdel=%66t%3Am&call_id=rtc_1&call_id=rtc_2", &["ft:m", "rtc_1", "rtc_2"]),
        ("call_id=%zz", &["%zz"]),
    ] {
        assert_eq!(named_in_query(query), expected, "{query}");
    }
}
