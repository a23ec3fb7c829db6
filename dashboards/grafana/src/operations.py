"""meterd / Operations: is the daemon well, does usage come in, is it durable, does it go on."""

from frame import ALARM, FILL, MONEY, TARGETS, d, lines, page, query, rows, stats


def build():
    dash = page("meterd-operations", "Operations", "The daemon itself: intake, journal, sinks, prices, exporter, process.")
    rate = lambda by, metric: f"sum by ({by}) (rate({metric}{{{TARGETS}}}[$__rate_interval]))"
    more = lambda by, metric: f"sum by ({by}) (increase({metric}{{{TARGETS}}}[$__rate_interval]))"
    newest = lambda by, metric: f"max by ({by}) ({metric}{{{TARGETS}}})"
    quantile = lambda q, by, metric: f"histogram_quantile({q}, sum by ({by + ', ' if by else ''}le) (rate({metric}_bucket{{{TARGETS}}}[$__rate_interval])))"

    dash = dash.with_row(d.Row("Health"))
    dash = dash.with_panel(stats("Up", "Daemons that answer scrapes.", "short", [query('sum(up{job=~"$job",instance=~"$instance"})')], steps=((None, "red"), (1, "green"))))
    dash = dash.with_panel(stats("Uptime", "Since the newest start.", "dtdurations", [query(f"time() - max(process_start_time_seconds{{{TARGETS}}})")]))
    dash = dash.with_panel(stats("Since the last event", "Time since usage last came in.", "dtdurations", [query(f"time() - max(meterd_ingest_last_event_timestamp_seconds{{{TARGETS}}})")]))
    dash = dash.with_panel(stats("Configuration loads", "1 when the last load worked everywhere.", "bool_yes_no", [query(f"min(meterd_config_last_reload_successful{{{TARGETS}}})")], steps=((None, "red"), (1, "green"))))
    dash = dash.with_panel(stats("Prices load", "1 when the last load of every price table worked.", "bool_yes_no", [query(f"min(meterd_price_table_last_reload_successful{{{TARGETS}}})")], steps=((None, "red"), (1, "green"))))
    dash = dash.with_panel(stats("Since the configuration loaded", "Time since a configuration last loaded.", "dtdurations", [query(f"time() - max(meterd_config_last_reload_success_timestamp_seconds{{{TARGETS}}})")]))
    dash = dash.with_panel(rows("Version", "Which build runs where.", "none", [query(newest("instance, version, revision", "meterd_build_info"), instant=True, as_table=True)], width=24, height=4,
                                changes=[("organize", {"excludeByName": {"Time": True, "Value": True}})]))

    dash = dash.with_row(d.Row("Ingest"))
    dash = dash.with_panel(lines("Events by result", "Usage events a second.", "ops", [query(rate("source, result", "meterd_ingest_events_total"), "{{source}} {{result}}")], stacked=True))
    dash = dash.with_panel(lines("Rejected by reason", "Refused events a second.", "ops", [query(rate("source, reason", "meterd_ingest_rejected_total") + " > 0 or vector(0)", "{{source}} {{reason}}")]))
    dash = dash.with_panel(lines("Unpriced by reason", "Accepted events without a price, a second.", "ops", [query(rate("provider, reason", "meterd_unpriced_events_total"), "{{provider}} {{reason}}")]))
    dash = dash.with_panel(lines("Ingest lag p99", "Age of a usage event when it is accepted.", "s", [query(quantile(0.99, "source", "meterd_ingest_lag_seconds"), "{{source}}")]))
    dash = dash.with_panel(lines("Dead letters", "Usage refused for its time and kept; `meterd late import` books it.", "short", [query(newest("instance", "meterd_dead_letters"), "{{instance}}")]))

    dash = dash.with_row(d.Row("Queue and journal"))
    fill = f"{newest('instance, queue', 'meterd_queue_depth')} / {newest('instance, queue', 'meterd_queue_capacity')}"
    dash = dash.with_panel(lines("Queue fill", "Share of the places in front of the writer that are taken.", "percentunit", [query(fill, "{{instance}} {{queue}}")], width=8))
    dash = dash.with_panel(lines("Dropped", "Accepted events that were lost: always 0.", "short", [query(more("queue, reason", "meterd_queue_dropped_total"), "{{queue}} {{reason}}")], width=8))
    dash = dash.with_panel(lines("Journal errors", "Journal operations that failed: always 0.", "short", [query(more("op", "meterd_wal_errors_total"), "{{op}}")], width=8))
    dash = dash.with_panel(lines("Journal size", "Bytes of the journal on disk.", "bytes", [query(newest("instance", "meterd_wal_bytes"), "{{instance}}")], width=8))
    dash = dash.with_panel(lines("fsync p99", "Time of one journal fsync; every acknowledgement waits for one.", "s", [query(quantile(0.99, "", "meterd_wal_fsync_duration_seconds"), "p99")], width=8))
    dash = dash.with_panel(stats("Replayed at start", "Entries read back when the daemon started.", "short", [query(f"sum(meterd_wal_replayed_records_total{{{TARGETS}}})")], width=8))

    dash = dash.with_row(d.Row("Sinks"))
    dash = dash.with_panel(lines("Sink rows", "Rows delivered a second.", "rowsps", [query(rate("sink", "meterd_sink_rows_total"), "{{sink}}")], width=8))
    dash = dash.with_panel(lines("Sink errors", "Writes that failed, a second.", "ops", [query(rate("sink, reason", "meterd_sink_write_errors_total"), "{{sink}} {{reason}}")], width=8))
    dash = dash.with_panel(lines("Sink pending rows", "Rows not delivered yet.", "short", [query(newest("instance, sink", "meterd_sink_pending_rows"), "{{instance}} {{sink}}")], width=8))
    dash = dash.with_panel(lines("Sink write p95", "Time of one batch.", "s", [query(quantile(0.95, "sink", "meterd_sink_write_duration_seconds"), "{{sink}}")]))
    behind = f"time() - max by (instance, sink) (meterd_sink_oldest_pending_timestamp_seconds{{{TARGETS}}} > 0) or max by (instance, sink) (meterd_sink_oldest_pending_timestamp_seconds{{{TARGETS}}} == 0)"
    dash = dash.with_panel(lines("Sink lag", "Age of the oldest row not delivered; 0 when none waits.", "s", [query(behind, "{{instance}} {{sink}}")]))

    dash = dash.with_row(d.Row("Prices and reconcile"))
    dash = dash.with_panel(rows("Price tables", "The price tables in use, with version and digest.", "none", [query(newest("source, version, digest, currency", "meterd_price_table_info"), instant=True, as_table=True)],
                                width=16, changes=[("organize", {"excludeByName": {"Time": True, "Value": True}})]))
    dash = dash.with_panel(stats("Oldest table", "Age of the price table whose newest prices are oldest.", "dtdurations", [query(f"time() - min(meterd_price_table_effective_timestamp_seconds{{{TARGETS}}})")], width=4))
    dash = dash.with_panel(stats("Prices", "Models and tools with a price.", "short", [query(f"sum(max by (source) (meterd_price_table_entries{{{TARGETS}}}))")], width=4))
    dash = dash.with_panel(lines("Captured share of the bill", "Metered cost over the provider's bill for the last window compared.", "percentunit", [query(newest("provider", "meterd_reconcile_captured_ratio"), "{{provider}}")], width=6))
    dash = dash.with_panel(lines("Reconcile drift", "Bill less metered cost for the last window compared.", MONEY, [query(newest("provider", "meterd_reconcile_drift_usd"), "{{provider}}")], width=6, decimals=2).min(None))
    dash = dash.with_panel(lines("Corrections", "Size of the corrections booked, by direction.", MONEY, [query(more("provider, direction", "meterd_reconcile_adjustments_usd_total"), "{{provider}} {{direction}}")], width=6, decimals=2))
    dash = dash.with_panel(stats("Since the last comparison", "Time since metered cost was compared with a bill, oldest provider.", "dtdurations", [query(f"time() - min(meterd_reconcile_last_success_timestamp_seconds{{{TARGETS}}})")], width=6))

    dash = dash.with_row(d.Row("Exporter"))
    dash = dash.with_panel(lines("Series by family", "Series that the exporter holds; the cap of each family is metrics.seriesMax.", "short", [query(newest("instance, family", "meterd_exporter_series"), "{{family}}")]))
    dash = dash.with_panel(lines("Overflow", "Updates put into _other because a cap was full: sums are exact, filtered queries read low.", "short", [query(more("family, label", "meterd_exporter_overflow_total") + " > 0 or vector(0)", "{{family}} {{label}}")]))
    dash = dash.with_panel(lines("Evicted series", "Series taken out because they rested or their budget is gone.", "short", [query(more("family, reason", "meterd_exporter_evicted_series_total") + " > 0 or vector(0)", "{{family}} {{reason}}")], width=8))
    dash = dash.with_panel(lines("Scrape size", "Samples of one scrape.", "short", [query('scrape_samples_scraped{job=~"$job",instance=~"$instance"}', "{{instance}}")], width=8))
    dash = dash.with_panel(lines("Scrape time", "Duration of one scrape.", "s", [query('scrape_duration_seconds{job=~"$job",instance=~"$instance"}', "{{instance}}")], width=8))

    dash = dash.with_row(d.Row("HTTP and process"))
    dash = dash.with_panel(lines("Requests", "Requests answered a second.", "reqps", [query(rate("handler, code", "meterd_http_requests_total"), "{{handler}} {{code}}")], width=8))
    dash = dash.with_panel(lines("Not let in", "Requests refused at the door a second, by reason.", "reqps", [query(rate("reason", "meterd_auth_refused_total"), "{{reason}}")], width=8))
    dash = dash.with_panel(lines("Request p99", "Time to answer a request.", "s", [query(quantile(0.99, "handler", "meterd_http_request_duration_seconds"), "{{handler}}")], width=8))
    dash = dash.with_panel(lines("CPU", "Cores used.", "percentunit", [query(rate("instance", "process_cpu_seconds_total"), "{{instance}}")], width=8))
    dash = dash.with_panel(lines("Memory", "Resident memory.", "bytes", [query(newest("instance", "process_resident_memory_bytes"), "{{instance}}")], width=8))
    files = f"{newest('instance', 'process_open_fds')} / {newest('instance', 'process_max_fds')}"
    dash = dash.with_panel(lines("Open files", "Share of the file descriptors that are open.", "percentunit", [query(files, "{{instance}}")], width=8))
    return dash
