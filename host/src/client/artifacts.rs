//! What runs produced.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Host, base64};
use crate::failure::{Failure, Result};

/// A version of an artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// BLAKE3 of the content, in hex.
    pub id: String,
    pub name: String,
    pub version: u32,
    /// Bytes.
    pub size: u64,
    pub media_type: String,
    pub metadata: Value,
    /// ISO 8601, UTC.
    pub created: String,
    pub tags: Vec<String>,
}

/// Which artifacts to list. Empty or 0: no limit.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ArtifactQuery {
    /// Of the name.
    pub prefix: String,
    pub tag: String,
    pub limit: u64,
}

impl Host {
    /// The newest version of each name.
    pub async fn artifacts(&self, query: &ArtifactQuery) -> Result<Vec<Artifact>> {
        let ArtifactQuery { prefix, tag, limit } = query;
        self.call("artifacts.list", json!({"prefix": prefix, "tag": tag, "limit": limit})).await
    }

    /// All that is known of an artifact: an id, the beginning of one, NAME or NAME@VERSION.
    pub async fn artifact(&self, artifact: &str) -> Result<Value> {
        self.call("artifacts.show", json!({"artifact": artifact})).await
    }

    /// Artifacts whose name, tags or metadata have these words, best first.
    pub async fn search_artifacts(&self, query: &str) -> Result<Vec<Artifact>> {
        self.call("artifacts.search", json!({"query": query})).await
    }

    /// Its content.
    pub async fn artifact_content(&self, artifact: &str) -> Result<Vec<u8>> {
        #[derive(Deserialize)]
        struct Part {
            id: String,
            content: String,
            next: Option<u64>,
        }
        let (mut content, mut wanted, mut offset) = (Vec::new(), artifact.to_owned(), 0);
        loop {
            let parameters = json!({"artifact": wanted, "offset": offset});
            let part: Part = self.call("artifacts.get", parameters).await?;
            let bytes = base64::decode(&part.content);
            content.extend(bytes.ok_or_else(|| Failure::incompatible("the content is no base64"))?);
            let Some(next) = part.next else { return Ok(content) };
            (wanted, offset) = (part.id, next); // the same bytes, whatever the name means meanwhile
        }
    }
}
