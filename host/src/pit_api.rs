//! Load, resolve, start and stop Pit components.
//!
//! A library is judged before any of its code runs: the file must be a complete shared object, its entry must begin with the
//! ABI's magic, size and version. Libraries are never closed: native threads and statics would outlive their code.
#![allow(unsafe_code)] // reads the ABI's tables and calls through them

use std::ffi::c_void;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libloading::Library;
use symphony_pit_abi as abi;
use symphony_pit_abi::{
    ABI_MAJOR, ABI_MINOR, ENTRY_SYMBOL, Entry, HostTable, MAGIC, Method, RawRecord, Returned, Str,
};
use symphony_pit_journal::{Log, Options};

use crate::shared_object;

/// Why a component cannot be used.
#[derive(Debug)]
pub enum LoadError {
    /// The file is no component of this ABI.
    Library {
        path: PathBuf,
        expected: String,
        found: String,
    },
    /// Two libraries claim one id.
    Twice {
        id: String,
        first: PathBuf,
        second: PathBuf,
    },
    /// The component refused to start, or to read its own records.
    Component {
        id: String,
        action: &'static str,
        error: abi::Error,
    },
    Log(symphony_pit_journal::Error),
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library { path, expected, found } => {
                write!(f, "{} is no Pit component: expected {expected}, found {found}", path.display())
            }
            Self::Twice { id, first, second } => {
                write!(f, "component {id} is given twice: by {} and by {}", first.display(), second.display())
            }
            Self::Component { id, action, error } => write!(f, "component {id} failed to {action}: {error}"),
            Self::Log(error) => error.fmt(f),
            Self::Io { path, source } => write!(f, "cannot use {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<symphony_pit_journal::Error> for LoadError {
    fn from(error: symphony_pit_journal::Error) -> Self {
        Self::Log(error)
    }
}

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
        [(abi::FLAG_FAST, "FAST"), (abi::FLAG_BLOCKING, "BLOCKING"), (abi::FLAG_ASYNC, "ASYNC")]
            .into_iter()
            .filter(|(flag, _)| self.raw.flags & flag != 0)
            .map(|(_, name)| name)
            .collect()
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
    entry: &'static Entry,
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
        // SAFETY: loading runs the library's initialisers; a plugin's library is trusted as the plugin is.
        let library =
            unsafe { Library::new(path) }.map_err(|error| refuse("a loadable library", error.to_string()))?;
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
        let described = Self { path: path.to_owned(), entry };
        if let Some(method) =
            described.methods().find(|method| (method.raw.size as usize) != size_of::<Method>())
        {
            let expected = format!("methods of {} bytes", size_of::<Method>());
            return Err(refuse(&expected, format!("{} bytes", method.raw.size)));
        }
        Ok(described)
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
}

/// What the functions of a host table get back as their context.
struct Context {
    log: Arc<Log>,
    component: u16,
}

unsafe extern "C" fn append(
    context: *mut c_void,
    kind: u16,
    revision: u16,
    time: i64,
    payload: *const u8,
    len: usize,
) -> i64 {
    // SAFETY: the context of `Component::create`, alive as long as the instance; the payload is borrowed for the call.
    let (context, payload) = unsafe {
        let payload = if len == 0 { &[] } else { std::slice::from_raw_parts(payload, len) };
        (&*context.cast::<Context>(), payload)
    };
    match context.log.append(context.component, kind, revision, time, payload) {
        Ok(position) => position.cast_signed(),
        Err(symphony_pit_journal::Error::TooLarge { .. }) => -3,
        Err(symphony_pit_journal::Error::Closed | symphony_pit_journal::Error::Forked) => -4,
        Err(_) => -8,
    }
}

unsafe extern "C" fn now(_context: *mut c_void) -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A running component.
pub struct Component {
    pub description: Description,
    instance: *mut c_void,
    // Both are what the instance's host table points to; declared after it, so dropped after `destroy`.
    _table: Box<HostTable>,
    _context: Box<Context>,
    _data_dir: Box<str>,
}

// SAFETY: the ABI demands that an instance may be used from any thread.
unsafe impl Send for Component {}
// SAFETY: as above.
unsafe impl Sync for Component {}

