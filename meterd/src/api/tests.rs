//! Routes without a network: answers, refusals, and the description against the router.
