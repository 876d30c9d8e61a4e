//! The `repr(C)` structs and constants: what lies in memory on both sides.

use std::ffi::c_void;

/// First eight bytes of every entry.
pub const MAGIC: [u8; 8] = *b"SYMPHPIT";
/// Components of another major version are refused.
pub const ABI_MAJOR: u16 = 1;
/// Components of a newer minor version are refused; older ones are served.
pub const ABI_MINOR: u16 = 1;
/// Name of the exported data symbol.
pub const ENTRY_SYMBOL: &str = "symphony_pit_entry_v1";

/// The method never blocks and may run attached to Python.
pub const FLAG_FAST: u32 = 1;
/// The method may block: the bridge detaches from Python first.
pub const FLAG_BLOCKING: u32 = 2;
/// The method returns an [`Operation`].
pub const FLAG_ASYNC: u32 = 4;
/// With [`FLAG_ASYNC`]: each final poll of the operation gives one item, and it is polled again for the next.
pub const FLAG_STREAM: u32 = 8;
/// With [`FLAG_BLOCKING`]: the method waits for others, as its twin `NAME_async` of the same parameters does. On the main
/// thread the bridge waits for the twin instead, so that Ctrl-C ends it.
pub const FLAG_WAITING: u32 = 16;

/// Status of a call that succeeded; every other value is an error kind or [`STATUS_PENDING`].
pub const STATUS_OK: u32 = 0;
/// Status of a poll whose operation is not done.
pub const STATUS_PENDING: u32 = u32::MAX;
/// Status of a poll of a stream that has no more items.
pub const STATUS_END: u32 = u32::MAX - 1;

/// Borrowed UTF-8 text; static where it stands in an entry.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    pub ptr: *const u8,
    pub len: usize,
}

impl Str {
    pub const fn new(text: &'static str) -> Self {
        Self { ptr: text.as_ptr(), len: text.len() }
    }

    /// Borrow for the length of one call.
    pub const fn borrow(text: &str) -> Self {
        Self { ptr: text.as_ptr(), len: text.len() }
    }

    /// # Safety
    /// `ptr` points to `len` bytes of UTF-8 that live as long as `'a`.
    pub const unsafe fn as_str<'a>(self) -> &'a str {
        if self.len == 0 {
            return "";
        }
        // SAFETY: promised by the caller.
        unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(self.ptr, self.len)) }
    }
}

/// What a [`RawValue`] holds. Kept as `u32` in the struct, since the other side may send anything.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    None = 0,
    Bool = 1,
    Int = 2,
    UInt = 3,
    Float = 4,
    Str = 5,
    Bytes = 6,
    List = 7,
    Map = 8,
    /// Bytes that stay where they are: only as a whole result, which Python sees as a memoryview until it lets go.
    Buffer = 9,
    /// A message (str), context (map of str), and where there are causes, a list of them, nearest first, each a list of its
    /// kind (int), message and context. The status of the call is the kind of the error itself.
    Error = 10,
    /// A number that stands for something of the component's: only as a whole result; `release` runs when Python lets go.
    Handle = 11,
    /// An int beyond 64 bits: its bytes in two's complement, the lowest first.
    Big = 12,
    /// A value of a type that has no tag: its name (str), what stands for it, and the nearest value with a tag of its own,
    /// or None. In a result the third may be left out.
    Extension = 13,
}

/// What a value with [`Tag::List`] is in Python: its `kind`. Who does not care reads a list.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListKind {
    List = 0,
    Tuple = 1,
    Set = 2,
    FrozenSet = 3,
}

/// Pointer and count: bytes of a str, bytes or big int, values of a list, error or extension, **pairs** of a map.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Span {
    pub ptr: *const c_void,
    pub len: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union Data {
    pub int: i64,
    /// Also a bool, as 0 or 1.
    pub uint: u64,
    pub float: f64,
    pub span: Span,
}

/// A tagged value. Arguments are borrowed for the length of the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawValue {
    pub tag: u32,
    /// A [`ListKind`] with [`Tag::List`]; the error kind with [`Tag::Error`] where no status goes with it; else 0.
    pub kind: u32,
    pub data: Data,
}

impl RawValue {
    pub const NONE: Self = Self { tag: Tag::None as u32, kind: 0, data: Data { uint: 0 } };

    pub const fn bool(value: bool) -> Self {
        Self { tag: Tag::Bool as u32, kind: 0, data: Data { uint: value as u64 } }
    }

