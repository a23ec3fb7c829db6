//! The index over real files: asked from memory and from runs, merged, forgotten, torn and made again.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use budget::{Charge, Entry, Fact};
use pricing::Timestamp;
use tempfile::TempDir;

use super::filter::{Filter, Probe};
use super::{Dedup, Seen, Stretch, halves};
use crate::event::charge::tests::sample::{START, call};
use crate::ledger::{DataDir, LedgerError};

/// Everything remembered: key → entry and body.
pub(in crate::meter) type Ids = BTreeMap<(u64, u64), (u64, u64)>;

const HOUR: i64 = 3_600_000_000_000;

impl Dedup {
    /// Everything remembered, wherever it is.
    pub(in crate::meter) fn ids(&self) -> Ids {
        let tables = self.sealing.iter().map(|table| &**table).chain([&self.fresh]);
        let mut ids: Ids =
            tables.flat_map(|table| &table.keys).map(|(key, first)| (*key, (first.seq, first.body))).collect();
        for record in self.runs.iter().flat_map(|run| run.records()) {
            let (key, first) = record.unwrap();
            ids.insert(halves(key), (first.seq, first.body));
        }
        ids
    }

    /// Looks for one charge.
    fn known(&self, charge: &Charge) -> Result<Option<Seen>, LedgerError> {
        let looks = self.look(std::slice::from_ref(charge));
        self.seen(charge, looks[0])
    }

    /// Puts what is in memory into a run.
    pub(in crate::meter) fn seal_now(&mut self) {
        if !self.fresh.keys.is_empty() {
            self.seal().unwrap();
        }
        self.wait().unwrap();
    }
}

/// An index that spills after so many keys, and the charges put into it: one an entry, an hour after the other.
struct Scene {
    folder: TempDir,
    dir: DataDir,
    dedup: Dedup,
    charges: Vec<Charge>,
}

impl Scene {
    fn new(horizon_hours: u64, spill_at: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let dir = DataDir::new(folder.path());
        drop(dir.own().unwrap());
        let dedup = Self::open(&dir, horizon_hours, spill_at);
        Self { folder, dir, dedup, charges: Vec::new() }
    }

    fn open(dir: &DataDir, horizon_hours: u64, spill_at: usize) -> Dedup {
        let mut dedup = Dedup::open(dir).unwrap();
        dedup.set(Duration::from_secs(3_600 * horizon_hours), false);
        dedup.fresh_keys_max = spill_at;
        dedup
    }

    fn entry(&self, seq: usize) -> Entry {
        let charge = self.charges[seq - 1].clone();
        Entry { seq: seq as u64, at: at(seq), fact: Fact::Charged(Box::new(charge)) }
    }

    fn book(&mut self, charges: usize) {
        for _ in 0..charges {
            let seq = self.charges.len() + 1;
            let mut charge = call(&format!("e-{seq}"), "run");
            charge.time = at(seq);
            self.charges.push(charge);
            let entry = self.entry(seq);
            self.dedup.apply(&entry);
            self.dedup.keep(at(seq)).unwrap();
        }
    }

    /// Every charge from entry `first` on is known by its id and by its response; those before are forgotten.
    fn check(&self, first: usize) {
        for (index, charge) in self.charges.iter().enumerate() {
            let seq = index + 1;
            let expected = if seq < first { Seen::Forgotten } else { Seen::Same(seq as u64) };
            assert_eq!(self.dedup.known(charge).unwrap(), Some(expected), "entry {seq}");
            let mut other = Charge { key: !charge.key, ..charge.clone() };
            assert_eq!(self.dedup.known(&other).unwrap(), Some(expected), "the response of entry {seq}");
            (other.key, other.body) = (charge.key, !charge.body);
            let conflict = if seq < first { Seen::Forgotten } else { Seen::Other(seq as u64) };
            assert_eq!(self.dedup.known(&other).unwrap(), Some(conflict), "another body for entry {seq}");
        }
        let mut strange = call("strange", "run");
        strange.time = at(self.charges.len());
        assert_eq!(self.dedup.known(&strange).unwrap(), None);
    }

    /// A start: what is on disk, and the entries after it.
    fn restart(&mut self, horizon_hours: u64, spill_at: usize) -> u64 {
        self.dedup = Self::open(&self.dir, horizon_hours, spill_at);
        let covered = self.dedup.covered();
        for seq in usize::try_from(covered).unwrap() + 1..=self.charges.len() {
            let entry = self.entry(seq);
            self.dedup.apply(&entry);
            self.dedup.spill().unwrap();
        }
        covered
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.folder.path().join("index")).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "run"));
        files.sort();
        files
    }
}

fn at(seq: usize) -> Timestamp {
    START.saturating_add(i64::try_from(seq).unwrap() * HOUR)
}

