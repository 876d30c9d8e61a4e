//! Decides who gets a contended resource. Loads and answers; it holds no state yet.

use symphony_pit::{Args, Component, Error, Host, Record, Result, Value};

struct ArbitrationEngine;

impl ArbitrationEngine {
    #[expect(clippy::unused_self, reason = "every component answers ping, and does nothing")]
    fn ping(&self, _args: &Args<'_>) -> Result<Value> {
        Ok(Value::None)
    }

    #[expect(clippy::unused_self, reason = "there is nothing to count yet")]
    fn stats(&self, _args: &Args<'_>) -> Result<Value> {
        Ok(Value::map([("decisions", Value::Int(0))]))
    }
}

impl Component for ArbitrationEngine {
    fn create(_host: Host) -> Result<Self> {
        Ok(Self)
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        Err(Error::corrupt(format!("a record of kind {} comes from a newer version", record.kind)))
    }
}

symphony_pit::export_component! {
    ArbitrationEngine, id = "symphony.arbitration_engine",
    description = "Decides who gets a contended resource", revision = 1,
    methods {
        "Do nothing: shows that the component answers."
            FAST ping() -> "None" => ArbitrationEngine::ping;
        "Counters: decisions."
            FAST stats() -> "dict" => ArbitrationEngine::stats;
    }
}
