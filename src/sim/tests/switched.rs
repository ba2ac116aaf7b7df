//! What the switches do to an answer.

use super::*;

#[tokio::test]
async fn a_status_is_an_error_in_the_dialect() {
    let sim = Sim::start().await;
    for stream in [false, true] {
        let answer = sim.post(CHAT, "status=503", &chat(stream)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.json()["error"]["type"], "server_error");
    }
}

#[tokio::test]
async fn an_unknown_switch_is_refused_wherever_it_is() {
    let sim = Sim::start().await;
    let mut asked = chat(false);
    let in_header = sim.post(CHAT, "explode", &asked).await;
    asked["model"] = "sim-small+explode".into();
    for answer in [in_header, sim.post(CHAT, "", &asked).await] {
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("split=SEED"));
    }
}

#[tokio::test]
async fn switches_in_the_model_name_work_and_leave_it() {
    let sim = Sim::start().await;
    let mut asked = chat(true);
    asked["model"] = "sim-small+chunks=9,gap=1ms,delay=1,input-tokens=77,body=0123456789".into();
    asked["stream_options"] = json!({ "include_usage": true });
    let chunks = sim.post(CHAT, "", &asked).await.datas();
    assert_eq!(chunks[0]["model"], "sim-small");
    assert_eq!(chunk_text(&chunks), "0123456789");
    assert_eq!(chunks[chunks.len() - 2]["usage"]["prompt_tokens"], 77);
    asked["model"] = "sim-small+chunks=9".into();
    let chunks = sim.post(CHAT, "", &asked).await.datas();
    assert_eq!(chunks.len(), 1 + 9 + 1 + 1 + 1);
}

#[tokio::test]
async fn a_connection_can_close_without_an_answer() {
    let sim = Sim::start().await;
    for stream in [false, true] {
        assert!(sim.try_post(CHAT, "break=before-headers", &chat(stream)).await.is_none());
        let last = sim.requests().await.pop().unwrap();
        assert_eq!((&last["state"], &last["status"]), (&json!("broken"), &Value::Null));
    }
}

#[tokio::test]
async fn an_answer_can_be_cut_anywhere() {
    let sim = Sim::start().await;
    for (stream, switches, events) in [
        (true, "break=after-headers", 0),
        (false, "break=after-headers", 0),
        (true, "break=after:0", 0),
        (true, "break=after:1", 1),
        (true, "break=after:3,gap=1ms", 3),
        (true, "break=after:3,split=7", 3),
        (true, "silent,break=after:1", 1),
        (false, "break=after:1", 0),
    ] {
        let answer = sim.post(CHAT, switches, &chat(stream)).await;
        assert_eq!((answer.status, answer.whole), (StatusCode::OK, false), "{switches}");
        if stream {
            assert_eq!(answer.events().len(), events, "{switches}");
        } else {
            assert_eq!(answer.body.is_empty(), switches == "break=after-headers");
        }
        let last = sim.requests().await.pop().unwrap();
        assert_eq!(
            (&last["state"], &last["sent_bytes"]),
            (&json!("broken"), &json!(answer.body.len()))
        );
    }
    let speech = sim.post("/v1/audio/speech", "break=after:2", &json!({ "input": "a" })).await;
    assert_eq!((speech.body.len(), speech.whole), (2 * 1024, false));
}

#[tokio::test]
async fn a_stream_can_fail_or_say_nothing() {
    let sim = Sim::start().await;
    let failed = sim.post(CHAT, "error-event=2", &chat(true)).await.datas();
    assert_eq!(failed.len(), 1 + 2 + 1);
    assert_eq!(failed[3]["error"]["type"], "server_error");
    assert_eq!(sim.post(CHAT, "silent", &chat(true)).await.events().len(), 1);

    let asked = json!({ "model": "m", "input": "a", "stream": true });
    let failed = sim.post("/v1/responses", "error-event=1", &asked).await;
    assert_eq!(failed.events().last().unwrap().0, "error");
    let numbers: Vec<u64> =
        failed.datas().iter().map(|data| data["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..6).collect::<Vec<_>>());
    let silent = sim.post("/v1/responses", "silent", &asked).await;
    assert_eq!(silent.events()[0].0, "response.created");
    assert!(silent.datas().iter().all(|data| data.get("delta").is_none()));
}

#[tokio::test]
async fn a_split_stream_has_the_same_bytes() {
    let sim = Sim::start().await;
    let plain = sim.post(CHAT, "chunks=50", &chat(true)).await;
    for seed in [1, 2, 3] {
        let split = sim.post(CHAT, &format!("chunks=50,split={seed}"), &chat(true)).await;
        assert_eq!((split.body, split.whole), (plain.body.clone(), true));
    }
    let whole = sim.post(CHAT, "split=4", &chat(false)).await;
    assert_eq!(whole.body, sim.post(CHAT, "", &chat(false)).await.body);
}

#[tokio::test]
async fn a_tool_can_be_called() {
    let sim = Sim::start().await;
    let mut asked = chat(false);
    asked["tools"] = json!([{ "type": "function", "function": { "name": "weather" } }]);
    let whole = sim.post(CHAT, "tool", &asked).await.json();
    let call = &whole["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "weather");
    asked["stream"] = true.into();
    let chunks = sim.post(CHAT, "tool", &asked).await.datas();
    let arguments: String = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"])
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(call["arguments"], arguments);
}

#[tokio::test]
async fn an_answer_is_held_until_it_is_released() {
    let sim = Sim::start().await;
    for switches in
        ["hold=before-headers", "hold=after-headers", "hold=after:2", "hold=after:2,split=3"]
    {
        let asked = chat(true);
        let release = async {
            sim.wait_until_held(1).await;
            let request = sim.request(Method::POST, "/_sim/release", "").body(Full::default());
            let released = sim.send(request.unwrap()).await.unwrap().json();
            assert_eq!(released["released"], 1);
        };
        let (answer, ()) = tokio::join!(sim.post(CHAT, switches, &asked), release);
        assert_eq!(answer.events().last().unwrap().1, "[DONE]", "{switches}");
    }
}

#[test]
fn the_switches_are_explained() {
    let error = switches::Switches::default().apply("none").unwrap_err().to_string();
    let listed = error.split("ones are ").nth(1).unwrap().trim_end_matches('.').split(", ");
    for switch in listed {
        let name = switch.split(['=', '|']).next().unwrap();
        assert!(HELP.contains(&format!("\n  {name}")), "{name}");
    }
}
