//! Google's jobs: batches and operations, whose answer says that they are done and brings along what came of them.
//!
//! What came of a batch may stand in its answer, and then each of its requests reports its own work; some answers have it
//! twice, as what was answered and as what is told of the batch. Where it stands in a file nothing is reported, as of
//! videos.

use super::Outcome;
use crate::credit::Usage;
use crate::provider::json::{Reader, Sink};
use crate::provider::usage::Tokens;

/// Reads one answer about a job.
#[derive(Debug, Default)]
pub(super) struct Google {
    reader: Reader,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    done: bool,
    failed: bool,
    succeeded: u64,
    /// What each of its requests came to: as the answer, and as what is told of the batch.
    came: [Each; 2],
}

/// The requests of a batch, one after another.
#[derive(Debug, Default)]
struct Each {
    requests: u64,
    sum: Usage,
    /// The one that is being read.
    tokens: Tokens,
}

impl Google {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes, &mut self.seen);
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        let seen = &self.seen;
        if !seen.done && !seen.failed {
            return None;
        }
        let [answered, told] = seen.came.each_ref().map(Each::all);
        let usage = if answered == Usage::NOTHING { told } else { answered };
        if usage != Usage::NOTHING {
            return Some(Outcome::Work(usage));
        }
        // Requests that are there and report nothing have all failed.
        let all_failed = seen.came.iter().any(|each| each.requests > 0);
        let did_nothing = seen.succeeded == 0 && (seen.failed || all_failed);
        did_nothing.then_some(Outcome::Nothing)
    }
}

impl Each {
    fn next(&mut self) {
        self.requests += 1;
        self.sum = self.all();
        self.tokens = Tokens::default();
    }

    fn all(&self) -> Usage {
        self.sum.plus(&self.tokens.usage())
    }
}

/// Which of the two places it is, and what stands below it.
fn within(path: &str) -> Option<(usize, &str)> {
    const PLACES: [&str; 2] = ["response.", "metadata.output."];
    PLACES.iter().enumerate().find_map(|(place, beginning)| {
        let list = path.strip_prefix(beginning)?;
        let list = list
            .strip_prefix("inlinedResponses.")
            .or(list.strip_prefix("inlinedEmbedContentResponses."))?;
        Some((place, list.strip_prefix("inlinedResponses[]")?))
    })
}

impl Seen {
    /// A number, which may be written as a text where it has 64 bits.
    fn told(&mut self, path: &str, number: &str) {
        if let "metadata.batchStats.successfulRequestCount" = path {
            self.succeeded = number.parse().unwrap_or(u64::MAX);
        }
        let Some((place, below)) = within(path) else { return };
        let tokens = &mut self.came[place].tokens;
        match below {
            // Embeddings.
            ".response.tokenCount" => tokens.number("usageMetadata.promptTokenCount", number),
            _ => {
                if let Some(path) = below.strip_prefix(".response.") {
                    tokens.number(path, number);
                }
            }
        }
    }
}

impl Sink for Seen {
    fn number(&mut self, path: &str, number: &str) {
        self.told(path, number);
    }

    fn begin(&mut self, _: &str) {}

    fn piece(&mut self, _: &[u8]) {}

    fn end(&mut self, path: &str, word: Option<&str>) {
        let Some(word) = word else { return };
        if let "state" | "metadata.state" = path {
            let ended = ["_FAILED", "_CANCELLED", "_EXPIRED"];
            self.failed = ended.iter().any(|end| word.ends_with(end));
            self.done |= word.ends_with("_SUCCEEDED");
            return;
        }
        if let Some((place, below)) = within(path)
            && let Some(path) =
                below.strip_prefix(".response.").filter(|it| it.ends_with(".modality"))
        {
            self.came[place].tokens.word(path, word);
        } else {
            self.told(path, word);
        }
    }

    fn element(&mut self, path: &str) {
        if let Some((place, "")) = within(path) {
            self.came[place].next();
        }
    }

    fn is_true(&mut self, path: &str) {
        self.done |= path == "done";
    }

    fn opened(&mut self, path: &str) {
        self.failed |= path == "error";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credit::Unit;

    fn outcome(answer: &str) -> Option<Outcome> {
        let mut whole = Google::default();
        whole.feed(answer.as_bytes());
        let mut bytes = Google::default();
        answer.as_bytes().chunks(1).for_each(|byte| bytes.feed(byte));
        assert_eq!(whole.outcome(), bytes.outcome(), "{answer}");
        whole.outcome()
    }

    const ONE: &str = r#"{"response":{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}],"usageMetadata":
        {"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":3,"thoughtsTokenCount":2}}}"#;
    const FAILED: &str = r#"{"error":{"code":3,"message":"no"}}"#;

    fn batch(state: &str, done: bool, list: &str) -> String {
        let output = format!(r#"{{"inlinedResponses":{{"inlinedResponses":[{list}]}}}}"#);
        format!(
            r#"{{"name":"batches/b","metadata":{{"state":"{state}","batchStats":{{"requestCount":"3"}},
            "output":{output}}},"done":{done},"response":{{"@type":"x",{}}}"#,
            &output[1..]
        )
    }

    #[test]
    fn the_requests_of_a_batch_are_summed_once() {
        let usage = Usage::NOTHING
            .with(Unit::Input, 12)
            .with(Unit::CachedInput, 8)
            .with(Unit::Output, 6)
            .with(Unit::Reasoning, 4);
        let three = [ONE, FAILED, ONE].join(",");
        let ended = batch("BATCH_STATE_SUCCEEDED", true, &three);
        assert_eq!(outcome(&ended), Some(Outcome::Work(usage)));
        let told_only = format!("{}}}", &ended[..ended.find(r#","response":{"@type""#).unwrap()]);
        assert_eq!(outcome(&told_only), Some(Outcome::Work(usage)));
        assert_eq!(outcome(&batch("BATCH_STATE_RUNNING", false, &three)), None);
        let all_failed = batch("BATCH_STATE_SUCCEEDED", true, FAILED);
        assert_eq!(outcome(&all_failed), Some(Outcome::Nothing));
        let embeddings = r#"{"done":true,"response":{"inlinedEmbedContentResponses":{"inlinedResponses":[
            {"response":{"embedding":{"values":[1,2]},"tokenCount":"7"}},{"response":{"tokenCount":2}}]}}}"#;
        let nine = Usage::NOTHING.with(Unit::Input, 9);
        assert_eq!(outcome(embeddings), Some(Outcome::Work(nine)));
    }

    #[test]
    fn what_reports_nothing_stands_unless_it_did_nothing() {
        for (answer, expected) in [
            (r#"{"name":"models/v/operations/o"}"#, None),
            (r#"{"name":"o","done":false}"#, None),
            (
                r#"{"name":"o","done":true,"response":{"generateVideoResponse":{"generatedSamples":[{}]}}}"#,
                None,
            ),
            (r#"{"done":true,"response":{"responsesFile":"files/f"}}"#, None),
            (r#"{"done":true,"error":{"code":3,"message":"no"}}"#, Some(Outcome::Nothing)),
            (r#"{"metadata":{"state":"BATCH_STATE_EXPIRED"}}"#, Some(Outcome::Nothing)),
            (
                r#"{"metadata":{"state":"BATCH_STATE_CANCELLED","batchStats":{"successfulRequestCount":"2"}},"done":true}"#,
                None,
            ),
            (r#"{"done":true,"response":{"error":{"a":1}}}"#, None),
        ] {
            assert_eq!(outcome(answer), expected, "{answer}");
        }
    }
}
