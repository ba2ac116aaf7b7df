//! What a call comes to, for each way in which it can end.

use super::*;

const STREAM: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

const OPENING: &str =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// What a call at `price` comes to whose answer of type `kind` shows `seen` and ends so.
fn bill(
    price: &Price,
    operation: Operation,
    request: &str,
    kind: &str,
    seen: &[&str],
    end: End,
) -> Bill {
    let charging = Charging::of(price, Dialect::OpenAi, operation, false, request.as_bytes());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, kind.parse().unwrap());
    let mut meter = charging.meter(evidence(&headers), &headers);
    for bytes in seen {
        meter.see(bytes.as_bytes());
    }
    meter.bill(end)
}

fn evidence(headers: &HeaderMap) -> Evidence {
    let kind = headers.get(CONTENT_TYPE).unwrap().to_str().unwrap();
    Evidence::for_response(Dialect::OpenAi, Some(kind))
}

/// The table of semantics.md section 4: what was seen, and whether the price is due for each end.
#[track_caller]
fn check(kind: &str, seen: &[&str], complete: bool, failed: bool, cancelled: bool) {
    let per_call = Price::PerCall(Credits::whole(1));
    let per_unit = Price::PerUnit(Arc::new(Rates::new(Credits::whole(1), None)));
    for (end, due) in
        [(End::Complete, complete), (End::Failed, failed), (End::Cancelled, cancelled)]
    {
        for price in [&per_call, &per_unit] {
            let bill = bill(price, Operation::Chat, "{}", kind, seen, end);
            let expected = due.then_some(Credits::whole(1));
            assert_eq!(bill.due, expected, "{price:?} {kind} {seen:?} {end:?}");
        }
    }
}

#[test]
fn a_stream_is_due_from_its_first_output() {
    check(STREAM, &[], false, false, false);
    check(STREAM, &[OPENING], false, false, false);
    check(STREAM, &[": ping\n\n", ERROR], false, false, false);
    check(STREAM, &[OPENING, TEXT], true, true, true);
    check(STREAM, &[OPENING, TEXT, ERROR], true, true, true);
    check(STREAM, &[OPENING, DONE], true, false, true);
    check(STREAM, &[OPENING, ERROR, DONE], false, false, false);
}

#[test]
fn a_body_is_due_when_it_is_whole_or_was_not_waited_for() {
    check(JSON, &[], true, false, false);
    check(JSON, &["{\"choices\":"], true, false, true);
    check("audio/mpeg", &[], true, false, false);
    check("audio/mpeg", &["ID3"], true, true, true);
}
const REQUEST: &str =
    r#"{"messages":[{"role":"user","content":"Sixteen letters."}],"max_tokens":100}"#;
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}\n\n";
const WHOLE: &str = r#"{"choices":[{"message":{"role":"assistant","content":"Sixteen letters!"}}]"#;

/// A credit for a million tokens of the request, ten for one of the answer: µ for each.
fn rates() -> Rates {
    Rates::default().with(Unit::Input, Credits::whole(1)).with(Unit::Output, Credits::whole(10))
}

#[track_caller]
fn check_units(
    rates: Rates,
    operation: Operation,
    answer: (&str, &[&str]),
    end: End,
    expected: &str,
) {
    let ((kind, seen), price) = (answer, Price::PerUnit(Arc::new(rates)));
    let Bill { due, work } = bill(&price, operation, REQUEST, kind, seen, end);
    let due = due.zip(work).map_or("nothing".to_owned(), |(due, Work { basis, usage })| {
        format!("{due} for {usage}, {}", basis.as_str())
    });
    assert_eq!(due, expected, "{kind} {seen:?} {end:?}");
}

fn check_chat(kind: &str, seen: &[&str], end: End, expected: &str) {
    check_units(rates(), Operation::Chat, (kind, seen), end, expected);
}

#[test]
fn what_the_provider_reports_is_charged() {
    let reported = "0.00007 for 20 input, 5 output, reported";
    check_chat(STREAM, &[OPENING, TEXT, USAGE, DONE], End::Complete, reported);
    // It counts as well where the end itself never comes.
    check_chat(STREAM, &[OPENING, TEXT, USAGE], End::Cancelled, reported);
    check_chat(STREAM, &[OPENING, TEXT, USAGE], End::Failed, reported);
    let usage = r#","usage":{"prompt_tokens":20,"completion_tokens":5}}"#;
    check_chat(JSON, &[WHOLE, usage], End::Complete, reported);
    // Also nothing, if that is what it says.
    let nothing = r#","usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    check_chat(JSON, &[WHOLE, nothing], End::Complete, "0 for nothing, reported");
}

#[test]
fn what_it_does_not_report_is_counted_here() {
    // 16 letters and a message are 8 tokens; two letters are one.
    let counted = "0.000018 for 8 input, 1 output, estimated";
    check_chat(STREAM, &[OPENING, TEXT], End::Failed, counted);
    check_chat(STREAM, &[OPENING, TEXT], End::Cancelled, counted);
    check_chat(STREAM, &[OPENING, TEXT, DONE], End::Complete, counted);
    check_chat(JSON, &[WHOLE, "}"], End::Complete, "0.000048 for 8 input, 4 output, estimated");
    check_chat(STREAM, &[OPENING], End::Cancelled, "nothing");
    check_chat(STREAM, &[OPENING, ERROR], End::Complete, "nothing");
}

