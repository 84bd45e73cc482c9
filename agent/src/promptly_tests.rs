use super::*;

/// What `/proc/thread-self/stat` says; field 18 is the priority, 19 the nice value, 41 the policy.
fn field(number: usize) -> i64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("it can be read");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    fields.split(' ').nth(number - 3).expect("there are so many").parse().expect("a number")
}

#[test]
fn a_thread_that_asks_for_short_turns_stays_as_important_as_it_was() {
    std::thread::spawn(|| {
        rustix::process::setpriority_process(None, 5).expect("everybody may step back");
        ask_for_short_turns().expect("the kernel takes it");
        assert_eq!((field(18), field(19), field(41)), (25, 5, i64::from(libc::SCHED_OTHER)));
    })
    .join()
    .expect("it holds");
}
