//! Both ways of appending write the same bytes, and what each of them promises. markers: unit
#![allow(clippy::unwrap_used)] // here it is an assertion

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use symphony_pit_journal::{Backend, Covered, Durability, Error, Log, Options, Reader, inspect};

fn open(pit: &Path, backend: Backend) -> Log {
    open_as(pit, backend, Durability::default())
}

fn open_as(pit: &Path, backend: Backend, durability: Durability) -> Log {
    let options =
        Options { segment_bytes: 2 << 20, backend: Some(backend), durability, ..Options::default() };
    Log::open(pit, options).unwrap()
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

#[test]
fn the_back_ends_take_turns_at_one_log() {
    let pit = tempfile::tempdir().unwrap();
    let big = vec![7; 900_000]; // two fit a segment
    for round in 0..6_u8 {
        let backend = if round % 2 == 0 { Backend::Pwrite } else { Backend::Mapped };
        let log = open(pit.path(), backend);
        assert_eq!(log.backend(), backend);
        let component = log.component("c").unwrap();
        log.append(component, 1, 1, 0, &[round]).unwrap();
        log.append(component, 2, 1, 0, &big).unwrap();
    }
    let log = open(pit.path(), Backend::Pwrite);
    let expected: Vec<Vec<u8>> = (0..6).flat_map(|round| [vec![round], big.clone()]).collect();
    assert_eq!(payloads(&log), expected);
    assert_eq!(Reader::new(pit.path()).poll(|_| ()).unwrap(), 12);
    let inspection = inspect(pit.path()).unwrap();
    assert_eq!((inspection.records["c"], inspection.segments.len()), (12, 3));
    assert!(inspection.segments.iter().all(|segment| segment.damage.is_none()));
}

#[test]
fn pwrite_appenders_take_turns_and_lose_nothing() {
    let pit = tempfile::tempdir().unwrap();
    let log = Arc::new(open(pit.path(), Backend::Pwrite));
    let component = log.component("c").unwrap();
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for number in 0..1_000_u32 {
                    log.append(component, 1, 1, 0, &(thread * 1_000 + number).to_le_bytes()).unwrap();
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
    assert_eq!(numbers, (0..4_000).collect::<Vec<_>>());
}

#[test]
fn a_wait_for_the_disk_succeeds_in_both_modes_and_the_mode_is_told() {
    for backend in [Backend::Mapped, Backend::Pwrite] {
        for durability in
            [Durability::Machine, Durability::Process { flush_interval: Duration::from_millis(1) }]
        {
            let pit = tempfile::tempdir().unwrap();
            let log = open_as(pit.path(), backend, durability);
            assert_eq!(log.durable(), durability == Durability::Machine);
            let component = log.component("c").unwrap();
            let big = vec![7; 900_000];
            for _ in 0..5 {
                log.append(component, 1, 1, 0, &big).unwrap(); // over three segments
            }
            log.flush_if_durable().unwrap();
            log.flush().unwrap();
        }
    }
}

#[test]
fn files_of_segments_that_are_flushed_are_let_go() {
    let open_files = |pit: &Path| {
        let links = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|file| file.starts_with(pit) && file.extension() == Some("seg".as_ref())).count()
    };
    for (backend, durability) in [
        (Backend::Mapped, Durability::Machine),
        (Backend::Pwrite, Durability::Machine),
        (Backend::Mapped, Durability::Process { flush_interval: Duration::ZERO }),
    ] {
        let pit = tempfile::tempdir().unwrap();
        let log = open_as(pit.path(), backend, durability);
        let component = log.component("c").unwrap();
        for _ in 0..9 {
            log.append(component, 1, 1, 0, &vec![7; 900_000]).unwrap();
        }
        log.flush_if_durable().unwrap();
        assert_eq!(open_files(pit.path()), 1, "{backend:?}, {durability:?}");
        assert_eq!(payloads(&log).len(), 9);
        log.flush().unwrap();
    }
}

#[test]
fn many_who_wait_for_the_disk_at_once_all_return() {
    let pit = tempfile::tempdir().unwrap();
    let log = Arc::new(open_as(pit.path(), Backend::Mapped, Durability::Machine));
    let component = log.component("c").unwrap();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for _ in 0..20 {
                    log.append(component, 1, 1, 0, b"x").unwrap();
                    log.flush_if_durable().unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(payloads(&log).len(), 160);
}

#[test]
fn the_back_end_is_probed_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (probed, reason) = Backend::probe(folder.path()).unwrap();
    assert!(!reason.is_empty());
    assert_eq!(Log::open(folder.path(), Options::default()).unwrap().backend(), probed);
    assert_eq!(Backend::named(probed.name()), Some(probed));
    assert_eq!(Backend::named("floppy"), None);
    assert!(std::fs::read_dir(folder.path()).unwrap().all(|entry| entry.unwrap().file_name() != "probe.new"));
}

#[test]
fn a_closed_log_refuses_and_is_free_at_once() {
    let pit = tempfile::tempdir().unwrap();
    let log = open(pit.path(), Backend::Mapped);
    let component = log.component("c").unwrap();
    log.close();
    assert!(matches!(log.append(component, 1, 1, 0, b""), Err(Error::Closed)));
    open(pit.path(), Backend::Mapped).component("c").unwrap();
}

#[test]
fn a_snapshot_knows_its_log_by_the_last_record_it_covers() {
    let pit = tempfile::tempdir().unwrap();
    let log = open(pit.path(), Backend::Mapped);
    let component = log.component("c").unwrap();
    for number in 0..3_u8 {
        log.append(component, 1, 1, 0, &[number]).unwrap();
    }
    let mut seen = Vec::new();
    log.replay(0, |record| {
        seen.push((record.position, record.checksum));
        Ok::<(), Error>(())
    })
    .unwrap();
    let (position, checksum) = seen[1];
    let holds = |position, checksum| Covered { position, checksum }.is_in(pit.path()).unwrap();
    assert!(holds(position, checksum));
    assert!(!holds(position, checksum ^ 1));
    assert!(!holds(position + 8, checksum));
    assert!(!holds(1 << 40, checksum));
    let mut rest = Vec::new();
    log.replay(position + 1, |record| {
        rest.push(record.position);
        Ok::<(), Error>(())
    })
    .unwrap();
    assert_eq!(rest, [seen[2].0]);
}
