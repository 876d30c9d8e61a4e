//! The graph of one run: steps, edges, states, and which steps may start. Static, or unfolding as the run goes.
//!
//! A step is a number: the place of its key in the order of first mention. Its dependencies lie side by side; the
//! dependents of a step are chained through the edges, so that either way round costs no allocation per step.

mod analysis;
mod batch;
mod saved;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use symphony_pit::{Error, Result};

use crate::interner::{Interner, NONE};
use crate::retry::Policy;
use crate::states::{StepEvent, StepState};
use symphony_pit::named;

pub(crate) use analysis::{Invalid, Weights};
pub(crate) use batch::{FULL, Plan, Step};

named! {
/// What an edge does when the dependency is not completed: `hard` passes the end on, `soft` goes on, `optional` goes on and
/// does not even wait for a step that is not in the graph.
EdgeKind { Hard = "hard", Soft = "soft", Optional = "optional" }}

#[derive(Clone, Copy)]
struct Edge {
    /// The dependency's number × 4 + the kind.
    word: u32,
    dependent: u32,
    /// The next edge of the same dependency.
    next: u32,
}

const HARD: u32 = EdgeKind::Hard as u32;
const OPTIONAL: u32 = EdgeKind::Optional as u32;

/// Numbers end here: two bits of an edge's word are its kind.
const MOST: u32 = u32::MAX >> 2;

#[derive(Clone, Copy)]
struct Node {
    /// Place in the order of adding; `NONE` while the key was only mentioned.
    place: u32,
    /// Its dependencies: `count` edges from `first` on.
    first: u32,
    count: u32,
    /// Dependencies that it still waits for, while pending.
    unmet: u32,
    /// The newest edge to a dependent.
    dependents: u32,
    name: u32,
    policy: u32,
    priority: i32,
    state: StepState,
    /// Ended without a result that dependents could take.
    hollow: bool,
    /// It was not added but started: the workflow's code decides, and any state may follow.
    unfolded: bool,
}

const MENTIONED: Node = Node {
    place: NONE,
    first: 0,
    count: 0,
    unmet: 0,
    dependents: NONE,
    name: NONE,
    policy: NONE,
    priority: 0,
    state: StepState::Pending,
    hollow: false,
    unfolded: false,
};

impl Default for Node {
    fn default() -> Self {
        MENTIONED
    }
}

impl Node {
    const fn is_there(&self) -> bool {
        self.place != NONE
    }
}

#[derive(Default)]
pub(crate) struct Graph {
    keys: Interner<Node>,
    names: Interner<()>,
    policies: Vec<Policy>,
    edges: Vec<Edge>,
    /// Steps in the order of adding.
    added: Vec<u32>,
    /// Queued steps without a backoff: higher priority first, then the order of adding.
    ready: BTreeSet<(Reverse<i32>, u32)>,
    /// Queued steps that wait for the deadline of their next attempt (µs).
    delayed: BTreeMap<u32, i64>,
    /// Running steps, and since when (µs).
    started: BTreeMap<u32, i64>,
    /// Some step was mentioned before it was added: only then can the order of adding be no order, and a cycle be there.
    forward: bool,
    /// Keys that were added again as something else.
    duplicates: Vec<u32>,
    counts: [u32; StepState::ALL.len()],
    /// The texts up to here stand in records.
    written: batch::Mark,
}

/// What is known of a step but its key and dependencies.
#[derive(Clone, Copy)]
struct Terms {
    name: u32,
    policy: u32,
    priority: i32,
}

impl Graph {
    pub fn len(&self) -> usize {
        self.added.len()
    }

    pub fn edge_count(&self) -> usize {
        self.edges.len()
    }

    pub const fn counts(&self) -> [u32; StepState::ALL.len()] {
        self.counts
    }

