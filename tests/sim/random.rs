//! A small generator (SplitMix64): everything that happens in a run follows from one seed.

use std::time::Duration;

/// Pseudo-random numbers; equal seeds give equal runs.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed ^ 0x5DEE_CE66_D1CE_4E5B)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to `n` - 1; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    /// True in so many of 1000 cases.
    pub fn permille(&mut self, n: u32) -> bool {
        self.next() % 1000 < u64::from(n)
    }

    /// From `a` to `b` milliseconds.
    pub fn millis(&mut self, a: u64, b: u64) -> Duration {
        Duration::from_millis(a + self.next() % (b - a + 1))
    }

    /// 32 bytes, as the switch wants its seed.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for chunk in seed.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        seed
    }
}
