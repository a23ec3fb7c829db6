//! 200 callers on one run with a limit of 5 USD, over HTTP, while the daemon is killed with -9 twice: no concurrency, retry,
//! disconnect or crash makes the budget leak.
//!
//! What each caller does is drawn from `SEED`; what an answer may say is worked out here and by nothing of the daemon's.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, literal, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::http::{self, Response};
use crate::harness::wait::{SOON, until};

const SEED: u64 = 0x6d65_7465_7264;
const CALLERS: u32 = 200;
const CALLS: u32 = 5;
/// The daemon is killed when so many calls are over.
const KILLS: [u32; 2] = [200, 500];
const RUN: &str = "shared";
const LIMIT_USD: &str = "5";
/// What nobody ends is given back after this.
const SHORT_TTL: &str = "1s";

/// Chance that is the same in every run: splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Where the daemon that runs now can be asked.
struct Door {
    /// How often it moved, and its address.
    at: Mutex<(u32, String)>,
    moved: Condvar,
}

impl Door {
    fn open(&self, address: &str) {
        let mut at = self.at.lock().unwrap();
        *at = (at.0 + 1, address.to_owned());
        self.moved.notify_all();
    }

    /// Asks until somebody answers: a daemon that is gone is waited for, and asked the same again.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let text = body.map(Value::to_string).unwrap_or_default();
        loop {
            let (times, address) = self.at.lock().unwrap().clone();
            match http::request(&address, method, path, &[("content-type", "application/json")], text.as_bytes()) {
                Ok(answer) => return answer,
                Err(error) => {
                    let at = self.at.lock().unwrap();
                    let (_at, late) = self.moved.wait_timeout_while(at, SOON, |at| at.0 == times).unwrap();
                    assert!(!late.timed_out(), "{method} {path}: {error}, and the daemon did not come back");
                }
            }
        }
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        self.ask("POST", path, Some(body))
    }

    /// Sends a request, or only the beginning of it, and hangs up: whether it arrived is anybody's guess.
    fn hang_up(&self, path: &str, body: &Value, chance: &mut Chance) {
        let (_, address) = self.at.lock().unwrap().clone();
        let text = body.to_string();
        let sent = if chance.below(2) == 0 { text.len() } else { text.len() / 2 };
        let headers = [("content-type", "application/json")];
        if let Ok(mut socket) = http::open(&address, "POST", path, &headers, text.len(), false) {
            let _ = socket.write_all(&text.as_bytes()[..sent]);
        }
    }

    /// Posts, now and then after a try that nobody waited for, now and then once more after the answer.
    fn insist(&self, path: &str, body: &Value, chance: &mut Chance) -> (Response, Option<Response>) {
        for _ in 0..chance.below(3).saturating_sub(1) {
            self.hang_up(path, body, chance);
        }
        let first = self.post(path, body);
        let again = (chance.below(4) == 0).then(|| self.post(path, body));
        (first, again)
    }
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stated,
    Event,
    Usage,
    Released,
    Abandoned,
}

