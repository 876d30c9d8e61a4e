//! The component: plans by asking the store, and carries them out step by step. The store is never called under the lock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symphony_pit::{Component, Error, Host, Level, Record, Result, ToPit, Value};

use crate::artifact::{Artifact, Id};
use crate::ledger::{Counts, Item, Ledger};
use crate::plan::{Decided, Decision, Plan, Planner};
use crate::policy::{Action, Judgement, MAX_NAME, Policy, judge};
use crate::records::{Event, REVISION};
use crate::score::Weights;
use crate::store::Store;
use crate::sweep::{SweepRow, Transition};

/// Decisions of one record: about 850 bytes each at most, in a record of at most 1 MiB.
const LOT: usize = 1_000;
const MAX_BATCH: usize = 100_000;

/// See the module documentation of the crate.
pub(crate) struct StaleManager {
    pub host: Host,
    store: Store,
    /// A begin, step, commit or abort is under way.
    busy: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    /// What the running sweep does, in the order of the ids.
    queue: Arc<Vec<Decided>>,
}

#[derive(Clone, PartialEq, Debug, ToPit)]
pub(crate) struct PolicyRow {
    pub name: String,
    pub rules: BTreeMap<String, Value>,
    pub priority: i32,
    pub action: Action,
    pub folder: String,
    pub built_in: bool,
}

struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Names and reasons that a record has room for.
fn clip(text: &str) -> String {
    let mut end = MAX_NAME.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl StaleManager {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.state().ledger)
    }

    fn record(&self, state: &mut State, event: Event) -> Result<()> {
        let now = self.host.now();
        self.host.append(event.kind(), REVISION, now, &event.encode())?;
        state.ledger.apply(now, event)
    }

    /// One at a time: two sweeps that mix would not know whose trash is whose.
    fn busy(&self) -> Result<Busy<'_>> {
        match self.busy.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok(Busy(&self.busy)),
            Err(_) => Err(Error::conflict("a sweep is being worked on by another call")),
        }
    }

    pub fn put_policy(&self, policy: Policy) -> Result<()> {
        self.record(&mut self.state(), Event::PolicySet(policy))
    }

    /// Where a policy archives to, if it says nothing else.
    pub fn folder(&self, folder: &str) -> Result<String> {
        if folder.is_empty() {
            return Ok(Path::new(self.host.data_dir()).join("archive").to_string_lossy().into_owned());
        }
        if Path::new(folder).is_absolute() {
            return Ok(folder.to_owned());
        }
        Err(Error::invalid(format!("folder: expected an absolute path, got {folder:?}")))
    }

    pub fn drop_policy(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        if !state.ledger.rules.set_policies().iter().any(|policy| policy.name == name) {
            return Err(Error::not_found(format!("no policy {name}")));
        }
        self.record(&mut state, Event::PolicyRemoved(name.to_owned()))
    }

    pub fn policy_rows(&self) -> Vec<PolicyRow> {
        let (policies, built_in) =
            self.ledger(|ledger| (ledger.rules.in_force(), ledger.rules.set_policies().is_empty()));
        let row = |policy: Policy| PolicyRow {
            name: policy.name,
            rules: policy.rules,
            priority: policy.priority,
            action: policy.action,
            folder: policy.folder,
            built_in,
        };
        policies.into_iter().map(row).collect()
    }

    pub fn weigh(&self, weights: Weights) -> Result<()> {
        self.record(&mut self.state(), Event::Weighed(weights.check()?))
    }

    /// Decide on everything as of a time, and change nothing.
    pub fn make_plan(&self, now: Option<i64>) -> Result<Plan> {
        let (policies, weights) = self.ledger(|ledger| (ledger.rules.in_force(), ledger.rules.weights));
        let mut planner = Planner::new(policies, weights, now.unwrap_or_else(|| self.host.now()));
        self.store.each(|artifact| planner.add(artifact))?;
        Ok(planner.finish())
    }

    pub fn begin(&self, now: Option<i64>) -> Result<(SweepRow, Plan)> {
        let _busy = self.busy()?;
        if let Some(pending) = self.ledger(|ledger| ledger.pending().map(|sweep| sweep.id)) {
            return Err(Error::conflict(format!("sweep {pending} is not over: commit or abort it first")));
        }
        let plan = self.make_plan(now)?;
        let mut queue: Vec<Decided> =
            plan.decided.iter().filter(|one| one.decision != Decision::Keep).cloned().collect();
        queue.sort_unstable_by_key(|one| one.id);
        let mut state = self.state();
        let sweep = state.ledger.last_sweep() + 1;
        self.record(&mut state, Event::Begun { sweep, now: plan.now, total: queue.len() as u64 })?;
        state.queue = Arc::new(queue);
        let row = state.ledger.sweep(sweep)?.row();
        Ok((row, plan))
    }

    pub fn do_step(&self, sweep: u64, batch: usize) -> Result<SweepRow> {
        if batch == 0 || batch > MAX_BATCH {
            return Err(Error::invalid(format!("batch: expected 1 to {MAX_BATCH}, got {batch}")));
        }
        let _busy = self.busy()?;
        let (queue, done, now) = {
            let state = self.state();
            let found = state.ledger.sweep(sweep)?;
            found.next(Transition::Step)?;
            let done = usize::try_from(found.done).unwrap_or(usize::MAX);
            (Arc::clone(&state.queue), done, found.now)
        };
        let end = done.saturating_add(batch).min(queue.len());
        for lot in queue.get(done..end).unwrap_or_default().chunks(LOT) {
            self.work_off(sweep, now, lot)?;
        }
        self.ledger(|ledger| ledger.sweep(sweep).map(crate::sweep::Sweep::row))
    }

    fn work_off(&self, sweep: u64, now: i64, lot: &[Decided]) -> Result<()> {
        let items = self.look_again(now, lot)?;
        self.record(&mut self.state(), Event::Stepping { sweep, items: items.clone() })?;
        let mut counts = Counts::default();
        let mut trash: BTreeMap<(&str, &str), Vec<&Item>> = BTreeMap::new();
        for (item, planned) in items.iter().zip(lot) {
            match item.decision {
                Decision::Keep => counts.kept += 1,
                Decision::Delete => trash.entry((&item.policy, &item.reason)).or_default().push(item),
                Decision::Archive => {
                    self.store.archive(&item.id.to_string(), &self.folder_of(&planned.policy)?)?;
                    counts.archived += 1;
                }
            }
        }
        for ((policy, reason), items) in trash {
            let ids: Vec<Id> = items.iter().map(|item| item.id).collect();
            counts.deleted += self.store.trash(&ids, &format!("{policy}: {reason}"))?;
            counts.bytes += items.iter().map(|item| item.size).sum::<u64>();
        }
        self.record(&mut self.state(), Event::Stepped { sweep, counts })
    }

    fn folder_of(&self, policy: &str) -> Result<String> {
        let folder = self.ledger(|ledger| {
            let policies = ledger.rules.set_policies().iter();
            policies.filter(|known| known.name == policy).map(|known| known.folder.clone()).next()
        });
        self.folder(&folder.unwrap_or_default())
    }

    /// What was planned may have been used, tagged or referenced since, and the policies changed: then it stays.
    fn look_again(&self, now: i64, lot: &[Decided]) -> Result<Vec<Item>> {
        let (policies, weights) = self.ledger(|ledger| (ledger.rules.in_force(), ledger.rules.weights));
        let mut page: std::vec::IntoIter<Artifact> = Vec::new().into_iter();
        let mut upcoming: Option<Artifact> = None;
        let mut items = Vec::with_capacity(lot.len());
        for planned in lot {
            while upcoming.as_ref().is_some_and(|artifact| artifact.id < planned.id) {
                upcoming = page.next();
            }
            if upcoming.is_none() {
                page = self.store.inventory(&planned.id.before(), lot.len())?.into_iter();
                upcoming = page.next();
            }
            let artifact = upcoming.as_ref().filter(|artifact| artifact.id == planned.id);
            let kept = artifact.map_or(Some("gone since the plan"), |artifact| {
                spared(&policies, &weights, now, planned, artifact)
            });
            items.push(Item {
                id: planned.id,
                decision: if kept.is_some() { Decision::Keep } else { planned.decision },
                score: planned.score,
                size: planned.size,
                name: clip(&planned.name),
                policy: planned.policy.to_string(),
                reason: kept.map_or_else(|| clip(&planned.reason), str::to_owned),
                sweep: 0,
                time: 0,
            });
        }
        Ok(items)
    }

    pub fn do_commit(&self, sweep: u64) -> Result<(u64, u64)> {
        let _busy = self.busy()?;
        let trashed = self.ids(sweep, Transition::Commit)?.0;
        let emptied = self.store.commit_trash(&trashed)?;
        self.end(Event::Committed { sweep })?;
        Ok(emptied)
    }

    pub fn do_abort(&self, sweep: u64) -> Result<SweepRow> {
        let _busy = self.busy()?;
        let (trashed, moved) = self.ids(sweep, Transition::Abort)?;
        self.store.restore(&trashed)?;
        for id in moved {
            if self.is_archived(id)? {
                self.store.retrieve(&id.to_string())?;
            }
        }
        self.end(Event::Aborted { sweep })?;
        self.ledger(|ledger| ledger.sweep(sweep).map(crate::sweep::Sweep::row))
    }

    fn is_archived(&self, id: Id) -> Result<bool> {
        let found = self.store.inventory(&id.before(), 1)?;
        Ok(found.first().is_some_and(|artifact| artifact.id == id && artifact.archived))
    }

    fn ids(&self, sweep: u64, transition: Transition) -> Result<(Vec<Id>, Vec<Id>)> {
        self.ledger(|ledger| {
            let found = ledger.sweep(sweep)?;
            found.next(transition)?;
            Ok((found.trashed.iter().copied().collect(), found.moved.iter().copied().collect()))
        })
    }

    fn end(&self, event: Event) -> Result<()> {
        let mut state = self.state();
        self.record(&mut state, event)?;
        state.queue = Arc::default();
        Ok(())
    }

    pub const fn store(&self) -> &Store {
        &self.store
    }
}

