-- The most expensive executions of a span. Parameters: from, to (seconds since 1970), limit.
SELECT
    namespace, execution, any(agent) AS agent, any(team) AS team, min(time) AS first_call, max(time) AS last_call,
    sum(cost_usd) AS usd, sum(model_calls) AS models, sum(tool_calls) AS tools
FROM meterd.usage_entries
WHERE time >= toDateTime({from:UInt32}, 'UTC') AND time < toDateTime({to:UInt32}, 'UTC')
GROUP BY namespace, execution
ORDER BY usd DESC, namespace, execution
LIMIT {limit:UInt32};
