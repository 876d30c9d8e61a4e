//! What this component asks of the Artifact Store, typed.

use symphony_pit::{Error, ErrorKind, Host, Result, Value};

use crate::artifact::{Artifact, Id, unsigned};

const STORE: &str = "symphony.artifact_store";
/// Rows of one page of the inventory, ids of one call.
const PAGE: usize = 10_000;

pub(crate) struct Store {
    host: Host,
}

fn ids(ids: &[Id]) -> Value {
    Value::List(ids.iter().map(|id| Value::Str(id.to_string())).collect())
}

fn count(value: &Value) -> u64 {
    unsigned(value).unwrap_or(0)
}

impl Store {
    pub const fn new(host: Host) -> Self {
        Self { host }
    }

    /// Contents in the order of their ids, from the one behind `after`.
    pub fn inventory(&self, after: &str, limit: usize) -> Result<Vec<Artifact>> {
        let page = self.host.call(STORE, "inventory", &[Value::from(after), Value::from(limit)])?;
        let Value::List(rows) = page else {
            return Err(Error::corrupt("the artifact store's inventory is no list"));
        };
        rows.into_iter().map(Artifact::from_value).collect()
    }

    /// All contents, page by page.
    pub fn each(&self, mut body: impl FnMut(&Artifact)) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = self.inventory(&after, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id.to_string();
            page.iter().for_each(&mut body);
        }
    }

    /// Gives how many there were.
    pub fn trash(&self, contents: &[Id], reason: &str) -> Result<u64> {
        self.host.call(STORE, "trash", &[ids(contents), Value::from(reason)]).map(|answer| count(&answer))
    }

    /// Bring back what is in the trash; what is not even known any more is passed over.
    pub fn restore(&self, contents: &[Id]) -> Result<()> {
        for lot in contents.chunks(PAGE) {
            match self.host.call(STORE, "restore", &[ids(lot)]) {
                Err(error) if error.kind == ErrorKind::NotFound && lot.len() > 1 => {
                    lot.iter().try_for_each(|id| self.restore(&[*id]))?;
                }
                Err(error) if error.kind == ErrorKind::NotFound => {}
                answer => drop(answer?),
            }
        }
        Ok(())
    }

    /// Delete these from the trash for good, but what is referenced by now, which comes back; gives how many and how many bytes.
    pub fn commit_trash(&self, contents: &[Id]) -> Result<(u64, u64)> {
        let mut emptied = (0, 0);
        for lot in contents.chunks(PAGE) {
            let Value::Map(pairs) = self.host.call(STORE, "commit_trash", &[ids(lot), Value::Bool(false)])?
            else {
                return Err(Error::corrupt("the artifact store did not say what it deleted"));
            };
            for (key, value) in &pairs {
                match key {
                    Value::Str(key) if key == "deleted" => emptied.0 += count(value),
                    Value::Str(key) if key == "bytes" => emptied.1 += count(value),
                    _ => {}
                }
            }
        }
        Ok(emptied)
    }

    pub fn archive(&self, content: &str, folder: &str) -> Result<()> {
        self.host.call(STORE, "archive", &[Value::from(content), Value::from(folder)]).map(drop)
    }

    pub fn retrieve(&self, content: &str) -> Result<()> {
        self.host.call(STORE, "retrieve", &[Value::from(content)]).map(drop)
    }
}