/// Why a planned archive or delete does not happen after all.
fn spared(
    policies: &[Policy],
    weights: &Weights,
    now: i64,
    planned: &Decided,
    artifact: &Artifact,
) -> Option<&'static str> {
    if artifact.last_access > now {
        return Some("used since the plan");
    }
    let (index, judgement) = judge(policies, artifact, now);
    let policy = index.map(|index| &policies[index]);
    let Some(policy) = policy.filter(|policy| *policy.name == *planned.policy) else {
        return Some("another policy decides now");
    };
    let score = weights.complete(weights.partial(artifact, now), planned.uniqueness);
    let still = match judgement {
        Judgement::Kept(_) => false,
        Judgement::Expired(_) => true,
        Judgement::Open => planned.by_size && policy.max_total_size.is_some(),
    };
    if !still || policy.keeps_by_value(score, weights) || Decision::from(policy.action) != planned.decision {
        return Some("a rule keeps it now");
    }
    None
}

impl Component for StaleManager {
    fn create(host: Host) -> Result<Self> {
        let busy = AtomicBool::new(false);
        Ok(Self { host, store: Store::new(host), busy, state: Mutex::default() })
    }

    fn restore(&self, snapshot: &[u8]) -> Result<()> {
        self.state().ledger.restore(snapshot)
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        self.state().ledger.apply(record.time, Event::decode(record)?)
    }

    fn start(&self) -> Result<()> {
        let mut state = self.state();
        state.ledger.interrupt();
        if let Some(sweep) = state.ledger.pending() {
            let text =
                format!("sweep {} was interrupted: abort it to restore its trash, or commit it", sweep.id);
            self.host.log(Level::Warning, &text);
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(self.ledger(Ledger::snapshot)))
    }
}
