//! Adding steps: what callers give is decided into records, and records are applied, live and in replay alike.
//!
//! One record: keys, names and policies that are new, then per step five words (key, name, priority, policy, number of
//! dependencies) and a word per dependency. Numbers stand for texts, so that an edge costs four bytes.

use symphony_pit::record::Reader;
use symphony_pit::{Error, FromPit, Result, ValueRef};

use super::{EdgeKind, Graph, HARD, OPTIONAL, Terms};
use crate::interner::NONE;
use crate::retry::{self, Policy};

/// A record is at most 1 MiB; the run's id and the lengths take a little of it.
pub(crate) const FULL: usize = 1_000_000;

/// A step as callers write it: a key, or a list of up to five, or a dict.
pub(crate) struct Step<'a> {
    pub key: &'a str,
    pub dependencies: Option<ValueRef<'a>>,
    pub name: &'a str,
    pub priority: i32,
    pub policy: Option<Policy>,
}

const SHAPE: &str = "a step is a key, [key, dependencies, name, priority, policy] or a dict of these";

impl<'a> Step<'a> {
    fn read(value: ValueRef<'a>) -> Result<Self> {
        let mut step = Self { key: "", dependencies: None, name: "", priority: 0, policy: None };
        if let Some(key) = value.as_str() {
            step.key = key;
        } else if let Some(list) = value.as_list() {
            const FIELDS: [&str; 5] = ["key", "dependencies", "name", "priority", "policy"];
            if list.len() == 0 || list.len() > FIELDS.len() {
                return Err(Error::invalid(SHAPE));
            }
            list.zip(FIELDS).try_for_each(|(value, field)| step.set(field, value))?;
        } else {
            let mut fields = value.as_map().ok_or_else(|| Error::invalid(SHAPE))?;
            fields.try_for_each(|(field, value)| step.set(field.as_str().unwrap_or(""), value))?;
        }
        if step.key.is_empty() {
            return Err(Error::invalid("key: expected a text that is not empty"));
        }
        Ok(step)
    }

    fn set(&mut self, field: &str, value: ValueRef<'a>) -> Result<()> {
        let place = |mut error: Error| {
            error.message.insert_str(0, field);
            error
        };
        match field {
            "key" => self.key = FromPit::from_pit(value).map_err(place)?,
            _ if value.is_none() => {}
            "dependencies" => self.dependencies = Some(value),
            "name" => self.name = FromPit::from_pit(value).map_err(place)?,
            "priority" => self.priority = FromPit::from_pit(value).map_err(place)?,
            "policy" => {
                self.policy = Some(Policy::try_from(retry::Terms::from_pit(value).map_err(place)?)?);
            }
            _ => return Err(Error::invalid(format!("unknown key {field:?}: {SHAPE}"))),
        }
        Ok(())
    }
}

/// Where the texts of a graph end: what lies behind is not written yet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mark {
    keys: u32,
    names: u32,
    policies: usize,
}

const KEYS: u8 = 1;
const NAMES: u8 = 2;
const POLICIES: u8 = 3;
const STEPS: u8 = 4;

/// What is decided: first the steps one by one, as words, in the end the payloads of records. Used again and again, so that a
/// step that is added by itself allocates nothing.
#[derive(Default)]
pub(crate) struct Plan {
    /// Dependencies of the step that is being decided.
    words: Vec<u32>,
    steps: Vec<u8>,
    /// Steps that go into one record: where they end, and how many they are.
    cuts: Vec<(usize, u32)>,
    count: u32,
    /// Payloads, each filled with sections as far as it goes.
    bytes: Vec<u8>,
    /// Where they end, but for the last.
    ends: Vec<usize>,
}

