use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use symphony_pit::ErrorKind;
use symphony_pit::testing::TestHost;

use super::*;

pub(super) fn open(folder: &Path) -> (TestHost, ArtifactStore) {
    let host = TestHost::new(folder);
    let store = ArtifactStore::create(host.host()).unwrap();
    store.start().unwrap();
    (host, store)
}

/// The same store after its process was killed: nothing but the records and the files.
pub(super) fn reopen(host: &TestHost) -> ArtifactStore {
    let store = ArtifactStore::create(host.host()).unwrap();
    host.replay_into(&store).unwrap();
    store.start().unwrap();
    store
}

pub(super) fn put(store: &ArtifactStore, content: &[u8], name: &str) -> String {
    put_as(store, content, name, "", None, None)
}

pub(super) fn put_as(
    store: &ArtifactStore,
    content: &[u8],
    name: &str,
    media_type: &str,
    tags: Option<Vec<&str>>,
    inputs: Option<Vec<&str>>,
) -> String {
    let about = About { media_type: media_type.into(), step: "a#0".into(), ..about(name) };
    let texts = |texts: Option<Vec<&str>>| texts.unwrap_or_default().into_iter().map(str::to_owned).collect();
    let inputs = parse_all(&inputs.unwrap_or_default()).unwrap();
    hex(&store.store.put(content, About { tags: texts(tags), inputs, ..about }).unwrap())
}

/// Nothing but a name.
fn about(name: &str) -> About {
    let nothing = String::new;
    About::new(name.into(), nothing(), Value::None, nothing(), None, None, None, nothing(), nothing())
        .unwrap()
}

fn commit_writer(store: &ArtifactStore, writer: u64, name: &str) -> String {
    let nothing = String::new;
    store
        .commit_writer(
            writer,
            name.into(),
            nothing(),
            Value::None,
            nothing(),
            None,
            None,
            None,
            nothing(),
            nothing(),
        )
        .unwrap()
}

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| text(row, "id")).collect()
}

pub(super) fn field(row: &Value, key: &str) -> Value {
    let Value::Map(pairs) = row else { panic!("no map") };
    pairs.iter().find(|(known, _)| *known == Value::from(key)).map(|(_, value)| value.clone()).unwrap()
}

fn text(row: &Value, key: &str) -> String {
    if let Value::Str(text) = field(row, key) { text } else { panic!("{key} is no text") }
}

pub(super) fn found(store: &ArtifactStore, query: &str) -> Vec<String> {
    ids(&store.search(query, None, None, String::new(), 20).unwrap())
}

#[test]
fn content_is_stored_once_and_named_in_versions() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    let first = put(&store, b"one", "n");
    assert_eq!(put(&store, b"one", "n"), first, "the newest version again is no new version");
    let second = put(&store, b"two", "n");
    assert_eq!(put(&store, b"one", "other"), first);
    assert_eq!(store.stats().unwrap()["contents"], 2);
    assert_eq!(store.stats().unwrap()["bytes"], 6);
    assert_eq!(ids(&store.versions("n").unwrap()), [first.clone(), second.clone()]);
    assert_eq!(store.find("n", None).unwrap(), Some(second));
    assert_eq!(store.find("n", Some(1)).unwrap(), Some(first.clone()));
    assert_eq!(field(&store.versions("n").unwrap()[1], "parent"), Value::from(1_u32));
    assert_eq!(store.get(&first).unwrap(), b"one");
}

#[test]
fn everything_comes_back_from_the_log_and_from_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let large = vec![7; 100_000];
    let source = put(&store, &large, "source");
    let made = put_as(&store, b"made", "made", "text/plain", Some(vec!["keep"]), Some(vec![&source]));
    let gone = put(&store, b"gone", "");
    store.mark(&made, Some(0.5)).unwrap();
    store.read(&made).unwrap();
    store.trash(vec![&gone], "old").unwrap();
    store.stop();
    let replayed = || reopen(&host);
    let restored = || {
        let before = reopen(&host);
        before.stop();
        let restored = ArtifactStore::create(host.host()).unwrap();
        Component::restore(&restored, &before.snapshot().unwrap().unwrap()).unwrap();
        restored.start().unwrap();
        restored
    };
    for (round, open) in [&replayed as &dyn Fn() -> ArtifactStore, &restored].into_iter().enumerate() {
        let store = open();
        assert_eq!(store.get(&source).unwrap(), large);
        assert_eq!(store.get(&made).unwrap(), b"made");
        let info = store.info(&made).unwrap();
        assert_eq!(field(&info, "mark"), Value::Float(0.5));
        assert_eq!(field(&info, "tags"), Value::List(vec!["keep".into()]));
        assert_eq!(field(&info, "accesses"), Value::UInt(2 + round as u64), "one more in each life");
        assert_eq!(
            field(&store.lineage(&source, 9).unwrap(), "descendants"),
            Value::List(vec![made.as_str().into()])
        );
        assert_eq!(store.list_trash().unwrap().len(), 1);
        assert!(store.get(&gone).unwrap_err().message.contains("in the trash"));
        assert_eq!(found(&store, "made"), std::slice::from_ref(&made));
        store.stop();
    }
}

