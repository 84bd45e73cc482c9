//! What frameworks ask of offers.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rialto_core::model::{
    AttributeConstraint, Domain, Least, Milli, OfferConstraints, OfferRules, Pattern, Predicate, Quantities, Regions,
    ResourceName, Subject,
};

use super::role;

pub(crate) fn domain() -> impl Strategy<Value = Domain> {
    ("[a-z0-9-]{1,12}", "[a-z0-9-]{1,12}").prop_map(|(region, zone)| Domain::new(&region, &zone).unwrap())
}

pub(crate) fn offer_rules() -> impl Strategy<Value = OfferRules> {
    let regions = prop_oneof![Just(Regions::Home), Just(Regions::All)];
    (btree_map(role(), constraints(), 0..2), btree_map(role(), least(), 0..2), regions)
        .prop_map(|(constraints, least, regions)| OfferRules { constraints, least, regions })
}

fn constraints() -> impl Strategy<Value = OfferConstraints> {
    let subject = prop_oneof![
        "[a-z]{1,8}".prop_map(|name| Subject::attribute(&name).unwrap()),
        Just(Subject::HostName),
        Just(Subject::Region),
        Just(Subject::Zone),
    ];
    let text = "[ -~]{1,12}";
    let pattern = "[a-z]{1,4}(\\.\\*)?".prop_map(|text| Pattern::new(&text).unwrap());
    let predicate = prop_oneof![
        Just(Predicate::Exists),
        Just(Predicate::NotExists),
        text.prop_map(|text| Predicate::equals(&text).unwrap()),
        text.prop_map(|text| Predicate::differs(&text).unwrap()),
        pattern.clone().prop_map(Predicate::TextMatches),
        pattern.prop_map(Predicate::TextNotMatches),
    ];
    let constraint = (subject, predicate).prop_map(|(of, predicate)| AttributeConstraint { of, predicate });
    vec(vec(constraint, 1..3), 0..3).prop_map(|groups| OfferConstraints::any_of(groups).unwrap())
}

fn least() -> impl Strategy<Value = Least> {
    let alternative = (1..1_000_000_u64, 0..1_000_000_u64).prop_map(|(cpus, gpus)| {
        let mut quantities = Quantities::new();
        quantities.set(&ResourceName::Cpus, Milli(cpus));
        quantities.set(&ResourceName::new("device/gpu"), Milli(gpus));
        quantities
    });
    vec(alternative, 0..3).prop_map(|alternatives| Least::any_of(alternatives).unwrap())
}
