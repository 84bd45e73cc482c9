//! Pipeline files as data: each `pipelines/NAME.yml` expands to what `pipelines/NAME.txt` says. A first line `# with: K=V K=V` sets
//! predefined variables, `# given: K=V` those of the user. `UPDATE_EXPECTED=1` rewrites the expectations, for a review by eye.

#![expect(clippy::disallowed_methods, reason = "the test rewrites expectations")]

use std::fs;
use std::path::{Path, PathBuf};

use rialto_ci::spec::{Context, PipelineFile, Variables};

#[test]
fn every_file_expands_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipelines");
    let files = pipeline_files(&folder);
    assert!(files.len() >= 10, "the folder holds the cases");
    let mut wrong = Vec::new();
    for file in files {
        let found = expansion(&file);
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn pipeline_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "yml")).collect();
    files.sort();
    files
}

fn expansion(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let context = Context { predefined: settings(&text, "# with: "), given: settings(&text, "# given: ") };
    let pipeline = PipelineFile::parse(name, &text).and_then(|file| file.expand(&context, &|_| Ok(())));
    match pipeline {
        Ok(pipeline) => pipeline.to_string(),
        Err(error) => format!("{error}\n"),
    }
}

fn settings(text: &str, prefix: &str) -> Variables {
    let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
    lines
        .flat_map(str::split_whitespace)
        .map(|setting| setting.split_once('=').expect("K=V"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
