//! Fair share, the other strategies, and that the same calls lead to the same decisions.

use super::*;
use crate::ticket::Ticket;

/// Keep every owner waiting with tickets of its amount, held for its seconds, over so many grants: what each was served, in
/// amount × seconds, for its weight.
fn contest(strategy: &str, capacity: f64, owners: &[(&str, f64, f64, f64)], grants: usize) -> Vec<f64> {
    let (host, engine) = cpu(capacity);
    engine.define("cpu", capacity, "cpu", strategy, 5).unwrap();
    let enter = |owner: &(&str, f64, f64, f64)| ticket(&ask(&engine, "cpu", owner.0, owner.1, 0));
    for owner in owners {
        engine.set_share(owner.0, owner.3).unwrap();
        for _ in 0..8 {
            enter(owner);
        }
    }
    let mut shares = vec![0.0; owners.len()];
    let (mut served, mut now, mut seen) = (0, 0.0, 0);
    let mut ends: Vec<(f64, u64)> = Vec::new(); // of what is held
    while served < grants {
        let news = engine.audit("", "", "granted", 1000, seen).unwrap();
        for row in news.iter().rev() {
            seen = seen.max(number(row, "number") as u64);
            let index = owners.iter().position(|owner| owner.0 == text(row, "owner")).unwrap();
            let (_, amount, seconds, weight) = owners[index];
            ends.push((now + seconds, ticket(row)));
            enter(&owners[index]);
            served += 1;
            if served > 100 {
                shares[index] += amount * seconds / weight; // after the start, when nothing is known of held times
            }
        }
        ends.sort_by(|one, other| one.partial_cmp(other).unwrap());
        let (end, ticket) = ends.remove(0);
        host.advance(end - now);
        now = end;
        engine.release(ticket, None).unwrap();
    }
    shares
}

/// The largest deviation from the mean.
fn deviation(shares: &[f64]) -> f64 {
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    shares.iter().map(|share| (share / mean - 1.0).abs()).fold(0.0, f64::max)
}

#[test]
fn owners_who_always_wait_get_equal_shares() {
    let same = [("a", 1.0, 1.0, 1.0), ("b", 1.0, 1.0, 1.0), ("c", 1.0, 1.0, 1.0), ("d", 1.0, 1.0, 1.0)];
    let held = [("a", 1.0, 1.0, 1.0), ("b", 1.0, 3.0, 1.0), ("c", 1.0, 0.5, 1.0)];
    let amounts = [("a", 1.0, 1.0, 1.0), ("b", 2.0, 1.0, 1.0), ("c", 4.0, 1.0, 1.0)];
    let both = [("a", 1.0, 2.0, 1.0), ("b", 3.0, 1.0, 1.0), ("c", 2.0, 0.5, 1.0)];
    let weights = [("a", 1.0, 1.0, 1.0), ("b", 1.0, 1.0, 2.0), ("c", 2.0, 1.0, 4.0)];
    for (capacity, owners) in
        [(1.0, &same[..]), (1.0, &held), (8.0, &same), (4.0, &amounts), (6.0, &both), (4.0, &weights)]
    {
        let shares = contest("priority", capacity, owners, 1100);
        assert!(deviation(&shares) <= 0.1, "{capacity}: {shares:?}");
    }
}

fn newest_grant(engine: &ArbitrationEngine) -> (u64, String) {
    let rows = engine.audit("", "", "granted", 1, 0).unwrap();
    (ticket(&rows[0]), text(&rows[0], "owner").to_owned())
}

#[test]
fn a_flood_does_not_keep_another_owner_waiting() {
    let (host, engine) = cpu(1.0);
    let mut held = ticket(&ask(&engine, "cpu", "flood", 1.0, 0));
    for _ in 0..1000 {
        ask(&engine, "cpu", "flood", 1.0, 0);
    }
    for _ in 0..100 {
        let modest = ask(&engine, "cpu", "modest", 1.0, 0);
        let mut turns = 0;
        while state(&engine, ticket(&modest)) == "waiting" {
            host.advance(1.0);
            engine.release(held, None).unwrap();
            held = newest_grant(&engine).0;
            turns += 1;
        }
        assert!(turns <= 2, "{turns}");
    }
}

