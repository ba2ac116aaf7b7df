use std::fmt::Write as _;

use super::*;

fn json(at: ModelAt, body: &str) -> Result<Peek, Malformed> {
    peek(at, Some("application/json"), &Bytes::copy_from_slice(body.as_bytes()))
}

fn form(parts: &[(&str, &str)]) -> (String, Bytes) {
    let mut body = String::new();
    for (name, value) in parts {
        write!(body, "--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            .unwrap();
    }
    body += "--XX--\r\n";
    ("multipart/form-data; boundary=XX".to_owned(), body.into())
}

fn peek_form(at: ModelAt, parts: &[(&str, &str)]) -> Result<Peek, Malformed> {
    let (content_type, body) = form(parts);
    peek(at, Some(&content_type), &body)
}

#[expect(clippy::unnecessary_wraps, reason = "compared with results")]
fn found(model: &str, stream: bool) -> Result<Peek, Malformed> {
    Ok(Peek { model: Some(model.to_owned()), others: Vec::new(), stream })
}

#[test]
fn a_json_body_names_its_model() {
    for (body, expected) in [
        (r#"{"model":"m"}"#, found("m", false)),
        (r#" {"messages":[{"model":"x"}],"stream":true,"model":"m"} "#, found("m", true)),
        (r#"{"mod\u0065l":"\u006d","stream":null}"#, found("m", false)),
        (r#"{"model":"m","a":{"model":1,"stream":2},"stream":false}"#, found("m", false)),
    ] {
        assert_eq!(json(ModelAt::Json, body), expected, "{body}");
        assert_eq!(json(ModelAt::JsonOptional, body), expected, "{body}");
    }
}

#[test]
fn a_missing_model_is_refused_where_it_is_needed() {
    for body in ["{}", r#"{"model":null}"#] {
        assert_eq!(json(ModelAt::Json, body), Err(Malformed::NoModel), "{body}");
        assert_eq!(json(ModelAt::JsonOptional, body), Ok(Peek::default()), "{body}");
    }
    assert_eq!(json(ModelAt::Json, ""), Err(Malformed::EmptyBody));
    assert_eq!(json(ModelAt::JsonOptional, ""), Ok(Peek::default()));
    assert_eq!(json(ModelAt::JsonOptional, r#"{"model":""}"#), Err(Malformed::NoModel));
}

#[test]
fn what_two_parsers_may_read_differently_is_refused() {
    let duplicate = |field| Err(Malformed::DuplicateField { field });
    let wrong = |field| Err(Malformed::WrongType { field });
    let not_json = |line, column| Err(Malformed::NotJson { line, column });
    for (body, expected) in [
        (r#"{"model":"a","model":"b"}"#, duplicate("model")),
        (r#"{"model":"a","\u006dodel":"a"}"#, duplicate("model")),
        (r#"{"model":"a","stream":true,"stream":false}"#, duplicate("stream")),
        (r#"{"model":null,"model":"b"}"#, duplicate("model")),
        (r#"{"model":1}"#, wrong("model")),
        (r#"{"model":["a"]}"#, wrong("model")),
        (r#"{"model":{"a":[]}}"#, wrong("model")),
        (r#"{"model":"a","stream":"true"}"#, wrong("stream")),
        (r#"{"model":"a","stream":1}"#, wrong("stream")),
        (r#"{"model":"a"} {"model":"b"}"#, not_json(1, 15)),
        ("{\"model\":\"a\",\n}", not_json(2, 1)),
        (r#"{"model":"a""#, not_json(1, 12)),
        ("model=a", not_json(1, 1)),
        ("[]", Err(Malformed::NotAnObject)),
        (r#"["model",1.5]"#, Err(Malformed::NotAnObject)),
        ("null", Err(Malformed::NotAnObject)),
        (r#""model""#, Err(Malformed::NotAnObject)),
    ] {
        assert_eq!(json(ModelAt::Json, body), expected, "{body}");
        assert_eq!(json(ModelAt::JsonOptional, body), expected, "{body}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_wherever_they_are() {
    let body = Bytes::from_static(b"{\"model\":\"m\",\"user\":\"\xff\"}");
    let expected = Err(Malformed::InvalidUtf8 { at: 21 });
    assert_eq!(peek(ModelAt::Json, None, &body), expected);
}

#[test]
fn nesting_has_a_limit() {
    let nested =
        |depth: usize| format!(r#"{{"a":{}{},"model":"m"}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(json(ModelAt::Json, &nested(NESTING_MAX - 1)), found("m", false));
    assert_eq!(json(ModelAt::Json, &nested(NESTING_MAX)), Err(Malformed::TooDeep));
    assert_eq!(json(ModelAt::Json, &nested(200_000)), Err(Malformed::TooDeep));
    // What looks like nesting inside a text, or stands side by side, is none.
    let texts = format!(r#"{{"a":"\"{}","model":"m"}}"#, "[".repeat(NESTING_MAX + 9));
    assert_eq!(json(ModelAt::Json, &texts), found("m", false));
    let lists = format!(r#"{{"a":[{}[]],"model":"m"}}"#, "[],".repeat(NESTING_MAX));
    assert_eq!(json(ModelAt::Json, &lists), found("m", false));
}

#[test]
fn a_name_has_a_longest_length() {
    let (long, longer) = ("m".repeat(MODEL_BYTES_MAX), "m".repeat(MODEL_BYTES_MAX + 1));
    assert_eq!(json(ModelAt::Json, &format!(r#"{{"model":"{long}"}}"#)), found(&long, false));
    assert_eq!(
        json(ModelAt::Json, &format!(r#"{{"model":"{longer}"}}"#)),
        Err(Malformed::ModelTooLong)
    );
    assert_eq!(peek_form(ModelAt::Multipart, &[("model", &long)]), found(&long, false));
    for model in [longer, "m".repeat(5000)] {
        let peeked = peek_form(ModelAt::Multipart, &[("model", &model)]);
        assert_eq!(peeked, Err(Malformed::ModelTooLong));
    }
}

#[test]
fn a_form_names_its_model_even_behind_its_file() {
    let file = "x".repeat(100_000);
    let parts = [("file", file.as_str()), ("model", "whisper-1"), ("stream", "true")];
    for at in [ModelAt::Multipart, ModelAt::JsonOrMultipart] {
        assert_eq!(peek_form(at, &parts), found("whisper-1", true));
    }
    assert_eq!(json(ModelAt::JsonOrMultipart, r#"{"model":"m"}"#), found("m", false));
}

#[test]
fn a_faulty_form_is_refused() {
    let at = ModelAt::Multipart;
    let duplicate = Err(Malformed::DuplicateField { field: "model" });
    assert_eq!(peek_form(at, &[("model", "a"), ("model", "a")]), duplicate);
    let wrong = Err(Malformed::WrongType { field: "stream" });
    assert_eq!(peek_form(at, &[("model", "a"), ("stream", "maybe")]), wrong);
    assert_eq!(peek_form(at, &[("file", "x")]), Err(Malformed::NoModel));
    assert_eq!(peek_form(ModelAt::JsonOrMultipart, &[("file", "x")]), Ok(Peek::default()));

    let (content_type, body) = form(&[("model", "a")]);
    let cut = body.slice(..body.len() - 8);
    assert_eq!(peek(at, Some(&content_type), &cut), Err(Malformed::NotAForm));
    assert_eq!(peek(at, Some("multipart/form-data"), &body), Err(Malformed::NotAForm));
    let expected = Err(Malformed::WrongContentType { expected: "multipart/form-data" });
    assert_eq!(json(at, r#"{"model":"m"}"#), expected);
    let expected = Err(Malformed::WrongContentType { expected: "application/json" });
    assert_eq!(peek_form(ModelAt::Json, &[("model", "a")]), expected);
}

#[test]
fn a_query_names_its_model() {
    for (query, expected) in [
        ("model=m", Ok(Some("m".to_owned()))),
        ("a=b&m%6fdel=gpt%2D4", Ok(Some("gpt-4".to_owned()))),
        ("models=m", Ok(None)),
        ("", Ok(None)),
        ("model=", Err(Malformed::NoModel)),
        ("model=a&model=b", Err(Malformed::DuplicateField { field: "model" })),
        ("model=%ff", Err(Malformed::WrongType { field: "model" })),
    ] {
        assert_eq!(model_in_query(query, "model"), expected, "{query}");
    }
}

#[test]
fn no_sentence_is_taken_for_another_error() {
    // Client libraries sort errors by these words in the message.
    let words = ["context length", "input tokens", "too many tokens", "rate limit", "per minute"];
    for error in [
        Malformed::EmptyBody,
        Malformed::InvalidUtf8 { at: 0 },
        Malformed::NotJson { line: 1, column: 1 },
        Malformed::NotAnObject,
        Malformed::NoModel,
        Malformed::ModelTooLong,
        Malformed::WrongType { field: "model" },
        Malformed::DuplicateField { field: "model" },
        Malformed::UnsupportedEncoding { encoding: "br".to_owned() },
        Malformed::Undecodable(Undecodable::Corrupt),
        Malformed::Undecodable(Undecodable::Cut),
        Malformed::Undecodable(Undecodable::Trailing),
        Malformed::Undecodable(Undecodable::Bomb),
        Malformed::WrongContentType { expected: "application/json" },
        Malformed::NotAForm,
    ] {
        let sentence = error.to_string().to_lowercase();
        assert!(sentence.ends_with('.') && !words.iter().any(|word| sentence.contains(word)));
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_body_may_name_several_models_where_the_provider_takes_one() {
    for (body, model, expected) in [
        (r#"{"model":"a","models":["c","b","c"]}"#, Some("a"), names(&["b", "c"])),
        (r#"{"models":["b"]}"#, None, names(&["b"])),
        (r#"{"model":"a","models":null}"#, Some("a"), names(&[])),
        ("{}", None, names(&[])),
    ] {
        let peek = json(ModelAt::JsonSeveral, body).unwrap();
        assert_eq!((peek.model.as_deref(), &peek.others), (model, &expected), "{body}");
    }
    let many: Vec<String> = (0..=MODELS_MAX).map(|number| format!("\"m{number}\"")).collect();
    let many = format!("{{\"models\":[{}]}}", many.join(","));
    let wrong = Malformed::WrongType { field: "models" };
    for (body, error) in [
        (r#"{"models":"b"}"#, &wrong),
        (r#"{"models":["b",1]}"#, &wrong),
        (r#"{"models":{}}"#, &wrong),
        (r#"{"models":["b"],"models":["c"]}"#, &wrong),
        (r#"{"models":[""]}"#, &Malformed::NoModel),
        (many.as_str(), &wrong),
    ] {
        assert_eq!(json(ModelAt::JsonSeveral, body).as_ref(), Err(error), "{body}");
    }
    // Elsewhere the field is the caller's own.
    let twice = r#"{"model":"m","models":7,"models":8}"#;
    assert_eq!(json(ModelAt::Json, twice), found("m", false));
}

#[test]
fn a_batch_names_the_models_of_its_requests() {
    let body = r#"{"requests":[{"custom_id":"1","params":{"model":"b","messages":[]}},{"params":{"model":"a"}},{},
        {"params":{"model":"b"}}]}"#;
    assert_eq!(json(ModelAt::Batch, body).unwrap().others, names(&["a", "b"]));
    assert_eq!(json(ModelAt::Batch, "{}").unwrap(), Peek::default());
    let wrong = Malformed::WrongType { field: "requests" };
    for body in [
        r#"{"requests":{}}"#,
        r#"{"requests":[1]}"#,
        r#"{"requests":[{"params":{"model":1}}]}"#,
        r#"{"requests":[{"params":{"model":"a","model":"b"}}]}"#,
        r#"{"requests":[{"params":{"model":"a"},"params":{"model":"b"}}]}"#,
        r#"{"requests":[],"requests":[{"params":{"model":"a"}}]}"#,
    ] {
        assert_eq!(json(ModelAt::Batch, body).as_ref(), Err(&wrong), "{body}");
    }
}

#[test]
fn a_model_in_a_path_is_decoded() {
    assert_eq!(model_in_path("arn:aws%2Fx").as_deref(), Ok("arn:aws/x"));
    assert_eq!(model_in_path("%FF"), Err(Malformed::WrongType { field: "model" }));
    assert_eq!(model_in_path(&"x".repeat(300)), Err(Malformed::ModelTooLong));
}
