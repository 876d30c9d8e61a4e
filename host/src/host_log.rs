//! The host log: what the host was told to do and has not handed to an interpreter yet, and what it knows of its own, such as the
//! deaths that are counted against steps. No death of any process loses it.
//!
//! Written by the host alone. A record is a line: a CRC-32 in hex, a blank, and a JSON object: an order with its position, the
//! position of one that is done, or a fact, of which the last of each name counts. What counts no more goes at the next start.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use crate::clock;
use crate::failure::Failure;
use crate::home;
use crate::json::{Fields, Json, Object};
use crate::log_file::LogFile;

/// A log with nothing left to do is emptied once it has this many bytes.
const LIMIT: u64 = 1 << 20;

/// An order that may be given again: same position, same effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub method: &'static str,
    pub parameters: Json,
}

/// What may stand in the log.
const METHODS: [&str; 2] = ["run.start", "run.command"];

/// The host log of a home.
pub struct HostLog {
    path: PathBuf,
    file: RefCell<File>,
    /// Bytes of whole records.
    size: Cell<u64>,
    /// Positions only grow, also where the log was lost: they are times (µs), or one more than the last.
    last: Cell<u64>,
    pending: RefCell<BTreeMap<u64, Kept>>,
    facts: RefCell<BTreeMap<String, Json>>,
    /// Whether a record counts only once it is on the disk. So until an interpreter has read the settings.
    lasting: Cell<bool>,
    complaints: Rc<LogFile>,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn line(document: &Json) -> String {
    format!("{:08x} {}\n", crc32fast::hash(document.text().as_bytes()), document.text())
}

fn order_line(position: u64, kept: &Kept) -> String {
    let begun = Object::default().field("position", position).field("method", kept.method);
    line(&begun.raw("parameters", &kept.parameters).finish())
}

fn fact_line(name: &str, value: &Json) -> String {
    line(&Object::default().field("fact", name).raw("value", value).finish())
}

/// The log that holds this and nothing else.
fn text(facts: &BTreeMap<String, Json>, pending: &BTreeMap<u64, Kept>) -> String {
    let facts = facts.iter().map(|(name, value)| fact_line(name, value));
    let orders = pending.iter().map(|(position, kept)| order_line(*position, kept));
    facts.chain(orders).collect()
}

/// The object in a line without its end, if the line is whole.
fn read_line(bytes: &[u8]) -> Option<Fields> {
    let (checksum, rest) = bytes.split_at_checked(8)?;
    let document = rest.strip_prefix(b" ")?;
    let expected = u32::from_str_radix(std::str::from_utf8(checksum).ok()?, 16).ok()?;
    (crc32fast::hash(document) == expected).then(|| Fields::parse(document))?
}

/// What a log holds.
#[derive(Default)]
struct Content {
    pending: BTreeMap<u64, Kept>,
    facts: BTreeMap<String, Json>,
    last: u64,
    records: usize,
    /// Bytes of whole records; what follows cannot be read.
    whole: usize,
}

impl Content {
    fn read(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        while let Some(length) = bytes[content.whole..].iter().position(|byte| *byte == b'\n') {
            let end = content.whole + length;
            let Some(fields) = read_line(&bytes[content.whole..end]) else { break };
            content.take(&fields);
            content.whole = end + 1;
        }
        content
    }

