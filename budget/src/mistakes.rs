//! Deliberate mistakes, one line each in the code that they spoil, so that the simulation can show that it would find them.
//!
//! Compiled in only with the feature `mistakes`, which no release has; a thread makes the one that it has selected.

use std::cell::Cell;

macro_rules! mistakes {
    ($($name:ident: $what:literal,)*) => {
        /// Which mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mistake {
            $(#[doc = $what] $name,)*
        }

        impl Mistake {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What is done wrong.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }
        }
    };
}

mistakes! {
    SkipACounter: "a charge does not move hourly counters",
    WindowEdge: "the first instant of a window still counts in the one before",
    SoftLevelTwice: "a soft level that was reported is not noted",
    SoftLevelLate: "a soft level is reported when it is passed, not when it is reached",
    LimitLate: "a hard limit acts when it is passed, not when it is reached",
    LateCallCounts: "a call of a closed window is judged in the one that runs",
    SharersGoOn: "a used-up shared limit stops only the run that used it up",
    RaisedLimitSilent: "a raised limit does not warn again",
    EditForgetsSums: "an edited budget starts its counters anew",
    ShareRoundedUp: "an agent's share of a limit is rounded up",
    FenceNotRestored: "a snapshot does not bring back the fences",
    FencedCallUnsaid: "a call after the fence is answered as if there were none",
    KillOfAnotherRun: "a run acknowledges the kill of another",
    ConfirmedTwice: "a kill that is confirmed is confirmed again",
    OpenKillAtEnd: "the end of a run leaves its kill open",
    SettledTwice: "a price that was booked is booked again",
    RefundNotCounted: "a lower price is not taken off the counters",
    UnpricedForgotten: "a charge without a price is not put into quarantine",
    SubtreeWithoutChild: "the cost of a child is not its parent's",
    EndedRunsAgain: "a call of a run that is over opens it again",
    AcknowledgeBeforeFsync: "a batch is acknowledged without its fsync",
    RetryFsync: "a failed fsync is tried again",
    GoOnAfterFailure: "writing goes on after a failed write",
    TailLeftAfterFailure: "what was not acknowledged stays in the file after a failure",
    SegmentNameNotSynced: "the name of a new segment is not made durable",
    TornTailAccepted: "a torn last write is not cut off",
    ShownBeforeFsync: "followers see a batch before its fsync",
    ReplayTwice: "replay begins one entry too early after a snapshot",
    SnapshotUnchecked: "a snapshot's hash is not compared",
    NamedBeforeFsync: "a small file takes its name before its bytes are durable",
    IndexAheadOfLedger: "ids are claimed on disk before their entries are",
    ConflictAsDuplicate: "the same id with another body counts as the same",
    DuplicateAnsweredAnew: "a duplicate is answered with the newest entry instead of its own",
    ResponseIgnored: "the same response from another source is charged again",
    ForgetTooSoon: "ids are forgotten after a quarter of the horizon",
    LogTimeGoesBack: "log time follows a clock that is set back",
    KillInALaterBatch: "a kill is written after the batch of the charge that caused it",
    CursorBeforeDelivery: "a follower's cursor is saved before the delivery arrived",
    HeldIgnored: "a reservation is granted without a look at what others hold",
    HoldKeptAfterSettle: "a charge takes nothing off the hold that it settles",
    ReleasedTwice: "what expires is given back twice",
    HeldNotRestored: "a snapshot does not bring back what is held",
    DeniedThenGranted: "a reservation that was denied is decided again",
    CeilingKept: "a price that arrives does not give back the ceiling that stood for it",
    SupersededTwice: "an estimate is superseded again",
    ClockFollowed: "a clock that jumps is believed at once",
    TurnNeverUsedUp: "the last turn of a run has no allowance",
    BoundsNotKept: "a delivery that is repeated takes along what came since",
    DamagedIndexLeftOut: "a damaged file of the index is dropped instead of being made again",
    ForgottenEarly: "a run is forgotten after half of its time",
    ForgottenWithItsKill: "a run is forgotten although its kill is open",
    ForgottenInTheTree: "a run is forgotten although there are runs below it",
    PackedCutShort: "the packed copy of a segment lacks its end",
    RemovedBeforePacked: "a segment is removed before its packed copy has its name for good",
    PackedUnsaid: "readers go on with a segment that was packed and removed",
    RestedAwake: "a run that rests is not woken by what comes next",
    EstimateStays: "tokens and calls of an estimate stay counted beside those of the call itself",
    UnpricedIsLost: "a call without a price does not take its estimate's place",
    TurnPassesAll: "the last turn of a run passes the limits of budgets that grant none",
    TurnGoesOn: "the last turn of a run goes on when its time is over",
    RevisedByAny: "any entry about a run that is over makes a new revision",
}

thread_local! {
    static SELECTED: Cell<Option<Mistake>> = const { Cell::new(None) };
}

/// From now on this thread makes this mistake, or none.
pub fn select(mistake: Option<Mistake>) {
    SELECTED.set(mistake);
}

/// Is this mistake to be made?
#[must_use]
pub fn made(mistake: Mistake) -> bool {
    SELECTED.get() == Some(mistake)
}
