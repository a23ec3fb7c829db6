//! A person states what one booked charge costs: a refund, a correction, a line of an invoice.

use std::sync::Arc;

use budget::charge::Priced;
use budget::{Adjust, AdjustReason, Command, Ref, Verdict};
use pricing::Money;
use serde::Serialize;

use super::walk::{Walk, charges_at};
use super::{Cut, Settler, Shared, blocking};

/// What a person states.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Sequence number of the charge.
    pub of: u64,
    /// What it costs from now on.
    pub cost: Money,
    /// Why.
    pub reason: Arc<str>,
    /// Who says so.
    pub by: Arc<str>,
}

/// What became of a statement. Amounts are decimal USD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stated {
    /// `booked`, or `unchanged` when the charge costs that already.
    pub status: &'static str,
    /// Sequence number of the charge.
    pub of: u64,
    /// Its event.
    pub event_id: Arc<str>,
    /// Its run's namespace.
    pub namespace: Arc<str>,
    /// Its run.
    pub execution: Arc<str>,
    /// What it cost until now; `None` while it had no price.
    pub before_usd: Option<Money>,
    /// What it costs now.
    pub cost_usd: Money,
    /// The difference that is booked.
    pub difference_usd: Money,
    /// The run is fenced, by this or before.
    pub fenced: bool,
}

/// Why a statement is not booked.
#[derive(Debug, thiserror::Error)]
pub enum NotStated {
    /// No charge has that number.
    #[error(
        "entry {0} is no charge; the entries of an execution and `meterd get quarantine` show the numbers of charges"
    )]
    NoCharge(u64),
    /// The run is no longer known to the meter.
    #[error("the run {0} ended long ago and is no longer kept at hand: its charges stay as they are")]
    Forgotten(Ref),
    /// Many other amounts were booked while the ledger was read.
    #[error("the ledger moved on while it was read: nothing was booked, ask again")]
    MovedOn,
    /// The ledger or the meter refuses.
    #[error(transparent)]
    Cut(#[from] Cut),
}

impl Settler {
    /// Books the difference to a stated amount, once: a repeat finds that the charge costs that already.
    pub async fn state_amount(&self, statement: Statement) -> Result<Stated, NotStated> {
        let Shared { meter, view, turn, .. } = &*self.shared;
        let _turn = turn.lock().await;
        let Statement { of, cost, reason, by } = statement;
        let reader = view.ledger().clone();
        let wish = blocking(move || {
            if of == 0 || of > reader.committed() {
                return Ok(None);
            }
            let Some((of, logged, charge)) = charges_at(&reader, &[of])?.pop() else { return Ok(None) };
            let walk = Walk::open(reader, of)?;
            let (standing, read_to) = (walk.standing(of).cloned(), walk.read_to());
            let (priced, reason) = (Priced::Reported(cost), AdjustReason::Operator { reason, by });
            Ok(Some(Adjust { of, logged, charge, standing, read_to, priced, reason, run: None }))
        });
        let wish = wish.await?.ok_or(NotStated::NoCharge(of))?;
        let before = wish.standing.as_ref().map(|standing| standing.total).or_else(|| wish.charge.price());
        let (event_id, execution) = (Arc::clone(&wish.charge.event_id), wish.charge.execution.clone());
        let command = Command::Adjust(Box::new(wish));
        let verdict = meter.commands(vec![command]).await.pop().ok_or(Cut::Stopping)?.map_err(Cut::Refused)?;
        let (status, fenced) = match verdict {
            Verdict::Booked { fenced, .. } => ("booked", fenced),
            Verdict::Unchanged => ("unchanged", false),
            Verdict::UnknownExecution => return Err(NotStated::Forgotten(execution)),
            Verdict::Stale => return Err(NotStated::MovedOn),
            _ => return Err(Cut::OutOfRange.into()),
        };
        let difference = cost.checked_sub(before.unwrap_or(Money::ZERO)).ok_or(Cut::OutOfRange)?;
        let Ref { namespace, name } = execution;
        Ok(Stated {
            status,
            of,
            event_id,
            namespace,
            execution: name,
            before_usd: before,
            cost_usd: cost,
            difference_usd: difference,
            fenced,
        })
    }
}
