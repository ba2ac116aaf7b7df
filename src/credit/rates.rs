//! A price for each unit of work, and what an amount of work comes to (semantics.md section 3).

use std::fmt;
use std::str::FromStr;

use super::{Credits, Unit, Usage};

/// What each unit costs: for a million tokens or characters, for a second of sound, for a picture, a
/// search or a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    per: [Option<Credits>; Unit::ALL.len()],
    /// The least that a call costs for which anything is due.
    pub minimum: Credits,
    /// The most tokens of an answer for which credits are held, whatever the request allows.
    pub max_output_tokens: Option<u64>,
}

/// Tokens of an answer for which credits are held where neither the request nor the price says how many there may be.
const OUTPUT_TOKENS_HELD: u64 = 4_096;

/// The finest part of a term: all prices are for one, a thousand or a million of what is counted.
const PARTS: u64 = 1_000_000;

impl Rates {
    /// No price for anything, within these bounds.
    pub fn new(minimum: Credits, max_output_tokens: Option<u64>) -> Self {
        Self { minimum, max_output_tokens, ..Self::default() }
    }

    /// The same with a price for `unit`.
    pub fn with(mut self, unit: Unit, credits: Credits) -> Self {
        self.per[unit as usize] = Some(credits);
        self
    }

    /// The price that was given for `unit` itself.
    pub fn own(&self, unit: Unit) -> Option<Credits> {
        self.per[unit as usize]
    }

    /// The price by which `unit` is charged: its own, or that of the more general unit. Nothing without either.
    pub fn rate(&self, unit: Unit) -> Credits {
        let general = || unit.general().and_then(|general| self.own(general));
        self.own(unit).or_else(general).unwrap_or(Credits::ZERO)
    }

    /// Whether any kind of token has a price.
    pub fn price_tokens(&self) -> bool {
        let general = |unit: Unit| unit.general().unwrap_or(unit);
        let mut priced = Unit::ALL.into_iter().filter(|unit| self.own(*unit).is_some());
        priced.any(|unit| matches!(general(unit), Unit::Input | Unit::Output))
    }

    /// What `usage` costs: all terms summed, then rounded up once to a whole µ; at least the minimum and at most
    /// [`Credits::MAX`].
    pub fn price(&self, usage: &Usage) -> Credits {
        let terms = usage.amounts().map(|(unit, amount)| {
            let rate = u128::from(self.rate(unit).micros());
            let parts = u128::from(PARTS / unit.counted_for_one());
            u128::from(amount).saturating_mul(rate).saturating_mul(parts)
        });
        let sum = terms.fold(0_u128, u128::saturating_add);
        let micros = u64::try_from(sum.div_ceil(u128::from(PARTS))).ok();
        micros.and_then(Credits::from_micros).unwrap_or(Credits::MAX).max(self.minimum)
    }

    /// The tokens of an answer for which credits are held, of which the request allows `asked`.
    pub fn output_held(&self, asked: Option<u64>) -> u64 {
        match (asked, self.max_output_tokens) {
            (Some(asked), Some(most)) => asked.min(most),
            (Some(tokens), None) | (None, Some(tokens)) => tokens,
            (None, None) => OUTPUT_TOKENS_HELD,
        }
    }

    /// The dearer of the two units that a model's words may count as: which of them it will be is not known before.
    pub fn dearer_output(&self) -> Unit {
        if self.rate(Unit::Reasoning) > self.rate(Unit::Output) {
            Unit::Reasoning
        } else {
            Unit::Output
        }
    }
}

/// A text that tells no rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rates are written as `input=1250000,output=10000000,minimum=500`")]
pub struct BadRates;

/// `input=1250000,output=10000000,minimum=500`, in µ. What is held for is not told: it is known by then.
impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for unit in Unit::ALL {
            if let Some(own) = self.own(unit) {
                write!(f, "{}={},", unit.as_str(), own.micros())?;
            }
        }
        write!(f, "minimum={}", self.minimum.micros())
    }
}

impl FromStr for Rates {
    type Err = BadRates;

