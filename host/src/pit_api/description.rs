//! A component library, judged before any of its code runs: the file must be a complete shared object, its entry must begin
//! with the ABI's magic, size and version. Libraries are never closed: native threads and statics would outlive their code.

use std::path::{Path, PathBuf};

use libloading::Library;
use symphony_pit_abi as abi;
use symphony_pit_abi::{ABI_MAJOR, ABI_MINOR, ENTRY_SYMBOL, Entry, MAGIC, Method, Str};

use super::{LoadError, tables};
use crate::shared_object;

/// A method of a loaded component.
#[derive(Clone, Copy)]
pub struct MethodView {
    pub raw: &'static Method,
}

/// One parameter of a method.
#[derive(Clone, Copy, Debug)]
pub struct ParamView {
    pub name: &'static str,
    pub type_name: &'static str,
    /// A Python literal; empty = required.
    pub default: &'static str,
}

impl MethodView {
    pub fn name(self) -> &'static str {
        // SAFETY: entries and what they point to are static.
        unsafe { self.raw.name.as_str() }
    }

    pub fn doc(self) -> &'static str {
        // SAFETY: as above.
        unsafe { self.raw.doc.as_str() }
    }

    pub fn returns(self) -> &'static str {
        // SAFETY: as above.
        unsafe { self.raw.returns.as_str() }
    }

    pub fn params(self) -> Vec<ParamView> {
        // SAFETY: as above.
        let params = unsafe { static_slice(self.raw.params, self.raw.param_count) };
        params
            .iter()
            // SAFETY: as above.
            .map(|param| unsafe {
                ParamView {
                    name: param.name.as_str(),
                    type_name: param.type_name.as_str(),
                    default: param.default.as_str(),
                }
            })
            .collect()
    }

    /// The names of the flags that are set, upper case.
    pub fn flags(self) -> Vec<&'static str> {
        const NAMES: [(u32, &str); 5] = [
            (abi::FLAG_FAST, "FAST"),
            (abi::FLAG_BLOCKING, "BLOCKING"),
            (abi::FLAG_ASYNC, "ASYNC"),
            (abi::FLAG_STREAM, "STREAM"),
            (abi::FLAG_WAITING, "WAITING"),
        ];
        NAMES.into_iter().filter(|(flag, _)| self.raw.flags & flag != 0).map(|(_, name)| name).collect()
    }

    /// `(model: str, slots: int = 1) -> int`
    pub fn signature(self) -> String {
        let params: Vec<String> = self
            .params()
            .iter()
            .map(|param| match param.default {
                "" => format!("{}: {}", param.name, param.type_name),
                default => format!("{}: {} = {default}", param.name, param.type_name),
            })
            .collect();
        format!("({}) -> {}", params.join(", "), self.returns())
    }
}

/// # Safety
/// `ptr` points to `len` items that live forever.
unsafe fn static_slice<T>(ptr: *const T, len: usize) -> &'static [T] {
    // SAFETY: promised by the caller.
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(ptr, len) } }
}

/// A component library whose entry was checked; none of its functions has run.
#[derive(Clone)]
pub struct Description {
    pub path: PathBuf,
    pub(super) entry: &'static Entry,
}

impl Description {
    /// Open a library and check its entry.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let refuse = |expected: &str, found: String| LoadError::Library {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        shared_object::check(path).map_err(|found| refuse(&shared_object::expected(), found))?;
        // A name without a slash would be searched for among the system's libraries.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // SAFETY: loading runs the library's initialisers; a plugin's library is trusted as the plugin is.
        let library = unsafe { Library::new(absolute) }.map_err(|error| {
            // What the loader says, as "undefined symbol: x", is the error's source.
            let reason =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            refuse("a loadable library", reason)
        })?;
        // SAFETY: only an address is taken here; what lies there is compared before it is used.
        let entry = unsafe { library.get::<*const Entry>(ENTRY_SYMBOL) }
            .map(|symbol| *symbol)
            .map_err(|_| refuse(&format!("the symbol {ENTRY_SYMBOL}"), "a library without it".to_owned()))?;
        std::mem::forget(library);
        // SAFETY: magic, size and version are the first 16 bytes of every entry, of whatever version.
        let (magic, size, major, minor) =
            unsafe { ((*entry).magic, (*entry).size, (*entry).abi_major, (*entry).abi_minor) };
        if magic != MAGIC {
            return Err(refuse("the magic SYMPHPIT", format!("the bytes {magic:02x?}")));
        }
        if major != ABI_MAJOR || minor > ABI_MINOR {
            return Err(refuse(&format!("ABI {ABI_MAJOR}.{ABI_MINOR}"), format!("ABI {major}.{minor}")));
        }
        if (size as usize) < size_of::<Entry>() {
            return Err(refuse(
                &format!("an entry of {} bytes", size_of::<Entry>()),
                format!("{size} bytes"),
            ));
        }
        // SAFETY: checked above, static, never unloaded.
        let entry = unsafe { &*entry };
        tables::check(entry).map_err(|fault| refuse(&fault.expected, fault.found))?;
        Ok(Self { path: path.to_owned(), entry })
    }

    /// `symphony.pool_manager`
    pub fn id(&self) -> &'static str {
        // SAFETY: entries and what they point to are static.
        unsafe { self.entry.id.as_str() }
    }

    /// `pool_manager`
    pub fn name(&self) -> &'static str {
        self.id().rsplit('.').next().unwrap_or_default()
    }

    pub fn version(&self) -> &'static str {
        // SAFETY: as above.
        unsafe { self.entry.version.as_str() }
    }

    pub fn summary(&self) -> &'static str {
        // SAFETY: as above.
        unsafe { self.entry.description.as_str() }
    }

    pub fn methods(&self) -> impl Iterator<Item = MethodView> + use<> {
        // SAFETY: as above.
        unsafe { static_slice(self.entry.methods, self.entry.method_count) }
            .iter()
            .map(|raw| MethodView { raw })
    }

    /// Ids of the components that it calls.
    pub fn calls(&self) -> impl Iterator<Item = &'static str> + use<> {
        // SAFETY: as above.
        unsafe { static_slice(self.entry.calls, self.entry.call_count) }
            .iter()
            // SAFETY: as above.
            .map(|id| unsafe { id.as_str() })
    }

    /// Highest record revision that it reads.
    pub const fn revision(&self) -> u16 {
        self.entry.revision
    }

    /// Whether the component has an optional ability, such as `symphony.example/1`.
    pub fn extension(&self, id: &str) -> bool {
        // SAFETY: a function of the entry that answers by a static table, or null.
        self.entry.extension.is_some_and(|ask| !unsafe { ask(Str::borrow(id)) }.is_null())
    }
}
