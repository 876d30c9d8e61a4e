//! What stands in the log. Revision 1 had `Stored` and `Named`, the latter without parent, message and author; revision 3 added
//! `Cooled`. The other shapes are those of revision 2, also in the snapshots, which do not say a revision.

use std::num::NonZeroU64;

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Record, Result, Value};

use crate::hash::Hash;
use crate::place::Place;

pub(crate) const REVISION: u16 = 3;
/// Stands for "a file of its own" where a record has a pack number.
const NO_PACK: u32 = u32::MAX;

/// A new version of a name.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Naming {
    pub hash: Hash,
    pub name: String,
    pub media_type: String,
    pub step: String,
    pub metadata: Value,
    /// Version that it was made from; 0 = none.
    pub parent: u32,
    pub message: String,
    pub author: String,
}

/// How often content was read since the last such record, and when last (µs).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Access {
    pub hash: Hash,
    pub count: u64,
    pub last: i64,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event {
    /// Content is complete at a place, as it was put: new, or moved there.
    Stored {
        hash: Hash,
        size: u64,
        place: Place,
    },
    Named(Naming),
    Tagged {
        hash: Hash,
        added: Vec<String>,
        removed: Vec<String>,
    },
    /// A step made it from other artifacts.
    Made {
        hash: Hash,
        step: String,
        inputs: Vec<Hash>,
    },
    Trashed {
        hashes: Vec<Hash>,
        reason: String,
    },
    Restored {
        hashes: Vec<Hash>,
    },
    Deleted {
        hashes: Vec<Hash>,
    },
    Accessed {
        accesses: Vec<Access>,
    },
    /// A user's mark from 0 to 1, or none.
    Marked {
        hash: Hash,
        value: Option<f64>,
    },
    Annotated {
        hash: Hash,
        metadata: Value,
    },
    /// The bytes lie in another folder.
    Archived {
        hash: Hash,
        folder: String,
    },
    /// Content is complete at a place, compressed to so many bytes.
    Cooled {
        hash: Hash,
        place: Place,
        bytes: NonZeroU64,
    },
}

fn write_place(writer: Writer, place: Place) -> Writer {
    match place {
        Place::Pack { pack, offset } => writer.u32(pack).u64(offset),
        Place::File => writer.u32(NO_PACK).u64(0),
    }
}

fn place(reader: &mut Reader<'_>) -> Result<Place> {
    let (pack, offset) = (reader.u32()?, reader.u64()?);
    Ok(if pack == NO_PACK { Place::File } else { Place::Pack { pack, offset } })
}

fn write_hashes(writer: Writer, hashes: &[Hash]) -> Writer {
    writer.each(hashes.iter(), |writer, hash| writer.bytes(hash))
}

fn write_texts(writer: Writer, texts: &[String]) -> Writer {
    writer.each(texts.iter(), |writer, text| writer.str(text))
}

fn hash(reader: &mut Reader<'_>) -> Result<Hash> {
    reader.bytes()?.try_into().map_err(|_| Error::corrupt("an artifact record has no 32-byte hash"))
}

fn text(reader: &mut Reader<'_>) -> Result<String> {
    reader.str().map(str::to_owned)
}

