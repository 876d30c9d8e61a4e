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

/// What a plugin says about a model; this lasts, the rest dies with the interpreter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Registration {
    pub provider: String,
    /// Estimate, bytes.
    pub memory: u64,
    /// Leases that may be out at once.
    pub instances: u32,
}

pub(crate) struct Model {
    pub registration: Registration,
    pub state: ModelState,
    pub reason: String,
    pub leased: u32,
    pub hits: u64,
    pub misses: u64,
    pub loads: u64,
    pub load_seconds: f64,
}

impl Model {
    pub const fn new(registration: Registration) -> Self {
        Self {
            registration,
            state: ModelState::Cold,
            reason: String::new(),
            leased: 0,
            hits: 0,
            misses: 0,
            loads: 0,
            load_seconds: 0.0,
        }
    }

    pub fn transition(&mut self, name: &str, transition: Transition) -> Result<()> {
        self.state = self.state.after(transition).ok_or_else(|| {
            Error::conflict(format!("model {name} is {}: {transition:?} is not possible", self.state.name()))
        })?;
        Ok(())
    }

    /// Whether a lease of so many slots can be given now.
    pub fn free(&self, slots: u32) -> bool {
        self.state == ModelState::Hot && self.leased + slots <= self.registration.instances
    }

    pub fn row(&self, name: &str) -> Value {
        Value::map([
            ("name", Value::from(name)),
            ("provider", Value::from(self.registration.provider.as_str())),
            ("memory", Value::from(self.registration.memory)),
            ("instances", Value::from(self.registration.instances)),
            ("state", Value::from(self.state.name())),
            ("reason", Value::from(self.reason.as_str())),
            ("leased", Value::from(self.leased)),
            ("hits", Value::from(self.hits)),
            ("misses", Value::from(self.misses)),
            ("loads", Value::from(self.loads)),
            ("load_seconds", Value::from(self.load_seconds)),
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
