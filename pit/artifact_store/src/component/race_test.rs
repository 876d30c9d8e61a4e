//! Many threads at once: whatever they do to the same contents, what the store names is there.

use std::sync::atomic::{AtomicBool, Ordering};

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
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let each = |work: &(dyn Fn(usize) + Sync)| {
            while !over.load(Ordering::Relaxed) {
                (0..ids.len()).for_each(work);
            }
        };
        let store = &store;
        let (ids, contents, over) = (&ids, &contents, &over);
        let fine = |result: Result<()>| {
            if let Err(error) = result {
                assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict), "{error}");
            }
        };
        scope.spawn(move || each(&|at| fine(store.delete(&ids[at], true))));
        scope.spawn(move || each(&|at| fine(store.cool(&ids[at]).and_then(|_| store.warm(&ids[at])))));
        scope.spawn(move || {
            each(&|at| {
                fine(store.trash(vec![&ids[at]], "").map(drop));
                store.commit_trash(None, true).unwrap();
            });
        });
        scope.spawn(move || {
            each(&|at| match store.read(&ids[at]) {
                Ok(view) => assert!(view.as_ref() == contents[at]),
                error => fine(error.map(drop)),
            });
        });
        for round in 0..150 {
            for content in contents {
                put(store, content, &format!("name/{round}"));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    for content in &contents {
        put(&store, content, "");
    }
    let report = store.verify_all("", 100).unwrap();
    assert_eq!((field(&report, "checked"), field(&report, "damaged")), (Value::Int(4), Value::List(vec![])));
    store.stop();
    let store = reopen(&host);
    for (id, content) in ids.iter().zip(&contents) {
        assert!(store.get(id).unwrap() == *content);
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