impl Plan {
    /// Forget what was decided; of the memory what a few steps take is kept.
    pub fn clear(&mut self) {
        const KEPT: usize = 1 << 16;
        self.words.clear();
        self.steps.clear();
        self.cuts.clear();
        self.count = 0;
        self.bytes.clear();
        self.ends.clear();
        if self.bytes.capacity().max(self.steps.capacity()) > KEPT {
            *self = Self::default();
        }
    }

    /// The payloads of the records to be written.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.iter().copied().chain([self.bytes.len()]);
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(ends).map(|(start, end)| &self.bytes[start..end]).filter(|payload| !payload.is_empty())
    }

    fn step(&mut self, number: u32, terms: Terms) {
        #[expect(clippy::cast_sign_loss, reason = "the bits come back")]
        let priority = terms.priority as u32;
        #[expect(clippy::cast_possible_truncation, reason = "checked to be few")]
        let count = self.words.len() as u32;
        self.steps.reserve((self.words.len() + 5) * 4);
        for word in [number, terms.name, priority, terms.policy, count].iter().chain(&self.words) {
            self.steps.extend_from_slice(&word.to_le_bytes());
        }
        self.count += 1;
        if self.steps.len() - self.cuts.last().map_or(0, |cut| cut.0) > FULL / 2 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.count > 0 {
            self.cuts.push((self.steps.len(), self.count));
            self.count = 0;
        }
    }

    /// A section of so many bytes behind its head: the tag, and one or two numbers.
    fn section(&mut self, tag: u8, numbers: &[u32], size: usize) {
        let size = 1 + numbers.len() * 4 + size;
        if self.bytes.len() - self.ends.last().copied().unwrap_or(0) + size > FULL {
            self.ends.push(self.bytes.len());
        }
        self.bytes.reserve(size);
        self.bytes.push(tag);
        for number in numbers {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// New texts: the number of the first, how many, and they.
    fn texts<'a>(
        &mut self,
        tag: u8,
        mut first: u32,
        mut texts: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<()> {
        loop {
            let (mut count, mut size) = (0, 0);
            for text in texts.clone() {
                if count > 0 && size + text.len() >= FULL / 2 {
                    break;
                }
                size += text.len() + 4;
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            if size > FULL - 100 {
                return Err(Error::invalid("a key, name or policy is larger than a record"));
            }
            self.section(tag, &[first, count], size);
            for text in texts.by_ref().take(count as usize) {
                #[expect(clippy::cast_possible_truncation, reason = "smaller than a record")]
                self.bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
                self.bytes.extend_from_slice(text);
            }
            first += count;
        }
    }

    fn sections_of_steps(&mut self) {
        self.cut();
        let (steps, mut cuts) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.cuts));
        let mut start = 0;
        for (end, count) in cuts.drain(..) {
            self.section(STEPS, &[count], end - start);
            self.bytes.extend_from_slice(&steps[start..end]);
            start = end;
        }
        (self.steps, self.cuts) = (steps, cuts);
    }
}

impl Graph {
    fn texts(&self) -> Mark {
        Mark { keys: self.keys.len(), names: self.names.len(), policies: self.policies.len() }
    }

    /// From here on the texts are part of the graph.
    pub(super) fn settle_texts(&mut self) {
        self.written = self.texts();
    }

    /// Forget the texts of a decision that did not become a record.
    pub fn undo(&mut self) {
        let Mark { keys, names, policies } = self.written;
        self.keys.truncate(keys);
        self.names.truncate(names);
        self.policies.truncate(policies);
    }