    fn take(&mut self, fields: &Fields) {
        let number = |name: &str| fields.json(name).and_then(|json| json.value().as_u64());
        self.records += 1;
        if let Some(done) = number("done") {
            self.pending.remove(&done);
            return;
        }
        if let (Some(name), Some(value)) = (fields.json("fact"), fields.json("value")) {
            self.facts.insert(name.value().as_str().unwrap_or_default().to_owned(), value);
            return;
        }
        let Some(position) = number("position") else { return };
        self.last = self.last.max(position);
        let named = fields.json("method").map(|json| json.value()).unwrap_or_default();
        let method = METHODS.into_iter().find(|method| named.as_str() == Some(method));
        if let (Some(method), Some(parameters)) = (method, fields.json("parameters")) {
            self.pending.insert(position, Kept { method, parameters });
        }
    }
}

impl HostLog {
    /// Read the log, made if it is new. What is done goes; of a damaged one the beginning is used and the rest set aside.
    pub fn open(path: PathBuf, complaints: Rc<LogFile>) -> io::Result<Self> {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let content = Content::read(&bytes);
        let rest = &bytes[content.whole..];
        if rest.contains(&b'\n') {
            let aside = path.with_extension("log.damaged");
            home::replace(&aside, rest)?;
            complaints.line(&format!(
                "the host log is damaged at byte {}: the {} records before it are used, the rest is in {}",
                content.whole,
                content.records,
                aside.display()
            ));
        } else if !rest.is_empty() {
            // Nobody was told that it is recorded.
            complaints.line("the last record of the host log was not written to its end and is dropped");
        }
        let kept = text(&content.facts, &content.pending);
        if kept.len() != bytes.len() {
            rewrite(&path, kept.as_bytes())?;
        }
        Ok(Self {
            file: RefCell::new(open(&path)?),
            size: Cell::new(kept.len() as u64),
            last: Cell::new(content.last),
            pending: RefCell::new(content.pending),
            facts: RefCell::new(content.facts),
            lasting: Cell::new(true),
            path,
            complaints,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a record has to be on the disk before it counts.
    pub fn set_lasting(&self, lasting: bool) {
        self.lasting.set(lasting);
    }

    /// What was recorded and is not done, oldest first.
    pub fn pending(&self) -> Vec<(u64, Kept)> {
        self.pending.borrow().iter().map(|(position, kept)| (*position, kept.clone())).collect()
    }

    /// The position of the next order.
    pub fn next(&self) -> u64 {
        let position = u64::try_from(clock::now()).unwrap_or_default().max(self.last.get() + 1);
        self.last.set(position);
        position
    }

    /// Record an order; it survives everything once this has returned.
    pub async fn keep(&self, position: u64, kept: Kept) -> io::Result<()> {
        self.append(order_line(position, &kept).as_bytes())?;
        self.pending.borrow_mut().insert(position, kept);
        if self.lasting.get() {
            let file = self.file.borrow().try_clone();
            let synced = match file {
                Ok(file) => tokio::task::spawn_blocking(move || file.sync_data()).await,
                Err(error) => Ok(Err(error)),
            };
            if let Err(error) = synced.unwrap_or_else(|error| Err(io::Error::other(error))) {
                self.done(position);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The order need not be given again.
    pub fn done(&self, position: u64) {
        if self.pending.borrow_mut().remove(&position).is_none() {
            return;
        }
        let recorded = if self.pending.borrow().is_empty() && self.size.get() > LIMIT {
            self.compact()
        } else {
            self.append(line(&Object::default().field("done", position).finish()).as_bytes())
        };
        if let Err(error) = recorded {
            // It is given again, and has no effect then.
            self.complaints.line(&format!("the host log cannot be written: {error}"));
        }
    }

    /// The order was refused. What it gave goes at once: it may be a secret's value that was typed in place of its source.
    pub fn refuse(&self, position: u64) {
        self.pending.borrow_mut().remove(&position);
        if let Err(error) = self.compact() {
            // It is given again, and refused again.
            self.complaints.line(&format!("the host log cannot be written: {error}"));
        }
    }

    /// Let go of what is done.
    fn compact(&self) -> io::Result<()> {
        let kept = text(&self.facts.borrow(), &self.pending.borrow());
        rewrite(&self.path, kept.as_bytes())?;
        self.file.replace(open(&self.path)?);
        self.size.set(kept.len() as u64);
        Ok(())
    }

    /// What was last stated under this name.
    pub fn fact(&self, name: &str) -> Option<Value> {
        self.facts.borrow().get(name).map(Json::value)
    }

    /// Record what the host knows, in place of what it knew under this name.
    pub fn state(&self, name: &str, value: Value) -> io::Result<()> {
        let value = Json::from(value);
        self.append(fact_line(name, &value).as_bytes())?;
        self.facts.borrow_mut().insert(name.to_owned(), value);
        if self.lasting.get() { self.file.borrow().sync_data() } else { Ok(()) }
    }

    /// Say that an order was refused which nobody waits for any more.
    pub fn refused(&self, parameters: &Json, failure: &Failure) {
        let given = parameters.value();
        let text = |name: &str| given[name].as_str().unwrap_or_default().to_owned();
        let what = if given["command"].is_null() { "start".to_owned() } else { text("command") };
        self.complaints.line(&format!("{what} of run {} was refused: {failure}", text("run")));
    }

    /// A record that does not fit whole is taken back, so that the next one can be read.
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file.borrow_mut();
        if let Err(error) = file.write_all(bytes) {
            file.set_len(self.size.get())?;
            return Err(error);
        }
        self.size.update(|size| size + bytes.len() as u64);
        Ok(())
    }
}

/// The old content or the new one, also after a loss of power.
fn rewrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_data(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // here it is an assertion

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("host.log")
        }

        fn open(&self) -> HostLog {
            let complaints = LogFile::open(self.0.path().join("text.log")).unwrap();
            let log = HostLog::open(self.path(), Rc::new(complaints)).unwrap();
            log.set_lasting(false); // the disk is slow, and proves nothing here
            log
        }

        fn complaints(&self) -> String {
            fs::read_to_string(self.0.path().join("text.log")).unwrap()
        }
    }

    fn command(run: &str) -> Kept {
        Kept { method: "run.command", parameters: Json::from(json!({"run": run, "key": "ä\n"})) }
    }

    fn runs(log: &HostLog) -> Vec<String> {
        log.pending()
            .iter()
            .map(|(_, kept)| kept.parameters.value()["run"].as_str().unwrap().to_owned())
            .collect()
    }

    fn keep(log: &HostLog, run: &str) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let position = log.next();
        runtime.block_on(log.keep(position, command(run))).unwrap();
        position
    }

    #[test]
    fn what_was_refused_leaves_nothing_behind() {
        let place = Place::new();
        let log = place.open();
        log.state("known", json!(1)).unwrap();
        let (waits, refused) = (keep(&log, "waits"), keep(&log, "never-kept"));
        log.refuse(refused);
        let content = fs::read_to_string(place.path()).unwrap();
        assert!(!content.contains("never-kept") && content.contains("waits"), "{content}");
        let later = keep(&log, "later");
        let again = place.open();
        assert_eq!(
            (runs(&again), again.fact("known")),
            (vec!["waits".to_owned(), "later".to_owned()], Some(json!(1)))
        );
        assert!(waits < refused && refused < later);
    }

    #[test]
    fn what_is_not_done_is_there_again_and_positions_only_grow() {
        let place = Place::new();
        let log = place.open();
        let first = keep(&log, "a");
        let second = keep(&log, "b");
        let third = keep(&log, "c");
        log.done(second);
        assert!(first < second && second < third);
        assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let again = place.open();
        assert_eq!(again.pending(), log.pending());
        assert_eq!(runs(&again), ["a", "c"]);
        again.last.set(u64::MAX >> 1);
        let far = keep(&again, "d");
        assert!(place.open().next() > far, "the clock went back");
        again.done(first);
        again.done(third);
        again.done(far);
        place.open();
        assert_eq!(fs::read(place.path()).unwrap(), b"", "what is done goes");
        assert_eq!(place.complaints(), "");
    }

    #[test]
    fn the_last_of_each_fact_is_there_again_also_when_the_log_was_emptied() {
        let place = Place::new();
        let log = place.open();
        log.state("a", json!(1)).unwrap();
        log.state("b", json!(["x"])).unwrap();
        log.state("a", json!({"y": 2})).unwrap();
        let position = keep(&log, &"x".repeat(usize::try_from(LIMIT).unwrap()));
        log.done(position);
        assert!(fs::metadata(place.path()).unwrap().len() < 200);
        log.state("c", json!(3)).unwrap();
        let again = place.open();
        let facts = ["a", "b", "c", "d"].map(|name| again.fact(name));
        assert_eq!(facts, [Some(json!({"y": 2})), Some(json!(["x"])), Some(json!(3)), None]);
        assert_eq!(place.complaints(), "");
    }

    #[test]
    fn a_cut_keeps_the_records_before_it() {
        let place = Place::new();
        let log = place.open();
        keep(&log, "a");
        keep(&log, "b");
        let whole = fs::read(place.path()).unwrap();
        let half = whole.len() / 2;
        for cut in (0..whole.len()).step_by(7) {
            fs::write(place.path(), &whole[..cut]).unwrap();
            assert_eq!(runs(&place.open()), if cut < half { vec![] } else { vec!["a"] }, "cut at {cut}");
            keep(&place.open(), "c"); // and it can be written again
            assert_eq!(runs(&place.open()).last().unwrap(), "c");
        }
        assert!(place.complaints().contains("not written to its end"), "{}", place.complaints());
    }

    #[test]
    fn a_flipped_bit_keeps_the_records_before_it_and_sets_the_rest_aside() {
        let place = Place::new();
        let log = place.open();
        for run in ["a", "b", "c"] {
            keep(&log, run);
        }
        let whole = fs::read(place.path()).unwrap();
        let third = whole.len() / 3;
        for at in (third..2 * third).step_by(7).chain([2 * third - 1]) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(place.path(), &damaged).unwrap();
            assert_eq!(runs(&place.open()), ["a"], "byte {at}");
            assert_eq!(fs::read(place.path().with_extension("log.damaged")).unwrap(), damaged[third..]);
        }
        assert!(place.complaints().contains("damaged at byte"), "{}", place.complaints());
    }

    #[test]
    fn a_log_with_nothing_to_do_is_emptied_when_it_is_long() {
        let place = Place::new();
        let log = place.open();
        let padding = "x".repeat(usize::try_from(LIMIT).unwrap() / 2);
        for _ in 0..5 {
            let position = keep(&log, &padding);
            log.done(position);
        }
        assert!(fs::metadata(place.path()).unwrap().len() < 2 * LIMIT);
        keep(&log, "a");
        assert_eq!(runs(&place.open()), ["a"]);
    }
}
