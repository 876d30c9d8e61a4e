#![allow(clippy::float_cmp)] // small whole numbers

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use symphony_pit::ErrorKind;
use symphony_pit::testing::TestHost;

use super::*;

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Waiting = Pin<Box<dyn Future<Output = Result<i64>> + Send>>;

fn pool() -> (TestHost, Arc<PoolManager>) {
    let host = TestHost::new(std::path::Path::new(""));
    (host, Arc::new(PoolManager::create(host.host()).unwrap()))
}

fn register(pool: &PoolManager, model: &str, memory: u64, instances: u32) {
    pool.register(model, "test", memory, instances, 0.0, "", 0.0, 3).unwrap();
}

fn heat(pool: &PoolManager, model: &str) {
    assert!(pool.warm(model).unwrap());
    pool.warmed(model, 0.5).unwrap();
}

fn wait(pool: &Arc<PoolManager>, model: &str, timeout: Option<f64>, priority: i64) -> Waiting {
    Box::pin(Arc::clone(pool).acquire_async(model.to_owned(), timeout, priority, 1))
}

fn poll(waiting: &mut Waiting) -> Poll<Result<i64>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn ready(waiting: &mut Waiting) -> Result<i64> {
    match poll(waiting) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("still waiting"),
    }
}

fn asked(host: &TestHost) -> Vec<String> {
    let asks = host.callouts().into_iter();
    asks.map(|(name, args)| format!("{name} {}", if let Value::Str(text) = &args[0] { text } else { "" }))
        .collect()
}

fn state(pool: &PoolManager, model: &str) -> &'static str {
    pool.pool.lock().named(model).unwrap().state.name()
}

#[test]
fn a_cold_model_is_asked_for_once_and_all_who_wait_are_served() {
    let (host, pool) = pool();
    register(&pool, "m", 0, 2);
    let (mut one, mut two) = (wait(&pool, "m", None, 0), wait(&pool, "m", None, 0));
    assert!(poll(&mut one).is_pending() && poll(&mut two).is_pending());
    assert_eq!(asked(&host), ["model.load m"]);
    heat(&pool, "m");
    let (first, second) = (ready(&mut one).unwrap(), ready(&mut two).unwrap());
    assert_ne!(first, second);
    assert_eq!(pool.try_acquire("m", 1), Ok(None));
    pool.release(first).unwrap();
    assert_eq!(pool.release(first).unwrap_err().kind, ErrorKind::NotFound);
    assert!(pool.try_acquire("m", 1).unwrap().is_some());
    let stats = pool.stats().unwrap();
    assert_eq!((stats["waits"], stats["misses"], stats["hits"], stats["leases"]), (2.0, 1.0, 1.0, 2.0));
}

#[test]
fn higher_priorities_come_first_and_equal_ones_in_turn() {
    let (_, pool) = pool();
    register(&pool, "m", 0, 1);
    heat(&pool, "m");
    let held = pool.try_acquire("m", 1).unwrap().unwrap();
    let mut waiting: Vec<_> = [0, 5, 0, 5].map(|priority| wait(&pool, "m", None, priority)).into();
    assert!(waiting.iter_mut().all(|one| poll(one).is_pending()));
    pool.release(held).unwrap();
    for turn in [1, 3, 0, 2] {
        let lease = ready(&mut waiting[turn]).unwrap();
        assert_eq!(pool.try_acquire("m", 1), Ok(None));
        pool.release(lease).unwrap();
    }
}

#[test]
fn one_who_gives_up_wakes_the_next() {
    let (_, pool) = pool();
    register(&pool, "m", 0, 1);
    heat(&pool, "m");
    let held = pool.try_acquire("m", 1).unwrap().unwrap();
    let (mut first, mut second) = (wait(&pool, "m", None, 0), wait(&pool, "m", None, 0));
    assert!(poll(&mut first).is_pending());
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(first);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    pool.release(held).unwrap();
    assert!(ready(&mut second).is_ok());
}

#[test]
fn a_wait_ends_with_its_timeout() {
    let (host, pool) = pool();
    register(&pool, "m", 0, 1);
    let mut waiting = wait(&pool, "m", Some(2.0), 0);
    assert!(poll(&mut waiting).is_pending());
    host.advance(1.9);
    assert!(poll(&mut waiting).is_pending());
    host.advance(0.2);
    assert_eq!(ready(&mut waiting).unwrap_err().kind, ErrorKind::TimedOut);
    drop(waiting);
    assert_eq!(pool.stats().unwrap()["waiting"], 0.0);
    let error = Box::pin(Arc::clone(&pool).acquire_async("m".into(), Some(-1.0), 0, 1));
    assert_eq!(ready(&mut (error as Waiting)).unwrap_err().kind, ErrorKind::InvalidArgument);
}

