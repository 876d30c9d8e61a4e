//! Letting go of the oldest segments: nothing that is wanted gets lost, whatever moment a death chooses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use symphony_pit_journal::{
    Backend, Coverage, Covered, Durability, Error, Log, Options, Reader, Retirement, dropped, inspect,
};

const SMALL: usize = 2 << 20;
const COMPONENTS: [&str; 3] = ["core.a", "core.b", "acme.gone"];

fn open(pit: &Path) -> Log {
    Log::open(pit, Options { segment_bytes: SMALL, ..Options::default() }).unwrap()
}

type Record = (u64, String, Vec<u8>);

/// Position, component and payload of every record, as a replay gives them; a reader must see the same.
fn records(pit: &Path, log: &Log) -> Vec<Record> {
    let mut replayed = Vec::new();
    log.replay(0, |record| {
        replayed.push((record.position, record.component.to_owned(), record.payload.to_vec()));
        Ok::<(), Error>(())
    })
    .unwrap();
    assert!(replayed.is_sorted());
    assert_eq!(read(pit), replayed);
    replayed
}

fn read(pit: &Path) -> Vec<Record> {
    let mut read = Vec::new();
    let mut reader = Reader::new(pit);
    reader
        .poll(|record| read.push((record.position, record.component.to_owned(), record.payload.to_vec())))
        .unwrap();
    read
}

/// Append records of 300 kB, in turn of each component, over some segments.
fn fill(log: &Log) {
    for number in 0..26_u8 {
        let component = log.component(COMPONENTS[usize::from(number) % 3]).unwrap();
        log.append(component, 1, 1, i64::from(number), &vec![number; 300_000]).unwrap();
    }
}

fn coverage(snapshots: &[(&str, u64)]) -> Coverage {
    let snapshots = snapshots.iter().map(|(id, position)| ((*id).to_owned(), *position)).collect();
    Coverage { snapshots, loaded: vec!["core.a".to_owned(), "core.b".to_owned()] }
}

