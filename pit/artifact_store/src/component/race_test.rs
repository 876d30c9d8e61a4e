//! Many threads at once: whatever they do to the same contents, what the store names is there.

use std::time::Duration;

use symphony_pit::ErrorKind;

use super::tests::{field, open, put, put_as, reopen};
use super::*;

#[test]
fn nothing_is_named_whose_bytes_another_thread_took_away() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let contents: Vec<Vec<u8>> =
        [10, 30_000, 70_000, 200_000].map(|size| (0..=250).cycle().take(size).collect()).into();
    let ids: Vec<String> = contents.iter().map(|content| put(&store, content, "")).collect();
    let fine = |result: Result<()>| {
        if let Err(error) = result {
            assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict), "{error}");
        }
    };
    for round in 0..200 {
        std::thread::scope(|scope| {
            let (store, ids, contents) = (&store, &ids, &contents);
            for _ in 0..2 {
                scope.spawn(move || contents.iter().for_each(|content| drop(put(store, content, ""))));
            }
            scope.spawn(move || ids.iter().for_each(|id| fine(store.delete(id, true))));
            scope.spawn(move || {
                for id in ids {
                    fine(store.cool(id).and_then(|_| store.warm(id)));
                }
            });
            scope.spawn(move || {
                for id in ids {
                    fine(store.trash(vec![id], "").map(drop));
                    store.commit_trash(None, true).unwrap();
                }
            });
            scope.spawn(move || {
                for (id, content) in ids.iter().zip(contents) {
                    fine(store.read(id).map(|view| assert!(view.as_ref() == *content)));
                }
            });
        });
        let report = store.verify_all("", 100).unwrap();
        assert_eq!(field(&report, "damaged"), Value::List(vec![]), "round {round}");
    }
    for content in &contents {
        put(&store, content, "");
    }
    store.stop();
    let store = reopen(&host);
    for (id, content) in ids.iter().zip(&contents) {
        assert!(store.get(id).unwrap() == *content);
    }
}

#[test]
fn nothing_leaves_its_place_while_a_put_is_under_way_nor_the_other_way_round() {
    const A_WHILE: Duration = Duration::from_millis(20);
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    for content in [vec![b'a'; 10_000], vec![b'b'; 100_000]] {
        let id = put(&store, &content, "");
        let puts = store.store.ensure(&parse(&id).unwrap(), || panic!("it is there")).unwrap();
        std::thread::scope(|scope| {
            let (store, id, elsewhere) = (&store, &id, folder.path().join("elsewhere"));
            let threads = [
                scope.spawn(move || store.cool(id).map(drop)),
                scope.spawn(move || store.archive(id, &elsewhere.to_string_lossy())),
                scope.spawn(move || store.delete(id, true)),
            ];
            std::thread::sleep(A_WHILE);
            assert!(threads.iter().all(|thread| !thread.is_finished()));
            assert!(store.get(id).unwrap() == content, "reading waits for nobody");
            drop(puts);
        });
        let leaves = store.store.leaving();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| put(&store, &content, ""));
            std::thread::sleep(A_WHILE);
            assert!(!thread.is_finished());
            drop(leaves);
        });
        assert!(store.get(&id).unwrap() == content);
    }
}

#[test]
fn what_is_needed_by_now_comes_back_from_the_trash() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    let (source, loose) = (put(&store, b"source", ""), put(&store, b"loose", ""));
    store.trash(vec![&source, &loose], "old").unwrap();
    put_as(&store, b"made", "made", "", None, Some(vec![&source]));
    let emptied = store.commit_trash(Some(vec![source.clone(), loose.clone()]), false).unwrap();
    assert_eq!(emptied.deleted, 1);
    assert_eq!(store.get(&source).unwrap(), b"source");
    assert_eq!(store.get(&loose).unwrap_err().kind, ErrorKind::NotFound);
    store.trash(vec![&source], "all the same").unwrap();
    assert_eq!(store.commit_trash(None, true).unwrap().deleted, 1);
}
