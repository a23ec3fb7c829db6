//! `meterd get executions|budgets|reservations|kills|quarantine [NAME]`: from a running daemon, or from a data directory at rest.

use std::process::ExitCode;

use budget::Ref;
use clap::{Args, ValueEnum};
use pricing::{Money, Timestamp};

use super::client::{execution_path, segment};
use super::output::{Output, Rows, print};
use super::reprice::time;
use super::source::{AtRest, Source, SourceArgs};
use super::{Failure, runtime};
use crate::clock::Clock;
use crate::reconcile::{kill_json, quarantined_json, reservation_json};
use crate::resource::print::Json;
use crate::resource::{SETTLE_GRACE, budget_document, execution_document_with_kill};

/// Rows asked for at a time.
const PAGE: usize = 1_000;

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Get {
    /// What to show
    #[arg(value_enum)]
    kind: Kind,
    /// Only this one
    name: Option<String>,
    /// Namespace; without it every namespace is listed, and a name is looked up in `default`
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Executions whose own cost is above this amount
    #[arg(long, value_name = "USD")]
    over_usd: Option<Money>,
    /// Executions that started then or later: a time, or an age such as 24h
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    #[value(alias = "execution")]
    Executions,
    #[value(alias = "budget")]
    Budgets,
    /// Amounts held for calls, by id: live ones, and resolved ones while they are remembered
    #[value(alias = "reservation")]
    Reservations,
    #[value(alias = "kill")]
    Kills,
    /// Usage without a price, by sequence number
    Quarantine,
}

