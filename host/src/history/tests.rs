#![allow(clippy::unwrap_used)] // here it is an assertion

use std::fs;
use std::os::unix::fs::PermissionsExt;

use symphony_dag_tracker::records::{Event, Outcome, RunStatus};
use symphony_dag_tracker::table::{RunTable, StepState};

use super::*;
use crate::runs::Filter;

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("history.db")
    }

    fn open(&self) -> (History, UnboundedReceiver<News>) {
        History::open(self.path(), |text| panic!("{text}")).unwrap()
    }
}

/// A run of one step, as its events make it; finished unless there is no status.
fn entry(run: &str, accepted: i64, status: Option<RunStatus>, payload: &[u8]) -> Entry {
    let mut table = RunTable::default();
    let info = br#"{"workflow": "tools.count", "id": "acme:count", "plugin": {"name": "tools"}}"#;
    table.apply(run, &Event::RunAccepted { info, inputs: b"" }, accepted);
    let key = "count#0";
    let started = Event::StepStarted { key, name: "count", attempt: 2, dependencies: vec!["a", "b"] };
    table.apply(run, &started, accepted + 1);
    let event = Event::AttemptFailed { key, attempt: 1, error: "no \u{1f3b5}", retry_at: accepted + 3 };
    table.apply(run, &event, accepted + 2);
    table.apply(run, &started, accepted + 3);
    if let Some(status) = status {
        let outcome = Outcome::Completed;
        let done = Event::StepFinished { key, name: "count", fingerprint: b"", outcome, payload: b"=" };
        table.apply(run, &done, accepted + 5);
        table.apply(run, &Event::RunFinished { status, payload }, accepted + 9);
    }
    let mut row = table.get(run).unwrap().clone();
    let steps = std::mem::take(&mut row.steps).into_iter().enumerate().collect();
    Entry { row, counts: [1, 0, 0, 0], steps }
}

fn completed(run: &str, accepted: i64) -> Entry {
    entry(run, accepted, Some(RunStatus::Completed), b"={\"result\": 7}")
}

fn take(history: &History, news: &mut UnboundedReceiver<News>, entries: Vec<Entry>) -> News {
    history.take(Batch { entries, ..Batch::default() });
    news.blocking_recv().unwrap()
}

fn runs(history: &History, filter: &Filter) -> Vec<String> {
    history.list(filter, 100).unwrap().into_iter().map(|kept| kept.run).collect()
}

#[test]
fn a_finished_run_comes_back_as_it_was() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    let written = completed("a", 10);
    let covered = Some(Covered { position: u64::MAX - 7, checksum: u32::MAX });
    let entries = vec![written.clone(), entry("b", 20, None, b"")];
    history.take(Batch { entries, covered, ..Batch::default() });
    assert_eq!(news.blocking_recv(), Some(News::Taken { finished: vec!["a".to_owned()], covered }));
    drop(history);
    let (history, _) = folder.open();
    assert_eq!(history.covered().unwrap(), covered);
    let row = history.get("a").unwrap().unwrap();
    assert_eq!((&row.info, &row.payload), (&written.row.info, &written.row.payload));
    assert_eq!((row.accepted, row.finished), (10, Some((RunStatus::Completed, 19))));
    let [step] = &row.steps[..] else { panic!("{row:?}") };
    assert_eq!(
        (step.key.as_str(), step.name.as_str(), step.state),
        ("count#0", "count", StepState::Completed)
    );
    assert_eq!((step.attempts, step.started, step.finished), (2, Some(11), Some(15)));
    assert_eq!(step.dependencies, ["a", "b"]);
    let [failure] = &step.failures[..] else { panic!("{step:?}") };
    let told = (failure.attempt, failure.time, failure.message.as_str(), failure.retry_at);
    assert_eq!(told, (1, 12, "no \u{1f3b5}", 13));
    assert_eq!(row.get("count#0").map(|step| step.attempts), Some(2));
    assert!(history.get("b").unwrap().is_none(), "of live runs the log is the authority");
    assert_eq!(history.live().unwrap(), ["b"]);
}

#[test]
fn a_large_result_is_kept_as_its_artifact() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    take(&history, &mut news, vec![entry("a", 10, Some(RunStatus::Completed), b"@0123")]);
    assert_eq!(history.get("a").unwrap().unwrap().payload, b"@0123");
}

