//! What happens next with a kill, worked out by hand for each situation.

use std::sync::Arc;

use pricing::{Money, Timestamp};

use super::{Attempt, Cause, Channel, Kill, KillState, Next, Proof, Tried, Turn, next};
use crate::policy::KillStep;
use crate::scope::Ref;

const PLAN: [Channel; 3] = [Channel::Stream, Channel::Webhook, Channel::Process];

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn plan(channels: &[Channel]) -> Vec<KillStep> {
    channels.iter().map(|channel| KillStep { channel: *channel, grace_ms: Some(1_000) }).collect()
}

fn kill() -> Kill {
    let cause = Cause::Operator { reason: Arc::from("loop"), by: Arc::from("me") };
    let mut kill = Kill::new(Arc::from("kill-1"), Ref::new("ns", "run"), cause, at(0), Money::ZERO);
    kill.fence(at(0), 1);
    kill
}

fn tried(kill: &mut Kill, ms: i64, channel: Channel, taken: bool) {
    let attempt = if taken { Attempt::Delivered } else { Attempt::Failed(Arc::from("refused")) };
    kill.tried(Tried { at: at(ms), channel, attempt, took_us: 1 });
}

#[track_caller]
fn check(kill: &Kill, ms: i64, expected: Next) {
    assert_eq!(next(kill, at(ms), &plan(&PLAN), |_| true), expected);
}

#[test]
fn a_turn_is_waited_for_and_then_fenced() {
    let mut winding = kill();
    (winding.fenced_at, winding.fence_seq) = (None, None);
    winding.turn = Some(Turn { allowance: Money::ZERO, until: at(500) });
    check(&winding, 499, Next::Wait(at(500)));
    check(&winding, 500, Next::Fence);
}

#[test]
fn a_kill_goes_through_its_plan() {
    let mut kill = kill();
    check(&kill, 0, Next::Try { channel: Channel::Stream, again: false });
    // Nobody listens: the next channel is due at once.
    tried(&mut kill, 1, Channel::Stream, false);
    check(&kill, 1, Next::Escalate(Some(Channel::Webhook)));
    kill.escalated(at(2), Some(Channel::Webhook));
    assert_eq!(kill.state, KillState::Escalated);
    check(&kill, 2, Next::Try { channel: Channel::Webhook, again: false });
    // A receiver that is down is asked again, each time later, four times in all.
    let mut pauses = Vec::new();
    let mut now = 2;
    for _ in 0..3 {
        tried(&mut kill, now, Channel::Webhook, false);
        let Next::Wait(until) = next(&kill, at(now), &plan(&PLAN), |_| true) else { panic!("not waiting") };
        pauses.push(until.millis() - now);
        now = until.millis() + 1;
        check(&kill, now, Next::Try { channel: Channel::Webhook, again: false });
    }
    for (pause, base) in pauses.iter().zip([250, 500, 1_000]) {
        assert!((base * 3 / 4..=base * 5 / 4).contains(pause), "{pauses:?}");
    }
    tried(&mut kill, now, Channel::Webhook, false);
    check(&kill, now, Next::Escalate(Some(Channel::Process)));
    kill.escalated(at(now), Some(Channel::Process));
    check(&kill, now, Next::Try { channel: Channel::Process, again: false });
    // SIGTERM, the grace of the step, SIGKILL.
    tried(&mut kill, now, Channel::Process, true);
    assert_eq!(kill.state, KillState::Sent);
    check(&kill, now, Next::Wait(at(now + 1_000)));
    check(&kill, now + 1_000, Next::Try { channel: Channel::Process, again: true });
    tried(&mut kill, now + 1_000, Channel::Process, true);
    check(&kill, now + 1_000, Next::Wait(at(now + 6_000)));
    check(&kill, now + 6_000, Next::Escalate(None));
    kill.confirmed(at(now + 6_000), Proof::ProcessGone);
    assert_eq!(kill.state, KillState::Confirmed);
    check(&kill, now + 9_000, Next::Nothing);
}

#[test]
fn an_answer_gives_time_to_end_and_no_more() {
    let mut kill = kill();
    tried(&mut kill, 0, Channel::Stream, true);
    check(&kill, 0, Next::Wait(at(1_000)));
    kill.acked(at(200), Channel::Stream);
    assert_eq!(kill.state, KillState::Acked);
    check(&kill, 1_000, Next::Wait(at(10_200)));
    // Acknowledged and still there: only the proof closes it.
    check(&kill, 10_200, Next::Escalate(Some(Channel::Webhook)));
}

#[test]
fn a_plan_in_vain_begins_again_ever_more_slowly_and_calls_a_person() {
    let mut kill = kill();
    for round in 1..=3_u32 {
        kill.escalated(at(0), None);
        assert_eq!((kill.state, kill.track.rounds), (KillState::Unreachable, round));
    }
    check(&kill, 0, Next::Manual);
    kill.manual();
    assert_eq!(kill.state, KillState::Manual);
    // Two seconds, four, eight; a quarter more or less.
    let Next::Wait(until) = next(&kill, at(0), &plan(&PLAN), |_| true) else { panic!("not waiting") };
    assert!((6_000..=10_000).contains(&until.millis()), "{until}");
    check(&kill, 10_000, Next::Try { channel: Channel::Stream, again: false });
    // A stream may take it at any time; the alert stands until somebody answers.
    tried(&mut kill, 10_000, Channel::Stream, true);
    assert_eq!(kill.state, KillState::Manual);
    kill.acked(at(10_001), Channel::Stream);
    assert_eq!(kill.state, KillState::Acked);
}

#[test]
fn channels_that_lead_nowhere_are_left_out() {
    let nowhere = next(&kill(), at(0), &plan(&PLAN), |_| false);
    assert_eq!(nowhere, Next::Escalate(None));
    let only = next(&kill(), at(0), &plan(&PLAN), |channel| channel == Channel::Process);
    assert_eq!(only, Next::Try { channel: Channel::Process, again: false });
    // Its step keeps its time before all is said to be in vain.
    let mut last = kill();
    tried(&mut last, 1, Channel::Stream, false);
    let stream = |ms| next(&last, at(ms), &plan(&PLAN), |channel| channel == Channel::Stream);
    assert_eq!(stream(1), Next::Wait(at(1_001)), "the step began with its first attempt");
    assert_eq!(stream(1_001), Next::Escalate(None));
    // A stream that is taken while another channel's step runs does not disturb that step.
    let mut kill = kill();
    kill.escalated(at(0), Some(Channel::Webhook));
    tried(&mut kill, 1, Channel::Stream, true);
    check(&kill, 1, Next::Try { channel: Channel::Webhook, again: false });
}
