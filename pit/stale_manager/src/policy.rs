//! Policies: whom they are about, what they keep, and when the rest expires.
//!
//! Of the policies that are about an artifact the one with the highest priority decides alone (of equal ones the first by
//! name); without one it is kept. `prefix` and `unnamed` say whom a policy is about. Inside a policy the keep-rules
//! (`keep_tagged`, `keep_referenced`) win over its expiry rules. The expiry rules of one dict must hold together; `any` and
//! `all` take lists of such dicts. `max_total_size` is a limit of its own: what the other rules leave is taken by value,
//! the lowest first, until the rest of what this policy decides on fits.
//!
//! Above every policy stands: what is referenced or of high value is never deleted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use symphony_pit::{Error, FromPit, Result, ToPit, Value};

use crate::artifact::{Artifact, float, unsigned};
use crate::score::{Weights, seconds};

const DAY: f64 = 86_400.0;
const MAX_DEPTH: u32 = 16;
pub(crate) const MAX_NAME: usize = 256;

/// What a policy does with what has expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ToPit, FromPit)]
pub(crate) enum Action {
    Delete,
    Archive,
}

/// When an artifact has expired.
#[derive(Clone, PartialEq, Debug)]
enum Condition {
    MaxAge(f64),
    MinAccesses(u64),
    Prefix(String),
    Unnamed(bool),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Condition {
    fn holds(&self, artifact: &Artifact, now: i64) -> bool {
        match self {
            Self::MaxAge(limit) => seconds(now, artifact.created) > *limit,
            Self::MinAccesses(least) => artifact.accesses < *least,
            Self::Prefix(prefix) => artifact.names.iter().any(|name| name.starts_with(prefix)),
            Self::Unnamed(wanted) => artifact.names.is_empty() == *wanted,
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(artifact, now)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(artifact, now)),
        }
    }

    /// Why it holds: of alternatives the first that does.
    fn reason(&self, artifact: &Artifact, now: i64) -> String {
        match self {
            Self::MaxAge(limit) if *limit >= DAY => format!("older than {} days", limit / DAY),
            Self::MaxAge(limit) => format!("older than {limit} seconds"),
            Self::MinAccesses(least) => format!("used less than {least} times"),
            Self::Prefix(prefix) => format!("named {prefix}…"),
            Self::Unnamed(wanted) => (if *wanted { "unnamed" } else { "named" }).to_owned(),
            Self::All(conditions) => {
                let reasons: Vec<_> =
                    conditions.iter().map(|condition| condition.reason(artifact, now)).collect();
                reasons.join(", ")
            }
            Self::Any(conditions) => {
                let held = conditions.iter().find(|condition| condition.holds(artifact, now));
                held.map(|condition| condition.reason(artifact, now)).unwrap_or_default()
            }
        }
    }

    fn parse(key: &str, value: &Value, at: &str, depth: u32) -> Result<Self> {
        Ok(match key {
            "max_age" => Self::MaxAge(expect(
                float(value).filter(|age| age.is_finite() && *age >= 0.0),
                at,
                "seconds of at least 0",
            )?),
            "min_accesses" => Self::MinAccesses(expect(unsigned(value), at, "an int of at least 0")?),
            "prefix" => Self::Prefix(text(value, at)?),
            "unnamed" => Self::Unnamed(flag(value, at)?),
            "all" => Self::All(Self::parse_list(value, at, depth)?),
            "any" => Self::Any(Self::parse_list(value, at, depth)?),
            _ => {
                let known = "prefix, unnamed, max_age, min_accesses, all, any; at the top also \
                             keep_tagged, keep_referenced, max_total_size";
                return Err(Error::invalid(format!("{at}: no such rule here")).with("known rules", known));
            }
        })
    }

    fn parse_list(value: &Value, at: &str, depth: u32) -> Result<Vec<Self>> {
        let depth = depth.checked_sub(1).ok_or_else(|| Error::invalid(format!("{at}: nested too deep")))?;
        let items = expect(value.items(), at, "a list of dicts of rules")?;
        if items.is_empty() {
            return Err(expected(at, "at least one dict of rules"));
        }
        let parse = |(index, item): (usize, &Value)| Self::parse_dict(item, &format!("{at}[{index}]"), depth);
        items.iter().enumerate().map(parse).collect()
    }

    fn parse_dict(value: &Value, at: &str, depth: u32) -> Result<Self> {
        let pairs = match value.base() {
            Value::Map(pairs) if !pairs.is_empty() => pairs,
            _ => return Err(expected(at, "a dict of at least one rule")),
        };
        let parse = |(key, value): &(Value, Value)| {
            let key = text(key, at)?;
            Self::parse(&key, value, &format!("{at}.{key}"), depth)
        };
        let mut conditions = pairs.iter().map(parse).collect::<Result<Vec<_>>>()?;
        let single = if conditions.len() == 1 { conditions.pop() } else { None };
        Ok(single.unwrap_or(Self::All(conditions)))
    }
}

fn expected(at: &str, wanted: &str) -> Error {
    Error::invalid(format!("{at}: expected {wanted}"))
}