#[test]
fn the_least_recently_used_idle_model_makes_room() {
    let (host, pool) = pool();
    for model in ["a", "b", "c"] {
        register(&pool, model, 10, 1);
    }
    pool.configure(Some(20), None).unwrap();
    heat(&pool, "a");
    heat(&pool, "b");
    for model in ["b", "a"] {
        let lease = pool.try_acquire(model, 1).unwrap().unwrap();
        pool.release(lease).unwrap();
    }
    assert!(!pool.warm("c").unwrap());
    assert_eq!(asked(&host), ["model.unload b"]);
    let mut waiting = wait(&pool, "c", None, 0);
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(asked(&host), Vec::<String>::new(), "b is on its way out");
    assert!(pool.cool("b").unwrap());
    pool.cooled("b").unwrap();
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(asked(&host), ["model.load c"]);
    heat(&pool, "c");
    assert!(ready(&mut waiting).is_ok());
    assert_eq!((state(&pool, "a"), state(&pool, "b"), state(&pool, "c")), ("hot", "cold", "hot"));
    assert_eq!(pool.stats().unwrap()["resident_bytes"], 20.0);
    assert_eq!(pool.stats().unwrap()["evictions"], 1.0);
}

#[test]
fn a_leased_or_kept_warm_model_is_not_evicted() {
    let (host, pool) = pool();
    pool.register("kept", "", 10, 1, 0.0, "", 5.0, 3).unwrap();
    register(&pool, "leased", 10, 1);
    register(&pool, "new", 10, 1);
    pool.configure(Some(20), None).unwrap();
    heat(&pool, "kept");
    heat(&pool, "leased");
    let _held = pool.try_acquire("leased", 1).unwrap().unwrap();
    let mut waiting = wait(&pool, "new", None, 0);
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(asked(&host), Vec::<String>::new());
    host.advance(5.1);
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(asked(&host), ["model.unload kept"]);
}

#[test]
fn a_model_larger_than_the_memory_is_refused() {
    let (_, pool) = pool();
    register(&pool, "big", 100, 1);
    pool.configure(Some(20), None).unwrap();
    let error = ready(&mut wait(&pool, "big", None, 0)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exhausted);
    assert!(error.message.contains("100 bytes"), "{error}");
}

#[test]
fn a_failed_model_is_served_by_its_backup_and_left_by_recovery_only() {
    let (host, pool) = pool();
    pool.register("main", "", 0, 1, 0.0, "spare", 0.0, 2).unwrap();
    register(&pool, "spare", 0, 1);
    heat(&pool, "main");
    heat(&pool, "spare");
    assert!(pool.check("main").unwrap());
    assert_eq!(asked(&host), ["model.health main"]);
    pool.checked("main", false, "slow").unwrap();
    pool.checked("main", true, "").unwrap();
    pool.checked("main", false, "slow").unwrap();
    assert_eq!(state(&pool, "main"), "hot", "one failure in a row");
    pool.checked("main", false, "gone").unwrap();
    assert_eq!(state(&pool, "main"), "failed");
    let lease = pool.try_acquire("main", 1).unwrap().unwrap();
    assert_eq!(pool.lease_model(lease).unwrap(), "spare");
    pool.release(lease).unwrap();
    assert_eq!(pool.warmed("main", 0.0).unwrap_err().kind, ErrorKind::Conflict);
    pool.recover("main").unwrap();
    assert_eq!(state(&pool, "main"), "cold");
    pool.warm("spare").unwrap();
    pool.failed("spare", "no memory").unwrap();
    let error = pool.try_acquire("spare", 1).unwrap_err();
    assert_eq!(error.context, [("reason".to_owned(), "no memory".to_owned())]);
}

#[test]
fn those_who_wait_for_a_model_that_fails_are_told() {
    let (_, pool) = pool();
    register(&pool, "m", 0, 1);
    let mut waiting = wait(&pool, "m", None, 0);
    assert!(poll(&mut waiting).is_pending());
    assert!(pool.warm("m").unwrap());
    pool.failed("m", "no such file").unwrap();
    assert_eq!(ready(&mut waiting).unwrap_err().kind, ErrorKind::Conflict);
}

