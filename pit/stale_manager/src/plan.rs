//! A plan: what a sweep would do with each content, decided without changing anything.
//!
//! The inventory comes page by page and is kept in a compact form, since uniqueness and the limits of the total size need all of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use symphony_pit::{FromPit, ToPit};

use crate::artifact::{Artifact, Id};
use crate::policy::{Action, Judgement, Policy, judge};
use crate::score::{Partial, Weights, family};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ToPit, FromPit)]
pub(crate) enum Decision {
    Keep,
    Archive,
    Delete,
}

impl From<Action> for Decision {
    fn from(action: Action) -> Self {
        match action {
            Action::Delete => Self::Delete,
            Action::Archive => Self::Archive,
        }
    }
}

/// What is decided on one content.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Decided {
    pub id: Id,
    pub decision: Decision,
    pub reason: Arc<str>,
    pub score: f64,
    pub uniqueness: f64,
    pub size: u64,
    /// Its first name; empty without one.
    pub name: Box<str>,
    /// The policy that decided; empty when none is about it.
    pub policy: Arc<str>,
    /// Only the limit of the total size took it.
    pub by_size: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ToPit)]
pub(crate) struct Totals {
    pub total: u64,
    pub kept: u64,
    pub archived: u64,
    pub deleted: u64,
    pub kept_bytes: u64,
    pub archived_bytes: u64,
    pub deleted_bytes: u64,
}

/// Lowest score first, equal ones by id.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Plan {
    pub now: i64,
    pub totals: Totals,
    pub decided: Vec<Decided>,
}

struct Candidate {
    id: Id,
    size: u64,
    partial: Partial,
    /// Where its families begin in `Planner::memberships`; the next candidate's begin where they end.
    families: usize,
    policy: Option<usize>,
    verdict: Verdict,
    reason: Arc<str>,
    name: Box<str>,
    archived: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Kept,
    Expired,
    Open,
}

pub(crate) struct Planner {
    policies: Vec<Policy>,
    weights: Weights,
    now: i64,
    candidates: Vec<Candidate>,
    families: HashMap<String, usize>,
    members: Vec<u32>,
    memberships: Vec<usize>,
    texts: HashSet<Arc<str>>,
}