fn expect<T>(value: Option<T>, at: &str, wanted: &str) -> Result<T> {
    value.ok_or_else(|| expected(at, wanted))
}

fn text(value: &Value, at: &str) -> Result<String> {
    if let Value::Str(text) = value.base() { Ok(text.clone()) } else { Err(expected(at, "a str")) }
}

fn flag(value: &Value, at: &str) -> Result<bool> {
    if let Value::Bool(flag) = value { Ok(*flag) } else { Err(expected(at, "a bool")) }
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Policy {
    pub name: String,
    pub priority: i32,
    pub action: Action,
    /// Where it archives to.
    pub folder: String,
    /// As they were given.
    pub rules: BTreeMap<String, Value>,
    prefix: Option<String>,
    unnamed: Option<bool>,
    keep_tagged: Vec<String>,
    keep_referenced: bool,
    pub max_total_size: Option<u64>,
    expiry: Vec<Condition>,
}

impl Policy {
    pub fn new(
        name: &str,
        rules: BTreeMap<String, Value>,
        priority: i32,
        action: Action,
        folder: &str,
    ) -> Result<Self> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(expected("name", &format!("1 to {MAX_NAME} bytes")));
        }
        let mut this = Self {
            name: name.to_owned(),
            priority,
            action,
            folder: folder.to_owned(),
            rules: BTreeMap::new(),
            prefix: None,
            unnamed: None,
            keep_tagged: Vec::new(),
            keep_referenced: false,
            max_total_size: None,
            expiry: Vec::new(),
        };
        for (key, value) in &rules {
            let at = format!("rules.{key}");
            match key.as_str() {
                "prefix" => this.prefix = Some(text(value, &at)?),
                "unnamed" => this.unnamed = Some(flag(value, &at)?),
                "keep_tagged" => {
                    let tags = expect(value.items(), &at, "a list of tags")?;
                    this.keep_tagged = tags.iter().map(|tag| text(tag, &at)).collect::<Result<_>>()?;
                }
                "keep_referenced" => this.keep_referenced = flag(value, &at)?,
                "max_total_size" => {
                    this.max_total_size = Some(expect(unsigned(value), &at, "bytes of at least 0")?);
                }
                _ => this.expiry.push(Condition::parse(key, value, &at, MAX_DEPTH)?),
            }
        }
        this.rules = rules;
        Ok(this)
    }

    /// What holds while no policy is set: everything stays except what no one can find by name or needs, after 30 days.
    pub fn built_in() -> Self {
        Self {
            name: "built-in".to_owned(),
            priority: 0,
            action: Action::Delete,
            folder: String::new(),
            rules: BTreeMap::from([
                ("unnamed".to_owned(), Value::Bool(true)),
                ("max_age".to_owned(), Value::Float(30.0 * DAY)),
                ("keep_referenced".to_owned(), Value::Bool(true)),
            ]),
            prefix: None,
            unnamed: Some(true),
            keep_tagged: Vec::new(),
            keep_referenced: true,
            max_total_size: None,
            expiry: vec![Condition::MaxAge(30.0 * DAY)],
        }
    }

    fn is_about(&self, artifact: &Artifact) -> bool {
        self.unnamed.is_none_or(|wanted| artifact.names.is_empty() == wanted)
            && self.prefix.as_ref().is_none_or(|prefix| {
                prefix.is_empty() || artifact.names.iter().any(|name| name.starts_with(prefix))
            })
    }

    /// Everything but the value, which needs the whole inventory.
    fn judge(&self, artifact: &Artifact, now: i64) -> Judgement {
        if let Some(tag) = artifact.tags.iter().find(|tag| self.keep_tagged.contains(tag)) {
            return Judgement::Kept(format!("tagged {tag}").into());
        }
        if artifact.referenced && self.keep_referenced {
            return Judgement::Kept("referenced".into());
        }
        if artifact.referenced && self.action == Action::Delete {
            return Judgement::Kept("referenced, which is never deleted".into());
        }
        if artifact.archived && self.action == Action::Archive {
            return Judgement::Kept("archived already".into());
        }
        if !self.expiry.is_empty() && self.expiry.iter().all(|condition| condition.holds(artifact, now)) {
            let reasons: Vec<_> =
                self.expiry.iter().map(|condition| condition.reason(artifact, now)).collect();
            return Judgement::Expired(reasons.join(", "));
        }
        Judgement::Open
    }

    /// What keeps an artifact of this value, whatever expired.
    pub fn keeps_by_value(&self, score: f64, weights: &Weights) -> bool {
        self.action == Action::Delete && score >= weights.high_value
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Judgement {
    Kept(Cow<'static, str>),
    /// A rule holds.
    Expired(String),
    /// No rule holds; only the limit of the total size can take it.
    Open,
}

/// All policies, highest priority first, and how value is measured.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Rules {
    policies: Vec<Policy>,
    pub weights: Weights,
}

impl Rules {
    pub fn set(&mut self, policy: Policy) {
        self.remove(&policy.name);
        self.policies.push(policy);
        self.policies.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
    }

    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.policies.len();
        self.policies.retain(|policy| policy.name != name);
        self.policies.len() < before
    }

    /// What was set, highest priority first.
    pub fn set_policies(&self) -> &[Policy] {
        &self.policies
    }

    /// What holds: what was set, or else the built-in policy.
    pub fn in_force(&self) -> Vec<Policy> {
        if self.policies.is_empty() { vec![Policy::built_in()] } else { self.policies.clone() }
    }
}

