//! What end-to-end tests share: the real daemon on ephemeral ports, a small HTTP client, processes that never outlive a test.
//!
//! Everything here has a bound in time. Nothing here knows what a right answer is: that is for the tests.

#[path = "cli.rs"]
pub(crate) mod cli;
#[path = "clickhouse.rs"]
pub(crate) mod clickhouse;
#[path = "daemon.rs"]
pub(crate) mod daemon;
#[path = "http.rs"]
pub(crate) mod http;
#[path = "metrics.rs"]
pub(crate) mod metrics;
#[path = "observe.rs"]
pub(crate) mod observe;
#[path = "process.rs"]
pub(crate) mod process;
#[path = "promql.rs"]
pub(crate) mod promql;
#[path = "proxy.rs"]
pub(crate) mod proxy;
#[path = "receiver.rs"]
pub(crate) mod receiver;
#[path = "stream.rs"]
pub(crate) mod stream;
#[path = "tls.rs"]
pub(crate) mod tls;
#[path = "wait.rs"]
pub(crate) mod wait;