impl Event {
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Stored { .. } => 1,
            Self::Named(_) => 2,
            Self::Tagged { .. } => 3,
            Self::Made { .. } => 4,
            Self::Trashed { .. } => 5,
            Self::Restored { .. } => 6,
            Self::Deleted { .. } => 7,
            Self::Accessed { .. } => 8,
            Self::Marked { .. } => 9,
            Self::Annotated { .. } => 10,
            Self::Archived { .. } => 11,
            Self::Cooled { .. } => 12,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::with_capacity(128);
        match self {
            Self::Stored { hash, size, place } => write_place(writer.bytes(hash).u64(*size), *place),
            Self::Named(naming) => writer
                .bytes(&naming.hash)
                .str(&naming.name)
                .str(&naming.media_type)
                .str(&naming.step)
                .value(&naming.metadata)
                .u32(naming.parent)
                .str(&naming.message)
                .str(&naming.author),
            Self::Tagged { hash, added, removed } => {
                write_texts(write_texts(writer.bytes(hash), added), removed)
            }
            Self::Made { hash, step, inputs } => write_hashes(writer.bytes(hash).str(step), inputs),
            Self::Trashed { hashes, reason } => write_hashes(writer.str(reason), hashes),
            Self::Restored { hashes } | Self::Deleted { hashes } => write_hashes(writer, hashes),
            Self::Accessed { accesses } => writer.each(accesses.iter(), |writer, access| {
                writer.bytes(&access.hash).u64(access.count).i64(access.last)
            }),
            Self::Marked { hash, value } => writer.bytes(hash).option(*value, Writer::f64),
            Self::Annotated { hash, metadata } => writer.bytes(hash).value(metadata),
            Self::Archived { hash, folder } => writer.bytes(hash).str(folder),
            Self::Cooled { hash, place, bytes } => write_place(writer.bytes(hash), *place).u64(bytes.get()),
        }
        .finish()
    }

    pub fn decode(record: &Record<'_>) -> Result<Self> {
        let mut reader = Reader::new(record.payload);
        let reader = &mut reader;
        Ok(match record.kind {
            1 => Self::Stored { hash: hash(reader)?, size: reader.u64()?, place: place(reader)? },
            2 => {
                let mut naming = Naming {
                    hash: hash(reader)?,
                    name: text(reader)?,
                    media_type: text(reader)?,
                    step: text(reader)?,
                    metadata: reader.value()?,
                    parent: 0,
                    message: String::new(),
                    author: String::new(),
                };
                if record.revision > 1 {
                    naming.parent = reader.u32()?;
                    naming.message = text(reader)?;
                    naming.author = text(reader)?;
                }
                Self::Named(naming)
            }
            3 => Self::Tagged { hash: hash(reader)?, added: reader.each(text)?, removed: reader.each(text)? },
            4 => Self::Made { hash: hash(reader)?, step: text(reader)?, inputs: reader.each(hash)? },
            5 => Self::Trashed { reason: text(reader)?, hashes: reader.each(hash)? },
            6 => Self::Restored { hashes: reader.each(hash)? },
            7 => Self::Deleted { hashes: reader.each(hash)? },
            8 => Self::Accessed {
                accesses: reader.each(|reader| {
                    Ok(Access { hash: hash(reader)?, count: reader.u64()?, last: reader.i64()? })
                })?,
            },
            9 => Self::Marked { hash: hash(reader)?, value: reader.option(Reader::f64)? },
            10 => Self::Annotated { hash: hash(reader)?, metadata: reader.value()? },
            11 => Self::Archived { hash: hash(reader)?, folder: text(reader)? },
            12 => Self::Cooled {
                hash: hash(reader)?,
                place: place(reader)?,
                bytes: NonZeroU64::new(reader.u64()?)
                    .ok_or_else(|| Error::corrupt("an artifact record has no bytes"))?,
            },
            kind => return Err(Error::corrupt(format!("an artifact record has kind {kind}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_comes_back_and_every_truncation_is_an_error() {
        let hash = [7; 32];
        let naming = Naming {
            hash,
            name: "n".into(),
            media_type: "text/plain".into(),
            step: "s".into(),
            metadata: Value::map([("k", Value::Int(1))]),
            parent: 2,
            message: "m".into(),
            author: "a".into(),
        };
        for event in [
            Event::Stored { hash, size: 5, place: Place::Pack { pack: 1, offset: 9 } },
            Event::Stored { hash, size: 5, place: Place::File },
            Event::Named(naming),
            Event::Tagged { hash, added: vec!["x".into()], removed: vec![] },
            Event::Made { hash, step: "s".into(), inputs: vec![[1; 32], [2; 32]] },
            Event::Trashed { hashes: vec![hash], reason: "old".into() },
            Event::Restored { hashes: vec![hash] },
            Event::Deleted { hashes: vec![hash, hash] },
            Event::Accessed { accesses: vec![Access { hash, count: 3, last: -1 }] },
            Event::Marked { hash, value: Some(0.5) },
            Event::Annotated { hash, metadata: Value::None },
            Event::Archived { hash, folder: "/f".into() },
            Event::Cooled { hash, place: Place::Pack { pack: 3, offset: 8 }, bytes: NonZeroU64::MIN },
            Event::Cooled { hash, place: Place::File, bytes: NonZeroU64::MAX },
        ] {
            let bytes = event.encode();
            let record =
                |payload| Record { position: 0, time: 0, kind: event.kind(), revision: REVISION, payload };
            assert_eq!(Event::decode(&record(&bytes)), Ok(event.clone()));
            let older = Record { revision: 2, ..record(&bytes) };
            assert_eq!(Event::decode(&older), Ok(event.clone()), "as it was in revision 2");
            for cut in 0..bytes.len() {
                assert!(Event::decode(&record(&bytes[..cut])).is_err(), "{event:?} {cut}");
            }
        }
    }
}
