//! Chance with a seed that is printed, so that a failure can be played again: `SEED=... cargo test ...`.

/// SplitMix64.
pub struct Dice(u64);

impl Dice {
    /// The seed of the environment variable `SEED`, else one of the clock; printed in any case.
    pub fn for_test(name: &str) -> Dice {
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let given = std::env::var("SEED")
            .ok()
            .map(|seed| seed.parse().expect("SEED is a number"));
        let seed = given.unwrap_or(clock.as_nanos() as u64);
        eprintln!("{name}: SEED={seed}");
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A count of the environment, for long runs.
pub fn count(variable: &str, usual: usize) -> usize {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |count| {
        count.parse().unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}
