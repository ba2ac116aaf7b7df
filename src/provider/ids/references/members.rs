//! The words: which members of a body name things, and how.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

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

/// What a body has in it that names a thing at all; the escape of a plain character may hide any of it. Of `model` and
/// `input` the values tell.
pub(super) static SIGNS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let often = ["model", "input"];
    let members = MEMBERS.iter().filter(|(member, _)| !often.contains(member));
    let mut signs: Vec<String> = members.map(|(member, _)| format!("\"{member}\"")).collect();
    signs.extend(["\"ft:", "tunedModels", "\"item_reference\""].map(str::to_owned));
    signs.extend((2..8).map(|digit| format!("\\u00{digit}")));
    // A fault in the patterns, which are of the program, would show in every test.
    #[expect(clippy::expect_used, reason = "some sixty short texts")]
    AhoCorasick::new(signs).expect("the signs are plain texts")
});
