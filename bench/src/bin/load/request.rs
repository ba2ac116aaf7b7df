//! The request that is sent again and again: a chat of about a kilobyte, or a question without a body.

use clap::Args;

/// Digits of an account's number in its name, so that every request has the same length.
const DIGITS: usize = 7;

#[derive(Args)]
pub struct Kind {
    /// What the provider is asked to do; see `provider --help`.
    #[arg(long, default_value = "at-once")]
    model: String,
    /// A caller's key. Connections take turns among several.
    #[arg(long, default_value = "none")]
    key: Vec<String>,
    /// Ask this path with GET, without a body, instead of a chat.
    #[arg(long)]
    get: Option<String>,
    /// Name another of so many accounts in each request: `bench-0000000` and so on.
    #[arg(long)]
    accounts: Option<u64>,
    /// Bytes of a chat.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
}

/// What is sent, for each key.
pub struct Requests {
    of_keys: Vec<Request>,
    /// Different accounts to name.
    accounts: u64,
    count: u64,
}

struct Request {
    bytes: Vec<u8>,
    /// Where the number of the account stands.
    account: Option<usize>,
}

impl Requests {
    pub fn new(kind: &Kind) -> Self {
        let of_keys = kind.key.iter().map(|key| Request::new(kind, key)).collect();
        Self { of_keys, accounts: kind.accounts.unwrap_or(1), count: 0 }
    }

    /// The bytes of the next one of a connection.
    pub fn next(&mut self, connection: usize) -> &[u8] {
        let keys = self.of_keys.len();
        let request = &mut self.of_keys[connection % keys];
        if let Some(place) = request.account {
            // A step that shares no factor with the number of accounts visits all of them in a scattered order.
            let mut number = self.count.wrapping_mul(7_919) % self.accounts;
            self.count += 1;
            for digit in request.bytes[place..place + DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        &request.bytes
    }
}

impl Request {
    fn new(kind: &Kind, key: &str) -> Self {
        let body = if kind.get.is_some() { String::new() } else { chat(kind) };
        let first = match &kind.get {
            Some(path) => format!("GET {path}"),
            None => "POST /v1/chat/completions".to_owned(),
        };
        let mut head = format!(
            "{first} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\
             accept: application/json\r\nuser-agent: OpenAI/Python 1.99.0\r\n"
        );
        if !body.is_empty() {
            head += "content-type: application/json\r\ncontent-length: ";
            head += &body.len().to_string();
            head += "\r\n";
        }
        let account = kind.accounts.map(|_| {
            head += "x-credits-account: bench-";
            let place = head.len();
            head += &"0".repeat(DIGITS);
            head += "\r\n";
            place
        });
        Self { bytes: (head + "\r\n" + &body).into_bytes(), account }
    }
}

fn chat(kind: &Kind) -> String {
    let is_stream = kind.model.starts_with("stream-");
    let mut body = format!(
        r#"{{"model":"{}","stream":{is_stream},"temperature":0.2,"max_tokens":256,"messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":""#,
        kind.model,
    );
    let end = r#""}]}"#;
    let wanted = kind.body_bytes.saturating_sub(end.len());
    let text = "Tell me about rivers. ".bytes().cycle().map(char::from);
    body.extend(text.take(wanted.saturating_sub(body.len())));
    body + end
}
