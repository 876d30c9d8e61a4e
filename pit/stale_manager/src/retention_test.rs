//! Property: a plan decides as a second implementation does, which was written from the documentation alone, slow and plain.

use std::collections::BTreeMap;

use symphony_pit::Value;

use crate::artifact::{Artifact, Id, float, unsigned};
use crate::plan::{Decision, Planner};
use crate::policy::{Action, Policy, Rules};
use crate::sample::{DAY, NOW, Random};
use crate::score::Weights;

fn named(artifact: &Artifact, prefix: &str) -> bool {
    artifact.names.iter().any(|name| name.starts_with(prefix))
}

#[expect(clippy::cast_precision_loss, reason = "days")]
fn holds(artifact: &Artifact, key: &str, value: &Value) -> bool {
    let dict = |dict: &Value| {
        let Value::Map(pairs) = dict else { panic!() };
        pairs.iter().all(|(key, value)| {
            let Value::Str(key) = key else { panic!() };
            holds(artifact, key, value)
        })
    };
    match (key, value) {
        ("max_age", value) => (NOW - artifact.created) as f64 / 1e6 > float(value).unwrap(),
        ("min_accesses", value) => artifact.accesses < unsigned(value).unwrap(),
        ("prefix", Value::Str(prefix)) => named(artifact, prefix),
        ("any", Value::List(dicts)) => dicts.iter().any(dict),
        ("all", Value::List(dicts)) => dicts.iter().all(dict),
        _ => panic!("{key}"),
    }
}

