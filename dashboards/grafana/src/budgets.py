"""meterd / Budgets: how full, how fast, until when; and what enforcement did."""

from frame import ALARM, FILL, MONEY, TARGETS, bars, d, lines, page, query, rows, stats, variable

BUDGET = 'agent_namespace=~"$agent_namespace",budget=~"$budget"'
SCRAPED = f"{TARGETS},{BUDGET}"
BY = "agent_namespace, budget, window"
NAMED = "{{agent_namespace}}/{{budget}} {{window}}"


def newest(metric, by=BY):
    """One figure a budget, also while a standby exports the same."""
    return f"max by ({by}) ({metric}{{{SCRAPED}}})"


def build():
    dash = page("meterd-budgets", "Budgets and enforcement", "Budgets with what is spent, held and left, how long they last, and the kills.")
    for name, label in (("agent_namespace", "Namespace"), ("budget", "Budget")):
        dash = dash.with_variable(variable(name, label, "meterd_budget_info", name, TARGETS))

    dash = dash.with_row(d.Row("State"))
    full = f"budget_window:meterd_budget_utilization:ratio{{{BUDGET}}}"
    dash = dash.with_panel(stats("Budgets", "Budgets in force.", "short", [query(f"count({newest('meterd_budget_info', 'agent_namespace, budget')})")]))
    dash = dash.with_panel(stats("Budgets over their limit", "Windows that are spent.", "short", [query(f"count({full} >= 1) or vector(0)")], steps=ALARM))
    soft = f"max by ({BY}) (meterd_budget_soft_limit_ratio{{{SCRAPED}}})"
    dash = dash.with_panel(stats("Budgets past soft limit", "Windows past the level that warns.", "short",
                                 [query(f"count({full} >= on ({BY}) group_left () {soft}) or vector(0)")], steps=((None, "green"), (1, "orange"))))
    dash = dash.with_panel(stats("Kill signals open", "Sent or decided, and not answered yet.", "short",
                                 [query(f"sum(meterd_kill_signals_pending{{{TARGETS}}})")], steps=ALARM))
    oldest = f"(time() - max(meterd_kill_oldest_pending_timestamp_seconds{{{TARGETS}}} > 0)) or vector(0)"
    dash = dash.with_panel(stats("Oldest open kill", "How long the oldest unanswered kill has waited; 0 when none is open.", "dtdurations",
                                 [query(oldest)], steps=((None, "green"), (30, "red"))))
    dash = dash.with_panel(stats("Highest run utilization", "Highest share of a run's own limit that an open run has used.", "percentunit",
                                 [query(f"max(meterd_budget_run_max_utilization_ratio{{{SCRAPED}}}) or vector(0)")], steps=FILL))
    dash = dash.with_panel(bars("Utilization", "Spent share of each window's limit.", "percentunit", [query(full, NAMED, instant=True)],
                                width=24, height=7, steps=FILL, top=1))

    dash = dash.with_row(d.Row("Budgets"))
    columns = [
        ("A", newest("meterd_budget_limit_usd"), "Limit", MONEY), ("B", newest("meterd_budget_spent_usd"), "Spent", MONEY),
        ("C", newest("meterd_budget_reserved_usd"), "Held", MONEY), ("D", f"max by ({BY}) ({full})", "Used", "percentunit"),
        ("E", f"max by ({BY}) (budget_window:meterd_budget_exhaustion_rate1h:seconds{{{BUDGET}}})", "Lasts at this pace", "dtdurations"),
        ("F", f"{newest('meterd_budget_window_end_timestamp_seconds')} - time()", "Resets in", "dtdurations"),
    ]
    names = {"agent_namespace": "Namespace", "budget": "Budget", "window": "Window", **{f"Value #{ref}": name for ref, _, name, _ in columns}}
    to_runs = [{"title": "Runs in this namespace", "url": "/d/meterd-execution?var-agent_namespace=${__data.fields.Namespace}&${__url_time_range}"}]
    fields = [(name, [("unit", unit)]) for _, _, name, unit in columns] + [("Budget", [("links", to_runs)])]
    dash = dash.with_panel(rows("Budgets", "Limit, spent, held and used of each window, how long it lasts at the pace of the last hour, and when it resets.", MONEY,
                                [query(expr, ref_id=ref, instant=True, as_table=True) for ref, expr, _, _ in columns],
                                changes=[("merge", {}), ("organize", {"excludeByName": {"Time": True}, "renameByName": names})], fields=fields, sort="Used"))
    tokens = f"{newest('meterd_budget_spent_tokens')} / {newest('meterd_budget_limit_tokens')}"
    dash = dash.with_panel(bars("Tokens used", "Share of each token limit.", "percentunit", [query(tokens, NAMED, instant=True)], width=12, steps=FILL, top=1))
    dash = dash.with_panel(rows("What limits do", "The action of each budget when its limit is reached.", "none",
                                [query(newest("meterd_budget_info", "agent_namespace, budget, team, action"), instant=True, as_table=True)], width=12, height=8,
                                changes=[("organize", {"excludeByName": {"Time": True, "Value": True}, "renameByName": {"agent_namespace": "Namespace", "budget": "Budget", "team": "Team", "action": "Action"}})]))

    dash = dash.with_row(d.Row("Pace"))
    dash = dash.with_panel(lines("Remaining", "Limit less spent.", MONEY, [query(f"budget_window:meterd_budget_remaining:usd{{{BUDGET}}}", NAMED)], decimals=2))
    dash = dash.with_panel(lines("Burn rate", "1 is an even spend over the window; 14.4 uses up a month in two days.", "none",
                                 [query(f"budget_window:meterd_budget_burn_rate1h:ratio{{{BUDGET}}}", NAMED)], decimals=1))
    dash = dash.with_panel(lines("Charged per hour", "Money charged to each budget, in US dollars an hour.", MONEY,
                                 [query(f"budget:meterd_budget_charged_usd:rate5m{{{BUDGET}}} * 3600", "{{agent_namespace}}/{{budget}}")], decimals=2))
    dash = dash.with_panel(lines("Threshold events", "Soft and hard limits reached.", "short",
                                 [query(f"sum by (budget, threshold, action) (increase(meterd_budget_threshold_events_total{{{SCRAPED}}}[$__rate_interval]))", "{{budget}} {{threshold}} {{action}}")]))
    dash = dash.with_panel(lines("Budget decisions", "Answers to budget checks a second.", "ops",
                                 [query(f"sum by (budget, result) (rate(meterd_budget_decisions_total{{{SCRAPED}}}[$__rate_interval]))", "{{budget}} {{result}}")], width=24))

    dash = dash.with_row(d.Row("Kill signals"))
    per = lambda by, metric: f"sum by ({by}) (increase({metric}{{{TARGETS}}}[$__rate_interval]))"
    dash = dash.with_panel(lines("Sent", "Kill signals taken by a channel.", "short", [query(per("channel", "meterd_kill_signals_sent_total"), "{{channel}}")], width=8))
    dash = dash.with_panel(lines("Answered", "By the agent, by the end of its process, or moot: it had ended by itself.", "short",
                                 [query(per("channel, outcome", "meterd_kill_signals_acked_total"), "{{channel}} {{outcome}}")], width=8))
    dash = dash.with_panel(lines("Failed", "Deliveries that failed, by reason.", "short", [query(per("channel, reason", "meterd_kill_signals_failed_total"), "{{channel}} {{reason}}")], width=8))
    handed = [query(per("channel", "meterd_kill_signals_escalated_total"), "to {{channel}}"), query(per("agent_namespace", "meterd_kill_signals_manual_total"), "person, {{agent_namespace}}", "B")]
    dash = dash.with_panel(lines("Handed on", "Kills that went on to the next channel, or to a person.", "short", handed, width=24))
    slow = f"histogram_quantile(0.95, sum by (channel, le) (rate(meterd_kill_ack_latency_seconds_bucket{{{TARGETS}}}[$__rate_interval])))"
    dash = dash.with_panel(lines("Kill latency p95", "From the decision to the acknowledged stop.", "s", [query(slow, "{{channel}}", exemplar=True)]))
    over = f"histogram_quantile(0.95, sum by (le) (rate(meterd_kill_overshoot_usd_bucket{{{TARGETS}}}[$__rate_interval])))"
    dash = dash.with_panel(lines("Overshoot p95", "Charged between the limit and the stop.", MONEY, [query(over, "p95", exemplar=True)], decimals=4))
    return dash
