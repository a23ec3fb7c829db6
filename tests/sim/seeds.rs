//! Many seeds on all cores: the kept ones first, then the range; failures are printed, kept and counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::tally::Tally;
use crate::world::{Fallible, Plan, live};

/// Seeds where nothing else is said; `tests/run` says 2,000 to an optimised build.
const SEEDS: u64 = 100;
/// Commands, calls to the clock and faults a seed, at least.
const STEPS: u64 = 500;
/// A long run says how far it is so often.
const PROGRESS: Duration = Duration::from_secs(30);
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sim/seeds.txt");
/// Failures after which a run ends.
const FAILURES_MAX: usize = 5;

/// What a hundred seeds must have gone through, or the simulation no longer proves what it says.
const HAPPENS: [&str; 30] = [
    "answer: accepted, fenced",
    "answer: conflict",
    "answer: duplicate",
    "answer: no room",
    "answer: too old",
    "batches lost before they were acknowledged",
    "fault: answer lost after its effect",
    "fault: clock jump",
    "fault: disk fills up",
    "fault: disk full",
    "fault: file not made",
    "fault: folder not synced",
    "fault: index damaged at rest",
    "fault: index damaged in use",
    "fault: index file lost",
    "fault: ledger damaged",
    "fault: packing, or what goes before it, struck",
    "fault: power lost",
    "fault: process killed",
    "fault: rename",
    "fault: snapshot damaged",
    "fault: start struck",
    "fault: sync",
    "fault: unsynced bytes lost or torn",
    "fault: write",
    "forgotten names that came back",
    "runs forgotten",
    "runs forgotten with their kill",
    "runs put to rest",
    "segments packed",
];

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

fn kept() -> Vec<u64> {
    let text = fs::read_to_string(KEPT).unwrap_or_default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap().trim()).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().unwrap_or_else(|_| panic!("{KEPT}: not a seed: {line}"))).collect()
}

fn keep(seed: u64, error: &str) {
    if kept().contains(&seed) {
        return;
    }
    let mut text = fs::read_to_string(KEPT).unwrap_or_default();
    text += &format!("{seed} # {}\n", error.lines().next().unwrap_or_default());
    // A copy of the test that runs elsewhere has no such file: the seed is printed all the same.
    let _ = fs::write(KEPT, text);
}

/// One life; a panic is a failure like any other.
pub fn one(seed: u64, steps: u64) -> Fallible<Tally> {
    catch_unwind(AssertUnwindSafe(|| live(Plan { seed, steps }))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

#[test]
fn every_seed_ends_as_the_oracle_says() {
    let steps = setting("METERD_SIM_STEPS").unwrap_or(STEPS);
    let (from, count) = (setting("METERD_SIM_FROM").unwrap_or(0), setting("METERD_SIM_SEEDS").unwrap_or(SEEDS));
    let threads =
        setting("METERD_SIM_THREADS").unwrap_or_else(|| thread::available_parallelism().map_or(1, |n| n.get() as u64));
    let seeds: Vec<u64> = kept().into_iter().chain(from..from + count).collect();
    let (next, total, failures) = (AtomicU64::new(0), Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let (begun, told) = (Instant::now(), Mutex::new(Instant::now()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(seed) = seeds.get(at) else { return };
                    match one(*seed, steps) {
                        Ok(tally) => total.lock().unwrap().merge(&tally),
                        Err(error) => {
                            eprintln!(
                                "seed {seed} failed: {error}\n  repeat: METERD_SIM_FROM={seed} METERD_SIM_SEEDS=1 \
                                 METERD_SIM_STEPS={steps} cargo nextest run -p meterd --test sim every_seed"
                            );
                            keep(*seed, &error);
                            let mut failures = failures.lock().unwrap();
                            failures.push(*seed);
                            if failures.len() >= FAILURES_MAX {
                                next.store(seeds.len() as u64, Ordering::Relaxed);
                            }
                        }
                    }
                    let mut told = told.lock().unwrap();
                    if told.elapsed() >= PROGRESS {
                        *told = Instant::now();
                        eprintln!("{at} of {} seeds in {} s", seeds.len(), begun.elapsed().as_secs());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let total = total.into_inner().unwrap();
    eprintln!("{} seeds from {from} in {:.1} s:\n{total}", seeds.len(), begun.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "seeds that failed: {failures:?}");
    let missing: Vec<_> = HAPPENS.iter().filter(|what| !total.has(what)).collect();
    assert!(seeds.len() < 100 || missing.is_empty(), "{} seeds and never: {missing:?}", seeds.len());
}