#[test]
fn search_ranks_names_above_text_and_follows_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    let body =
        put_as(&store, b"the lease of the pit is told at length here", "notes", "text/plain", None, None);
    let name = put_as(&store, b"nothing of the kind", "lease", "text/plain", None, None);
    let binary = put(&store, &[0xff, 0xfe, 1], "binary");
    assert_eq!(found(&store, "lease"), [name.clone(), body.clone()]);
    assert_eq!(found(&store, "leas*"), [name.clone(), body.clone()]);
    assert_eq!(found(&store, "lease length"), std::slice::from_ref(&body));
    assert_eq!(found(&store, "\"unbalanced OR lease)"), Vec::<String>::new());
    store.tag(&binary, vec!["lease"]).unwrap();
    assert_eq!(found(&store, "lease").len(), 3);
    store.untag(&binary, vec!["lease"]).unwrap();
    store.trash(vec![&name], "").unwrap();
    assert_eq!(found(&store, "lease"), std::slice::from_ref(&body));
    store.delete(&body, true).unwrap();
    assert_eq!(found(&store, "lease"), Vec::<String>::new());
    let tagged = store.search("", Some(vec!["x".to_owned()]), None, String::new(), 20).unwrap();
    assert_eq!(tagged, []);
    assert_eq!(store.search("", None, None, "text/".into(), 20).unwrap().len(), 0);
}

#[test]
fn a_lost_or_foreign_index_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let id = put_as(&store, b"some words", "n", "text/plain", None, None);
    assert_eq!(found(&store, "words"), std::slice::from_ref(&id));
    store.stop();
    drop(store);
    for damage in [None, Some("no database".repeat(1000))] {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(folder.path().join(format!("index.db{suffix}")));
        }
        if let Some(text) = damage {
            fs::write(folder.path().join("index.db"), text).unwrap();
        }
        let store = reopen(&host);
        assert_eq!(found(&store, "words"), std::slice::from_ref(&id));
        store.stop();
    }
}

#[test]
fn parts_become_the_same_artifact_as_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    for size in [0, 10, 200_000] {
        let whole: Vec<u8> = (0..=250).cycle().take(size).collect();
        let writer = store.open_writer().unwrap();
        for part in whole.chunks(7_001) {
            store.write(writer, part).unwrap();
        }
        let id = commit_writer(&store, writer, "n");
        assert_eq!(id, blake3::hash(&whole).to_hex().to_string());
        assert_eq!(store.get(&id).unwrap(), whole);
        assert_eq!(store.write(writer, b"x").unwrap_err().kind, ErrorKind::NotFound);
    }
    let writer = store.open_writer().unwrap();
    store.write(writer, b"never mind").unwrap();
    store.abort_writer(writer).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
    assert_eq!(store.stats().unwrap()["contents"], 3);
}

#[test]
fn what_a_killed_writer_left_is_removed_and_never_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let writer = store.open_writer().unwrap();
    store.write(writer, b"half of").unwrap();
    store.stop();
    let store = reopen(&host);
    assert!(!folder.path().join("incoming").exists());
    assert_eq!(store.stats().unwrap()["contents"], 0);
}

#[test]
fn damage_is_found_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    let (small, large) = (put(&store, b"small", ""), put(&store, &vec![1; 70_000], ""));
    let fine = put(&store, b"fine", "");
    for id in [&small, &large] {
        assert!(store.verify(id).unwrap());
        let Location { path, offset, .. } = store.locate(id).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[usize::try_from(offset).unwrap()] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(!store.verify(id).unwrap());
    }
    let report = store.verify_all("", 100).unwrap();
    assert_eq!(field(&report, "checked"), Value::Int(3));
    let Value::List(damaged) = field(&report, "damaged") else { panic!("no list") };
    assert_eq!(damaged.len(), 2);
    assert!(!damaged.contains(&Value::from(fine)));
}

#[test]
fn bytes_in_use_outlive_their_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    for size in [100, 70_000] {
        let content = vec![9; size];
        let id = put(&store, &content, "");
        let bytes = store.read(&id).unwrap();
        store.trash(vec![&id], "").unwrap();
        let emptied = store.commit_trash(None, true).unwrap();
        assert_eq!((emptied.deleted, emptied.bytes), (1, size as u64));
        assert_eq!(bytes.as_ref(), content);
        assert_eq!(store.get(&id).unwrap_err().kind, ErrorKind::NotFound);
    }
}