#[test]
fn an_endless_row_of_new_owners_does_not_starve_one_that_was_served() {
    let (host, engine) = cpu(1.0);
    let first = ticket(&ask(&engine, "cpu", "old", 1.0, 0));
    let mut held = ticket(&ask(&engine, "cpu", "rival", 1.0, 0));
    ask(&engine, "cpu", "rival", 1.0, 0);
    host.advance(3.0);
    engine.release(first, None).unwrap();
    let patient = ticket(&ask(&engine, "cpu", "old", 1.0, 0));
    for newcomer in 0.. {
        ask(&engine, "cpu", &format!("new {newcomer}"), 1.0, 0);
        ask(&engine, "cpu", &format!("newer {newcomer}"), 1.0, 0);
        host.advance(1.0);
        engine.release(held, None).unwrap();
        if state(&engine, patient) == "granted" {
            assert!(newcomer > 100, "the new ones have a right to their first turn");
            return;
        }
        held = newest_grant(&engine).0;
        assert!(newcomer < 10_000, "starved");
    }
}

#[test]
fn round_robin_gives_the_owners_turns_whatever_their_amounts_and_priorities() {
    let (host, engine) = cpu(4.0);
    engine.set_policy("cpu", "round_robin", 1.0, 0, 1.0).unwrap();
    let held = ticket(&ask(&engine, "cpu", "x", 4.0, 0));
    for _ in 0..3 {
        ask(&engine, "cpu", "a", 4.0, 1000);
    }
    ask(&engine, "cpu", "b", 4.0, 0);
    ask(&engine, "cpu", "b", 3.0, 0);
    ask(&engine, "cpu", "c", 4.0, -1000);
    assert_eq!(served(&host, &engine, held), ["a", "b", "c", "a", "b", "a"]);
}

#[test]
fn weighted_random_follows_the_weights_and_the_seed() {
    let draw = |seed: u64| {
        let (_, engine) = cpu(1.0);
        engine.set_policy("cpu", "weighted_random", 1.0, seed, 1.0).unwrap();
        engine.set_share("heavy", 3.0).unwrap();
        let mut held = ticket(&ask(&engine, "cpu", "x", 1.0, 0));
        let mut owners = String::new();
        for owner in ["heavy", "light", "heavy", "light"] {
            ask(&engine, "cpu", owner, 1.0, 0);
        }
        for _ in 0..2000 {
            engine.release(held, None).unwrap();
            let owner;
            (held, owner) = newest_grant(&engine);
            owners.push_str(&owner[..1]);
            ask(&engine, "cpu", &owner, 1.0, 0);
        }
        owners
    };
    let owners = draw(1);
    let heavy = owners.matches('h').count();
    assert!((1400..1600).contains(&heavy), "{heavy} of 2000, not about three quarters");
    assert!(owners.contains("ll") && owners.contains("hhhhhh"), "by lot, not in turn");
    assert_eq!(owners, draw(1));
    assert_ne!(owners, draw(2));
}

#[test]
fn collaborators_get_equal_parts_of_what_is_free() {
    let (_, engine) = cpu(12.0);
    engine.set_policy("cpu", "collaborative", 1.0, 0, 2.0).unwrap();
    let all = ask(&engine, "cpu", "x", 12.0, 0);
    let waiting = ["a", "b", "c", "d"].map(|owner| ticket(&ask(&engine, "cpu", owner, 12.0, 0)));
    let little = ticket(&ask(&engine, "cpu", "e", 1.0, 0));
    engine.release(ticket(&all), None).unwrap();
    let amounts = |tickets: &[u64]| -> Vec<f64> {
        tickets.iter().map(|ticket| number(&engine.status(*ticket).unwrap(), "amount")).collect()
    };
    assert!(amounts(&waiting).iter().all(|amount| (amount - 2.4).abs() < 1e-9), "{:?}", amounts(&waiting));
    assert_eq!(amounts(&[little]), [1.0]);
    let reason = text(&engine.status(waiting[0]).unwrap(), "reason").to_owned();
    assert_eq!(reason, "an equal part of what was free");
    let late = ask(&engine, "cpu", "f", 12.0, 0);
    assert_eq!(text(&late, "decision"), "deferred", "1.4 are free, and 2 is the least");
    engine.release(little, None).unwrap();
    assert!((amounts(&[ticket(&late)])[0] - 2.4).abs() < 1e-9);
    for ticket in waiting {
        engine.release(ticket, None).unwrap();
    }
    let rest = ask(&engine, "cpu", "g", 12.0, 0);
    assert!((number(&rest, "amount") - 9.6).abs() < 1e-9, "what is free, as nobody else waits");
}

