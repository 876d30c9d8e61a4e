//! Run by `make memcheck`, with `--cfg loom`: every interleaving of posters with the loop that takes, withdraws and closes.

use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::*;

/// A loop's mailbox and what it sleeps on, in the place of the eventfd.
struct Loop {
    mailbox: Mailbox<usize>,
    signals: Mutex<usize>,
    signalled: Condvar,
    sent: AtomicUsize,
}

impl Loop {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::default(),
            signals: Mutex::new(0),
            signalled: Condvar::new(),
            sent: AtomicUsize::new(0),
        })
    }

    fn post(&self, letter: &Arc<Letter<usize>>) -> Posted {
        let posted = self.mailbox.post(letter);
        if posted == Posted::First {
            self.sent.fetch_add(1, Relaxed);
            *self.signals.lock().unwrap() += 1;
            self.signalled.notify_one();
        }
        posted
    }

    /// Sleep until signalled; loom reports a signal that is lost as a deadlock.
    fn turn(&self) -> Vec<usize> {
        let mut signals = self.signals.lock().unwrap();
        while *signals == 0 {
            signals = self.signalled.wait(signals).unwrap();
        }
        *signals = 0;
        drop(signals);
        self.mailbox.take().map(|letter| letter.content).collect()
    }
}

fn check(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

#[test]
fn no_letter_is_lost_and_none_comes_twice() {
    check(|| {
        let event_loop = Loop::new();
        let posters = [0, 1].map(|number| {
            let event_loop = Arc::clone(&event_loop);
            thread::spawn(move || {
                assert!(matches!(
                    event_loop.post(&Arc::new(Letter::new(number))),
                    Posted::First | Posted::Later
                ));
            })
        });
        let (mut seen, mut turns) = (Vec::new(), 0);
        while seen.len() < 2 {
            seen.extend(event_loop.turn());
            turns += 1;
        }
        for poster in posters {
            poster.join().unwrap();
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1]);
        // A turn may find nothing, where its signal came for what the turn before had taken: never more than letters.
        assert!(turns <= event_loop.sent.load(Relaxed).max(1));
    });
}

#[test]
fn a_letter_posted_again_while_it_is_taken_comes_again() {
    check(|| {
        let (event_loop, letter) = (Loop::new(), Arc::new(Letter::new(7)));
        let poster = {
            let (event_loop, letter) = (Arc::clone(&event_loop), Arc::clone(&letter));
            thread::spawn(move || {
                let posted = [event_loop.post(&letter), event_loop.post(&letter)];
                posted.into_iter().filter(|posted| *posted != Posted::Needless).count()
            })
        };
        let mut seen = event_loop.turn().len();
        let wanted = poster.join().unwrap();
        seen += event_loop.mailbox.take().count();
        assert_eq!(seen, wanted, "as often as a post was not needless");
    });
}

#[test]
fn a_letter_withdrawn_while_it_is_posted_comes_at_most_before() {
    check(|| {
        let (event_loop, letter) = (Loop::new(), Arc::new(Letter::new(7)));
        let poster = {
            let (event_loop, letter) = (Arc::clone(&event_loop), Arc::clone(&letter));
            thread::spawn(move || event_loop.post(&letter))
        };
        letter.withdraw();
        assert_eq!(event_loop.mailbox.take().count(), 0, "after the withdrawal it does not come");
        poster.join().unwrap();
        assert_eq!(event_loop.mailbox.take().count(), 0);
    });
}

#[test]
fn what_comes_while_the_mailbox_closes_is_counted_once() {
    check(|| {
        let event_loop = Loop::new();
        let posters = [0, 1].map(|number| {
            let event_loop = Arc::clone(&event_loop);
            thread::spawn(move || event_loop.mailbox.post(&Arc::new(Letter::new(number))))
        });
        let taken = event_loop.mailbox.take().count();
        let left = event_loop.mailbox.close();
        let late = posters.into_iter().map(|poster| poster.join().unwrap());
        let late = late.filter(|posted| *posted == Posted::Closed).count();
        assert_eq!(taken + usize::try_from(left).unwrap() + late, 2);
    });
}
