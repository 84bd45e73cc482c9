use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rustix::fs::XattrFlags;

use super::{MODE, is_temporary, is_untouched};

fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(MODE)).expect("it is ours");
    folder
}

#[test]
fn a_folder_in_which_nothing_was_changed_is_untouched() {
    assert!(is_untouched(made().path()).expect("readable"));
    assert!(is_temporary("tmp") && is_temporary("var-tmp") && !is_temporary("spec.json"));
}

#[test]
fn whatever_a_task_changes_is_seen() {
    type Change = fn(&std::path::Path) -> std::io::Result<()>;
    let mut changes: Vec<(&str, Change)> = vec![
        ("a file", |folder| fs::write(folder.join(".hidden"), "")),
        ("its mode", |folder| fs::set_permissions(folder, Permissions::from_mode(0o777))),
        ("what was large", |folder| {
            let names: Vec<_> = (0..200).map(|number| folder.join(format!("{number}-{}", "x".repeat(200)))).collect();
            names.iter().try_for_each(|name| fs::write(name, ""))?;
            names.iter().try_for_each(fs::remove_file)
        }),
    ];
    let has_attributes = rustix::fs::setxattr(made().path(), "user.a", b"b", XattrFlags::empty()).is_ok();
    if has_attributes {
        changes.push(("an attribute", |folder| Ok(rustix::fs::setxattr(folder, "user.a", b"b", XattrFlags::empty())?)));
    }
    if rustix::process::geteuid().is_root() {
        changes.push(("its owner", |folder| std::os::unix::fs::chown(folder, Some(12), None)));
        changes.push(("its group", |folder| std::os::unix::fs::chown(folder, None, Some(12))));
    }
    for (change, make) in changes {
        let folder = made();
        make(folder.path()).expect(change);
        // Some file systems forget what was large.
        let is_small = fs::metadata(folder.path()).expect("a folder").len() <= 4096;
        if change != "what was large" || !is_small {
            assert!(!is_untouched(folder.path()).expect("readable"), "{change}");
        }
    }
}