#[test]
fn ten_thousand_wait_and_all_are_served_in_order() {
    let (_, engine) = cpu(1.0);
    let mut held = ticket(&ask(&engine, "cpu", "x", 1.0, 0));
    for index in 0..10_000_i64 {
        ask(
            &engine,
            "cpu",
            &format!("owner {}", index % 97),
            1.0,
            [1000, 100, 0, -100, -1000][index as usize % 5],
        );
    }
    let order: Vec<u64> = engine.queue("cpu").unwrap().iter().map(ticket).collect();
    assert_eq!(order.len(), 10_000);
    let mut last = i64::MAX;
    for next in order {
        engine.release(held, None).unwrap();
        let status = engine.status(next).unwrap();
        assert_eq!(text(&status, "state"), "granted");
        assert!(number(&status, "priority") as i64 <= last);
        last = number(&status, "priority") as i64;
        held = next;
    }
    assert_eq!(engine.stats().unwrap()["waiting"], 0);
}

/// A small generator for a sequence of calls.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A ticket that its holder can give back now: whatever else the holder waits for does not keep it from that.
fn releasable(engine: &ArbitrationEngine) -> Option<u64> {
    use crate::ticket::TicketState::{Granted, Waiting};
    let state = engine.engine.lock();
    let live = |wanted| state.tickets.values().filter(move |ticket| ticket.state == wanted);
    let blocks = |one: &Ticket, other: &Ticket| {
        let (one, other) = (&one.wish, &other.wish);
        one.holder == other.holder && (one.holder.contains('/') || one.resource != other.resource)
    };
    live(Granted).find(|one| !live(Waiting).any(|other| blocks(one, other))).map(|ticket| ticket.number)
}

/// A sequence of calls: its decisions, and how many deadlocks were refused.
fn play(seed: u64) -> (String, u64) {
    let (host, engine) = engine();
    let mut dice = Dice(seed);
    for (name, strategy) in
        [("a", "priority"), ("b", "round_robin"), ("c", "collaborative"), ("d", "weighted_random")]
    {
        engine.define(name, 4.0, "memory", strategy, seed).unwrap();
    }
    let mut tickets = Vec::new();
    for _ in 0..600 {
        match dice.roll(8) {
            0..4 => {
                let resource = ["a", "b", "c", "d"][dice.roll(4) as usize];
                let owner = format!("run {}", dice.roll(6));
                let holder =
                    if dice.roll(2) == 0 { format!("{owner}/{}", dice.roll(3)) } else { String::new() };
                let (amount, priority) =
                    (1.0 + dice.roll(3) as f64, [-1000, 0, 0, 100][dice.roll(4) as usize]);
                let most = (dice.roll(3) == 0).then(|| dice.roll(20) as f64);
                let answer =
                    engine.request(resource, &owner, amount, Priority(priority), &holder, most).unwrap();
                if let Value::UInt(ticket) = get(&answer, "ticket") {
                    tickets.push(*ticket);
                }
            }
            4 => host.advance(dice.roll(1000) as f64 / 100.0),
            5 => engine.set_share(&format!("run {}", dice.roll(6)), 1.0 + dice.roll(3) as f64).unwrap(),
            _ if tickets.is_empty() => {}
            _ => {
                let ticket = tickets.swap_remove(dice.roll(tickets.len() as u64) as usize);
                engine.engine.change(|state| state.abandon(ticket)).unwrap();
            }
        }
        for resource in engine.resources().unwrap() {
            assert!(number(&resource, "granted") <= 4.0 + 1e-6, "{resource:?}");
        }
    }
    while let Some(ticket) = releasable(&engine) {
        engine.release(ticket, None).unwrap();
    }
    let replayed = ArbitrationEngine::create(host.host()).unwrap();
    host.replay_into(&replayed).unwrap();
    let restored = ArbitrationEngine::create(host.host()).unwrap();
    restored.restore(&engine.snapshot().unwrap().unwrap()).unwrap();
    for other in [&replayed, &restored] {
        assert_eq!(other.snapshot(), engine.snapshot(), "what lasts, seed {seed}");
    }
    let stats = engine.stats().unwrap();
    assert_eq!((stats["waiting"], stats["held"]), (0, 0), "no deadlock was let in");
    (format!("{:?}", engine.audit("", "", "", 10_000, 0).unwrap()), stats["deadlocks"])
}

#[test]
fn the_same_calls_lead_to_the_same_decisions_and_never_to_a_deadlock() {
    let mut deadlocks = 0;
    for seed in 0..10 {
        let (first, second) = (play(seed), play(seed));
        assert_eq!(first, second, "seed {seed}");
        deadlocks += first.1;
    }
    assert!(deadlocks > 0, "the sequences meet deadlocks as well");
    assert_ne!(play(1).0, play(2).0);
}
