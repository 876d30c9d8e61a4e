//! All models, who has them, who waits for them, and what of that lasts.

use std::collections::BTreeMap;
use std::task::Waker;

use symphony_pit::{Error, ErrorKind, Result};

use crate::leases::{Lease, Leases};
use crate::model::{Model, ModelState, Registration, Usage};
use crate::records::{Event, Limits};
use crate::waiting::Waiters;

#[derive(Default)]
pub(crate) struct State {
    pub models: Vec<Model>,
    by_name: BTreeMap<String, usize>,
    pub leases: Leases,
    pub waiters: Waiters,
    pub limits: Limits,
    /// Cost since the budget was set back.
    pub spent: f64,
    pub sequence: u64,
    /// Models that are wanted ahead of their use, while they are cold.
    pub ahead: Vec<usize>,
}

/// What is done after the lock is given back.
#[derive(Default)]
pub(crate) struct After {
    pub wakers: Vec<Waker>,
    /// Callout and model.
    pub asks: Vec<(&'static str, usize, String)>,
}

impl State {
    #[inline]
    pub fn index(&self, name: &str) -> Result<usize> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            Error::not_found(format!("no model {name:?}")).with("known models", known.join(", "))
        })
    }

    pub fn named(&mut self, name: &str) -> Result<&mut Model> {
        let index = self.index(name)?;
        Ok(&mut self.models[index])
    }

    /// The model that serves for `name`: itself, or while it is failed its backup.
    #[inline]
    pub fn serving(&self, name: &str) -> Result<usize> {
        let mut index = self.index(name)?;
        for _ in 0..self.models.len() {
            let model = &self.models[index];
            if model.state != ModelState::Failed {
                return Ok(index);
            }
            let backup = &model.registration.backup;
            if backup.is_empty() {
                return Err(
                    Error::conflict(format!("model {} failed", model.name)).with("reason", &model.reason)
                );
            }
            index = self.index(backup)?;
        }
        Err(Error::conflict(format!("model {name} failed, and so did all its backups")))
    }

    pub fn register(&mut self, name: &str, registration: Registration) {
        if let Some(&index) = self.by_name.get(name) {
            self.models[index].registration = registration;
        } else {
            self.by_name.insert(name.to_owned(), self.models.len());
            self.models.push(Model::new(name, registration));
        }
    }

    /// What lasts, as it was recorded.
    pub fn apply(&mut self, event: Event<'_>) {
        match event {
            Event::Registered { model, registration } => self.register(model, registration),
            // Its place stays, so that indices hold; a model of that name would be a new one.
            Event::Unregistered { model } => {
                if let Some(index) = self.by_name.remove(model) {
                    self.models[index].unrecorded = Usage::default();
                }
            }
            Event::Limited(limits) => self.limits = limits,
            Event::Used { model, usage } => {
                self.spent += usage.cost;
                if let Some(&index) = self.by_name.get(model) {
                    self.models[index].count(usage);
                    self.models[index].unrecorded = Usage::default();
                }
            }
            Event::BudgetReset => self.spent = 0.0,
        }
    }

    /// Registered models in the order of their names.
    pub fn registered(&self) -> Vec<(usize, &Model)> {
        self.by_name.values().map(|&index| (index, &self.models[index])).collect()
    }

    #[inline]
    pub fn check_slots(&self, index: usize, slots: u32) -> Result<()> {
        let limit = self.models[index].registration.instances;
        if (1..=limit).contains(&slots) {
            return Ok(());
        }
        Err(Error::invalid(format!("slots: expected 1 to {limit}, got {slots}")))
    }

    #[inline]
    pub fn check_budget(&self) -> Result<()> {
        match self.limits.budget {
            Some(budget) if self.spent >= budget => {
                let message = format!("the budget of {budget} is used up: {} was spent", self.spent);
                Err(Error::new(ErrorKind::Exhausted, message))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    pub fn grant(&mut self, index: usize, slots: u32) -> i64 {
        self.sequence += 1;
        let model = &mut self.models[index];
        model.leased += slots;
        model.last_use = self.sequence;
        model.unload_asked = false; // it is used again before the engine came to unload it
        if std::mem::take(&mut model.prewarmed) {
            model.metrics.cold_starts_avoided += 1;
        }
        self.leases.give(Lease { model: index, slots })
    }

    /// Something became free: those who wait look again.
    #[inline]
    pub fn wake_next(&self, index: usize, after: &mut After) {
        after.wakers.extend(self.waiters.first(index));
        if self.limits.memory.is_some() {
            let others = self.waiters.models().filter(|&other| other != index);
            after.wakers.extend(others.filter_map(|other| self.waiters.first(other)));
        }
    }

    /// Terms or limits changed: what is too much goes, and everyone who waits looks at them anew.
    pub fn settle(&mut self, now: i64, after: &mut After) {
        self.shrink(now, after);
        self.load_ahead(|| now, after);
        after.wakers.extend(self.waiters.models().flat_map(|index| self.waiters.all(index)));
    }
}
