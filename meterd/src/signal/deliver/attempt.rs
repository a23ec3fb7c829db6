//! One attempt on one channel: what is sent, what came of it, and how long it took.

use std::time::{Duration, Instant};

use budget::signal::{Attempt, Channel, Kill, Proof};
use budget::{Command, Ref};
use governor::clock::Clock as _;
use rustix::process::Signal;
use serde_json::Value;

use super::super::process::NotIt;
use super::super::target::{Answer, TargetError};
use super::super::webhook::Topic;
use super::super::{cause_message, kill_data};
use super::{Memory, Task};

/// A listener that is there has so long to take a kill.
const STREAM_TAKES_WITHIN: Duration = Duration::from_secs(1);
/// Attempts to tell a webhook of a turn; the kill itself is tried until it is proven.
const TURN_ATTEMPTS_MAX: u32 = 3;

/// What an attempt came to.
struct Outcome {
    attempt: Attempt,
    /// The target said so in its answer.
    says: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Nothing,
    Acked,
    Over,
}

impl Outcome {
    fn of(result: Result<Says, String>) -> Self {
        match result {
            Ok(says) => Self { attempt: Attempt::Delivered, says },
            Err(reason) => Self { attempt: Attempt::Failed(reason.into()), says: Says::Nothing },
        }
    }
}

impl Task {
    /// Tries a channel and records what came of it.
    pub(super) async fn attempt(&self, kill: &Kill, channel: Channel, again: bool, memory: &mut Memory) -> bool {
        if channel == Channel::Stream {
            return self.stream(kill).await;
        }
        self.take_turn().await;
        let begin = Instant::now();
        let outcome = match channel {
            Channel::Process => {
                let (outcome, collateral) = self.process(kill, again, memory);
                if !collateral.is_empty() {
                    let command = Command::Collateral { kill: kill.id.clone(), executions: collateral };
                    if !self.record(command).await {
                        return false;
                    }
                }
                outcome
            }
            Channel::Joch => self.joch(kill, memory).await,
            Channel::Webhook | Channel::Stream => self.webhooks(kill, memory).await,
        };
        let took_us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Attempt::Failed(reason) = &outcome.attempt {
            tracing::warn!(kill = %kill.id, channel = channel.as_str(), %reason, "a kill was not delivered");
        }
        let says = outcome.says;
        let sent = Command::Sent { kill: kill.id.clone(), channel, attempt: outcome.attempt, took_us };
        let follow_up = match says {
            Says::Nothing => None,
            Says::Acked => Some(Command::Ack { execution: kill.execution.clone(), kill: kill.id.clone(), channel }),
            Says::Over => Some(Command::Confirm { kill: kill.id.clone(), proof: Proof::Target }),
        };
        if !self.record(sent).await {
            return false;
        }
        match follow_up {
            Some(command) => self.record(command).await,
            None => true,
        }
    }

    /// Listeners take a kill by themselves as soon as it is committed; here it is only said when nobody does.
    async fn stream(&self, kill: &Kill) -> bool {
        let begin = Instant::now();
        let reason = if self.shared.hub.has_listener(&kill.execution) {
            let recorded = tokio::time::timeout(STREAM_TAKES_WITHIN, self.notify.notified()).await;
            if recorded.is_ok() {
                return true;
            }
            "timeout: whoever listens to the run's stream did not take it"
        } else {
            "not_connected: nobody listens to the run's stream"
        };
        let attempt = Attempt::Failed(reason.into());
        let took_us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.record(Command::Sent { kill: kill.id.clone(), channel: Channel::Stream, attempt, took_us }).await
    }

    /// Signals the worker, if it may be, and names the other runs that go with it.
    fn process(&self, kill: &Kill, again: bool, memory: &Memory) -> (Outcome, Vec<Ref>) {
        let fail = |reason: String| (Outcome::of(Err(reason)), Vec::new());
        let Some(held) = &memory.held else {
            let reason =
                memory.lost.as_ref().map_or_else(|| "no_process: none registered".to_owned(), NotIt::to_string);
            return fail(reason);
        };
        let Some((process, others)) = self.shared.book.worker(&kill.execution) else {
            return fail("no_process: the run is over".to_owned());
        };
        let permitted = process.shared && others.iter().all(|(_, shared)| *shared);
        if !(others.is_empty() || permitted) {
            return fail(format!(
                "not_permitted: process {} serves {} other live run(s) that did not register it as shared",
                process.pid,
                others.len()
            ));
        }
        let signal = if again { Signal::KILL } else { Signal::TERM };
        match held.signal(signal) {
            Ok(()) => {
                let recorded = &kill.collateral;
                let others = others.into_iter().map(|(run, _)| run).filter(|run| !recorded.contains(run)).collect();
                (Outcome::of(Ok(Says::Nothing)), others)
            }
            Err(error) => fail(error.to_string()),
        }
    }

