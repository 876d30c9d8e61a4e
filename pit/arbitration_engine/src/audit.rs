//! Every decision with its reason: the newest 10,000, in memory and in the log.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use symphony_pit::Value;

use symphony_pit::named;

const KEPT: usize = 10_000;

named! { Decision {
    Granted = "granted",
    Denied = "denied",
    /// It waits.
    Deferred = "deferred",
    /// It waited as long as its owner would.
    Expired = "expired",
}}

named! { Why {
    Free = "enough is free",
    Turn = "its turn came",
    Equal = "an equal part of what was free",
    Passed = "whoever is next waits for its holder",
    Busy = "not enough is free",
    Behind = "others come first",
    TooMuch = "more than there is",
    UsedUp = "the budget is used up",
    Deadlock = "it would wait for itself",
    Slow = "the wait is estimated too long",
    Late = "it waited too long",
    Withdrawn = "its owner no longer wants it",
    GivenBack = "it was given back",
}}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reason {
    pub why: Why,
    pub detail: String,
}

impl Reason {
    pub const fn new(why: Why, detail: String) -> Self {
        Self { why, detail }
    }
}

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        Self::new(why, String::new())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.name())?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// One decision.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Row {
    pub number: u64,
    /// µs since the epoch.
    pub time: i64,
    /// The number of the decision that made the ticket; none for what was denied at once.
    pub ticket: Option<u64>,
    pub resource: Arc<str>,
    pub owner: Arc<str>,
    pub amount: f64,
    pub priority: i64,
    pub decision: Decision,
    pub reason: Reason,
    /// How many wait, and how many of them come first.
    pub waiting: u32,
    pub position: u32,
}

impl Row {
    pub fn shown(&self) -> Value {
        Value::map([
            ("number", Value::from(self.number)),
            ("time", Value::from(self.time)),
            ("ticket", Value::from(self.ticket)),
            ("resource", Value::from(&*self.resource)),
            ("owner", Value::from(&*self.owner)),
            ("amount", Value::from(self.amount)),
            ("priority", Value::from(self.priority)),
            ("decision", Value::from(self.decision.name())),
            ("reason", Value::from(self.reason.to_string())),
            ("queue_length", Value::from(self.waiting)),
            ("position", Value::from(self.position)),
        ])
    }
}

/// How many decisions there were of each sort; lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub counts: [u64; Decision::ALL.len()],
    pub deadlocks: u64,
}

#[derive(Default)]
pub(crate) struct Audit {
    pub rows: VecDeque<Row>,
    pub last: u64,
    pub tally: Tally,
}

impl Audit {
    pub const fn next(&self) -> u64 {
        self.last + 1
    }

    pub fn push(&mut self, row: Row) {
        self.tally.counts[row.decision as usize] += 1;
        self.tally.deadlocks += u64::from(row.reason.why == Why::Deadlock);
        self.keep(row);
    }

    /// A row that is counted already.
    pub fn keep(&mut self, row: Row) {
        self.last = row.number;
        if self.rows.len() == KEPT {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }

    /// The newest rows after a number, newest first; an empty name is any.
    pub fn find(
        &self,
        resource: &str,
        owner: &str,
        decision: Option<Decision>,
        limit: usize,
        after: u64,
    ) -> Vec<Value> {
        let matches = |row: &&Row| {
            (resource.is_empty() || *row.resource == *resource)
                && (owner.is_empty() || *row.owner == *owner)
                && decision.is_none_or(|decision| row.decision == decision)
        };
        let newer = self.rows.iter().rev().take_while(|row| row.number > after);
        newer.filter(matches).take(limit).map(Row::shown).collect()
    }
}