    fn word(&mut self, value: ValueRef<'_>, batch: &[u32]) -> Result<u32> {
        let wrong = || Error::invalid("dependencies: expected keys, places in the batch, or [key, kind]");
        let mut number = |value: ValueRef<'_>| {
            if let Some(place) = value.as_u64() {
                let number = usize::try_from(place).ok().and_then(|place| batch.get(place));
                number.copied().ok_or_else(|| {
                    Error::invalid(format!("dependencies: no step {place} in a batch of {}", batch.len()))
                })
            } else {
                self.number(value.as_str().ok_or_else(wrong)?)
            }
        };
        let Some(mut pair) = value.as_list() else {
            return Ok(number(value)? << 2 | HARD);
        };
        let (Some(key), Some(kind), None) = (pair.next(), pair.next(), pair.next()) else {
            return Err(wrong());
        };
        let kind = EdgeKind::from_name("dependencies", kind.as_str().ok_or_else(wrong)?)?;
        Ok(number(key)? << 2 | kind as u32)
    }

    fn decide(&mut self, step: &Step<'_>, number: u32, batch: &[u32], words: &mut Vec<u32>) -> Result<Terms> {
        words.clear();
        if let Some(dependencies) = step.dependencies {
            let list =
                dependencies.as_list().ok_or_else(|| Error::invalid("dependencies: expected a list"))?;
            for value in list {
                words.push(self.word(value, batch)?);
            }
        }
        let name = match step.name {
            "" => NONE,
            name if name == self.keys.get(number) => NONE,
            name => self.names.intern(name).ok_or_else(Self::too_large)?,
        };
        let policy = match &step.policy {
            None => NONE,
            Some(policy) => {
                // Few policies are in use, and mostly the last one again.
                let at =
                    self.policies.iter().rposition(|known| known == policy).unwrap_or(self.policies.len());
                if at == self.policies.len() {
                    self.policies.push(policy.clone());
                }
                u32::try_from(at).map_err(|_| Self::too_large())?
            }
        };
        Ok(Terms { name, policy, priority: step.priority })
    }

    /// Whether the step is there already, just like this, or unfolded by itself.
    fn same(&self, number: u32, terms: Terms, words: impl Iterator<Item = u32>) -> bool {
        let node = self.node(number);
        node.is_there()
            && (node.unfolded
                || (node.name == terms.name
                    && node.policy == terms.policy
                    && node.priority == terms.priority
                    && self.dependencies(number).iter().map(|edge| edge.word).eq(words)))
    }

    /// Decide what to record for one step; it must be new and close no cycle. Nothing, if it is there already.
    /// After an error the caller undoes.
    pub fn plan_one(&mut self, step: &Step<'_>, plan: &mut Plan) -> Result<()> {
        let needs = step.dependencies.and_then(ValueRef::as_list).into_iter().flatten();
        self.keys.fetch([step.key].into_iter().chain(needs.filter_map(ValueRef::as_str)));
        let number = self.number(step.key)?;
        let terms = self.decide(step, number, &[], &mut plan.words)?;
        if self.same(number, terms, plan.words.iter().copied()) {
            return Ok(());
        }
        if self.node(number).is_there() {
            return Err(Error::conflict(format!("step {} is there already, with other terms", step.key)));
        }
        if let Some(path) = self.cycle_closed_by(number, plan.words.iter().map(|word| word >> 2)) {
            let path: Vec<&str> = path.into_iter().map(|number| self.key(number)).collect();
            let path = path.join(" needs ");
            return Err(Error::conflict(format!("step {} would close a cycle: {path}", step.key)));
        }
        Self::few(step.key, &plan.words)?;
        plan.step(number, terms);
        self.payloads(plan)
    }

    /// Decide what to record for a batch. Errors of the graph are for `validate`, which tells them together.
    /// After an error the caller undoes.
    pub fn plan_many(&mut self, steps: ValueRef<'_>, plan: &mut Plan) -> Result<()> {
        let list = || steps.as_list().ok_or_else(|| Error::invalid("steps: expected a list"));
        let inside = |at: usize| {
            move |mut error: Error| {
                error.message.insert_str(0, &format!("steps[{at}]: "));
                error
            }
        };
        let mut batch = Vec::with_capacity(list()?.len());
        self.keys.reserve(list()?.len());
        for (at, value) in list()?.enumerate() {
            let key = Step::read(value).map_err(inside(at))?.key;
            batch.push(self.number(key)?);
        }
        for (at, value) in list()?.enumerate() {
            let step = Step::read(value).map_err(inside(at))?;
            let terms = self.decide(&step, batch[at], &batch, &mut plan.words).map_err(inside(at))?;
            if !self.same(batch[at], terms, plan.words.iter().copied()) {
                Self::few(step.key, &plan.words).map_err(inside(at))?;
                plan.step(batch[at], terms);
            }
        }
        self.payloads(plan)
    }

    /// The dependencies of a step must fit a record.
    fn few(key: &str, words: &[u32]) -> Result<()> {
        if words.len() <= FULL / 10 {
            return Ok(());
        }
        let (count, most) = (words.len(), FULL / 10);
        Err(Error::invalid(format!(
            "step {key} has {count} dependencies, the most is {most}: join some of them in a step of their own"
        )))
    }

    /// Turn what is decided into payloads: texts that are new, then the steps.
    fn payloads(&self, plan: &mut Plan) -> Result<()> {
        if plan.steps.is_empty() {
            return Ok(());
        }
        let Mark { keys, names, policies } = self.written;
        plan.texts(KEYS, keys, self.keys.since(keys).map(str::as_bytes))?;
        plan.texts(NAMES, names, self.names.since(names).map(str::as_bytes))?;
        let new: Vec<Vec<u8>> = self.policies[policies..].iter().map(Policy::encode).collect();
        let first = u32::try_from(policies).map_err(|_| Self::too_large())?;
        plan.texts(POLICIES, first, new.iter().map(Vec::as_slice))?;
        plan.sections_of_steps();
        Ok(())
    }

    /// Apply one payload.
    pub fn apply(&mut self, payload: &[u8]) -> Result<()> {
        let mut reader = Reader::new(payload);
        let astray = || Error::corrupt("a record of steps does not follow on the one before");
        while !reader.is_empty() {
            match reader.u8()? {
                STEPS => {
                    for _ in 0..reader.u32()? {
                        self.apply_step(&mut reader)?;
                    }
                }
                tag => {
                    let (first, count) = (reader.u32()?, reader.u32()?);
                    for number in first..first.saturating_add(count) {
                        let follows = match tag {
                            KEYS => self.keys.confirm(number, reader.str()?),
                            NAMES => self.names.confirm(number, reader.str()?),
                            POLICIES => self.apply_policy(number, reader.bytes()?)? == number,
                            _ => return Err(astray()),
                        };
                        if !follows {
                            return Err(astray());
                        }
                    }
                    let end = first.saturating_add(count);
                    match tag {
                        KEYS => self.written.keys = end,
                        NAMES => self.written.names = end,
                        _ => self.written.policies = end as usize,
                    }
                }
            }
        }
        Ok(())
    }

    fn apply_policy(&mut self, number: u32, payload: &[u8]) -> Result<u32> {
        if number as usize == self.policies.len() {
            self.policies.push(Policy::decode(payload)?);
        }
        Ok(number.min(u32::try_from(self.policies.len()).unwrap_or(NONE)))
    }

    fn apply_step(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let (number, name, priority, policy) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        #[expect(clippy::cast_possible_wrap, reason = "the bits of an i32")]
        let terms = Terms { name, policy, priority: priority as i32 };
        let (words, count) = (reader.words()?, self.keys.len());
        let there = |number: u32| number < count;
        if !there(number)
            || !words.clone().all(|word| there(word >> 2) && word & 3 <= OPTIONAL)
            || !(name == NONE || name < self.names.len())
            || !(policy == NONE || (policy as usize) < self.policies.len())
        {
            return Err(Error::corrupt("a record of steps names what is not there"));
        }
        if !self.node(number).is_there() {
            return self.add(number, terms, words);
        }
        if !self.same(number, terms, words) {
            self.duplicates.push(number);
        }
        Ok(())
    }
}
