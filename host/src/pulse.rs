//! How an interpreter is, in memory that it shares with its host: readable while it hangs, and after its death.
//!
//! The layout, and the host's side, which only reads; the interpreter's is `vitals`. One word or text has one writer, so
//! nothing here takes a lock.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::system;

// Times are nanoseconds of CLOCK_MONOTONIC in eight bytes, all else is four bytes wide.
pub const LOOP_BEAT: usize = 0;
/// Written by a thread that needs the Python lock.
pub const LOCK_BEAT: usize = 8;
/// Written by one that needs nothing.
pub const NATIVE_BEAT: usize = 16;
pub const NATIVE_THREAD: usize = 24;
/// The signal upon which the stacks are written; 0: none.
pub const DUMP_SIGNAL: usize = 28;
pub const LOOP_THREAD: usize = 32;
pub const CRASH_SIGNAL: usize = 40;
pub const CRASH_STEP: usize = 44;
/// The signal that asks a thread whether it holds the Python lock; 0: none.
pub const LOCK_SIGNAL: usize = 48;
/// Which thread answered that it does, and goes no further; 0: none did.
pub const LOCK_HOLDER: usize = 52;
/// Whether the step in flight is executed with nothing beside it.
pub const ALONE: usize = 56;

/// How many Pit calls there were, and the numbers of the methods of the last ones.
pub const CALLS_AT: usize = 64;
pub const CALLS: usize = 64;

/// Pairs of a thread's id and the number of what it executes; 0: nothing of a run.
pub const THREADS_AT: usize = 4096;
pub const THREADS: usize = 256;
pub const THREAD_BYTES: usize = 8;
/// With this bit in its number, a step has started the thread, which may do the work of others since.
pub const STARTED: u32 = 1 << 31;

/// Descriptions of the steps in flight: a length, 0 where there is none, the number, and the text. A number is given once,
/// so that one that was kept too long names nothing; its remainder by `STEPS` is the place.
pub const STEPS_AT: usize = 8192;
pub const STEPS: usize = 512;
pub const STEP_BYTES: usize = 1024;

/// The names of the Pit's methods by number: a length, and the text.
pub const METHODS_AT: usize = STEPS_AT + STEPS * STEP_BYTES;
pub const METHODS: usize = 1024;
pub const METHOD_BYTES: usize = 64;
pub const BYTES: usize = METHODS_AT + METHODS * METHOD_BYTES;

/// So often each beat is written.
pub const BEAT: Duration = Duration::from_millis(250);
/// Stacks beyond this are not asked for: they lie in memory.
const STACKS_LIMIT: u64 = 4 << 20;
/// Writing the stacks takes milliseconds; whoever takes longer is waited for no longer.
const DUMP_LIMIT: Duration = Duration::from_secs(1);
const DUMP_LOOK: Duration = Duration::from_millis(20);
/// A thread answers at once, unless it is in the kernel for good.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);

/// A step that is being executed, a run's own code, or, without a run, the import of a plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    pub run: String,
    pub workflow: String,
    pub plugin: String,
    pub name: String,
    /// Counts from 1; 0: it is no step, but the code of the workflow itself.
    pub attempt: u32,
    /// Its time limit in seconds; 0: none.
    pub timeout: f64,
    pub key: String,
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(7, '\0');
        let mut next = || parts.next().map(str::to_owned);
        Some(Self {
            run: next()?,
            workflow: next()?,
            plugin: next()?,
            name: next()?,
            attempt: next()?.parse().ok()?,
            timeout: next()?.parse().ok()?,
            key: next()?,
        })
    }

    pub const fn is_workflow(&self) -> bool {
        self.attempt == 0
    }

    /// A plugin's import, or one of its hooks: of no run.
    pub const fn is_import(&self) -> bool {
        self.run.is_empty()
    }

    pub fn describe(&self) -> String {
        if self.is_import() {
            let what =
                if self.name.is_empty() { "the import".to_owned() } else { format!("hook {}", self.name) };
            return format!("{what} of plugin {}", self.plugin);
        }
        let what = if self.is_workflow() { "the workflow".to_owned() } else { format!("step {}", self.key) };
        format!("{what} of run {} ({})", self.run, self.workflow)
    }
}

/// When each was last heard of; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beats {
    pub event_loop: u64,
    pub lock: u64,
    pub native: u64,
}

/// What the handler of deadly signals left.
#[derive(Clone, Debug)]
pub struct Crash {
    pub signal: i32,
    /// The current step of the thread that it was delivered to.
    pub step: Option<Step>,
    /// The step that started this thread, where it is in no step itself.
    pub starter: Option<Step>,
}