impl Get {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let documents = match self.source.open()? {
            Source::AtRest(data) => {
                let now = Clock::wall().now();
                self.at_rest(&data, now, self.since(now)?)
            }
            Source::Live(client) => runtime()?.block_on(self.live(&client))?,
        };
        if documents.is_empty()
            && let Some(name) = &self.name
        {
            return Err(anyhow::anyhow!("no such thing: {}/{name}", self.namespace()).into());
        }
        print(&self.show(documents))?;
        Ok(ExitCode::SUCCESS)
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(crate::event::DEFAULT_NAMESPACE)
    }

    fn since(&self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        self.since.as_deref().map(|text| time("--since", text, now)).transpose()
    }

    /// The conditions on executions, as a query.
    fn only(&self, now: Timestamp) -> anyhow::Result<String> {
        let over = self.over_usd.map(|over| format!("&over_usd={over}")).unwrap_or_default();
        let since = self.since(now)?.map(|since| format!("&since={since}")).unwrap_or_default();
        Ok(over + &since)
    }

    /// The namespace as a condition behind others of a query.
    fn only_namespace(&self) -> String {
        self.namespace.as_deref().map(|name| format!("&namespace={}", segment(name))).unwrap_or_default()
    }

    async fn live(&self, client: &super::client::Client) -> anyhow::Result<Vec<Json>> {
        match (self.kind, &self.name) {
            (Kind::Executions, Some(name)) => {
                let answer = client.get(&execution_path(self.namespace(), name, "")).await?;
                Ok(Json::parse(&answer.text()).into_iter().collect())
            }
            (Kind::Budgets, Some(name)) => {
                let path = format!("/v1/namespaces/{}/budgets/{}", segment(self.namespace()), segment(name));
                Ok(Json::parse(&client.get(&path).await?.text()).into_iter().collect())
            }
            (Kind::Executions, None) => {
                let only = self.only(Clock::wall().now())?;
                let base = match &self.namespace {
                    Some(namespace) => format!("/v1/namespaces/{}/executions", segment(namespace)),
                    None => "/v1/executions".to_owned(),
                };
                pages(client, &base, &only).await
            }
            (Kind::Budgets, None) => {
                let only = self.namespace.as_deref().map(|name| format!("?namespace={}", segment(name)));
                let answer = client.get(&format!("/v1/budgets{}", only.unwrap_or_default())).await?;
                Ok(items(&Json::parse(&answer.text()).unwrap_or(Json::Null), "items"))
            }
            (Kind::Quarantine, name) => {
                let mut all = pages(client, "/v1/quarantine", &self.only_namespace()).await?;
                all.retain(|item| is_named(item, name.as_deref()));
                Ok(all)
            }
            (Kind::Reservations, Some(id)) => {
                let answer = client.get(&format!("/v1/reservations/{}", segment(id))).await?;
                let mut found: Vec<Json> = Json::parse(&answer.text()).into_iter().collect();
                found.retain(|item| self.namespace.as_deref().is_none_or(|only| at(item, &["namespace"]) == only));
                Ok(found)
            }
            (Kind::Reservations, None) => {
                let mut all = pages(client, "/v1/reservations", &self.only_namespace()).await?;
                all.sort_by_cached_key(reserved_at);
                Ok(all)
            }
            (Kind::Kills, name) => {
                let only = self.namespace.as_deref().map(|name| format!("?namespace={}", segment(name)));
                let answer = client.get(&format!("/v1/kills{}", only.unwrap_or_default())).await?;
                let kills = items(&Json::parse(&answer.text()).unwrap_or(Json::Null), "kills");
                let wanted =
                    |kill: &Json| name.as_ref().is_none_or(|name| kill.get("id").map(text).as_ref() == Some(name));
                Ok(kills.into_iter().filter(wanted).collect())
            }
        }
    }

    fn at_rest(&self, data: &AtRest, now: Timestamp, since: Option<Timestamp>) -> Vec<Json> {
        let state = &data.state;
        let wanted = |id: &Ref| match &self.name {
            Some(name) => *id.name == **name && *id.namespace == *self.namespace(),
            None => self.namespace.as_deref().is_none_or(|only| *id.namespace == *only),
        };
        match self.kind {
            Kind::Executions => {
                let runs = state.executions().filter(|run| {
                    wanted(&run.id)
                        && self.over_usd.is_none_or(|over| run.cost > over)
                        && since.is_none_or(|since| run.started_at >= since)
                });
                let kill = |run: &budget::state::Execution| {
                    run.kill.as_deref().or(run.winding.as_deref()).and_then(|kill| state.kill(kill))
                };
                runs.map(|run| execution_document_with_kill(run, kill(run), now, SETTLE_GRACE)).collect()
            }
            Kind::Budgets => {
                let budgets = state.resources().filter(|resource| &*resource.kind == "Budget" && wanted(&resource.id));
                budgets.map(|resource| budget_document(resource, state, now)).collect()
            }
            Kind::Quarantine => {
                let all = state.quarantine(0);
                let all = all.filter(|(_, item)| {
                    self.namespace.as_deref().is_none_or(|only| *item.execution.namespace == *only)
                });
                let all = all.filter_map(|(seq, item)| {
                    Json::parse(&quarantined_json(seq, item, state.held_unpriced(seq)).to_string())
                });
                all.filter(|item| is_named(item, self.name.as_deref())).collect()
            }
            Kind::Reservations => {
                let known = state.reservations().filter_map(|found| Some((found, state.reserved_for(found)?)));
                let known = known.filter(|(found, execution)| {
                    self.name.as_deref().is_none_or(|id| *found.id == *id)
                        && self.namespace.as_deref().is_none_or(|only| *execution.namespace == *only)
                });
                let known = known.map(|(found, execution)| reservation_json(found, execution).to_string());
                let mut known: Vec<Json> = known.filter_map(|found| Json::parse(&found)).collect();
                known.sort_by_cached_key(reserved_at);
                known
            }
            Kind::Kills => {
                let kills = state.kills().rev().filter(|kill| {
                    self.name.as_deref().is_none_or(|name| *kill.id == *name)
                        && self.namespace.as_deref().is_none_or(|only| *kill.execution.namespace == *only)
                });
                kills.filter_map(|kill| Json::parse(&kill_json(kill).to_string())).collect()
            }
        }
    }

    fn show(&self, mut documents: Vec<Json>) -> String {
        match self.output {
            Output::Json | Output::Yaml => {
                let document = match (&self.name, documents.len()) {
                    (Some(_), 1) => documents.swap_remove(0),
                    _ => Json::map([
                        ("apiVersion", Json::text(crate::resource::API_VERSION)),
                        ("kind", Json::text("List")),
                        ("items", Json::List(documents)),
                    ]),
                };
                if self.output == Output::Json { document.to_json() } else { document.to_yaml() }
            }
            Output::Table => self.rows(&documents).table(),
            Output::Csv => self.rows(&documents).csv(),
        }
    }

    fn rows(&self, documents: &[Json]) -> Rows {
        let mut rows = Rows::new(match self.kind {
            Kind::Executions => {
                &["namespace", "name", "agent", "phase", "cost_usd", "model_calls", "tool_calls", "killed"]
            }
            Kind::Budgets => &["namespace", "name", "phase", "day_spent_usd", "month_spent_usd"],
            Kind::Reservations => {
                &["id", "namespace", "execution", "state", "held_usd", "spent_usd", "reserved_at", "expires_at", "code"]
            }
            Kind::Kills => &["id", "namespace", "execution", "state", "message"],
            Kind::Quarantine => &["seq", "namespace", "execution", "time", "provider", "name", "message"],
        });
        let paths: &[&[&str]] = match self.kind {
            Kind::Executions => &[
                &["metadata", "namespace"],
                &["metadata", "name"],
                &["spec", "agentRef", "name"],
                &["status", "phase"],
                &["status", "costUsd"],
                &["status", "modelCalls"],
                &["status", "toolCalls"],
                &["status", "kill", "id"],
            ],
            Kind::Budgets => &[
                &["metadata", "namespace"],
                &["metadata", "name"],
                &["status", "phase"],
                &["status", "daySpentUsd"],
                &["status", "monthSpentUsd"],
            ],
            Kind::Reservations => &[
                &["id"],
                &["namespace"],
                &["execution"],
                &["state"],
                &["heldUsd"],
                &["spentUsd"],
                &["reservedAt"],
                &["expiresAt"],
                &["code"],
            ],
            Kind::Kills => &[&["id"], &["namespace"], &["execution"], &["state"], &["message"]],
            Kind::Quarantine => {
                &[&["seq"], &["namespace"], &["execution"], &["time"], &["provider"], &["name"], &["message"]]
            }
        };
        for document in documents {
            rows.rows.push(paths.iter().map(|path| at(document, path)).collect());
        }
        rows
    }
}

