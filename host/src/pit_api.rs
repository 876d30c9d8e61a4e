//! Load, resolve, start and stop Pit components.
//!
//! `description` judges a library before any of its code runs, `tables` what it says of itself; `component` is a running one,
//! `host_table` what it gets from the host: the log, and by `timers`, `jobs` and `callouts` what no component does on its own.
//! `past` brings back what a component knew, `compaction` shortens that.
#![allow(unsafe_code)] // reads the ABI's tables and calls through them

mod callouts;
mod compaction;
mod component;
mod defaults;
mod description;
mod error;
mod host_table;
mod jobs;
mod order;
mod past;
mod questions;
mod tables;
mod timers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use symphony_pit_abi::RawRecord;
use symphony_pit_journal::{Coverage, Log, Mark, Options, RecordView, Retirement, Snapshot, forked};

pub use callouts::{Callout, Callouts};
pub use compaction::{Compacted, compact};
pub use component::Component;
pub use description::{Description, MethodView, ParamView};
pub use error::LoadError;
use host_table::Services;
pub use past::{Disabled, disabled};
pub use questions::Question;
pub use tables::MAX_PARAMS;

/// How long a component may take to come into being.
pub const CREATE_PATIENCE: Duration = Duration::from_secs(30);

/// A loaded Pit: its log and its components.
pub struct Pit {
    folder: PathBuf,
    components: Vec<Arc<Component>>,
    services: Arc<Services>,
}

fn raw(record: &RecordView<'_>) -> RawRecord {
    RawRecord {
        position: record.position,
        time: record.time,
        kind: record.kind,
        revision: record.revision,
        reserved: 0,
        payload: record.payload.as_ptr(),
        len: record.payload.len(),
    }
}

/// What the libraries say of themselves, callees before their callers.
fn described(libraries: &[PathBuf]) -> Result<Vec<Description>, LoadError> {
    let described = libraries.iter().map(|path| Description::open(path)).collect::<Result<Vec<_>, _>>()?;
    order::callees_first(&described)
}

impl Pit {
    /// Take the lease of `home`, open its log, load the libraries and give their components their past.
    pub fn open(
        home: &Path,
        libraries: &[PathBuf],
        options: Options,
        patience: Duration,
    ) -> Result<Self, LoadError> {
        let pit = home.join("pit");
        let described = described(libraries)?;
        std::fs::create_dir_all(&pit).map_err(|source| LoadError::Io { path: pit.clone(), source })?;
        let services = Arc::new(Services::new(Log::open(&pit, options)?));
        match Self::run(home, described, &services, patience) {
            Ok(components) => Ok(Self { folder: pit, components, services }),
            Err(error) => {
                services.close(); // a component that hangs must not keep the lease
                Err(error)
            }
        }
    }

    /// Create the components, give each its past, start them.
    fn run(
        home: &Path,
        described: Vec<Description>,
        services: &Arc<Services>,
        patience: Duration,
    ) -> Result<Vec<Arc<Component>>, LoadError> {
        let (pit, log) = (home.join("pit"), services.log()?);
        Snapshot::clear_leftovers(&pit);
        let mark = Mark::open(&pit)?;
        past::heed(&pit, log, &mark)?;
        let make = |library| Component::create(library, services, home, patience).map(Arc::new);
        let components =
            past::enabled(&pit, described).into_iter().map(make).collect::<Result<Vec<_>, _>>()?;
        let components = past::bring_back(&pit, log, &mark, components, make)?;
        services.introduce(&components);
        for component in &components {
            component.start()?;
        }
        mark.forgive(); // what died before is read now
        Ok(components)
    }

    /// Callees before their callers.
    pub fn components(&self) -> &[Arc<Component>] {
        &self.components
    }

    /// What components ask of the engine.
    pub fn callouts(&self) -> &Callouts {
        &self.services.callouts
    }

    /// The log that this Pit appends to.
    pub fn log(&self) -> Result<&Log, LoadError> {
        self.services.log()
    }

    /// Components that were left out, and why.
    pub fn disabled(&self) -> Vec<Disabled> {
        disabled(&self.folder)
    }

    /// Bytes of the log that the oldest snapshot does not cover; a component that makes none is not counted.
    pub fn uncovered(&self) -> u64 {
        let covered = self.components.iter().filter_map(|component| {
            let snapshot = Snapshot::read(&self.folder, component.description.id());
            Some(snapshot.ok()??.covered.position)
        });
        let end = self.services.log().map_or(0, Log::end);
        end.saturating_sub(covered.min().unwrap_or(0))
    }

    /// Let go of the oldest segments of the log: those that end before `before`, where the history is complete, and that the
    /// components can do without.
    pub fn retire(&self, before: u64) -> Result<Retirement, LoadError> {
        let log = self.services.log()?;
        if !log.has_left(before) {
            return Ok(Retirement::default());
        }
        let loaded: Vec<String> =
            self.components.iter().map(|component| component.description.id().to_owned()).collect();
        Ok(log.retire(before, &Coverage { snapshots: Snapshot::positions(&self.folder), loaded })?)
    }

    /// Stop the components, callers first, and give the lease back; the log refuses whatever they do from now on.
    ///
    /// In a forked child nothing happens: all this is the parent's.
    pub fn close(&self) {
        if forked() {
            return;
        }
        self.services.callouts.listen(None);
        for component in self.components.iter().rev() {
            component.stop();
        }
        self.services.close();
    }
}
