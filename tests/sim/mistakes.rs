//! The simulation is only worth what it finds: each deliberate mistake in the real code must be found within so many seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

use budget::mistakes::{Mistake, select};

use crate::seeds::one;

/// Seeds that a mistake may hide from, at most.
const SEEDS_MAX: u64 = 1_000;
const STEPS: u64 = 500;

#[test]
fn every_mistake_is_found() {
    let only = env::var("METERD_SIM_MISTAKE").ok();
    let wanted: Vec<Mistake> = Mistake::ALL
        .iter()
        .copied()
        .filter(|one| only.as_ref().is_none_or(|only| *only == format!("{one:?}")))
        .collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(mistake) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    select(Some(*mistake));
                    let by = (0..SEEDS_MAX).find_map(|seed| one(seed, STEPS).err().map(|error| (seed, error)));
                    select(None);
                    found.lock().unwrap().push((*mistake, by));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(mistake, _)| *mistake);
    for (mistake, by) in &found {
        let (seed, why) = match by {
            Some((seed, error)) => (seed.to_string(), error.lines().next().unwrap_or_default()),
            None => ("none".to_owned(), "not found"),
        };
        let why: String = why.chars().take(110).collect();
        eprintln!("{:<24} seed {seed:>4}  {}\n{:36}{why}", format!("{mistake:?}"), mistake.what(), "");
    }
    let missed: Vec<_> = found.iter().filter(|(_, by)| by.is_none()).map(|(mistake, _)| mistake).collect();
    assert!(missed.is_empty(), "mistakes that {SEEDS_MAX} seeds did not find: {missed:?}");
    eprintln!("{} mistakes, every one found", found.len());
}
