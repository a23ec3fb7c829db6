//! One truth in the shape of every API, with what real responses vary: fields that are null, zero or left out, unknown ones,
//! other spellings, streams, tiers, batches. Whatever the shape, the cost is the truth's.
//!
//! Seeded: the same bodies each time. The encoders here say what each API's numbers include; the decoders are not asked.

mod chat;
mod others;

use serde_json::{Map, Value, json};

use super::truth::{Truth, table};
use super::*;

/// Bodies of each shape.
const ROUNDS: u64 = 400;
const PROVIDERS: &[&str] = &[
    "openai",
    "azure",
    "groq",
    "mistral",
    "openrouter",
    "databricks",
    "x-ai",
    "perplexity",
    "deepseek",
    "anthropic",
    "aws",
    "google",
    "cohere",
    "voyageai",
];

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// A truth of these leaves: now small, now long, now exactly at the tier's bound.
fn truth(dice: &mut Dice, provider: &str, leaves: &[&'static str], more: &[&'static str]) -> Truth {
    let mut truth = Truth { gte: provider == "x-ai", ..Truth::default() };
    for leaf in leaves.iter().copied() {
        let count = match dice.below(6) {
            0 => 0,
            1 => dice.below(10),
            2 => dice.below(400_000),
            _ => dice.below(20_000),
        };
        truth.leaves.insert(leaf, count);
    }
    for leaf in more.iter().copied() {
        if dice.one_in(3) {
            truth.leaves.insert(leaf, dice.below(9));
        }
    }
    let long = truth.prompt();
    let first = leaves.iter().copied().find(|leaf| truth.get(leaf) > 0);
    if let Some(first) = first.filter(|_| dice.one_in(8) && long < super::truth::TIER) {
        *truth.leaves.entry(first).or_default() += super::truth::TIER - long;
    }
    truth
}

/// A number as clients print it.
fn number(dice: &mut Dice, count: u64) -> Value {
    match dice.below(24) {
        0 => json!(count.to_string()),
        1 => serde_json::from_str(&format!("{count}.0")).unwrap(),
        _ => json!(count),
    }
}

/// Sets what stands at a dotted path. A zero may be null, or not there at all.
fn put(dice: &mut Dice, object: &mut Value, path: &str, count: u64) {
    if count == 0 && dice.one_in(3) {
        return;
    }
    let value = if count == 0 && dice.one_in(3) { Value::Null } else { number(dice, count) };
    always(object, path, value);
}

fn always(object: &mut Value, path: &str, value: Value) {
    let slot = path.split('.').fold(object, |at, key| &mut at[key]);
    *slot = value;
}

/// Fields that nobody knows yet, in every object; `camel` spelt in the other way.
fn noise(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(|value| noise(dice, value));
            if dice.one_in(6) {
                let unknown = [json!(7), json!("x"), Value::Null, json!({"tokens": 5}), json!([1, {"n": 2}])];
                map.insert(format!("x_future_{}", dice.below(5)), unknown[dice.below(5) as usize].clone());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|value| noise(dice, value)),
        _ => {}
    }
}

/// `promptTokenCount` → `prompt_token_count`, as Python's clients dump it.
fn snake(value: &Value) -> Value {
    let spelt = |key: &String| {
        let step = |mut text: String, sign: char| {
            if sign.is_ascii_uppercase() {
                text.push('_');
            }
            text.push(sign.to_ascii_lowercase());
            text
        };
        key.chars().fold(String::new(), step)
    };
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (spelt(key), snake(value))).collect::<Map<_, _>>().into(),
        Value::Array(items) => items.iter().map(snake).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// One body: as the client kept it, or the events of its stream in a list or as text.
fn streamed(dice: &mut Dice, events: Vec<Value>) -> Value {
    if dice.one_in(2) {
        return events.into();
    }
    let data = |event: &Value| {
        let name = event["type"].as_str().map(|kind| format!("event: {kind}\n")).unwrap_or_default();
        format!("{name}data: {event}\n\n")
    };
    let text: String = events.iter().map(data).collect();
    json!(text + "data: [DONE]\n\n")
}

fn priced_as(book: &PriceBook, provider: &str, api: &str, model: &str, body: &Value, truth: &Truth) {
    let line = json!({"id": "t", "provider": provider, "api": api, "model": model, "body": body,
        "timestamp": "2026-11-18T12:00:00Z"});
    let found = answer_of(book, &line.to_string());
    let text = found["total_usd"].as_str().or(found["cost_usd"].as_str());
    let cost = text.and_then(|cost| cost.parse::<Money>().ok()).map(Money::scaled);
    assert_eq!(cost, Some(truth.cost()), "\n{truth:?}\n{line}\n{found}");
}

/// Runs one shape through its rounds.
fn check_shape(seed: u64, encode: impl Fn(&mut Dice) -> (&'static str, &'static str, &'static str, Value, Truth)) {
    let (tables, _) =
        pricing::PriceTable::parse(&table(PROVIDERS, &["x-ai"])).unwrap_or_else(|found| panic!("{found:?}"));
    let book = PriceBook::new(tables.into_iter().map(std::sync::Arc::new).collect());
    for round in 0..ROUNDS {
        let mut dice = Dice(seed << 32 | round);
        let (provider, api, model, mut body, truth) = encode(&mut dice);
        if !body.is_string() {
            noise(&mut dice, &mut body);
        }
        priced_as(&book, provider, api, model, &body, &truth);
    }
}

const CHAT_IN: &[&str] = &["input_tokens", "cache_read_tokens"];
const OUT: &[&str] = &["output_tokens", "output_reasoning_tokens"];

fn all(parts: &[&[&'static str]]) -> Vec<&'static str> {
    parts.concat()
}

/// A tier that was served, where the API says it in words of its own.
fn tier(dice: &mut Dice, truth: &mut Truth, words: &[(&'static str, Option<&'static str>)]) -> Option<&'static str> {
    let (word, means) = dice.pick(words);
    truth.served.extend(means.map(|tier| ("service_tier", tier)));
    Some(word).filter(|word| !word.is_empty())
}
