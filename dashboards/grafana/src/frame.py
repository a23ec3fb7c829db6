"""What all four dashboards share: variables, links, annotations, and short ways to make panels of one look."""

from grafana_foundation_sdk.builders import bargauge, common as c, dashboard as d, piechart, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog import builder as cog, variants
from grafana_foundation_sdk.models import bargauge as mbargauge, common as mc, dashboard as m, piechart as mpiechart, stat as mstat

PROMETHEUS = m.DataSourceRef(type_val="prometheus", uid="$datasource")
CLICKHOUSE = m.DataSourceRef(type_val="grafana-clickhouse-datasource", uid="$clickhouse")
# Every query on scraped metrics names the targets that the page is about.
TARGETS = 'job=~"$job",instance=~"$instance"'
MONEY = "currencyUSD"
# The rows of one call each, every call once.
VIEW = "meterd.usage_entries"


class Sql(variants.Dataquery):
    """One query to ClickHouse, as its Grafana plugin stores it."""

    def __init__(self, sql, ref_id, series):
        self.sql, self.ref_id, self.series = sql, ref_id, series

    def to_json(self):
        return {
            "datasource": CLICKHOUSE, "editorType": "sql", "format": 0 if self.series else 1, "pluginVersion": "4.10.0",
            "queryType": "timeseries" if self.series else "table", "rawSql": self.sql, "refId": self.ref_id,
        }


class SqlBuilder(cog.Builder[Sql]):
    def __init__(self, query):
        self.query = query

    def build(self):
        return self.query


def sql(text, ref_id="A", series=False):
    return SqlBuilder(Sql(" ".join(text.split()), ref_id, series))


def query(expr, legend="", ref_id="A", instant=False, exemplar=False, as_table=False):
    made = prometheus.Dataquery().expr(" ".join(expr.split())).ref_id(ref_id).datasource(PROMETHEUS)
    made = made.instant() if instant else made.range()
    if legend:
        made = made.legend_format(legend)
    if exemplar:
        made = made.exemplar(True)
    if as_table:
        made = made.format("table")
    return made


def thresholds(*steps):
    """`(None, "green"), (0.8, "orange")`: from that value on in that colour."""
    made = [m.Threshold(value=value, color=color) for value, color in steps]
    return d.ThresholdsConfig().mode(m.ThresholdsMode.ABSOLUTE).steps(made)


PLAIN = ((None, "text"),)
FILL = ((None, "green"), (0.8, "orange"), (1.0, "red"))
ALARM = ((None, "green"), (1, "red"))


def framed(panel, title, description, unit, width, height, queries, source=PROMETHEUS):
    panel.title(title).description(description).unit(unit).datasource(source).span(width).height(height)
    for made in queries:
        panel.with_target(made)
    return panel


def stats(title, description, unit, queries, width=4, decimals=None, steps=PLAIN, source=PROMETHEUS, fields=""):
    panel = framed(stat.Panel(), title, description, unit, width, 4, queries, source)
    colored = mc.BigValueColorMode.NONE if steps is PLAIN else mc.BigValueColorMode.VALUE
    panel.color_mode(colored).graph_mode(mc.BigValueGraphMode.NONE).text_mode(mc.BigValueTextMode.AUTO)
    reduced = c.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    panel.reduce_options(reduced.fields(fields) if fields else reduced)
    panel.thresholds(thresholds(*steps))
    return panel if decimals is None else panel.decimals(decimals)


def lines(title, description, unit, queries, width=12, height=8, stacked=False, decimals=None, source=PROMETHEUS, bars=False):
    panel = framed(timeseries.Panel(), title, description, unit, width, height, queries, source)
    panel.line_width(1).fill_opacity(25 if stacked else 8).show_points(mc.VisibilityMode.NEVER).min(0)
    panel.legend(c.VizLegendOptions().display_mode(mc.LegendDisplayMode.TABLE).placement(mc.LegendPlacement.BOTTOM)
                 .calcs(["lastNotNull", "max"]).show_legend(True))
    panel.tooltip(c.VizTooltipOptions().mode(mc.TooltipDisplayMode.MULTI).sort(mc.SortOrder.DESCENDING))
    if stacked:
        panel.stacking(c.StackingConfig().mode(mc.StackingMode.NORMAL).group("A"))
    if bars:
        panel.draw_style(mc.GraphDrawStyle.BARS).fill_opacity(80)
    return panel if decimals is None else panel.decimals(decimals)


