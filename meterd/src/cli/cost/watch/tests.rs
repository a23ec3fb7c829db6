//! Every view as it is drawn, and what keys do.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::json;

use super::{Answers, Screen, draw};

fn screen(view: usize) -> Screen {
    let answers = Answers {
        ranking: json!({ "by": "agent", "total": { "cost_usd": "4" }, "rows": [
            { "namespace": "demo", "agent": "research", "cost_usd": "3.000000000001", "calls": 12, "tokens": { "total": 90000 } },
            { "namespace": "demo", "agent": "billing", "cost_usd": "1", "calls": 3, "tokens": { "total": 100 } } ] }),
        budgets: json!({ "items": [ { "metadata": { "name": "fleet", "namespace": "demo" },
            "spec": { "limits": { "dailyUsd": 25, "monthlyUsd": 100 } },
            "status": { "daySpentUsd": 22.5, "monthSpentUsd": 22.5, "phase": "SoftLimited" } } ] }),
        runs: json!({ "items": [
            { "metadata": { "name": "cheap", "namespace": "demo" }, "spec": {}, "status": { "phase": "Running", "costUsd": 0.1 } },
            { "metadata": { "name": "wild", "namespace": "demo" }, "spec": { "agentRef": { "name": "research" } },
              "status": { "phase": "Running", "costUsd": 2.5, "kill": { "id": "kill-7" } } } ] }),
        kills: json!({ "kills": [ { "decidedAt": "2026-11-25T10:00:00Z", "execution": "wild", "state": "sent", "message": "budget" } ] }),
    };
    Screen { view, title: "top agents".to_owned(), answers, ..Screen::default() }
}

fn drawn(screen: &Screen) -> String {
    let mut terminal = Terminal::new(TestBackend::new(130, 12)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn each_view_shows_its_rows() {
    let ranking = drawn(&screen(0));
    assert!(ranking.contains("demo/research") && ranking.contains("3.000000000001"), "{ranking}");
    assert!(ranking.contains("75 %") && ranking.contains("4 USD in all"), "{ranking}");
    let budgets = drawn(&screen(1));
    assert!(budgets.contains("demo/fleet") && budgets.contains("90 %") && budgets.contains("SoftLimited"), "{budgets}");
    let runs = drawn(&screen(2));
    let place = |name: &str| runs.find(name).unwrap();
    assert!(place("demo/wild") < place("demo/cheap"), "the dearest first: {runs}");
    assert!(runs.contains("stopping"), "{runs}");
    let kills = drawn(&screen(3));
    assert!(kills.contains("wild") && kills.contains("sent"), "{kills}");
}

#[test]
fn keys_change_the_view_and_leave() {
    let mut screen = screen(0);
    let mut press = |key| screen.pressed(key, KeyModifiers::NONE).then_some(screen.view);
    assert_eq!(press(KeyCode::Tab), Some(1));
    assert_eq!(press(KeyCode::Char('4')), Some(3));
    assert_eq!(press(KeyCode::Right), Some(0));
    assert_eq!(press(KeyCode::Left), Some(3));
    assert_eq!(press(KeyCode::Char('q')), None);
    assert!(!screen.pressed(KeyCode::Char('c'), KeyModifiers::CONTROL));
}

#[test]
fn old_figures_are_said_to_be_old() {
    let mut screen = screen(0);
    screen.trouble = Some("cannot reach a daemon".to_owned());
    assert!(drawn(&screen).contains("old figures: cannot reach a daemon"));
}
