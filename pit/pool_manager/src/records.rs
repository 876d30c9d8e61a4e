//! What lasts: registrations, limits, usage and cost. Revision 1 knew registrations only, without their last four fields.

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Record, Result};

use crate::model::{Registration, Usage};

pub(crate) const REVISION: u16 = 2;

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Limits {
    /// Bytes that all resident models together may take.
    pub memory: Option<u64>,
    /// Cost up to which leases are given.
    pub budget: Option<f64>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event<'a> {
    Registered {
        model: &'a str,
        registration: Registration,
    },
    Unregistered {
        model: &'a str,
    },
    Limited(Limits),
    /// What was used since the last such record.
    Used {
        model: &'a str,
        usage: Usage,
    },
    BudgetReset,
}

fn write_registration(writer: Writer, registration: &Registration) -> Writer {
    writer
        .str(&registration.provider)
        .u64(registration.memory)
        .u32(registration.instances)
        .f64(registration.cost_per_call)
        .str(&registration.backup)
        .f64(registration.keep_warm)
        .u32(registration.failure_threshold)
}

fn read_registration(reader: &mut Reader<'_>, revision: u16) -> Result<Registration> {
    let (provider, memory, instances) = (reader.str()?.to_owned(), reader.u64()?, reader.u32()?);
    let mut registration = Registration {
        provider,
        memory,
        instances,
        cost_per_call: 0.0,
        backup: String::new(),
        keep_warm: 0.0,
        failure_threshold: 3,
    };
    if revision > 1 {
        registration.cost_per_call = reader.f64()?;
        reader.str()?.clone_into(&mut registration.backup);
        registration.keep_warm = reader.f64()?;
        registration.failure_threshold = reader.u32()?;
    }
    Ok(registration)
}

impl<'a> Event<'a> {
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Registered { .. } => 1,
            Self::Unregistered { .. } => 2,
            Self::Limited(_) => 3,
            Self::Used { .. } => 4,
            Self::BudgetReset => 5,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::with_capacity(96);
        match self {
            Self::Registered { model, registration } => write_registration(writer.str(model), registration),
            Self::Unregistered { model } => writer.str(model),
            Self::Limited(limits) => {
                writer.option(limits.memory, Writer::u64).option(limits.budget, Writer::f64)
            }
            Self::Used { model, usage } => {
                writer.str(model).u64(usage.calls).f64(usage.cost).f64(usage.units)
            }
            Self::BudgetReset => writer,
        }
        .finish()
    }

    pub fn decode(record: &Record<'a>) -> Result<Self> {
        let mut reader = Reader::new(record.payload);
        Ok(match record.kind {
            1 => Self::Registered {
                model: reader.str()?,
                registration: read_registration(&mut reader, record.revision)?,
            },
            2 => Self::Unregistered { model: reader.str()? },
            3 => Self::Limited(Limits {
                memory: reader.option(Reader::u64)?,
                budget: reader.option(Reader::f64)?,
            }),
            4 => Self::Used {
                model: reader.str()?,
                usage: Usage { calls: reader.u64()?, cost: reader.f64()?, units: reader.f64()? },
            },
            5 => Self::BudgetReset,
            kind => return Err(Error::corrupt(format!("a model record has kind {kind}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, revision: u16, payload: &[u8]) -> Record<'_> {
        Record { position: 0, time: 0, kind, revision, payload }
    }

    #[test]
    fn every_event_comes_back_and_every_truncation_is_an_error() {
        let registration = Registration {
            provider: "acme".to_owned(),
            memory: 5,
            instances: 2,
            cost_per_call: 0.25,
            backup: "small".to_owned(),
            keep_warm: 1.5,
            failure_threshold: 4,
        };
        for event in [
            Event::Registered { model: "m", registration },
            Event::Unregistered { model: "m" },
            Event::Limited(Limits { memory: Some(7), budget: None }),
            Event::Used { model: "m", usage: Usage { calls: 3, cost: 0.5, units: 9.0 } },
            Event::BudgetReset,
        ] {
            let bytes = event.encode();
            assert_eq!(Event::decode(&record(event.kind(), REVISION, &bytes)), Ok(event.clone()));
            for cut in 0..bytes.len() {
                assert!(
                    Event::decode(&record(event.kind(), REVISION, &bytes[..cut])).is_err(),
                    "{event:?} {cut}"
                );
            }
        }
    }

    #[test]
    fn a_registration_of_the_first_revision_takes_the_defaults() {
        let bytes = Writer::default().str("m").str("acme").u64(5).u32(2).finish();
        let Ok(Event::Registered { model: "m", registration }) = Event::decode(&record(1, 1, &bytes)) else {
            panic!("not read");
        };
        assert_eq!((registration.memory, registration.instances, registration.failure_threshold), (5, 2, 3));
    }
}
