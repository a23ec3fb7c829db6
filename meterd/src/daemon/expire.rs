//! Reservations whose time is over: the meter is told to let them expire, also when nobody calls. The clock that says so
//! is looked at on the same occasion.

use std::time::Duration;

use budget::Command;
use tokio_util::sync::CancellationToken;

use crate::api::App;

/// How late an expiry may be logged while nothing else happens; a reservation that is asked for sees it at once.
const EVERY: Duration = Duration::from_millis(500);

/// Until `stop`.
pub(super) async fn expire(app: App, stop: CancellationToken) {
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
        if app.view.read(|state| state.next_expiry().is_some_and(|at| at <= now))
            && app.meter.command_when_room(Command::Expire).await.is_err()
        {
            return;
        }
    }
}