    fn from_str(text: &str) -> Result<Self, BadRates> {
        let mut rates = Self::default();
        for term in text.split(',') {
            let (unit, micros) = term.split_once('=').ok_or(BadRates)?;
            let credits = micros.parse().ok().and_then(Credits::from_micros).ok_or(BadRates)?;
            if unit == "minimum" {
                rates.minimum = credits;
            } else {
                let unit = Unit::ALL.into_iter().find(|it| it.as_str() == unit).ok_or(BadRates)?;
                rates = rates.with(unit, credits);
            }
        }
        Ok(rates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    /// 1.25, a tenth of it cached, 10 for the answer.
    fn model() -> Rates {
        Rates::default()
            .with(Unit::Input, credits("1.25"))
            .with(Unit::CachedInput, credits("0.125"))
            .with(Unit::Output, credits("10"))
    }

    #[track_caller]
    fn check(rates: &Rates, amounts: &[(Unit, u64)], expected: &str) {
        let usage = amounts.iter().fold(Usage::NOTHING, |usage, (unit, n)| usage.with(*unit, *n));
        assert_eq!(rates.price(&usage).to_string(), expected, "{usage}");
    }

    #[test]
    fn rates_are_written_and_read_again() {
        let model = Rates { minimum: credits("0.0005"), ..model() };
        assert_eq!(model.to_string().parse(), Ok(model));
        assert_eq!("input=1".parse::<Rates>().map(|rates| rates.minimum), Ok(Credits::ZERO));
        for text in ["", "inputs=1", "input", "input=-1"] {
            assert_eq!(text.parse::<Rates>(), Err(BadRates), "{text}");
        }
    }

    #[test]
    fn examples_computed_by_hand() {
        let model = model();
        check(&model, &[], "0");
        check(&model, &[(Unit::Input, 1_000_000)], "1.25");
        // 1.25 + 0.125 + 10 µ = 11.375 µ, rounded up once.
        check(&model, &[(Unit::Input, 1), (Unit::CachedInput, 1), (Unit::Output, 1)], "0.000012");
        // 1000 × 1.25 + 200 × 0.125 + 50 × 10 µ
        let call = [(Unit::Input, 1000), (Unit::CachedInput, 200), (Unit::Output, 50)];
        check(&model, &call, "0.001775");
        // What has no price of its own is charged as what it is a part of.
        check(&model, &[(Unit::CacheWrites, 8), (Unit::Reasoning, 2)], "0.00003");
        // Seconds are counted in thousandths, pictures are not divided.
        let media = Rates::default()
            .with(Unit::AudioSecond, credits("0.0001"))
            .with(Unit::Image, credits("0.04"))
            .with(Unit::Characters, credits("15"))
            .with(Unit::Search, credits("0.01"))
            .with(Unit::Page, credits("0.002"));
        check(&media, &[(Unit::AudioSecond, 12_500)], "0.00125");
        check(&media, &[(Unit::Image, 3)], "0.12");
        check(&media, &[(Unit::Characters, 1)], "0.000015");
        check(&media, &[(Unit::Search, 2), (Unit::Page, 29)], "0.078");
        check(&media, &[(Unit::Input, 1_000_000)], "0");
    }

    #[test]
    fn a_minimum_is_the_least() {
        let rates = Rates { minimum: credits("0.01"), ..model() };
        check(&rates, &[], "0.01");
        check(&rates, &[(Unit::Output, 1)], "0.01");
        check(&rates, &[(Unit::Output, 1_001)], "0.01001");
    }

    #[test]
    fn what_is_held_for_an_answer_is_never_more_than_the_request_allows() {
        let capped = Rates { max_output_tokens: Some(100), ..model() };
        for (asked, free, held) in
            [(None, OUTPUT_TOKENS_HELD, 100), (Some(7), 7, 7), (Some(9_000), 9_000, 100)]
        {
            assert_eq!((model().output_held(asked), capped.output_held(asked)), (free, held));
        }
        assert_eq!(model().dearer_output(), Unit::Output);
        let thinker = model().with(Unit::Reasoning, credits("10.000001"));
        assert_eq!(thinker.dearer_output(), Unit::Reasoning);
    }

    #[test]
    fn the_most_that_can_be_counted_is_the_most_that_can_be_charged() {
        let (mut rates, mut usage) = (Rates::default(), Usage::NOTHING);
        for unit in Unit::ALL {
            rates = rates.with(unit, Credits::MAX);
            usage = usage.with(unit, u64::MAX).with(unit, 1);
        }
        assert_eq!(rates.price(&usage), Credits::MAX);
    }

    fn any_rates() -> impl Strategy<Value = Rates> {
        let rate = proptest::option::of(prop_oneof![0..5_000_u64, 0..=Credits::MAX.micros()]);
        let rates = proptest::collection::vec(rate, Unit::ALL.len());
        (rates, 0..2_000_000_u64).prop_map(|(given, minimum)| {
            let mut rates =
                Rates { minimum: Credits::from_micros(minimum).unwrap(), ..Rates::default() };
            for (unit, micros) in Unit::ALL.into_iter().zip(given) {
                rates.per[unit as usize] = micros.and_then(Credits::from_micros);
            }
            rates
        })
    }

    fn any_usage() -> impl Strategy<Value = Usage> {
        let amount = prop_oneof![0..100_000_u64, any::<u64>()];
        proptest::collection::vec(amount, Unit::ALL.len()).prop_map(|amounts| {
            let amounts = Unit::ALL.into_iter().zip(amounts);
            amounts.fold(Usage::NOTHING, |usage, (unit, amount)| usage.with(unit, amount))
        })
    }

    proptest! {
        #[test]
        fn more_work_never_costs_less(
            rates in any_rates(), usage in any_usage(), unit in 0..Unit::ALL.len(), more: u64,
        ) {
            let grown = usage.with(Unit::ALL[unit], more);
            prop_assert!(rates.price(&grown) >= rates.price(&usage));
        }

        /// The exact sum, in millionths of µ, is compared without any division.
        #[test]
        fn a_price_is_the_sum_rounded_up_once(rates in any_rates(), usage in any_usage()) {
            let mut exact = 0_u128;
            for (unit, amount) in usage.amounts() {
                let rate = rates.own(unit).or(unit.general().and_then(|of| rates.own(of)));
                let rate = u128::from(rate.map_or(0, Credits::micros));
                let scale = match unit {
                    Unit::Image | Unit::Search | Unit::Page => 1_000_000,
                    Unit::AudioSecond => 1_000,
                    _ => 1,
                };
                exact = exact.saturating_add(u128::from(amount).saturating_mul(rate * scale));
            }
            let price = rates.price(&usage);
            let charged = u128::from(price.micros()) * 1_000_000;
            prop_assert!(charged >= exact || price == Credits::MAX);
            prop_assert!(price == rates.minimum || charged < exact.saturating_add(1_000_000));
        }
    }
}
