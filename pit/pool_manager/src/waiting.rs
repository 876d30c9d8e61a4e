//! Who wants a model: by priority, then first come, first served; a waiter that goes away leaves no gap.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use symphony_pit::{Error, ErrorKind, Result, Sleep};

use crate::pool::{Attempt, Pool};

/// The queues of all models. Wakers are only taken out here, and called after the lock is given back.
#[derive(Default)]
pub(crate) struct Waiters {
    queues: HashMap<usize, BTreeMap<(Reverse<i64>, u64), Waker>>,
}

impl Waiters {
    pub fn len(&self, model: usize) -> usize {
        self.queues.get(&model).map_or(0, BTreeMap::len)
    }

    pub fn total(&self) -> usize {
        self.queues.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self, model: usize) -> bool {
        !self.queues.contains_key(&model)
    }

    /// Whether nobody stands before this place.
    pub fn is_first(&self, model: usize, place: (Reverse<i64>, u64)) -> bool {
        self.queues.get(&model).and_then(BTreeMap::first_key_value).is_none_or(|(first, _)| *first >= place)
    }

    pub fn put(&mut self, model: usize, place: (Reverse<i64>, u64), waker: Waker) {
        self.queues.entry(model).or_default().insert(place, waker);
    }

    pub fn remove(&mut self, model: usize, place: (Reverse<i64>, u64)) -> bool {
        let Some(queue) = self.queues.get_mut(&model) else { return false };
        let found = queue.remove(&place).is_some();
        if queue.is_empty() {
            self.queues.remove(&model);
        }
        found
    }

    /// The waker of whoever is next for a model.
    pub fn first(&self, model: usize) -> Option<Waker> {
        self.queues.get(&model)?.first_key_value().map(|(_, waker)| waker.clone())
    }

    pub fn all(&self, model: usize) -> impl Iterator<Item = Waker> + '_ {
        self.queues.get(&model).into_iter().flat_map(|queue| queue.values().cloned())
    }

    pub fn models(&self) -> Vec<usize> {
        let mut models: Vec<usize> = self.queues.keys().copied().collect();
        models.sort_unstable();
        models
    }
}

/// Someone's wish for a lease.
#[derive(Clone)]
pub(crate) struct Wish {
    pub model: String,
    pub slots: u32,
    pub priority: i64,
    /// Order of arrival.
    pub ticket: u64,
    /// When it was made, and when it is given up (µs).
    pub since: i64,
    pub deadline: Option<i64>,
}

impl Wish {
    pub const fn place(&self) -> (Reverse<i64>, u64) {
        (Reverse(self.priority), self.ticket)
    }
}

/// Resolves to a lease once the model is hot, a slot is free and everyone who comes before has been served.
pub(crate) struct Acquire {
    pool: Arc<Pool>,
    wish: Wish,
    /// The time-out, or when a model may be evicted to make room.
    alarm: Option<Sleep>,
}

impl Acquire {
    pub const fn new(pool: Arc<Pool>, wish: Wish) -> Self {
        Self { pool, wish, alarm: None }
    }
}

impl Future for Acquire {
    type Output = Result<i64>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let look_again = match self.pool.attempt(&self.wish, context.waker()) {
                Ok(Attempt::Granted(lease)) => return Poll::Ready(Ok(lease)),
                Ok(Attempt::Waiting { look_again }) => look_again,
                Err(error) => return Poll::Ready(Err(error)),
            };
            if self.wish.deadline.is_some_and(|deadline| self.pool.host.now() >= deadline) {
                let message = format!("no lease of model {} in time", self.wish.model);
                return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, message)));
            }
            let Some(when) = [look_again, self.wish.deadline].into_iter().flatten().min() else {
                return Poll::Pending;
            };
            let mut alarm = self.pool.host.sleep_until(when);
            let polled = Pin::new(&mut alarm).poll(context);
            self.alarm = Some(alarm);
            if polled.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        self.pool.leave(&self.wish);
    }
}
