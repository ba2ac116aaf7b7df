//! The properties that `fuzz/` looks for exceptions to hold for its seeds, for the fixtures, and for what it once found.

use std::fs;
use std::path::Path;

#[path = "../properties/mod.rs"]
mod shared;

use shared::{coding, path, peek, sse, usage};

/// Every file in the folder, which has some.
fn each(folder: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty());
    files.sort();
    for file in files {
        eprintln!("{}", file.display());
        check(&fs::read(file).unwrap());
    }
}

#[test]
fn streams_are_read_the_same_in_any_pieces() {
    each("fuzz/seeds/sse", sse::check);
    each("tests/fixtures/usage", sse::check);
}

#[test]
fn usage_is_read_the_same_in_any_pieces_and_is_no_more_than_what_is_written() {
    each("tests/fixtures/usage", usage::check);
    each("fuzz/seeds/usage", usage::check);
}

#[test]
fn bodies_are_read_as_providers_read_them() {
    each("fuzz/seeds/peek", peek::check);
}

#[test]
fn a_path_that_was_classified_is_the_path_that_is_sent() {
    each("fuzz/seeds/path", path::check);
    each("tests/fixtures/published", |list| {
        list.split(|byte| *byte == b'\n').for_each(path::check);
    });
}

#[test]
fn compressed_bodies_are_read_the_same_in_any_pieces_and_as_others_read_them() {
    each("fuzz/seeds/coding", coding::check);
}
