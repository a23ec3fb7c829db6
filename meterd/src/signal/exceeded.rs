//! joch's `BudgetExceeded` for webhooks: one message for each counter that reaches its hard limit, with a durable cursor a
//! webhook, so that a receiver that is away gets what it missed.

use budget::{Entry, Fact};
use pricing::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::counter_json;
use super::webhook::{Topic, Webhook};
use crate::follow::{Deliver, Delivery, Failed};

/// Tells one webhook.
pub struct Exceeded<N> {
    hook: Webhook,
    now: N,
}

impl<N: Fn() -> Timestamp + Send + Sync> Exceeded<N> {
    /// For a webhook that takes the topic; `now` tells the time that is signed.
    pub fn new(hook: Webhook, now: N) -> Self {
        Self { hook, now }
    }
}

/// The name of a webhook's cursor: the same while its URL is.
#[must_use]
pub fn cursor_name(hook: &Webhook) -> String {
    let digest = Sha256::digest(hook.target.url());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("webhook-{hex}")
}

impl<N: Fn() -> Timestamp + Send + Sync> Deliver for Exceeded<N> {
    async fn deliver(&mut self, delivery: &Delivery) -> Result<(), Failed> {
        for entry in delivery.entries() {
            let Some((namespace, data)) = exceeded(entry) else { continue };
            if self.hook.wants(Topic::BudgetExceeded, namespace) {
                let id = format!("budget-exceeded-{}", entry.seq);
                let sent = self.hook.send(&id, Topic::BudgetExceeded, (self.now)(), data).await;
                sent.map_err(|error| Failed::now(error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// The namespace and the message of an entry that says so.
fn exceeded(entry: &Entry) -> Option<(&str, Value)> {
    let Fact::Reached { execution, counter } = &entry.fact else { return None };
    let data = json!({
        "executionId": execution.name, "namespace": execution.namespace, "timestamp": entry.at, "entry": entry.seq,
        "budget": counter_json(counter),
    });
    Some((&execution.namespace, data))
}