/// The place of the policy that decides, and how.
pub(crate) fn judge(policies: &[Policy], artifact: &Artifact, now: i64) -> (Option<usize>, Judgement) {
    let decides = policies.iter().position(|policy| policy.is_about(artifact));
    let judgement = decides.map_or(Judgement::Kept("no policy is about it".into()), |index| {
        policies[index].judge(artifact, now)
    });
    (decides, judgement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &[(&str, Value)], action: Action) -> Result<Policy> {
        let rules = rules.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Policy::new("p", rules, 0, action, "")
    }

    fn dicts(items: &[&[(&str, Value)]]) -> Value {
        Value::List(items.iter().map(|pairs| Value::map(pairs.iter().cloned())).collect())
    }

    #[test]
    fn the_built_in_policy_is_what_its_rules_say() {
        let built_in = Policy::built_in();
        let parsed = Policy::new("built-in", built_in.rules.clone(), 0, Action::Delete, "");
        assert_eq!(parsed, Ok(built_in));
    }

    #[test]
    fn rules_of_one_dict_hold_together_and_alternatives_alone() {
        let seconds = |n: i64| n * 1_000_000;
        let both =
            policy(&[("max_age", Value::Int(10)), ("min_accesses", Value::Int(2))], Action::Delete).unwrap();
        let either = policy(
            &[("any", dicts(&[&[("max_age", Value::Int(10))], &[("min_accesses", Value::Int(2))]]))],
            Action::Delete,
        )
        .unwrap();
        for (age, accesses, by_both, by_either) in [
            (5, 5, false, None),
            (5, 1, false, Some("used less than 2 times")),
            (11, 5, false, Some("older than 10 seconds")),
            (11, 1, true, Some("older than 10 seconds")),
        ] {
            let artifact = Artifact { accesses, ..Artifact::default() };
            let expired = matches!(both.judge(&artifact, seconds(age)), Judgement::Expired(_));
            assert_eq!(expired, by_both, "{age} {accesses}");
            let judgement = either.judge(&artifact, seconds(age));
            assert_eq!(judgement, by_either.map_or(Judgement::Open, |why| Judgement::Expired(why.into())));
        }
    }

    #[test]
    fn keep_rules_win_and_referenced_is_archived_but_never_deleted() {
        let referenced = Artifact { referenced: true, ..Artifact::default() };
        let archived = Artifact { archived: true, ..Artifact::default() };
        let tagged = Artifact { tags: vec!["gold".into()], ..Artifact::default() };
        let expire = ("max_age", Value::Int(0));
        let keep = |key, value| [expire.clone(), (key, value)];
        let expired = |policy: Result<Policy>, artifact: &Artifact| {
            matches!(policy.unwrap().judge(artifact, 1_000_000), Judgement::Expired(_))
        };
        let tags = Value::List(vec!["gold".into()]);
        for action in [Action::Delete, Action::Archive] {
            assert!(expired(policy(std::slice::from_ref(&expire), action), &tagged));
            assert!(!expired(policy(&keep("keep_tagged", tags.clone()), action), &tagged));
            assert!(!expired(policy(&keep("keep_referenced", true.into()), action), &referenced));
        }
        assert!(!expired(policy(&keep("keep_referenced", false.into()), Action::Delete), &referenced));
        assert!(expired(policy(std::slice::from_ref(&expire), Action::Archive), &referenced));
        assert!(expired(policy(std::slice::from_ref(&expire), Action::Delete), &archived));
        assert!(!expired(policy(std::slice::from_ref(&expire), Action::Archive), &archived));
    }

    #[test]
    fn rules_that_mean_nothing_are_refused_with_their_place() {
        for (rules, place) in [
            (("max_age", Value::Int(-1)), "rules.max_age: expected seconds"),
            (("max_age", Value::Float(f64::NAN)), "rules.max_age: expected seconds"),
            (("min_accesses", Value::from("3")), "rules.min_accesses: expected an int"),
            (("keep_tagged", Value::from("gold")), "rules.keep_tagged: expected a list"),
            (("keep_for_ever", Value::Bool(true)), "rules.keep_for_ever: no such rule"),
            (("any", Value::List(vec![])), "rules.any: expected at least one"),
            (
                ("any", dicts(&[&[("max_age", Value::Int(1))], &[("keep_referenced", true.into())]])),
                "rules.any[1].keep_referenced: no such rule here",
            ),
        ] {
            let error = policy(&[rules], Action::Delete).unwrap_err();
            assert!(error.message.starts_with(place), "{error}");
        }
    }
}
