//! By what the turns on a resource are given.
//!
//! All strategies are one queue (see `share`) and differ in what a grant moves its owner's virtual time on by: the amount
//! times the time held, one turn, or a random step. For the latter, a step drawn from the exponential distribution makes
//! every choice a lot among those who wait, by their weights, since that distribution has no memory (the sequential form of
//! Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).

use symphony_pit::named;

named! { Strategy {
    /// By priority with ageing, then by fair share.
    Priority = "priority",
    /// The owners in turn; priorities do not count.
    RoundRobin = "round_robin",
    /// In the order of priority, but everyone who waits gets an equal part of what is free.
    Collaborative = "collaborative",
    /// By lot, with the weights of the owners; priorities do not count.
    WeightedRandom = "weighted_random",
}}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Policy {
    pub strategy: Strategy,
    /// What waiting adds to a priority, per second.
    pub ageing_rate: f64,
    pub seed: u64,
    /// The least part that `Collaborative` gives.
    pub minimum: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { strategy: Strategy::Priority, ageing_rate: 1.0, seed: 0, minimum: 1.0 }
    }
}

impl Policy {
    pub const fn minds_priority(&self) -> bool {
        matches!(self.strategy, Strategy::Priority | Strategy::Collaborative)
    }

    /// A step of mean 1 for the decision of this number. Decisions are recorded, so that the row of numbers goes on after a
    /// restart where it was.
    pub fn draw(&self, number: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = ((split_mix(self.seed, number) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -uniform.ln()
    }
}

/// The `number`th output of `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
const fn split_mix(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        assert_eq!([split_mix(0, 0), split_mix(0, 1)], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn steps_have_mean_one() {
        let policy = Policy { seed: 7, ..Policy::default() };
        let mean = (0..10_000).map(|number| policy.draw(number)).sum::<f64>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
    }
}
