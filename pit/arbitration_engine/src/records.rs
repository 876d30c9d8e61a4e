//! What lasts: resources with their terms, shares, cost that was consumed, every decision. Revision 1 recorded nothing.

use std::sync::Arc;

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Record, Result};

use crate::audit::{Decision, Reason, Row, Tally, Why};
use crate::resource::{Kind, Terms};
use crate::strategy::{Policy, Strategy};

pub(crate) const REVISION: u16 = 2;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event<'a> {
    Defined {
        resource: &'a str,
        terms: Terms,
    },
    Undefined {
        resource: &'a str,
    },
    Shared {
        owner: &'a str,
        weight: f64,
    },
    Consumed {
        resource: &'a str,
        amount: f64,
    },
    BudgetReset {
        resource: &'a str,
    },
    Decided(Row),
    /// Only in a snapshot: decisions that are counted, but no longer listed.
    Counted(Tally, u64),
}

fn write_row(writer: Writer, row: &Row) -> Writer {
    writer
        .u64(row.number)
        .i64(row.time)
        .u64(row.ticket.unwrap_or(0))
        .str(&row.resource)
        .str(&row.owner)
        .f64(row.amount)
        .i64(row.priority)
        .u8(row.decision as u8)
        .u8(row.reason.why as u8)
        .str(&row.reason.detail)
        .u32(row.waiting)
        .u32(row.position)
}

fn read_row(reader: &mut Reader<'_>) -> Result<Row> {
    Ok(Row {
        number: reader.u64()?,
        time: reader.i64()?,
        ticket: Some(reader.u64()?).filter(|ticket| *ticket > 0),
        resource: Arc::from(reader.str()?),
        owner: Arc::from(reader.str()?),
        amount: reader.f64()?,
        priority: reader.i64()?,
        decision: Decision::from_code(reader.u8()?)?,
        reason: Reason::new(Why::from_code(reader.u8()?)?, reader.str()?.to_owned()),
        waiting: reader.u32()?,
        position: reader.u32()?,
    })
}

impl<'a> Event<'a> {
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Defined { .. } => 1,
            Self::Undefined { .. } => 2,
            Self::Shared { .. } => 3,
            Self::Consumed { .. } => 4,
            Self::BudgetReset { .. } => 5,
            Self::Decided(_) => 6,
            Self::Counted(..) => 7,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::with_capacity(128);
        match self {
            Self::Defined { resource, terms } => writer
                .str(resource)
                .u8(terms.kind as u8)
                .f64(terms.capacity)
                .u8(terms.policy.strategy as u8)
                .f64(terms.policy.ageing_rate)
                .u64(terms.policy.seed)
                .f64(terms.policy.minimum),
            Self::Undefined { resource } | Self::BudgetReset { resource } => writer.str(resource),
            Self::Shared { owner, weight } => writer.str(owner).f64(*weight),
            Self::Consumed { resource, amount } => writer.str(resource).f64(*amount),
            Self::Decided(row) => write_row(writer, row),
            Self::Counted(tally, last) => tally
                .counts
                .iter()
                .fold(writer.u64(*last).u64(tally.deadlocks), |writer, count| writer.u64(*count)),
        }
        .finish()
    }

    pub fn decode(record: &Record<'a>) -> Result<Self> {
        let mut reader = Reader::new(record.payload);
        Ok(match record.kind {
            1 => Self::Defined {
                resource: reader.str()?,
                terms: Terms {
                    kind: Kind::from_code(reader.u8()?)?,
                    capacity: reader.f64()?,
                    policy: Policy {
                        strategy: Strategy::from_code(reader.u8()?)?,
                        ageing_rate: reader.f64()?,
                        seed: reader.u64()?,
                        minimum: reader.f64()?,
                    },
                },
            },
            2 => Self::Undefined { resource: reader.str()? },
            3 => Self::Shared { owner: reader.str()?, weight: reader.f64()? },
            4 => Self::Consumed { resource: reader.str()?, amount: reader.f64()? },
            5 => Self::BudgetReset { resource: reader.str()? },
            6 => Self::Decided(read_row(&mut reader)?),
            7 => {
                let last = reader.u64()?;
                let mut tally = Tally { deadlocks: reader.u64()?, ..Tally::default() };
                for count in &mut tally.counts {
                    *count = reader.u64()?;
                }
                Self::Counted(tally, last)
            }
            kind => {
                return Err(Error::corrupt(format!("a record of kind {kind} comes from a newer version")));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_comes_back_and_every_truncation_is_an_error() {
        let policy = Policy { strategy: Strategy::WeightedRandom, seed: 9, ..Policy::default() };
        let row = Row {
            number: 7,
            time: 5,
            ticket: Some(3),
            resource: "gpu".into(),
            owner: "run".into(),
            amount: 1.5,
            priority: -100,
            decision: Decision::Denied,
            reason: Reason::new(Why::Deadlock, "a path".to_owned()),
            waiting: 4,
            position: 2,
        };
        for event in [
            Event::Defined { resource: "gpu", terms: Terms { kind: Kind::Cpu, capacity: 2.0, policy } },
            Event::Undefined { resource: "gpu" },
            Event::Shared { owner: "run", weight: 2.0 },
            Event::Consumed { resource: "euro", amount: 0.25 },
            Event::BudgetReset { resource: "euro" },
            Event::Decided(Row { ticket: None, ..row.clone() }),
            Event::Decided(row),
            Event::Counted(Tally { counts: [1, 2, 3, 4], deadlocks: 5 }, 6),
        ] {
            let payload = event.encode();
            let decode = |payload| {
                let record = Record { position: 0, time: 0, kind: event.kind(), revision: REVISION, payload };
                Event::decode(&record).map(|event| format!("{event:?}"))
            };
            assert_eq!(decode(&payload), Ok(format!("{event:?}")));
            for cut in 0..payload.len() {
                assert!(decode(&payload[..cut]).is_err(), "{event:?} {cut}");
            }
        }
    }
}