    pub const fn int(value: i64) -> Self {
        Self { tag: Tag::Int as u32, kind: 0, data: Data { int: value } }
    }

    pub const fn uint(value: u64) -> Self {
        Self { tag: Tag::UInt as u32, kind: 0, data: Data { uint: value } }
    }

    pub const fn float(value: f64) -> Self {
        Self { tag: Tag::Float as u32, kind: 0, data: Data { float: value } }
    }

    /// A str, bytes, list or map that begins at `ptr`.
    pub const fn span(tag: Tag, ptr: *const c_void, len: usize) -> Self {
        Self { tag: tag as u32, kind: 0, data: Data { span: Span { ptr, len } } }
    }
}

/// The result of a call. Where `release` is set, the caller calls it with `owner` once it has read `value`.
#[repr(C)]
pub struct Returned {
    pub value: RawValue,
    pub owner: *mut c_void,
    pub release: Option<unsafe extern "C" fn(*mut c_void)>,
}

impl Returned {
    pub const EMPTY: Self = Self { value: RawValue::NONE, owner: std::ptr::null_mut(), release: None };
}

#[repr(C)]
pub struct Param {
    pub name: Str,
    /// `str`, `bytes`, `int`, `float`, `bool`, `list`, `dict` or `object`; with ` | None` where None is taken.
    pub type_name: Str,
    /// A Python literal; empty = the argument is required.
    pub default: Str,
}

#[repr(C)]
pub struct Method {
    pub size: u32,
    pub flags: u32,
    pub name: Str,
    pub params: *const Param,
    pub param_count: usize,
    pub returns: Str,
    pub doc: Str,
    /// Instance, arguments (one per parameter, defaults filled in), count, result. Returns a status.
    pub call: unsafe extern "C" fn(*const c_void, *const RawValue, usize, *mut Returned) -> u32,
}

/// A record as it is replayed: borrowed for the call.
#[repr(C)]
pub struct RawRecord {
    pub position: u64,
    /// Microseconds since the epoch, UTC.
    pub time: i64,
    pub kind: u16,
    pub revision: u16,
    pub reserved: u32,
    pub payload: *const u8,
    pub len: usize,
}

/// How grave a line for the host's log is.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warning = 2,
    Error = 3,
}

/// What the host gives a component. Every function may be called from any thread.
#[repr(C)]
pub struct HostTable {
    pub size: u32,
    /// 1 where records must survive power loss: the component then syncs its own files before a record names them.
    pub durable: u32,
    pub context: *mut c_void,
    /// Folder that this component alone may write to; static for the instance's life.
    pub data_dir: Str,
    /// Append one record: context, kind, revision, time (µs), payload, length. Its position, or a negative status.
    /// Never blocks on another process; may be called under a component's lock.
    pub append: unsafe extern "C" fn(*mut c_void, u16, u16, i64, *const u8, usize) -> i64,
    /// Microseconds since the epoch, UTC.
    pub now: unsafe extern "C" fn(*mut c_void) -> i64,
    /// Write a line to the host's log: context, [`Level`], text.
    pub log: unsafe extern "C" fn(*mut c_void, u32, Str),
    /// Wait until the record at a position is as lasting as the mode promises. Blocks; not under a lock.
    pub flush_to: unsafe extern "C" fn(*mut c_void, u64) -> u32,
    /// An ability of the host by id and revision, such as [`ASYNC_EXTENSION`]; null where the host has it not.
    pub extension: unsafe extern "C" fn(*mut c_void, Str) -> *const c_void,
}

/// Id of [`AsyncTable`].
pub const ASYNC_EXTENSION: &str = "symphony.async/1";
/// Id of [`CallsTable`].
pub const CALLS_EXTENSION: &str = "symphony.calls/1";
/// Id of [`CalloutTable`].
pub const CALLOUT_EXTENSION: &str = "symphony.callout/1";
/// Id of [`AskTable`].
pub const ASK_EXTENSION: &str = "symphony.ask/1";

/// Timers and threads of the host.
#[repr(C)]
pub struct AsyncTable {
    pub size: u32,
    pub reserved: u32,
    /// Wake once at a time (µs): context, time, waker borrowed for the call. A number for `cancel_sleep`.
    pub sleep_until: unsafe extern "C" fn(*mut c_void, i64, *const RawWaker) -> u64,
    /// Forget a timer; one that has fired is ignored.
    pub cancel_sleep: unsafe extern "C" fn(*mut c_void, u64),
    /// Run a function once with its data on a thread that may block. A status; with an error it does not run.
    pub spawn_blocking:
        unsafe extern "C" fn(*mut c_void, unsafe extern "C" fn(*mut c_void), *mut c_void) -> u32,
}