impl Component {
    fn create(description: Description, log: &Arc<Log>, data_dir: &Path) -> Result<Self, LoadError> {
        let data_dir = data_dir.to_string_lossy().into_owned().into_boxed_str();
        let mut context =
            Box::new(Context { log: Arc::clone(log), component: log.component(description.id())? });
        let table = Box::new(HostTable {
            size: u32::try_from(size_of::<HostTable>()).unwrap_or(0),
            reserved: 0,
            context: (&raw mut *context).cast(),
            data_dir: Str::borrow(&data_dir),
            append,
            now,
        });
        let mut out = Returned::EMPTY;
        // SAFETY: the table and what it points to live as long as this component.
        let instance = unsafe { (description.entry.create)(&raw const *table, &raw mut out) };
        let component = Self { description, instance, _table: table, _context: context, _data_dir: data_dir };
        if component.instance.is_null() {
            return Err(component.failed("start", 10, out));
        }
        Ok(component)
    }

    fn failed(&self, action: &'static str, status: u32, mut out: Returned) -> LoadError {
        // SAFETY: an error result of the component, read once and released.
        let error = unsafe {
            let error = out.to_error(status);
            out.release();
            error
        };
        LoadError::Component { id: self.description.id().to_owned(), action, error }
    }

    fn replay(&self, record: &RawRecord) -> Result<(), LoadError> {
        let mut out = Returned::EMPTY;
        // SAFETY: an instance of this entry, a record borrowed for the call.
        match unsafe { (self.description.entry.replay)(self.instance, record, &raw mut out) } {
            abi::STATUS_OK => Ok(()),
            status => Err(self.failed("read its records", status, out)),
        }
    }

    fn start(&self) -> Result<(), LoadError> {
        let mut out = Returned::EMPTY;
        // SAFETY: an instance of this entry.
        match unsafe { (self.description.entry.start)(self.instance, &raw mut out) } {
            abi::STATUS_OK => Ok(()),
            status => Err(self.failed("start", status, out)),
        }
    }

    /// What a method's `call` gets as its first argument.
    pub const fn instance(&self) -> *const c_void {
        self.instance
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        if !self.instance.is_null() {
            // SAFETY: made by `create`, destroyed once; calls hold an Arc, so none is under way.
            unsafe { (self.description.entry.destroy)(self.instance) };
        }
    }
}

/// A loaded Pit: its log and its components.
pub struct Pit {
    log: Arc<Log>,
    components: Vec<Arc<Component>>,
}

/// Folder that a component writes to: the Artifact Store's is part of the home's layout, others get one below `pit`.
fn data_dir(home: &Path, id: &str) -> PathBuf {
    if id == "symphony.artifact_store" { home.join("artifacts") } else { home.join("pit/data").join(id) }
}

impl Pit {
    /// Take the lease of `home`, open its log, load the libraries and replay the log into them.
    pub fn open(home: &Path, libraries: &[PathBuf], options: Options) -> Result<Self, LoadError> {
        let described =
            libraries.iter().map(|path| Description::open(path)).collect::<Result<Vec<_>, _>>()?;
        for (at, library) in described.iter().enumerate() {
            if let Some(first) = described[..at].iter().find(|other| other.id() == library.id()) {
                return Err(LoadError::Twice {
                    id: library.id().to_owned(),
                    first: first.path.clone(),
                    second: library.path.clone(),
                });
            }
        }
        let pit = home.join("pit");
        std::fs::create_dir_all(&pit).map_err(|source| LoadError::Io { path: pit.clone(), source })?;
        let log = Arc::new(Log::open(&pit, options)?);
        let components = described
            .into_iter()
            .map(|library| {
                let data_dir = data_dir(home, library.id());
                Component::create(library, &log, &data_dir).map(Arc::new)
            })
            .collect::<Result<Vec<_>, _>>()?;
        log.replay(|record| {
            let Some(component) = components.iter().find(|known| known.description.id() == record.component)
            else {
                return Ok(()); // its plugin is not installed now; the records stay
            };
            component.replay(&RawRecord {
                position: record.position,
                time: record.time,
                kind: record.kind,
                revision: record.revision,
                reserved: 0,
                payload: record.payload.as_ptr(),
                len: record.payload.len(),
            })
        })?;
        for component in &components {
            component.start()?;
        }
        Ok(Self { log, components })
    }

    pub fn components(&self) -> &[Arc<Component>] {
        &self.components
    }

    /// What was found broken in the log and set aside.
    pub fn damage(&self) -> &[symphony_pit_journal::Damage] {
        self.log.damage()
    }

    /// Give the lease back; whatever the components do from now on is refused by the log.
    pub fn close(&self) {
        self.log.close();
    }
}
