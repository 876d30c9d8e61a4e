//! Every flipped bit, every truncation, zeros, strangers: a prefix is kept, the damage is named, nothing crashes. markers: unit
#![allow(clippy::unwrap_used)] // here it is an assertion

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use symphony_pit_journal::{Durability, Error, Log, Options, SegmentReport, examine, inspect};

/// Bytes of the sample that carry its records; the rest of its segment is free.
const USED: usize = 560;

struct Sample {
    folder: tempfile::TempDir,
    /// The one segment of the log, whole.
    bytes: Vec<u8>,
    payloads: Vec<Vec<u8>>,
    /// Offsets at which records begin, those of the log itself too.
    starts: Vec<usize>,
}

fn open(pit: &Path) -> Log {
    let durability = Durability::Process { flush_interval: Duration::ZERO };
    Log::open(pit, Options { segment_bytes: 1 << 20, durability, ..Options::default() }).unwrap()
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

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Lengths whose words have few bits, lengths of whole words and others, and two components.
        let payloads: Vec<Vec<u8>> =
            [0, 1, 7, 8, 31, 2].map(|length: u8| vec![length ^ 0x5a; length.into()]).into();
        let mut starts = Vec::new();
        {
            let log = open(folder.path());
            for (at, payload) in payloads.iter().enumerate() {
                starts.push(usize::try_from(log.end()).unwrap());
                let component = log.component(["one", "another"][at % 2]).unwrap();
                starts.push(usize::try_from(log.append(component, 7, 1, 42, payload).unwrap()).unwrap());
            }
            assert!(log.end() < USED as u64);
        }
        let bytes = fs::read(folder.path().join("log/00000000.seg")).unwrap();
        Self { folder, bytes, payloads, starts }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log/00000000.seg")
    }

    /// Open the log with this as its only segment. Gives what came back of the payloads, and whether damage was named.
    fn open_with(&self, used: &[u8], len: usize) -> (Vec<Vec<u8>>, bool) {
        fs::remove_dir_all(self.folder.path().join("log")).unwrap();
        fs::create_dir(self.folder.path().join("log")).unwrap();
        fs::write(self.path(), used).unwrap();
        fs::OpenOptions::new().write(true).open(self.path()).unwrap().set_len(len as u64).unwrap();
        let told = inspect(self.folder.path()).unwrap().segments[0].damage.is_some();
        let log = open(self.folder.path());
        let named = !log.damage().is_empty();
        assert_eq!(told, named, "inspection and recovery see the same");
        for damage in log.damage() {
            assert!(damage.aside.join("damage.txt").exists());
        }
        let found = payloads(&log);
        log.append(log.component("one").unwrap(), 1, 1, 0, b"goes on").unwrap();
        assert_eq!(payloads(&log).len(), found.len() + 1);
        (found, named)
    }

    fn check(&self, found: &[Vec<u8>], named: bool, what: &str) {
        assert!(self.payloads.starts_with(found), "{what}: what is kept is no prefix: {found:?}");
        assert!(named || found.len() == self.payloads.len(), "{what}: lost without a word");
    }
}

#[test]
fn every_flipped_bit_keeps_a_prefix_and_what_is_lost_is_named() {
    let sample = Sample::new();
    for bit in 0..USED * 8 {
        let mut bytes = sample.bytes[..USED].to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (found, named) = sample.open_with(&bytes, sample.bytes.len());
        sample.check(&found, named, &format!("bit {bit}"));
    }
}

#[test]
fn every_truncation_keeps_a_prefix_and_is_named() {
    let sample = Sample::new();
    for length in 0..USED {
        let (found, named) = sample.open_with(&sample.bytes[..length], length);
        sample.check(&found, named, &format!("{length} bytes"));
        assert!(named, "{length} bytes are fewer than the header tells");
    }
}

