//! The method table.
#![expect(clippy::doc_markdown, reason = "what help() shows in Python, which is no Markdown")]

use std::collections::BTreeMap;
use std::sync::Arc;

use symphony_pit::{Error, Result, ToPit, Value, pit_component};

use crate::ledger::{Item, ItemRow};
use crate::manager::{PolicyRow, StaleManager};
use crate::plan::{Decided, Decision, Plan, Totals};
use crate::policy::{Action, Policy};
use crate::score::Weights;
use crate::sweep::{Sweep, SweepRow};

#[derive(ToPit)]
struct DecisionRow {
    id: String,
    name: String,
    decision: Decision,
    reason: String,
    policy: String,
    score: f64,
    size: u64,
}

#[derive(ToPit)]
struct PlanRow {
    now: i64,
    totals: Totals,
    decisions: Vec<DecisionRow>,
}

#[derive(ToPit)]
struct Begun {
    sweep: u64,
    state: crate::sweep::Phase,
    total: u64,
    totals: Totals,
}

#[derive(ToPit)]
struct Emptied {
    deleted: u64,
    bytes: u64,
}

fn row(one: &Decided) -> DecisionRow {
    DecisionRow {
        id: one.id.to_string(),
        name: one.name.to_string(),
        decision: one.decision,
        reason: one.reason.to_string(),
        policy: one.policy.to_string(),
        score: one.score,
        size: one.size,
    }
}

/// A filter by decision; empty takes all.
fn wanted(decision: &str) -> Result<Option<Decision>> {
    Ok(Some(match decision {
        "" => return Ok(None),
        "keep" => Decision::Keep,
        "archive" => Decision::Archive,
        "delete" => Decision::Delete,
        _ => {
            let message = format!("decision: expected keep, archive, delete or nothing, got {decision:?}");
            return Err(Error::invalid(message));
        }
    }))
}

fn plan_row(plan: &Plan, limit: usize, wanted: Option<Decision>) -> PlanRow {
    let decided = plan.decided.iter().filter(|one| wanted.is_none_or(|wanted| one.decision == wanted));
    PlanRow { now: plan.now, totals: plan.totals, decisions: decided.take(limit).map(row).collect() }
}

#[pit_component(
    id = "symphony.stale_manager",
    description = "Decides what is kept: policies, values, sweeps",
    revision = 1,
    calls = ["symphony.artifact_store"]
)]
impl StaleManager {
    /// Do nothing: shows that the component answers.
    #[pit_method]
    #[expect(clippy::unused_self, reason = "every component answers ping, and does nothing")]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Counters: policies, sweeps, decisions, deleted, deleted_bytes, pending.
    #[pit_method]
    fn stats(&self) -> Result<BTreeMap<String, u64>> {
        let counters = self.ledger(|ledger| {
            [
                ("policies", ledger.rules.set_policies().len() as u64),
                ("sweeps", ledger.last_sweep()),
                ("decisions", ledger.history.len() as u64),
                ("deleted", ledger.deleted),
                ("deleted_bytes", ledger.deleted_bytes),
                ("pending", u64::from(ledger.pending().is_some())),
            ]
        });
        Ok(counters.map(|(name, count)| (name.to_owned(), count)).into())
    }

    /// Set a policy, or replace the one of this name. Lasts over restarts.
    ///
    /// Of the policies that are about an artifact the one with the highest priority decides alone (of equal ones the first by
    /// name); an artifact that none is about is kept. rules is a dict. Whom the policy is about: prefix (of one of its
    /// names) and unnamed (bool). What it keeps, whatever else holds: keep_tagged (list of tags) and keep_referenced (bool).
    /// When the rest expires: max_age (seconds since it was stored) and min_accesses (used less often than this); all rules of
    /// one dict must hold, any and all take lists of dicts of max_age, min_accesses, prefix, unnamed, any, all. Besides,
    /// max_total_size (bytes): of what the other rules leave, the lowest value goes first until the rest fits.
    ///
    /// action is what happens to it: delete, or archive to folder, an absolute path (default: a folder of this component).
    /// What is referenced or of high value is never deleted, whatever a policy says.
    #[pit_method]
    fn set_policy(
        &self,
        name: &str,
        rules: BTreeMap<String, Value>,
        #[default(0)] priority: i32,
        #[default("delete")] action: Action,
        #[default("")] folder: &str,
    ) -> Result<()> {
        let folder = if action == Action::Archive { self.folder(folder)? } else { String::new() };
        self.put_policy(Policy::new(name, rules, priority, action, &folder)?)
    }

    /// Remove a policy. Without any, the built-in one holds again.
    #[pit_method]
    fn remove_policy(&self, name: &str) -> Result<()> {
        self.drop_policy(name)
    }

    /// The policies that hold, highest priority first. While none is set that is the built-in one: keep everything but contents
    /// without a name that nothing refers to, older than 30 days.
    #[pit_method]
    fn policies(&self) -> Result<Vec<PolicyRow>> {
        Ok(self.policy_rows())
    }

    /// Set how much each part of an artifact's value weighs. Lasts over restarts.
    ///
    /// The value is the weighted mean of recency (halves every half_life seconds without use), frequency (logarithm of the
    /// accesses, full at 1,023), uniqueness (1 / contents whose name differs only in digits) and the user's mark, which is
    /// left out where there is none. From high_value on an artifact is never deleted; with the default weights a mark of 1
    /// reaches that alone.
    #[pit_method]
    fn set_weights(
        &self,
        #[default(1.0)] recency: f64,
        #[default(2.0)] frequency: f64,
        #[default(1.0)] uniqueness: f64,
        #[default(12.0)] mark: f64,
        #[default(2592000.0)] half_life: f64,
        #[default(0.75)] high_value: f64,
    ) -> Result<()> {
        self.weigh(Weights { recency, frequency, uniqueness, mark, half_life, high_value })
    }

