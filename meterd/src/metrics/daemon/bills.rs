//! Metered cost beside providers' bills. Providers are named by the bills, so the `prometheus` crate does not keep them;
//! their number is bounded, and money stays exact.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use pricing::{Money, Timestamp};

use super::DaemonMetrics;
use crate::metrics::catalog::{Family, RECONCILE_ADJUSTED, RECONCILE_AT, RECONCILE_CAPTURED, RECONCILE_DRIFT};
use crate::metrics::text::Writer;

/// Most providers with series; the rest is left out of the exposition, not out of the comparison.
const PROVIDERS_MAX: usize = 64;
const NANOS: u32 = 9;
const PARTS_PER_MILLION: u32 = 6;

/// One comparison of a provider's bill with what was metered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// When it was made.
    pub at: Timestamp,
    /// What the provider billed for the window.
    pub billed: Money,
    /// What was metered for it.
    pub metered: Money,
}

/// Which way a correction goes: the label `direction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// Cost was added.
    Up,
    /// Cost was taken back.
    Down,
}

#[derive(Debug, Default)]
pub(super) struct Bills(BTreeMap<String, Bill>);

#[derive(Debug, Default)]
struct Bill {
    newest: Option<Reconciled>,
    /// Corrections so far, up and down, in 10⁻¹⁸ USD.
    corrected: [i128; 2],
}

impl DaemonMetrics {
    /// A bill of this provider was compared with what was metered.
    pub fn reconciled(&self, provider: &str, comparison: Reconciled) {
        self.bills(|bills| {
            if let Some(bill) = bills.of(provider) {
                bill.newest = Some(comparison);
            }
        });
    }

    /// A correction of this size was booked.
    pub fn corrected(&self, provider: &str, direction: Correction, size: Money) {
        self.bills(|bills| {
            let place = usize::from(direction == Correction::Down);
            if let Some(sum) = bills.of(provider).and_then(|bill| bill.corrected.get_mut(place)) {
                *sum = sum.saturating_add(size.scaled().max(0));
            }
        });
    }

    pub(super) fn bills<T>(&self, change: impl FnOnce(&mut Bills) -> T) -> T {
        change(&mut self.0.bills.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bills {
    fn of(&mut self, provider: &str) -> Option<&mut Bill> {
        if self.0.len() >= PROVIDERS_MAX && !self.0.contains_key(provider) {
            return None;
        }
        Some(self.0.entry(provider.to_owned()).or_default())
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        self.gauge(&RECONCILE_AT, NANOS, |bill| Some(i128::from(bill.at.nanos())), writer);
        self.gauge(&RECONCILE_CAPTURED, PARTS_PER_MILLION, captured, writer);
        let drift = |bill: &Reconciled| bill.billed.scaled().checked_sub(bill.metered.scaled());
        self.gauge(&RECONCILE_DRIFT, pricing::money::SCALE, drift, writer);
        writer.family(&RECONCILE_ADJUSTED);
        for (provider, bill) in &self.0 {
            for (direction, sum) in ["up", "down"].into_iter().zip(bill.corrected) {
                let sample = writer.sample(&RECONCILE_ADJUSTED, "").label("provider", provider);
                sample.label("direction", direction).decimal(sum, pricing::money::SCALE);
            }
        }
    }

    fn gauge(&self, family: &Family, scale: u32, value: impl Fn(&Reconciled) -> Option<i128>, writer: &mut Writer) {
        writer.family(family);
        for (provider, bill) in &self.0 {
            if let Some(value) = bill.newest.as_ref().and_then(&value) {
                writer.sample(family, "").label("provider", provider).decimal(value, scale);
            }
        }
    }
}

/// Metered over billed in parts per million; nothing while nothing is billed.
fn captured(bill: &Reconciled) -> Option<i128> {
    let (metered, billed) = (bill.metered.scaled(), bill.billed.scaled());
    // Both in millionths of a dollar: the product fits, and the share is no finer than that anyway.
    const MICRO_USD: i128 = 1_000_000_000_000;
    (metered / MICRO_USD).checked_mul(1_000_000)?.checked_div(billed / MICRO_USD)
}
