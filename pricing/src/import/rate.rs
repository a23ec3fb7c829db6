//! A price as other people's files write it → the exact decimal text that a price table holds. Never a binary float.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::decimal::AUTHORED_DECIMALS_MAX;

/// A decimal that a person wrote has fewer significant digits than this; a binary double printed in full has 16 or 17.
const AUTHORED_DIGITS_MAX: u32 = 15;

/// Why a text is not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotARate {
    #[error("not a decimal number")]
    NotADecimal,
    #[error("negative")]
    Negative,
    #[error("more digits than a decimal can hold exactly")]
    OutOfRange,
}

/// The exact rate behind a JSON number's text, in its shortest form: `0.250` → `0.25`, `5e-07` → `0.0000005`.
///
/// A number of more than 15 significant digits is a binary double printed in full (`0.18000000000000002`, or 1/12 as
/// `0.08333333333333334`): it is rounded, half up, to 15 significant digits, which every decimal of up to 15 digits
/// survives unchanged on its way through a double. So `0.18000000000000002` becomes the `0.18` that its author wrote,
/// and what does not terminate stays within 10⁻¹⁴ of itself.
pub(super) fn rate(text: &str) -> Result<Decimal, NotARate> {
    let exact = decimal(text)?;
    if exact.is_sign_negative() && !exact.is_zero() {
        return Err(NotARate::Negative);
    }
    shortened(exact).ok_or(NotARate::OutOfRange)
}

/// The price of one unit, for a block of them: again of at most 15 significant digits, so that 1/30000 of a dollar for a
/// second, which a double cannot say, is 0.12 for an hour.
pub(super) fn per_block(price: Decimal, block: u32) -> Option<Decimal> {
    shortened(price.checked_mul(Decimal::from(block))?).map(|rate| rate.round_dp(AUTHORED_DECIMALS_MAX).normalize())
}

fn shortened(exact: Decimal) -> Option<Decimal> {
    let rounded = exact.round_sf_with_strategy(AUTHORED_DIGITS_MAX, RoundingStrategy::MidpointAwayFromZero)?;
    Some(rounded.normalize())
}

/// `-?digits[.digits][e±digits]`, exactly.
fn decimal(text: &str) -> Result<Decimal, NotARate> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| NotARate::NotADecimal)?),
        None => (text, 0),
    };
    let digits = Decimal::from_str_exact(mantissa).map_err(|_| NotARate::NotADecimal)?.normalize();
    let scale = i32::try_from(digits.scale()).map_err(|_| NotARate::OutOfRange)?;
    let scale = scale.checked_sub(exponent).ok_or(NotARate::OutOfRange)?;
    let mut unscaled = digits;
    unscaled.set_scale(0).map_err(|_| NotARate::OutOfRange)?;
    match u32::try_from(scale) {
        Ok(places) => {
            unscaled.set_scale(places).map_err(|_| NotARate::OutOfRange)?;
            Ok(unscaled)
        }
        Err(_) => {
            let power = 10i64.checked_pow(scale.unsigned_abs()).ok_or(NotARate::OutOfRange)?;
            unscaled.checked_mul(Decimal::from(power)).ok_or(NotARate::OutOfRange)
        }
    }
}

#[cfg(test)]
mod tests;
