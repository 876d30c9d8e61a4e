//! A bare writer is killed and stopped at random moments, thousands of times; the log is held against a model each time.
//!
//! The model: every append that returned is in the log, each thread's records are numbered without a gap (the prefix
//! property), and no record of an earlier writer stands behind one of a later writer (two never overlap). A fifth of the
//! rounds stop a writer first and try to start another beside it, which must be refused.
//! `SYMPHONY_SOAK_ROUNDS` (200) and `SYMPHONY_SOAK_SEED` (random) set how often and which moments; `make soak` takes 10,000.
#![allow(clippy::unwrap_used)] // here it is an assertion

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use symphony_pit_journal::{Backend, Durability, Error, Log, Options, Reader, inspect};

const THREADS: u64 = 2;
/// Rounds over one log; the next ones begin with an empty one, so that reading it stays quick.
const ROUNDS_PER_LOG: u64 = 20;
/// Small, so that segments change often.
const SEGMENT_BYTES: usize = 2 << 20;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some("--writer") => write_until_killed(Path::new(&words[2]), words[3].parse().unwrap(), &words[4]),
        _ => soak(),
    }
}

fn options(backend: &str) -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        backend: Backend::named(backend),
        durability: Durability::Process { flush_interval: Duration::from_millis(20) },
        ..Options::default()
    }
}

/// The child: numbers each thread's records on from where the log ends, and tells of each append that has returned.
fn write_until_killed(pit: &Path, generation: u64, backend: &str) {
    let log = match Log::open(pit, options(backend)) {
        Ok(log) => log,
        Err(Error::Held { .. }) => std::process::exit(3),
        Err(error) => panic!("{error}"),
    };
    assert!(log.damage().is_empty(), "{:?}", log.damage());
    let component = log.component("soak").unwrap();
    let next: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
    log.replay(0, |record| {
        let (_, thread, number) = decode(record.payload);
        next[thread].store(number + 1, Ordering::Relaxed);
        Ok::<(), Error>(())
    })
    .unwrap();
    std::thread::scope(|scope| {
        for (thread, next) in next.iter().enumerate() {
            let log = &log;
            scope.spawn(move || {
                for number in next.load(Ordering::Relaxed).. {
                    let mut payload =
                        vec![u8::try_from(thread).unwrap(); 24 + usize::try_from(number * 37 % 900).unwrap()];
                    for (at, value) in [generation, thread as u64, number].into_iter().enumerate() {
                        payload[at * 8..][..8].copy_from_slice(&value.to_le_bytes());
                    }
                    log.append(component, 1, 1, 0, &payload).unwrap();
                    let mut told = [0; 16];
                    told[..8].copy_from_slice(&(thread as u64).to_le_bytes());
                    told[8..].copy_from_slice(&number.to_le_bytes());
                    std::io::stdout().write_all(&told).unwrap();
                    std::io::stdout().flush().unwrap();
                }
            });
        }
    });
}

fn decode(payload: &[u8]) -> (u64, usize, u64) {
    let number = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
    (number(0), usize::try_from(number(8)).unwrap(), number(16))
}

struct Random(u64);

impl Random {
    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn start(pit: &Path, generation: u64, backend: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("--writer")
        .arg(pit)
        .args([generation.to_string(), backend.to_owned()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: a child that was not waited for yet.
    #[allow(unsafe_code)]
    unsafe {
        libc::kill(child.id().cast_signed(), signal);
    }
}

/// One life of a writer. Gives how many of each thread's appends are known to have returned.
fn live_and_die(pit: &Path, generation: u64, backend: &str, random: &mut Random) -> HashMap<usize, u64> {
    let mut writer = start(pit, generation, backend);
    let mut told = writer.stdout.take().unwrap();
    let mut first = [0; 16];
    told.read_exact(&mut first).unwrap();
    std::thread::sleep(Duration::from_micros(random.below(3_000)));
    if random.below(5) == 0 {
        signal(&writer, libc::SIGSTOP);
        let status = start(pit, generation + 1, backend).wait().unwrap();
        assert_eq!(status.code(), Some(3), "a second writer beside a stopped one");
        if random.below(2) == 0 {
            signal(&writer, libc::SIGCONT);
            std::thread::sleep(Duration::from_micros(random.below(500)));
        }
    }
    signal(&writer, libc::SIGKILL);
    writer.wait().unwrap();
    let mut rest = first.to_vec();
    told.read_to_end(&mut rest).unwrap();
    rest.as_chunks::<16>()
        .0
        .iter()
        .map(|entry| {
            let (thread, number) = entry.split_at(8);
            let value = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
            (usize::try_from(value(thread)).unwrap(), value(number) + 1)
        })
        .collect()
}

/// Hold the log, as another process reads it, against the model. Gives the records of each thread.
fn check(pit: &Path, round: u64) -> HashMap<usize, u64> {
    let mut found: HashMap<usize, u64> = HashMap::new();
    let mut newest = 0;
    Reader::new(pit)
        .poll(|record| {
            let (generation, thread, number) = decode(record.payload);
            let next = found.entry(thread).or_default();
            assert_eq!(number, *next, "round {round}: thread {thread} has a gap or a record twice");
            *next += 1;
            assert!(generation >= newest, "round {round}: writer {generation} wrote behind writer {newest}");
            newest = generation;
            let filler = u8::try_from(thread).unwrap();
            assert!(record.payload[24..].iter().all(|byte| *byte == filler), "round {round}");
        })
        .unwrap();
    found
}

fn soak() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = variable("SYMPHONY_SOAK_ROUNDS").unwrap_or(200);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = variable("SYMPHONY_SOAK_SEED").unwrap_or_else(|| clock.into());
    println!("soak: {rounds} rounds, SYMPHONY_SOAK_SEED={seed}");
    let mut random = Random(seed);
    let (mut records, mut holes) = (0, 0);
    let mut pit = tempfile::tempdir().unwrap();
    let mut known: HashMap<usize, u64> = HashMap::new();
    for round in 0..rounds {
        if round % ROUNDS_PER_LOG == 0 {
            pit = tempfile::tempdir().unwrap();
            known.clear();
        }
        // Both back ends, in turns that differ from log to log.
        let backend = if random.below(4) == 0 { "pwrite" } else { "mmap" };
        let told = live_and_die(pit.path(), round + 1, backend, &mut random);
        // What stands behind a hole is read once the next writer has closed it; opening the log does that here.
        holes += inspect(pit.path()).unwrap().segments.iter().map(|segment| segment.holes).sum::<usize>();
        drop(Log::open(pit.path(), options(backend)).unwrap());
        let found = check(pit.path(), round);
        for (thread, count) in told.iter().chain(&known) {
            let kept = found.get(thread).copied().unwrap_or(0);
            assert!(
                kept >= *count,
                "round {round}: thread {thread}: {count} appends returned, {kept} are there"
            );
        }
        records += found.values().sum::<u64>() - known.values().sum::<u64>();
        known = found;
        if rounds >= 1_000 && (round + 1) % 1_000 == 0 {
            println!("soak: {} rounds, {records} records", round + 1);
        }
    }
    println!(
        "soak: {rounds} rounds, {records} records, {holes} holes closed, nothing lost, no two writers at once"
    );
}
