use super::*;
use crate::model::Term;

const ONE: Milli = Milli::from_whole(1);

fn framework(name: &str) -> FrameworkId {
    FrameworkId::new(Term(1), u64::from(name.as_bytes()[0]))
}

fn role(name: &str) -> Role {
    Role::new(name).expect("a role")
}

/// Eight of the class are there; `names` wait for it, each in a role of its own.
fn waiting(class: &Class, names: &[&str]) -> Classes {
    let mut classes = Classes::new();
    classes.grow(class, Milli::from_whole(8));
    for name in names {
        classes.wait(class, &role(name), framework(name));
    }
    classes
}

fn names(order: &[(Role, FrameworkId)]) -> Vec<&str> {
    order.iter().map(|(role, _)| role.as_str()).collect()
}

#[test]
fn who_holds_least_comes_first_and_of_equals_who_waited_first() {
    let dongle = Class::new("dongle", "x1");
    let mut classes = waiting(&dongle, &["c", "a", "b"]);
    assert_eq!(names(&classes.order(&dongle)), ["c", "a", "b"]);
    assert!(!classes.wait(&dongle, &role("c"), framework("c")));
    assert_eq!(names(&classes.order(&dongle)), ["c", "a", "b"], "who waits already keeps its place");
    classes.charge(&dongle, &role("c"), framework("c"), ONE);
    assert_eq!(names(&classes.order(&dongle)), ["a", "b", "c"]);
    classes.credit(&dongle, &role("c"), framework("c"), ONE);
    assert_eq!(names(&classes.order(&dongle)), ["a", "b", "c"], "it was given one last");
}

#[test]
fn a_weight_divides_what_is_held() {
    let gpu = Class::new("gpu", "g2");
    let mut classes = waiting(&gpu, &["a", "b"]);
    classes.set_weight(&role("b"), 3000);
    classes.charge(&gpu, &role("a"), framework("a"), ONE);
    classes.charge(&gpu, &role("b"), framework("b"), Milli::from_whole(2));
    assert_eq!(names(&classes.order(&gpu)), ["b", "a"]);
    classes.charge(&gpu, &role("b"), framework("b"), Milli::from_whole(2));
    assert_eq!(names(&classes.order(&gpu)), ["a", "b"]);
}

#[test]
fn classes_know_nothing_of_each_other() {
    let (old, new) = (Class::new("gpu", "g1"), Class::new("gpu", "g2"));
    let mut classes = waiting(&old, &["a", "b"]);
    classes.wait(&new, &role("a"), framework("a"));
    classes.wait(&new, &role("b"), framework("b"));
    classes.grow(&new, Milli::from_whole(8));
    classes.charge(&old, &role("a"), framework("a"), ONE);
    assert_eq!(names(&classes.order(&old)), ["b", "a"]);
    assert_eq!(names(&classes.order(&new)), ["a", "b"]);
}

#[test]
fn who_leaves_keeps_what_it_holds() {
    let gpu = Class::new("gpu", "g2");
    let mut classes = waiting(&gpu, &["a", "b"]);
    classes.charge(&gpu, &role("a"), framework("a"), ONE);
    assert!(classes.leave(&gpu, &role("a"), framework("a")));
    assert_eq!(names(&classes.order(&gpu)), ["b"]);
    classes.wait(&gpu, &role("a"), framework("a"));
    assert_eq!(names(&classes.order(&gpu)), ["b", "a"], "b holds none");
}
