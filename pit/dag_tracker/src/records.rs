//! The records of the DAG Tracker, and their bytes.

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Result};

use crate::states::{RunEvent, RunState, StepEvent, StepState};
use symphony_pit::named;

/// Revision of `RunsForgotten`; the kinds from `StepsAdded` to it came with revision 2, those before with revision 1.
pub const REVISION: u16 = 3;

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Outcome {
    Completed = 0,
    Failed = 1,
    /// Completed, with a result from the cache.
    Cached = 2,
    Skipped = 3,
}

impl Outcome {
    pub fn from_code(code: u8) -> Result<Self> {
        match code {
            0 => Ok(Self::Completed),
            1 => Ok(Self::Failed),
            2 => Ok(Self::Cached),
            3 => Ok(Self::Skipped),
            _ => Err(Error::invalid(format!("state: expected 0 to 3, got {code}"))),
        }
    }
}

impl Outcome {
    pub const fn state(self) -> StepState {
        match self {
            Self::Completed | Self::Cached => StepState::Completed,
            Self::Failed => StepState::Failed,
            Self::Skipped => StepState::Skipped,
        }
    }

    pub const fn event(self) -> StepEvent {
        match self {
            Self::Completed => StepEvent::Complete,
            Self::Cached => StepEvent::Reuse,
            Self::Failed => StepEvent::Fail,
            Self::Skipped => StepEvent::Skip,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RunStatus {
    Completed = 0,
    Failed = 1,
    Cancelled = 2,
}

impl RunStatus {
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "completed" => Ok(Self::Completed),
            "failed" => Ok(Self::Failed),
            "cancelled" => Ok(Self::Cancelled),
            _ => {
                Err(Error::invalid(format!("status: expected completed, failed or cancelled, got {name:?}")))
            }
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub const fn event(self) -> RunEvent {
        match self {
            Self::Completed => RunEvent::Complete,
            Self::Failed => RunEvent::Fail,
            Self::Cancelled => RunEvent::Cancel,
        }
    }

    pub const fn state(self) -> RunState {
        match self {
            Self::Completed => RunState::Completed,
            Self::Failed => RunState::Failed,
            Self::Cancelled => RunState::Cancelled,
        }
    }

    pub fn from_code(code: u8) -> Result<Self> {
        match code {
            0 => Ok(Self::Completed),
            1 => Ok(Self::Failed),
            2 => Ok(Self::Cancelled),
            _ => Err(Error::corrupt(format!("a run record has status {code}"))),
        }
    }
}

/// What happened to a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// `info` is a JSON object, `inputs` codec bytes.
    RunAccepted {
        info: &'a [u8],
        inputs: &'a [u8],
    },
    StepStarted {
        key: &'a str,
        name: &'a str,
        attempt: u32,
        dependencies: Vec<&'a str>,
    },
    /// `retry_at`: wall-clock deadline of the next attempt, µs.
    AttemptFailed {
        key: &'a str,
        attempt: u32,
        error: &'a str,
        retry_at: i64,
    },
    StepFinished {
        key: &'a str,
        name: &'a str,
        fingerprint: &'a [u8],
        outcome: Outcome,
        payload: &'a [u8],
    },
    TimerFired {
        key: &'a str,
    },
    Command {
        command: &'a str,
    },
    RunFinished {
        status: RunStatus,
        payload: &'a [u8],
    },
    /// Sections of new texts and of steps, as the graph reads them.
    StepsAdded {
        steps: &'a [u8],
    },
    /// Outcomes, delivered one by one in this order.
    StepsFinished {
        steps: Vec<Finished<'a>>,
    },
    /// A person's word on one step.
    StepControlled {
        key: &'a str,
        control: StepControl,
    },
    /// `text`: the reason of a pause, the prompt of a question; `key`: of the question.
    RunControlled {
        control: RunControl,
        key: &'a str,
        text: &'a str,
    },
    /// The answer of a question.
    InputProvided {
        key: &'a str,
        payload: &'a [u8],
    },
    /// Finished runs that the history has. The record itself is of no run.
    RunsForgotten {
        runs: Vec<&'a str>,
    },
}

/// One outcome of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finished<'a> {
    pub key: &'a str,
    pub name: &'a str,
    pub fingerprint: &'a [u8],
    pub outcome: Outcome,
    pub payload: &'a [u8],
}

named! { StepControl { Retry = "retry", Skip = "skip", Cancel = "cancel" } }

named! { RunControl { Pause = "pause", Resume = "resume", Wait = "wait_for_input" } }

impl Event<'_> {
    pub const fn kind(&self) -> u16 {
        match self {
            Self::RunAccepted { .. } => 1,
            Self::StepStarted { .. } => 2,
            Self::AttemptFailed { .. } => 3,
            Self::StepFinished { .. } => 4,
            Self::TimerFired { .. } => 5,
            Self::Command { .. } => 6,
            Self::RunFinished { .. } => 7,
            Self::StepsAdded { .. } => 8,
            Self::StepsFinished { .. } => 9,
            Self::StepControlled { .. } => 10,
            Self::RunControlled { .. } => 11,
            Self::InputProvided { .. } => 12,
            Self::RunsForgotten { .. } => 13,
        }
    }

    pub const fn revision(&self) -> u16 {
        match self.kind() {
            ..8 => 1,
            8..13 => 2,
            _ => REVISION,
        }
    }