#[test]
fn zeros_over_a_block_keep_a_prefix_or_are_named() {
    let sample = Sample::new();
    for from in (64..USED).step_by(13) {
        for length in [40, 512] {
            let mut bytes = sample.bytes[..USED].to_vec();
            let to = (from + length).min(USED);
            bytes[from..to].fill(0);
            let (found, named) = sample.open_with(&bytes, sample.bytes.len());
            assert!(found.iter().all(|payload| sample.payloads.contains(payload)), "zeros at {from}..{to}");
            // Zeros that begin with a record are what a dying writer leaves: there alone records may go without a word.
            let first = sample.bytes[from..].iter().position(|byte| *byte != 0).map(|at| at + from);
            let as_if_dying = first.is_some_and(|first| sample.starts.contains(&first));
            assert!(named || as_if_dying || found == sample.payloads, "zeros at {from}..{to}: lost");
        }
    }
}

#[test]
fn a_damaged_segment_among_others_ends_the_log_there() {
    let pit = tempfile::tempdir().unwrap();
    {
        let log = open(pit.path());
        let component = log.component("c").unwrap();
        for number in 0..8_u8 {
            log.append(component, 1, 1, 0, &vec![number; 400_000]).unwrap();
        }
    }
    let second = pit.path().join("log/00000001.seg");
    let mut bytes = fs::read(&second).unwrap();
    bytes[500_000] ^= 4;
    fs::write(&second, &bytes).unwrap();
    let told = inspect(pit.path()).unwrap();
    assert_eq!(told.segments[1].damage.as_ref().map(|(offset, _)| *offset), Some(64 + 400_024));
    let log = open(pit.path());
    assert_eq!(payloads(&log).iter().map(|payload| payload[0]).collect::<Vec<_>>(), [0, 1, 2]);
    let aside = &log.damage()[0].aside;
    assert_eq!(fs::read(aside.join("00000001.seg")).unwrap(), bytes);
    assert!(aside.join("00000003.seg").exists());
    assert_eq!(inspect(pit.path()).unwrap().aside.len(), 1);
    drop(log);
    assert!(open(pit.path()).damage().is_empty(), "it is told once, and lies aside");
}

#[test]
fn a_missing_segment_ends_the_log_before_it() {
    let pit = tempfile::tempdir().unwrap();
    {
        let log = open(pit.path());
        let component = log.component("c").unwrap();
        for number in 0..8_u8 {
            log.append(component, 1, 1, 0, &vec![number; 400_000]).unwrap();
        }
    }
    fs::remove_file(pit.path().join("log/00000001.seg")).unwrap();
    assert!(inspect(pit.path()).unwrap().segments[1].damage.is_some());
    let log = open(pit.path());
    assert_eq!(payloads(&log).len(), 2);
    assert!(log.damage()[0].what.contains("segment 1 is missing"), "{:?}", log.damage());
}

/// The fuzz target's function over its corpus and over seeded mutations of it: whatever the bytes are, it only tells.
#[test]
fn whatever_the_bytes_are_they_are_only_looked_at() {
    let sample = Sample::new();
    let whole = &sample.bytes[..USED];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/segment");
    let mut seeds: Vec<Vec<u8>> =
        fs::read_dir(corpus).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() >= 3);
    seeds.push(whole.to_vec());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1)).unwrap()
    };
    let check = |report: &SegmentReport, len: usize| {
        assert!(report.end <= len.max(64) || report.damage.is_some());
        assert!(report.records <= len / 24 + 1);
    };
    for seed in &seeds {
        check(&examine(seed), seed.len());
        let pit = tempfile::tempdir().unwrap();
        fs::create_dir(pit.path().join("log")).unwrap();
        fs::write(pit.path().join("log/00000000.seg"), seed).unwrap();
        let log = open(pit.path());
        assert_eq!(examine(seed).damage.is_some(), !log.damage().is_empty());
        log.component("goes on").unwrap();
        for _ in 0..5_000 {
            let mut bytes = seed.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len() as u64);
                match random(4) {
                    0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                    1 => bytes[at] ^= 1 << random(8),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let end = (at + random(64)).min(bytes.len());
                        let piece = bytes[at..end].to_vec();
                        let to = random(bytes.len() as u64);
                        bytes.splice(to..to, piece);
                    }
                }
            }
            check(&examine(&bytes), bytes.len());
        }
    }
}
