//! Caps: which label values get series of their own, and which become `_other`.
//!
//! First come, and sticky: a series that comes and goes would break every `rate()` over it. Sums stay exact, because
//! only the one label value changes. Decided from the entries alone, so that a replay decides alike.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::series::{Symbol, Symbols};

/// How many label values and series there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Series of one family.
    pub series_max: usize,
    /// Agents, counted with their namespace.
    pub agents_max: usize,
    /// Models of one provider.
    pub models_per_provider_max: usize,
    /// Tools.
    pub tools_max: usize,
    /// Providers.
    pub providers_max: usize,
    /// Teams.
    pub teams_max: usize,
    /// Namespaces.
    pub namespaces_max: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            series_max: 10_000,
            agents_max: 500,
            models_per_provider_max: 200,
            tools_max: 200,
            providers_max: 32,
            teams_max: 500,
            namespaces_max: 500,
        }
    }
}

/// A label value after the caps; `over` says that it is `_other` because a cap was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) symbol: Symbol,
    pub(super) over: bool,
}

impl Value {
    /// A value that no cap turned away.
    pub(super) const fn of(symbol: Symbol) -> Self {
        Self { symbol, over: false }
    }

    /// `_other` for a reason that is not a cap.
    pub(super) const OTHER: Self = Self::of(Symbol::OTHER);
    const OVER: Self = Self { symbol: Symbol::OTHER, over: true };
}

/// Which values are in, each with the value that it belongs to (an agent's namespace, a model's provider).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Admission {
    namespaces: Admitted,
    teams: Admitted,
    agents: Admitted,
    providers: Admitted,
    models: Admitted,
    tools: Admitted,
}

/// Pairs of an owner and a value.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Admitted(BTreeSet<(Symbol, Symbol)>);

/// What a full cap counts.
enum Cap {
    All(usize),
    PerOwner(usize),
}

impl Admitted {
    fn known(&self, symbols: &Symbols, owner: Symbol, text: &str) -> Option<Value> {
        if text.is_empty() {
            return Some(Value::of(Symbol::EMPTY));
        }
        let symbol = symbols.find(text)?;
        (symbol == Symbol::OTHER || self.0.contains(&(owner, symbol))).then_some(Value::of(symbol))
    }

    fn admit(&mut self, symbols: &mut Symbols, owner: Symbol, text: &str, cap: &Cap) -> Value {
        if let Some(value) = self.known(symbols, owner, text) {
            return value;
        }
        let full = match cap {
            Cap::All(most) => self.0.len() >= *most,
            Cap::PerOwner(most) => {
                self.0.range((owner, Symbol::EMPTY)..).take_while(|(of, _)| *of == owner).count() >= *most
            }
        };
        if full {
            return Value::OVER;
        }
        let symbol = symbols.intern(text);
        self.0.insert((owner, symbol));
        Value::of(symbol)
    }
}

impl Admission {
    pub(super) fn namespace(&mut self, symbols: &mut Symbols, caps: &Caps, text: &str) -> Value {
        self.namespaces.admit(symbols, Symbol::EMPTY, text, &Cap::All(caps.namespaces_max))
    }

    pub(super) fn team(&mut self, symbols: &mut Symbols, caps: &Caps, text: &str) -> Value {
        self.teams.admit(symbols, Symbol::EMPTY, text, &Cap::All(caps.teams_max))
    }

    pub(super) fn agent(&mut self, symbols: &mut Symbols, caps: &Caps, namespace: Symbol, text: &str) -> Value {
        self.agents.admit(symbols, namespace, text, &Cap::All(caps.agents_max))
    }

    pub(super) fn tool(&mut self, symbols: &mut Symbols, caps: &Caps, text: &str) -> Value {
        self.tools.admit(symbols, Symbol::EMPTY, text, &Cap::All(caps.tools_max))
    }

    /// A provider; one that the price book may not know gets in only if it is in already.
    pub(super) fn provider(&mut self, symbols: &mut Symbols, caps: &Caps, text: &str, known: bool) -> Value {
        if known {
            self.providers.admit(symbols, Symbol::EMPTY, text, &Cap::All(caps.providers_max))
        } else {
            self.providers.known(symbols, Symbol::EMPTY, text).unwrap_or(Value::OTHER)
        }
    }

    /// A model; one that the price book may not know (a typo, a failed call) gets in only if it is in already.
    pub(super) fn model(
        &mut self,
        symbols: &mut Symbols,
        caps: &Caps,
        provider: Symbol,
        text: &str,
        known: bool,
    ) -> Value {
        if known {
            self.models.admit(symbols, provider, text, &Cap::PerOwner(caps.models_per_provider_max))
        } else {
            self.models.known(symbols, provider, text).unwrap_or(Value::OTHER)
        }
    }

    /// A namespace as its series are labelled now; admits nothing.
    pub(super) fn namespace_now(&self, symbols: &Symbols, text: &str) -> Symbol {
        self.namespaces.known(symbols, Symbol::EMPTY, text).unwrap_or(Value::OTHER).symbol
    }

    /// A team as its series are labelled now; admits nothing.
    pub(super) fn team_now(&self, symbols: &Symbols, text: &str) -> Symbol {
        self.teams.known(symbols, Symbol::EMPTY, text).unwrap_or(Value::OTHER).symbol
    }
}