fn segments(pit: &Path) -> Vec<String> {
    let entries = fs::read_dir(pit.join("log")).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn ends(pit: &Path) -> Vec<u64> {
    let found = inspect(pit).unwrap();
    assert!(found.segments.iter().all(|segment| segment.damage.is_none()), "{found:?}");
    found.segments.iter().map(|segment| segment.first + segment.bytes as u64).collect()
}

/// A log of which two segments were retired; gives the records before and after that, and where it begins.
fn retired(pit: &Path) -> (Vec<Record>, Vec<Record>, u64) {
    let log = open(pit);
    fill(&log);
    let before = records(pit, &log);
    let begin = ends(pit)[1];
    let retirement = log.retire(begin, &coverage(&[("core.a", u64::MAX), ("core.b", begin)])).unwrap();
    assert_eq!(retirement, Retirement { segments: 2, kept: 4 });
    let after = records(pit, &log);
    (before, after, begin)
}

/// All records from `begin` on, and before it those of the component that is not there.
fn wanted(records: &[Record], begin: u64) -> Vec<Record> {
    let kept = |record: &&Record| record.0 >= begin || record.1 == "acme.gone";
    records.iter().filter(kept).cloned().collect()
}

#[test]
fn what_nobody_needs_goes_and_what_somebody_may_need_stays() {
    let pit = tempfile::tempdir().unwrap();
    let (before, after, begin) = retired(pit.path());
    assert_eq!(segments(pit.path())[..3], ["00000002.seg", "00000003.seg", "00000004.seg"]);
    assert_eq!(after, wanted(&before, begin));
    assert!(after.len() < before.len());
    let lost = |id: &str| {
        before.iter().filter(|record| record.0 < begin && record.1 == id).map(|record| record.0).max()
    };
    assert_eq!(dropped(pit.path(), "core.a").unwrap(), lost("core.a"));
    assert_eq!(dropped(pit.path(), "core.b").unwrap(), lost("core.b"));
    assert_eq!(dropped(pit.path(), "acme.gone").unwrap(), None);
    assert_eq!(dropped(pit.path(), "never.there").unwrap(), None);

    let log = open(pit.path());
    assert_eq!(records(pit.path(), &log), after);
    let numbers = COMPONENTS.map(|id| log.component(id).unwrap());
    assert_eq!(numbers, [1, 2, 3], "names and numbers were in the first segment");
    assert_eq!(log.component("acme.new").unwrap(), 4);
    let end = log.end();
    assert_eq!(log.append(4, 1, 1, 0, b"new").unwrap(), end);
    assert_eq!(records(pit.path(), &log).last().unwrap(), &(end, "acme.new".to_owned(), b"new".to_vec()));
}

#[test]
fn it_waits_for_snapshots_and_history_and_never_touches_the_present() {
    let pit = tempfile::tempdir().unwrap();
    let log = open(pit.path());
    fill(&log);
    let before = records(pit.path(), &log);
    let begin = ends(pit.path())[1];
    let nothing = Retirement::default();
    let all = u64::MAX;
    for (before, snapshots) in [
        (begin, &[][..]),                                            // no snapshot at all
        (begin, &[("acme.gone", all)][..]),                          // nor one of a component that is there
        (begin, &[("core.a", all), ("core.b", 7)][..]),              // one of them is not as far
        (SMALL as u64 - 1, &[("core.a", all), ("core.b", all)][..]), // history is not as far
    ] {
        assert_eq!(log.retire(before, &coverage(snapshots)).unwrap(), nothing, "{snapshots:?}");
    }
    assert_eq!(records(pit.path(), &log), before);
    let everything = coverage(&[("core.a", all), ("core.b", all), ("acme.gone", all)]);
    let count = ends(pit.path()).len();
    assert_eq!(log.retire(all, &everything).unwrap(), Retirement { segments: count - 1, kept: 0 });
    assert_eq!(log.retire(all, &everything).unwrap(), nothing);
    assert_eq!(ends(pit.path()).len(), 1, "the segment that is written to");
    log.append(1, 1, 1, 0, b"on").unwrap();
    log.flush().unwrap();
    log.close();
    assert!(matches!(log.retire(all, &everything), Err(Error::Closed)));
}

#[test]
fn what_is_kept_goes_once_a_snapshot_has_it() {
    let pit = tempfile::tempdir().unwrap();
    let (_, after, begin) = retired(pit.path());
    let log = open(pit.path());
    let next = ends(pit.path())[0];
    let all = coverage(&[("core.a", u64::MAX), ("core.b", next), ("acme.gone", begin)]);
    log.retire(next, &all).unwrap();
    let gone = after
        .iter()
        .filter(|record| record.1 == "acme.gone" && record.0 < begin)
        .map(|record| record.0)
        .max();
    assert_eq!(dropped(pit.path(), "acme.gone").unwrap(), gone);
    let left = records(pit.path(), &log);
    assert!(left.iter().all(|record| record.0 >= begin));
    assert_eq!(left.iter().filter(|record| record.0 < next).count(), 2, "those are behind its snapshot");
}

#[test]
fn a_death_between_two_steps_loses_nothing() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = open(old.path());
    fill(&log);
    let before = records(old.path(), &log);
    drop(log);
    copy(old.path(), new.path());
    let begin = ends(new.path())[1];
    let snapshots = coverage(&[("core.a", u64::MAX), ("core.b", begin)]);
    assert_eq!(open(new.path()).retire(begin, &snapshots).unwrap().segments, 2);

    let trial = |steps: &[&str], expected: &[Record]| {
        let pit = tempfile::tempdir().unwrap();
        copy(old.path(), pit.path());
        for step in steps {
            let (from, to) = (new.path().join("log").join(step), pit.path().join("log").join(step));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if from.exists() { fs::copy(from, to).map(drop).unwrap() } else { fs::remove_file(to).unwrap() }
        }
        for cut in ["00000009.new", "begin.new", "kept/00000001.new"] {
            let path = pit.path().join("log").join(cut);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"cut off").unwrap();
        }
        assert_eq!(read(pit.path()), expected, "{steps:?}, as a reader sees it before anybody tidies up");
        let log = open(pit.path());
        assert_eq!(records(pit.path(), &log), expected, "{steps:?}");
        let again = log.retire(begin, &snapshots).unwrap();
        assert_eq!(again.segments, if expected == before { 2 } else { 0 });
        assert_eq!(records(pit.path(), &log), wanted(&before, begin));
        drop(log);
        assert_eq!(files(pit.path()), files(new.path()), "{steps:?}: it ends up the same");
    };
    let after = wanted(&before, begin);
    trial(&[], &before);
    trial(&["kept/00000000.seg"], &before);
    trial(&["kept/00000000.seg", "kept/00000001.seg"], &before);
    trial(&["kept/00000000.seg", "kept/00000001.seg", "begin"], &after);
    trial(&["kept/00000000.seg", "kept/00000001.seg", "begin", "00000000.seg"], &after);
    trial(&["kept/00000000.seg", "kept/00000001.seg", "begin", "00000000.seg", "00000001.seg"], &after);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &target) } else { fs::copy(&entry, target).map(drop).unwrap() }
    }
}

fn files(pit: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [pit.join("log"), pit.join("log/kept")] {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        found.extend(entries.map(|path| path.strip_prefix(pit).unwrap().to_owned()));
    }
    found.sort();
    found
}

