//! A damaged file of the index is made again from the ledger while the meter goes on; where the ledger cannot be read either,
//! the first error is the end.

use std::fs;
use std::path::PathBuf;

use super::Place;
use crate::event::charge::tests::sample::call;
use crate::ledger::LedgerError;
use crate::meter::{Answer, Ask, Booked, Core};

impl Place {
    /// Files of the index, oldest first.
    fn runs(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.dir.index()).unwrap().map(|file| file.unwrap().path());
        let mut runs: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "run")).collect();
        runs.sort();
        runs
    }

    /// Twelve events booked, in three runs of some entries each; nothing of them is in memory.
    fn with_runs(&self) -> Core {
        let mut core = self.core();
        for n in 0..12 {
            core.batch(vec![Ask::Charges(vec![call(&format!("e-{n}"), "run")])]).unwrap();
            if n % 4 == 3 {
                drop(core);
                self.spill();
                core = self.core();
            }
        }
        core.writer().reader().keep_recent(1);
        core
    }
}

fn damage(path: &PathBuf, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn booked(core: &mut Core, id: &str) -> Result<Booked, LedgerError> {
    let answers = core.batch(vec![Ask::Charges(vec![call(id, "run")])])?;
    let [Answer::Charges(booked)] = &answers[..] else { panic!("{answers:?}") };
    Ok(booked[0].clone())
}

#[test]
fn a_damaged_file_is_made_again_and_every_id_is_still_known() {
    let place = Place::new();
    let mut core = place.with_runs();
    let runs = place.runs();
    assert_eq!(runs.len(), 3, "{runs:?}");
    let whole: Vec<Vec<u8>> = runs.iter().map(|run| fs::read(run).unwrap()).collect();
    runs.iter().for_each(|run| damage(run, 5));
    for n in 0..12 {
        // The run's opening is entry 1.
        assert_eq!(booked(&mut core, &format!("e-{n}")).unwrap(), Booked::Duplicate { seq: n + 2 });
    }
    assert!(matches!(booked(&mut core, "new").unwrap(), Booked::Accepted { seq: 14, .. }));
    assert_eq!(place.runs(), runs);
    assert_eq!(runs.iter().map(|run| fs::read(run).unwrap()).collect::<Vec<_>>(), whole);
    // A clean end and a start on what is there now.
    core.close().unwrap();
    drop(core);
    assert_eq!(booked(&mut place.core(), "e-3").unwrap(), Booked::Duplicate { seq: 5 });
}

#[test]
fn a_large_file_is_made_again_in_parts() {
    let place = Place::new();
    let mut restored = place.restore();
    restored.dedup.limit_memory(3);
    let mut core = place.core_from(restored);
    let charges = (0..11).map(|n| call(&format!("e-{n}"), "run")).collect();
    core.batch(vec![Ask::Charges(charges)]).unwrap();
    core.keep_house().unwrap();
    let runs = place.runs();
    assert_eq!(runs.len(), 1);
    damage(&runs[0], 5);
    assert_eq!(booked(&mut core, "e-7").unwrap(), Booked::Duplicate { seq: 9 });
    assert!(place.runs().len() > 2 && !place.runs().contains(&runs[0]), "{:?}", place.runs());
    for n in 0..11 {
        assert_eq!(booked(&mut core, &format!("e-{n}")).unwrap(), Booked::Duplicate { seq: n + 2 });
    }
    assert!(matches!(booked(&mut core, "new").unwrap(), Booked::Accepted { .. }));
    drop(core);
    assert_eq!(booked(&mut place.core(), "e-10").unwrap(), Booked::Duplicate { seq: 12 });
}

#[test]
fn a_lost_mark_is_made_up_for_by_the_ledger() {
    let place = Place::new();
    drop(place.with_runs());
    fs::write(place.dir.index().join("floor.json"), "{").unwrap();
    let mut core = place.core();
    for n in 0..12 {
        assert_eq!(booked(&mut core, &format!("e-{n}")).unwrap(), Booked::Duplicate { seq: n + 2 });
    }
}

/// What was decided by then is not on the disk, so an answer to any later question would be about a state that nobody has.
#[test]
fn the_first_error_is_the_end() {
    let place = Place::new();
    let mut core = place.with_runs();
    damage(&place.runs()[0], 5);
    let segment = fs::read_dir(place.dir.segments()).unwrap().next().unwrap().unwrap().path();
    damage(&segment, 100);
    let error = booked(&mut core, "e-1").unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    for id in ["e-1", "new", "e-11"] {
        assert!(matches!(booked(&mut core, id), Err(LedgerError::Stopped)), "{id}");
    }
    assert!(matches!(core.keep_house(), Err(LedgerError::Stopped)));
    assert!(matches!(core.snapshot(), Err(LedgerError::Stopped)));
}
