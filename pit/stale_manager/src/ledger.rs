//! Everything that lasts: policies, weights, sweeps, and the newest of their decisions. It changes only by events, which are
//! the records of the log; so a replay makes the same state.

use std::collections::{BTreeMap, VecDeque};

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Result, ToPit};

use crate::artifact::Id;
use crate::plan::Decision;
use crate::policy::Rules;
use crate::records::{self, Event};
use crate::sweep::{Phase, Sweep, Transition};

/// Decisions and sweeps that are remembered.
const HISTORY: usize = 10_000;
const SWEEPS: usize = 1_000;

/// A decision as a sweep carried it out.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Item {
    pub id: Id,
    pub decision: Decision,
    pub score: f64,
    pub size: u64,
    pub name: String,
    pub policy: String,
    pub reason: String,
    pub sweep: u64,
    pub time: i64,
}

#[derive(Clone, PartialEq, Debug, ToPit)]
pub(crate) struct ItemRow {
    pub id: String,
    pub name: String,
    pub decision: Decision,
    pub reason: String,
    pub policy: String,
    pub score: f64,
    pub size: u64,
    pub sweep: u64,
    pub time: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub deleted: u64,
    pub archived: u64,
    pub kept: u64,
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub rules: Rules,
    pub sweeps: BTreeMap<u64, Sweep>,
    /// Newest last.
    pub history: VecDeque<Item>,
    /// Of the step that is under way.
    stepping: Vec<Item>,
    pub deleted: u64,
    pub deleted_bytes: u64,
}

impl Ledger {
    pub fn last_sweep(&self) -> u64 {
        self.sweeps.keys().next_back().copied().unwrap_or(0)
    }

    pub fn pending(&self) -> Option<&Sweep> {
        self.sweeps.values().next_back().filter(|sweep| !sweep.phase.is_over())
    }

    pub fn sweep(&self, id: u64) -> Result<&Sweep> {
        self.sweeps.get(&id).ok_or_else(|| Error::not_found(format!("no sweep {id}")))
    }

    /// The sweeps that were under way cannot go on.
    pub fn interrupt(&mut self) {
        for sweep in self.sweeps.values_mut() {
            sweep.phase = sweep.phase.after(Transition::Interrupt).unwrap_or(sweep.phase);
        }
    }

    fn under_way(&mut self, id: u64) -> Result<&mut Sweep> {
        let sweep = self.sweeps.get_mut(&id).filter(|sweep| !sweep.phase.is_over());
        sweep.ok_or_else(|| Error::corrupt(format!("a record of sweep {id}, which is not under way")))
    }

    fn finish(&mut self, id: u64, phase: Phase, time: i64) -> Result<Sweep> {
        let sweep = self.under_way(id)?;
        let before = sweep.clone();
        sweep.phase = phase;
        sweep.finished = Some(time);
        sweep.trashed.clear();
        sweep.moved.clear();
        self.stepping.clear();
        Ok(before)
    }

    pub fn apply(&mut self, time: i64, event: Event) -> Result<()> {
        match event {
            Event::PolicySet(policy) => self.rules.set(policy),
            Event::PolicyRemoved(name) => drop(self.rules.remove(&name)),
            Event::Weighed(weights) => self.rules.weights = weights,
            Event::Begun { sweep, now, total } => {
                self.sweeps.insert(sweep, Sweep::new(sweep, now, time, total));
                while self.sweeps.len() > SWEEPS {
                    self.sweeps.pop_first();
                }
            }
            Event::Stepping { sweep: id, mut items } => {
                let sweep = self.under_way(id)?;
                for item in &mut items {
                    (item.sweep, item.time) = (id, time);
                    match item.decision {
                        Decision::Delete => drop(sweep.trashed.insert(item.id)),
                        Decision::Archive => drop(sweep.moved.insert(item.id)),
                        Decision::Keep => {}
                    }
                }
                self.stepping = items;
            }
            Event::Stepped { sweep: id, counts } => {
                let done = self.stepping.len() as u64;
                let sweep = self.under_way(id)?;
                sweep.done += done;
                sweep.deleted += counts.deleted;
                sweep.archived += counts.archived;
                sweep.kept += counts.kept;
                sweep.bytes += counts.bytes;
                if sweep.done >= sweep.total {
                    sweep.phase = sweep.phase.after(Transition::Finish).unwrap_or(sweep.phase);
                }
                self.history.extend(self.stepping.drain(..));
                let surplus = self.history.len().saturating_sub(HISTORY);
                self.history.drain(..surplus);
            }
            Event::Committed { sweep } => {
                let committed = self.finish(sweep, Phase::Committed, time)?;
                self.deleted += committed.deleted;
                self.deleted_bytes += committed.bytes;
            }
            Event::Aborted { sweep } => drop(self.finish(sweep, Phase::Aborted, time)?),
        }
        Ok(())
    }