#[test]
fn lists_are_newest_first_and_take_what_the_filter_takes() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    let failed = br#"={"error": {"type": "ValueError", "message": "no", "step": "count#0"}, "steps": {"executed": 2, "reused": 3, "failed": 1, "skipped": 4}}"#;
    let entries = vec![
        completed("a", 30), // ids need not follow the time
        entry("b", 10, Some(RunStatus::Failed), failed),
        completed("c", 20),
        entry("d", 40, None, b""),
    ];
    take(&history, &mut news, entries);
    assert_eq!(runs(&history, &Filter::default()), ["a", "c", "b"]);
    let status = |status: &str| Filter { status: Some(status.to_owned()), ..Filter::default() };
    assert_eq!(runs(&history, &status("failed")), ["b"]);
    assert_eq!(runs(&history, &status("running")), [""; 0]);
    let workflow = |name: &str| Filter { workflow: Some(name.to_owned()), ..Filter::default() };
    assert_eq!(runs(&history, &workflow("tools.count")).len(), 3);
    assert_eq!(runs(&history, &workflow("acme:count")).len(), 3);
    assert_eq!(runs(&history, &workflow("count")), [""; 0]);
    assert_eq!(runs(&history, &Filter { since: Some(20), ..Filter::default() }), ["a", "c"]);
    let older = Some((20, "c".to_owned()));
    assert_eq!(runs(&history, &Filter { older, ..Filter::default() }), ["b"]);
    assert_eq!(history.list(&Filter::default(), 2).unwrap().len(), 2);
    let kept = history.list(&status("failed"), 1).unwrap().remove(0);
    assert_eq!((kept.counts, kept.finished), ([2, 3, 1, 4], 19));
    assert_eq!(history.ended_before(29, None).unwrap(), ["b"]);
    assert_eq!(history.ended_before(100, Some("completed")).unwrap(), ["c", "a"]);
    assert_eq!(history.with_prefix("", 2).unwrap(), ["a", "b"]);
    assert_eq!(history.around("bb").unwrap(), ["b", "c", "a"]);
}

#[test]
fn a_live_run_gets_its_steps_one_by_one_and_may_be_gone_again() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    take(&history, &mut news, vec![entry("a", 10, None, b"")]);
    let mut later = completed("a", 10);
    later.steps[0].0 = 1;
    take(&history, &mut news, vec![later]);
    let states: Vec<_> = history.get("a").unwrap().unwrap().steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Running, StepState::Completed]);
    take(&history, &mut news, vec![entry("b", 10, None, b"")]);
    history.take(Batch { gone: vec!["a".to_owned(), "b".to_owned()], ..Batch::default() });
    news.blocking_recv().unwrap();
    assert_eq!(history.live().unwrap(), [""; 0]);
    assert!(history.get("a").unwrap().is_some(), "what has finished stays");
}

#[tokio::test]
async fn a_deleted_run_is_gone_with_its_steps() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    history.take(Batch { entries: vec![completed("a", 10), completed("b", 20)], ..Batch::default() });
    news.recv().await.unwrap();
    history.delete(vec!["a".to_owned(), "nowhere".to_owned()]).await.unwrap();
    assert_eq!(runs(&history, &Filter::default()), ["b"]);
    let steps = history.read(|connection| {
        connection.query_row("SELECT group_concat(run) FROM steps", [], |row| row.get::<_, String>(0))
    });
    assert_eq!(steps.unwrap(), "b");
}

