//! The real daemon under a wall clock that jumps: libfaketime stands between it and the wall clock, the boot clock is the machine's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::events::{NS, model_call, quiet_zone};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

/// Debian's libfaketime, which `tests/run` installs: the variant for programs with threads.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("a Debian system").flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime; tests/run installs it")
}

/// What the wall clock says, as an offset to the machine's.
fn jump(daemon: &Daemon, offset: &str) {
    fs::write(daemon.folder().join("offset"), format!("{offset}\n")).expect("the folder is writable");
}

fn start() -> Daemon {
    let environment = |folder: &Path| {
        fs::write(folder.join("offset"), "+0\n").expect("the folder is writable");
        let set = |name: &str, value: String| (name.to_owned(), value);
        vec![
            set("LD_PRELOAD", faketime().display().to_string()),
            set("FAKETIME_TIMESTAMP_FILE", folder.join("offset").display().to_string()),
            set("FAKETIME_NO_CACHE", "1".to_owned()),
            set("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            set("NO_FAKE_STAT", "1".to_owned()),
        ]
    };
    Daemon::start_in(|_| String::new(), environment)
}

/// Figures of every window, and the state of the reservation.
fn figures(daemon: &Daemon) -> Value {
    let budget = daemon.get(&format!("/v1/namespaces/{NS}/budgets/cap?format=json")).expect(200).json();
    let counters = budget["status"]["counters"].as_array().cloned().unwrap_or_default();
    let shown = |one: &Value| json!([one["window"], one["spent"], one["held"]]);
    let reservation = daemon.get("/v1/reservations/r-1").expect(200).json();
    json!({"counters": counters.iter().map(shown).collect::<Vec<_>>(), "reservation": reservation["state"]})
}

/// Spent 0.000423 and held 0.005 of every window: a year forward, a year back, a kill -9 in between, and it is still so; what does not
/// fit is refused, what does is granted. Back where it was, the clock is believed at once.
#[test]
fn a_real_clock_that_jumps_a_year_resets_nothing() {
    let mut daemon = start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  timeZone: {}\n  limits: {{ \
         dailyUsd: 0.01, weeklyUsd: 0.01, monthlyUsd: 0.01, rolling24hUsd: 0.01 }}\n",
        quiet_zone()
    ));
    let reserve = |daemon: &Daemon, id: &str, usd: &str| {
        let wish = json!({"id": id, "namespace": NS, "execution": "run-1", "estimate_usd": usd, "ttl": "1h"});
        daemon.post("/v1/reservations", &wish).status
    };
    daemon.usage(&model_call("a", "run-1"));
    assert_eq!(reserve(&daemon, "r-1", "0.005"), 201);
    daemon.wait_for_metric("meterd_clock_frozen", &[], "0");
    let before = figures(&daemon);
    assert_eq!(before["counters"].as_array().map(Vec::len), Some(4), "{before}");
    for (offset, id) in [("+365d", "r-2"), ("-365d", "r-3")] {
        jump(&daemon, offset);
        daemon.wait_for_metric("meterd_clock_frozen", &[], "1");
        assert_eq!(figures(&daemon), before, "{offset}");
        assert_eq!(reserve(&daemon, id, "0.006"), 402, "{offset}: 0.000423 + 0.005 + 0.006 of 0.01");
        daemon.kill();
        daemon.start_again();
        daemon.wait_for_metric("meterd_clock_frozen", &[], "1");
        assert_eq!(figures(&daemon), before, "{offset}, started again");
        assert_eq!(reserve(&daemon, &format!("{id}-again"), "0.006"), 402, "{offset}, started again");
    }
    jump(&daemon, "+0");
    daemon.wait_for_metric("meterd_clock_frozen", &[], "0");
    assert_eq!(figures(&daemon), before);
    assert_eq!(reserve(&daemon, "r-4", "0.004"), 201);
    until("the jumps to be counted", SOON, || {
        let jumps = crate::harness::metrics::sum(&daemon.scrape(), "meterd_clock_jumps_total", &[])?;
        (jumps >= 1.into()).then_some(())
    });
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}
