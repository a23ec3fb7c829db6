//! `meterd top --watch`: the ranking, the budgets, the live runs and the kills in a terminal, drawn again every second.
//! Asks the daemon as everybody does; keeps the last answer when the next one does not come. Changes nothing.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, Tabs};
use serde_json::Value;

use super::super::client::Client;
use super::super::{Failure, runtime};

const REFRESH: Duration = Duration::from_secs(1);
const RUNS_MAX: usize = 500;
const VIEWS: [&str; 4] = ["Ranking", "Budgets", "Live runs", "Kills"];
const BAR_CHARS: usize = 20;

/// What is on the screen.
#[derive(Debug, Default)]
struct Screen {
    view: usize,
    scroll: usize,
    title: String,
    answers: Answers,
    /// Why the newest answer did not come.
    trouble: Option<String>,
}

/// The newest answers.
#[derive(Debug, Default)]
struct Answers {
    ranking: Value,
    budgets: Value,
    runs: Value,
    kills: Value,
}

/// Draws until somebody presses q. `ranking` is the path of the question that the ranking answers.
pub(super) fn watch(client: &Client, ranking: &str, title: &str) -> Result<ExitCode, Failure> {
    if !std::io::stdout().is_terminal() {
        return Err(anyhow::anyhow!("--watch needs a terminal; without it the ranking is printed once").into());
    }
    let runtime = runtime()?;
    let mut screen = Screen { title: title.to_owned(), ..Screen::default() };
    // The first answer decides whether there is anything to watch.
    screen.answers = runtime.block_on(ask(client, ranking))?;
    let mut terminal = ratatui::try_init()?;
    let ended = follow(&mut terminal, &mut screen, || runtime.block_on(ask(client, ranking)));
    ratatui::try_restore()?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

fn follow(
    terminal: &mut ratatui::DefaultTerminal,
    screen: &mut Screen,
    ask: impl Fn() -> anyhow::Result<Answers>,
) -> anyhow::Result<()> {
    let mut due = Instant::now() + REFRESH;
    loop {
        terminal.draw(|frame| draw(frame, screen))?;
        if event::poll(due.saturating_duration_since(Instant::now()))? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
                && !screen.pressed(key.code, key.modifiers)
            {
                return Ok(());
            }
            continue;
        }
        match ask() {
            Ok(answers) => (screen.answers, screen.trouble) = (answers, None),
            Err(error) => screen.trouble = Some(format!("{error:#}")),
        }
        due = Instant::now() + REFRESH;
    }
}

async fn ask(client: &Client, ranking: &str) -> anyhow::Result<Answers> {
    let live = format!("/v1/executions?phase=Running&limit={RUNS_MAX}");
    let (ranking, budgets, runs, kills) =
        tokio::try_join!(client.get(ranking), client.get("/v1/budgets"), client.get(&live), client.get("/v1/kills"))?;
    Ok(Answers { ranking: ranking.json()?, budgets: budgets.json()?, runs: runs.json()?, kills: kills.json()? })
}

impl Screen {
    /// `false` when it was the key to leave.
    fn pressed(&mut self, key: KeyCode, with: KeyModifiers) -> bool {
        let view = self.view;
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if with.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => self.view = (view + 1) % VIEWS.len(),
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => self.view = (view + VIEWS.len() - 1) % VIEWS.len(),
            KeyCode::Char(digit @ '1'..='4') => {
                self.view = usize::try_from(digit.to_digit(10).unwrap_or(1)).unwrap_or(1).saturating_sub(1);
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(10),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Home => self.scroll = 0,
            _ => {}
        }
        if self.view != view {
            self.scroll = 0;
        }
        true
    }
}

fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let [top, body, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    let tabs = Tabs::new(VIEWS).select(screen.view).highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(tabs, top);
    match screen.view {
        0 => ranking(frame, body, screen),
        1 => budgets(frame, body, screen),
        2 => runs(frame, body, screen),
        _ => kills(frame, body, screen),
    }
    let foot = match &screen.trouble {
        Some(trouble) => Line::styled(format!(" old figures: {trouble}"), Style::new().fg(Color::Red)),
        None => Line::from(" 1-4 or Tab: view   ↑↓: scroll   q: leave").style(Style::new().fg(Color::DarkGray)),
    };
    frame.render_widget(Paragraph::new(foot), bottom);
}

