//! The component: contents by hash, versions by name. Names and versions are immutable; a new put of a name is its next version.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Args, Component, Error, Host, Record, Result, Value};

use crate::content::{Content, Hash, Place, Reading, hex};

const KIND_CONTENT: u16 = 1;
const KIND_VERSION: u16 = 2;
const REVISION: u16 = 1;
/// Stands for "a file of its own" where a record has a pack number.
const NO_PACK: u32 = u32::MAX;

struct Stored {
    place: Place,
    size: u64,
    created: i64,
}

struct Version {
    hash: Hash,
    media_type: String,
    step: String,
    metadata: Value,
    created: i64,
}

struct State {
    content: Content,
    stored: HashMap<Hash, Stored>,
    names: BTreeMap<String, Vec<Version>>,
    bytes: u64,
}

/// See the module documentation of the crate.
pub(crate) struct ArtifactStore {
    host: Host,
    state: Mutex<State>,
}

fn parse_id(id: &str) -> Result<Hash> {
    blake3::Hash::from_hex(id)
        .map(Into::into)
        .map_err(|_| Error::invalid(format!("id: expected 64 hexadecimal digits, got {id:?}")))
}

impl State {
    fn add_content(&mut self, hash: Hash, place: Place, size: u64, created: i64) {
        self.content.note(place, size);
        if self.stored.insert(hash, Stored { place, size, created }).is_none() {
            self.bytes += size;
        }
    }

    fn find(&self, hash: &Hash) -> Result<&Stored> {
        self.stored.get(hash).ok_or_else(|| Error::not_found(format!("no artifact {}", hex(hash))))
    }

    fn row(&self, name: &str, number: usize, version: &Version) -> Value {
        Value::map([
            ("id", Value::from(hex(&version.hash))),
            ("name", Value::from(name)),
            ("version", Value::from(number)),
            ("size", Value::from(self.stored.get(&version.hash).map(|stored| stored.size))),
            ("media_type", Value::from(version.media_type.as_str())),
            ("step", Value::from(version.step.as_str())),
            ("metadata", version.metadata.clone()),
            ("created", Value::from(version.created)),
        ])
    }
}

impl ArtifactStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, args: &Args<'_>) -> Result<Value> {
        let (bytes, name, media_type, step) = (args.bytes(0)?, args.str(1)?, args.str(2)?, args.str(4)?);
        let metadata = args.get(3)?;
        if !metadata.is_none() && metadata.as_map().is_none() {
            return Err(Error::invalid(format!("metadata: expected dict, got {}", metadata.type_name())));
        }
        let hash: Hash = blake3::hash(bytes).into();
        let size = bytes.len() as u64;
        let mut state = self.state();
        let now = self.host.now();
        if !state.stored.contains_key(&hash) {
            let place = state.content.write(&hash, bytes)?;
            let (pack, offset) = match place {
                Place::Pack { pack, offset } => (pack, offset),
                Place::File => (NO_PACK, 0),
            };
            let payload = Writer::default().bytes(&hash).u64(size).u32(pack).u64(offset).finish();
            self.host.append(KIND_CONTENT, REVISION, now, &payload)?;
            state.add_content(hash, place, size, now);
        }
        let newest = state.names.get(name).and_then(|versions| versions.last());
        if name.is_empty() || newest.is_some_and(|newest| newest.hash == hash) {
            return Ok(Value::from(hex(&hash)));
        }
        let metadata = metadata.to_owned();
        let payload =
            Writer::default().bytes(&hash).str(name).str(media_type).str(step).value(&metadata).finish();
        self.host.append(KIND_VERSION, REVISION, now, &payload)?;
        let version = Version {
            hash,
            media_type: media_type.to_owned(),
            step: step.to_owned(),
            metadata,
            created: now,
        };
        state.names.entry(name.to_owned()).or_default().push(version);
        Ok(Value::from(hex(&hash)))
    }

    fn reading(&self, hash: &Hash) -> Result<Reading> {
        let mut state = self.state();
        let stored = state.find(hash)?;
        let (place, size) = (stored.place, stored.size);
        state.content.reader(hash, place, size)
    }

    pub fn get(&self, args: &Args<'_>) -> Result<Value> {
        self.reading(&parse_id(args.str(0)?)?)?.read().map(Value::Bytes)
    }

    pub fn verify(&self, args: &Args<'_>) -> Result<Value> {
        let hash = parse_id(args.str(0)?)?;
        let bytes = self.reading(&hash)?.read()?;
        Ok(Value::Bool(Hash::from(blake3::hash(&bytes)) == hash))
    }

    pub fn find(&self, args: &Args<'_>) -> Result<Value> {
        let state = self.state();
        let newest = state.names.get(args.str(0)?).and_then(|versions| versions.last());
        Ok(Value::from(newest.map(|version| hex(&version.hash))))
    }

    pub fn info(&self, args: &Args<'_>) -> Result<Value> {
        let hash = parse_id(args.str(0)?)?;
        let state = self.state();
        let stored = state.find(&hash)?;
        let versions = state.names.iter().flat_map(|(name, versions)| {
            let same = versions.iter().enumerate().filter(|(_, version)| version.hash == hash);
            same.map(|(at, version)| state.row(name, at + 1, version))
        });
        Ok(Value::map([
            ("id", Value::from(hex(&hash))),
            ("size", Value::from(stored.size)),
            ("created", Value::from(stored.created)),
            ("versions", Value::List(versions.collect())),
        ]))
    }

    pub fn list(&self, args: &Args<'_>) -> Result<Value> {
        let prefix = args.str(0)?;
        let state = self.state();
        let named = state.names.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        let newest =
            named.filter_map(|(name, versions)| Some(state.row(name, versions.len(), versions.last()?)));
        Ok(Value::List(newest.collect()))
    }

    #[expect(clippy::unused_self, reason = "every component answers ping, and does nothing")]
    pub fn ping(&self, _args: &Args<'_>) -> Result<Value> {
        Ok(Value::None)
    }

    pub fn stats(&self, _args: &Args<'_>) -> Result<Value> {
        let state = self.state();
        Ok(Value::map([
            ("contents", Value::from(state.stored.len())),
            ("names", Value::from(state.names.len())),
            ("bytes", Value::from(state.bytes)),
        ]))
    }
}

impl Component for ArtifactStore {
    fn create(host: Host) -> Result<Self> {
        let content = Content::new(Path::new(host.data_dir()));
        let state = State { content, stored: HashMap::new(), names: BTreeMap::new(), bytes: 0 };
        Ok(Self { host, state: Mutex::new(state) })
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        let mut reader = Reader::new(record.payload);
        let hash: Hash = reader
            .bytes()?
            .try_into()
            .map_err(|_| Error::corrupt("an artifact record has no 32-byte hash"))?;
        let mut state = self.state();
        match record.kind {
            KIND_CONTENT => {
                let (size, pack, offset) = (reader.u64()?, reader.u32()?, reader.u64()?);
                let place = if pack == NO_PACK { Place::File } else { Place::Pack { pack, offset } };
                state.add_content(hash, place, size, record.time);
            }
            KIND_VERSION => {
                let name = reader.str()?.to_owned();
                let version = Version {
                    hash,
                    media_type: reader.str()?.to_owned(),
                    step: reader.str()?.to_owned(),
                    metadata: reader.value()?,
                    created: record.time,
                };
                state.names.entry(name).or_default().push(version);
            }
            kind => return Err(Error::corrupt(format!("an artifact record has kind {kind}"))),
        }
        Ok(())
    }
}
