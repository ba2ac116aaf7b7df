//! What requests ask for, in the words of several dialects.

use super::*;

#[track_caller]
fn check(operation: Operation, body: &str, given: &str, answers: u64, most: Option<u64>) {
    let demand = Demand::of(operation, false, body.as_bytes());
    assert_eq!(demand.given.to_string(), given, "{body}");
    assert_eq!((demand.answers, demand.output_tokens_max), (answers, most), "{body}");
}

#[test]
fn a_conversation_is_counted_with_its_tools() {
    let body = r#"{"model":"a model with a long name","max_completion_tokens":50,"n":2,"messages":[
        {"role":"system","content":"Be brief, please"},
        {"role":"user","content":[{"type":"text","text":"Hello you"}]}]}"#;
    // 16 and 9 letters, and two messages of 4 tokens.
    check(Operation::Chat, body, "15 input", 2, Some(50));
    let tools = r#"{"messages":[],"tools":[{"type":"function","function":{"name":"look","description":"Finds it"}}]}"#;
    check(Operation::Chat, tools, "3 input", 1, None);
    check(
        Operation::Response,
        r#"{"input":"Hello you","instructions":"Be kind"}"#,
        "4 input",
        1,
        None,
    );
    check(Operation::Response, r#"{"input":"Hi","max_output_tokens":7}"#, "1 input", 1, Some(7));
    check(Operation::Chat, "no JSON", "nothing", 1, None);
}

