//! The log with real files: append, replay, follow, fence, recover.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use symphony_pit_journal::{Error, Log, MAX_PAYLOAD, Notifier, Options, Reader, Watch, inspect};

const SMALL: usize = 2 << 20;

fn open(pit: &Path) -> Log {
    Log::open(pit, Options { segment_bytes: SMALL, ..Options::default() }).unwrap()
}

fn payloads(log: &Log) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    log.replay(0, |record| {
        found.push(record.payload.to_vec());
        Ok::<(), Error>(())
    })
    .unwrap();
    found
}

fn segment(pit: &Path, index: u64) -> fs::File {
    fs::OpenOptions::new().read(true).write(true).open(pit.join(format!("log/{index:08}.seg"))).unwrap()
}

#[test]
fn records_come_back_after_reopening() {
    let pit = tempfile::tempdir().unwrap();
    {
        let log = open(pit.path());
        let tracker = log.component("symphony.dag_tracker").unwrap();
        for number in 0..100_u8 {
            log.append(tracker, 7, 1, 42, &[number]).unwrap();
        }
    }
    let log = open(pit.path());
    let mut seen = 0;
    log.replay(0, |record| {
        assert_eq!(
            (record.component, record.kind, record.revision, record.time),
            ("symphony.dag_tracker", 7, 1, 42)
        );
        assert_eq!(record.payload, [seen]);
        seen += 1;
        Ok::<(), Error>(())
    })
    .unwrap();
    assert_eq!(seen, 100);
}

#[test]
fn a_second_writer_is_refused_with_the_holder() {
    let pit = tempfile::tempdir().unwrap();
    let _log = open(pit.path());
    let own = std::process::id().cast_signed();
    assert!(matches!(Log::open(pit.path(), Options::default()), Err(Error::Held { pid, .. }) if pid == own));
}

#[test]
fn the_log_goes_on_over_segments_and_a_reader_follows() {
    let pit = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(pit.path());
    assert_eq!(reader.poll(|_| ()).unwrap(), 0, "no log yet");
    let log = open(pit.path());
    let component = log.component("c").unwrap();
    let big = vec![3; 300_000];
    let mut followed = 0;
    for round in 0..40 {
        log.append(component, round, 1, 0, &big).unwrap();
        followed += reader
            .poll(|record| assert_eq!((record.kind, record.payload.len()), (round, big.len())))
            .unwrap();
    }
    assert_eq!(followed, 40);
    assert!(pit.path().join("log/00000005.seg").exists());
    assert_eq!(payloads(&log).len(), 40);
    let positions = {
        let mut positions = Vec::new();
        Reader::new(pit.path()).poll(|record| positions.push(record.position)).unwrap();
        positions
    };
    assert!(positions.is_sorted() && positions.len() == 40);
}

#[test]
fn concurrent_appends_are_all_there_once() {
    let pit = tempfile::tempdir().unwrap();
    let log = Arc::new(open(pit.path()));
    let component = log.component("c").unwrap();
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for number in 0..5_000_u32 {
                    let mut payload = vec![0; 200];
                    payload[..4].copy_from_slice(&(thread * 5_000 + number).to_le_bytes());
                    log.append(component, 1, 1, 0, &payload).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut numbers: Vec<u32> =
        payloads(&log).iter().map(|payload| u32::from_le_bytes(payload[..4].try_into().unwrap())).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());
}

#[test]
fn a_hole_is_padded_over_and_what_follows_is_kept() {
    let pit = tempfile::tempdir().unwrap();
    let positions: Vec<u64> = {
        let log = open(pit.path());
        let component = log.component("c").unwrap();
        (0..3_u8).map(|number| log.append(component, 1, 1, 0, &[number; 50]).unwrap()).collect()
    };
    // What a writer leaves that dies while it copies.
    segment(pit.path(), 0).write_all_at(&[0; 4], positions[1]).unwrap();
    segment(pit.path(), 0).write_all_at(&[0; 30], positions[1] + 40).unwrap();
    let log = open(pit.path());
    assert_eq!(payloads(&log), [vec![0; 50], vec![2; 50]]);
    assert!(log.damage().is_empty());
    let component = log.component("c").unwrap();
    log.append(component, 1, 1, 0, &[9]).unwrap();
    drop(log);
    assert_eq!(payloads(&open(pit.path())).len(), 3);
}

#[test]
fn a_record_that_only_lacks_its_word_is_published_by_recovery() {
    let pit = tempfile::tempdir().unwrap();
    let positions: Vec<u64> = {
        let log = open(pit.path());
        let component = log.component("c").unwrap();
        (0..3_u8).map(|number| log.append(component, 1, 1, 0, &[number; 50]).unwrap()).collect()
    };
    segment(pit.path(), 0).write_all_at(&[0; 4], positions[1]).unwrap();
    assert_eq!(payloads(&open(pit.path())), [vec![0; 50], vec![1; 50], vec![2; 50]]);
    assert!(inspect(pit.path()).unwrap().aside.is_empty());
}

