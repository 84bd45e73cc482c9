use super::*;

fn key(text: &str) -> TaskKey {
    TaskKey::new("F1-2".parse().expect("a good id"), text.parse().expect("a good name"))
}

#[test]
fn a_folder_belongs_to_one_agent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = WorkDir::open(folder.path()).expect("it is free");
    let error = WorkDir::open(folder.path()).expect_err("it is taken");
    assert!(error.to_string().ends_with("is in use by another agent"), "{error}");
    drop(first);
    WorkDir::open(folder.path()).expect("it is free again");
}

#[test]
fn a_folder_that_cant_be_made_is_one_clear_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("it can be written");
    let error = WorkDir::open(&file.join("below")).expect_err("a file is no folder");
    assert!(error.to_string().contains("below: "), "{error}");
}

#[test]
fn what_lies_in_it_is_found_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layout = WorkDir::open(folder.path()).expect("it is free").layout();
    let task = key("build-ümlaut");
    fs::create_dir_all(layout.run(&task)).expect("it can be made");
    fs::create_dir_all(layout.sandbox(&task)).expect("it can be made");
    fs::create_dir_all(folder.path().join("runs/stray")).expect("it can be made");
    assert_eq!(layout.runs().expect("it can be read"), std::slice::from_ref(&task));
    assert_eq!(layout.sandboxed().expect("it can be read"), [task]);
}

#[test]
fn another_boot_is_noticed_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let work_dir = WorkDir::open(folder.path()).expect("it is free");
    assert_eq!(work_dir.boot().expect("it can be read"), Boot::Same);
    fs::write(folder.path().join("boot_id"), "another").expect("it can be written");
    assert_eq!(work_dir.boot().expect("it can be read"), Boot::New);
    assert_eq!(work_dir.boot().expect("it can be read"), Boot::Same);
}

#[test]
fn a_folder_of_the_kernels_own_file_systems_is_refused_by_name() {
    for folder in ["/proc/self/fd", "/sys/kernel"] {
        let error = WorkDir::open(Path::new(folder)).expect_err("tasks have their own").to_string();
        assert!(error.contains("expected a folder that is not below /proc or /sys"), "{error}");
    }
}
