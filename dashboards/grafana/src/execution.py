"""meterd / Execution: one run from its first call to its last, out of ClickHouse, with the ledger's exact amounts."""

from frame import CLICKHOUSE, MONEY, TARGETS, VIEW, d, lines, page, query, rows, sql, stats

RUN = "execution = '${execution_id}'"
FILTER = "$__timeFilter(event_time) AND ('${agent_namespace:raw}' = '' OR namespace = '${agent_namespace:raw}') AND ('${agent:raw}' = '' OR agent = '${agent:raw}')"


def build():
    dash = page("meterd-execution", "Execution", "The calls behind one run's cost, from ClickHouse: choose a run in the table, or give its name.")
    dash = dash.with_variable(d.DatasourceVariable("clickhouse").label("ClickHouse").type("grafana-clickhouse-datasource"))
    for name, label in (("execution_id", "Execution"), ("agent_namespace", "Namespace"), ("agent", "Agent")):
        dash = dash.with_variable(d.TextBoxVariable(name).label(label))

    dash = dash.with_row(d.Row("Executions"))
    to_run = [{"title": "Show this run", "url": "/d/meterd-execution?var-execution_id=${__value.raw}&${__url_time_range}"}]
    dash = dash.with_panel(rows("Executions by cost", "The fifty dearest runs of the time range. A click on a name shows the run below.", MONEY, [sql(f"""
        SELECT execution AS "Execution", any(namespace) AS "Namespace", any(agent) AS "Agent", any(team) AS "Team", min(event_time) AS "First call",
            max(event_time) AS "Last call", sum(model_calls + tool_calls + approvals) AS "Calls", toFloat64(sum(cost_usd)) AS "Cost"
        FROM {VIEW} WHERE {FILTER} GROUP BY execution ORDER BY sum(cost_usd) DESC LIMIT 50""")],
        fields=[("Execution", [("links", to_run)]), ("Calls", [("unit", "short")]), ("First call", [("unit", "dateTimeAsIso")]),
                ("Last call", [("unit", "dateTimeAsIso")])], source=CLICKHOUSE))

    dash = dash.with_row(d.Row("Run ${execution_id}"))
    one = lambda column: [sql(f"SELECT {column} FROM {VIEW} WHERE {RUN}")]
    shown = lambda title, text, unit, column, **more: stats(title, text, unit, one(column), source=CLICKHOUSE, **more)
    dash = dash.with_panel(shown("Cost", "Exact sum of the run's ledger lines.", MONEY, "toFloat64(sum(cost_usd)) AS cost", decimals=6))
    dash = dash.with_panel(shown("Calls", "Model calls, tool calls and approvals.", "short", "sum(model_calls + tool_calls + approvals) AS calls"))
    dash = dash.with_panel(shown("Tokens", "Tokens of all types.", "short", "sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens) AS tokens"))
    dash = dash.with_panel(shown("Duration", "From its first call to its last.", "s", "dateDiff('millisecond', min(event_time), max(event_time)) / 1000 AS seconds"))
    dash = dash.with_panel(shown("Unpriced calls", "Calls without a price: they are not in the cost.", "short", "sum(unpriced_calls) AS unpriced", steps=((None, "green"), (1, "orange"))))
    dash = dash.with_panel(shown("Price tables", "Versions of price tables that its cost was computed from.", "short", "uniqExactIf(price_table_digest, price_table_digest != '') AS tables"))
    dash = dash.with_panel(lines("Cost over time by category", "US dollars in each interval.", MONEY, [sql(f"""
        SELECT $__timeInterval(event_time) AS time, toString(kind) AS category, toFloat64(sum(cost_usd)) AS cost
        FROM {VIEW} WHERE {RUN} AND $__timeFilter(event_time) GROUP BY time, category ORDER BY time""", series=True)], stacked=True, bars=True, decimals=4, source=CLICKHOUSE))
    dash = dash.with_panel(lines("Running total", "Cost of the run so far.", MONEY, [sql(f"""
        SELECT event_time AS time, toFloat64(sum(cost_usd) OVER (ORDER BY event_time, seq)) AS cost
        FROM {VIEW} WHERE {RUN} ORDER BY time LIMIT 10000""", series=True)], decimals=4, source=CLICKHOUSE))
    dash = dash.with_panel(rows("Calls", "Each call with its disjoint tokens and its cost.", "short", [sql(f"""
        SELECT event_time AS "Time", kind AS "Kind", if(kind = 'tool', tool, concat(provider, ' ', model)) AS "Called", input_tokens AS "Input",
            cache_read_tokens AS "Cache read", cache_write_tokens AS "Cache write", output_tokens AS "Output", reasoning_tokens AS "Reasoning",
            toFloat64(cost_usd) AS "Cost", outcome AS "Outcome", status AS "Status", price_table_digest AS "Price table"
        FROM {VIEW} WHERE {RUN} ORDER BY event_time, seq LIMIT 1000""")], height=12,
        fields=[("Time", [("unit", "dateTimeAsIso")]), ("Cost", [("unit", MONEY), ("decimals", 6)])], source=CLICKHOUSE))

    dash = dash.with_row(d.Row("Does it add up?"))
    dash = dash.with_panel(rows("ClickHouse: cost by agent", "Exact sums of the rows of the time range.", MONEY, [sql(f"""
        SELECT agent AS "Agent", toFloat64(sum(cost_usd)) AS "Cost" FROM {VIEW} WHERE {FILTER} GROUP BY agent ORDER BY sum(cost_usd) DESC LIMIT 50""")], width=12, source=CLICKHOUSE))
    dash = dash.with_panel(rows("Prometheus: cost by agent", "The same time range out of the counters: extrapolated, so close and not equal.", MONEY,
                                [query(f"sort_desc(sum by (agent) (increase(meterd_cost_usd_total{{{TARGETS}}}[$__range])))", instant=True, as_table=True)], width=12,
                                changes=[("organize", {"excludeByName": {"Time": True}, "renameByName": {"agent": "Agent", "Value": "Cost"}})]))
    return dash