fn ranking(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let answer = &screen.answers.ranking;
    let by = text(answer, "/by");
    let total: f64 = text(answer, "/total/cost_usd").parse().unwrap_or(0.0);
    let rows = items(answer, "/rows").iter().map(|row| {
        let names = ["namespace", "provider", by.as_str()].map(|column| text(row, &format!("/{column}")));
        let mut seen = Vec::new();
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        let cost: f64 = text(row, "/cost_usd").parse().unwrap_or(0.0);
        // A share to look at; the amount beside it is exact.
        let share = if total > 0.0 { cost / total } else { 0.0 };
        Row::new([
            Cell::from(if seen.is_empty() { "(none)".to_owned() } else { seen.join("/") }),
            right(text(row, "/cost_usd")),
            right(text(row, "/calls")),
            right(text(row, "/tokens/total")),
            Cell::from(bar(share, Color::Blue)),
        ])
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(22),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(28),
    ];
    let title = format!(" {}: {} USD in all ", screen.title, text(answer, "/total/cost_usd"));
    table(frame, area, screen, &title, [by.as_str(), "cost usd", "calls", "tokens", "share"], &widths, rows.collect());
}

fn budgets(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    const WINDOWS: [(&str, &str, &str); 4] = [
        ("hour", "hourSpentUsd", "hourlyUsd"),
        ("day", "daySpentUsd", "dailyUsd"),
        ("week", "weekSpentUsd", "weeklyUsd"),
        ("month", "monthSpentUsd", "monthlyUsd"),
    ];
    let mut rows = Vec::new();
    for budget in items(&screen.answers.budgets, "/items") {
        for (window, spent, limit) in WINDOWS {
            let limit = text(budget, &format!("/spec/limits/{limit}"));
            if limit.is_empty() {
                continue;
            }
            let spent = text(budget, &format!("/status/{spent}"));
            let (used, most): (f64, f64) = (spent.parse().unwrap_or(0.0), limit.parse().unwrap_or(0.0));
            let share = if most > 0.0 { used / most } else { 1.0 };
            let color = if share >= 1.0 {
                Color::Red
            } else if share >= 0.8 {
                Color::Yellow
            } else {
                Color::Green
            };
            let name = format!("{}/{}", text(budget, "/metadata/namespace"), text(budget, "/metadata/name"));
            rows.push(Row::new([
                Cell::from(name),
                Cell::from(window),
                right(spent),
                right(limit),
                Cell::from(bar(share, color)),
                Cell::from(text(budget, "/status/phase")),
            ]));
        }
    }
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(6),
        Constraint::Length(22),
        Constraint::Length(12),
        Constraint::Length(28),
        Constraint::Length(12),
    ];
    table(
        frame,
        area,
        screen,
        " Budgets ",
        ["budget", "window", "spent usd", "limit usd", "used", "phase"],
        &widths,
        rows,
    );
}

fn runs(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let mut runs: Vec<&Value> = items(&screen.answers.runs, "/items").iter().collect();
    let cost = |run: &Value| text(run, "/status/costUsd").parse::<f64>().unwrap_or(0.0);
    runs.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
    let rows = runs.iter().map(|run| {
        let killed = !text(run, "/status/kill/id").is_empty();
        let row = Row::new([
            Cell::from(format!("{}/{}", text(run, "/metadata/namespace"), text(run, "/metadata/name"))),
            Cell::from(text(run, "/spec/agentRef/name")),
            Cell::from(if killed { "stopping".to_owned() } else { text(run, "/status/phase") }),
            right(text(run, "/status/costUsd")),
            right(text(run, "/status/modelCalls")),
            right(text(run, "/status/toolCalls")),
        ]);
        if killed { row.style(Style::new().fg(Color::Red)) } else { row }
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Length(10),
        Constraint::Length(22),
        Constraint::Length(12),
        Constraint::Length(11),
    ];
    let title = format!(" Live runs: {} ", runs.len());
    let heads = ["execution", "agent", "state", "cost usd", "model calls", "tool calls"];
    table(frame, area, screen, &title, heads, &widths, rows.collect());
}

fn kills(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let rows = items(&screen.answers.kills, "/kills").iter().map(|kill| {
        let state = text(kill, "/state");
        let answered = ["acked", "confirmed", "moot"].contains(&state.as_str());
        Row::new([
            Cell::from(text(kill, "/decidedAt")),
            Cell::from(text(kill, "/execution")),
            Cell::from(Span::styled(state, Style::new().fg(if answered { Color::Green } else { Color::Red }))),
            Cell::from(text(kill, "/message")),
        ])
    });
    let widths = [Constraint::Length(30), Constraint::Fill(1), Constraint::Length(10), Constraint::Fill(3)];
    table(
        frame,
        area,
        screen,
        " Kills, newest first ",
        ["decided", "execution", "state", "why"],
        &widths,
        rows.collect(),
    );
}

fn table<const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    screen: &Screen,
    title: &str,
    heads: [&str; N],
    widths: &[Constraint; N],
    rows: Vec<Row<'_>>,
) {
    let scroll = screen.scroll.min(rows.len().saturating_sub(1));
    let head = Row::new(heads.map(str::to_owned)).style(Style::new().add_modifier(Modifier::BOLD));
    let body = Table::new(rows.into_iter().skip(scroll).collect::<Vec<_>>(), widths).header(head).column_spacing(2);
    frame.render_widget(body.block(Block::bordered().title(title.to_owned())), area);
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

/// A share as a bar and a number.
fn bar(share: f64, color: Color) -> Line<'static> {
    let full = ((share.clamp(0.0, 1.0) * BAR_CHARS as f64).round() as usize).min(BAR_CHARS);
    Line::from(vec![
        Span::styled("█".repeat(full), Style::new().fg(color)),
        Span::styled("░".repeat(BAR_CHARS - full), Style::new().fg(Color::DarkGray)),
        Span::raw(format!(" {:>4.0} %", share * 100.0)),
    ])
}

fn items<'a>(answer: &'a Value, pointer: &str) -> &'a [Value] {
    answer.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A value as text; nothing for what is not there.
fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
