use super::*;

fn role(name: &str) -> api::RoleRow {
    api::RoleRow { role: name.to_owned(), weight: 1.0, ..api::RoleRow::default() }
}

fn rendered(roles: Vec<api::RoleRow>) -> String {
    let roles = in_tree(roles);
    table(&Snapshot { roles_total: roles.len() as u64, roles, ..Snapshot::default() }).into_string()
}

#[test]
fn roles_are_read_as_a_tree() {
    let page = rendered(["ops", "eng-x", "eng/ci/fast", "eng", "lab/a"].map(role).into());
    let names: Vec<&str> = page.split("scope=\"row\"").skip(1).filter_map(|row| row.split(['>', '<']).nth(1)).collect();
    assert_eq!(
        names,
        ["eng", "ci/fast", "eng-x", "lab/a", "ops"],
        "what stands below nothing that is shown has its whole name"
    );
    assert!(page.contains("class=\"depth-1\" scope=\"row\" title=\"eng/ci/fast\""), "{page}");
}

#[test]
fn a_role_shows_what_it_holds_of_its_limit_what_is_kept_for_it_and_who_waits() {
    let mut eng = role("eng");
    eng.held = api::Amounts { cpus: 3.0, mem_mib: 2048.0, ..api::Amounts::default() };
    eng.limit = BTreeMap::from([("cpus".to_owned(), 4.0), ("device/gpu".to_owned(), 2.0)]);
    eng.guarantee = BTreeMap::from([("mem".to_owned(), 4096.0)]);
    eng.borrowed = Some(api::Amounts { cpus: 1.5, ..api::Amounts::default() });
    (eng.share, eng.waiting) = (Some(0.375), 12);
    let page = rendered(vec![eng]);
    for part in ["3 / 4", "0 / 2", "gpu", "4 GiB mem", "holds 2 GiB less", "1.5 cpus", "37.5 %", ">12<"] {
        assert!(page.contains(part), "{part} is not on the page: {page}");
    }
    assert!(!page.contains("class=\"over\""), "{page}");
}

#[test]
fn what_is_over_a_limit_is_marked_and_names_are_escaped() {
    let mut eng = role("eng");
    eng.held.cpus = 5.0;
    eng.limit = BTreeMap::from([("cpus".to_owned(), 4.0), ("<b>".to_owned(), 1.0)]);
    let page = rendered(vec![eng]);
    assert!(page.contains("class=\"over\"") && !page.contains("<b>"), "{page}");
}
