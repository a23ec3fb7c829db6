//! A peer outside, reached over a network that loses requests and answers; it remembers what the machine forgets.
//!
//! It knows deliveries by their bounds, as ClickHouse does by its tokens: the same bounds again have no effect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use budget::Entry;
use meterd::follow::{Deliver, Delivery, Failed};

use crate::prng::Prng;
use crate::tally::Tally;

/// What the network does with the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fine,
    /// Requests, or answers, are lost now and then.
    Rough,
    /// Nothing comes through.
    Down,
}

/// A peer; clones are the same one.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    prng: Prng,
    weather: Weather,
    tally: Tally,
    /// Effects by their first entry: the last one, and what they were.
    taken: BTreeMap<u64, (u64, Vec<Entry>)>,
    wrong: Option<String>,
}

impl Peer {
    pub fn new(prng: Prng) -> Self {
        let (taken, tally) = (BTreeMap::new(), Tally::default());
        Self(Arc::new(Mutex::new(Inner { prng, weather: Weather::Fine, tally, taken, wrong: None })))
    }

    pub fn set(&self, weather: Weather) {
        self.0.lock().unwrap().weather = weather;
    }

    pub fn tally(&self) -> Tally {
        self.0.lock().unwrap().tally.clone()
    }

    /// What it has had an effect of, in order; an error where something was doubled, left out or changed.
    pub fn effects(&self) -> Result<Vec<Entry>, String> {
        let inner = self.0.lock().unwrap();
        if let Some(wrong) = &inner.wrong {
            return Err(wrong.clone());
        }
        Ok(inner.taken.values().flat_map(|(_, entries)| entries).cloned().collect())
    }
}

impl Inner {
    fn take(&mut self, delivery: &Delivery) {
        let entries: Vec<Entry> = delivery.entries().cloned().collect();
        let (from, to) = (delivery.from, delivery.to);
        if let Some((end, same)) = self.taken.get(&from) {
            self.tally.count("network: delivered again");
            if (*end, same) != (to, &entries) {
                let wrong =
                    format!("entries {from} to {end} were delivered again as {from} to {to}, or with other content");
                self.wrong.get_or_insert(wrong);
            }
            return;
        }
        let next = self.taken.last_key_value().map_or(1, |(_, (last, _))| last + 1);
        if from != next || !entries.iter().map(|entry| entry.seq).eq(from..=to) {
            self.wrong.get_or_insert(format!("entries {from} to {to} were delivered where {next} comes next"));
        }
        self.taken.insert(from, (to, entries));
    }
}

impl Deliver for Peer {
    async fn deliver(&mut self, delivery: &Delivery) -> Result<(), Failed> {
        let mut inner = self.0.lock().unwrap();
        inner.tally.count("network: deliveries");
        let rough = inner.weather == Weather::Rough;
        if inner.weather == Weather::Down || (rough && inner.prng.permille(300)) {
            inner.tally.count("fault: request lost");
            return Err(Failed::now("no answer"));
        }
        inner.take(delivery);
        if rough && inner.prng.permille(400) {
            inner.tally.count("fault: answer lost after its effect");
            return Err(Failed::now("no answer in time"));
        }
        Ok(())
    }
}
