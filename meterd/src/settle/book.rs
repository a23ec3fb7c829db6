//! Adjustments to the meter, a bounded number at a time, so that usage never waits long behind them.

use std::time::Duration;

use budget::{Adjust, Command, Verdict};

use crate::meter::{Handle, Refused};

/// Adjustments sent together.
const AT_ONCE: usize = 256;
/// How long to wait when the queue is full of usage.
const WHEN_FULL: Duration = Duration::from_millis(100);

/// What became of adjustments.
#[derive(Debug, Default)]
pub(super) struct Booked {
    /// In the ledger now.
    pub(super) booked: u64,
    /// Refused: a sum would leave the range.
    pub(super) out_of_range: u64,
    /// The ledger must be read again for these.
    pub(super) stale: Vec<Adjust>,
}

/// Books adjustments in their order. What has that price already is passed over.
pub(super) async fn book(meter: &Handle, wishes: Vec<Adjust>) -> Result<Booked, Refused> {
    let mut done = Booked::default();
    for wishes in wishes.chunks(AT_ONCE) {
        let mut left: Vec<Adjust> = wishes.to_vec();
        while !left.is_empty() {
            let commands = left.iter().map(|wish| Command::Adjust(Box::new(wish.clone()))).collect();
            let verdicts = meter.commands(commands).await;
            let mut again = Vec::new();
            for (wish, verdict) in left.into_iter().zip(verdicts) {
                match verdict {
                    Ok(Verdict::Booked { .. }) => done.booked += 1,
                    Ok(Verdict::Stale) => done.stale.push(wish),
                    Ok(Verdict::OutOfRange) => done.out_of_range += 1,
                    Ok(_) => {}
                    Err(Refused::Full) => again.push(wish),
                    Err(refused) => return Err(refused),
                }
            }
            left = again;
            if !left.is_empty() {
                tokio::time::sleep(WHEN_FULL).await;
            }
        }
    }
    Ok(done)
}
