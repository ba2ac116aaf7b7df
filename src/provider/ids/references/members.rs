//! The words: which members of a body name things, and how.

use memchr::memmem;

use super::Place;

/// What the member `name` says in an object that stands where `around` is said.
pub(super) fn member(name: &str, around: Place) -> Says {
    if FREE.contains(&name) {
        return Says::Freely;
    }
    let is_id = name == "id" && matches!(around.says, Says::IdsOrObjects | Says::Objects);
    let is_agents = name == "id" && matches!(around.says, Says::Beginning("agent_"));
    if name == "handle" && around.says == Says::Sessions {
        return Says::Handles;
    }
    match MEMBERS.iter().find(|(known, _)| *known == name) {
        _ if is_id || is_agents => Says::Ids,
        // Below the top it is what a tool is given.
        Some((_, Says::Items)) if around.depth > 0 && around.says != Says::Request => Says::Freely,
        Some((_, says)) => *says,
        None if name == "response" && around.says == Says::Event => Says::Request,
        None => Says::Nothing,
    }
}

/// What a member of an object says of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Nothing, but something in it may.
    Nothing,
    /// Nothing at all.
    Freely,
    /// Its texts are ids.
    Ids,
    /// Its texts are ids, and so is the `id` of an object in it.
    IdsOrObjects,
    /// The `id` of an object in it is one.
    Objects,
    /// Its texts are ids if they begin so.
    Beginning(&'static str),
    /// Its texts are ids of one of Google's collections.
    In(&'static str),
    /// Its texts are names of Google's.
    Names,
    /// Its texts are models, of which some were made from somebody's data.
    Models,
    /// Its `handle` is that of a session of Google's Live API.
    Sessions,
    /// Its texts are such handles.
    Handles,
    /// Its texts are addresses.
    Addresses,
    /// Its objects are items of a conversation, which may stand for one that is stored.
    Items,
    /// It is an event of a socket.
    Event,
    /// It is what a body would be.
    Request,
}

/// The members that say something.
const MEMBERS: [(&str, Says); 54] = [
    ("previous_response_id", Says::Ids),
    ("previous_interaction_id", Says::In("interactions")),
    ("file_id", Says::Ids),
    ("file_ids", Says::Ids),
    ("input_file_id", Says::Ids),
    ("input_files", Says::Ids),
    ("training_file", Says::Ids),
    ("training_files", Says::Ids),
    ("validation_file", Says::Ids),
    ("validation_files", Says::Ids),
    ("vector_store_id", Says::Ids),
    ("vector_store_ids", Says::Ids),
    ("assistant_id", Says::Ids),
    ("thread_id", Says::Ids),
    ("conversation_id", Says::Ids),
    ("container_id", Says::Ids),
    ("library_id", Says::Ids),
    ("library_ids", Says::Ids),
    ("dataset_id", Says::Ids),
    ("environment_id", Says::Ids),
    ("memory_store_id", Says::Ids),
    ("memory_store_ids", Says::Ids),
    ("vault_id", Says::Ids),
    ("vault_ids", Says::Ids),
    ("video_id", Says::Ids),
    ("character_id", Says::Ids),
    ("character_ids", Says::Ids),
    ("eval_id", Says::Ids),
    ("upload_id", Says::Ids),
    ("deployment_id", Says::Ids),
    ("conversation", Says::IdsOrObjects),
    ("container", Says::IdsOrObjects),
    ("video", Says::Objects),
    ("voice", Says::Objects),
    ("source", Says::Objects),
    ("characters", Says::Objects),
    ("agent", Says::Beginning("agent_")),
    ("agent_id", Says::Ids),
    ("skill_id", Says::Beginning("skill_")),
    ("model", Says::Models),
    ("cachedContent", Says::Names),
    ("cached_content", Says::Names),
    ("fileName", Says::Names),
    ("file_name", Says::Names),
    ("operationName", Says::Names),
    ("operation_name", Says::Names),
    ("fileSearchStoreNames", Says::Names),
    ("file_search_store_names", Says::Names),
    ("fileUri", Says::Addresses),
    ("file_uri", Says::Addresses),
    ("uri", Says::Addresses),
    ("sessionResumption", Says::Sessions),
    ("session_resumption", Says::Sessions),
    ("input", Says::Items),
];

/// Members in which customers write what they like.
const FREE: [&str; 12] = [
    "metadata",
    "arguments",
    "args",
    "parameters",
    "input_schema",
    "schema",
    "json_schema",
    "properties",
    "functionResponse",
    "function_response",
    "responseSchema",
    "response_schema",
];

/// Members that most bodies have: of these the values tell.
const USUAL: [&str; 2] = ["model", "input"];

/// The lengths of the words that are signs, as a set of bits, by the letter with which they begin. Most words of a body
/// are told apart by these alone.
static LENGTHS: [u32; 256] = {
    let mut lengths = [0; 256];
    let mut at = 0;
    while at < MEMBERS.len() {
        let word = MEMBERS[at].0.as_bytes();
        lengths[word[0] as usize] |= 1 << word.len();
        at += 1;
    }
    lengths[REFERENCE[0] as usize] |= 1 << REFERENCE.len();
    lengths
};

/// The type of an item that stands for another.
const REFERENCE: &[u8] = b"item_reference";
/// How models begin, or what their names have in them, that were made from somebody's data.
const TUNED: [&[u8]; 2] = [b"ft:", b"tunedModels"];

/// Whether `body` has something in it that names a thing at all; the escape of a plain character may hide any of it.
/// Read before every metered call, and so by way of its quotes and escapes only.
pub(super) fn may_name(body: &[u8]) -> bool {
    let mut quote = None;
    let is_sign = memchr::memchr2_iter(b'"', b'\\', body).any(|at| {
        if body[at] == b'\\' {
            return is_plain_escape(&body[at..]);
        }
        // From one quote to the next: which of them are a beginning and an end does not matter to a sign.
        let word = quote.replace(at).map(|begin| &body[begin + 1..at]);
        word.is_some_and(is_sign)
    });
    is_sign || memmem::find(body, TUNED[1]).is_some()
}

fn is_sign(word: &[u8]) -> bool {
    let Some(first) = word.first() else { return false };
    let lengths = LENGTHS[usize::from(*first)];
    let has_length = word.len() < 32 && lengths >> word.len() & 1 == 1;
    let is_listed = || {
        let mut members = MEMBERS.iter().filter(|(member, _)| !USUAL.contains(member));
        word == REFERENCE || members.any(|(member, _)| member.as_bytes() == word)
    };
    word.starts_with(TUNED[0]) || has_length && is_listed()
}

/// Whether a text begins with the escape of a character of ASCII that could stand there by itself.
fn is_plain_escape(text: &[u8]) -> bool {
    matches!(text, [b'\\', b'u', b'0', b'0', b'2'..=b'7', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_a_sign_wherever_it_stands() {
        for (member, _) in MEMBERS.iter().filter(|(member, _)| !USUAL.contains(member)) {
            assert!(may_name(format!("{{\"{member}\":\"x\"}}").as_bytes()), "{member}");
            assert!(may_name(format!("{{\"a\":\"\\\"{member}\":\"x\"}}").as_bytes()), "{member}");
            assert!(
                !may_name(format!("{{\"{member}_\":\"the {member}\"}}").as_bytes()),
                "{member}"
            );
        }
        assert!(MEMBERS.iter().all(|(member, _)| member.len() < 32));
    }

    #[test]
    fn the_rest_of_the_signs_is_found_too() {
        for body in [
            r#"{"model":"ft:gpt-4o:me"}"#,
            r#"{"model":"tunedModels/mine"}"#,
            r#"{"model":"projects/p/tunedModels/mine"}"#,
            r#"{"input":[{"type":"item_reference"}]}"#,
            r#"{"file\u005fid":"file-1"}"#,
        ] {
            assert!(may_name(body.as_bytes()), "{body}");
        }
        for body in [
            r#"{"model":"gpt-4o","input":"left: \u00e4 \u0007 \n \"yes\""}"#,
            r#"{"messages":[{"role":"user","content":"which file_id?"}]}"#,
            r#"{"a":"unended"#,
            "\\u00",
            "",
        ] {
            assert!(!may_name(body.as_bytes()), "{body}");
        }
    }
}
