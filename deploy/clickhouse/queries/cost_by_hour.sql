-- Cost by hour and team, out of the roll-ups. Parameters: from, to (seconds since 1970).
SELECT hour, team, sum(cost_usd) AS usd, sum(model_calls) AS calls
FROM meterd.cost_hourly
WHERE hour >= toDateTime({from:UInt32}, 'UTC') AND hour < toDateTime({to:UInt32}, 'UTC')
GROUP BY hour, team
ORDER BY hour, team;
