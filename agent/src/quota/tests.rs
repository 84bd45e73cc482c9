use super::*;

fn set<const N: usize>(numbers: [u32; N]) -> BTreeSet<u32> {
    numbers.into()
}

#[test]
fn what_is_taken_is_not_taken_twice_also_over_a_restart() {
    let mut numbers = Numbers::without(100..110, &set([100, 103]));
    let taken: Vec<u32> = std::iter::from_fn(|| numbers.take(|_| true)).collect();
    assert_eq!(taken, [101, 102, 104, 105, 106, 107, 108, 109]);
    assert_eq!(numbers.take(|_| true), None);
}

#[test]
fn what_is_given_back_is_used_before_what_never_was() {
    let mut numbers = Numbers::without(100..110, &set([]));
    assert_eq!((numbers.take(|_| true), numbers.take(|_| true)), (Some(100), Some(101)));
    numbers.free.insert(100);
    assert_eq!((numbers.take(|_| true), numbers.take(|_| true)), (Some(100), Some(102)));
}

#[test]
fn a_number_of_which_files_are_left_waits_until_they_are_gone() {
    let mut numbers = Numbers::without(100..110, &set([105]));
    assert_eq!(numbers.take(|number| *number > 102), Some(103));
    assert_eq!(numbers.take(|_| true), Some(100), "it is used once nobody has it");
    // Another agent's, beyond all that this one ever had.
    assert_eq!(numbers.take(|number| *number > 107), Some(108));
}

#[test]
fn where_there_are_no_quotas_nothing_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let quotas = Quotas::default();
    let opened = open(folder.path()).expect("it is there");
    quotas.limit(&opened, 1).expect("there is nothing to do");
    assert_eq!(quotas.fill(&opened), None);
    fs::write(folder.path().join("file"), vec![1; 1 << 16]).expect("nothing holds it");
    let path = folder.path().join("file");
    quotas.removing(Some(&opened), || fs::remove_file(&path)).expect("it is removed");
    assert!(!path.exists());
}