    /// Memory that the graph holds.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
            + self.names.bytes()
            + self.edges.capacity() * size_of::<Edge>()
            + self.added.capacity() * 4
            + self.ready.len() * 16
    }

    fn too_large() -> Error {
        Error::invalid("the graph of a run holds at most 2^30 steps and 4 GiB of keys")
    }

    fn number(&mut self, key: &str) -> Result<u32> {
        self.keys.intern(key).filter(|number| *number < MOST).ok_or_else(Self::too_large)
    }

    fn node(&self, number: u32) -> &Node {
        &self.keys[number]
    }

    fn node_mut(&mut self, number: u32) -> &mut Node {
        &mut self.keys[number]
    }

    pub fn find(&self, key: &str) -> Option<u32> {
        self.keys.find(key).filter(|number| self.node(*number).is_there())
    }

    pub fn known(&self, key: &str) -> Result<u32> {
        self.find(key).ok_or_else(|| Error::not_found(format!("no step {key} in the graph")))
    }

    pub fn key(&self, number: u32) -> &str {
        self.keys.get(number)
    }

    /// The name by which durations are learned: the key's, where none was given.
    pub fn name(&self, number: u32) -> &str {
        match self.node(number).name {
            NONE => self.key(number),
            name => self.names.get(name),
        }
    }

    pub fn policy(&self, number: u32) -> Option<&Policy> {
        self.policies.get(self.node(number).policy as usize)
    }

    fn state_at(&self, place: u32) -> StepState {
        self.node(self.added[place as usize]).state
    }

    /// Keys and states in the order of adding.
    pub fn states(&self) -> impl Iterator<Item = (&str, StepState)> {
        self.added.iter().map(|number| (self.key(*number), self.node(*number).state))
    }

    fn dependencies(&self, number: u32) -> &[Edge] {
        let node = self.node(number);
        &self.edges[node.first as usize..][..node.count as usize]
    }

    fn dependents(&self, number: u32) -> impl Iterator<Item = Edge> {
        let mut at = self.node(number).dependents;
        std::iter::from_fn(move || {
            let edge = *self.edges.get(at as usize)?;
            at = edge.next;
            Some(edge)
        })
    }

    /// Put a step in. Its key has a node and is not there yet.
    fn add(&mut self, number: u32, terms: Terms, words: impl Iterator<Item = u32>) -> Result<()> {
        self.link(number, terms, words)?;
        self.await_dependencies(number);
        Ok(())
    }

    fn link(&mut self, number: u32, terms: Terms, words: impl Iterator<Item = u32>) -> Result<()> {
        let first = u32::try_from(self.edges.len()).map_err(|_| Self::too_large())?;
        for word in words {
            let at =
                u32::try_from(self.edges.len()).ok().filter(|at| *at < NONE).ok_or_else(Self::too_large)?;
            let dependency = &mut self.keys[word >> 2];
            self.edges.push(Edge { word, dependent: number, next: dependency.dependents });
            dependency.dependents = at;
        }
        let place = u32::try_from(self.added.len()).map_err(|_| Self::too_large())?;
        self.added.push(number);
        let count = u32::try_from(self.edges.len()).map_err(|_| Self::too_large())? - first;
        let node = self.node_mut(number);
        let awaited = node.dependents != NONE;
        *node = Node {
            place,
            first,
            count,
            name: terms.name,
            policy: terms.policy,
            priority: terms.priority,
            dependents: node.dependents,
            ..MENTIONED
        };
        self.counts[StepState::Pending as usize] += 1;
        if awaited {
            self.forward = true;
            self.block_dependents(number);
        }
        Ok(())
    }

    /// Those who would wait for this step if it were there do so from now on.
    fn block_dependents(&mut self, number: u32) {
        let blocked: Vec<u32> = self
            .dependents(number)
            .filter(|edge| edge.word & 3 == OPTIONAL)
            .map(|edge| edge.dependent)
            .filter(|dependent| matches!(self.node(*dependent).state, StepState::Pending | StepState::Queued))
            .collect();
        for dependent in blocked {
            if self.node(dependent).state == StepState::Queued {
                self.enter(dependent, StepState::Pending);
            }
            self.node_mut(dependent).unmet = self.outlook(dependent).0;
        }
    }

    /// How many dependencies a pending step still waits for, and how it ends if it cannot run any more.
    fn outlook(&self, number: u32) -> (u32, Option<StepState>) {
        let mut unmet = 0;
        for edge in self.dependencies(number) {
            let dependency = self.node(edge.word >> 2);
            let kind = edge.word & 3;
            if !dependency.is_there() {
                unmet += u32::from(kind != OPTIONAL);
            } else if !dependency.state.is_final() {
                unmet += 1;
            } else if kind == HARD && dependency.hollow {
                return (0, Some(inherited(dependency.state)));
            }
        }
        (unmet, None)
    }

    fn await_dependencies(&mut self, number: u32) {
        match self.outlook(number) {
            (_, Some(end)) => self.end(number, end, true),
            (0, None) => self.enter(number, StepState::Queued),
            (unmet, None) => self.node_mut(number).unmet = unmet,
        }
    }

    /// Set a state, and keep the sets that follow from states.
    fn enter(&mut self, number: u32, state: StepState) {
        let node = self.node_mut(number);
        let slot = (Reverse(node.priority), node.place);
        let before = std::mem::replace(&mut node.state, state);
        self.counts[before as usize] -= 1;
        self.counts[state as usize] += 1;
        match before {
            StepState::Queued => drop(self.ready.remove(&slot)),
            StepState::Running => drop(self.started.remove(&number)),
            _ => {}
        }
        match state {
            StepState::Queued if !self.delayed.contains_key(&number) => drop(self.ready.insert(slot)),
            StepState::Queued | StepState::Pending => {}
            _ => drop(self.delayed.remove(&number)),
        }
    }

    /// A step ends; what waits for it goes on, or ends with it.
    fn end(&mut self, number: u32, state: StepState, hollow: bool) {
        let mut ended = vec![(number, state, hollow)];
        while let Some((number, state, hollow)) = ended.pop() {
            if self.node(number).state.is_final() {
                continue; // reached in two ways
            }
            self.enter(number, state);
            self.node_mut(number).hollow = hollow;
            let mut at = self.node(number).dependents;
            while let Some(edge) = self.edges.get(at as usize).copied() {
                at = edge.next;
                let dependent = self.node_mut(edge.dependent);
                if !dependent.is_there() || dependent.state != StepState::Pending {
                    continue;
                }
                if edge.word & 3 == HARD && hollow {
                    ended.push((edge.dependent, inherited(state), true));
                    continue;
                }
                dependent.unmet = dependent.unmet.saturating_sub(1);
                if dependent.unmet == 0 {
                    self.enter(edge.dependent, StepState::Queued);
                }
            }
        }
    }

    /// Whether the event may happen to the step; one that unfolded is what the workflow's code says.
    pub fn check(&self, number: u32, event: StepEvent) -> Result<()> {
        let node = self.node(number);
        if node.unfolded { Ok(()) } else { node.state.checked(self.key(number), event).map(drop) }
    }

    /// Apply an event that was checked. Gives the time since when the step ran, if it did.
    #[expect(clippy::match_same_arms, reason = "one line an event")]
    pub fn happen(&mut self, number: u32, event: StepEvent, time: i64) -> Option<i64> {
        let ran = self.started.get(&number).copied();
        if event != StepEvent::Reset {
            self.reopen(number); // a step that unfolded may start or end once more: what was said last counts
        }
        match event {
            StepEvent::Ready => self.enter(number, StepState::Queued),
            StepEvent::Block => self.enter(number, StepState::Pending),
            StepEvent::Start => {
                self.enter(number, StepState::Running);
                self.started.insert(number, time);
            }
            StepEvent::Retry => self.enter(number, StepState::Queued),
            StepEvent::Complete | StepEvent::Reuse => self.end(number, StepState::Completed, false),
            StepEvent::Fail => self.end(number, StepState::Failed, true),
            StepEvent::Skip => self.end(number, StepState::Skipped, false),
            StepEvent::Cancel => self.end(number, StepState::Cancelled, true),
            StepEvent::Reset => self.reset(number),
        }
        ran
    }

    /// A step that has ended has not: those who still wait for others wait for it once more.
    fn reopen(&mut self, number: u32) {
        if !self.node(number).state.is_final() {
            return;
        }
        self.enter(number, StepState::Pending);
        self.node_mut(number).hollow = false;
        let waiting: Vec<u32> = self.dependents(number).map(|edge| edge.dependent).collect();
        for dependent in waiting {
            if self.node(dependent).is_there() && self.node(dependent).state == StepState::Pending {
                self.node_mut(dependent).unmet = self.outlook(dependent).0;
            }
        }
    }

    /// An attempt failed: the step may start again from `retry_at` on.
    pub fn retry(&mut self, number: u32, retry_at: i64) {
        self.reopen(number);
        self.delayed.insert(number, retry_at);
        self.enter(number, StepState::Queued);
    }

    /// The step and all that ended with it wait again.
    fn reset(&mut self, number: u32) {
        let mut again = vec![number];
        let mut waiting = Vec::new();
        while let Some(number) = again.pop() {
            let node = self.node(number);
            if node.unfolded && node.state == StepState::Running {
                self.enter(number, StepState::Queued); // a death interrupted it
            }
            if !self.node(number).state.is_final() {
                continue;
            }
            waiting.push(number);
            let inherited = |edge: &Edge| {
                let dependent = self.node(edge.dependent);
                edge.word & 3 == HARD
                    && dependent.hollow
                    && matches!(dependent.state, StepState::Skipped | StepState::Cancelled)
            };
            again.extend(self.dependents(number).filter(inherited).map(|edge| edge.dependent));
            self.reopen(number);
        }
        for number in waiting {
            self.await_dependencies(number);
        }
    }

    /// A step that the workflow's code starts without having added it.
    pub fn unfold(&mut self, key: &str, name: &str, dependencies: &[&str], time: i64) -> Result<()> {
        let number = self.number(key)?;
        let words: Vec<u32> =
            dependencies.iter().map(|key| Ok(self.number(key)? << 2 | HARD)).collect::<Result<_>>()?;
        let name =
            if name.is_empty() { NONE } else { self.names.intern(name).ok_or_else(Self::too_large)? };
        self.settle_texts();
        if !self.node(number).is_there() {
            self.link(number, Terms { name, policy: NONE, priority: 0 }, words.into_iter())?;
            self.node_mut(number).unfolded = true;
        }
        self.happen(number, StepEvent::Start, time);
        Ok(())
    }

    /// End every step that has not started.
    pub fn cancel_waiting(&mut self) {
        for at in 0..self.added.len() {
            let number = self.added[at];
            if matches!(self.node(number).state, StepState::Pending | StepState::Queued) {
                self.end(number, StepState::Cancelled, true);
            }
        }
    }

    /// The steps that may start at `now`, at most `limit`.
    pub fn ready(&self, limit: usize, now: i64) -> Vec<u32> {
        let slot = |number: &u32| (Reverse(self.node(*number).priority), self.node(*number).place);
        let due = self.delayed.iter().filter(|(_, at)| **at <= now).map(|(number, _)| slot(number));
        let mut due: Vec<_> = due.filter(|(_, place)| self.state_at(*place) == StepState::Queued).collect();
        due.sort_unstable();
        let (mut plain, mut due) = (self.ready.iter().copied().peekable(), due.into_iter().peekable());
        let merged = std::iter::from_fn(|| match (plain.peek(), due.peek()) {
            (Some(one), Some(other)) if one > other => due.next(),
            (None, _) => due.next(),
            _ => plain.next(),
        });
        merged.take(limit).map(|(_, place)| self.added[place as usize]).collect()
    }

    /// Running steps whose time is over at `now`, with their deadline (µs), earliest first.
    pub fn expired(&self, now: i64) -> Vec<(i64, u32)> {
        let deadline = |(number, started): (&u32, &i64)| {
            let timeout = self.policy(*number)?.timeout?;
            let deadline = started.saturating_add(crate::retry::micros(timeout));
            (deadline <= now).then_some((deadline, *number))
        };
        let mut expired: Vec<_> = self.started.iter().filter_map(deadline).collect();
        expired.sort_unstable();
        expired
    }
}

/// How a step ends whose hard dependency ended without a result.
const fn inherited(dependency: StepState) -> StepState {
    match dependency {
        StepState::Cancelled => StepState::Cancelled,
        _ => StepState::Skipped,
    }
}