#[test]
fn a_segment_whose_writer_died_before_it_sealed_is_sealed_by_the_next_one() {
    let pit = tempfile::tempdir().unwrap();
    let big = vec![3; 700_000];
    let append = |log: &Log| log.append(log.component("c").unwrap(), 1, 1, 0, &big).unwrap();
    {
        let log = open(pit.path());
        for _ in 0..5 {
            append(&log);
        }
    }
    segment(pit.path(), 0).write_all_at(&[0; 24], 40).unwrap();
    let log = open(pit.path());
    append(&log);
    assert_eq!(Reader::new(pit.path()).poll(|_| ()).unwrap(), 6);
    assert!(log.damage().is_empty());
}

#[test]
fn damage_is_named_and_only_the_prefix_is_used() {
    let pit = tempfile::tempdir().unwrap();
    let positions: Vec<u64> = {
        let log = open(pit.path());
        let component = log.component("c").unwrap();
        (0..3_u8).map(|number| log.append(component, 1, 1, 0, &[number; 50]).unwrap()).collect()
    };
    segment(pit.path(), 0).write_all_at(&[0xff], positions[1] + 30).unwrap();
    let log = open(pit.path());
    assert_eq!(payloads(&log), [vec![0; 50]]);
    assert_eq!(log.damage().len(), 1);
    assert_eq!(log.damage()[0].offset as u64, positions[1]);
    assert!(log.damage()[0].aside.join("00000000.seg").exists());
}

#[test]
fn a_foreign_file_is_set_aside_and_named() {
    let pit = tempfile::tempdir().unwrap();
    fs::create_dir_all(pit.path().join("log")).unwrap();
    fs::write(pit.path().join("log/00000000.seg"), vec![b'x'; 8192]).unwrap();
    let log = open(pit.path());
    let damage = &log.damage()[0];
    assert!(damage.path.ends_with("00000000.seg"), "{damage:?}");
    assert!(damage.what.contains("no segment of a Pit log"), "{damage:?}");
    assert_eq!(fs::read(damage.aside.join("00000000.seg")).unwrap(), vec![b'x'; 8192]);
    log.append(log.component("c").unwrap(), 1, 1, 0, b"on").unwrap();
    assert_eq!(payloads(&log), [b"on"]);
}

#[test]
fn a_foreign_file_larger_than_any_segment_is_set_aside_too() {
    let pit = tempfile::tempdir().unwrap();
    {
        let log = open(pit.path());
        log.append(log.component("c").unwrap(), 1, 1, 0, b"on").unwrap();
    }
    fs::File::create(pit.path().join("log/00000001.seg")).unwrap().set_len(3 << 30).unwrap();
    let told = inspect(pit.path()).unwrap().segments[1].damage.clone().unwrap();
    let log = open(pit.path());
    assert_eq!((log.damage()[0].offset, &log.damage()[0].what), (told.0, &told.1));
    assert!(told.1.contains("found 3221225472 bytes"), "{told:?}");
    assert_eq!(payloads(&log), [b"on"]);
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_nothing_is_written() {
    let pit = tempfile::tempdir().unwrap();
    let log = open(pit.path());
    let component = log.component("c").unwrap();
    assert!(matches!(log.append(component, 1, 1, 0, &vec![0; MAX_PAYLOAD + 1]), Err(Error::TooLarge { .. })));
    log.append(component, 1, 1, 0, &vec![1; MAX_PAYLOAD]).unwrap();
    assert_eq!(payloads(&log), [vec![1; MAX_PAYLOAD]]);
}

#[test]
fn an_armed_reader_is_woken_once_per_batch() {
    let pit = tempfile::tempdir().unwrap();
    let watch = Watch::new().unwrap();
    let event = watch.event().try_clone_to_owned().unwrap();
    let notifier = Notifier::new(event, &watch.memory().try_clone_to_owned().unwrap()).unwrap();
    let log = Log::open(
        pit.path(),
        Options { segment_bytes: SMALL, notifier: Some(notifier), ..Options::default() },
    )
    .unwrap();
    let component = log.component("c").unwrap();
    let signals = || {
        let mut count = [0_u8; 8];
        let file = fs::File::from(watch.event().try_clone_to_owned().unwrap());
        std::io::Read::read(&mut (&file), &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    };
    assert_eq!(signals(), 0, "not armed");
    watch.arm();
    for _ in 0..10 {
        log.append(component, 1, 1, 0, b"x").unwrap();
    }
    assert_eq!(signals(), 1);
}
