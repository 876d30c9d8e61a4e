//! What a `#[pit_method(stream)]` returns: items for an `async for`, with backpressure.
//!
//! A [`Stream`] is polled when an item is asked for, never ahead. Where the items come from elsewhere, [`channel`] keeps a
//! bounded number of them and lets its senders wait.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use symphony_pit_abi::{self as abi, Error, ErrorKind, Result, Returned};

use crate::convert::{Outcome, ToPit};
use crate::waiting::block_on;

type Next<T> = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<T>>> + Send>;

/// Items that Python takes one by one. Dropped, also before its end, when nobody takes them any more.
pub struct Stream<T> {
    next: Next<T>,
}

impl<T: Send + 'static> Stream<T> {
    /// A stream by its poll function, which is not called again after none or an error.
    ///
    /// ```
    /// use std::task::Poll;
    ///
    /// let mut left = 3;
    /// let countdown = symphony_pit::Stream::new(move |_context| {
    ///     left -= 1;
    ///     Poll::Ready((left >= 0).then_some(Ok(left)))
    /// });
    /// # drop::<symphony_pit::Stream<i64>>(countdown);
    /// ```
    pub fn new(next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<T>>> + Send + 'static) -> Self {
        Self { next: Box::new(next) }
    }

    /// A stream of what an async block sends: it runs while an item is asked for, and stops at a `send` without room.
    ///
    /// `room` is how many items (at least 1) it may be ahead. Its error is the stream's last item.
    ///
    /// ```
    /// let squares = symphony_pit::Stream::produced(1, |sender| async move {
    ///     for number in 0_i64.. {
    ///         sender.send(number * number).await?;
    ///     }
    ///     Ok(())
    /// });
    /// # drop::<symphony_pit::Stream<i64>>(squares);
    /// ```
    pub fn produced<F>(room: usize, producer: impl FnOnce(Sender<T>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, mut sent) = channel(room);
        let mut producer: Option<Pin<Box<F>>> = Some(Box::pin(producer(sender)));
        let mut failed = None;
        Self::new(move |context| {
            if let Poll::Ready(Some(item)) = (sent.next)(context) {
                return Poll::Ready(Some(item));
            }
            if let Some(running) = &mut producer
                && let Poll::Ready(result) = running.as_mut().poll(context)
            {
                producer = None;
                failed = result.err();
            }
            match (sent.next)(context) {
                Poll::Ready(None) => Poll::Ready(failed.take().map(Err)),
                other => other,
            }
        })
    }

    /// What the generated method gives to the host.
    pub fn into_operation(mut self) -> Returned
    where
        T: ToPit,
    {
        abi::stream(move |context| (self.next)(context).map(|item| item.map(|item| item.map(ToPit::to_pit))))
    }
}

impl<T: ToPit> Outcome for Result<Stream<T>> {
    const NAME: &'static str = T::NAME;
}

struct State<T> {
    items: VecDeque<T>,
    room: usize,
    senders: usize,
    dropped: bool,
    reader: Option<Waker>,
    waiting: Vec<Waker>,
}

type Shared<T> = Arc<Mutex<State<T>>>;

fn locked<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream of what is sent, of which at most `room` items (at least 1) lie ready. It ends with its last sender.
///
/// ```
/// let (sender, stream) = symphony_pit::channel::<i64>(16);
/// std::thread::spawn(move || (0..1_000).try_for_each(|number| sender.send_blocking(number)));
/// # drop(stream);
/// ```
pub fn channel<T: Send + 'static>(room: usize) -> (Sender<T>, Stream<T>) {
    let shared = Arc::new(Mutex::new(State {
        items: VecDeque::new(),
        room: room.max(1),
        senders: 1,
        dropped: false,
        reader: None,
        waiting: Vec::new(),
    }));
    let sent = Sent(Arc::clone(&shared));
    (Sender { shared }, Stream::new(move |context| sent.poll(context).map(|item| item.map(Ok))))
}

/// The stream's side of a channel.
struct Sent<T>(Shared<T>);

