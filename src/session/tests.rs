use super::*;

#[test]
fn the_keys_that_leave_are_found_in_pieces_and_only_in_a_row() {
    let mut typed = Typed::default();
    assert!(!typed.leaves(b"ls\n"));
    assert!(!typed.leaves(&[0x10]));
    assert!(typed.leaves(&[0x11]));
    assert!(!Typed::default().leaves(&[0x10, b'a', 0x11]));
    assert!(Typed::default().leaves(&[b'x', 0x10, 0x11, b'y']));
}
