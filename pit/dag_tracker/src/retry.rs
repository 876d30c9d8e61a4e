//! What follows on a failed attempt: decided from the policy, the attempt and the record's time, carried out by the engine.

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, FromPit, Result, ToPit};

use symphony_pit::named;

named! { Backoff {
    Constant = "constant",
    Linear = "linear",
    Exponential = "exponential",
}}

named! {
/// What follows when no attempt is left.
OnError {
    Fail = "fail",
    Skip = "skip",
    Fallback = "fallback",
}}

/// A policy as callers write it. What is left out: one attempt, exponential from one second, no jitter, at most an hour,
/// fail, no timeout.
#[derive(FromPit, Clone, Default)]
pub(crate) struct Terms {
    pub max_attempts: Option<u32>,
    pub backoff: Option<String>,
    pub delay: Option<f64>,
    pub max_delay: Option<f64>,
    /// Share of the delay by which it may differ either way, 0 to 1.
    pub jitter: Option<f64>,
    /// Kinds of errors that are repeated; all, if it is left out.
    pub retry_on: Option<Vec<String>>,
    /// Kinds of errors that are never repeated.
    pub give_up_on: Option<Vec<String>>,
    pub on_error: Option<String>,
    /// Name of the step that stands in, for `fallback`.
    pub fallback: Option<String>,
    /// Encoded result, for `skip`.
    pub default: Option<Vec<u8>>,
    /// Seconds that one attempt may take.
    pub timeout: Option<f64>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Policy {
    pub max_attempts: u32,
    pub backoff: Backoff,
    pub delay: f64,
    pub max_delay: f64,
    pub jitter: f64,
    pub retry_on: Option<Vec<String>>,
    pub give_up_on: Vec<String>,
    pub on_error: OnError,
    pub fallback: String,
    pub default: Option<Vec<u8>>,
    pub timeout: Option<f64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts: 1,
            backoff: Backoff::Exponential,
            delay: 1.0,
            max_delay: 3600.0,
            jitter: 0.0,
            retry_on: None,
            give_up_on: Vec::new(),
            on_error: OnError::Fail,
            fallback: String::new(),
            default: None,
            timeout: None,
        }
    }
}

/// What to do now.
#[derive(ToPit, Clone, PartialEq, Debug)]
pub(crate) struct Decision {
    /// retry, fallback, skip or fail.
    pub action: &'static str,
    /// When the next attempt may start (µs), for `retry`.
    pub retry_at: Option<i64>,
    /// Seconds until then.
    pub delay: Option<f64>,
    pub fallback: Option<String>,
    pub default: Option<Vec<u8>>,
    pub reason: String,
}

/// Longest delay of all: a hundred years, so that a deadline always fits.
const LONGEST: f64 = 3.2e9;

fn seconds(name: &str, value: Option<f64>, otherwise: f64, most: f64) -> Result<f64> {
    let value = value.unwrap_or(otherwise);
    if (0.0..=most).contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid(format!("policy.{name}: expected a number from 0 to {most}, got {value}")))
}

impl TryFrom<Terms> for Policy {
    type Error = Error;

    fn try_from(terms: Terms) -> Result<Self> {
        let plain = Self::default();
        let policy = Self {
            max_attempts: terms.max_attempts.unwrap_or(plain.max_attempts),
            backoff: terms
                .backoff
                .map_or(Ok(plain.backoff), |name| Backoff::from_name("policy.backoff", &name))?,
            delay: seconds("delay", terms.delay, plain.delay, LONGEST)?,
            max_delay: seconds("max_delay", terms.max_delay, plain.max_delay, LONGEST)?,
            jitter: seconds("jitter", terms.jitter, plain.jitter, 1.0)?,
            retry_on: terms.retry_on,
            give_up_on: terms.give_up_on.unwrap_or_default(),
            on_error: terms
                .on_error
                .map_or(Ok(plain.on_error), |name| OnError::from_name("policy.on_error", &name))?,
            fallback: terms.fallback.unwrap_or_default(),
            default: terms.default,
            timeout: terms
                .timeout
                .map(|timeout| seconds("timeout", Some(timeout), 0.0, LONGEST))
                .transpose()?,
        };
        if policy.max_attempts == 0 {
            return Err(Error::invalid("policy.max_attempts: expected at least 1, got 0"));
        }
        if policy.on_error == OnError::Fallback && policy.fallback.is_empty() {
            return Err(Error::invalid("policy.fallback: missing, the name of the step that stands in"));
        }
        Ok(policy)
    }
}

