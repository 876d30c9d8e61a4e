//! Who wants a model: by priority, then first come, first served; a waiter that goes away leaves no gap.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use symphony_pit::{Error, ErrorKind, Result, Sleep};

use crate::pool::{Attempt, Pool};

/// Higher priorities first, then the order of arrival.
pub(crate) type Place = (Reverse<i64>, u64);

/// The queues of all models. Wakers are only taken out here, and called after the lock is given back.
#[derive(Default)]
pub(crate) struct Waiters {
    /// By model.
    queues: Vec<BTreeMap<Place, Waker>>,
}

impl Waiters {
    pub fn len(&self, model: usize) -> usize {
        self.queues.get(model).map_or(0, BTreeMap::len)
    }

    pub fn total(&self) -> usize {
        self.queues.iter().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self, model: usize) -> bool {
        self.queues.get(model).is_none_or(BTreeMap::is_empty)
    }

    /// Whether nobody stands before this place.
    pub fn is_first(&self, model: usize, place: Place) -> bool {
        self.queues.get(model).and_then(BTreeMap::first_key_value).is_none_or(|(first, _)| *first >= place)
    }

    pub fn put(&mut self, model: usize, place: Place, waker: Waker) {
        if self.queues.len() <= model {
            self.queues.resize_with(model + 1, BTreeMap::new);
        }
        self.queues[model].insert(place, waker);
    }

    /// Take a place out wherever it stands: a failed model's in its own queue and in that of its backup. Gives the models.
    pub fn remove(&mut self, place: Place) -> Vec<usize> {
        let queues = self.queues.iter_mut().enumerate();
        queues.filter_map(|(model, queue)| queue.remove(&place).map(|_| model)).collect()
    }

    /// The waker of whoever is next for a model.
    pub fn first(&self, model: usize) -> Option<Waker> {
        self.queues.get(model)?.first_key_value().map(|(_, waker)| waker.clone())
    }

    pub fn all(&self, model: usize) -> impl Iterator<Item = Waker> + '_ {
        self.queues.get(model).into_iter().flat_map(|queue| queue.values().cloned())
    }

    /// Models that someone waits for.
    pub fn models(&self) -> impl Iterator<Item = usize> {
        self.queues.iter().enumerate().filter(|(_, queue)| !queue.is_empty()).map(|(model, _)| model)
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
    pub const fn place(&self) -> Place {
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