/// What became of every reservation, as its caller knows it: the state it must be in, and what was booked on it.
type Known = BTreeMap<String, (&'static str, Decimal)>;

fn usd(micros: u64) -> Decimal {
    Decimal::new(i64::try_from(micros).expect("a small amount"), 6).normalize()
}

fn amount(value: &Value) -> Decimal {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no amount"))
}

/// No counter of an answer may be above the limit.
fn within(budget: &Value) {
    let (spent, held) = (amount(&budget["spentUsd"]), amount(&budget["heldUsd"]));
    assert!(spent + held <= LIMIT_USD.parse().unwrap(), "leaked: {budget}");
}

fn call(door: &Door, id: &str, chance: &mut Chance) -> (&'static str, Decimal) {
    let end = match chance.below(10) {
        0..=3 => End::Stated,
        4..=5 => End::Event,
        6..=7 => End::Usage,
        8 => End::Released,
        _ => End::Abandoned,
    };
    let estimate = 4_000 + chance.below(40_000);
    let ttl = if end == End::Abandoned { SHORT_TTL } else { "10m" };
    let wish =
        json!({ "id": id, "namespace": NS, "execution": RUN, "estimate_usd": usd(estimate).to_string(), "ttl": ttl });
    let (answer, again) = door.insist("/v1/reservations", &wish, chance);
    let decision = answer.json();
    if let Some(again) = again {
        let (status, body) = (again.status, again.json());
        let same = if answer.status == 402 { 402 } else { 200 };
        assert_eq!((status, &body["decision"]), (same, &decision["decision"]), "the same id, the same answer: {body}");
    }
    if answer.status == 402 {
        assert_eq!(
            (&decision["code"], &decision["retryable"]),
            (&json!("budget_exceeded"), &json!(false)),
            "{decision}"
        );
        within(&decision["budget"]);
        let after = amount(&decision["spentUsd"]) + amount(&decision["heldUsd"]) + usd(estimate);
        assert!(after > LIMIT_USD.parse().unwrap(), "there was room: {decision}");
        return ("denied", Decimal::ZERO);
    }
    assert!(matches!(answer.status, 200 | 201), "{}: {decision}", answer.status);
    decision["budgets"].as_array().expect("its budgets").iter().for_each(within);
    finish(door, id, end, estimate, chance)
}

fn finish(door: &Door, id: &str, end: End, estimate: u64, chance: &mut Chance) -> (&'static str, Decimal) {
    let path = |verb: &str| format!("/v1/reservations/{id}/{verb}");
    let mut event = model_call(&format!("{id}-call"), RUN);
    let (answer, again, cost) = match end {
        End::Abandoned => return ("expired", Decimal::ZERO),
        End::Released => {
            let (answer, again) = door.insist(&path("release"), &json!({}), chance);
            let states = [Some(answer), again].into_iter().flatten().map(|answer| answer.expect(200).json());
            assert!(states.into_iter().all(|answer| answer["state"] == "released"), "{id}");
            return ("released", Decimal::ZERO);
        }
        End::Stated => {
            let cost = usd(chance.below(estimate + 1));
            let (answer, again) = door.insist(&path("settle"), &json!({ "cost_usd": cost.to_string() }), chance);
            (answer, again, cost)
        }
        // The other two cost what the call costs, which is below every estimate.
        End::Event => {
            let (answer, again) = door.insist(&path("settle"), &json!({ "event": event }), chance);
            (answer, again, CALL_USD.parse().unwrap())
        }
        End::Usage => {
            event["reservation"] = json!(id);
            event["final"] = json!(true);
            let (answer, again) = door.insist("/v1/usage", &event, chance);
            (answer, again, CALL_USD.parse().unwrap())
        }
    };
    for answer in [Some(answer), again].into_iter().flatten() {
        let answer = answer.expect(200).json();
        let result = answer["results"].as_array().map_or(&answer, |results| &results[0]);
        assert!(result["status"] == "accepted" || result["status"] == "duplicate", "{id}: {answer}");
        assert_eq!(result["flags"].as_array().map_or(0, Vec::len), 0, "in time: {answer}");
    }
    ("settled", cost)
}

/// Reads what is spent and held, over and over, until told to stop; how often.
fn watch(door: &Door, over: &AtomicBool) -> u32 {
    let path = format!("/v1/namespaces/{NS}/executions/{RUN}");
    let (mut times, mut spent) = (0, Decimal::ZERO);
    while !over.load(Ordering::Relaxed) {
        let allowance = door.ask("GET", &format!("{path}/allowance"), None).expect(200).json();
        let budgets = allowance["budgets"].as_array().expect("its budgets");
        assert_eq!(budgets.len(), 1, "{allowance}");
        within(&budgets[0]);
        let now = amount(&budgets[0]["spentUsd"]);
        assert!(now >= spent, "what was spent went from {spent} to {now}");
        spent = now;
        let shown = door.ask("GET", &path, None).expect(200).text();
        assert!(literal(&shown, "costUsd").parse::<Decimal>().unwrap() <= LIMIT_USD.parse().unwrap(), "{shown}");
        times += 1;
    }
    times
}

/// Every reservation of the run: its state and what was spent on it.
fn reservations(daemon: &Daemon) -> BTreeMap<String, (String, Decimal)> {
    let mut all = BTreeMap::new();
    let mut next = String::new();
    loop {
        let path = format!("/v1/reservations?namespace={NS}&execution={RUN}&limit=300{next}");
        let page = daemon.get(&path).expect(200).json();
        for item in page["items"].as_array().expect("items") {
            let id = item["id"].as_str().expect("an id").to_owned();
            let state = item["state"].as_str().expect("a state").to_owned();
            let before = all.insert(id, (state, amount(&item["spentUsd"])));
            assert_eq!(before, None, "listed twice: {item}");
        }
        match page["continue"].as_str() {
            Some(at) => next = format!("&continue={at}"),
            None => return all,
        }
    }
}

fn audit(daemon: &Daemon, known: &Known) {
    let found = reservations(daemon);
    let expected: BTreeMap<String, (String, Decimal)> =
        known.iter().map(|(id, (state, cost))| (id.clone(), ((*state).to_owned(), *cost))).collect();
    let wrong: Vec<_> = expected.iter().filter(|(id, what)| found.get(*id) != Some(what)).collect();
    assert!(wrong.is_empty() && found.len() == expected.len(), "{} for {}: {wrong:?}", found.len(), expected.len());
    let total: Decimal = known.values().map(|(_, cost)| cost).sum();
    let entries = daemon.entries(NS, RUN);
    let booked: Decimal = entries.iter().map(|entry| amount(&entry["cost_usd"])).sum();
    assert_eq!(booked, total, "the ledger's sum is what the callers settled");
    let shown = daemon.get(&format!("/v1/namespaces/{NS}/executions/{RUN}")).expect(200).text();
    assert_eq!(literal(&shown, "costUsd").parse::<Decimal>().unwrap(), total);
    let allowance = daemon.get(&format!("/v1/namespaces/{NS}/executions/{RUN}/allowance")).expect(200).json();
    let budget = &allowance["budgets"][0];
    assert_eq!((amount(&budget["spentUsd"]), amount(&budget["heldUsd"])), (total, Decimal::ZERO), "{allowance}");
}

/// I3, I4, I6, I15 together, from outside.
#[test]
fn two_hundred_callers_never_leak_a_cent() {
    let mut daemon = Daemon::start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         limits: {{ perRunUsd: {LIMIT_USD} }}\n  enforcement: {{ onHardLimit: deny }}\n"
    ));
    daemon.put(&format!("/v1/namespaces/{NS}/executions/{RUN}"), &json!({})).expect(200);
    let door = Door { at: Mutex::default(), moved: Condvar::new() };
    door.open(daemon.api());
    let (known, done, over) = (Mutex::new(Known::new()), AtomicU32::new(0), AtomicBool::new(false));
    let looks = thread::scope(|scope| {
        let watchers: Vec<_> = (0..2).map(|_| scope.spawn(|| watch(&door, &over))).collect();
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (door, known, done) = (&door, &known, &done);
                scope.spawn(move || {
                    let mut chance = Chance(SEED ^ u64::from(caller).wrapping_mul(0x1000_0001));
                    for number in 0..CALLS {
                        let id = format!("c{caller}-{number}");
                        let ended = call(door, &id, &mut chance);
                        known.lock().unwrap().insert(id, ended);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for at in KILLS {
            until("calls", SOON * 3, || (done.load(Ordering::Relaxed) >= at).then_some(()));
            daemon.kill();
            daemon.start_again();
            door.open(daemon.api());
        }
        let ended: Vec<_> = callers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        let looks: u32 = watchers.into_iter().map(|watcher| watcher.join().expect("nothing leaked")).sum();
        assert!(ended.iter().all(Result::is_ok), "a caller saw something that must not be");
        looks
    });
    assert!(looks > 10, "what is spent and held was looked at {looks} times");
    let known = known.into_inner().unwrap();
    for state in ["settled", "released", "expired", "denied"] {
        assert!(known.values().any(|(known, _)| *known == state), "nothing was {state}: other chances are needed");
    }
    until("the end of what nobody ended", SOON, || {
        let held = daemon.get(&format!("/v1/reservations?state=held&execution={RUN}")).expect(200).json();
        held["items"].as_array().expect("items").is_empty().then_some(())
    });
    audit(&daemon, &known);
    daemon.kill();
    daemon.start_again();
    audit(&daemon, &known);
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}
