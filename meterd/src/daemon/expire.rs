//! Reservations whose time is over: the meter is told to let them expire, also when nobody calls. The clock that says so
//! is looked at on the same occasion.

use std::time::Duration;

use budget::Command;
use tokio_util::sync::CancellationToken;

use crate::api::App;
use crate::clock::{Belief, Clock};
use crate::ledger::DataDir;

/// How late an expiry may be logged while nothing else happens; a reservation that is asked for sees it at once.
const EVERY: Duration = Duration::from_millis(500);

/// Lets the clock go on with what it believed before the restart.
pub(super) fn resume(clock: &Clock, dir: &DataDir) {
    let kept = dir.read(&dir.clock()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(belief) = kept.and_then(|text| text.parse().ok()) {
        clock.resume(&belief);
    }
}

/// Keeps what the clock believes, when that has changed.
fn remember(clock: &Clock, dir: &DataDir, kept: &mut Option<Belief>) {
    let Some(belief) = clock.belief().filter(|belief| kept.as_ref().is_none_or(|kept| !kept.is_near(belief))) else {
        return;
    };
    match dir.write_durably(&dir.clock(), belief.to_string().as_bytes()) {
        Ok(()) => *kept = Some(belief),
        Err(error) => tracing::warn!(%error, "what the clock says could not be kept for the next start"),
    }
}

/// Until `stop`.
pub(super) async fn expire(app: App, dir: DataDir, stop: CancellationToken) {
    let mut kept = None;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = app.clock.now();
        let health = app.clock.health();
        app.metrics.clock(health.frozen, health.jumps);
        remember(&app.clock, &dir, &mut kept);
        if app.view.read(|state| state.next_expiry().is_some_and(|at| at <= now))
            && app.meter.command_when_room(Command::Expire).await.is_err()
        {
            return;
        }
    }
}
