//! Load, resolve, start and stop Pit components.
//!
//! `description` judges a library before any of its code runs, `component` is a running one, `host_table` what it gets from
//! the host: the log, and by `timers`, `jobs` and `callouts` what no component does on its own.
#![allow(unsafe_code)] // reads the ABI's tables and calls through them

mod callouts;
mod component;
mod defaults;
mod description;
mod error;
mod host_table;
mod jobs;
mod order;
mod timers;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use symphony_pit_abi::RawRecord;
use symphony_pit_journal::{Log, Options, RecordView};

pub use callouts::{Callout, Callouts};
pub use component::Component;
pub use description::{Description, MethodView, ParamView};
pub use error::LoadError;
use host_table::Services;

/// How long a component may take to come into being.
pub const CREATE_PATIENCE: Duration = Duration::from_secs(30);

/// A loaded Pit: its log and its components.
pub struct Pit {
    components: Vec<Arc<Component>>,
    services: Arc<Services>,
}

/// Folder that a component writes to: the Artifact Store's is part of the home's layout, others get one below `pit`.
fn data_dir(home: &Path, id: &str) -> PathBuf {
    if id == "symphony.artifact_store" { home.join("artifacts") } else { home.join("pit/data").join(id) }
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

impl Pit {
    /// Take the lease of `home`, open its log, load the libraries and replay the log into them.
    pub fn open(
        home: &Path,
        libraries: &[PathBuf],
        options: Options,
        patience: Duration,
    ) -> Result<Self, LoadError> {
        let described =
            libraries.iter().map(|path| Description::open(path)).collect::<Result<Vec<_>, _>>()?;
        let described = order::callees_first(&described)?;
        let pit = home.join("pit");
        std::fs::create_dir_all(&pit).map_err(|source| LoadError::Io { path: pit.clone(), source })?;
        let services = Arc::new(Services {
            log: Arc::new(Log::open(&pit, options)?),
            timers: timers::Timers::default(),
            jobs: jobs::Jobs::default(),
            callouts: Callouts::default(),
            components: OnceLock::new(),
        });
        match Self::run(home, described, &services, patience) {
            Ok(components) => Ok(Self { components, services }),
            Err(error) => {
                services.log.close(); // a component that hangs must not keep the lease
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
        let components = described
            .into_iter()
            .map(|library| {
                let data_dir = data_dir(home, library.id());
                Component::create(library, services, &data_dir, patience).map(Arc::new)
            })
            .collect::<Result<Vec<_>, _>>()?;
        services.log.replay(|record| {
            let known = components.iter().find(|known| known.description.id() == record.component);
            // Without one, its plugin is not installed now; the records stay.
            known.map_or(Ok(()), |component| component.replay(&raw(&record)))
        })?;
        let _ = services.components.set(components.iter().map(Arc::downgrade).collect()); // set here alone
        for component in &components {
            component.start()?;
        }
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

    /// What was found broken in the log and set aside.
    pub fn damage(&self) -> &[symphony_pit_journal::Damage] {
        self.services.log.damage()
    }

    /// Stop the components, callers first, and give the lease back; the log refuses whatever they do from now on.
    pub fn close(&self) {
        self.services.callouts.listen(None);
        for component in self.components.iter().rev() {
            component.stop();
        }
        self.services.log.close();
    }
}