/// The host's side of one interpreter's memory, and of the file that takes its Python stacks.
pub struct Pulse {
    memory: File,
    stacks: File,
    /// How much of the stacks was read.
    read: Cell<u64>,
}

impl Pulse {
    pub fn new() -> io::Result<Self> {
        let memory = system::memory_file(c"symphony-pulse")?;
        memory.set_len(BYTES as u64)?;
        Ok(Self { memory, stacks: system::memory_file(c"symphony-stacks")?, read: Cell::new(0) })
    }

    /// What the interpreter inherits: the memory, and the file for its stacks.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.memory.as_fd(), self.stacks.as_fd()]
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        // What cannot be read counts as never written.
        if self.memory.read_exact_at(&mut bytes, at as u64).is_ok() { bytes } else { [0; N] }
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(at))
    }

    fn time(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(at))
    }

    pub fn beats(&self) -> Beats {
        Beats { event_loop: self.time(LOOP_BEAT), lock: self.time(LOCK_BEAT), native: self.time(NATIVE_BEAT) }
    }

    fn step(&self, number: u32) -> Option<Step> {
        if number & STARTED != 0 {
            return None;
        }
        let place = usize::try_from(number).ok()? % STEPS;
        self.entry(place).filter(|(found, _)| *found == number).map(|(_, step)| step)
    }

    fn entry(&self, place: usize) -> Option<(u32, Step)> {
        let entry: [u8; STEP_BYTES] = self.bytes(STEPS_AT + place * STEP_BYTES);
        let (length, rest) = entry.split_first_chunk::<4>()?;
        let (number, text) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let step =
            Step::parse(&String::from_utf8_lossy(text.get(..length).filter(|text| !text.is_empty())?))?;
        Some((u32::from_ne_bytes(*number), step))
    }

    /// The steps that were begun and have not ended.
    pub fn in_flight(&self) -> Vec<Step> {
        let entries = (0..STEPS).filter_map(|place| self.entry(place));
        entries.map(|(_, step)| step).filter(|step| !step.is_workflow()).collect()
    }

    /// Whether the step in flight is a suspect that was started with nothing beside it.
    pub fn alone(&self) -> bool {
        self.word(ALONE) != 0
    }

    /// The plugin that is being imported.
    pub fn importing(&self) -> Option<Step> {
        (0..STEPS).filter_map(|place| self.entry(place)).map(|(_, step)| step).find(Step::is_import)
    }

    fn method(&self, number: u32) -> String {
        let place = usize::try_from(number).unwrap_or(METHODS).min(METHODS - 1);
        let entry: [u8; METHOD_BYTES] = self.bytes(METHODS_AT + place * METHOD_BYTES);
        let (length, text) = entry.split_at(4);
        let length = length.try_into().map_or(0, u32::from_ne_bytes);
        let text = usize::try_from(length).ok().and_then(|length| text.get(..length)).unwrap_or_default();
        if text.is_empty() { "another".to_owned() } else { String::from_utf8_lossy(text).into_owned() }
    }

    /// The last calls of Pit methods, the newest last: how many in a row, and which.
    pub fn recent_calls(&self) -> Vec<(usize, String)> {
        let count = self.word(CALLS_AT);
        let kept = count.min(u32::try_from(CALLS).unwrap_or(0));
        let mut calls: Vec<(usize, String)> = Vec::new();
        for age in (1..=kept).rev() {
            let place = usize::try_from(count.wrapping_sub(age)).unwrap_or(0) % CALLS;
            let name = self.method(self.word(CALLS_AT + 4 + place * 4));
            match calls.last_mut() {
                Some((repeats, last)) if *last == name => *repeats += 1,
                _ => calls.push((1, name)),
            }
        }
        calls
    }

    /// Threads, and the numbers of what they execute.
    fn current(&self) -> impl Iterator<Item = (u32, u32)> {
        let threads = (0..THREADS).map(|place| THREADS_AT + place * THREAD_BYTES);
        threads.map(|at| (self.word(at), self.word(at + 4))).filter(|(_, number)| *number != 0)
    }

    /// The step that the thread of the event loop is in.
    pub fn loop_step(&self) -> Option<Step> {
        let thread = self.word(LOOP_THREAD);
        self.current().find(|(found, _)| *found == thread).and_then(|(_, number)| self.step(number))
    }

    /// The step that keeps the event loop from going on, if it is certain which, or the one that started the thread that does.
    pub fn blocking(&self, lock_is_free: bool) -> (Option<Step>, Option<Step>) {
        if lock_is_free {
            return (self.loop_step(), None);
        }
        let holder = self.word(LOCK_HOLDER);
        let known = |(thread, number): &(u32, u32)| {
            self.step(*number & !STARTED).is_some() && (*thread == holder || holder == 0)
        };
        let mut current = self.current().filter(known);
        match (current.next(), current.next()) {
            (Some((_, number)), None) => (self.step(number), self.starter(number)),
            _ => (None, None),
        }
    }

    /// Let the thread that holds the Python lock say so, and stop there. For an interpreter that is given up.
    pub async fn ask_for_lock(&self, pid: u32) {
        let signal = i32::try_from(self.word(LOCK_SIGNAL)).unwrap_or(0);
        if signal == 0 {
            return;
        }
        self.current().for_each(|(thread, _)| system::signal_thread(pid, thread, signal));
        tokio::time::sleep(ANSWER_LIMIT).await;
    }

    fn starter(&self, number: u32) -> Option<Step> {
        (number & STARTED != 0).then(|| self.step(number & !STARTED)).flatten()
    }

    pub fn crash(&self) -> Option<Crash> {
        let signal = i32::try_from(self.word(CRASH_SIGNAL)).ok().filter(|signal| *signal != 0)?;
        let number = self.word(CRASH_STEP);
        Some(Crash { signal, step: self.step(number), starter: self.starter(number) })
    }

    fn stacks_length(&self) -> u64 {
        self.stacks.metadata().map_or(0, |found| found.len())
    }

    /// What was written since the last call.
    pub fn new_stacks(&self) -> String {
        let (from, to) = (self.read.get(), self.stacks_length());
        self.read.set(to);
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from).min(STACKS_LIMIT)).unwrap_or(0)];
        if self.stacks.read_exact_at(&mut bytes, from).is_err() {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }

    /// The Python stacks of all threads, now. Empty where they cannot be had.
    pub async fn dump(&self, pid: u32) -> String {
        let signal = i32::try_from(self.word(DUMP_SIGNAL)).unwrap_or(0);
        let before = self.stacks_length();
        if signal == 0 || before > STACKS_LIMIT {
            return String::new();
        }
        // To the native thread: the handler must not interrupt a system call of somebody's code.
        system::signal_thread(pid, self.word(NATIVE_THREAD), signal);
        let deadline = tokio::time::Instant::now() + DUMP_LIMIT;
        let mut length = before;
        loop {
            tokio::time::sleep(DUMP_LOOK).await;
            let now = self.stacks_length();
            if (now == length && now > before) || tokio::time::Instant::now() > deadline {
                return self.new_stacks();
            }
            length = now;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use super::*;

    fn write(pulse: &Pulse, at: usize, word: u32) {
        pulse.memory.write_all_at(&word.to_ne_bytes(), at as u64).unwrap();
    }

    fn describe(pulse: &Pulse, number: u32, attempt: u32, key: &str) {
        let text = format!("01run\0tools.wait\0tools\0wait\0{attempt}\x001.5\0{key}");
        let at = STEPS_AT + (number as usize % STEPS) * STEP_BYTES;
        pulse.memory.write_all_at(text.as_bytes(), at as u64 + 8).unwrap();
        write(pulse, at + 4, number);
        write(pulse, at, u32::try_from(text.len()).unwrap());
    }

    fn enter(pulse: &Pulse, place: usize, thread: u32, step: u32) {
        write(pulse, THREADS_AT + place * THREAD_BYTES, thread);
        write(pulse, THREADS_AT + place * THREAD_BYTES + 4, step);
    }

    #[test]
    fn the_steps_in_flight_and_the_one_of_the_loop_are_read() {
        let pulse = Pulse::new().unwrap();
        assert_eq!((pulse.in_flight(), pulse.loop_step()), (vec![], None));
        describe(&pulse, 1, 2, "wait#0");
        describe(&pulse, 1026, 2, "wait#1");
        describe(&pulse, 3, 0, "");
        let [first, second] = &pulse.in_flight()[..] else { panic!("two steps") };
        assert_eq!((&*first.key, &*second.key, &*first.run), ("wait#0", "wait#1", "01run"));
        assert_eq!((first.attempt, first.timeout, &*first.plugin), (2, 1.5, "tools"));
        write(&pulse, LOOP_THREAD, 70);
        enter(&pulse, 0, 70, 0);
        enter(&pulse, 1, 71, 1);
        assert_eq!(pulse.loop_step(), None, "the loop is in no step");
        enter(&pulse, 0, 70, 1026);
        assert_eq!(pulse.loop_step().unwrap().key, "wait#1");
        enter(&pulse, 0, 70, 2);
        assert_eq!(pulse.loop_step(), None, "a number that was kept too long");
        enter(&pulse, 0, 70, 3);
        assert_eq!(pulse.loop_step().unwrap().describe(), "the workflow of run 01run (tools.wait)");
    }

    #[test]
    fn who_holds_the_python_lock_is_certain_only_where_one_step_is_on() {
        let pulse = Pulse::new().unwrap();
        describe(&pulse, 1, 1, "wait#0");
        describe(&pulse, 2, 1, "wait#1");
        write(&pulse, LOOP_THREAD, 70);
        enter(&pulse, 1, 71, 1);
        assert_eq!(pulse.blocking(true).0, None);
        assert_eq!(pulse.blocking(false).0.unwrap().key, "wait#0");
        enter(&pulse, 0, 70, 2);
        assert_eq!(pulse.blocking(true).0.unwrap().key, "wait#1");
        assert_eq!(pulse.blocking(false).0, None);
        enter(&pulse, 0, 70, 9);
        assert_eq!(pulse.blocking(false).0.unwrap().key, "wait#0", "a number that was kept too long");
        enter(&pulse, 0, 70, 0);
        enter(&pulse, 1, 71, 1 | STARTED);
        assert_eq!((pulse.blocking(false).0, pulse.blocking(true).1), (None, None));
        assert_eq!(pulse.blocking(false).1.unwrap().key, "wait#0");
        enter(&pulse, 0, 70, 2);
        assert_eq!(pulse.blocking(false), (None, None));
    }

    #[test]
    fn of_several_steps_the_one_whose_thread_says_so_holds_the_python_lock() {
        let pulse = Pulse::new().unwrap();
        describe(&pulse, 1, 1, "wait#0");
        describe(&pulse, 2, 1, "wait#1");
        enter(&pulse, 0, 70, 1);
        enter(&pulse, 1, 71, 2);
        write(&pulse, LOCK_HOLDER, 71);
        assert_eq!(pulse.blocking(false).0.unwrap().key, "wait#1");
        enter(&pulse, 1, 71, 2 | STARTED);
        assert_eq!(pulse.blocking(false).1.unwrap().key, "wait#1");
        write(&pulse, LOCK_HOLDER, 72);
        assert_eq!(pulse.blocking(false), (None, None), "of no step");
    }

    #[test]
    fn a_crash_in_a_thread_that_a_step_started_is_not_certainly_its_own() {
        let pulse = Pulse::new().unwrap();
        describe(&pulse, 1, 1, "wait#0");
        write(&pulse, CRASH_SIGNAL, 11);
        let found = |number: u32| {
            write(&pulse, CRASH_STEP, number);
            let crash = pulse.crash().unwrap();
            (crash.step.map(|step| step.key), crash.starter.map(|step| step.key))
        };
        assert_eq!(found(1), (Some("wait#0".to_owned()), None));
        assert_eq!(found(1 | STARTED), (None, Some("wait#0".to_owned())));
        assert_eq!(found(2 | STARTED), (None, None), "it has ended");
    }

    #[test]
    fn the_last_calls_are_read_in_their_order_and_repeats_are_counted() {
        let pulse = Pulse::new().unwrap();
        assert_eq!(pulse.recent_calls(), []);
        for (number, name) in ["", "a.one", "a.two"].iter().enumerate().skip(1) {
            let at = METHODS_AT + number * METHOD_BYTES;
            pulse.memory.write_all_at(name.as_bytes(), at as u64 + 4).unwrap();
            write(&pulse, at, u32::try_from(name.len()).unwrap());
        }
        let called = |calls: &[u32]| {
            for (at, number) in calls.iter().enumerate() {
                write(&pulse, CALLS_AT + 4 + (at % CALLS) * 4, *number);
            }
            write(&pulse, CALLS_AT, u32::try_from(calls.len()).unwrap());
            pulse.recent_calls().iter().map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>()
        };
        assert_eq!(called(&[2, 1, 1, 9]), ["1 a.two", "2 a.one", "1 another"]);
        let mut many = vec![1; 100];
        many.extend([2, 2, 1]);
        assert_eq!(called(&many), ["61 a.one", "2 a.two", "1 a.one"]);
    }

    #[test]
    fn stacks_are_read_once() {
        let pulse = Pulse::new().unwrap();
        pulse.stacks.write_all_at(b"Thread 1\n", 0).unwrap();
        assert_eq!(pulse.new_stacks(), "Thread 1");
        pulse.stacks.write_all_at(b"Thread 2\n", 9).unwrap();
        assert_eq!((pulse.new_stacks(), pulse.new_stacks()), ("Thread 2".to_owned(), String::new()));
    }
}
