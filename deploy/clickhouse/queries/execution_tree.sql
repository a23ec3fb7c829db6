-- An execution and every run below it, with own cost. Parameters: namespace, execution.
WITH RECURSIVE tree AS
(
    SELECT namespace, execution, parent_namespace, parent_execution, cost_usd, 0 AS depth
    FROM meterd.executions
    WHERE namespace = {namespace:String} AND execution = {execution:String}
    UNION ALL
    SELECT below.namespace, below.execution, below.parent_namespace, below.parent_execution, below.cost_usd, tree.depth + 1
    FROM meterd.executions AS below
    INNER JOIN tree ON below.parent_namespace = tree.namespace AND below.parent_execution = tree.execution
    WHERE tree.depth < 31
)
SELECT depth, namespace, execution, cost_usd, sum(cost_usd) OVER () AS subtree_cost_usd FROM tree ORDER BY depth, execution;
