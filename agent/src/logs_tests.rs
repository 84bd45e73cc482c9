use std::fs;

use super::*;

fn sandbox(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("it can be written");
    }
    folder
}

fn rest(reader: &mut LogReader) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 3];
    loop {
        match reader.read(&mut buffer).expect("it can be read") {
            0 => return String::from_utf8(all).expect("the test writes text"),
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}

fn stdout(folder: &tempfile::TempDir, start: Start) -> LogReader {
    LogReader::rotated(folder.path(), "stdout", start).expect("it is there")
}

#[test]
fn rotated_files_are_one_text_oldest_first() {
    let folder = sandbox(&[("stdout.2", "one "), ("stdout.1", "two "), ("stdout", "three")]);
    assert_eq!(rest(&mut stdout(&folder, Start::Offset(0))), "one two three");
    assert_eq!(rest(&mut stdout(&folder, Start::Offset(5))), "wo three");
    assert_eq!(rest(&mut stdout(&folder, Start::Tail(6))), " three");
    assert_eq!(rest(&mut stdout(&folder, Start::Tail(99))), "one two three");
    let mut end = stdout(&folder, Start::Offset(99));
    assert_eq!((end.offset(), rest(&mut end)), (13, String::new()));
}

#[test]
fn a_reader_follows_what_is_appended_and_rotated() {
    let folder = sandbox(&[("stdout", "one ")]);
    let path = |name: &str| folder.path().join(name);
    let mut reader = stdout(&folder, Start::Offset(0));
    assert_eq!(rest(&mut reader), "one ");
    assert_eq!(rest(&mut reader), "");
    fs::write(path("stdout"), "one more ").expect("it can be written");
    fs::rename(path("stdout"), path("stdout.1")).expect("it can be renamed");
    assert_eq!(rest(&mut reader), "more ", "the newest is missing for a moment");
    fs::write(path("stdout"), "two ").expect("it can be written");
    assert_eq!(rest(&mut reader), "two ");
    fs::rename(path("stdout.1"), path("stdout.2")).expect("it can be renamed");
    fs::rename(path("stdout"), path("stdout.1")).expect("it can be renamed");
    fs::write(path("stdout"), "three").expect("it can be written");
    assert_eq!(rest(&mut reader), "three");
    assert_eq!(reader.offset(), 18);
}

#[test]
fn a_reader_whose_file_was_thrown_away_goes_on_with_the_oldest() {
    let folder = sandbox(&[("stdout", "one ")]);
    let mut reader = stdout(&folder, Start::Offset(0));
    assert_eq!(rest(&mut reader), "one ");
    fs::remove_file(folder.path().join("stdout")).expect("it can be removed");
    fs::write(folder.path().join("stdout.1"), "five ").expect("it can be written");
    fs::write(folder.path().join("stdout"), "six").expect("it can be written");
    assert_eq!(rest(&mut reader), "five six");
}

#[test]
fn a_file_that_is_started_over_is_read_again() {
    let folder = sandbox(&[("stdout", "a long line")]);
    let mut reader = stdout(&folder, Start::Offset(0));
    assert_eq!(rest(&mut reader), "a long line");
    fs::write(folder.path().join("stdout"), "new").expect("it can be written");
    assert_eq!(rest(&mut reader), "");
    assert_eq!(rest(&mut reader), "new");
}

#[test]
fn nothing_outside_the_sandbox_is_read() {
    let folder = sandbox(&[("file", "x")]);
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("stdout")).expect("it can be made");
    std::os::unix::fs::symlink("/etc", folder.path().join("etc")).expect("it can be made");
    fs::create_dir(folder.path().join("folder")).expect("it can be made");
    let output = LogReader::rotated(folder.path(), "stdout", Start::Offset(0)).expect_err("it is a link");
    assert_eq!(output.kind(), ErrorKind::InvalidInput);
    for path in ["stdout", "etc/passwd", "../file", "folder/../file", "./file", "", "/etc/passwd", "folder"] {
        let error = LogReader::plain(folder.path(), path, Start::Offset(0)).expect_err(path);
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotADirectory), "{path}: {error}");
    }
    let missing = LogReader::plain(folder.path(), "none", Start::Offset(0)).expect_err("it is not there");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn a_pipe_does_not_block() {
    let folder = sandbox(&[]);
    rustix::fs::mknodat(CWD, folder.path().join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .expect("it can be made");
    let error = LogReader::plain(folder.path(), "pipe", Start::Offset(0)).expect_err("it is no file");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