    pub fn snapshot(&self) -> Vec<u8> {
        let policies = self.rules.set_policies();
        let mut writer = records::weights(Writer::default(), &self.rules.weights).u64(policies.len() as u64);
        for one in policies {
            writer = records::policy(writer, one);
        }
        writer = writer.u64(self.deleted).u64(self.deleted_bytes).u64(self.sweeps.len() as u64);
        for sweep in self.sweeps.values() {
            let place = Phase::ALL.iter().position(|phase| *phase == sweep.phase).unwrap_or(0);
            writer = writer.u64(sweep.id).u64(place as u64).i64(sweep.now).i64(sweep.started);
            writer = writer.value(&sweep.finished.into()).u64(sweep.total).u64(sweep.done);
            writer = writer.u64(sweep.deleted).u64(sweep.archived).u64(sweep.kept).u64(sweep.bytes);
            for ids in [&sweep.trashed, &sweep.moved] {
                writer = ids.iter().fold(writer.u64(ids.len() as u64), |writer, id| writer.bytes(&id.0));
            }
        }
        let history: Vec<&Item> = self.history.iter().collect();
        let stepping: Vec<&Item> = self.stepping.iter().collect();
        for list in [history, stepping] {
            writer = list.iter().fold(writer.u64(list.len() as u64), |writer, one| {
                records::item(writer, one).u64(one.sweep).i64(one.time)
            });
        }
        writer.finish()
    }

    pub fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let mut reader = Reader::new(snapshot);
        let reader = &mut reader;
        *self = Self::default();
        self.rules.weights = records::read_weights(reader)?;
        for _ in 0..reader.u64()? {
            self.rules.set(records::read_policy(reader)?);
        }
        (self.deleted, self.deleted_bytes) = (reader.u64()?, reader.u64()?);
        for _ in 0..reader.u64()? {
            let (id, phase) = (reader.u64()?, reader.u64()?);
            let mut sweep = Sweep::new(id, reader.i64()?, reader.i64()?, 0);
            let phase = usize::try_from(phase).ok().and_then(|place| Phase::ALL.get(place).copied());
            sweep.phase =
                phase.ok_or_else(|| Error::corrupt("a snapshot holds an unknown state of a sweep"))?;
            sweep.finished = crate::artifact::int(&reader.value()?);
            (sweep.total, sweep.done) = (reader.u64()?, reader.u64()?);
            (sweep.deleted, sweep.archived) = (reader.u64()?, reader.u64()?);
            (sweep.kept, sweep.bytes) = (reader.u64()?, reader.u64()?);
            for ids in [&mut sweep.trashed, &mut sweep.moved] {
                for _ in 0..reader.u64()? {
                    ids.insert(records::read_id(reader)?);
                }
            }
            self.sweeps.insert(id, sweep);
        }
        for _ in 0..reader.u64()? {
            self.history.push_back(records::read_kept_item(reader)?);
        }
        for _ in 0..reader.u64()? {
            self.stepping.push(records::read_kept_item(reader)?);
        }
        Ok(())
    }
}

impl Item {
    pub fn row(&self) -> ItemRow {
        ItemRow {
            id: self.id.to_string(),
            name: self.name.clone(),
            decision: self.decision,
            reason: self.reason.clone(),
            policy: self.policy.clone(),
            score: self.score,
            size: self.size,
            sweep: self.sweep,
            time: self.time,
        }
    }
}
