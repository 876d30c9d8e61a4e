//! For the tests: a seeded generator of inventories and policies, and a store that lives in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use symphony_pit::testing::TestHost;
use symphony_pit::{Component, Error, Value};

use crate::artifact::{Artifact, Id, unsigned};
use crate::manager::StaleManager;
use crate::policy::{Action, Policy};

pub const DAY: i64 = 86_400_000_000;
pub const NOW: i64 = 1_000 * DAY;

/// xorshift64*, so that a failing case is found again by its seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()].clone()
    }

    pub fn artifact(&mut self, number: u64) -> Artifact {
        let mut id = Id([0; 32]);
        id.0[..8].copy_from_slice(&(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let created = NOW - i64::try_from(self.below(100)).unwrap() * DAY;
        let mut names: Vec<String> = (0..self.below(3))
            .map(|_| format!("{}{}", self.pick(&["a/x", "a/y-", "b/", "c"]), self.below(4)))
            .collect();
        names.sort();
        names.dedup();
        Artifact {
            id,
            size: self.below(50),
            created,
            last_access: created + i64::try_from(self.below(3)).unwrap() * DAY,
            accesses: self.pick(&[0, 0, 1, 2, 5, 40, 5_000]),
            names,
            tags: if self.one_in(3) { vec![self.pick(&["gold", "tin"]).to_owned()] } else { Vec::new() },
            referenced: self.one_in(4),
            mark: self.pick(&[None, None, None, Some(0.0), Some(0.5), Some(1.0)]),
            archived: self.one_in(6),
        }
    }

    pub fn policy(&mut self, name: &str) -> Policy {
        let mut rules = BTreeMap::new();
        let mut add = |key: &str, value: Value| drop(rules.insert(key.to_owned(), value));
        if self.one_in(2) {
            add("prefix", self.pick(&["a/", "b/", ""]).into());
        }
        if self.one_in(6) {
            add("unnamed", self.one_in(2).into());
        }
        if self.one_in(2) {
            add("max_age", (self.below(80) * 86_400).into());
        }
        if self.one_in(3) {
            add("min_accesses", self.below(6).into());
        }
        if self.one_in(3) {
            let young = Value::map([("max_age", Value::from(self.below(90) * 86_400))]);
            let rare = Value::map([("min_accesses", Value::from(self.below(8))), ("prefix", "a/".into())]);
            add(self.pick(&["any", "all"]), Value::List(vec![young, rare]));
        }
        if self.one_in(3) {
            add("keep_tagged", Value::List(vec![self.pick(&["gold", "tin"]).into()]));
        }
        if self.one_in(3) {
            add("keep_referenced", self.one_in(2).into());
        }
        if self.one_in(3) {
            add("max_total_size", self.below(300).into());
        }
        let action = self.pick(&[Action::Delete, Action::Delete, Action::Archive]);
        let priority = i32::try_from(self.below(3)).unwrap();
        Policy::new(name, rules, priority, action, "/archive").unwrap()
    }
}

#[derive(Default)]
pub struct Contents {
    pub artifacts: BTreeMap<Id, Artifact>,
    pub trash: BTreeSet<Id>,
    /// What each call of `trash` gave as its reason.
    pub reasons: Vec<String>,
    pub broken: bool,
}

/// The artifact store's side of the calls.
#[derive(Clone, Default)]
pub struct FakeStore(Arc<Mutex<Contents>>);

fn ids(value: &Value) -> Vec<Id> {
    let Value::List(items) = value else { panic!("{value:?}") };
    items.iter().map(id).collect()
}

fn text(value: &Value) -> &str {
    let Value::Str(text) = value else { panic!("{value:?}") };
    text
}

fn id(value: &Value) -> Id {
    Id::parse(text(value)).unwrap()
}

pub fn row(artifact: &Artifact) -> Value {
    let texts = |texts: &[String]| Value::List(texts.iter().map(|text| text.as_str().into()).collect());
    Value::map([
        ("id", artifact.id.to_string().into()),
        ("size", artifact.size.into()),
        ("created", artifact.created.into()),
        ("last_access", artifact.last_access.into()),
        ("accesses", artifact.accesses.into()),
        ("names", texts(&artifact.names)),
        ("tags", texts(&artifact.tags)),
        ("referenced", artifact.referenced.into()),
        ("mark", artifact.mark.map_or(Value::None, Value::Float)),
        ("archived", artifact.archived.into()),
    ])
}

impl FakeStore {
    pub fn new(artifacts: impl IntoIterator<Item = Artifact>) -> Self {
        let this = Self::default();
        this.lock().artifacts = artifacts.into_iter().map(|artifact| (artifact.id, artifact)).collect();
        this
    }

    pub fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    pub fn serve(&self, host: TestHost) {
        let on = |method: &str, answer: fn(&mut Contents, &[Value]) -> symphony_pit::Result<Value>| {
            let this = self.clone();
            host.on_call("symphony.artifact_store", method, move |args| answer(&mut this.lock(), args));
        };
        on("inventory", |contents, args| {
            let after = text(&args[0]);
            let limit = usize::try_from(unsigned(&args[1]).unwrap()).unwrap();
            let hidden = |id: &Id| contents.trash.contains(id);
            let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(id(&args[0])) };
            let behind = contents.artifacts.range((from, Bound::Unbounded)).map(|(_, one)| one);
            let rows = behind.filter(|one| !hidden(&one.id));
            Ok(Value::List(rows.take(limit).map(row).collect()))
        });
        on("trash", |contents, args| {
            if contents.broken {
                return Err(Error::conflict("broken on purpose"));
            }
            contents.reasons.push(text(&args[1]).to_owned());
            let ids = ids(&args[0]);
            contents.trash.extend(&ids);
            Ok(ids.len().into())
        });
        on("restore", |contents, args| {
            let mut restored = 0_u64;
            for id in ids(&args[0]) {
                if !contents.artifacts.contains_key(&id) {
                    return Err(Error::not_found("gone"));
                }
                restored += u64::from(contents.trash.remove(&id));
            }
            Ok(restored.into())
        });
        on("commit_trash", |contents, args| {
            let (mut deleted, mut bytes) = (0_u64, 0);
            for id in ids(&args[0]) {
                if contents.trash.remove(&id) {
                    deleted += 1;
                    bytes += contents.artifacts.remove(&id).unwrap().size;
                }
            }
            Ok(Value::map([("deleted", deleted.into()), ("bytes", Value::from(bytes))]))
        });
        on("archive", |contents, args| {
            assert!(text(&args[1]).starts_with('/'));
            contents.artifacts.get_mut(&id(&args[0])).unwrap().archived = true;
            Ok(Value::None)
        });
        on("retrieve", |contents, args| {
            contents.artifacts.get_mut(&id(&args[0])).unwrap().archived = false;
            Ok(Value::None)
        });
    }
}

/// A manager over this store, at `NOW`.
pub fn manager(store: &FakeStore) -> (TestHost, StaleManager) {
    let host = TestHost::new(&std::env::temp_dir());
    host.set_now(NOW);
    store.serve(host);
    (host, StaleManager::create(host.host()).unwrap())
}
