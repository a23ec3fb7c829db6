-- One execution as a whole: who, when, how much, and whether it was killed. Parameters: namespace, execution.
SELECT
    e.namespace, e.execution, e.agent, e.team, e.environment, e.parent_execution, e.phase, e.opened_at, e.ended_at,
    e.cost_usd, e.model_calls, e.tool_calls, e.unpriced_calls, k.kill, k.reason AS kill_reason, k.budget, k.decided_at, k.confirmed_at
FROM meterd.executions AS e
LEFT JOIN meterd.kills AS k ON k.shard = e.shard AND k.namespace = e.namespace AND k.execution = e.execution
WHERE e.namespace = {namespace:String} AND e.execution = {execution:String};
