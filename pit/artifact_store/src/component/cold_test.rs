//! The cold tier: what is compressed, what is not, and that nobody notices but by the space.

use std::fs;
use std::path::Path;

use symphony_pit::ErrorKind;

use super::tests::{field, found, open, put, reopen};
use super::*;

/// Words that compress well, and are different for each number.
fn prose(number: usize, size: usize) -> Vec<u8> {
    format!("the {number} walnuts were counted again, ").into_bytes().into_iter().cycle().take(size).collect()
}

/// Bytes that do not compress.
fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
    bytes
}

fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("packs"), folder.join("objects"), folder.join("incoming")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.file_name().to_string_lossy().into_owned();
                found.push((name, entry.metadata().unwrap().len()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn cold_content_is_read_as_before_in_less_space() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    for size in [5_000, 60_000, 70_000, 3_000_000] {
        let content = prose(size, size);
        let id = put(&store, &content, &format!("n/{size}"));
        let view = store.read(&id).unwrap();
        let cooled = store.cool(&id).unwrap();
        assert_eq!((cooled.cold, cooled.size, cooled.reason.as_str()), (true, size as u64, ""));
        assert!(cooled.bytes < cooled.size / 4, "{cooled:?}");
        assert_eq!(field(&store.info(&id).unwrap(), "cold"), Value::UInt(cooled.bytes));
        assert_eq!(view.as_ref(), content, "a view from before stays as it is");
        assert_eq!(store.get(&id).unwrap(), content);
        assert_eq!(store.read(&id).unwrap().as_ref(), content);
        assert!(store.verify(&id).unwrap());
        assert_eq!(put(&store, &content, ""), id, "stored once, also when it is cold");
        assert_eq!(store.cool(&id).unwrap().reason, "cold already");
        assert_eq!(found(&reopen(&host), &format!("n/{size}")), [id]);
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats["cold"], stats["contents"]), (4, 4));
    assert!(stats["saved"] > 3_000_000);
    assert!(files(folder.path()).iter().map(|(_, size)| size).sum::<u64>() < 200_000);
}

#[test]
fn what_is_small_or_does_not_compress_stays_as_it_is_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    let wanted = [
        (prose(1, 4_095), "smaller than 4 KiB"),
        (noise(10_000), "compressing saves less than an eighth"),
        (noise(100_000), "compressing saves less than an eighth"),
    ];
    for (content, reason) in wanted {
        let id = put(&store, &content, "");
        let before = files(folder.path());
        let cooled = store.cool(&id).unwrap();
        assert_eq!((cooled.cold, cooled.bytes), (false, content.len() as u64));
        assert_eq!(cooled.reason, reason);
        assert_eq!(files(folder.path()), before);
        assert_eq!(store.get(&id).unwrap(), content);
    }
    assert_eq!(store.stats().unwrap()["cold"], 0);
    assert_eq!(store.cool(&"0".repeat(64)).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn what_is_cold_outlives_the_process_and_can_be_warmed() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let contents = [prose(1, 30_000), prose(2, 900_000)];
    let ids = contents.each_ref().map(|content| put(&store, content, ""));
    for id in &ids {
        store.cool(id).unwrap();
    }
    let stats = store.stats().unwrap();
    store.stop();
    let restored = {
        let before = reopen(&host);
        before.stop();
        let restored = ArtifactStore::create(host.host()).unwrap();
        Component::restore(&restored, &before.snapshot().unwrap().unwrap()).unwrap();
        restored.start().unwrap();
        restored
    };
    for store in [reopen(&host), restored] {
        assert_eq!(store.stats().unwrap(), stats);
        for (id, content) in ids.iter().zip(&contents) {
            assert_eq!(&store.get(id).unwrap(), content);
        }
        store.stop();
    }
    let store = reopen(&host);
    for (id, content) in ids.iter().zip(&contents) {
        store.warm(id).unwrap();
        store.warm(id).unwrap();
        assert_eq!(field(&store.info(id).unwrap(), "cold"), Value::None);
        assert_eq!(&store.get(id).unwrap(), content);
    }
    assert_eq!((store.stats().unwrap()["cold"], store.stats().unwrap()["saved"]), (0, 0));
    assert!(files(folder.path()).iter().all(|(name, _)| Path::new(name).extension() != Some("lz4".as_ref())));
    store.stop();
    assert_eq!(reopen(&host).get(&ids[1]).unwrap(), contents[1]);
}

#[test]
fn damage_of_cold_content_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    // Nothing repeats at a distance, so that no damage gives the same bytes after all.
    let numbers = |count: u32| (0..count).flat_map(|at| format!("{:x} ", at * 7_919 % 4_096).into_bytes());
    for content in [numbers(6_000).collect::<Vec<u8>>(), numbers(100_000).collect()] {
        let id = put(&store, &content, "");
        let cooled = store.cool(&id).unwrap();
        let Location { path, offset, size, cold } = store.locate(&id).unwrap();
        assert_eq!((size, cold), (cooled.bytes, true));
        let whole = fs::read(&path).unwrap();
        for at in [0, 5, size / 2, size - 1] {
            let mut bytes = whole.clone();
            bytes[usize::try_from(offset + at).unwrap()] ^= 0x10;
            fs::write(&path, bytes).unwrap();
            let error = store.get(&id).map(|content| content.len()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Corrupt, "{at}");
            assert!(error.message.contains(&path), "{error}");
            assert!(!store.verify(&id).unwrap());
            assert_eq!(store.warm(&id).unwrap_err().kind, ErrorKind::Corrupt);
        }
        fs::write(&path, &whole[..whole.len() - 30]).unwrap();
        assert_eq!(store.get(&id).map(drop).unwrap_err().kind, ErrorKind::Corrupt);
        fs::write(&path, whole).unwrap();
        assert!(store.get(&id).unwrap() == content);
    }
}

