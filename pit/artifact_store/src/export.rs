//! The method table.

use crate::store::ArtifactStore;

symphony_pit::export_component! {
    ArtifactStore, id = "symphony.artifact_store",
    description = "Everything that runs produce, addressed by content", revision = 1,
    methods {
        "Do nothing: shows that the component answers."
            FAST ping() -> "None" => ArtifactStore::ping;
        "Counters: contents, names, bytes (of contents, each once)."
            FAST stats() -> "dict" => ArtifactStore::stats;
        "Store content, once; with a name, as the newest version of that name. Returns its id, the BLAKE3 hash in hexadecimal."
            FAST put(content: "bytes", name: "str" = "''", media_type: "str" = "''", metadata: "dict | None" = "None", step: "str" = "''") -> "str" => ArtifactStore::put;
        "The content of an id."
            FAST get(id: "str") -> "bytes" => ArtifactStore::get;
        "Id of the newest version of a name, or None."
            FAST find(name: "str") -> "str | None" => ArtifactStore::find;
        "Size, time (µs) and named versions of an id."
            FAST info(id: "str") -> "dict" => ArtifactStore::info;
        "The newest version of every name that begins with the prefix."
            FAST list(prefix: "str" = "''") -> "list" => ArtifactStore::list;
        "Whether the stored content still has the hash that is its id."
            BLOCKING verify(id: "str") -> "bool" => ArtifactStore::verify;
    }
}