    /// The weights that hold.
    #[pit_method]
    fn weights(&self) -> Result<Weights> {
        Ok(self.ledger(|ledger| ledger.rules.weights))
    }

    /// A dry run: what a sweep would do as of now (µs; default: the present), and why. Changes nothing.
    ///
    /// The totals are over everything; decisions are the first of lowest value, only those of one kind if decision is keep,
    /// archive or delete.
    #[pit_method(blocking)]
    fn plan(
        &self,
        #[default(None)] now: Option<i64>,
        #[default(1000)] limit: usize,
        #[default("")] decision: &str,
    ) -> Result<PlanRow> {
        let wanted = wanted(decision)?;
        Ok(plan_row(&self.make_plan(now)?, limit, wanted))
    }

    /// As plan, on another thread.
    #[pit_method]
    async fn plan_async(
        self: Arc<Self>,
        #[default(None)] now: Option<i64>,
        #[default(1000)] limit: usize,
        #[default("")] decision: String,
    ) -> Result<PlanRow> {
        let host = self.host;
        host.run_blocking(move || self.plan(now, limit, &decision)).await
    }

    /// Plan a sweep and remember it; the steps carry it out. Raises PitConflict while another one is not over.
    #[pit_method(blocking)]
    fn begin_sweep(&self, #[default(None)] now: Option<i64>) -> Result<Begun> {
        let (row, plan) = self.begin(now)?;
        Ok(Begun { sweep: row.sweep, state: row.state, total: row.total, totals: plan.totals })
    }

    /// As begin_sweep, on another thread.
    #[pit_method]
    async fn begin_sweep_async(self: Arc<Self>, #[default(None)] now: Option<i64>) -> Result<Begun> {
        let host = self.host;
        host.run_blocking(move || self.begin_sweep(now)).await
    }

    /// Carry out the next of a sweep's plan: to the trash or the archive. What has been used, tagged or referenced since the
    /// plan stays. Gives the progress; the sweep is stepped once done is total. After an error a step can be repeated.
    #[pit_method(blocking)]
    fn step(&self, sweep: u64, #[default(1000)] batch: usize) -> Result<SweepRow> {
        self.do_step(sweep, batch)
    }

    /// As step, on another thread.
    #[pit_method]
    async fn step_async(self: Arc<Self>, sweep: u64, #[default(1000)] batch: usize) -> Result<SweepRow> {
        let host = self.host;
        host.run_blocking(move || self.step(sweep, batch)).await
    }

    /// Delete for good what a sweep put into the trash; gives how many and how many bytes. The rest of its plan is dropped.
    #[pit_method(blocking)]
    fn commit(&self, sweep: u64) -> Result<Emptied> {
        self.do_commit(sweep).map(|(deleted, bytes)| Emptied { deleted, bytes })
    }

    /// As commit, on another thread.
    #[pit_method]
    async fn commit_async(self: Arc<Self>, sweep: u64) -> Result<Emptied> {
        let host = self.host;
        host.run_blocking(move || self.commit(sweep)).await
    }

    /// Undo a sweep: bring back what it put into the trash and the archive.
    #[pit_method(blocking)]
    fn abort(&self, sweep: u64) -> Result<SweepRow> {
        self.do_abort(sweep)
    }

    /// As abort, on another thread.
    #[pit_method]
    async fn abort_async(self: Arc<Self>, sweep: u64) -> Result<SweepRow> {
        let host = self.host;
        host.run_blocking(move || self.abort(sweep)).await
    }

    /// The sweep that is not over, or None. One of a process that was killed is interrupted: commit or abort it.
    #[pit_method]
    fn pending_sweep(&self) -> Result<Option<SweepRow>> {
        Ok(self.ledger(|ledger| ledger.pending().map(Sweep::row)))
    }

    /// The newest sweeps, newest first; the last 1,000 are remembered.
    #[pit_method]
    fn sweeps(&self, #[default(100)] limit: usize) -> Result<Vec<SweepRow>> {
        Ok(self.ledger(|ledger| ledger.sweeps.values().rev().take(limit).map(Sweep::row).collect()))
    }

    /// What sweeps did, and what they kept of their plan after all, newest first; the last 10,000 are remembered.
    #[pit_method]
    fn decisions(&self, #[default(100)] limit: usize, #[default("")] decision: &str) -> Result<Vec<ItemRow>> {
        let wanted = wanted(decision)?;
        let fits = |item: &&Item| wanted.is_none_or(|wanted| item.decision == wanted);
        Ok(self
            .ledger(|ledger| ledger.history.iter().rev().filter(fits).take(limit).map(Item::row).collect()))
    }

    /// Move an artifact's bytes to another folder (an absolute path; default: a folder of this component).
    #[pit_method(blocking)]
    fn archive(&self, id: &str, #[default("")] folder: &str) -> Result<()> {
        self.store().archive(id, &self.folder(folder)?)
    }

    /// As archive, on another thread.
    #[pit_method]
    async fn archive_async(self: Arc<Self>, id: String, #[default("")] folder: String) -> Result<()> {
        let host = self.host;
        host.run_blocking(move || self.archive(&id, &folder)).await
    }

    /// Bring an archived artifact's bytes back.
    #[pit_method(blocking)]
    fn retrieve(&self, id: &str) -> Result<()> {
        self.store().retrieve(id)
    }

    /// As retrieve, on another thread.
    #[pit_method]
    async fn retrieve_async(self: Arc<Self>, id: String) -> Result<()> {
        let host = self.host;
        host.run_blocking(move || self.retrieve(&id)).await
    }
}