def bars(title, description, unit, queries, width=12, height=8, steps=PLAIN, top=None, decimals=None, links=()):
    panel = framed(bargauge.Panel(), title, description, unit, width, height, queries)
    panel.orientation(mc.VizOrientation.HORIZONTAL).display_mode(mc.BarGaugeDisplayMode.BASIC).min(0)
    panel.reduce_options(c.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.thresholds(thresholds(*(((None, "blue"),) if steps is PLAIN else steps)))
    if top is not None:
        panel.max(top)
    if links:
        panel.data_links([link(*each) for each in links])
    return panel if decimals is None else panel.decimals(decimals)


def pie(title, description, unit, queries, width=8, height=8):
    panel = framed(piechart.Panel(), title, description, unit, width, height, queries)
    panel.pie_type(mpiechart.PieChartType.DONUT)
    panel.reduce_options(c.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    return panel.legend(piechart.PieChartLegendOptions().display_mode(mc.LegendDisplayMode.TABLE)
                        .placement(mc.LegendPlacement.RIGHT).show_legend(True).calcs([])
                        .values([mpiechart.PieChartLegendValues.VALUE, mpiechart.PieChartLegendValues.PERCENT]))


def rows(title, description, unit, queries, width=24, height=9, changes=(), fields=(), source=PROMETHEUS, sort=None):
    """A table. `changes` are Grafana's transformations, `fields` give single columns their unit, link or width."""
    panel = framed(table.Panel(), title, description, unit, width, height, queries, source)
    for name, options in changes:
        panel.with_transformation(m.DataTransformerConfig(id_val=name, options=options))
    for name, properties in fields:
        panel.override_by_name(name, [m.DynamicConfigValue(id_val=key, value=value) for key, value in properties])
    if sort:
        panel.sort_by([c.TableSortByFieldState().display_name(sort).desc(True)])
    return panel


def link(title, url):
    return d.DashboardLink(title).url(url).type(m.DashboardLinkType.LINK)


def variable(name, label, metric, by, filters="", source=PROMETHEUS):
    asked = f"label_values({metric}{{{filters}}}, {by})" if filters else f"label_values({metric}, {by})"
    made = d.QueryVariable(name).label(label).datasource(source).query({"query": asked, "refId": name})
    made = made.multi(True).include_all(True).all_value(".+" if name in ("job", "instance") else ".*")
    return made.refresh(m.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(m.VariableSort.ALPHABETICAL_ASC).current(
        m.VariableOption(selected=True, text=["All"], value=["$__all"]))


def annotation(name, expr, color, on):
    return d.AnnotationQuery().name(name).datasource(PROMETHEUS).enable(on).hide(False).icon_color(color).expr(expr)


def page(uid, title, description):
    """A dashboard with what all of them have."""
    page = d.Dashboard(f"meterd / {title}").uid(uid).description(description).tags(["meterd"]).readonly()
    page = page.tooltip(m.DashboardCursorSync.CROSSHAIR).refresh("1m").timezone("browser").time("now-6h", "now")
    page = page.link(d.DashboardLink("meterd").type(m.DashboardLinkType.DASHBOARDS).tags(["meterd"]).as_dropdown(False)
                     .keep_time(True).include_vars(True))
    page = page.with_variable(d.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    page = page.with_variable(variable("job", "Job", "meterd_build_info", "job"))
    page = page.with_variable(variable("instance", "Instance", "meterd_build_info", "instance", 'job=~"$job"'))
    page = page.annotation(annotation("Prices loaded", "changes(meterd_price_table_last_reload_success_timestamp_seconds[$__interval]) > 0", "blue", False))
    page = page.annotation(annotation("Hard limit reached", 'increase(meterd_budget_threshold_events_total{threshold="hard"}[$__interval]) > 0', "red", True))
    return page.annotation(annotation("Alerts", 'ALERTS{alertstate="firing",component="meterd"}', "orange", True))