impl Planner {
    pub fn new(policies: Vec<Policy>, weights: Weights, now: i64) -> Self {
        Self {
            policies,
            weights,
            now,
            candidates: Vec::new(),
            families: HashMap::new(),
            members: Vec::new(),
            memberships: Vec::new(),
            texts: HashSet::new(),
        }
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    pub fn add(&mut self, artifact: &Artifact) {
        let (policy, judgement) = judge(&self.policies, artifact, self.now);
        let (verdict, reason) = match judgement {
            Judgement::Kept(reason) => (Verdict::Kept, self.text(&reason)),
            Judgement::Expired(reason) => (Verdict::Expired, self.text(&reason)),
            Judgement::Open => (Verdict::Open, self.text("none of its policy's rules says that it expires")),
        };
        let families = self.memberships.len();
        let mut own: Vec<String> = artifact.names.iter().map(|name| family(name)).collect();
        if own.is_empty() {
            own.push(String::new());
        }
        own.sort_unstable();
        own.dedup();
        for family in own {
            let index = *self.families.entry(family).or_insert(self.members.len());
            if index == self.members.len() {
                self.members.push(0);
            }
            self.members[index] += 1;
            self.memberships.push(index);
        }
        self.candidates.push(Candidate {
            id: artifact.id,
            size: artifact.size,
            partial: self.weights.partial(artifact, self.now),
            families,
            policy,
            verdict,
            reason,
            name: artifact.names.first().map(|name| name.as_str().into()).unwrap_or_default(),
            archived: artifact.archived,
        });
    }

    pub fn finish(mut self) -> Plan {
        let valuable = self.text("of high value, which is never deleted");
        let too_large = self.text("over the total size, and of the lowest value");
        let names: Vec<Arc<str>> = self.policies.iter().map(|policy| policy.name.as_str().into()).collect();
        let none: Arc<str> = "".into();
        let mut decided = Vec::with_capacity(self.candidates.len());
        let mut limited: Vec<(Option<usize>, bool, bool)> = Vec::with_capacity(self.candidates.len());
        let mut ends: Vec<usize> =
            self.candidates.iter().skip(1).map(|candidate| candidate.families).collect();
        ends.push(self.memberships.len());
        for (candidate, end) in self.candidates.into_iter().zip(ends) {
            let least =
                self.memberships[candidate.families..end].iter().map(|index| self.members[*index]).min();
            let uniqueness = 1.0 / f64::from(least.unwrap_or(1));
            let score = self.weights.complete(candidate.partial, uniqueness);
            let policy = candidate.policy.map(|index| &self.policies[index]);
            let by_value = policy.is_some_and(|policy| policy.keeps_by_value(score, &self.weights));
            let (decision, reason) = match (candidate.verdict, policy) {
                (Verdict::Kept, _) | (_, None) => (Decision::Keep, candidate.reason),
                (_, Some(_)) if by_value => (Decision::Keep, Arc::clone(&valuable)),
                (Verdict::Expired, Some(policy)) => (policy.action.into(), candidate.reason),
                (Verdict::Open, Some(_)) => (Decision::Keep, candidate.reason),
            };
            limited.push((
                candidate.policy,
                candidate.verdict == Verdict::Open && !by_value,
                candidate.archived,
            ));
            decided.push(Decided {
                id: candidate.id,
                decision,
                reason,
                score,
                uniqueness,
                size: candidate.size,
                name: candidate.name,
                policy: candidate.policy.map_or_else(|| Arc::clone(&none), |index| Arc::clone(&names[index])),
                by_size: false,
            });
        }
        let mut order: Vec<usize> = (0..decided.len()).collect();
        order.sort_unstable_by(|a, b| {
            let (a, b) = (&decided[*a], &decided[*b]);
            a.score.total_cmp(&b.score).then_with(|| a.id.cmp(&b.id))
        });
        // What is left of each limit once everything is counted that stays; archived content lies elsewhere.
        let mut excess: Vec<u128> = vec![0; self.policies.len()];
        for (one, (policy, _, archived)) in decided.iter().zip(&limited) {
            if let (Some(index), Decision::Keep, false) = (policy, one.decision, archived) {
                excess[*index] += u128::from(one.size);
            }
        }
        for (excess, policy) in excess.iter_mut().zip(&self.policies) {
            *excess = policy.max_total_size.map_or(0, |limit| excess.saturating_sub(limit.into()));
        }
        for index in &order {
            let (Some(policy), true, archived) = limited[*index] else { continue };
            // An archived content takes no room here, so deleting it would not help.
            if excess[policy] > 0 && !archived {
                let one = &mut decided[*index];
                one.decision = self.policies[policy].action.into();
                one.reason = Arc::clone(&too_large);
                one.by_size = true;
                excess[policy] = excess[policy].saturating_sub(one.size.into());
            }
        }
        let mut places: Vec<Option<Decided>> = decided.into_iter().map(Some).collect();
        let decided: Vec<Decided> = order.into_iter().filter_map(|index| places[index].take()).collect();
        Plan { now: self.now, totals: Totals::of(&decided), decided }
    }
}

impl Totals {
    pub fn of(decided: &[Decided]) -> Self {
        let mut totals = Self::default();
        for one in decided {
            totals.total += 1;
            let (count, bytes) = match one.decision {
                Decision::Keep => (&mut totals.kept, &mut totals.kept_bytes),
                Decision::Archive => (&mut totals.archived, &mut totals.archived_bytes),
                Decision::Delete => (&mut totals.deleted, &mut totals.deleted_bytes),
            };
            *count += 1;
            *bytes += one.size;
        }
        totals
    }
}