#[test]
fn a_snapshot_is_found_in_a_log_that_begins_later() {
    let pit = tempfile::tempdir().unwrap();
    let (before, _, begin) = retired(pit.path());
    let mut checksums = Vec::new();
    Reader::new(pit.path()).poll(|record| checksums.push((record.position, record.checksum))).unwrap();
    let (position, checksum) = *checksums.iter().find(|(position, _)| *position >= begin).unwrap();
    assert!(Covered { position, checksum }.is_in(pit.path()).unwrap());
    assert!(!Covered { position: before[0].0, checksum }.is_in(pit.path()).unwrap());
}

#[test]
fn the_header_of_the_first_segment_is_made_anew_from_the_beginning() {
    let pit = tempfile::tempdir().unwrap();
    let (_, after, _) = retired(pit.path());
    let path = pit.path().join("log/00000002.seg");
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[0xff; 64], 0).unwrap();
    let log = open(pit.path());
    assert!(log.damage()[0].what.contains("its header, which was made anew"), "{:?}", log.damage());
    assert_eq!(records(pit.path(), &log), after);
}

#[test]
fn a_log_whose_segments_are_lost_goes_on_where_it_began_and_says_so() {
    let pit = tempfile::tempdir().unwrap();
    let (_, after, begin) = retired(pit.path());
    fs::remove_file(pit.path().join("log/00000002.seg")).unwrap();
    let damage = inspect(pit.path()).unwrap().segments[0].damage.clone();
    assert_eq!(damage, Some((0, "segment 2 is missing before it".to_owned())));
    for entry in fs::read_dir(pit.path().join("log")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "seg") {
            fs::remove_file(entry).unwrap();
        }
    }
    let log = open(pit.path());
    assert!(log.end() > begin);
    let kept: Vec<Record> = after.into_iter().filter(|record| record.0 < begin).collect();
    assert_eq!(records(pit.path(), &log), kept);
    assert!(log.append(1, 1, 1, 0, b"on").unwrap() >= begin);
}

#[test]
fn a_damaged_beginning_is_an_error_and_not_a_guess() {
    let pit = tempfile::tempdir().unwrap();
    retired(pit.path());
    fs::write(pit.path().join("log/begin"), b"symphony log begin 1\n").unwrap();
    let refused = Log::open(pit.path(), Options::default()).err().unwrap();
    assert!(
        refused
            .to_string()
            .ends_with("log/begin is damaged: it says where the log begins, and in which numbers")
    );
    assert!(Reader::new(pit.path()).poll(|_| ()).is_err());
    assert!(inspect(pit.path()).is_err());
}

#[test]
fn the_space_is_free_although_the_writer_has_the_segment_mapped() {
    let pit = tempfile::tempdir().unwrap();
    let log = open(pit.path());
    fill(&log);
    let file = fs::File::open(pit.path().join("log/00000000.seg")).unwrap();
    let taken = file.metadata().unwrap().blocks();
    let begin = ends(pit.path())[0];
    let covered = coverage(&[("core.a", begin), ("core.b", begin)]);
    assert_eq!(log.retire(begin, &covered).unwrap().segments, 1);
    let left = file.metadata().unwrap();
    assert_eq!(left.nlink(), 0);
    assert!(log.backend() == Backend::Pwrite || left.blocks() < taken / 100, "{} of {taken}", left.blocks());
    let kept = fs::metadata(pit.path().join("log/kept/00000000.seg")).unwrap();
    assert!(kept.len() == SMALL as u64 && kept.blocks() < taken, "only the records of one component");
}

#[test]
fn flushes_go_on_whatever_the_mode_and_the_back_end() {
    let never = Durability::Process { flush_interval: Duration::ZERO };
    let often = Durability::Process { flush_interval: Duration::from_millis(1) };
    for backend in [Backend::Mapped, Backend::Pwrite] {
        for durability in [never, often, Durability::Machine] {
            let pit = tempfile::tempdir().unwrap();
            let options =
                Options { segment_bytes: SMALL, durability, backend: Some(backend), ..Options::default() };
            let log = Log::open(pit.path(), options).unwrap();
            fill(&log);
            let begin = ends(pit.path())[2];
            let covered = coverage(&[("core.a", begin), ("core.b", begin), ("acme.gone", begin)]);
            assert_eq!(log.retire(begin, &covered).unwrap(), Retirement { segments: 3, kept: 0 });
            log.append(1, 1, 1, 0, b"on").unwrap();
            log.flush().unwrap();
            fill(&log);
            log.flush().unwrap();
        }
    }
}
