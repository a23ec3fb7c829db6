//! One simulated agent: opens its run, makes calls and reports them, stops when it is told to.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::Client;
use super::script::{NAMESPACE, Plan};
use crate::cli::client::execution_path;
use crate::cli::kills::{Kill, Kills};
use crate::clock::Clock;

/// Plays one plan to its end, or until the run is killed.
pub(super) async fn run(client: Client, mut plan: Plan) -> anyhow::Result<()> {
    let path = |rest: &str| execution_path(NAMESPACE, &plan.execution, rest);
    let description = json!({ "agent": plan.agent, "team": plan.team, "environment": "demo" });
    client.put(&path(""), &description).await.context(plan.execution.clone())?;
    let mut kills = Kills::listen(client.clone(), path("/signals")).await?;
    let mut prompt = plan.prompt_tokens;
    for step in 0..plan.steps {
        let events = events(&mut plan, step, prompt);
        client.post("/v1/usage", &Value::Array(events)).await.context(plan.execution.clone())?;
        prompt += plan.prompt_growth;
        tokio::select! {
            kill = kills.next() => return obey(&client, &plan, &kill).await,
            () = tokio::time::sleep(Duration::from_millis(plan.pause_ms)) => {}
        }
    }
    let path = execution_path(NAMESPACE, &plan.execution, "/complete");
    client.post(&path, &json!({ "phase": "Succeeded" })).await?;
    Ok(())
}

/// Acknowledges the kill and ends: what a well-behaved agent does.
async fn obey(client: &Client, plan: &Plan, kill: &Kill) -> anyhow::Result<()> {
    let ack = execution_path(NAMESPACE, &plan.execution, &format!("/signals/{}/ack", kill.id));
    client.post(&ack, &json!({})).await?;
    let complete = execution_path(NAMESPACE, &plan.execution, "/complete");
    client.post(&complete, &json!({ "phase": "Cancelled" })).await?;
    Ok(())
}

/// The events of one step: a model call, and now and then a tool call.
fn events(plan: &mut Plan, step: u32, prompt: u64) -> Vec<Value> {
    let now = Clock::wall().now();
    let output = plan.random.between(plan.output_tokens / 2, plan.output_tokens);
    // From the second call on most of the prompt was seen before.
    let cached = if step == 0 { 0 } else { prompt * plan.random.between(40, 70) / 100 };
    let event = |id: String, mut more: Value| {
        let common = json!({
            "id": id, "source": format!("demo/{}", plan.agent), "time": now.to_string(), "namespace": NAMESPACE,
            "execution": plan.execution, "agent": plan.agent, "team": plan.team, "environment": "demo",
        });
        if let (Some(more), Value::Object(common)) = (more.as_object_mut(), common) {
            more.extend(common);
        }
        more
    };
    let mut events = vec![event(
        format!("{}-{step}", plan.execution),
        json!({
            "kind": "model", "provider": plan.provider, "model": plan.model,
            "usage": { "input_tokens": prompt, "cache_read_tokens": cached, "output_tokens": output },
        }),
    )];
    if let Some(tool) = plan.tool
        && step % 3 == 1
    {
        events.push(event(format!("{}-{step}-tool", plan.execution), json!({ "kind": "tool", "tool": tool })));
    }
    events
}