    /// The payload, written over what is in `buffer`.
    pub fn encode(&self, run: &str, buffer: Vec<u8>) -> Vec<u8> {
        let writer = Writer::over(buffer).str(run);
        match self {
            Self::RunAccepted { info, inputs } => writer.bytes(info).bytes(inputs),
            Self::StepStarted { key, name, attempt, dependencies } => {
                let count = u32::try_from(dependencies.len()).unwrap_or(u32::MAX); // the log refuses far smaller ones
                let writer = writer.str(key).str(name).u32(*attempt).u32(count);
                dependencies.iter().fold(writer, |writer, key| writer.str(key))
            }
            Self::AttemptFailed { key, attempt, error, retry_at } => {
                writer.str(key).u32(*attempt).str(error).i64(*retry_at)
            }
            Self::StepFinished { key, name, fingerprint, outcome, payload } => {
                writer.str(key).str(name).bytes(fingerprint).u8(*outcome as u8).bytes(payload)
            }
            Self::TimerFired { key } => writer.str(key),
            Self::Command { command } => writer.str(command),
            Self::RunFinished { status, payload } => writer.u8(*status as u8).bytes(payload),
            Self::StepsAdded { steps } => writer.bytes(steps),
            Self::StepsFinished { steps } => writer.each(steps.iter(), |writer, step| {
                let writer = writer.str(step.key).str(step.name).bytes(step.fingerprint);
                writer.u8(step.outcome as u8).bytes(step.payload)
            }),
            Self::StepControlled { key, control } => writer.str(key).u8(*control as u8),
            Self::RunControlled { control, key, text } => writer.u8(*control as u8).str(key).str(text),
            Self::InputProvided { key, payload } => writer.str(key).bytes(payload),
            Self::RunsForgotten { runs } => writer.each(runs.iter(), |writer, run| writer.str(run)),
        }
        .finish()
    }

    /// The run and the event of a record of this component.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<(&str, Event<'_>)> {
        let mut reader = Reader::new(payload);
        let run = reader.str()?;
        let event = match kind {
            1 => Event::RunAccepted { info: reader.bytes()?, inputs: reader.bytes()? },
            2 => {
                let (key, name, attempt, count) =
                    (reader.str()?, reader.str()?, reader.u32()?, reader.u32()?);
                let dependencies = (0..count).map(|_| reader.str()).collect::<Result<_>>()?;
                Event::StepStarted { key, name, attempt, dependencies }
            }
            3 => Event::AttemptFailed {
                key: reader.str()?,
                attempt: reader.u32()?,
                error: reader.str()?,
                retry_at: reader.i64()?,
            },
            4 => Event::StepFinished {
                key: reader.str()?,
                name: reader.str()?,
                fingerprint: reader.bytes()?,
                outcome: Outcome::from_code(reader.u8()?)?,
                payload: reader.bytes()?,
            },
            5 => Event::TimerFired { key: reader.str()? },
            6 => Event::Command { command: reader.str()? },
            7 => Event::RunFinished { status: RunStatus::from_code(reader.u8()?)?, payload: reader.bytes()? },
            8 => Event::StepsAdded { steps: reader.bytes()? },
            9 => Event::StepsFinished { steps: reader.each(Finished::read)? },
            10 => {
                Event::StepControlled { key: reader.str()?, control: StepControl::from_code(reader.u8()?)? }
            }
            11 => Event::RunControlled {
                control: RunControl::from_code(reader.u8()?)?,
                key: reader.str()?,
                text: reader.str()?,
            },
            12 => Event::InputProvided { key: reader.str()?, payload: reader.bytes()? },
            13 => Event::RunsForgotten { runs: reader.each(Reader::str)? },
            _ => return Err(Error::corrupt(format!("a run record has kind {kind}"))),
        };
        Ok((run, event))
    }
}

impl<'a> Finished<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        Ok(Self {
            key: reader.str()?,
            name: reader.str()?,
            fingerprint: reader.bytes()?,
            outcome: Outcome::from_code(reader.u8()?)?,
            payload: reader.bytes()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_comes_back() {
        let events = [
            Event::RunAccepted { info: b"{}", inputs: b"i" },
            Event::StepStarted { key: "r:a#0", name: "a", attempt: 2, dependencies: vec!["r:b#0", "r:c#0"] },
            Event::AttemptFailed { key: "r:a#0", attempt: 1, error: "boom", retry_at: -5 },
            Event::StepFinished {
                key: "r:a#0",
                name: "a",
                fingerprint: b"f",
                outcome: Outcome::Cached,
                payload: b"=p",
            },
            Event::TimerFired { key: "r~0" },
            Event::Command { command: "cancel" },
            Event::RunFinished { status: RunStatus::Failed, payload: b"={}" },
            Event::StepsAdded { steps: b"sections" },
            Event::StepsFinished {
                steps: vec![
                    Finished {
                        key: "a",
                        name: "n",
                        fingerprint: b"f",
                        outcome: Outcome::Completed,
                        payload: b"=",
                    },
                    Finished {
                        key: "b",
                        name: "",
                        fingerprint: b"",
                        outcome: Outcome::Skipped,
                        payload: b"",
                    },
                ],
            },
            Event::StepControlled { key: "a", control: StepControl::Cancel },
            Event::RunControlled { control: RunControl::Wait, key: "q", text: "Deploy?" },
            Event::InputProvided { key: "q", payload: b"=yes" },
            Event::RunsForgotten { runs: vec!["a", "b"] },
        ];
        for event in events {
            let bytes = event.encode("run", vec![0; 9]);
            assert_eq!(Event::decode(event.kind(), &bytes), Ok(("run", event.clone())));
            for cut in 0..bytes.len() {
                assert!(Event::decode(event.kind(), &bytes[..cut]).is_err(), "{event:?} cut at {cut}");
            }
        }
    }
}
