-- One execution: every ledger line behind its cost, in order. Parameters: namespace, execution.
SELECT
    time, entry, kind, if(kind = 'model', concat(provider, ':', model), toString(tool)) AS called, outcome, status, reason,
    input_tokens + cache_read_tokens + cache_write_tokens AS prompt_tokens, output_tokens + reasoning_tokens AS completion_tokens,
    cost_usd,
    sum(cost_usd) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running_usd,
    price_table, price_table_version, seq
FROM meterd.usage_entries
WHERE namespace = {namespace:String} AND execution = {execution:String}
ORDER BY seq;
