//! Malformed bodies through every decoder, in this process: no panic, memory that a body's length bounds, and an end in time.
//!
//! The corpora are `fuzz/corpus`, the requests in `tests/data/otlp` and, where they are at hand, captures of real clients. From
//! them bodies are mutated by a seed, so that a failure says how to have it again. METERD_FUZZ_BODIES says how many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod mutate;
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use allocation_counter::measure;

use mutate::Mutator;
use targets::TARGETS;

/// Bodies in the gate; a long run has ten million.
const BODIES: u64 = 26_000;
/// What one body may hold in memory at once, beside what its length allows.
const MEMORY_BYTES: u64 = 8 << 20;
/// Bytes in memory for one byte of a body: a protobuf message of two bytes is some hundreds in memory, and no more than 524,288
/// of them are read.
const MEMORY_PER_BYTE: u64 = 400;
/// The slowest body.
const SLOWEST: Duration = Duration::from_secs(5);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Where a file of a capture belongs, by its name.
fn belongs(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    let kind = [
        (".traces.pb", "otlp_traces_protobuf"),
        (".traces.json", "otlp_traces_json"),
        (".traces.decoded.json", "otlp_traces_json"),
        (".logs.json", "otlp_logs_json"),
        (".metrics.pb", "otlp_metrics_protobuf"),
        (".payloads.ndjson", "litellm"),
        ("031.ndjson", "litellm"),
        ("029.json", "litellm"),
    ];
    kind.iter().find(|(end, _)| name.ends_with(end)).map(|(_, target)| *target)
}

/// The bodies that a target's are mutated from. A body of one encoding is a malformed one of every other.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut paths = files(&root().join("fuzz/corpus").join(target));
    let captures = std::env::var_os("METERD_TEST_CAPTURES").map(PathBuf::from);
    let more = [Some(root().join("tests/data/otlp")), captures];
    paths.extend(more.iter().flatten().flat_map(|folder| files(folder)).filter(|path| belongs(path) == Some(target)));
    let mut bodies: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    if bodies.is_empty() {
        bodies.push(Vec::new());
    }
    bodies
}

/// The same as protobuf where the target reads that and has no body of its own.
fn logs_protobuf() -> Vec<Vec<u8>> {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use prost::Message as _;
    let read = |body: &Vec<u8>| serde_json::from_slice::<ExportLogsServiceRequest>(body).ok();
    corpus("otlp_logs_json").iter().filter_map(read).map(|message| message.encode_to_vec()).collect()
}

#[derive(Default)]
struct Worst {
    memory: u64,
    ratio: f64,
    took: Duration,
}

fn run(target: &str, decode: fn(&[u8]), seeds: &[Vec<u8>], bodies: u64, seed: u64) -> Worst {
    let mut worst = Worst::default();
    let mut mutator = Mutator::new(seed);
    let known = seeds.iter().cloned();
    let mutated = std::iter::repeat_with(|| mutator.body(seeds)).take(usize::try_from(bodies).unwrap());
    for (number, body) in known.chain(mutated).enumerate() {
        let start = Instant::now();
        let mut outcome = Ok(());
        let memory = measure(|| outcome = catch_unwind(AssertUnwindSafe(|| decode(&body)))).bytes_max;
        let took = start.elapsed();
        let length = body.len() as u64;
        let fine = outcome.is_ok() && memory <= MEMORY_BYTES + MEMORY_PER_BYTE * length && took <= SLOWEST;
        if !fine {
            let at = std::env::temp_dir().join(format!("meterd-fuzz-{target}"));
            fs::write(&at, &body).unwrap();
            let panicked = outcome.is_err();
            panic!(
                "{target}: body {number} of seed {seed} ({length} bytes, in {}): panic {panicked}, {memory} bytes of memory, {took:?}",
                at.display()
            );
        }
        worst.memory = worst.memory.max(memory);
        worst.ratio = worst.ratio.max(memory as f64 / (length.max(1024)) as f64);
        worst.took = worst.took.max(took);
    }
    worst
}

#[test]
fn malformed_bodies_neither_panic_nor_fill_the_memory() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let bodies = number("METERD_FUZZ_BODIES").unwrap_or(BODIES);
    let seed = number("METERD_FUZZ_SEED").unwrap_or(1);
    let share = bodies.div_ceil(TARGETS.len() as u64);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = || {
            while let Some((name, decode)) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
                let seeds = if *name == "otlp_logs_protobuf" { logs_protobuf() } else { corpus(name) };
                let start = Instant::now();
                let worst = run(name, *decode, &seeds, share, seed);
                eprintln!(
                    "{name}: {share} bodies from {} seeds in {:.1} s; at most {} bytes of memory, {:.0} a byte; slowest {:?}",
                    seeds.len(),
                    start.elapsed().as_secs_f64(),
                    worst.memory,
                    worst.ratio,
                    worst.took
                );
            }
        };
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().expect("no decoder failed");
        }
    });
}
