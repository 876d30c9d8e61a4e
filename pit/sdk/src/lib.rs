//! The safe Rust side of the Pit ABI.
//!
//! A component is a type that implements [`Component`], and an impl block marked [`pit_component`], whose methods marked
//! `#[pit_method]` are what Python calls. The table, the conversions and the panic guard are generated; a component contains
//! no `unsafe`. [`record`] writes and reads the payloads of log records. This crate must not know any component.
//!
//! ```
//! use std::sync::Mutex;
//! use symphony_pit::{Component, Host, Record, Result, pit_component, record::{Reader, Writer}};
//!
//! struct Counter { host: Host, value: Mutex<i64> }
//!
//! #[pit_component(id = "acme.counter", description = "Counts", revision = 1)]
//! impl Counter {
//!     /// Add to the counter; gives the new value.
//!     #[pit_method]
//!     fn add(&self, #[default(1)] amount: i64) -> Result<i64> {
//!         let mut value = self.value.lock().unwrap();
//!         self.host.append(1, 1, self.host.now(), &Writer::default().i64(amount).finish())?;
//!         *value += amount;
//!         Ok(*value)
//!     }
//! }
//!
//! impl Component for Counter {
//!     fn create(host: Host) -> Result<Self> {
//!         Ok(Self { host, value: Mutex::default() })
//!     }
//!
//!     fn replay(&self, record: &Record<'_>) -> Result<()> {
//!         *self.value.lock().unwrap() += Reader::new(record.payload).i64()?;
//!         Ok(())
//!     }
//! }
//! # fn main() {}
//! ```

pub mod convert;
pub mod record;
#[cfg(feature = "testing")]
pub mod testing;

extern crate self as symphony_pit; // the macros' names, also within this crate's tests

pub use convert::{FromPit, ToPit};
pub use symphony_pit_abi as abi;
pub use symphony_pit_abi::{
    Args, Boxed, Buffer, Component, Error, ErrorKind, Host, Level, Record, Result, Sleep, Value, ValueRef,
};
pub use symphony_pit_macros::{FromPit, ToPit, pit_component};

/// Turn the result of a method into what crosses the ABI.
pub trait IntoReturned {
    fn into_returned(self) -> Result<abi::Returned>;
}

impl<T: Into<Value>> IntoReturned for Result<T> {
    fn into_returned(self) -> Result<abi::Returned> {
        self.map(|value| abi::Returned::from_value(value.into()))
    }
}

/// The result of an `ASYNC` method.
pub struct Pending(pub Boxed);

impl IntoReturned for Result<Pending> {
    fn into_returned(self) -> Result<abi::Returned> {
        self.map(|Pending(future)| abi::operation(future))
    }
}

/// Export a component: the entry symbol and its method table.
///
/// ```ignore
/// symphony_pit::export_component! {
///     Counter, id = "acme.counter", description = "Counts", revision = 1,
///     methods {
///         "Add to the counter; gives the new value." FAST add(amount: "int" = "1") -> "int" => Counter::add;
///     }
/// }
/// ```
#[macro_export]
macro_rules! export_component {
    (
        $type:ty, id = $id:literal, description = $description:literal, revision = $revision:literal,
        methods { $( $doc:literal $flag:ident $name:ident ( $( $param:ident : $ptype:literal $(= $default:literal)? ),* $(,)? )
                     -> $returns:literal => $body:expr ; )* }
    ) => {
        #[allow(unsafe_code)] // the exported symbol and its functions are the ABI's, generated here and nowhere else
        const _: () = {
            use ::std::ffi::c_void;
            use $crate::abi::{self, Entry, HostTable, Method, Param, RawRecord, RawValue, Returned, Str};

            unsafe extern "C" fn create(table: *const HostTable, out: *mut Returned) -> *mut c_void {
                unsafe { abi::create::<$type>(table, out) }
            }
            unsafe extern "C" fn replay(this: *const c_void, record: *const RawRecord, out: *mut Returned) -> u32 {
                unsafe { abi::replay::<$type>(this, record, out) }
            }
            unsafe extern "C" fn start(this: *const c_void, out: *mut Returned) -> u32 {
                unsafe { abi::start::<$type>(this, out) }
            }
            unsafe extern "C" fn destroy(this: *mut c_void) {
                unsafe { abi::destroy::<$type>(this) }
            }

            static METHODS: &[Method] = &[ $( {
                static PARAMS: &[Param] = &[ $( Param {
                    name: Str::new(stringify!($param)),
                    type_name: Str::new($ptype),
                    default: Str::new(concat!("" $(, $default)?)),
                } ),* ];
                unsafe extern "C" fn call(
                    this: *const c_void, args: *const RawValue, count: usize, out: *mut Returned,
                ) -> u32 {
                    unsafe {
                        abi::call::<$type>(this, args, count, out, PARAMS, |this, args| {
                            $crate::IntoReturned::into_returned($body(&**this, args))
                        })
                    }
                }
                Method {
                    size: size_of::<Method>() as u32,
                    flags: $crate::export_component!(@flag $flag),
                    name: Str::new(stringify!($name)),
                    params: PARAMS.as_ptr(),
                    param_count: PARAMS.len(),
                    returns: Str::new($returns),
                    doc: Str::new($doc),
                    call,
                }
            } ),* ];

            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)] // the name is the ABI's
            pub static symphony_pit_entry_v1: Entry = Entry {
                magic: abi::MAGIC,
                size: size_of::<Entry>() as u32,
                abi_major: abi::ABI_MAJOR,
                abi_minor: abi::ABI_MINOR,
                id: Str::new($id),
                version: Str::new(env!("CARGO_PKG_VERSION")),
                description: Str::new($description),
                methods: METHODS.as_ptr(),
                method_count: METHODS.len(),
                calls: ::std::ptr::null(),
                call_count: 0,
                revision: $revision,
                reserved: [0; 3],
                create,
                restore: None,
                replay: Some(replay),
                start: Some(start),
                snapshot: None,
                stop: None,
                destroy,
                extension: None,
            };
        };
    };
    (@flag FAST) => { $crate::abi::FLAG_FAST };
    (@flag BLOCKING) => { $crate::abi::FLAG_BLOCKING };
    (@flag ASYNC) => { $crate::abi::FLAG_ASYNC };
}