#[test]
fn what_cannot_be_read_is_charged_as_it_was_held() {
    let held = "0.001008 for 8 input, 100 output, estimated";
    check_chat("application/octet-stream", &["\0"], End::Complete, held);
    let price = Price::PerUnit(Arc::new(rates()));
    let charging =
        Charging::of(&price, Dialect::OpenAi, Operation::Chat, false, REQUEST.as_bytes());
    assert_eq!(charging.held().to_string(), "0.001008");
    // So is a job, which goes on after its answer.
    let queued = r#"{"object":"response","status":"queued","usage":null}"#;
    let bill = bill(&price, Operation::Response, "{}", JSON, &[queued], End::Complete);
    assert_eq!(bill.due.unwrap().to_string(), "0.04096");
    assert_eq!(bill.work.unwrap().basis, Basis::Estimated);
    for operation in [Operation::Batch, Operation::Video] {
        let created = r#"{"id":"job_1","object":"job"}"#;
        let bill = self::bill(&price, operation, "{}", JSON, &[created], End::Complete);
        assert_eq!(bill.due.unwrap().to_string(), "0.04096", "{operation:?}");
    }
}

#[test]
fn pictures_need_no_report() {
    let each = Rates::default().with(Unit::Image, Credits::whole(2));
    let two = (JSON, &[r#"{"data":[{"url":"a"},{"url":"b"}]}"#][..]);
    check_units(each, Operation::Image, two, End::Complete, "4 for 2 image, reported");
    // A model that works in tokens and does not tell them.
    let tokens = "0.065008 for 8 input, 6500 image_output, 2 image, estimated";
    check_units(rates(), Operation::Image, two, End::Complete, tokens);
}

#[test]
fn the_work_so_far_grows_with_the_answer() {
    let price = Price::PerUnit(Arc::new(rates()));
    let charging =
        Charging::of(&price, Dialect::OpenAi, Operation::Chat, false, REQUEST.as_bytes());
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, STREAM.parse().unwrap())]);
    let mut meter = charging.meter(evidence(&headers), &headers);
    assert_eq!(meter.see(OPENING.as_bytes()), None);
    let so_far: Vec<_> = (0..4).map(|_| meter.see(TEXT.as_bytes()).unwrap().micros()).collect();
    assert_eq!(so_far, [18, 18, 28, 28]);
    assert_eq!(meter.see(USAGE.as_bytes()).unwrap().micros(), 70);
}

/// What a compressed answer that comes in `pieces` comes to.
fn bill_of_coded(price: &Price, kind: &str, coding: &str, pieces: &[&[u8]], end: End) -> Bill {
    let charging = Charging::of(price, Dialect::OpenAi, Operation::Chat, false, REQUEST.as_bytes());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, kind.parse().unwrap());
    headers.insert("content-encoding", coding.parse().unwrap());
    let mut meter = charging.meter(evidence(&headers), &headers);
    for piece in pieces {
        meter.see(piece);
    }
    meter.bill(end)
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_answer_is_read_like_a_plain_one() {
    let stream = [OPENING, TEXT, USAGE, DONE].concat();
    let json = format!("{WHOLE},\"usage\":{{\"prompt_tokens\":20,\"completion_tokens\":5}}}}");
    let (per_call, per_unit) =
        (Price::PerCall(Credits::whole(1)), Price::PerUnit(Arc::new(rates())));
    for (kind, text) in [(STREAM, &stream), (JSON, &json)] {
        let coded = gzip(text);
        let pieces: Vec<&[u8]> = coded.chunks(1).collect();
        let plain = bill(&per_unit, Operation::Chat, REQUEST, kind, &[text], End::Complete);
        assert_eq!(plain.work.unwrap().basis, Basis::Reported);
        for pieces in [&pieces[..], &[&coded[..]]] {
            for coding in ["gzip", "X-GZIP"] {
                let bill = bill_of_coded(&per_unit, kind, coding, pieces, End::Complete);
                assert_eq!(bill, plain, "{kind}");
            }
            let bill = bill_of_coded(&per_call, kind, "gzip", pieces, End::Complete);
            assert_eq!(bill.due, Some(Credits::whole(1)));
        }
    }
    // An empty stream is known to be empty.
    let nothing = gzip(&[OPENING, ERROR, DONE].concat());
    for price in [&per_call, &per_unit] {
        let bill = bill_of_coded(price, STREAM, "gzip", &[&nothing], End::Complete);
        assert_eq!(bill.due, None);
    }
}

#[test]
fn what_can_not_be_decoded_is_charged_as_it_was_held() {
    let price = Price::PerUnit(Arc::new(rates()));
    let stream = [OPENING, TEXT, USAGE, DONE].concat();
    let (coded, plain) = (gzip(&stream), stream.as_bytes());
    let followed = [&coded[..], b"more"].concat();
    let held = Charging::of(&price, Dialect::OpenAi, Operation::Chat, false, REQUEST.as_bytes());
    for (coding, bytes) in [("gzip", plain), ("br, gzip", &coded), ("compress", &coded)] {
        for kind in [STREAM, JSON] {
            let bill = bill_of_coded(&price, kind, coding, &[bytes], End::Complete);
            assert_eq!(bill.due, Some(held.held()), "{coding} {kind}");
            assert_eq!(bill.work.unwrap().basis, Basis::Estimated);
            let none = bill_of_coded(&price, kind, coding, &[], End::Cancelled);
            assert_eq!(none.due, None);
        }
    }
    // What was reported before that counts.
    let bill = bill_of_coded(&price, STREAM, "gzip", &[&followed], End::Complete);
    assert_eq!(bill.work.unwrap().basis, Basis::Reported);
}
