//! Sentences about what frameworks ask of offers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Market;
use crate::master::Input;
use crate::model::{
    Attribute, AttributeConstraint, Call, CallId, Domain, FromAgent, Least, OfferConstraints, OfferMode, OfferRules,
    Pattern, PeerId, Predicate, Principal, Refusal, Regions, Role, Subject, Subscribe,
};

/// Offer constraints for `role`, given as text: groups with `||` between, constraints with `&&`, such as
/// `rack == a && gpu exists || @region != eu || host =~ h.*`.
///
/// # Panics
/// If the text is none.
pub fn constraints(role: &str, text: &str) -> OfferRules {
    let group = |group: &str| group.split("&&").map(|one| constraint(one.trim())).collect();
    let groups = text.split("||").map(group).collect();
    let constraints = OfferConstraints::any_of(groups).expect("constraints");
    OfferRules { constraints: [(role_of(role), constraints)].into(), ..OfferRules::default() }
}

/// The smallest offers for `role`, given as text.
///
/// # Panics
/// If the text is none.
pub fn least(role: &str, text: &str) -> OfferRules {
    let least: Least = text.parse().expect("a least offer");
    OfferRules { least: [(role_of(role), least)].into(), ..OfferRules::default() }
}

fn role_of(text: &str) -> Role {
    Role::new(text).expect("a role")
}

fn constraint(text: &str) -> AttributeConstraint {
    let mut words = text.splitn(3, ' ');
    let mut next = || words.next().expect("a subject, a word, and mostly a text");
    let of = match next() {
        "@hostname" => Subject::HostName,
        "@region" => Subject::Region,
        "@zone" => Subject::Zone,
        name => Subject::attribute(name).expect("a name"),
    };
    let predicate = match next() {
        "exists" => Predicate::Exists,
        "not_exists" => Predicate::NotExists,
        "==" => Predicate::equals(next()).expect("a text"),
        "!=" => Predicate::differs(next()).expect("a text"),
        "=~" => Predicate::TextMatches(Pattern::new(next()).expect("a pattern")),
        "!~" => Predicate::TextNotMatches(Pattern::new(next()).expect("a pattern")),
        other => panic!("expected a predicate, got {other}"),
    };
    AttributeConstraint { of, predicate }
}

impl Market {
    /// An agent called `name` registers, with attributes.
    pub fn agent_like(&mut self, name: &str, resources: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.add_agent(name, resources, Vec::new());
        self.becomes(name, attributes)
    }

    /// The agent registers, again, and now has these attributes.
    pub fn becomes(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        let parsed = |(name, value): &(&str, &str)| (Arc::from(*name), Attribute::parse(value));
        let attributes: BTreeMap<_, _> = attributes.iter().map(parsed).collect();
        self.agents.get_mut(name).expect("an agent of that name").attributes = attributes;
        self.register(name)
    }

    /// An agent called `name` registers, in `REGION/ZONE`.
    pub fn agent_in(&mut self, name: &str, resources: &str, domain: &str) -> &mut Self {
        self.add_agent(name, resources, Vec::new());
        let domain: Domain = domain.parse().expect("a region and a zone");
        self.agents.get_mut(name).expect("it was added").domain = Some(domain);
        self.register(name)
    }

    /// A framework called `name` subscribes, with optimistic offers, and asks that of them.
    pub fn framework_asking(&mut self, name: &str, role: &str, rules: OfferRules) -> &mut Self {
        self.framework_of(name, &[role], OfferMode::Optimistic, rules)
    }

    /// The framework asks that of its offers from now on.
    pub fn rules(&mut self, framework: &str, rules: OfferRules) -> &mut Self {
        self.frameworks.get_mut(framework).expect("a framework of that name").info.rules = Arc::new(rules.clone());
        let id = CallId(self.next());
        self.call(framework, Call::Rules { id, rules })
    }

    /// The framework takes offers of all regions from now on.
    pub fn takes_all_regions(&mut self, framework: &str) -> &mut Self {
        self.rules(framework, OfferRules { regions: Regions::All, ..OfferRules::default() })
    }

    /// The framework declines what it is offered of the agent.
    pub fn decline_with(&mut self, framework: &str, agent: &str, refusal: Refusal) -> &mut Self {
        let offer = self.offer_of(framework, agent);
        self.frameworks.get_mut(framework).expect("a framework of that name").offers.remove(&offer.id);
        self.call(framework, Call::Decline { offers: vec![offer.id], refusal })
    }

    /// The framework revives all its roles.
    pub fn revive(&mut self, framework: &str) -> &mut Self {
        let roles = self.frameworks[framework].info.roles.clone();
        self.call(framework, Call::Revive(roles))
    }

    /// A subscription of the framework's connection number `number` arrives, on a connection of its own: the present one, if that is the
    /// newest, else one that the framework has given up.
    pub fn subscription_arrives(&mut self, framework: &str, number: u64) -> &mut Self {
        let (peer, side) = (PeerId(self.next()), &self.frameworks[framework]);
        let subscribe = Subscribe {
            framework: side.id,
            client: side.client,
            info: side.info.clone(),
            suppressed: BTreeSet::new(),
            connection: number,
        };
        let is_newest = number >= side.connection;
        if is_newest {
            let side = self.frameworks.get_mut(framework).expect("it was there above");
            (side.peer, side.connection) = (peer, number);
            side.offers.clear();
        }
        let principal = Principal::new(framework);
        self.step(Input::FromFramework { peer, principal, call: Call::Subscribe(subscribe) })
    }

    /// The framework counts anew, and its subscription number `number` arrives.
    pub fn subscription_from_scratch(&mut self, framework: &str, number: u64) -> &mut Self {
        self.frameworks.get_mut(framework).expect("a framework of that name").connection = 0;
        self.subscription_arrives(framework, number)
    }

    /// The agent counts anew, and its registration number `number` arrives.
    pub fn registration_from_scratch(&mut self, agent: &str, number: u64) -> &mut Self {
        self.agents.get_mut(agent).expect("an agent of that name").connection = 0;
        self.registration_arrives(agent, number)
    }

    /// A registration of the agent's connection number `number` arrives, likewise.
    pub fn registration_arrives(&mut self, agent: &str, number: u64) -> &mut Self {
        let peer = PeerId(self.next());
        let side = self.agents.get_mut(agent).expect("an agent of that name");
        let newest = (side.peer, side.connection);
        (side.peer, side.connection) = (peer, number);
        let report = self.report_of(agent);
        let side = self.agents.get_mut(agent).expect("it was there above");
        if number < newest.1 {
            (side.peer, side.connection) = newest;
        }
        let message = FromAgent::Register(Box::new(report));
        self.step(Input::FromAgent { peer, principal: Principal::new("agent"), message })
    }

    /// What the framework has on offer: the agents, with the resources.
    pub fn on_offer(&self, framework: &str) -> Vec<String> {
        let offers = self.frameworks[framework].offers.values();
        let mut texts: Vec<String> = offers.map(|offer| format!("{} {}", offer.info.name, offer.resources)).collect();
        texts.sort();
        texts
    }
}
