//! Blocking and asynchronous waits, and deadlocks.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Waiting = Pin<Box<dyn Future<Output = Result<i64>> + Send>>;

fn wait(engine: &Arc<ArbitrationEngine>, owner: &str, amount: f64, timeout: Option<f64>) -> Waiting {
    let engine = Arc::clone(engine);
    Box::pin(engine.acquire_async("cpu".into(), owner.into(), amount, Priority(0), String::new(), timeout))
}

fn poll(waiting: &mut Waiting) -> Poll<Result<i64>> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn ready(waiting: &mut Waiting) -> Result<u64> {
    match poll(waiting) {
        Poll::Ready(result) => result.map(|ticket| ticket.try_into().unwrap()),
        Poll::Pending => panic!("still waiting"),
    }
}

fn hold(engine: &ArbitrationEngine, resource: &str, holder: &str) -> u64 {
    let answer = engine.request(resource, "run", 1.0, Priority(0), holder, None).unwrap();
    assert_eq!(text(&answer, "decision"), "granted", "{resource} {holder}");
    ticket(&answer)
}

fn want(engine: &ArbitrationEngine, resource: &str, holder: &str, amount: f64) -> Value {
    engine.request(resource, "run", amount, Priority(0), holder, None).unwrap()
}

fn resources(capacity: f64) -> Arc<ArbitrationEngine> {
    let (_, engine) = engine();
    for name in ["x", "y", "z"] {
        engine.define(name, capacity, "memory", "priority", 0).unwrap();
    }
    engine
}

#[test]
fn an_await_ends_with_its_grant_and_is_woken_once() {
    let (_, engine) = cpu(1.0);
    let first = ready(&mut wait(&engine, "a", 1.0, None)).unwrap();
    let mut second = wait(&engine, "b", 1.0, None);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    engine.release(first, None).unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    let second = ready(&mut second).unwrap();
    assert_eq!(state(&engine, second), "granted", "a ticket that was delivered stays");
}

#[test]
fn one_who_gives_up_leaves_the_queue_and_what_was_granted_meanwhile() {
    let (_, engine) = cpu(2.0);
    let first = ready(&mut wait(&engine, "a", 2.0, None)).unwrap();
    let mut large = wait(&engine, "b", 2.0, None);
    let mut small = wait(&engine, "c", 1.0, None);
    assert!(poll(&mut large).is_pending() && poll(&mut small).is_pending());
    engine.release(first, None).unwrap();
    drop(large); // it was granted, but never seen
    assert!(ready(&mut small).is_ok());
    let mut waits = wait(&engine, "d", 2.0, None);
    assert!(poll(&mut waits).is_pending());
    assert_eq!(engine.stats().unwrap()["waiting"], 1);
    drop(waits);
    assert_eq!((engine.stats().unwrap()["waiting"], engine.stats().unwrap()["held"]), (0, 1));
}