#[test]
fn the_budget_ends_and_is_set_back() {
    let (_, pool) = pool();
    pool.register("m", "", 0, 1, 0.5, "", 0.0, 3).unwrap();
    pool.configure(None, Some(1.0)).unwrap();
    heat(&pool, "m");
    for _ in 0..2 {
        let lease = pool.try_acquire("m", 1).unwrap().unwrap();
        pool.release(lease).unwrap();
    }
    let error = pool.try_acquire("m", 1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exhausted);
    assert!(error.message.contains("budget of 1"), "{error}");
    pool.reset_budget().unwrap();
    assert!(pool.try_acquire("m", 1).unwrap().is_some());
}

#[test]
fn prewarming_avoids_a_cold_start() {
    let (host, pool) = pool();
    register(&pool, "m", 0, 1);
    assert!(pool.prewarm("m").unwrap());
    assert_eq!(asked(&host), ["model.load m"]);
    heat(&pool, "m");
    assert!(!pool.prewarm("m").unwrap());
    pool.try_acquire("m", 1).unwrap().unwrap();
    let stats = pool.stats().unwrap();
    assert_eq!((stats["cold_starts_avoided"], stats["misses"], stats["hits"]), (1.0, 0.0, 1.0));
}

#[test]
fn prewarming_under_a_full_cap_loads_once_there_is_room() {
    let (host, pool) = pool();
    pool.configure(Some(10), None).unwrap();
    register(&pool, "old", 10, 1);
    register(&pool, "new", 10, 1);
    heat(&pool, "old");
    let lease = pool.try_acquire("old", 1).unwrap().unwrap();
    assert!(pool.prewarm("new").unwrap());
    assert_eq!(asked(&host), [""; 0], "in use");
    pool.release(lease).unwrap();
    assert_eq!(asked(&host), ["model.unload old"]);
    assert!(pool.cool("old").unwrap());
    pool.cooled("old").unwrap();
    assert_eq!(asked(&host), ["model.load new"]);
    heat(&pool, "new");
    assert!(pool.prewarm("old").unwrap());
    assert!(pool.cool("new").unwrap());
    pool.cooled("new").unwrap();
    assert_eq!(asked(&host), ["model.unload new", "model.load old"]);
    heat(&pool, "old");
    assert_eq!(asked(&host), [""; 0], "what was pushed out does not push back");
}

#[test]
fn health_checks_do_not_keep_a_model_warm() {
    let (host, pool) = pool();
    pool.configure(Some(10), None).unwrap();
    pool.register("old", "test", 10, 1, 0.0, "", 5.0, 3).unwrap();
    register(&pool, "new", 10, 1);
    heat(&pool, "old");
    let mut waiting = wait(&pool, "new", None, 0);
    let mut asks = Vec::new();
    for _ in 0..4 {
        host.set_now(host.host().now() + 2_000_000);
        pool.checked("old", true, "").unwrap();
        assert!(poll(&mut waiting).is_pending());
        asks.extend(asked(&host));
    }
    assert_eq!(asks, ["model.unload old"]);
}

#[test]
fn waits_are_measured() {
    let (host, pool) = pool();
    register(&pool, "m", 0, 1);
    heat(&pool, "m");
    let mut held = pool.try_acquire("m", 1).unwrap().unwrap();
    for seconds in [2.0, 0.5] {
        let mut waiting = wait(&pool, "m", None, 0);
        assert!(poll(&mut waiting).is_pending());
        host.advance(seconds);
        pool.release(held).unwrap();
        held = ready(&mut waiting).unwrap();
    }
    let stats = pool.stats().unwrap();
    assert_eq!(["waits", "wait_seconds", "wait_max", "hits"].map(|name| stats[name]), [2.0, 2.5, 2.0, 1.0]);
}