/// Every item of a list that is answered in pages; `only` are conditions, each behind its `&`.
async fn pages(client: &super::client::Client, path: &str, only: &str) -> anyhow::Result<Vec<Json>> {
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let page = client.get(&format!("{path}?limit={PAGE}{only}{next}")).await?;
        let page = Json::parse(&page.text()).unwrap_or(Json::Null);
        all.extend(items(&page, "items"));
        match page.get("continue").map(text) {
            Some(at) if !at.is_empty() => next = format!("&continue={at}"),
            _ => return Ok(all),
        }
    }
}

/// The order of reservations, which the ledger keeps in none: by time, then by id.
fn reserved_at(item: &Json) -> (Option<Timestamp>, String) {
    (at(item, &["reservedAt"]).parse().ok(), at(item, &["id"]))
}

/// Is it the quarantined call of this entry or this event?
fn is_named(item: &Json, name: Option<&str>) -> bool {
    name.is_none_or(|name| at(item, &["seq"]) == name || at(item, &["event_id"]) == name)
}

/// The members of a list.
pub(super) fn items(document: &Json, name: &str) -> Vec<Json> {
    match document.get(name) {
        Some(Json::List(items)) => items.clone(),
        _ => Vec::new(),
    }
}

/// The text at a path; empty where there is nothing.
pub(super) fn at(document: &Json, path: &[&str]) -> String {
    path.iter().try_fold(document, |document, key| document.get(key)).map(text).unwrap_or_default()
}

/// A scalar's text.
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::String(text) | Json::Number(text) => text.clone(),
        Json::Bool(value) => value.to_string(),
        _ => String::new(),
    }
}