#[test]
fn a_wait_fails_by_its_timeout_by_cancel_or_for_good() {
    let (host, engine) = cpu(1.0);
    let held = ready(&mut wait(&engine, "a", 1.0, None)).unwrap();
    let mut waiting = wait(&engine, "b", 1.0, Some(2.0));
    assert!(poll(&mut waiting).is_pending());
    host.advance(1.9);
    assert!(poll(&mut waiting).is_pending());
    host.advance(0.2);
    assert_eq!(ready(&mut waiting).unwrap_err().kind, ErrorKind::TimedOut);
    assert_eq!(ready(&mut wait(&engine, "b", 1.0, Some(0.0))).unwrap_err().kind, ErrorKind::TimedOut);
    let mut waiting = wait(&engine, "b", 1.0, None);
    assert!(poll(&mut waiting).is_pending());
    engine.cancel(ticket(&engine.queue("cpu").unwrap()[0])).unwrap();
    assert_eq!(ready(&mut waiting).unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(ready(&mut wait(&engine, "b", 2.0, None)).unwrap_err().kind, ErrorKind::Exhausted);
    assert_eq!(ready(&mut wait(&engine, "b", 1.0, Some(-1.0))).unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(state(&engine, held), "granted");
    assert_eq!(engine.stats().unwrap()["waiting"], 0);
}

#[test]
fn a_thread_waits_until_another_gives_back() {
    let (_, engine) = cpu(1.0);
    let first = ticket(&ask(&engine, "cpu", "a", 1.0, 0));
    let other = Arc::clone(&engine);
    let thread = std::thread::spawn(move || other.acquire("cpu", "b", 1.0, Priority(0), "", None));
    while engine.stats().unwrap()["waiting"] == 0 {
        std::thread::yield_now();
    }
    engine.release(first, None).unwrap();
    let second: u64 = thread.join().unwrap().unwrap().try_into().unwrap();
    assert_eq!(state(&engine, second), "granted");
}

#[test]
fn a_deadlock_of_two_is_denied_with_its_path() {
    for holder in ["", "step"] {
        let engine = resources(1.0);
        let name = |owner: &str| if holder.is_empty() { String::new() } else { format!("{owner}/{holder}") };
        let request = |resource: &str, owner: &str| {
            engine.request(resource, owner, 1.0, Priority(0), &name(owner), None).unwrap()
        };
        request("x", "a");
        request("y", "b");
        assert_eq!(text(&request("y", "a"), "decision"), "deferred");
        let answer = request("x", "b");
        assert_eq!(text(&answer, "decision"), "denied");
        let (a, b) = if holder.is_empty() { ("a", "b") } else { ("a/step", "b/step") };
        let path = format!("{b} waits for x held by {a}, which waits for y held by {b}");
        assert_eq!(text(&answer, "reason"), format!("it would wait for itself: {path}"));
        assert_eq!(engine.stats().unwrap()["deadlocks"], 1);
    }
}

#[test]
fn a_deadlock_of_three_is_a_conflict_and_ends_when_one_gives_back() {
    let engine = resources(1.0);
    hold(&engine, "x", "a");
    let held = hold(&engine, "y", "b");
    hold(&engine, "z", "c");
    let first = ticket(&want(&engine, "y", "a", 1.0));
    want(&engine, "z", "b", 1.0);
    let error = engine.acquire("x", "run", 1.0, Priority(0), "c", None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    let path = "c waits for x held by a, which waits for y held by b, which waits for z held by c";
    assert!(error.message.ends_with(path), "{error}");
    engine.release(held, None).unwrap();
    assert_eq!(state(&engine, first), "granted");
    assert_eq!(
        text(&want(&engine, "x", "c", 1.0), "decision"),
        "deferred",
        "b no longer holds what a waits for"
    );
}

#[test]
fn a_step_that_waits_for_what_it_holds_is_a_deadlock_and_a_run_with_several_steps_is_not() {
    let engine = resources(1.0);
    hold(&engine, "x", "step");
    let answer = want(&engine, "x", "step", 1.0);
    assert_eq!(text(&answer, "reason"), "it would wait for itself: step waits for x held by step");
    ask(&engine, "y", "run", 1.0, 0);
    assert_eq!(text(&ask(&engine, "y", "run", 1.0, 0), "decision"), "deferred");
}

#[test]
fn a_cycle_that_others_can_break_is_no_deadlock() {
    let engine = resources(2.0);
    hold(&engine, "x", "a");
    let other = hold(&engine, "x", "other");
    hold(&engine, "y", "b");
    hold(&engine, "y", "third");
    let first = ticket(&want(&engine, "y", "a", 1.0));
    let second = want(&engine, "x", "b", 1.0);
    assert_eq!(text(&second, "decision"), "deferred");
    engine.release(other, None).unwrap();
    assert_eq!(state(&engine, ticket(&second)), "granted");
    assert_eq!(state(&engine, first), "waiting");
}

#[test]
fn waits_that_become_a_deadlock_by_a_grant_are_denied() {
    let engine = resources(1.0);
    let (x, y) = (hold(&engine, "x", "first"), hold(&engine, "y", "first"));
    let (ax, ay) = (ticket(&want(&engine, "x", "a", 1.0)), ticket(&want(&engine, "y", "a", 1.0)));
    engine.cancel(ay).unwrap();
    let by = ticket(&want(&engine, "y", "b", 1.0));
    let ay = ticket(&want(&engine, "y", "a", 1.0));
    let bx = ticket(&want(&engine, "x", "b", 1.0));
    engine.release(x, None).unwrap();
    assert_eq!(state(&engine, ax), "granted");
    engine.release(y, None).unwrap();
    assert_eq!(state(&engine, by), "granted");
    assert_eq!((state(&engine, bx).as_str(), state(&engine, ay).as_str()), ("denied", "waiting"));
    engine.release(by, None).unwrap();
    assert_eq!(state(&engine, ay), "granted");
}

#[test]
fn one_for_whom_the_next_one_waits_may_pass_it() {
    let engine = resources(4.0);
    let small = hold(&engine, "x", "small");
    let large = ticket(&want(&engine, "x", "large", 4.0));
    let more = want(&engine, "x", "small", 2.0);
    assert_eq!(
        (text(&more, "decision"), text(&more, "reason")),
        ("granted", "whoever is next waits for its holder")
    );
    let other = want(&engine, "x", "other", 1.0);
    assert_eq!(text(&other, "decision"), "deferred", "it fits, but nobody waits for it");
    engine.release(small, None).unwrap();
    assert_eq!(state(&engine, large), "waiting");
    engine.release(ticket(&more), None).unwrap();
    assert_eq!(state(&engine, large), "granted");
}
