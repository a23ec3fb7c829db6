//! `quantity × rate × multiplier × fx ÷ per` as a count of 10⁻¹⁸ USD: every digit kept until the one rounding at the end.
//!
//! Almost every call fits 128 bits; what does not takes 512, which hold any four decimals.

use rust_decimal::Decimal;

use crate::money::{Money, SCALE};

/// How the part below 10⁻¹⁸ USD is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To the nearer neighbour, ties to the even one: what is booked.
    HalfEven,
    /// Up: what is reserved.
    Up,
}

/// What a line's amount is the product of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    pub(crate) quantity: Decimal,
    /// In the table's currency, per block.
    pub(crate) rate: Decimal,
    /// Of the adjustments.
    pub(crate) multiplier: Option<Decimal>,
    /// US dollars for one unit of the table's currency.
    pub(crate) fx: Option<Decimal>,
}

/// One line's amount; `None` if a factor is negative, `per` is zero, or 38 digits cannot hold the amount.
pub(crate) fn amount(of: &Factors, per: u32, rounding: Rounding) -> Option<Money> {
    let multiplier = of.multiplier.unwrap_or(Decimal::ONE);
    let fx = of.fx.unwrap_or(Decimal::ONE);
    let factors = [mantissa(of.quantity)?, mantissa(of.rate)?, mantissa(multiplier)?, mantissa(fx)?];
    if factors.contains(&0) {
        return Some(Money::ZERO);
    }
    let places =
        [of.quantity, of.rate, multiplier, fx].iter().try_fold(0u32, |sum, part| sum.checked_add(part.scale()))?;
    // A block that is a power of ten only moves the point.
    let tens = per.checked_ilog10()?;
    let (places, per) = if 10u32.checked_pow(tens)? == per { (places.checked_add(tens)?, 1) } else { (places, per) };
    let (shift, drop) = (SCALE.saturating_sub(places), places.saturating_sub(SCALE));
    let scaled = match narrow(factors, shift, drop, per) {
        Some((product, divisor)) => divide(product, divisor, rounding)?,
        None => wide(factors, shift, drop, u64::from(per), rounding)?,
    };
    Money::from_scaled(i128::try_from(scaled).ok()?)
}

/// A rate as the count of 10⁻¹⁸ USD that one unit costs; `None` if that is no whole number of 64 bits.
pub(crate) fn unit_scaled(rate: Decimal, per: u32) -> Option<u64> {
    let numerator = mantissa(rate)?.checked_mul(10u128.checked_pow(SCALE.checked_sub(rate.scale())?)?)?;
    let (quotient, rest) = (numerator.checked_div(u128::from(per))?, numerator.checked_rem(u128::from(per))?);
    if rest == 0 { u64::try_from(quotient).ok() } else { None }
}

/// The amount of a whole quantity at such a rate: exact, so there is nothing to round.
pub(crate) fn whole_amount(quantity: u64, unit_scaled: u64) -> Option<Money> {
    let product = u128::from(quantity).checked_mul(u128::from(unit_scaled))?;
    Money::from_scaled(i128::try_from(product).ok()?)
}

fn mantissa(decimal: Decimal) -> Option<u128> {
    u128::try_from(decimal.mantissa()).ok()
}

/// Dividend and divisor, where 128 bits hold both.
fn narrow(factors: [u128; 4], shift: u32, drop: u32, per: u32) -> Option<(u128, u128)> {
    let product = factors.into_iter().try_fold(10u128.checked_pow(shift)?, u128::checked_mul)?;
    Some((product, 10u128.checked_pow(drop)?.checked_mul(u128::from(per))?))
}

fn divide(product: u128, divisor: u128, rounding: Rounding) -> Option<u128> {
    if divisor == 1 {
        return Some(product);
    }
    let quotient = product.checked_div(divisor)?;
    let rest = product.checked_sub(quotient.checked_mul(divisor)?)?;
    let to_next = divisor.checked_sub(rest)?;
    let up = match rounding {
        Rounding::Up => rest > 0,
        Rounding::HalfEven => rest > to_next || (rest == to_next && quotient & 1 == 1),
    };
    if up { quotient.checked_add(1) } else { Some(quotient) }
}

fn wide(factors: [u128; 4], shift: u32, drop: u32, per: u64, rounding: Rounding) -> Option<u128> {
    let mut number = Wide::ONE;
    for factor in factors {
        number = number.times(factor)?;
    }
    // Twice the number, so that the quotient's last bit is the half that decides the rounding.
    number = number.times(10u128.checked_pow(shift)?)?.times(2)?;
    let mut inexact = number.divide(per)? > 0;
    let mut drop = drop;
    while drop > 0 {
        let step = drop.min(19);
        inexact |= number.divide(10u64.checked_pow(step)?)? > 0;
        drop = drop.checked_sub(step)?;
    }
    let twice = number.low()?;
    let (quotient, half) = (twice >> 1, twice & 1 == 1);
    let up = match rounding {
        Rounding::Up => half || inexact,
        Rounding::HalfEven => half && (inexact || quotient & 1 == 1),
    };
    if up { quotient.checked_add(1) } else { Some(quotient) }
}

/// An unsigned integer of 512 bits, the lowest limb first.
#[derive(Clone, Copy)]
struct Wide([u64; 8]);

impl Wide {
    const ONE: Self = Self([1, 0, 0, 0, 0, 0, 0, 0]);

    fn times(self, factor: u128) -> Option<Self> {
        let (low, high) = split(factor);
        let mut sum = self.times_limb(low)?;
        if high > 0 {
            let [a, b, c, d, e, f, g, h] = self.times_limb(high)?.0;
            if h > 0 {
                return None;
            }
            sum = sum.plus(Self([0, a, b, c, d, e, f, g]))?;
        }
        Some(sum)
    }

    fn times_limb(mut self, factor: u64) -> Option<Self> {
        let mut carry = 0u64;
        for limb in &mut self.0 {
            // (2⁶⁴ − 1)² + 2⁶⁴ − 1 < 2¹²⁸: neither step can wrap.
            let product = u128::from(*limb).wrapping_mul(u128::from(factor)).wrapping_add(u128::from(carry));
            (*limb, carry) = split(product);
        }
        (carry == 0).then_some(self)
    }

    fn plus(mut self, other: Self) -> Option<Self> {
        let mut carry = 0u64;
        for (limb, addend) in self.0.iter_mut().zip(other.0) {
            // Three numbers below 2⁶⁴ cannot wrap 2¹²⁸.
            let sum = u128::from(*limb).wrapping_add(u128::from(addend)).wrapping_add(u128::from(carry));
            (*limb, carry) = split(sum);
        }
        (carry == 0).then_some(self)
    }

    /// Divides in place; the remainder.
    fn divide(&mut self, divisor: u64) -> Option<u64> {
        let mut rest = 0u64;
        for limb in self.0.iter_mut().rev() {
            let part = (u128::from(rest) << 64) | u128::from(*limb);
            *limb = u64::try_from(part.checked_div(u128::from(divisor))?).ok()?;
            rest = u64::try_from(part.checked_rem(u128::from(divisor))?).ok()?;
        }
        Some(rest)
    }

    /// The number, if it fits 128 bits.
    fn low(self) -> Option<u128> {
        match self.0 {
            [low, high, 0, 0, 0, 0, 0, 0] => Some((u128::from(high) << 64) | u128::from(low)),
            _ => None,
        }
    }
}

/// The low and the high half.
fn split(number: u128) -> (u64, u64) {
    let low = u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
    (low, u64::try_from(number >> 64).unwrap_or(0))
}