/// A number from 0 to below 1 that is the same for the same attempt, on every machine.
fn chance(run: &str, key: &str, attempt: u32) -> f64 {
    let mut mixed = 0xcbf2_9ce4_8422_2325_u64;
    for byte in run.bytes().chain([0]).chain(key.bytes()).chain([0]).chain(attempt.to_le_bytes()) {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 29;
    #[expect(clippy::cast_precision_loss, reason = "the upper 53 bits fit")]
    let share = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
    share
}

impl Policy {
    /// Seconds between the failed attempt, counted from 1, and the next.
    pub fn wait(&self, run: &str, key: &str, attempt: u32) -> f64 {
        let growth = match self.backoff {
            Backoff::Constant => 1.0,
            Backoff::Linear => f64::from(attempt),
            Backoff::Exponential => f64::from(attempt.saturating_sub(1).min(1000)).exp2(),
        };
        let spread = self.jitter.mul_add(chance(run, key, attempt).mul_add(2.0, -1.0), 1.0);
        // Capped before the jitter too, so that a plain delay at the cap still spreads downwards.
        ((self.delay * growth).min(self.max_delay) * spread).min(self.max_delay)
    }

    fn repeats(&self, attempt: u32, kind: &str) -> std::result::Result<(), String> {
        let listed = |kinds: &[String]| kinds.iter().any(|listed| listed == kind);
        if kind == "cancelled" || listed(&self.give_up_on) {
            Err(format!("{kind} is not repeated"))
        } else if self.retry_on.as_deref().is_some_and(|kinds| !listed(kinds)) {
            Err(format!("{kind} is not among the repeated kinds"))
        } else if attempt >= self.max_attempts {
            Err(format!("attempt {attempt} of {} failed", self.max_attempts))
        } else {
            Ok(())
        }
    }

    pub fn decide(&self, run: &str, key: &str, attempt: u32, kind: &str, now: i64) -> Decision {
        let plain = Decision {
            action: "retry",
            retry_at: None,
            delay: None,
            fallback: None,
            default: None,
            reason: format!("attempt {attempt} of {} failed", self.max_attempts),
        };
        match (self.repeats(attempt, kind), self.on_error) {
            (Ok(()), _) => {
                let delay = self.wait(run, key, attempt);
                Decision { retry_at: Some(now.saturating_add(micros(delay))), delay: Some(delay), ..plain }
            }
            // A cancelled step is over: nothing stands in for it.
            (Err(reason), _) if kind == "cancelled" => Decision { action: "fail", reason, ..plain },
            (Err(reason), OnError::Fail) => Decision { action: "fail", reason, ..plain },
            (Err(reason), OnError::Skip) => {
                Decision { action: "skip", default: self.default.clone(), reason, ..plain }
            }
            (Err(reason), OnError::Fallback) => {
                Decision { action: "fallback", fallback: Some(self.fallback.clone()), reason, ..plain }
            }
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let texts =
            |writer: Writer, texts: &Vec<String>| writer.each(texts.iter(), |writer, text| writer.str(text));
        let writer = Writer::with_capacity(64).u32(self.max_attempts).u8(self.backoff as u8);
        let writer = writer.f64(self.delay).f64(self.max_delay).f64(self.jitter);
        let writer = texts(writer.option(self.retry_on.as_ref(), texts), &self.give_up_on);
        let writer = writer.u8(self.on_error as u8).str(&self.fallback);
        writer.option(self.default.as_deref(), Writer::bytes).option(self.timeout, Writer::f64).finish()
    }

    pub fn decode(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let texts = |reader: &mut Reader<'_>| reader.each(|reader| reader.str().map(str::to_owned));
        Ok(Self {
            max_attempts: reader.u32()?,
            backoff: Backoff::from_code(reader.u8()?)?,
            delay: reader.f64()?,
            max_delay: reader.f64()?,
            jitter: reader.f64()?,
            retry_on: reader.option(texts)?,
            give_up_on: texts(&mut reader)?,
            on_error: OnError::from_code(reader.u8()?)?,
            fallback: reader.str()?.to_owned(),
            default: reader.option(|reader| reader.bytes().map(<[u8]>::to_vec))?,
            timeout: reader.option(Reader::f64)?,
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seconds are checked to fit")]
pub(crate) fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(terms: Terms) -> Policy {
        Policy::try_from(Terms { max_attempts: terms.max_attempts.or(Some(5)), delay: Some(2.0), ..terms })
            .unwrap()
    }

    #[test]
    fn backoff_grows_as_named_and_stops_at_the_cap() {
        for (name, expected) in [
            ("constant", [2.0, 2.0, 2.0, 2.0]),
            ("linear", [2.0, 4.0, 6.0, 8.0]),
            ("exponential", [2.0, 4.0, 8.0, 10.0]),
        ] {
            let policy =
                policy(Terms { backoff: Some(name.into()), max_delay: Some(10.0), ..Terms::default() });
            let waits: Vec<f64> = (1..=4).map(|attempt| policy.wait("r", "k", attempt)).collect();
            assert_eq!(waits, expected, "{name}");
        }
        assert!(policy(Terms::default()).wait("r", "k", u32::MAX).is_finite());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the same to the last bit")]
    fn jitter_follows_from_the_attempt_and_stays_in_its_share() {
        let policy =
            policy(Terms { backoff: Some("constant".into()), jitter: Some(0.5), ..Terms::default() });
        let waits: Vec<f64> = (1..200).map(|attempt| policy.wait("r", "k", attempt)).collect();
        assert!(waits.iter().all(|wait| (1.0..3.0).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 1.2) && waits.iter().any(|wait| *wait > 2.8));
        assert_eq!(waits, (1..200).map(|attempt| policy.wait("r", "k", attempt)).collect::<Vec<_>>());
        assert_ne!(policy.wait("r", "k", 1), policy.wait("r", "other", 1));
    }

    #[test]
    fn decisions() {
        let skip = Terms { on_error: Some("skip".into()), default: Some(b"d".to_vec()), ..Terms::default() };
        let other =
            Terms { on_error: Some("fallback".into()), fallback: Some("b".into()), ..Terms::default() };
        let only = Terms { retry_on: Some(vec!["timeout".into()]), ..Terms::default() };
        let never = Terms { give_up_on: Some(vec!["ValueError".into()]), ..Terms::default() };
        for (terms, attempt, kind, action) in [
            (Terms::default(), 1, "error", "retry"),
            (Terms::default(), 4, "error", "retry"),
            (Terms::default(), 5, "error", "fail"),
            (Terms::default(), 1, "cancelled", "fail"),
            (skip.clone(), 1, "error", "retry"),
            (skip.clone(), 5, "error", "skip"),
            (skip, 1, "cancelled", "fail"),
            (other, 5, "error", "fallback"),
            (only.clone(), 1, "timeout", "retry"),
            (only, 1, "error", "fail"),
            (never.clone(), 1, "ValueError", "fail"),
            (never, 1, "error", "retry"),
        ] {
            let decision = policy(terms).decide("r", "k", attempt, kind, 1_000);
            assert_eq!(decision.action, action, "attempt {attempt}, {kind}: {}", decision.reason);
            assert_eq!(decision.retry_at.is_some(), action == "retry");
        }
        assert_eq!(policy(Terms::default()).decide("r", "k", 2, "error", 1_000).retry_at, Some(4_001_000));
    }

    #[test]
    fn policies_come_back_and_wrong_terms_are_refused() {
        let whole = policy(Terms {
            retry_on: Some(vec!["a".into()]),
            default: Some(vec![1]),
            timeout: Some(3.5),
            ..Terms::default()
        });
        assert_eq!(Policy::decode(&whole.encode()), Ok(whole.clone()));
        assert!(Policy::decode(&whole.encode()[..20]).is_err());
        for terms in [
            Terms { max_attempts: Some(0), ..Terms::default() },
            Terms { backoff: Some("cubic".into()), ..Terms::default() },
            Terms { delay: Some(f64::NAN), ..Terms::default() },
            Terms { jitter: Some(1.5), ..Terms::default() },
            Terms { on_error: Some("fallback".into()), ..Terms::default() },
            Terms { timeout: Some(-1.0), ..Terms::default() },
        ] {
            assert!(Policy::try_from(terms).is_err());
        }
    }
}
