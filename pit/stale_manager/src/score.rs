//! The value of an artifact: a number in [0, 1], the weighted mean of four parts, each in [0, 1].
//!
//! - recency = 0.5 ^ (seconds since the last use / half-life): exponential decay, as in Firefox's *frecency*;
//! - frequency = min(1, log2(1 + accesses) / 10): logarithmic, as Redis counts for its LFU eviction, full at 1,023 accesses;
//! - uniqueness = 1 / the number of contents in its smallest family. A family is a name with each run of digits read as one
//!   `#`, so that versions of one name, and the same output of many runs, are alike. Nameless contents are one family;
//! - mark = what its user says. Without a mark this part is left out of the mean.

use symphony_pit::{Error, Result, ToPit};

use crate::artifact::Artifact;

#[derive(Clone, Copy, PartialEq, Debug, ToPit)]
pub(crate) struct Weights {
    pub recency: f64,
    pub frequency: f64,
    pub uniqueness: f64,
    pub mark: f64,
    /// Seconds in which recency halves.
    pub half_life: f64,
    /// From this score on an artifact is never deleted.
    pub high_value: f64,
}

/// With these a mark of 1 alone makes an artifact high-value (12 / 16), and a new one that no one used is not.
impl Default for Weights {
    fn default() -> Self {
        Self {
            recency: 1.0,
            frequency: 2.0,
            uniqueness: 1.0,
            mark: 12.0,
            half_life: 30.0 * 86_400.0,
            high_value: 0.75,
        }
    }
}

/// A score that still lacks the uniqueness, which needs the whole inventory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partial {
    sum: f64,
    weight: f64,
}

impl Weights {
    pub fn check(self) -> Result<Self> {
        let weights = [
            ("recency", self.recency),
            ("frequency", self.frequency),
            ("uniqueness", self.uniqueness),
            ("mark", self.mark),
        ];
        for (name, weight) in weights {
            if !weight.is_finite() || weight < 0.0 {
                return Err(Error::invalid(format!("{name}: expected a weight of at least 0, got {weight}")));
            }
        }
        if self.recency + self.frequency + self.uniqueness <= 0.0 {
            return Err(Error::invalid(
                "recency, frequency, uniqueness: one at least must weigh more than 0",
            ));
        }
        if !self.half_life.is_finite() || self.half_life <= 0.0 {
            return Err(Error::invalid(format!(
                "half_life: expected seconds above 0, got {}",
                self.half_life
            )));
        }
        if !(0.0..=1.0).contains(&self.high_value) {
            return Err(Error::invalid(format!("high_value: expected 0 to 1, got {}", self.high_value)));
        }
        Ok(self)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count whose logarithm is taken")]
    pub fn partial(&self, artifact: &Artifact, now: i64) -> Partial {
        let recency = (-seconds(now, artifact.last_access) / self.half_life).exp2();
        let frequency = ((artifact.accesses as f64).ln_1p() / 1024_f64.ln()).min(1.0);
        let sum = self.recency * recency + self.frequency * frequency;
        let weight = self.recency + self.frequency + self.uniqueness;
        match artifact.mark {
            Some(mark) => Partial { sum: sum + self.mark * mark, weight: weight + self.mark },
            None => Partial { sum, weight },
        }
    }

    pub fn complete(&self, partial: Partial, uniqueness: f64) -> f64 {
        ((partial.sum + self.uniqueness * uniqueness) / partial.weight).clamp(0.0, 1.0)
    }
}

/// Seconds from then until now; 0 for what lies ahead.
#[expect(clippy::cast_precision_loss, reason = "µs of some years")]
pub(crate) fn seconds(now: i64, then: i64) -> f64 {
    now.saturating_sub(then).max(0) as f64 / 1e6
}

/// The name with each run of digits read as one `#`.
pub(crate) fn family(name: &str) -> String {
    let mut family = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '0'..='9' if family.ends_with('#') => {}
            '0'..='9' => family.push('#'),
            _ => family.push(letter),
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn score(artifact: &Artifact, uniqueness: f64) -> f64 {
        let weights = Weights::default();
        weights.complete(weights.partial(artifact, 30 * DAY), uniqueness)
    }

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-12, "{left} {right}");
    }

    #[test]
    fn each_part_weighs_as_documented() {
        let old = Artifact::default(); // last used one half-life ago
        close(score(&old, 0.0), 0.5 / 4.0);
        close(score(&old, 0.5), (0.5 + 0.5) / 4.0);
        close(score(&Artifact { accesses: 31, ..old.clone() }, 0.0), (0.5 + 2.0 * 0.5) / 4.0);
        close(score(&Artifact { accesses: u64::MAX, ..old.clone() }, 0.0), (0.5 + 2.0) / 4.0);
        close(score(&Artifact { last_access: 60 * DAY, ..old.clone() }, 0.0), 1.0 / 4.0);
        close(score(&Artifact { mark: Some(0.5), ..old }, 0.0), (0.5 + 6.0) / 16.0);
    }

    #[test]
    fn a_full_mark_alone_is_high_value_and_a_new_unique_artifact_is_not() {
        let weights = Weights::default();
        let ancient = Artifact { last_access: i64::MIN / 2, mark: Some(1.0), ..Artifact::default() };
        assert!(score(&ancient, 0.0) >= weights.high_value);
        let new = Artifact { last_access: 30 * DAY, ..Artifact::default() };
        assert!(score(&new, 1.0) < weights.high_value);
    }

    #[test]
    fn versions_and_runs_are_one_family() {
        assert_eq!(family("run-12/step-3/out.json"), "run-#/step-#/out.json");
        assert_eq!(family("run-7/step-10/out.json"), "run-#/step-#/out.json");
        assert_eq!(family("größe"), "größe");
    }

    #[test]
    fn weights_that_make_no_mean_are_refused() {
        let fine = Weights::default();
        assert_eq!(fine.check(), Ok(fine));
        for wrong in [
            Weights { recency: -1.0, ..fine },
            Weights { mark: f64::NAN, ..fine },
            Weights { recency: 0.0, frequency: 0.0, uniqueness: 0.0, ..fine },
            Weights { half_life: 0.0, ..fine },
            Weights { high_value: 1.1, ..fine },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
