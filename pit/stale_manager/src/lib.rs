//! Decides what is kept. Loads and answers; it holds no state yet.

use symphony_pit::{Args, Component, Error, Host, Record, Result, Value};

struct StaleManager;

impl StaleManager {
    #[expect(clippy::unused_self, reason = "every component answers ping, and does nothing")]
    fn ping(&self, _args: &Args<'_>) -> Result<Value> {
        Ok(Value::None)
    }

    #[expect(clippy::unused_self, reason = "there is nothing to count yet")]
    fn stats(&self, _args: &Args<'_>) -> Result<Value> {
        Ok(Value::map([("decisions", Value::Int(0))]))
    }
}

impl Component for StaleManager {
    fn create(_host: Host) -> Result<Self> {
        Ok(Self)
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        Err(Error::corrupt(format!("a record of kind {} comes from a newer version", record.kind)))
    }
}

symphony_pit::export_component! {
    StaleManager, id = "symphony.stale_manager",
    description = "Decides what is kept", revision = 1,
    methods {
        "Do nothing: shows that the component answers."
            FAST ping() -> "None" => StaleManager::ping;
        "Counters: decisions."
            FAST stats() -> "dict" => StaleManager::stats;
    }
}
