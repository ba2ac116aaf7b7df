//! Names of things at Google: a collection and an id, in paths, in answers and in addresses.

/// The collections whose things a body may name.
const COLLECTIONS: [&str; 10] = [
    "files",
    "cachedContents",
    "batches",
    "tunedModels",
    "operations",
    "models",
    "fileSearchStores",
    "corpora",
    "interactions",
    "tuningJobs",
];

/// `files/abc` of `/v1beta/files/abc:download`, of `projects/p/locations/l/files/abc` and of
/// `https://…/v1beta/files/abc`. What lies below a thing has its name; a model is none, but an operation of it is.
pub(in crate::provider) fn name(text: &str) -> Option<String> {
    let path = text
        .split_once("://")
        .map_or(text, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let collection = loop {
        match parts.next()? {
            "projects" | "locations" | "publishers" => drop(parts.next()?),
            "upload" | "download" => {}
            part if is_version(part) => {}
            part => break part,
        }
    };
    let id = parts.next()?;
    if collection == "models" {
        let (operations, operation) = (parts.next()?, parts.next()?);
        return (operations == "operations")
            .then(|| format!("models/{id}/operations/{}", before_verb(operation)));
    }
    Some(format!("{collection}/{}", before_verb(id)))
}

/// The thing that a member of a body names, if it is the name of one.
pub(super) fn named(text: &str) -> Option<String> {
    let collection_of = |name: &String| COLLECTIONS.iter().any(|known| starts(name, known));
    if text.contains("://") { None } else { name(text).filter(collection_of) }
}

/// A session of the Live API that can be gone on with, by the handle that the provider has given out for it.
pub(super) fn session(handle: &str) -> String {
    format!("sessions/{handle}")
}

/// The file of the provider's whose address it is, if it is one: a file of anybody else's server is nobody's thing.
pub(super) fn file_at(address: &str) -> Option<String> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return named(address).filter(|name| starts(name, "files"));
    };
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let is_googles = host.to_ascii_lowercase().ends_with("googleapis.com");
    // Through another gateway the address has another host, and the same path.
    let first = path.split('/').find(|part| !matches!(*part, "upload" | "download" | ""))?;
    let is_files = |name: &String| starts(name, "files");
    if is_googles || is_version(first) { name(address).filter(is_files) } else { None }
}

fn starts(name: &str, collection: &str) -> bool {
    name.strip_prefix(collection).is_some_and(|rest| rest.starts_with('/'))
}

fn is_version(part: &str) -> bool {
    let rest = part.strip_prefix('v');
    rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn before_verb(part: &str) -> &str {
    part.split(':').next().unwrap_or_default()
}