#[test]
fn a_wait_that_ends_with_the_backup_is_a_wait() {
    let (host, pool) = pool();
    pool.register("main", "", 0, 1, 0.0, "spare", 0.0, 2).unwrap();
    register(&pool, "spare", 0, 1);
    heat(&pool, "spare");
    assert!(pool.warm("main").unwrap());
    let mut waiting = wait(&pool, "main", None, 0);
    assert!(poll(&mut waiting).is_pending());
    host.advance(1.0);
    pool.failed("main", "broken").unwrap();
    assert!(ready(&mut waiting).is_ok());
    let stats = pool.stats().unwrap();
    assert_eq!(["waits", "wait_seconds", "hits", "waiting"].map(|name| stats[name]), [1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn other_terms_and_limits_concern_those_who_wait() {
    let (host, pool) = pool();
    pool.configure(Some(10), None).unwrap();
    register(&pool, "a", 10, 1);
    register(&pool, "b", 10, 1);
    heat(&pool, "a");
    pool.try_acquire("a", 1).unwrap().unwrap();
    let (mut one, mut two) = (wait(&pool, "a", None, 0), wait(&pool, "b", None, 0));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    for waiting in [&mut one, &mut two] {
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(asked(&host), [""; 0]);
    register(&pool, "a", 10, 2);
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    assert!(ready(&mut one).is_ok());
    assert!(poll(&mut two).is_pending());
    pool.configure(Some(20), None).unwrap();
    assert!(poll(&mut two).is_pending());
    assert_eq!(asked(&host), ["model.load b"]);
}

#[test]
fn a_lower_cap_sends_away_as_many_as_it_takes() {
    let (host, pool) = pool();
    for model in ["a", "b", "c", "d"] {
        register(&pool, model, 10, 1);
        heat(&pool, model);
        let lease = pool.try_acquire(model, 1).unwrap().unwrap();
        pool.release(lease).unwrap();
    }
    pool.try_acquire("a", 1).unwrap().unwrap();
    pool.configure(Some(25), None).unwrap();
    assert_eq!(asked(&host), ["model.unload b", "model.unload c"]);
    pool.configure(Some(24), None).unwrap();
    assert_eq!(asked(&host), [""; 0], "both are on their way");
    register(&pool, "d", 20, 1);
    assert_eq!(asked(&host), ["model.unload d"], "it has grown");
}

#[test]
fn a_model_is_kept_warm_from_the_moment_it_is_asked_for() {
    let (host, pool) = pool();
    pool.configure(Some(10), None).unwrap();
    register(&pool, "old", 10, 1);
    register(&pool, "new", 10, 1);
    heat(&pool, "old");
    host.advance(60.0);
    pool.register("old", "test", 10, 1, 0.0, "", 5.0, 3).unwrap();
    assert!(!pool.warm("new").unwrap());
    assert_eq!(asked(&host), [""; 0]);
    host.advance(3.0);
    let lease = pool.try_acquire("old", 1).unwrap().unwrap();
    host.advance(3.0);
    pool.release(lease).unwrap();
    host.advance(4.9);
    assert!(!pool.warm("new").unwrap());
    assert_eq!(asked(&host), [""; 0], "since its last use");
    host.advance(0.2);
    assert!(!pool.warm("new").unwrap());
    assert_eq!(asked(&host), ["model.unload old"]);
}

#[test]
fn a_bad_answer_counts_only_while_the_model_is_loaded() {
    let (_, pool) = pool();
    register(&pool, "m", 0, 1);
    for _ in 0..5 {
        assert_eq!(pool.checked("m", false, "").unwrap_err().kind, ErrorKind::Conflict);
    }
    pool.checked("m", true, "").unwrap();
    heat(&pool, "m");
    for expected in ["hot", "hot", "failed"] {
        pool.checked("m", false, "slow").unwrap();
        assert_eq!(state(&pool, "m"), expected);
    }
    assert_eq!(pool.checked("m", false, "slow").unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(pool.pool.lock().named("m").unwrap().reason, "3 health checks failed: slow");
}

#[test]
fn without_an_engine_whoever_warms_the_model_serves_the_waiters() {
    let (host, pool) = pool();
    host.set_listening(false);
    register(&pool, "m", 0, 1);
    let mut waiting = wait(&pool, "m", None, 0);
    assert!(poll(&mut waiting).is_pending());
    heat(&pool, "m");
    assert!(ready(&mut waiting).is_ok());
}

#[test]
fn terms_usage_and_cost_last_and_leases_do_not() {
    let (host, pool) = pool();
    pool.register("m", "acme", 7, 3, 0.25, "", 2.0, 4).unwrap();
    register(&pool, "gone", 0, 1);
    pool.unregister("gone").unwrap();
    pool.configure(Some(50), Some(9.0)).unwrap();
    heat(&pool, "m");
    let lease = pool.try_acquire("m", 1).unwrap().unwrap();
    pool.try_acquire("m", 1).unwrap().unwrap();
    pool.release(lease).unwrap();
    pool.charge("m", 1.5, 100.0).unwrap();
    let shown = |pool: &PoolManager| {
        let state = pool.pool.lock();
        let rows: Vec<_> = state
            .registered()
            .iter()
            .map(|(_, m)| (m.name.clone(), m.registration.clone(), m.usage))
            .collect();
        (rows, state.limits, state.spent, state.leases.len())
    };
    let replayed = PoolManager::create(host.host()).unwrap();
    host.replay_into(&replayed).unwrap();
    let restored = PoolManager::create(host.host()).unwrap();
    restored.restore(&replayed.snapshot().unwrap().unwrap()).unwrap();
    let (rows, limits, spent, _) = shown(&pool);
    for other in [&replayed, &restored] {
        assert_eq!(shown(other), (rows.clone(), limits, spent, 0));
        assert_eq!(state(other, "m"), "cold");
    }
    assert_eq!((rows.len(), rows[0].2.calls, rows[0].2.units, spent), (1, 1, 100.0, 1.75));
}

#[test]
fn calls_without_cost_are_recorded_in_lots_with_health_checks_and_at_the_end() {
    let (host, pool) = pool();
    register(&pool, "m", 0, 1);
    heat(&pool, "m");
    for _ in 0..150 {
        let lease = pool.try_acquire("m", 1).unwrap().unwrap();
        pool.release(lease).unwrap();
    }
    assert_eq!(host.records().len(), 2, "the registration and one lot");
    let calls = || {
        let replayed = PoolManager::create(host.host()).unwrap();
        host.replay_into(&replayed).unwrap();
        replayed.pool.lock().named("m").unwrap().usage.calls
    };
    assert_eq!(calls(), 100);
    pool.checked("m", true, "").unwrap();
    assert_eq!(calls(), 150);
    let lease = pool.try_acquire("m", 1).unwrap().unwrap();
    pool.release(lease).unwrap();
    pool.stop();
    assert_eq!(calls(), 151);
    assert_eq!(host.records().len(), 4);
}

#[test]
fn what_a_forgotten_model_was_used_for_is_not_counted_for_the_next_of_its_name() {
    let (host, pool) = pool();
    register(&pool, "m", 0, 1);
    heat(&pool, "m");
    let lease = pool.try_acquire("m", 1).unwrap().unwrap();
    pool.failed("m", "broken").unwrap();
    assert_eq!(pool.unregister("m").unwrap_err().kind, ErrorKind::Conflict, "it is leased");
    pool.release(lease).unwrap();
    pool.unregister("m").unwrap();
    register(&pool, "m", 0, 1);
    pool.stop();
    let replayed = PoolManager::create(host.host()).unwrap();
    host.replay_into(&replayed).unwrap();
    for pool in [&*pool, &replayed] {
        assert_eq!(pool.pool.lock().named("m").unwrap().usage, Usage::default());
    }
}

#[test]
fn a_full_disk_leaves_terms_as_they_were() {
    let (host, pool) = pool();
    register(&pool, "m", 1, 1);
    host.set_full(true);
    assert_eq!(pool.register("m", "", 2, 1, 0.0, "", 0.0, 3).unwrap_err().kind, ErrorKind::Io);
    assert_eq!(pool.pool.lock().named("m").unwrap().registration.memory, 1);
}

#[test]
fn on_a_full_disk_leases_come_back_and_are_counted_later_and_a_charge_is_refused() {
    let (host, pool) = pool();
    pool.register("m", "", 0, 1, 0.5, "", 0.0, 3).unwrap();
    heat(&pool, "m");
    let lease = pool.try_acquire("m", 1).unwrap().unwrap();
    host.set_full(true);
    assert_eq!(pool.charge("m", 2.0, 10.0).unwrap_err().kind, ErrorKind::Io);
    pool.release(lease).unwrap();
    pool.failed("m", "broken").unwrap();
    assert_eq!(pool.stats().unwrap()["spent"], 0.5, "the lease, and not the charge");
    host.set_full(false);
    pool.charge("m", 1.0, 0.0).unwrap();
    let replayed = PoolManager::create(host.host()).unwrap();
    host.replay_into(&replayed).unwrap();
    for pool in [&*pool, &replayed] {
        let mut state = pool.pool.lock();
        assert_eq!(state.named("m").unwrap().usage, Usage { calls: 1, cost: 1.5, units: 0.0 });
        assert_eq!(state.spent, 1.5);
    }
}
