//! One model: Cold → Warming → Hot → Cooling → Cold, and Failed from Warming, Hot or Cooling, left only by recovery.

use symphony_pit::{Error, Result, Value};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ModelState {
    Cold,
    Warming,
    Hot,
    Cooling,
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transition {
    Warm,
    Warmed,
    Cool,
    Cooled,
    Fail,
    Recover,
}

impl Transition {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warm => "to warm it",
            Self::Warmed => "that it is warmed",
            Self::Cool => "to cool it",
            Self::Cooled => "that it is cooled",
            Self::Fail => "that it fails",
            Self::Recover => "to recover it",
        }
    }
}

impl ModelState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warming => "warming",
            Self::Hot => "hot",
            Self::Cooling => "cooling",
            Self::Failed => "failed",
        }
    }

    /// The next state, or none where the transition is not legal.
    pub const fn after(self, transition: Transition) -> Option<Self> {
        match (self, transition) {
            (Self::Cold, Transition::Warm) => Some(Self::Warming),
            (Self::Warming, Transition::Warmed) => Some(Self::Hot),
            (Self::Hot, Transition::Cool) => Some(Self::Cooling),
            (Self::Cooling, Transition::Cooled) | (Self::Failed, Transition::Recover) => Some(Self::Cold),
            (Self::Warming | Self::Hot | Self::Cooling, Transition::Fail) => Some(Self::Failed),
            _ => None,
        }
    }
}

/// What a plugin says about a model; this lasts, states and leases die with the interpreter.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Registration {
    pub provider: String,
    /// Estimate in bytes of what it takes once it is loaded.
    pub memory: u64,
    /// Slots that may be leased at once.
    pub instances: u32,
    pub cost_per_call: f64,
    /// Model that serves while this one is failed; empty = none.
    pub backup: String,
    /// Seconds that an idle model is kept before it may be evicted.
    pub keep_warm: f64,
    /// Failed health checks in a row after which the model is failed.
    pub failure_threshold: u32,
}

/// What a model was used for; lasts.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Usage {
    pub calls: u64,
    pub cost: f64,
    /// What the caller counts, such as tokens.
    pub units: f64,
}

/// What is measured since the interpreter started.
#[derive(Default, Debug)]
pub(crate) struct Metrics {
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
    pub cold_starts_avoided: u64,
    pub waits: u64,
    pub wait_seconds: f64,
    pub wait_max: f64,
    pub loads: u64,
    pub load_seconds: f64,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub name: String,
    pub registration: Registration,
    pub state: ModelState,
    /// Why it is failed.
    pub reason: String,
    /// Slots that are leased now.
    pub leased: u32,
    /// When its last lease was given back (µs), and in which order: the least recently used is evicted first.
    pub idle_since: i64,
    pub last_use: u64,
    /// The engine was asked to load or to unload it, and has not begun yet.
    pub load_asked: bool,
    pub unload_asked: bool,
    /// Loaded ahead of its first use.
    pub prewarmed: bool,
    /// Failed health checks in a row.
    pub failures: u32,
    pub usage: Usage,
    /// The part of `usage` that is not recorded yet.
    pub unrecorded: Usage,
    pub metrics: Metrics,
}

impl Model {
    pub fn new(name: &str, registration: Registration) -> Self {
        Self {
            name: name.to_owned(),
            registration,
            state: ModelState::Cold,
            reason: String::new(),
            leased: 0,
            idle_since: 0,
            last_use: 0,
            load_asked: false,
            unload_asked: false,
            prewarmed: false,
            failures: 0,
            usage: Usage::default(),
            unrecorded: Usage::default(),
            metrics: Metrics::default(),
        }
    }

    pub fn transition(&mut self, transition: Transition) -> Result<()> {
        self.state = self.state.after(transition).ok_or_else(|| {
            let (name, state) = (&self.name, self.state.name());
            Error::conflict(format!("model {name} is {state}: {} is not possible", transition.name()))
        })?;
        Ok(())
    }

    /// Whether a lease of so many slots can be given now.
    pub const fn free(&self, slots: u32) -> bool {
        matches!(self.state, ModelState::Hot) && self.leased + slots <= self.registration.instances
    }

    /// Whether it takes memory.
    pub const fn is_resident(&self) -> bool {
        matches!(self.state, ModelState::Warming | ModelState::Hot | ModelState::Cooling)
    }

    /// When it may be evicted (µs), as far as nobody leases it.
    pub fn evictable_at(&self) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "seconds that a user wrote")]
        let keep = (self.registration.keep_warm * 1e6) as i64;
        let idle = self.state == ModelState::Hot && self.leased == 0;
        idle.then(|| self.idle_since.saturating_add(keep))
    }

    pub fn count(&mut self, used: Usage) {
        for sum in [&mut self.usage, &mut self.unrecorded] {
            sum.calls += used.calls;
            sum.cost += used.cost;
            sum.units += used.units;
        }
    }

    pub fn row(&self, waiting: usize) -> Value {
        let (terms, metrics) = (&self.registration, &self.metrics);
        Value::map([
            ("name", Value::from(self.name.as_str())),
            ("provider", Value::from(terms.provider.as_str())),
            ("memory", Value::from(terms.memory)),
            ("instances", Value::from(terms.instances)),
            ("cost_per_call", Value::from(terms.cost_per_call)),
            ("backup", Value::from(terms.backup.as_str())),
            ("keep_warm", Value::from(terms.keep_warm)),
            ("failure_threshold", Value::from(terms.failure_threshold)),
            ("state", Value::from(self.state.name())),
            ("reason", Value::from(self.reason.as_str())),
            ("leased", Value::from(self.leased)),
            ("waiting", Value::from(waiting)),
            ("hits", Value::from(metrics.hits)),
            ("misses", Value::from(metrics.misses)),
            ("evictions", Value::from(metrics.evictions)),
            ("cold_starts_avoided", Value::from(metrics.cold_starts_avoided)),
            ("waits", Value::from(metrics.waits)),
            ("wait_seconds", Value::from(metrics.wait_seconds)),
            ("wait_max", Value::from(metrics.wait_max)),
            ("loads", Value::from(metrics.loads)),
            ("load_seconds", Value::from(metrics.load_seconds)),
            ("failures", Value::from(self.failures)),
            ("calls", Value::from(self.usage.calls)),
            ("cost", Value::from(self.usage.cost)),
            ("units", Value::from(self.usage.units)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_legal_transitions_are_possible() {
        use ModelState::{Cold, Cooling, Failed, Hot, Warming};
        use Transition::{Cool, Cooled, Fail, Recover, Warm, Warmed};
        let legal = [
            (Cold, Warm, Warming),
            (Warming, Warmed, Hot),
            (Warming, Fail, Failed),
            (Hot, Cool, Cooling),
            (Hot, Fail, Failed),
            (Cooling, Cooled, Cold),
            (Cooling, Fail, Failed),
            (Failed, Recover, Cold),
        ];
        for state in [Cold, Warming, Hot, Cooling, Failed] {
            for transition in [Warm, Warmed, Cool, Cooled, Fail, Recover] {
                let next = legal.iter().find(|row| (row.0, row.1) == (state, transition)).map(|row| row.2);
                assert_eq!(state.after(transition), next, "{state:?} {transition:?}");
            }
        }
    }
}
