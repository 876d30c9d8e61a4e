//! The `repr(C)` structs and constants: what lies in memory on both sides.

use std::ffi::c_void;

/// First eight bytes of every entry.
pub const MAGIC: [u8; 8] = *b"SYMPHPIT";
/// Components of another major version are refused.
pub const ABI_MAJOR: u16 = 1;
/// Components of a newer minor version are refused; older ones are served.
pub const ABI_MINOR: u16 = 0;
/// Name of the exported data symbol.
pub const ENTRY_SYMBOL: &str = "symphony_pit_entry_v1";

/// The method never blocks and may run attached to Python.
pub const FLAG_FAST: u32 = 1;
/// The method may block: the bridge detaches from Python first.
pub const FLAG_BLOCKING: u32 = 2;
/// The method returns an [`Operation`].
pub const FLAG_ASYNC: u32 = 4;

/// Status of a call that succeeded; every other value is an error kind or [`STATUS_PENDING`].
pub const STATUS_OK: u32 = 0;
/// Status of a poll whose operation is not done.
pub const STATUS_PENDING: u32 = u32::MAX;

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
}

/// Pointer and count: bytes of a str or bytes, values of a list, **pairs** of a map.
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
    pub reserved: u32,
    pub data: Data,
}

impl RawValue {
    pub const NONE: Self = Self { tag: Tag::None as u32, reserved: 0, data: Data { uint: 0 } };

    pub const fn bool(value: bool) -> Self {
        Self { tag: Tag::Bool as u32, reserved: 0, data: Data { uint: value as u64 } }
    }

    pub const fn int(value: i64) -> Self {
        Self { tag: Tag::Int as u32, reserved: 0, data: Data { int: value } }
    }

    pub const fn uint(value: u64) -> Self {
        Self { tag: Tag::UInt as u32, reserved: 0, data: Data { uint: value } }
    }

    pub const fn float(value: f64) -> Self {
        Self { tag: Tag::Float as u32, reserved: 0, data: Data { float: value } }
    }

    /// A str, bytes, list or map that begins at `ptr`.
    pub const fn span(tag: Tag, ptr: *const c_void, len: usize) -> Self {
        Self { tag: tag as u32, reserved: 0, data: Data { span: Span { ptr, len } } }
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

/// What the host gives a component. Every function may be called from any thread.
#[repr(C)]
pub struct HostTable {
    pub size: u32,
    pub reserved: u32,
    pub context: *mut c_void,
    /// Folder that this component alone may write to; static for the instance's life.
    pub data_dir: Str,
    /// Append one record: context, kind, revision, time (µs), payload, length. Its position, or a negative status.
    pub append: unsafe extern "C" fn(*mut c_void, u16, u16, i64, *const u8, usize) -> i64,
    /// Microseconds since the epoch, UTC.
    pub now: unsafe extern "C" fn(*mut c_void) -> i64,
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
    /// Highest record revision this library reads.
    pub revision: u16,
    pub reserved: [u16; 3],
    /// Host table (lives as long as the instance), result slot for an error. The instance, or null.
    pub create: unsafe extern "C" fn(*const HostTable, *mut Returned) -> *mut c_void,
    /// One call per record of this component, in log order, before `start`.
    pub replay: unsafe extern "C" fn(*const c_void, *const RawRecord, *mut Returned) -> u32,
    /// All records are replayed; appends are allowed from here on.
    pub start: unsafe extern "C" fn(*const c_void, *mut Returned) -> u32,
    pub destroy: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: an entry and its tables are immutable statics.
unsafe impl Sync for Entry {}
// SAFETY: as above.
unsafe impl Sync for Method {}
// SAFETY: as above.
unsafe impl Sync for Param {}