impl<T> Sent<T> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = locked(&self.0);
        let Some(item) = state.items.pop_front() else {
            if state.senders == 0 {
                return Poll::Ready(None);
            }
            let before = state.reader.replace(context.waker().clone());
            drop(state);
            drop(before); // foreign code: not under the lock
            return Poll::Pending;
        };
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(item))
    }
}

impl<T> Drop for Sent<T> {
    fn drop(&mut self) {
        let mut state = locked(&self.0);
        state.dropped = true;
        let left = (std::mem::take(&mut state.items), state.reader.take());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        drop(left);
    }
}

/// Where the items of a [`channel`] come from, on any thread. The stream ends when its last sender is dropped.
pub struct Sender<T> {
    shared: Shared<T>,
}

impl<T: Send + 'static> Sender<T> {
    /// Leave an item, once there is room for it. Fails with [`ErrorKind::Cancelled`] when nobody takes items any more.
    pub async fn send(&self, item: T) -> Result<()> {
        let mut item = Some(item);
        std::future::poll_fn(|context| {
            let mut state = locked(&self.shared);
            if state.dropped {
                return Poll::Ready(Err(Error::new(
                    ErrorKind::Cancelled,
                    "nobody takes from the stream any more",
                )));
            }
            if state.items.len() >= state.room {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            state.items.extend(item.take());
            let reader = state.reader.take();
            drop(state);
            reader.into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// As [`send`](Self::send), on a thread that may block.
    pub fn send_blocking(&self, item: T) -> Result<()> {
        block_on(self.send(item))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        locked(&self.shared).senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = locked(&self.shared);
        state.senders -= 1;
        let reader = if state.senders == 0 { state.reader.take() } else { None };
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(stream: &mut Stream<i64>) -> Vec<Poll<Option<Result<i64>>>> {
        let mut context = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        loop {
            all.push((stream.next)(&mut context));
            if !matches!(all.last(), Some(Poll::Ready(Some(Ok(_))))) {
                return all;
            }
        }
    }

    #[test]
    fn a_producer_is_no_more_ahead_than_it_may() {
        let made = Arc::new(Mutex::new(0));
        let count = Arc::clone(&made);
        let mut stream = Stream::produced(2, |sender| async move {
            for number in 0..10 {
                sender.send(number).await?;
                *count.lock().unwrap() += 1;
            }
            Err(Error::conflict("that was all"))
        });
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(*made.lock().unwrap(), 0, "nothing is made before it is asked for");
        assert!(matches!((stream.next)(&mut context), Poll::Ready(Some(Ok(0)))));
        assert_eq!(*made.lock().unwrap(), 2);
        let rest = drained(&mut stream);
        assert_eq!(rest.len(), 10);
        assert!(
            matches!(rest.last(), Some(Poll::Ready(Some(Err(error)))) if error.message == "that was all")
        );
    }

    #[test]
    fn a_thread_waits_for_room_and_for_nobody_once_the_stream_is_gone() {
        let (sender, mut stream) = channel(1);
        let thread = std::thread::spawn(move || {
            (0..).find_map(|number| sender.send_blocking(number).err().map(|error| (number, error.kind)))
        });
        let mut seen = Vec::new();
        while seen.len() < 5 {
            seen.extend(block_on(std::future::poll_fn(|context| (stream.next)(context))));
        }
        drop(stream);
        let (number, kind) = thread.join().unwrap().unwrap();
        assert_eq!(kind, ErrorKind::Cancelled);
        assert!((5..=6).contains(&number), "one lies ready at most, got {number}");
        assert_eq!(seen.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_stream_ends_with_its_last_sender() {
        let (sender, mut stream) = channel(4);
        let other = sender.clone();
        sender.send_blocking(1).unwrap();
        drop(sender);
        assert!(matches!(drained(&mut stream)[..], [Poll::Ready(Some(Ok(1))), Poll::Pending]));
        drop(other);
        assert!(matches!(drained(&mut stream)[..], [Poll::Ready(None)]));
    }
}
