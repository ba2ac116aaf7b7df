//! The same in the words of each dialect.

use super::*;

/// What makes a thing, and what is done with it.
struct Case {
    dialect: &'static str,
    makes: (&'static str, &'static str),
    answer: &'static [u8],
    uses: &'static [(&'static str, &'static str, &'static str)],
}

/// An answer of JSON.
macro_rules! answer {
    ($json:literal) => {
        concat!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n",
            $json
        )
        .as_bytes()
    };
}

const CASES: &[Case] = &[
    Case {
        dialect: "openai",
        makes: ("/v1/threads", "{}"),
        answer: answer!(r#"{"id":"thread_1","object":"thread"}"#),
        uses: &[
            ("GET", "/v1/threads/thread_1", ""),
            ("DELETE", "/v1/threads/thread_1/messages/msg_1", ""),
            ("POST", "/v1/threads/thread_1/messages", r#"{"role":"user","content":"x"}"#),
            ("POST", "/v1/threads/thread_1/runs", r#"{"model":"m"}"#),
        ],
    },
    Case {
        dialect: "openai",
        makes: ("/v1/batches", r#"{"endpoint":"/v1/responses"}"#),
        answer: answer!(r#"{"id":"batch_1","output_file_id":"file-9"}"#),
        uses: &[
            ("GET", "/v1/batches/batch_1", ""),
            ("POST", "/v1/batches/batch_1/cancel", "{}"),
            ("GET", "/v1/files/file-9/content", ""),
            ("POST", "/v1/batches", r#"{"input_file_id":"file-9"}"#),
        ],
    },
    Case {
        dialect: "openai",
        makes: ("/v1/vector_stores", "{}"),
        answer: answer!(r#"{"id":"vs_1"}"#),
        uses: &[
            ("POST", "/v1/vector_stores/vs_1/search", r#"{"query":"x"}"#),
            (
                "POST",
                "/v1/responses",
                r#"{"model":"m","input":"x","tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]}"#,
            ),
        ],
    },
    Case {
        dialect: "openai",
        makes: ("/v1/threads/runs", r#"{"model":"m"}"#),
        answer: answer!(r#"{"id":"run_1","thread_id":"thread_2"}"#),
        uses: &[("GET", "/v1/threads/thread_2/runs/run_1", "")],
    },
    Case {
        dialect: "openai",
        makes: ("/v1/fine_tuning/jobs", r#"{"model":"m"}"#),
        answer: answer!(r#"{"id":"ftjob-1","fine_tuned_model":"ft:m:a::1"}"#),
        uses: &[
            ("GET", "/v1/fine_tuning/jobs/ftjob-1/events", ""),
            ("DELETE", "/v1/models/ft:m:a::1", ""),
            ("POST", "/v1/chat/completions", r#"{"model":"ft:m:a::1","messages":[]}"#),
        ],
    },
    Case {
        dialect: "anthropic",
        makes: ("/v1/files", "{}"),
        answer: answer!(r#"{"id":"file_1","type":"file"}"#),
        uses: &[
            ("GET", "/v1/files/file_1", ""),
            (
                "POST",
                "/v1/messages",
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]}"#,
            ),
        ],
    },
    Case {
        dialect: "anthropic",
        makes: ("/v1/messages/batches", r#"{"requests":[]}"#),
        answer: answer!(r#"{"id":"msgbatch_1","type":"message_batch"}"#),
        uses: &[
            ("GET", "/v1/messages/batches/msgbatch_1", ""),
            ("GET", "/v1/messages/batches/msgbatch_1/results", ""),
        ],
    },
    Case {
        dialect: "gemini",
        makes: ("/upload/v1beta/files", "{}"),
        answer: answer!(
            r#"{"file":{"name":"files/f1","uri":"https://generativelanguage.googleapis.com/v1beta/files/f1"}}"#
        ),
        uses: &[
            ("GET", "/v1beta/files/f1", ""),
            ("GET", "/download/v1beta/files/f1:download", ""),
            (
                "POST",
                "/v1beta/models/m:generateContent",
                r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/f1"}}]}]}"#,
            ),
            (
                "POST",
                "/v1beta/models/m:countTokens",
                r#"{"contents":[{"parts":[{"file_data":{"file_uri":"HTTPS://GenerativeLanguage.googleapis.com:443//v1beta/files/f1?x"}}]}]}"#,
            ),
        ],
    },
    Case {
        dialect: "gemini",
        makes: ("/v1beta/cachedContents", "{}"),
        answer: answer!(r#"{"name":"cachedContents/c1"}"#),
        uses: &[
            ("GET", "/v1beta/cachedContents/c1", ""),
            ("PATCH", "/v1beta/cachedContents/c1", "{}"),
            (
                "POST",
                "/v1beta/models/m:generateContent",
                r#"{"contents":[],"cachedContent":"cachedContents/c1"}"#,
            ),
        ],
    },
    Case {
        dialect: "gemini",
        makes: ("/v1beta/models/veo:predictLongRunning", "{}"),
        answer: answer!(r#"{"name":"models/veo/operations/o1"}"#),
        uses: &[("GET", "/v1beta/models/veo/operations/o1", "")],
    },
    Case {
        dialect: "gemini",
        makes: ("/v1beta/interactions", r#"{"model":"m","input":"x"}"#),
        answer: answer!(r#"{"id":"i1","status":"completed"}"#),
        uses: &[
            ("GET", "/v1beta/interactions/i1", ""),
            (
                "POST",
                "/v1beta/interactions",
                r#"{"model":"m","input":"x","previous_interaction_id":"i1"}"#,
            ),
        ],
    },
    Case {
        dialect: "gemini",
        makes: ("/v1beta/tunedModels", "{}"),
        answer: answer!(r#"{"name":"tunedModels/t1/operations/o1"}"#),
        uses: &[("POST", "/v1beta/tunedModels/t1:generateContent", "{}")],
    },
    Case {
        dialect: "mistral",
        makes: ("/v1/conversations", r#"{"model":"m","inputs":"x"}"#),
        answer: answer!(r#"{"conversation_id":"conv_1"}"#),
        uses: &[
            ("GET", "/v1/conversations/conv_1/history", ""),
            ("POST", "/v1/conversations/conv_1", r#"{"inputs":"x"}"#),
        ],
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_dialects_things_are_their_accounts() {
    for case in CASES {
        let canned = Canned::start(case.answer).await;
        let setup = Setup::new().set("provider.openai.dialect", &format!("'{}'", case.dialect));
        let setup = setup.upstream(canned.address);
        let world = world(setup, None).await;
        let ask = async |account: &str, method: &str, path: &str, body: &str| {
            let ask = world.ask(method, path).of(account);
            ask.header("content-type", "application/json").body(body.to_owned()).send().await
        };
        let (path, body) = case.makes;
        for (method, path, body) in case.uses {
            let refused = ask("a", method, path, body).await;
            assert_eq!(refused.status, 404, "{} {method} {path} before it is made", case.dialect);
        }
        assert_eq!(canned.heads().len(), 0, "{} {path}", case.dialect);
        assert_eq!(ask("a", "POST", path, body).await.status, 200, "{} {path}", case.dialect);
        // Deleting comes last: it ends what is tried.
        let mut uses = case.uses.to_vec();
        uses.sort_by_key(|(method, ..)| *method == "DELETE");
        for (method, path, body) in uses {
            let refused = ask("b", method, path, body).await;
            assert_eq!(refused.status, 404, "{} {method} {path} of b", case.dialect);
            assert_eq!(ask("a", method, path, body).await.status, 200, "{method} {path} of a");
        }
    }
}
