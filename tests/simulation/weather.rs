//! Random faults of random duration.

use super::chance::Chance;

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Clocks differ by up to twice this where they are kept.
const KEPT: i64 = 150;

/// Maximum durations of bad times in seconds: of most of them, and of one in 24.
#[derive(Clone, Copy)]
pub struct Lasts {
    pub usual: i64,
    pub rare: i64,
}

/// Something that is well for a time, then bad for a time.
#[derive(Clone, Copy)]
pub struct Weather {
    every: i64,
    lasts: Lasts,
    pub bad: bool,
    pub changes: i64,
}

pub fn lasts(usual: i64, rare: i64) -> Lasts {
    Lasts { usual, rare }
}

impl Weather {
    pub fn new(every: i64, lasts: Lasts, chance: &mut Chance, now: i64) -> Self {
        let mut weather = Weather {
            every,
            lasts,
            bad: true,
            changes: now,
        };
        weather.change(chance);
        weather
    }

    /// From good to bad, or back.
    pub fn change(&mut self, chance: &mut Chance) {
        self.bad = !self.bad;
        let Lasts { usual, rare } = self.lasts;
        let most = match (self.bad, chance.one_in(24)) {
            (false, _) => 2 * self.every,
            (true, false) => usual,
            (true, true) => rare,
        };
        self.changes += between(chance, 5 * MINUTE, most);
    }
}

pub fn between(chance: &mut Chance, least: i64, most: i64) -> i64 {
    let range = usize::try_from(most - least).expect("a range");
    least + i64::try_from(chance.below(range + 1)).expect("a time")
}

/// Seconds by which a clock is off: kept, or far off.
pub fn skew(chance: &mut Chance, far: bool) -> i64 {
    if far {
        let off = between(chance, HOUR, 6 * HOUR);
        return if chance.one_in(2) { off } else { -off };
    }
    between(chance, -KEPT, KEPT)
}