    async fn joch(&self, kill: &Kill, memory: &mut Memory) -> Outcome {
        let Some(joch) = &self.shared.targets.joch else {
            return Outcome::of(Err("other: no joch is configured".to_owned()));
        };
        let cancelled = joch.cancel(&kill.execution, &kill.id, &cause_message(&kill.cause)).await;
        memory.cancelled |= cancelled.is_ok();
        let says = cancelled.map(|over| if over { Says::Over } else { Says::Nothing });
        Outcome::of(says.map_err(|error| error.to_string()))
    }

    /// Sends the kill to every webhook that has not taken it yet; delivered is what all of them took.
    async fn webhooks(&self, kill: &Kill, memory: &mut Memory) -> Outcome {
        let data = self.data(kill, Topic::Kill);
        let hooks = self.shared.targets.webhooks.iter().enumerate();
        let wanted = hooks.filter(|(_, hook)| hook.wants(Topic::Kill, &kill.execution.namespace));
        // All took it in an earlier step: it is sent once more, with the same id.
        let all_took = wanted.clone().all(|(number, _)| memory.took.contains(&number));
        let mut failed = None;
        let mut says = Says::Nothing;
        for (number, hook) in wanted {
            if memory.took.contains(&number) && !all_took {
                continue;
            }
            match hook.send(&kill.id, Topic::Kill, self.shared.book.now(), data.clone()).await {
                Ok(answer) => {
                    memory.took.insert(number);
                    says = said(&answer, says);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Outcome::of(failed.map_or(Ok(says), |error: TargetError| Err(error.to_string())))
    }

    /// Tells the webhooks of a turn, beside everything else: a turn waits for nobody.
    pub(super) fn tell_of_turn(&self, kill: &Kill) {
        let (shared, kill) = (std::sync::Arc::clone(&self.shared), kill.clone());
        let data = self.data(&kill, Topic::WindDown);
        let until = kill.turn.map_or(kill.decided_at, |turn| turn.until);
        tokio::spawn(async move {
            let id = format!("{}.wind_down", kill.id);
            let namespace = &kill.execution.namespace;
            for hook in shared.targets.webhooks.iter().filter(|hook| hook.wants(Topic::WindDown, namespace)) {
                for attempt in 0..TURN_ATTEMPTS_MAX {
                    let now = shared.book.now();
                    if now >= until {
                        return;
                    }
                    match hook.send(&id, Topic::WindDown, now, data.clone()).await {
                        Ok(_) => break,
                        Err(reason) => tracing::warn!(kill = %kill.id, %reason, "a wind-down was not delivered"),
                    }
                    tokio::time::sleep(Duration::from_millis(250) * 2_u32.saturating_pow(attempt)).await;
                }
            }
        });
    }

    fn data(&self, kill: &Kill, topic: Topic) -> Value {
        let at = kill.fenced_at.unwrap_or(kill.decided_at);
        let mut data = kill_data(topic.as_str(), &kill.id, &kill.execution, &kill.cause, kill.cost_at_decision, at);
        if let (Some(data), Topic::WindDown, Some(turn)) = (data.as_object_mut(), topic, kill.turn) {
            data.insert("allowanceUsd".to_owned(), Value::from(turn.allowance.to_string()));
            data.insert("until".to_owned(), Value::from(turn.until.to_string()));
        }
        data
    }

    /// Waits for its turn at the outside: many kills at once do not become a flood. Their fences stand already.
    async fn take_turn(&self) {
        let mut said = false;
        while let Err(until) = self.shared.limiter.check() {
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(kill = %self.id, "signals are held back by signals.perSecondMax; the run is fenced");
            }
            tokio::time::sleep(until.wait_time_from(governor::clock::DefaultClock::default().now())).await;
        }
    }
}

/// What a webhook's answer says of the run: `{"state": "acked" | "confirmed"}`, or nothing.
fn said(answer: &Answer, before: Says) -> Says {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match body.get("state").and_then(Value::as_str) {
        Some("confirmed") => Says::Over,
        Some("acked") if before == Says::Nothing => Says::Acked,
        _ => before,
    }
}
