//! The records: each change of what lasts as bytes, and back.

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Record, Result, Value};

use crate::artifact::Id;
use crate::ledger::{Counts, Item};
use crate::plan::Decision;
use crate::policy::{Action, Policy};
use crate::score::Weights;

pub(crate) const REVISION: u16 = 1;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event {
    PolicySet(Policy),
    PolicyRemoved(String),
    Weighed(Weights),
    Begun {
        sweep: u64,
        now: i64,
        total: u64,
    },
    /// Comes before the store is asked, so that no kill leaves trash that no sweep knows.
    Stepping {
        sweep: u64,
        items: Vec<Item>,
    },
    Stepped {
        sweep: u64,
        counts: Counts,
    },
    Committed {
        sweep: u64,
    },
    Aborted {
        sweep: u64,
    },
}

impl Event {
    pub const fn kind(&self) -> u16 {
        match self {
            Self::PolicySet(_) => 1,
            Self::PolicyRemoved(_) => 2,
            Self::Weighed(_) => 3,
            Self::Begun { .. } => 4,
            Self::Stepping { .. } => 5,
            Self::Stepped { .. } => 6,
            Self::Committed { .. } => 7,
            Self::Aborted { .. } => 8,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::default();
        match self {
            Self::PolicySet(one) => policy(writer, one),
            Self::PolicyRemoved(name) => writer.str(name),
            Self::Weighed(one) => weights(writer, one),
            Self::Begun { sweep, now, total } => writer.u64(*sweep).i64(*now).u64(*total),
            Self::Stepping { sweep, items } => {
                items.iter().fold(writer.u64(*sweep).u64(items.len() as u64), item)
            }
            Self::Stepped { sweep, counts } => {
                let Counts { deleted, archived, kept, bytes } = *counts;
                writer.u64(*sweep).u64(deleted).u64(archived).u64(kept).u64(bytes)
            }
            Self::Committed { sweep } | Self::Aborted { sweep } => writer.u64(*sweep),
        }
        .finish()
    }

    pub fn decode(record: &Record<'_>) -> Result<Self> {
        let mut reader = Reader::new(record.payload);
        let reader = &mut reader;
        Ok(match record.kind {
            1 => Self::PolicySet(read_policy(reader)?),
            2 => Self::PolicyRemoved(reader.str()?.to_owned()),
            3 => Self::Weighed(read_weights(reader)?),
            4 => Self::Begun { sweep: reader.u64()?, now: reader.i64()?, total: reader.u64()? },
            5 => {
                let sweep = reader.u64()?;
                let items = (0..reader.u64()?).map(|_| read_item(reader)).collect::<Result<_>>()?;
                Self::Stepping { sweep, items }
            }
            6 => {
                let sweep = reader.u64()?;
                let (deleted, archived) = (reader.u64()?, reader.u64()?);
                Self::Stepped {
                    sweep,
                    counts: Counts { deleted, archived, kept: reader.u64()?, bytes: reader.u64()? },
                }
            }
            7 => Self::Committed { sweep: reader.u64()? },
            8 => Self::Aborted { sweep: reader.u64()? },
            kind => {
                return Err(Error::corrupt(format!("a record of kind {kind} comes from a newer version")));
            }
        })
    }
}

pub(crate) fn item(writer: Writer, item: &Item) -> Writer {
    let decision = match item.decision {
        Decision::Keep => 0,
        Decision::Archive => 1,
        Decision::Delete => 2,
    };
    let writer = writer.bytes(&item.id.0).u8(decision).u64(item.score.to_bits()).u64(item.size);
    writer.str(&item.name).str(&item.policy).str(&item.reason)
}

pub(crate) fn read_id(reader: &mut Reader<'_>) -> Result<Id> {
    let bytes = reader.bytes()?.try_into();
    bytes.map(Id).map_err(|_| Error::corrupt("a record holds an id of a strange length"))
}

pub(crate) fn read_item(reader: &mut Reader<'_>) -> Result<Item> {
    Ok(Item {
        id: read_id(reader)?,
        decision: match reader.u8()? {
            0 => Decision::Keep,
            1 => Decision::Archive,
            2 => Decision::Delete,
            _ => return Err(Error::corrupt("a record holds an unknown decision")),
        },
        score: f64::from_bits(reader.u64()?),
        size: reader.u64()?,
        name: reader.str()?.to_owned(),
        policy: reader.str()?.to_owned(),
        reason: reader.str()?.to_owned(),
        sweep: 0,
        time: 0,
    })
}

pub(crate) fn read_kept_item(reader: &mut Reader<'_>) -> Result<Item> {
    let item = read_item(reader)?;
    Ok(Item { sweep: reader.u64()?, time: reader.i64()?, ..item })
}

pub(crate) fn weights(writer: Writer, weights: &Weights) -> Writer {
    let Weights { recency, frequency, uniqueness, mark, half_life, high_value } = *weights;
    let fields = [recency, frequency, uniqueness, mark, half_life, high_value];
    fields.into_iter().fold(writer, |writer, field| writer.u64(field.to_bits()))
}

pub(crate) fn read_weights(reader: &mut Reader<'_>) -> Result<Weights> {
    let mut field = || reader.u64().map(f64::from_bits);
    let weights = Weights {
        recency: field()?,
        frequency: field()?,
        uniqueness: field()?,
        mark: field()?,
        half_life: field()?,
        high_value: field()?,
    };
    weights.check()
}

pub(crate) fn policy(writer: Writer, policy: &Policy) -> Writer {
    let rules = Value::map(policy.rules.iter().map(|(key, value)| (key.as_str(), value.clone())));
    let archives = u8::from(policy.action == Action::Archive);
    writer.str(&policy.name).i64(policy.priority.into()).u8(archives).str(&policy.folder).value(&rules)
}

pub(crate) fn read_policy(reader: &mut Reader<'_>) -> Result<Policy> {
    let (name, priority, archives, folder) = (reader.str()?, reader.i64()?, reader.u8()? != 0, reader.str()?);
    let priority =
        i32::try_from(priority).map_err(|_| Error::corrupt("a record holds a strange priority"))?;
    let Value::Map(pairs) = reader.value()? else {
        return Err(Error::corrupt("a record holds rules that are no dict"));
    };
    let rules = pairs.into_iter().filter_map(|(key, value)| match key {
        Value::Str(key) => Some((key, value)),
        _ => None,
    });
    let action = if archives { Action::Archive } else { Action::Delete };
    Policy::new(name, rules.collect(), priority, action, folder)
}