#[test]
fn it_is_private() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    take(&history, &mut news, vec![completed("a", 1)]);
    for suffix in ["", "-wal", "-shm"] {
        let path = folder.folder.path().join(format!("history.db{suffix}"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_later_version_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    drop(folder.open());
    Connection::open(folder.path()).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let refused = History::open(folder.path(), |text| panic!("{text}")).err().unwrap();
    assert_eq!((refused.kind.as_ref(), refused.exit), ("Incompatible", 5));
    assert!(refused.message.contains("it has version 2, this one reads 1"), "{}", refused.message);
    let refused = History::look(folder.path(), |text| panic!("{text}")).err().unwrap();
    assert_eq!(refused.exit, 5);
    assert_eq!(fs::read_dir(folder.folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_no_history_is_set_aside_and_made_anew() {
    let foreign =
        |path: &Path| Connection::open(path).unwrap().execute_batch("CREATE TABLE runs (x)").unwrap();
    let garbage = |path: &Path| fs::write(path, [7; 5000]).unwrap();
    for spoil in [foreign as fn(&Path), garbage] {
        let folder = Folder::new();
        spoil(&folder.path());
        let before = fs::read(folder.path()).unwrap();
        let said = std::cell::RefCell::new(Vec::new());
        let say = |text: &str| said.borrow_mut().push(text.to_owned());
        assert!(History::look(folder.path(), say).unwrap().is_none());
        let (history, mut news) = History::open(folder.path(), say).unwrap();
        assert!(said.borrow().iter().all(|text| text.starts_with("the history is damaged")), "{said:?}");
        assert_eq!(said.borrow().len(), 2);
        let name = said.borrow()[1].split(" as ").nth(1).unwrap().split(',').next().unwrap().to_owned();
        assert_eq!(fs::read(name).unwrap(), before, "nothing of it is lost");
        take(&history, &mut news, vec![completed("a", 1)]);
        assert_eq!(runs(&history, &Filter::default()), ["a"]);
    }
}

#[test]
fn damage_that_is_met_later_is_told_and_the_file_made_anew() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    take(&history, &mut news, (0..200).map(|at| completed(&format!("run{at:03}"), at)).collect());
    drop(history);
    assert_eq!(fs::read_dir(folder.folder.path()).unwrap().count(), 1, "the last one tidies up");
    let mut bytes = fs::read(folder.path()).unwrap();
    let spoiled = bytes.len() / 8192 * 4096;
    bytes[spoiled..].fill(0xff);
    fs::write(folder.path(), bytes).unwrap();
    let (history, mut news) = folder.open(); // what is looked at first is sound
    let refused = history.list(&Filter::default(), 1000).and_then(|_| history.get("run100")).err().unwrap();
    assert_eq!(refused.exit, 9, "{}", refused.message);
    let told = news.blocking_recv().unwrap();
    let News::Anew(aside) = told else { panic!("{told:?}") };
    assert!(fs::metadata(aside).unwrap().len() > 4096);
    take(&history, &mut news, vec![completed("a", 1)]);
    assert_eq!(runs(&history, &Filter::default()), ["a"]);
}

#[test]
fn a_file_that_was_deleted_is_noticed_before_anything_relies_on_it() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    take(&history, &mut news, vec![completed("a", 1)]);
    fs::remove_file(folder.path()).unwrap();
    history.take(Batch { entries: vec![completed("b", 2)], gone: Vec::new(), covered: None });
    let told = news.blocking_recv().unwrap();
    let News::Anew(aside) = told else { panic!("{told:?}") };
    assert!(!Path::new(&aside).exists(), "there was nothing to set aside");
    take(&history, &mut news, vec![completed("a", 1), completed("b", 2)]);
    assert_eq!(runs(&folder.open().0, &Filter::default()), ["b", "a"]);
}

#[test]
fn a_batch_that_the_disk_refuses_is_kept_and_written_later() {
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    let other = Connection::open(folder.path()).unwrap();
    other
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(FAIL, 'disk full'); END")
        .unwrap();
    let told = take(&history, &mut news, vec![completed("a", 1)]);
    assert_eq!(told, News::Problem("disk full".to_owned()));
    assert_eq!(runs(&history, &Filter::default()), [""; 0]);
    other.execute_batch("DROP TRIGGER full").unwrap();
    let told = news.blocking_recv().unwrap();
    assert_eq!(told, News::Taken { finished: vec!["a".to_owned()], covered: None });
}

#[test]
fn the_docs_show_the_tables_as_they_are_and_queries_that_work() {
    const DOCS: &str = include_str!("../../../docs/operations.md");
    let folder = Folder::new();
    let (history, mut news) = folder.open();
    let error = br#"={"error": {"type": "ValueError", "message": "no", "step": "count#0"}}"#;
    let now = crate::clock::now();
    take(&history, &mut news, vec![completed("a", 1), entry("b", now, Some(RunStatus::Failed), error)]);
    let columns = "SELECT tables.name || '.' || columns.name FROM pragma_table_list AS tables
                   JOIN pragma_table_info(tables.name) AS columns WHERE tables.name NOT LIKE 'sqlite_%'";
    let ask = |question: &str, column: usize| -> Vec<String> {
        let rows = history.read(|connection| {
            let mut statement = connection.prepare(question)?;
            statement
                .query_map([], |row| row.get::<_, rusqlite::types::Value>(column))?
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        rows.unwrap()
            .into_iter()
            .map(|value| match value {
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            })
            .collect()
    };
    let mut real = ask(columns, 0);
    let words = DOCS.split('`').skip(1).step_by(2);
    let tables = ["runs.", "steps.", "progress."];
    let mut shown: Vec<String> = words
        .filter(|word| tables.iter().any(|table| word.starts_with(table)) && !word.contains(' '))
        .map(str::to_owned)
        .collect();
    real.sort();
    shown.sort();
    assert_eq!(shown, real);
    let queries: Vec<&str> =
        DOCS.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [failed, slow] = queries[..] else { panic!("{queries:?}") };
    assert_eq!((ask(failed, 0), ask(failed, 3)), (vec!["b".to_owned()], vec!["count#0".to_owned()]));
    assert_eq!((ask(slow, 0), ask(slow, 2)), (vec!["tools.count".to_owned()], vec!["Integer(2)".to_owned()]));
}
