#![expect(clippy::disallowed_methods, reason = "the files to be read are written here")]

use rialto_sdk::blobs::Limits;

use super::*;
use crate::spec;

fn job(stage: &str) -> Job {
    let text = format!(
        "name = \"j\"\n[[stage]]\nname = \"s\"\ncommand = \"c\"\n{stage}\n[result]\nstage = \"s\"\nto = \"out\"\n"
    );
    spec::parse("job.toml", &text).unwrap()
}

/// What the partitions of a stage hold that reads `files`.
fn partitions(files: &[(&str, &str)], stage: &str) -> Result<Vec<String>, FilesError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let store = BlobStore::open(&dir.path().join(".store"), Limits::default()).unwrap();
    let parts = import(&job(stage), dir.path(), &store)?;
    let read = |part: &FilePart| fs::read_to_string(store.path(part.digest).unwrap()).unwrap();
    Ok(parts[&0].iter().map(read).collect())
}

#[test]
fn each_file_of_a_glob_is_a_partition() {
    let files = [("d/b.csv", "b"), ("d/a.csv", "a"), ("d/c.txt", "c"), ("d/e/f.csv", "f")];
    assert_eq!(partitions(&files, "files = \"d/*.csv\"").unwrap(), ["a", "b"]);
    assert_eq!(partitions(&files, "files = \"d/**/*.csv\"").unwrap(), ["a", "b", "f"]);
    assert_eq!(partitions(&files, "files = \"d/c.txt\"").unwrap(), ["c"]);
    assert!(partitions(&files, "files = \"d/*.xml\"").unwrap().is_empty());
}

#[test]
fn a_file_is_cut_into_parts_with_the_header_each() {
    let files = [("a.csv", "h\n1\n2\n3\n4\n5\n")];
    assert_eq!(
        partitions(&files, "files = \"a.csv\"\nsplit = { parts = 2, header = true }").unwrap(),
        ["h\n1\n2\n3\n", "h\n4\n5\n"]
    );
    assert_eq!(partitions(&files, "files = \"a.csv\"\nsplit = { lines = 4 }").unwrap(), ["h\n1\n2\n3\n", "4\n5\n"]);
}

#[test]
fn there_are_not_more_parts_than_lines_and_a_last_line_needs_no_end() {
    let files = [("a.csv", "1\n2")];
    assert_eq!(partitions(&files, "files = \"a.csv\"\nsplit = { parts = 5 }").unwrap(), ["1\n", "2"]);
    assert_eq!(partitions(&[("a.csv", "")], "files = \"a.csv\"\nsplit = { parts = 5 }").unwrap(), [""]);
}

#[test]
fn too_many_parts_are_refused_before_they_are_made() {
    let text = "x\n".repeat(10_001);
    let error = partitions(&[("a.csv", &text)], "files = \"a.csv\"\nsplit = { lines = 1 }").unwrap_err();
    assert!(error.to_string().contains("at most 10000 partitions"), "{error}");
}

#[test]
fn a_glob_that_does_not_parse_is_named() {
    let error = partitions(&[], "files = \"[\"").unwrap_err().to_string();
    assert!(error.contains("expected a path or glob such as \"data/*.csv\", got \"[\""), "{error}");
}