#[test]
fn damaged_content_does_not_become_cold() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = open(folder.path());
    for size in [20_000, 200_000] {
        let id = put(&store, &prose(size, size), "");
        let Location { path, offset, .. } = store.locate(&id).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[usize::try_from(offset).unwrap() + 9] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = store.cool(&id).unwrap_err();
        assert!(error.kind == ErrorKind::Corrupt && error.message.contains(&path), "{error}");
        assert_eq!(field(&store.info(&id).unwrap(), "cold"), Value::None);
        let all = store.cool_all(0.0, "", 100).unwrap();
        assert!(all.damaged.contains(&id));
    }
}

#[test]
fn a_full_disk_leaves_content_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let content = prose(1, 2_000_000);
    let mut mixed = noise(300_000);
    mixed.extend(prose(2, 700_000));
    for content in [content, mixed] {
        let id = put(&store, &content, "");
        let before: Vec<_> =
            files(folder.path()).into_iter().filter(|(name, _)| !name.ends_with("pack")).collect();
        host.set_full(true);
        assert_eq!(store.cool(&id).unwrap_err().kind, ErrorKind::Io);
        host.set_full(false);
        let after: Vec<_> =
            files(folder.path()).into_iter().filter(|(name, _)| !name.ends_with("pack")).collect();
        assert_eq!(after, before);
        assert_eq!(store.get(&id).unwrap(), content);
        assert!(store.cool(&id).unwrap().cold);
    }
}

#[test]
fn a_file_left_by_a_killed_process_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let mut content = noise(300_000);
    content.extend(prose(2, 700_000));
    let id = put(&store, &content, "");
    let plain = store.locate(&id).unwrap().path;
    store.cool(&id).unwrap();
    let cold = store.locate(&id).unwrap().path;
    store.stop();
    fs::write(&plain, &content).unwrap(); // as if killed between the record and the removal
    let store = reopen(&host);
    assert!(!Path::new(&plain).exists() && Path::new(&cold).exists());
    assert_eq!(store.get(&id).unwrap(), content);
    store.warm(&id).unwrap();
    store.stop();
    fs::write(&cold, b"left").unwrap();
    let store = reopen(&host);
    assert!(Path::new(&plain).exists() && !Path::new(&cold).exists());
    store.delete(&id, true).unwrap();
    store.stop();
    fs::write(&plain, &content).unwrap();
    reopen(&host).stop();
    assert!(!Path::new(&plain).exists() && !Path::new(&cold).exists());
}

#[test]
fn a_pack_of_cold_content_gives_its_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let (host, store) = open(folder.path());
    let contents: Vec<Vec<u8>> = (0..60).map(|number| prose(number, 60_000)).collect();
    let ids: Vec<String> = contents.iter().map(|content| put(&store, content, "")).collect();
    let small = put(&store, b"small, and stays as it is", "");
    host.set_now(3_600_000_000);
    let none = store.cool_all(7_200.0, "", 1_000).unwrap();
    assert_eq!((none.checked, none.cooled), (0, 0), "all of it was used within two hours");
    let (mut after, mut cooled, mut saved) = (String::new(), 0, 0);
    loop {
        let page = store.cool_all(60.0, &after, 25).unwrap();
        (cooled, saved) = (cooled + page.cooled, saved + page.saved);
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!((cooled, saved), (60, store.stats().unwrap()["saved"]));
    let taken: u64 = files(folder.path()).iter().map(|(_, size)| size).sum();
    assert!(taken < 60 * 60_000 / 4, "{taken}");
    let store = reopen(&host);
    for (id, content) in ids.iter().zip(&contents) {
        assert_eq!(&store.get(id).unwrap(), content);
    }
    assert_eq!(store.get(&small).unwrap(), b"small, and stays as it is");
    let report = store.verify_all("", 1_000).unwrap();
    assert_eq!((field(&report, "checked"), field(&report, "damaged")), (Value::Int(61), Value::List(vec![])));
}

#[test]
fn cold_content_goes_to_the_trash_to_an_archive_and_away_like_any_other() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (host, store) = open(folder.path());
    let target = elsewhere.path().to_string_lossy().into_owned();
    for size in [30_000, 500_000] {
        let content = prose(size, size);
        let id = put(&store, &content, "");
        store.cool(&id).unwrap();
        store.archive(&id, &target).unwrap();
        assert_eq!(fs::read(elsewhere.path().join(&id)).unwrap(), content);
        assert_eq!((store.stats().unwrap()["cold"], store.stats().unwrap()["saved"]), (0, 0));
        assert_eq!(reopen(&host).stats().unwrap()["saved"], 0);
        store.retrieve(&id).unwrap();
        assert_eq!(store.get(&id).unwrap(), content);
        store.cool(&id).unwrap();
        store.trash(vec![&id], "").unwrap();
        assert_eq!(store.cool(&id).unwrap_err().kind, ErrorKind::NotFound);
        ArtifactStore::restore(&store, vec![&id]).unwrap();
        assert_eq!(store.get(&id).unwrap(), content);
        store.archive(&id, &target).unwrap();
        store.delete(&id, true).unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "the archived copy goes too");
        assert_eq!(store.stats().unwrap()["contents"], 0);
    }
}