#[test]
fn what_is_referenced_is_not_deleted_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    let source = put(&store, b"source", "");
    let made = put_as(&store, b"made", "made", "", None, Some(vec![&source]));
    for id in [&source, &made] {
        assert_eq!(store.delete(id, false).unwrap_err().kind, ErrorKind::Conflict);
    }
    store.delete(&made, true).unwrap();
    assert_eq!(store.find("made", None).unwrap(), None);
    store.delete(&source, false).unwrap();
    assert_eq!(store.stats().unwrap()["contents"], 0);
}

#[test]
fn the_trash_gives_back_and_a_put_takes_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let (one, two) = (put(&store, b"one", "a"), put(&store, b"two", "b"));
    assert_eq!(store.trash(vec![&one, &two, &one], "old").unwrap(), 2);
    assert_eq!(store.trash(vec![&one], "again").unwrap(), 0);
    assert_eq!(store.list("", "", 0, "").unwrap().len(), 0);
    assert_eq!(store.inventory("", 10).unwrap().len(), 0);
    assert_eq!(ArtifactStore::restore(&store, vec![&one]).unwrap(), 1);
    put(&store, b"two", "");
    let store = reopen(&host);
    assert_eq!(store.list("", "", 0, "").unwrap().len(), 2);
    assert_eq!(store.commit_trash(None, true).unwrap().deleted, 0);
    assert_eq!(store.trash(vec![&"0".repeat(64)], "").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn pages_cover_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    for number in 0..25 {
        put(&store, format!("content {number}").as_bytes(), &format!("n/{number:02}"));
    }
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = store.inventory(&after, 10).unwrap();
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        seen.extend(page.into_iter().map(|row| row.id));
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 25);
    let names = |rows: Vec<Value>| rows.iter().map(|row| text(row, "name")).collect::<Vec<_>>();
    assert_eq!(names(store.list("n/", "", 2, "n/09").unwrap()), ["n/10", "n/11"]);
    assert_eq!(names(store.list("n/2", "", 0, "").unwrap()).len(), 5);
}

#[test]
fn an_archived_artifact_is_known_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let target = elsewhere.path().to_string_lossy().into_owned();
    for content in [&b"small"[..], &vec![3; 70_000]] {
        let id = put(&store, content, "kept");
        store.archive(&id, &target).unwrap();
        assert_eq!(fs::read(elsewhere.path().join(&id)).unwrap(), content);
        let error = store.get(&id).unwrap_err();
        assert!(error.message.contains("archived in"), "{error}");
        let store = reopen(&host);
        assert!(store.inventory("", 10).unwrap().iter().any(|row| row.id == id && row.archived));
        store.retrieve(&id).unwrap();
        assert_eq!(store.get(&id).unwrap(), content);
        store.stop();
    }
    assert_eq!(
        store.archive(&put(&store, b"x", ""), "relative").unwrap_err().kind,
        ErrorKind::InvalidArgument
    );
}

#[test]
fn a_full_disk_leaves_no_name_without_content() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    host.set_full(true);
    let refused = store.store.put(b"x", about("n"));
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Io);
    host.set_full(false);
    assert_eq!(store.find("n", None).unwrap(), None);
    put(&store, b"x", "n");
    assert_eq!(reopen(&host).find("n", None).unwrap().map(|id| id.len()), Some(64));
}

#[test]
fn text_that_was_archived_and_came_back_is_all_there() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, store) = open(folder.path());
    let text = "words ".repeat(20_000);
    let id = put(&store, text.as_bytes(), "text");
    store.archive(&id, &elsewhere.path().to_string_lossy()).unwrap();
    assert_eq!(found(&store, "text"), [""; 0], "waits for the index, which looked at it");
    store.retrieve(&id).unwrap();
    assert_eq!(store.get(&id).unwrap(), text.as_bytes());
    assert!(store.verify(&id).unwrap());
}

#[test]
fn a_query_may_hold_any_character() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    let id = put(&store, b"plain", "name");
    assert_eq!(found(&store, "\0plain\0"), [id]);
    for query in ["\"", "*", "\"*", "NEAR(", "a\0b", "'", "-", "^"] {
        found(&store, query);
    }
}

#[test]
fn a_file_cut_short_under_a_reader_is_told_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    let id = put(&store, &vec![1; 200_000], "");
    let seen = store.read(&id).unwrap();
    let path = text(&ToPit::to_pit(store.locate(&id).unwrap()), "path");
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
    assert!(!store.verify(&id).unwrap(), "and this process lives");
    assert_eq!(seen.as_ref()[..100], [1; 100]);
}