#[test]
fn ids_are_known_from_memory_and_from_runs() {
    // Two keys an entry: a run for each twenty entries, eight runs become one.
    let mut scene = Scene::new(100_000, 40);
    for booked in [19, 1, 5, 300] {
        scene.book(booked);
        scene.check(1);
    }
    assert!(scene.dedup.runs.len() < 8, "merged: {}", scene.dedup.runs.len());
    assert_eq!(scene.dedup.len(), 650);
    assert_eq!(scene.files().len(), scene.dedup.runs.len(), "what was merged is gone");
    let ids = scene.dedup.ids();
    assert_eq!(scene.restart(100_000, 40), 320);
    assert_eq!(scene.dedup.ids(), ids);
    scene.check(1);
}

#[test]
fn whole_runs_are_forgotten_and_their_ids_refused() {
    let mut scene = Scene::new(80, 20);
    scene.book(300);
    let first = usize::try_from(scene.dedup.floor()).unwrap();
    // Everything within the horizon is there, and not much more: an eighth of it, and one run.
    assert!((300 - 80 - 10 - 10..=300 - 80).contains(&first), "{first}");
    scene.check(first);
    scene.restart(80, 20);
    assert_eq!(scene.dedup.floor(), first as u64);
    scene.check(first);
    // A clock that goes back forgets nothing more, and remembers nothing again.
    scene.dedup.keep(START).unwrap();
    scene.check(first);
}

#[test]
fn a_run_that_is_not_whole_is_made_again() {
    let mut scene = Scene::new(100_000, 40);
    scene.book(100);
    let files = scene.files();
    assert_eq!(files.len(), 5);
    let whole = fs::read(&files[2]).unwrap();
    // Cut off, a changed footer, a changed filter, empty, gone: the runs before it stay.
    let mut footer = whole.clone();
    *footer.last_mut().unwrap() ^= 1;
    let mut filter = whole.clone();
    let in_filter = whole.len() - 100;
    filter[in_filter] ^= 1;
    for damaged in [whole[..whole.len() / 2].to_vec(), footer, filter, Vec::new()] {
        fs::write(&files[2], damaged).unwrap();
        assert_eq!(scene.restart(100_000, 40), 40);
        scene.check(1);
        scene.dedup.wait().unwrap();
        assert_eq!(scene.files(), files);
    }
    fs::remove_file(&files[0]).unwrap();
    assert_eq!(scene.restart(100_000, 40), 0);
    scene.check(1);
}

#[test]
fn a_block_that_is_damaged_is_an_error_and_never_an_answer() {
    let mut scene = Scene::new(100_000, 40);
    scene.book(40);
    let file = scene.files()[0].clone();
    let mut bytes = fs::read(&file).unwrap();
    bytes[5] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(scene.restart(100_000, 40), 40);
    let error = scene.dedup.known(&scene.charges[0]).unwrap_err();
    assert!(matches!(&error, LedgerError::Index { offset: 0, path } if *path == file), "{error}");
}

#[test]
fn a_run_ahead_of_the_ledger_is_left_out() {
    let mut scene = Scene::new(100_000, 40);
    scene.book(100);
    scene.dedup.cut_back(70).unwrap();
    assert_eq!((scene.dedup.covered(), scene.files().len()), (60, 3));
}

#[test]
fn merging_keeps_the_newest_time_of_a_response() {
    let mut scene = Scene::new(100_000, 2);
    scene.book(1);
    let response = scene.charges[0].response_key;
    let stretch = Stretch::empty(0);
    assert_eq!((stretch.first_seq, stretch.last_seq), (1, 0));
    for seq in 2..=20_usize {
        let charge = Charge { response_key: response, ..call(&format!("again-{seq}"), "run") };
        scene.dedup.apply(&Entry { seq: seq as u64, at: at(seq), fact: Fact::Charged(Box::new(charge)) });
        scene.dedup.seal_now();
        scene.dedup.keep(at(seq)).unwrap();
    }
    assert!(scene.dedup.runs.len() < 8);
    let asked = Charge { response_key: response, ..call("asked", "run") };
    assert_eq!(scene.dedup.known(&asked).unwrap(), Some(Seen::Same(20)));
    let oldest = Arc::clone(&scene.dedup.runs[0]);
    let key = response.unwrap() ^ super::RESPONSE;
    assert!(oldest.stretch.last_seq > 1);
    assert_eq!(oldest.find(key).unwrap().unwrap().seq, oldest.stretch.last_seq);
}

#[test]
fn the_filter_never_denies_and_seldom_errs() {
    let key = |n: u64| {
        let high = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
        u128::from(high.wrapping_mul(0xbf58_476d_1ce4_e5b9)) << 64
            | u128::from(high.rotate_left(29).wrapping_mul(0x94d0_49bb_1331_11eb))
    };
    let mut filter = Filter::for_keys(100_000);
    (0..100_000).for_each(|n| filter.insert(key(n)));
    assert!((0..100_000).all(|n| filter.may_hold(&Probe::of(key(n)))));
    let wrong = (100_000..300_000).filter(|n| filter.may_hold(&Probe::of(key(*n)))).count();
    assert!(wrong < 200_000 / 250, "{wrong} of 200000 strange keys pass");
    assert_eq!(Filter::from_bytes(&filter.to_bytes()), Some(filter));
}