/// Calls of the components that the entry declares. Never under a lock.
#[repr(C)]
pub struct CallsTable {
    pub size: u32,
    pub reserved: u32,
    /// Call a FAST or BLOCKING method: context, component id, method, arguments, count, result. A status.
    pub call: unsafe extern "C" fn(*mut c_void, Str, Str, *const RawValue, usize, *mut Returned) -> u32,
}

/// Requests to the Python engine, which answers by calling a method of the component.
#[repr(C)]
pub struct CalloutTable {
    pub size: u32,
    pub reserved: u32,
    /// Post a request: context, name, arguments, count. [`STATUS_OK`], or would-block where no engine listens.
    pub callout: unsafe extern "C" fn(*mut c_void, Str, *const RawValue, usize) -> u32,
}

/// Questions to the Python engine, whose answer is waited for.
#[repr(C)]
pub struct AskTable {
    pub size: u32,
    pub reserved: u32,
    /// Ask: context, name, arguments, count, the operation to poll. Dropped before its end, it cancels Python's task.
    pub ask: unsafe extern "C" fn(*mut c_void, Str, *const RawValue, usize, *mut Returned) -> u32,
}

/// An asynchronous operation, handed out as `Returned { value: NONE, owner: *mut Operation, release: drop }`.
#[repr(C)]
pub struct Operation {
    pub size: u32,
    pub reserved: u32,
    /// Poll with a waker that is borrowed for the call. [`STATUS_PENDING`] or a final status with `Returned` filled.
    pub poll: unsafe extern "C" fn(*mut Self, *const RawWaker, *mut Returned) -> u32,
}

/// Wakes a poller, at most once per poll, from any thread, never under a component's lock.
#[repr(C)]
pub struct RawWaker {
    pub data: *const c_void,
    pub clone: unsafe extern "C" fn(*const c_void) -> Self,
    pub wake: unsafe extern "C" fn(*const c_void),
    pub wake_by_ref: unsafe extern "C" fn(*const c_void),
    pub drop: unsafe extern "C" fn(*const c_void),
}

/// The exported symbol.
#[repr(C)]
pub struct Entry {
    pub magic: [u8; 8],
    pub size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    /// `symphony.pool_manager`, `acme.vectors`
    pub id: Str,
    pub version: Str,
    pub description: Str,
    pub methods: *const Method,
    pub method_count: usize,
    /// Ids of the components that this one calls. The edges between components form no cycle.
    pub calls: *const Str,
    pub call_count: usize,
    /// Highest record revision this library reads.
    pub revision: u16,
    pub reserved: [u16; 3],
    /// Host table (lives as long as the instance), result slot for an error. The instance, or null.
    pub create: unsafe extern "C" fn(*const HostTable, *mut Returned) -> *mut c_void,
    /// The bytes of the newest snapshot, before any `replay`. Null where `snapshot` is.
    pub restore: Option<unsafe extern "C" fn(*const c_void, *const u8, usize, *mut Returned) -> u32>,
    /// One call per record of this component, in log order, before `start`. Null where it appends none.
    pub replay: Option<unsafe extern "C" fn(*const c_void, *const RawRecord, *mut Returned) -> u32>,
    /// All records are replayed; appends are allowed from here on.
    pub start: Option<unsafe extern "C" fn(*const c_void, *mut Returned) -> u32>,
    /// The whole lasting state as bytes, or none. Called between the last `replay` and `destroy`, never after `start`.
    pub snapshot: Option<unsafe extern "C" fn(*const c_void, *mut Returned) -> u32>,
    /// The end: append what was kept back, stop threads. Only operations are dropped afterwards.
    pub stop: Option<unsafe extern "C" fn(*const c_void)>,
    pub destroy: unsafe extern "C" fn(*mut c_void),
    /// An ability of the component by id and revision; null where it has it not. May be null itself.
    pub extension: Option<unsafe extern "C" fn(Str) -> *const c_void>,
}

// SAFETY: an entry and its tables are immutable statics.
unsafe impl Sync for Entry {}
// SAFETY: as above.
unsafe impl Sync for Method {}
// SAFETY: as above.
unsafe impl Sync for Param {}
// SAFETY: as above; elsewhere it is borrowed text.
unsafe impl Sync for Str {}
// SAFETY: borrowed text.
unsafe impl Send for Str {}
