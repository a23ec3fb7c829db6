//! Letters are kept within their bounds, and booked once wherever an import is cut off.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::{Imported, Kept, LETTERS_MAX, Late, Letter, Store};
use crate::clock::Clock;
use crate::event::charge::tests::sample::{START, book, event};
use crate::ledger::DataDir;
use crate::meter::{self, Meter, Rules};

fn letter(id: &str) -> Letter {
    let mut event = event(id, "run");
    event.time = START.saturating_add(-1_000 * 86_400 * 1_000_000_000);
    let charge = crate::event::charge::charge(&book(), event, "default", "api");
    Letter { id: 0, reason: "too_old".into(), received: START, stated: charge.time, charge }
}

fn start(dir: &DataDir) -> (Meter, Late) {
    let restored = meter::restore(dir).unwrap();
    let reader = restored.writer.reader();
    let rules = Rules { queue_events_max: 64, dedup_horizon: Duration::from_secs(3_600) };
    let meter = meter::start(dir.clone(), restored, Clock::manual(START), &rules, Box::new(|_| {})).unwrap();
    let late = Late::open(dir, meter.handle.clone(), reader).unwrap();
    (meter, late)
}

async fn stop(meter: Meter) {
    meter.handle.stop();
    meter.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_import_that_was_cut_off_books_nothing_twice() {
    let folder = TempDir::new().unwrap();
    let dir = DataDir::new(folder.path().join("data"));
    let (meter, late) = start(&dir);
    let kept = late.keep(vec![letter("a"), letter("b"), letter("a")]).await.unwrap();
    assert_eq!(kept, [Kept::Letter(1), Kept::Letter(2), Kept::Letter(1)]);
    let before = fs::read(dir.dead_letters()).unwrap();
    assert_eq!(late.import(Some(vec![1])).await.unwrap(), [(1, Imported::Booked(2))]);
    stop(meter).await;

    // As a crash leaves it: the import was begun, the ledger has the charge, the end was not written, the rest is torn.
    let whole = fs::read(dir.dead_letters()).unwrap();
    let begun = whole[before.len()..].iter().position(|byte| *byte == b'\n').unwrap();
    for keep in [before.len() + begun + 1, before.len() + begun + 9] {
        fs::write(dir.dead_letters(), &whole[..keep]).unwrap();
        let (meter, late) = start(&dir);
        assert_eq!(late.read(|letters| (letters.count(), letters.imported(|_| true))), (2, 0));
        assert_eq!(late.import(Some(vec![1])).await.unwrap(), [(1, Imported::Before(2))]);
        stop(meter).await;
    }
    let (meter, late) = start(&dir);
    let done = late.import(None).await.unwrap();
    assert!(matches!(done[..], [(2, Imported::Booked(_))]), "{done:?}");
    assert_eq!(late.import(Some(vec![2, 3])).await.unwrap()[1], (3, Imported::Unknown));
    assert!(matches!(late.keep(vec![letter("a")]).await.unwrap()[..], [Kept::Imported(2)]));
    stop(meter).await;
}

#[test]
fn letters_are_bounded_and_damage_is_told() {
    let folder = TempDir::new().unwrap();
    let dir = DataDir::new(folder.path());
    let mut store = Store::open(&dir).unwrap();
    let one = letter("a");
    let many: Vec<Letter> = (0..=LETTERS_MAX)
        .map(|n| {
            let mut letter = one.clone();
            letter.charge.key = n as u128;
            letter
        })
        .collect();
    let kept = store.keep(many).unwrap();
    assert_eq!((kept[LETTERS_MAX - 1], kept[LETTERS_MAX]), (Kept::Letter(LETTERS_MAX as u64), Kept::Full));
    drop(store);
    let store = Store::open(&dir).unwrap();
    assert_eq!((store.count(), store.ended().count()), (LETTERS_MAX, 0));

    let mut bytes = fs::read(dir.dead_letters()).unwrap();
    bytes[20] = if bytes[20] == b'A' { b'B' } else { b'A' };
    fs::write(dir.dead_letters(), bytes).unwrap();
    assert!(Store::open(&dir).err().unwrap().to_string().contains("line 1 is damaged"));
}
