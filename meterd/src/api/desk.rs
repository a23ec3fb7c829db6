//! Where changes of what bears prices are handed in: whoever puts prices in force takes them one after the other.
//!
//! A change is checked with all that is in force before anything of it is recorded: all of it or nothing.

use std::sync::Arc;

use axum::http::StatusCode;
use budget::{Ref, Verdict};
use pricing::document::Problem as Fault;
use tokio::sync::{mpsc, oneshot};

use crate::meter;
use crate::resource::Resource;
use crate::server::problem::Problem;

/// Changes that wait; more than that are refused.
const WAITING_MAX: usize = 64;

/// A change of what bears prices.
#[derive(Debug)]
pub enum Change {
    /// These price tables, books and models, new or changed.
    Apply(Vec<Resource>),
    /// This one, gone.
    Remove {
        /// One of [`PRICE_KINDS`](crate::resource::PRICE_KINDS).
        kind: Arc<str>,
        /// Its namespace and name.
        id: Ref,
    },
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    /// With it, prices would not hold together; every problem, those elsewhere with their file.
    #[error("{} problem(s) in prices", .0.len())]
    Problems(Vec<Fault>),
    /// The ledger takes nothing.
    #[error(transparent)]
    Refused(#[from] meter::Refused),
}

/// One change and where its answer goes: a verdict for each resource, in their order.
pub type Order = (Change, oneshot::Sender<Result<Vec<Verdict>, Unchanged>>);

/// The way in; cheap to clone.
#[derive(Clone, Debug)]
pub struct PriceDesk(mpsc::Sender<Order>);

impl PriceDesk {
    /// A desk, and what was handed in there.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    pub(super) async fn hand_in(&self, change: Change) -> Result<Vec<Verdict>, Problem> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send((change, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Problem::unavailable(
                "prices_busy",
                "many changes of prices wait already; nothing was taken, send it again",
            ),
            mpsc::error::TrySendError::Closed(_) => Problem::from(meter::Refused::Stopped),
        })?;
        match answer.await {
            Ok(Ok(verdicts)) => Ok(verdicts),
            Ok(Err(Unchanged::Refused(refused))) => Err(refused.into()),
            Ok(Err(Unchanged::Problems(faults))) => {
                Err(super::resources::refused(StatusCode::BAD_REQUEST, "invalid_prices", &faults))
            }
            Err(_) => Err(meter::Refused::Stopped.into()),
        }
    }
}
