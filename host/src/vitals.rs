//! The interpreter's side of the memory that it shares with its host: beats, the step each thread is in, and the handler of
//! deadly signals.
//!
//! The handler may run anywhere, on a stack of a few pages: it makes system calls, and stores to memory that is never
//! unmapped, nothing else.
#![allow(unsafe_code)] // shared memory and signals; each block says why it is sound

use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libc::{c_int, c_void, siginfo_t};
use pyo3::prelude::*;
use symphony_pit_journal::forked;

use crate::pulse::{
    ALONE, BEAT, BYTES, CALLS_AT, CRASH_SIGNAL, CRASH_STEP, DUMP_SIGNAL, LOCK_BEAT, LOCK_HOLDER, LOCK_SIGNAL,
    LOOP_BEAT, LOOP_THREAD, METHODS_AT, NATIVE_BEAT, NATIVE_THREAD, STARTED, STEP_BYTES, STEPS, STEPS_AT,
    THREAD_BYTES, THREADS, THREADS_AT,
};
use crate::{recent_calls, system};

/// Deadly signals that code raises by itself.
const DEADLY: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT, libc::SIGFPE, libc::SIGILL];
/// Room for the handlers, Python's among them, where a thread has used up its own.
const SIGNAL_STACK: usize = 64 << 10;
#[expect(clippy::cast_possible_truncation, reason = "512")]
const STEP_COUNT: u32 = STEPS as u32;
const TEXT_BYTES: usize = STEP_BYTES - 8;

/// The memory of the process that has a host, and that process; a forked child must not write there.
static WATCHED: AtomicPtr<Memory> = AtomicPtr::new(null_mut());
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Who handled the deadly signals before: handler and flags.
static BEFORE: [(AtomicUsize, AtomicI32); DEADLY.len()] =
    [const { (AtomicUsize::new(libc::SIG_DFL), AtomicI32::new(0)) }; DEADLY.len()];

/// A shared mapping of `BYTES` bytes.
struct Memory(NonNull<u8>);

