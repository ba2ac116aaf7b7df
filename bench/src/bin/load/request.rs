//! The request that is sent again and again: a chat of about a kilobyte, or a question without a body.

use clap::Args;

/// Digits of an account's number in its name, so that every request has the same length.
const DIGITS: usize = 7;

#[derive(Args)]
pub struct Kind {
    /// What the provider is asked to do; see `provider --help`.
    #[arg(long, default_value = "at-once")]
    model: String,
    /// The caller's key.
    #[arg(long, default_value = "none")]
    key: String,
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

pub struct Request {
    bytes: Vec<u8>,
    /// How many accounts there are, and where the number stands.
    accounts: Option<(u64, usize)>,
    count: u64,
}

impl Request {
    pub fn new(kind: &Kind) -> Self {
        let body = if kind.get.is_some() { String::new() } else { chat(kind) };
        let first = match &kind.get {
            Some(path) => format!("GET {path}"),
            None => "POST /v1/chat/completions".to_owned(),
        };
        let mut head = format!(
            "{first} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n\
             accept: application/json\r\nuser-agent: OpenAI/Python 1.99.0\r\n",
            kind.key,
        );
        if !body.is_empty() {
            head += "content-type: application/json\r\ncontent-length: ";
            head += &body.len().to_string();
            head += "\r\n";
        }
        let accounts = kind.accounts.map(|accounts| {
            head += "x-credits-account: bench-";
            let place = head.len();
            head += &"0".repeat(DIGITS);
            head += "\r\n";
            (accounts, place)
        });
        Self { bytes: (head + "\r\n" + &body).into_bytes(), accounts, count: 0 }
    }

    /// The bytes of the next one.
    pub fn next(&mut self) -> &[u8] {
        if let Some((accounts, place)) = self.accounts {
            // A step that shares no factor with the number of accounts visits all of them in a scattered order.
            let mut number = self.count.wrapping_mul(7_919) % accounts;
            self.count += 1;
            for digit in self.bytes[place..place + DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        &self.bytes
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
