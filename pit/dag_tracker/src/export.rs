//! The method table.

use crate::DagTracker;

symphony_pit::export_component! {
    DagTracker, id = "symphony.dag_tracker",
    description = "Owner of every run and step record", revision = 1,
    methods {
        "Do nothing: shows that the component answers."
            FAST ping() -> "None" => DagTracker::ping;
        "Counters: runs, live (not finished), records (appended or replayed)."
            FAST stats() -> "dict" => DagTracker::stats;
        "Record that a run was accepted; a known run is left as it is. info is a JSON object, inputs codec bytes. Returns the time (µs)."
            FAST accept_run(run: "str", info: "bytes", inputs: "bytes") -> "int" => DagTracker::accept_run;
        "Ids of the runs that are not finished, oldest first."
            FAST live_runs() -> "list" => DagTracker::live_runs;
        "What is known of a run: info, inputs, accepted (µs), status, finished (µs or None), payload."
            FAST run_info(run: "str") -> "dict" => DagTracker::run_info;
        "The delivered records of a live run in log order, each [kind, key, fingerprint, state, payload, time (µs)]; kind 1 outcome, 2 timer, 3 command."
            FAST recovered(run: "str") -> "list" => DagTracker::recovered;
        "Failed attempts of steps without an outcome: key -> [attempts, retry_at (µs)]."
            FAST attempts(run: "str") -> "dict" => DagTracker::attempts;
        "Record that an attempt of a step begins; dependencies are the keys of the steps whose results it takes."
            FAST start_step(run: "str", key: "str", name: "str", attempt: "int", dependencies: "list") -> "None" => DagTracker::start_step;
        "Record that an attempt failed and will be repeated at retry_at (µs)."
            FAST fail_attempt(run: "str", key: "str", attempt: "int", error: "str", retry_at: "int") -> "None" => DagTracker::fail_attempt;
        "Record the outcome of a step; state 0 completed, 1 failed, 2 cached, 3 skipped. Returns the time (µs)."
            FAST finish_step(run: "str", key: "str", name: "str", fingerprint: "bytes", state: "int", payload: "bytes") -> "int" => DagTracker::finish_step;
        "Record that a timer due at when (µs) fired. Returns the time (µs)."
            FAST fire_timer(run: "str", key: "str", when: "int") -> "int" => DagTracker::fire_timer;
        "Record a command for a run, such as cancel. Returns the time (µs)."
            FAST command(run: "str", command: "str") -> "int" => DagTracker::command;
        "Record the end of a run; status is completed, failed or cancelled. Returns the time (µs)."
            FAST finish_run(run: "str", status: "str", payload: "bytes") -> "int" => DagTracker::finish_run;
    }
}
