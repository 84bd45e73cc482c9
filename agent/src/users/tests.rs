use super::*;

fn leader(name: &str) -> TaskKey {
    TaskKey::new("F1-1".parse().expect("an id"), name.parse().expect("an id"))
}

#[test]
fn every_group_has_a_range_of_its_own_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let users = Users::of(folder.path(), UserNamespaces::AsAsked);
    let first = users.take(&leader("a")).expect("there are many");
    let second = users.take(&leader("b")).expect("there are many");
    assert!(first.first.abs_diff(second.first) >= COUNT && first.count == COUNT);
    assert_eq!(users.take(&leader("a")), Ok(first), "one that asks again has it already");

    let users = Users::of(folder.path(), UserNamespaces::AsAsked);
    let third = users.take(&leader("c")).expect("there are many");
    assert!(third != first && third != second);
    users.give_back(&leader("a"));
    users.give_back_strays(&[cgroup_name(&leader("c"))]);
    let users = Users::of(folder.path(), UserNamespaces::AsAsked);
    assert_eq!(users.lock().values().cloned().collect::<Vec<_>>(), [cgroup_name(&leader("c"))]);
}

#[test]
fn tasks_get_a_range_as_the_agent_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("no-folder");
    fs::write(&file, "").expect("a file");
    let users = |who| Users::of(&file, who);
    assert!(users(UserNamespaces::AsAsked).wants(true) && !users(UserNamespaces::AsAsked).wants(false));
    assert!(users(UserNamespaces::Always).wants(false));
    assert!(users(UserNamespaces::Always).take(&leader("a")).is_err_and(|error| error.starts_with("user namespace: ")));
}
