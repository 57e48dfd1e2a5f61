//! Random choices that a seed repeats (splitmix64).

use std::time::Duration;

#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    /// Another row of choices for every round of a seed.
    pub fn new(seed: u64, round: usize) -> Self {
        let mut chance = Chance(seed ^ (round as u64).wrapping_mul(0xD1B5_4A32_D192_ED03));
        chance.below(2);
        chance
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % end.max(1) as u64).expect("it is below a usize")
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// From `least` to `most` milliseconds.
    pub fn milliseconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(usize::try_from(most - least + 1).expect("a short time")) as u64)
    }

    /// Two different numbers below `end`.
    pub fn two(&mut self, end: usize) -> (usize, usize) {
        let first = self.below(end);
        (first, (first + 1 + self.below(end - 1)) % end)
    }
}
