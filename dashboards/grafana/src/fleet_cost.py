"""meterd / Fleet cost: what the fleet spends, who spends it, and on what."""

from frame import MONEY, TARGETS, bars, d, lines, page, pie, query, rows, stats, variable

WHO = f'{TARGETS},agent_namespace=~"$agent_namespace",team=~"$team"'
AGENT = f'{WHO},agent=~"$agent"'
WATCH = " For watching: rates are extrapolated, so take invoices from the ledger."


def build():
    dash = page("meterd-fleet-cost", "Fleet cost", "What the fleet of agents spends, by team, agent, model and tool.")
    for name, label in (("agent_namespace", "Namespace"), ("team", "Team"), ("agent", "Agent")):
        dash = dash.with_variable(variable(name, label, "meterd_cost_usd_total", name, TARGETS))
    dash = dash.with_variable(variable("model", "Model", "meterd_model_cost_usd_total", "model", TARGETS))
    spend = f"meterd_cost_usd_total{{{AGENT}}}"

    dash = dash.with_row(d.Row("Now"))
    dash = dash.with_panel(stats("Spend in range", "Cost metered in the time range." + WATCH, MONEY,
                                 [query(f"sum(increase({spend}[$__range]))", instant=True)], decimals=2))
    dash = dash.with_panel(stats("Spend rate", "US dollars an hour at the pace of now.", MONEY,
                                 [query(f"sum(rate({spend}[$__rate_interval])) * 3600")], decimals=2))
    dash = dash.with_panel(stats("Projected spend this month", "The pace of the time range over 30 days.", MONEY,
                                 [query(f"sum(increase({spend}[$__range])) / $__range_s * 2592000", instant=True)], decimals=0))
    dash = dash.with_panel(stats("Taken back", "Cost that a re-pricing or a settlement took back in the time range; net is spend less this.", MONEY,
                                 [query(f"sum(increase(meterd_cost_credit_usd_total{{{WHO}}}[$__range]))", instant=True)], decimals=2))
    dash = dash.with_panel(stats("Tokens in range", "Tokens of all types; the types are disjoint.", "short",
                                 [query(f"sum(increase(meterd_tokens_total{{{AGENT}}}[$__range]))", instant=True)], decimals=1))
    dash = dash.with_panel(stats("Active executions", "Runs that are open now.", "short",
                                 [query(f"sum(meterd_executions_active{{{WHO}}})")]))

    dash = dash.with_row(d.Row("By team and agent"))
    dash = dash.with_panel(lines("Spend per hour by team", "US dollars an hour." + WATCH, MONEY,
                                 [query(f"sum by (team) (rate({spend}[$__rate_interval])) * 3600", "{{team}}")], stacked=True, decimals=2))
    dash = dash.with_panel(bars("Top 10 agents by spend", "The ten agents that spent most in the time range. A click leads to their runs.", MONEY,
                                [query(f"topk(10, sum by (agent_namespace, agent) (increase({spend}[$__range])))", "{{agent_namespace}}/{{agent}}", instant=True)],
                                decimals=2, links=[("Runs of this agent", "/d/meterd-execution?var-agent=${__field.labels.agent}&${__url_time_range}")]))

    dash = dash.with_row(d.Row("By model and tool"))
    model = f'{WHO},model=~"$model"'
    dash = dash.with_panel(lines("Spend per hour by model", "US dollars an hour." + WATCH, MONEY,
                                 [query(f"sum by (provider, model) (rate(meterd_model_cost_usd_total{{{model}}}[$__rate_interval])) * 3600", "{{provider}} {{model}}")],
                                 stacked=True, decimals=2))
    dash = dash.with_panel(pie("Spend by category", "Models, tools and approvals in the time range.", MONEY,
                               [query(f"sum by (category) (increase({spend}[$__range]))", "{{category}}", instant=True)], width=6))
    dash = dash.with_panel(rows("Spend by tool", "The twenty dearest tools of the time range.", MONEY,
                                [query(f"topk(20, sum by (tool) (increase(meterd_tool_cost_usd_total{{{WHO}}}[$__range])))", instant=True, as_table=True)],
                                width=6, height=8, changes=[("organize", {"excludeByName": {"Time": True}, "renameByName": {"tool": "Tool", "Value": "Spend"}})], sort="Spend"))
    dash = dash.with_panel(lines("Call errors", "Share of model calls that failed or were cut off.", "percentunit",
                                 [query(f'sum by (model) (rate(meterd_model_calls_total{{{model},outcome!="ok"}}[$__rate_interval])) / sum by (model) (rate(meterd_model_calls_total{{{model}}}[$__rate_interval]))', "{{model}}")]))
    dash = dash.with_panel(lines("Tool calls", "Calls a second by tool and outcome.", "ops",
                                 [query(f"sum by (tool, outcome) (rate(meterd_tool_calls_total{{{WHO}}}[$__rate_interval]))", "{{tool}} {{outcome}}")]))

    dash = dash.with_row(d.Row("Tokens"))
    dash = dash.with_panel(lines("Tokens per second by type", "Disjoint types: input leaves out cached tokens, output leaves out reasoning tokens. Below zero: what estimates had too many.", "short",
                                 [query(f"sum by (token_type) (rate(meterd_tokens_total{{{model}}}[$__rate_interval]))", "{{token_type}}"),
                                  query(f"-sum by (token_type) (rate(meterd_credit_tokens_total{{{WHO}}}[$__rate_interval]))", "{{token_type}} taken back")], stacked=True))
    dash = dash.with_panel(lines("Cache read share of input", "How much of the input came from a cache, and so at its lower price.", "percentunit",
                                 [query(f'sum(rate(meterd_tokens_total{{{model},token_type="cache_read"}}[$__rate_interval])) / sum(rate(meterd_tokens_total{{{model},token_type=~"input|cache_read|cache_write"}}[$__rate_interval]))', "share")]))

    dash = dash.with_row(d.Row("Runs"))
    cost = f"meterd_execution_cost_usd_bucket{{{WHO}}}"
    dash = dash.with_panel(lines("Cost per execution p50/p95", "Of runs that ended. Exemplars lead to the run itself.", MONEY,
                                 [query(f"histogram_quantile(0.5, sum by (le) (rate({cost}[$__rate_interval])))", "p50", "A", exemplar=True),
                                  query(f"histogram_quantile(0.95, sum by (le) (rate({cost}[$__rate_interval])))", "p95", "B", exemplar=True)], decimals=4))
    dash = dash.with_panel(lines("Executions ended", "Runs that ended, by outcome.", "short",
                                 [query(f"sum by (outcome) (increase(meterd_executions_total{{{AGENT}}}[$__rate_interval]))", "{{outcome}}")]))
    return dash
