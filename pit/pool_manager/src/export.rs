//! The method table.

use crate::pool::PoolManager;

symphony_pit::export_component! {
    PoolManager, id = "symphony.pool_manager",
    description = "The life of every model: loading, leases, limits", revision = 1,
    methods {
        "Do nothing: shows that the component answers."
            FAST ping() -> "None" => PoolManager::ping;
        "Counters: models, hot, leases, waiting, hits, misses."
            FAST stats() -> "dict" => PoolManager::stats;
        "Make a model known; memory is an estimate in bytes, instances the leases that may be out at once. Lasts over restarts."
            FAST register(model: "str", provider: "str" = "''", memory: "int" = "0", instances: "int" = "1") -> "None" => PoolManager::register;
        "Every model with its state, provider, limits and counters."
            FAST models() -> "list" => PoolManager::models;
        "Begin to warm a cold or failed model. True: the caller loads it now and answers with warmed or failed."
            FAST warm(model: "str") -> "bool" => PoolManager::warm;
        "The model is loaded; it took so many seconds. Those who wait for it are served."
            FAST warmed(model: "str", seconds: "float") -> "None" => PoolManager::warmed;
        "The model could not be loaded, or broke. Those who wait for it get the reason."
            FAST failed(model: "str", reason: "str") -> "None" => PoolManager::failed;
        "Begin to cool a hot model that no one leases. True: the caller unloads it now and answers with cooled."
            FAST cool(model: "str") -> "bool" => PoolManager::cool;
        "The model is unloaded."
            FAST cooled(model: "str") -> "None" => PoolManager::cooled;
        "A lease of a hot model, or None when it is not hot, has no free slot, or others wait for one."
            FAST try_acquire(model: "str", slots: "int" = "1") -> "int | None" => PoolManager::try_acquire;
        "Wait for a lease, on this thread; timeout in seconds, None waits for ever. Raises PitTimeout."
            BLOCKING acquire(model: "str", timeout: "float | None" = "None") -> "int" => PoolManager::acquire;
        "Wait for a lease; cancelling the await leaves the queue."
            ASYNC acquire_async(model: "str") -> "int" => PoolManager::acquire_async;
        "Give a lease back."
            FAST release(lease: "int") -> "None" => PoolManager::release;
    }
}
