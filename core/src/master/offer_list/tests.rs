use super::{OVER_MAX, OfferList};
use crate::model::{OfferId, Term};

const fn offer(seq: u64) -> OfferId {
    OfferId::new(Term(1), seq)
}

#[test]
fn those_that_stand_are_named_in_order() {
    let mut list = OfferList::default();
    (1..=3).for_each(|seq| list.push(offer(seq)));
    list.end_one(|id| id.seq != 2);
    let standing: Vec<OfferId> = list.named().filter(|id| id.seq != 2).collect();
    assert_eq!(standing, [offer(1), offer(3)]);
}

#[test]
fn however_many_come_and_go_few_are_kept() {
    let mut list = OfferList::default();
    for seq in 0..100_000 {
        list.push(offer(seq));
        if let Some(over) = seq.checked_sub(10) {
            list.end_one(|id| id.seq > over);
        }
        assert!(list.ids.len() <= 2 * (OVER_MAX + 11));
    }
}