#[test]
fn other_dialects_have_other_names() {
    for (body, given, most) in [
        (
            r#"{"system":"Be brief","messages":[{"role":"user","content":"Hi"}],"max_tokens":9}"#,
            7,
            Some(9),
        ),
        (
            r#"{"systemInstruction":{"parts":[{"text":"Be brief"}]},"contents":[{"role":"user","parts":[{"text":"Hello"},
            {"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}],"generationConfig":{"maxOutputTokens":8}}"#,
            1008,
            Some(8),
        ),
        (
            r#"{"system":[{"text":"Be brief"}],"messages":[{"role":"user","content":[{"text":"Hello you"}]}],
            "inferenceConfig":{"maxTokens":7}}"#,
            9,
            Some(7),
        ),
        (r#"{"prompt":"Hello you","images":["AAAA"],"options":{"num_predict":6}}"#, 1003, Some(6)),
        (r#"{"message":"Hello you","preamble":"Be brief","max_tokens":5}"#, 5, Some(5)),
    ] {
        check(Operation::Chat, body, &format!("{given} input"), 1, most);
    }
    check(
        Operation::Rerank,
        r#"{"query":"a cat","documents":["a cat","a dog"]}"#,
        "4 input, 1 search",
        0,
        None,
    );
}

#[test]
fn an_attachment_is_no_text() {
    let picture = format!("data:image/png;base64,{}", "A".repeat(1 << 20));
    for part in [
        format!(r#"{{"type":"image_url","image_url":{{"url":"{picture}"}}}}"#),
        format!(r#"{{"type":"text","text":"{picture}"}}"#),
        format!(r#"{{"type":"input_audio","input_audio":{{"data":"{picture}","format":"wav"}}}}"#),
    ] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#);
        // A thousand, one for each of its kilobytes, and the message.
        check(Operation::Chat, &body, "2028 input", 1, None);
    }
}

#[test]
fn embeddings_have_no_answer() {
    check(Operation::Embedding, r#"{"input":["abcd","efgh"]}"#, "2 input", 0, None);
    check(Operation::Embedding, r#"{"input":[[1,2,3],[4]]}"#, "4 input", 0, None);
    check(Operation::Completion, r#"{"prompt":[1,2,3],"max_tokens":9}"#, "3 input", 1, Some(9));
}

#[test]
fn speech_is_counted_in_characters_and_pictures_one_by_one() {
    check(Operation::Speech, r#"{"input":"Grüße, Welt!"}"#, "3 input, 12 characters", 0, None);
    check(Operation::Image, r#"{"prompt":"A hat on a cat","n":3}"#, "4 input, 3 image", 0, None);
    let form = b"--x\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n12\r\n--x--";
    let demand = Demand::of(Operation::Image, true, form);
    assert_eq!(demand.given[Unit::Image], 12);
}

#[test]
fn a_recording_lasts_as_long_as_its_bytes() {
    let seconds = |body: &[u8]| {
        let demand = Demand::of(Operation::Transcription, true, body);
        demand.given[Unit::AudioSecond]
    };
    assert_eq!(seconds(&[0; 6_000]), 1_500);
    let mut wav = b"--x\r\n\r\nRIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend_from_slice(&16_000_u32.to_le_bytes());
    wav.extend_from_slice(&32_000_u32.to_le_bytes());
    wav.resize(96_000, 0);
    assert_eq!(seconds(&wav), 3_000);
    // A header that says nothing, and one that is cut off.
    let nothing = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0";
    assert_eq!(seconds(nothing), 8);
    assert_eq!(seconds(b"RIFF\0\0\0\0WAVEfmt "), 4);
}

#[test]
fn searches_are_held_for_where_they_are_allowed() {
    for (body, searches) in [
        (r#"{"messages":[]}"#, 0),
        (
            r#"{"tools":[{"type":"function","function":{"name":"web_search"}}],"max_tool_calls":9}"#,
            0,
        ),
        (r#"{"tools":[{"type":"web_search_preview"}]}"#, SEARCHES),
        (r#"{"tools":[{"type":"web_search"}],"max_tool_calls":2}"#, 2),
        (r#"{"tools":[{"name":"web_search","max_uses":5,"type":"web_search_20250305"}]}"#, 5),
        (r#"{"tools":[{"googleSearch":{}}]}"#, SEARCHES),
        (r#"{"tools":[{"google_search":{}}]}"#, SEARCHES),
        (r#"{"web_search_options":{}}"#, SEARCHES),
    ] {
        for operation in [Operation::Chat, Operation::Response] {
            let demand = Demand::of(operation, false, body.as_bytes());
            assert_eq!(demand.made[Unit::Search], searches, "{body}");
            assert_eq!(demand.given[Unit::Search], 0, "{body}");
        }
    }
}

#[test]
fn a_ranking_is_a_search_for_each_hundred_documents() {
    let ranking = |document: &str, documents: usize| {
        let documents = vec![document; documents].join(",");
        let body = format!(r#"{{"query":"a cat","documents":[{documents}]}}"#);
        Demand::of(Operation::Rerank, false, body.as_bytes()).given[Unit::Search]
    };
    assert_eq!([0, 1, 100, 101].map(|documents| ranking(r#""a cat""#, documents)), [1, 1, 1, 2]);
    assert_eq!(ranking(r#"{"text":"a cat"}"#, 201), 3);
    // Long ones count as several.
    assert_eq!(ranking(&format!("{:?}", "word ".repeat(4_000)), 30), 3);
    let search = Demand::of(Operation::Search, false, br#"{"query":"a cat"}"#);
    assert_eq!(search.given[Unit::Search], 1);
}

#[test]
fn a_document_has_the_pages_that_are_named_or_as_many_as_its_bytes_say() {
    let data = format!("data:application/pdf;base64,{}", "A".repeat(200 << 10));
    for (body, pages) in [
        (
            r#"{"document":{"type":"document_url","document_url":"https://a.example/b.pdf"}}"#,
            PAGES_UNSEEN,
        ),
        (r#"{"document":{"type":"file","file_id":"f"},"pages":[0,3,4]}"#, 3),
        (r#"{"document":{"type":"image_url","image_url":"https://a.example/b.png"}}"#, 1),
        (r#"{"document":{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}}"#, 1),
        (&format!(r#"{{"document":{{"type":"document_url","document_url":"{data}"}}}}"#), 4),
    ] {
        let demand = Demand::of(Operation::Document, false, body.as_bytes());
        assert_eq!(demand.given[Unit::Page], pages, "{body:.100}");
    }
}
