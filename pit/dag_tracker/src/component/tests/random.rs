//! Random calls, legal and not: a replay of the records, a snapshot with the records behind it, and the live state are one.

use super::*;

/// A small generator, so that a seed names its sequence.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.roll(choices.len() as u64)).unwrap()]
    }

    fn key(&mut self) -> &'static str {
        self.one_of(&["a", "b", "c", "d", "e", "f", "g", "h"])
    }

    fn needs(&mut self) -> Value {
        let edge = |dice: &mut Self| {
            let key = dice.one_of(&["a", "b", "c", "d", "e", "f", "g", "h", "rare", "never"]);
            match dice.one_of(&["plain", "hard", "soft", "optional"]) {
                "plain" => key.into(),
                kind => Value::List(vec![key.into(), kind.into()]),
            }
        };
        Value::List((0..self.roll(4)).map(|_| edge(self)).collect())
    }

    fn policy(&mut self) -> Value {
        if self.roll(2) == 0 {
            return Value::None;
        }
        Value::map([
            ("max_attempts", Value::UInt(1 + self.roll(3))),
            ("backoff", self.one_of(&["constant", "linear", "exponential"]).into()),
            ("jitter", Value::Float(0.25)),
            ("timeout", Value::Float(5.0)),
        ])
    }

    fn step(&mut self) -> Value {
        Value::map([
            ("key", self.key().into()),
            ("name", self.one_of(&["", "load", "work"]).into()),
            ("dependencies", self.needs()),
            ("priority", Value::UInt(self.roll(3))),
            ("policy", self.policy()),
        ])
    }

    /// One call of any kind, with arguments that may fit the state or not.
    fn call(&mut self, host: &TestHost, tracker: &DagTracker, run: &str) -> Result<()> {
        let key = self.key();
        let attempt = 1 + u32::try_from(self.roll(2)).unwrap();
        match self.roll(26) {
            0..3 => {
                let (needs, policy, name) = (self.needs(), self.policy(), self.one_of(&["", "work"]));
                needs.with_ref(|needs| {
                    policy.with_ref(|policy| {
                        let policy = (!policy.is_none()).then_some(policy);
                        tracker.add_step(run, key, name, Some(needs), 1, policy).map(drop)
                    })
                })
            }
            3..5 => {
                let steps = (0..self.roll(4)).map(|_| self.step()).collect();
                Value::List(steps).with_ref(|steps| tracker.add_many(run, steps)).map(drop)
            }
            5..9 => match tracker.ready(run, None)?.first() {
                Some(ready) => tracker.start_step(run, ready, "", attempt, vec![]),
                None => tracker.start_step(run, key, "work", attempt, vec![]),
            },
            9 => tracker.start_step(run, key, self.one_of(&["", "code"]), attempt, vec![self.key(), "rare"]),
            10 => tracker.start_step(run, self.one_of(&["x", "y"]), "code", attempt, vec![self.key()]),
            11..16 => {
                let running = tracker.tracker.read(run, |run| {
                    let steps = run.graph.states().filter(|(_, state)| *state == StepState::Running);
                    steps.map(|(key, _)| key.to_owned()).next()
                })?;
                let state = [0, 0, 1, 2, 3][usize::try_from(self.roll(5)).unwrap()];
                let key = running.filter(|_| state != 2).unwrap_or_else(|| key.to_owned());
                tracker.finish_step(run, &key, "work", b"f", state, b"=").map(drop)
            }
            16 => {
                let row = |key, state| (key, "work", b"f".as_slice(), state, b"=2".as_slice());
                let second = self.one_of(&["a", "x", "y", "rare"]);
                tracker.finish_many(run, vec![row(key, 0), row(second, 1)]).map(drop)
            }
            17 => tracker.fail_attempt(
                run,
                self.one_of(&[key, "x"]),
                attempt,
                "boom",
                host.host().now() + SECOND,
            ),
            18 => tracker.decide_retry(run, key, attempt, "error", None, "").map(drop),
            19 => tracker.retry_step(run, self.one_of(&[key, "x"])).map(drop),
            20 => match self.roll(2) {
                0 => tracker.skip_step(run, key).map(drop),
                _ => tracker.cancel_step(run, key).map(drop),
            },
            21 => match self.roll(2) {
                0 => tracker.pause(run, "").map(drop),
                _ => tracker.resume(run).map(drop),
            },
            22 => tracker.wait_for_input(run, self.one_of(&["p", "q"]), "?").map(drop),
            23 => tracker.provide_input(run, self.one_of(&["p", "q"]), b"=").map(drop),
            24 => tracker.fire_timer(run, "t", host.host().now() + SECOND / 2).map(drop),
            _ => match self.roll(14) {
                0 => tracker.cancel(run).map(drop),
                2 | 3 => tracker.forget_runs(vec![run, "other"]).map(drop),
                1 => tracker.finish_run(run, self.one_of(&["completed", "failed"]), b"=").map(drop),
                _ => tracker.command(run, "note").map(drop),
            },
        }
    }
}

/// Apply the records from `from` on, as after a restart.
fn catch_up(host: &TestHost, tracker: &DagTracker, from: usize) {
    for record in &host.records()[from..] {
        let (time, kind, revision, payload) = (record.time, record.kind, record.revision, &record.payload);
        tracker.replay(&Record { position: 0, time, kind, revision, payload }).unwrap();
    }
}

#[test]
fn whatever_happens_replay_and_snapshot_are_the_live_state() {
    let mut refused = 0;
    for seed in 0..15 {
        let mut dice = Dice(seed);
        let host = TestHost::new(std::path::Path::new(""));
        let new = || DagTracker::create(host.host()).unwrap();
        let (live, replayed, mut restored) = (new(), new(), new());
        for number in 0..120 {
            let run = ["r", "other"][usize::from(dice.roll(8) == 0)];
            let (before, records) = (saved(&live), host.records().len());
            host.set_now(host.host().now() + i64::try_from(dice.roll(900_000)).unwrap() - 100_000);
            host.set_full(dice.roll(20) == 0);
            let accepted = live.accept_run(run, b"{}", b"=");
            let told = accepted.and_then(|_| dice.call(&host, &live, run));
            host.set_full(false);
            let place = format!("seed {seed}, call {number}");
            if told.is_err() && records == host.records().len() {
                assert!(saved(&live) == before, "{place}: {told:?} changed something");
                refused += 1;
            }
            if dice.roll(10) == 0 {
                restored = new();
                restored.restore(&saved(&live)).unwrap();
            } else {
                catch_up(&host, &restored, records);
            }
            catch_up(&host, &replayed, records);
            for (what, other) in [("replay", &replayed), ("snapshot", &restored)] {
                assert_eq!(view(other, run), view(&live, run), "{place}: {what} after {told:?}");
                assert!(saved(other) == saved(&live), "{place}: {what} after {told:?}");
            }
            for run in live.tracker.state().runs.values() {
                run.graph.check_counters(&place);
            }
        }
    }
    assert!(refused > 200, "calls that do not fit are among them: {refused}");
}