// SAFETY: accessed through atomics only, apart from texts, which have one writer each.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn map(descriptor: Option<RawFd>) -> std::io::Result<Self> {
        let anonymous = if descriptor.is_none() { libc::MAP_ANONYMOUS } else { 0 };
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | anonymous);
        // SAFETY: a fresh mapping; the kernel checks the descriptor.
        let base = unsafe { libc::mmap(null_mut(), BYTES, access, kind, descriptor.unwrap_or(-1), 0) };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        NonNull::new(base.cast()).map(Self).ok_or_else(|| std::io::Error::other("mapped at null"))
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        debug_assert!(at.is_multiple_of(4) && at + 4 <= BYTES);
        // SAFETY: within the mapping, aligned, and accessed atomically by everybody.
        unsafe { &*self.0.as_ptr().add(at).cast() }
    }

    fn time(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= BYTES);
        // SAFETY: as above.
        unsafe { &*self.0.as_ptr().add(at).cast() }
    }

    fn beat(&self, at: usize) {
        self.time(at).store(system::monotonic(), Ordering::Relaxed);
    }

    fn describe(&self, number: u32, text: &str) {
        let at = STEPS_AT + (number as usize % STEPS) * STEP_BYTES;
        let mut end = text.len().min(TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // SAFETY: within the mapping; the entry is this caller's own until its length is published.
        unsafe { text.as_ptr().copy_to_nonoverlapping(self.0.as_ptr().add(at + 8), end) };
        self.word(at + 4).store(number, Ordering::Relaxed);
        self.word(at).store(u32::try_from(end).unwrap_or(0), Ordering::Release);
    }

    /// The place of the calling thread in the table of threads, if there is room.
    fn claim_place(&self) -> Option<usize> {
        let own = thread_id();
        (0..THREADS).map(|place| THREADS_AT + place * THREAD_BYTES).find(|at| {
            let claimed = self.word(*at).compare_exchange(0, own, Ordering::AcqRel, Ordering::Acquire);
            claimed.is_ok() || claimed == Err(own)
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, unmapped once; the one that the handler uses is never dropped.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

fn thread_id() -> u32 {
    // SAFETY: touches no memory.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// A stack on which this thread's signals are handled, also once its own has run over.
struct SignalStack(Option<NonNull<c_void>>);

impl SignalStack {
    /// Keeps one that is there already.
    fn new() -> Self {
        // SAFETY: system calls on local structs, and on a fresh mapping that is given to the kernel until `drop`.
        unsafe {
            let mut present: libc::stack_t = std::mem::zeroed();
            libc::sigaltstack(std::ptr::null(), &raw mut present);
            if present.ss_flags & libc::SS_DISABLE == 0 && present.ss_size >= SIGNAL_STACK {
                return Self(None);
            }
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let base = libc::mmap(null_mut(), SIGNAL_STACK, access, kind, -1, 0);
            if base == libc::MAP_FAILED {
                return Self(None);
            }
            let stack = libc::stack_t { ss_sp: base, ss_flags: 0, ss_size: SIGNAL_STACK };
            libc::sigaltstack(&raw const stack, null_mut());
            Self(NonNull::new(base))
        }
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        if let Some(base) = self.0 {
            let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            // SAFETY: the kernel lets go of the mapping before it is unmapped; the thread ends and handles no signal on it.
            unsafe {
                libc::sigaltstack(&raw const none, null_mut());
                libc::munmap(base.as_ptr(), SIGNAL_STACK);
            }
        }
    }
}

thread_local! {
    /// In which memory this thread has a place, and where; 0: none.
    static PLACE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    static STACK: SignalStack = SignalStack::new();
}

/// How this interpreter is, for its host to see. Without a descriptor nobody sees it.
#[pyclass(frozen, module = "symphony._host")]
struct Vitals {
    memory: Arc<Memory>,
    /// The numbers to be given next, one for each place.
    free: Mutex<Vec<u32>>,
}

impl Vitals {
    fn set_step(&self, step: u32) {
        if forked() {
            return; // the memory is the parent's
        }
        let base = self.memory.0.as_ptr() as usize;
        let (known, mut at) = PLACE.get();
        if known != base {
            STACK.with(|_made| ());
            at = self.memory.claim_place().unwrap_or(0);
            PLACE.set((base, at));
        }
        if at != 0 {
            self.memory.word(at + 4).store(step, Ordering::Relaxed);
        }
    }
}

#[pymethods]
impl Vitals {
    /// To be made on the thread of the event loop.
    #[new]
    #[pyo3(signature = (descriptor=None))]
    fn new(descriptor: Option<RawFd>) -> PyResult<Self> {
        let memory = Arc::new(Memory::map(descriptor)?);
        memory.word(LOOP_THREAD).store(thread_id(), Ordering::Relaxed);
        if descriptor.is_some() {
            let beating = memory.clone();
            let beat = move || {
                beating.word(NATIVE_THREAD).store(thread_id(), Ordering::Relaxed);
                loop {
                    beating.beat(NATIVE_BEAT);
                    std::thread::sleep(BEAT);
                }
            };
            memory.beat(NATIVE_BEAT);
            std::thread::Builder::new().name("symphony-pulse".to_owned()).spawn(beat)?;
            OWNER.store(std::process::id().cast_signed(), Ordering::Relaxed);
            // SAFETY: within the mapping, aligned, and never unmapped, as the next line sees to.
            unsafe {
                let base = memory.0.as_ptr();
                recent_calls::show(base.add(CALLS_AT).cast(), base.add(METHODS_AT));
            }
            WATCHED.store(Arc::into_raw(memory.clone()).cast_mut(), Ordering::Release); // for ever
        }
        let free = (STEP_COUNT..2 * STEP_COUNT).rev().collect();
        Ok(Self { memory, free: Mutex::new(free) })
    }

    /// The event loop goes round.
    fn beat(&self) {
        self.memory.beat(LOOP_BEAT);
    }

    /// The Python lock can be had.
    fn beat_lock(&self) {
        self.memory.beat(LOCK_BEAT);
    }

    /// Upon this signal the stacks are written.
    fn dumps_on(&self, signal: u32) {
        self.memory.word(DUMP_SIGNAL).store(signal, Ordering::Release);
    }

    /// Upon this signal a thread says whether it holds the Python lock.
    fn answers_on(&self, signal: i32) {
        // SAFETY: a local struct; the handler is of the kind that no flag asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = asked_for_lock as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, null_mut());
        }
        self.memory.word(LOCK_SIGNAL).store(signal.cast_unsigned(), Ordering::Release);
    }

    /// Note signal and step of a crash, then do what was to be done before. To be called again after code that may have put a
    /// handler of its own in place.
    #[staticmethod]
    fn catch_crashes() {
        for (signal, before) in DEADLY.into_iter().zip(&BEFORE) {
            // SAFETY: local structs; the handler is of the kind that SA_SIGINFO asks for.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, std::ptr::null(), &raw mut action);
                if action.sa_sigaction != crashed as *const () as usize {
                    before.0.store(action.sa_sigaction, Ordering::Relaxed);
                    before.1.store(action.sa_flags, Ordering::Relaxed);
                }
                action.sa_sigaction = crashed as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                libc::sigemptyset(&raw mut action.sa_mask);
                libc::sigaction(signal, &raw const action, null_mut());
            }
        }
    }

    /// The step in flight is executed with nothing beside it, from now on or no longer.
    fn alone(&self, alone: bool) {
        self.memory.word(ALONE).store(u32::from(alone), Ordering::Relaxed);
    }

    /// A step begins; gives its number, 0 where there is no room for one more. Attempt 0 is the code of the workflow itself.
    #[expect(clippy::too_many_arguments, reason = "the parts of one description")]
    fn begin(
        &self,
        run: &str,
        workflow: &str,
        plugin: &str,
        name: &str,
        attempt: u32,
        timeout: f64,
        key: &str,
    ) -> u32 {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if attempt == 0 && free.len() <= STEPS / 2 {
            return 0; // the rest is for steps
        }
        let Some(number) = free.pop() else { return 0 };
        drop(free);
        let text = format!("{run}\0{workflow}\0{plugin}\0{name}\0{attempt}\0{timeout}\0{key}");
        self.memory.describe(number, &text);
        number
    }

    /// It has ended.
    fn end(&self, step: u32) {
        if step != 0 {
            self.memory.describe(step, "");
            let later = step + STEP_COUNT;
            let next = if later < STARTED { later } else { step % STEP_COUNT + STEP_COUNT };
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(next);
        }
    }

    /// From now on this thread executes code of the step.
    fn enter(&self, step: u32) {
        self.set_step(step);
    }

    /// And no more. A forked child that comes here returns from the step to the engine, which is its parent's: it ends.
    fn leave(&self) {
        if forked() {
            end_child();
        }
        self.set_step(0);
    }

    /// From now on this thread executes what it was made for; the step started it.
    fn enter_thread(&self, starter: u32) {
        self.set_step(starter | STARTED);
    }

    /// The thread ends, and somebody else may have its place.
    fn leave_thread(&self) {
        self.set_step(0);
        let (_, at) = PLACE.replace((0, 0));
        if at != 0 && !forked() {
            self.memory.word(at).store(0, Ordering::Release);
        }
    }
}

/// End a forked child that takes itself for the interpreter.
fn end_child() -> ! {
    const WORDS: &[u8] =
        b"symphony: a step's forked child came back to the engine and was ended; os._exit ends it earlier\n";
    // SAFETY: a constant of its own length; ending the process is what is meant.
    unsafe {
        libc::write(libc::STDERR_FILENO, WORDS.as_ptr().cast(), WORDS.len());
        libc::_exit(1)
    }
}

/// End this process if it is a forked child of one that had a Pit open.
#[pyfunction]
fn end_forked_child() {
    if forked() {
        end_child();
    }
}

extern "C" fn asked_for_lock(_signal: c_int) {
    // SAFETY: the memory is mapped for the life of the process. CPython reads words of this thread and of the process, which is
    // what its own faulthandler does in such a place.
    unsafe {
        if let Some(memory) = WATCHED.load(Ordering::Acquire).as_ref()
            && libc::getpid() == OWNER.load(Ordering::Relaxed)
            && pyo3::ffi::PyGILState_Check() == 1
        {
            memory.word(LOCK_HOLDER).store(thread_id(), Ordering::Relaxed);
            // The signal has ended a system call that was to go on: nothing that follows from this is to be recorded, and the
            // host, which is about to end the process, is to find this thread in the step that it is in now.
            loop {
                libc::pause();
            }
        }
    }
}

extern "C" fn crashed(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: `info` is the kernel's; the memory is mapped for the life of the process; only async-signal-safe calls are made.
    unsafe {
        let own = libc::getpid();
        if let Some(memory) = WATCHED.load(Ordering::Acquire).as_ref()
            && own == OWNER.load(Ordering::Relaxed)
        {
            // A signal that somebody else sent says nothing of the step that it met.
            let sent = (*info).si_code <= 0 && (*info).si_pid() != own;
            let thread = thread_id();
            let mut step = 0;
            for place in 0..THREADS {
                let at = THREADS_AT + place * THREAD_BYTES;
                if !sent && memory.word(at).load(Ordering::Relaxed) == thread {
                    step = memory.word(at + 4).load(Ordering::Relaxed);
                }
            }
            if memory.word(CRASH_SIGNAL).load(Ordering::Relaxed) == 0 {
                memory.word(CRASH_STEP).store(step, Ordering::Relaxed);
                memory.word(CRASH_SIGNAL).store(signal.cast_unsigned(), Ordering::Release);
            }
        }
        hand_over(signal, info, context);
    }
}

/// Do what was to be done before `catch_crashes`.
///
/// # Safety
/// To be called in a signal handler, with what it was given.
unsafe fn hand_over(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some((_, (handler, flags))) = DEADLY.iter().zip(&BEFORE).find(|(deadly, _)| **deadly == signal)
    else {
        return;
    };
    let (handler, flags) = (handler.load(Ordering::Relaxed), flags.load(Ordering::Relaxed));
    // SAFETY: the handler was installed by somebody as one of this kind; the default one ends the process.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const action, null_mut());
        match handler {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::raise(signal);
            }
            handler if flags & libc::SA_SIGINFO != 0 => {
                std::mem::transmute::<usize, extern "C" fn(c_int, *mut siginfo_t, *mut c_void)>(handler)(
                    signal, info, context,
                );
            }
            handler => std::mem::transmute::<usize, extern "C" fn(c_int)>(handler)(signal),
        }
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(end_forked_child, module)?)?;
    module.add_class::<Vitals>()
}