fn digitless(name: &str) -> String {
    let mut text = name.replace(|letter: char| letter.is_ascii_digit(), "#");
    while text.contains("##") {
        text = text.replace("##", "#");
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn value(artifact: &Artifact, all: &[Artifact]) -> f64 {
    let alike = |family: &str| {
        all.iter().filter(|other| other.names.iter().any(|name| digitless(name) == family)).count()
    };
    let nameless = all.iter().filter(|other| other.names.is_empty()).count();
    let family = artifact.names.iter().map(|name| alike(&digitless(name))).min().unwrap_or(nameless);
    let idle = (NOW - artifact.last_access).max(0) as f64 / (30 * DAY) as f64; // a clock set back is no use ahead
    let recency = 0.5_f64.powf(idle);
    let frequency = f64::min(1.0, (1.0 + artifact.accesses as f64).log2() / 10.0);
    let three = recency + 2.0 * frequency + 1.0 / family as f64;
    artifact.mark.map_or(three / 4.0, |mark| (three + 12.0 * mark) / 16.0)
}

/// As documented, sentence by sentence.
fn reference(policies: &[Policy], all: &[Artifact]) -> BTreeMap<Id, Decision> {
    let mut decisions = BTreeMap::new();
    let mut ordered: Vec<&Policy> = policies.iter().collect();
    ordered.sort_by_key(|policy| (-policy.priority, policy.name.clone()));
    let flag = |policy: &Policy, key: &str| policy.rules.get(key).map(|value| *value == Value::Bool(true));
    let decides = |artifact: &Artifact| {
        ordered.iter().copied().find(|policy| {
            let prefix = match policy.rules.get("prefix") {
                Some(Value::Str(prefix)) => prefix.is_empty() || named(artifact, prefix),
                _ => true,
            };
            prefix && flag(policy, "unnamed").is_none_or(|wanted| wanted == artifact.names.is_empty())
        })
    };
    for policy in &ordered {
        let mine: Vec<&Artifact> =
            all.iter().filter(|one| decides(one).is_some_and(|found| found.name == policy.name)).collect();
        let safe = |artifact: &Artifact| {
            let tagged = match policy.rules.get("keep_tagged") {
                Some(Value::List(tags)) => {
                    artifact.tags.iter().any(|tag| tags.contains(&tag.as_str().into()))
                }
                _ => false,
            };
            let kept = tagged || (flag(policy, "keep_referenced") == Some(true) && artifact.referenced);
            match policy.action {
                Action::Delete => kept || artifact.referenced || value(artifact, all) >= 0.75,
                Action::Archive => kept || artifact.archived,
            }
        };
        let expiry: Vec<_> = policy
            .rules
            .iter()
            .filter(|(key, _)| matches!(key.as_str(), "max_age" | "min_accesses" | "any" | "all"))
            .collect();
        let expired = |artifact: &Artifact| {
            !expiry.is_empty() && expiry.iter().all(|(key, value)| holds(artifact, key, value))
        };
        let verb = if policy.action == Action::Delete { Decision::Delete } else { Decision::Archive };
        let mut rest: Vec<&Artifact> = Vec::new();
        for artifact in mine {
            if !safe(artifact) && expired(artifact) {
                decisions.insert(artifact.id, verb);
            } else if !artifact.archived {
                rest.push(artifact);
            }
        }
        if let Some(limit) = policy.rules.get("max_total_size") {
            let limit = unsigned(limit).unwrap();
            let lowest = |a: &&Artifact, b: &&Artifact| {
                value(a, all).total_cmp(&value(b, all)).then_with(|| a.id.cmp(&b.id))
            };
            while rest.iter().map(|one| one.size).sum::<u64>() > limit {
                let Some(victim) = rest.iter().copied().filter(|one| !safe(one)).min_by(lowest) else {
                    break;
                };
                decisions.insert(victim.id, verb);
                rest.retain(|one| one.id != victim.id);
            }
        }
    }
    for artifact in all {
        decisions.entry(artifact.id).or_insert(Decision::Keep);
    }
    decisions
}

#[test]
fn a_plan_decides_as_the_documentation_says() {
    let mut seen = [0_u32; 3];
    for seed in 1..=3_000 {
        let mut random = Random(seed * 7_919);
        let all: Vec<Artifact> = (0..random.below(30)).map(|number| random.artifact(number)).collect();
        let policies: Vec<Policy> =
            (0..=random.below(3)).map(|number| random.policy(&format!("policy {number}"))).collect();
        let mut rules = Rules::default();
        policies.iter().cloned().for_each(|policy| rules.set(policy));
        let mut planner = Planner::new(rules.in_force(), Weights::default(), NOW);
        for artifact in &all {
            planner.add(artifact);
        }
        let plan = planner.finish();
        let wanted = reference(&policies, &all);
        assert_eq!(plan.decided.len(), all.len());
        for one in &plan.decided {
            assert_eq!(one.decision, wanted[&one.id], "seed {seed}: {one:?} {policies:#?}");
            let artifact = all.iter().find(|artifact| artifact.id == one.id).unwrap();
            assert!((one.score - value(artifact, &all)).abs() < 1e-9, "seed {seed}: {one:?}");
            if one.decision == Decision::Delete {
                assert!(!artifact.referenced && one.score < 0.75, "seed {seed}: {one:?}");
            }
            seen[one.decision as usize] += 1;
        }
        let ordered = plan.decided.is_sorted_by(|a, b| (a.score, a.id) < (b.score, b.id));
        assert!(ordered, "seed {seed}: not by score, then id");
        assert_eq!(plan.totals.total, plan.totals.kept + plan.totals.archived + plan.totals.deleted);
    }
    assert!(seen.iter().all(|count| *count > 3_000), "the generator is one-sided: {seen:?}");
}

#[test]
fn a_limit_takes_the_lowest_value_first_and_no_more_than_needed() {
    let artifact = |number: u8, accesses: u64| Artifact {
        id: Id([number; 32]),
        size: 10,
        created: NOW,
        last_access: NOW,
        accesses,
        names: vec![format!("name {}", char::from(b'a' + number))],
        ..Artifact::default()
    };
    let rules = BTreeMap::from([("max_total_size".to_owned(), Value::Int(25))]);
    let policy = Policy::new("quota", rules, 0, Action::Delete, "").unwrap();
    let mut planner = Planner::new(vec![policy], Weights::default(), NOW);
    for (number, accesses) in [(1, 9), (2, 0), (3, 3), (4, 1)] {
        planner.add(&artifact(number, accesses));
    }
    let plan = planner.finish();
    let deleted: Vec<u8> =
        plan.decided.iter().filter(|one| one.decision == Decision::Delete).map(|one| one.id.0[0]).collect();
    assert_eq!(deleted, [2, 4]);
    assert_eq!(plan.totals.kept_bytes, 20);
}
