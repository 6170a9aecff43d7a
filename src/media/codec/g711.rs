//! G.711: mu-law and A-law, by tables that the compiler computes from the Recommendation.
//!
//! Samples are 16 bit linear; mu-law looks at the upper 14 bits, A-law at the upper 13, and both decode to the middle of
//! the interval, as G.191 does.

/// Linear to mu-law by the upper 14 bits of the sample.
static TO_MU: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut at = 0;
    while at < table.len() {
        table[at] = mu_of(((at << 2) as u16).cast_signed());
        at += 1;
    }
    table
};

/// Linear to A-law by the upper 13 bits.
static TO_A: [u8; 1 << 13] = {
    let mut table = [0; 1 << 13];
    let mut at = 0;
    while at < table.len() {
        table[at] = a_of(((at << 3) as u16).cast_signed());
        at += 1;
    }
    table
};

static FROM_MU: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = linear_of_mu(code as u8);
        code += 1;
    }
    table
};

static FROM_A: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = linear_of_a(code as u8);
        code += 1;
    }
    table
};

/// The mu-law code of silence.
pub const MU_SILENCE: u8 = 0xff;
/// The A-law code of silence.
pub const A_SILENCE: u8 = 0xd5;

/// One sample to mu-law.
#[must_use]
pub fn to_mu(sample: i16) -> u8 {
    TO_MU[usize::from(sample.cast_unsigned() >> 2)]
}

/// One sample to A-law.
#[must_use]
pub fn to_a(sample: i16) -> u8 {
    TO_A[usize::from(sample.cast_unsigned() >> 3)]
}

/// One mu-law code to its sample.
#[must_use]
pub fn from_mu(code: u8) -> i16 {
    FROM_MU[usize::from(code)]
}

/// One A-law code to its sample.
#[must_use]
pub fn from_a(code: u8) -> i16 {
    FROM_A[usize::from(code)]
}

/// Mean level of some of a packet's samples, by its codes: every third or fourth, so that no tone hides between them.
#[must_use]
pub fn sampled_level(payload: &[u8], decode: impl Fn(u8) -> i16) -> u32 {
    let pairs = payload.chunks_exact(7);
    let count = 2 * pairs.len().max(1) as u32;
    let sum: u32 = pairs
        .map(|seven| u32::from(decode(seven[0]).unsigned_abs()) + u32::from(decode(seven[3]).unsigned_abs()))
        .sum();
    sum / count
}

/// G.711 table 2: 8 segments of 16 intervals; the first boundary is moved by 33 so that all segments are alike.
const fn mu_of(sample: i16) -> u8 {
    let wide = sample as i32;
    let magnitude = if wide < 0 { !wide >> 2 } else { wide >> 2 } + 33;
    let magnitude = if magnitude > 0x1fff { 0x1fff } else { magnitude };
    let segment = 26 - magnitude.leading_zeros() as i32;
    let code = segment << 4 | magnitude >> (segment + 1) & 0x0f;
    let sign = if wide < 0 { 0x00 } else { 0x80 };
    (!code & 0x7f | sign) as u8
}

const fn linear_of_mu(code: u8) -> i16 {
    let inverted = !code as i32;
    let (segment, interval) = (inverted >> 4 & 7, inverted & 0x0f);
    let magnitude = (((interval << 1 | 0x21) << segment) - 33) << 2;
    if code & 0x80 == 0 {
        -magnitude as i16
    } else {
        magnitude as i16
    }
}

/// G.711 table 1: as mu-law, but the first two segments have the same step; even bits are inverted on the line.
const fn a_of(sample: i16) -> u8 {
    let wide = sample as i32;
    let magnitude = if wide < 0 { !wide >> 4 } else { wide >> 4 };
    let code = if magnitude < 16 {
        magnitude
    } else {
        let segment = 28 - magnitude.leading_zeros() as i32;
        segment << 4 | magnitude >> (segment - 1) & 0x0f
    };
    let sign = if wide < 0 { 0x00 } else { 0x80 };
    ((code | sign) ^ 0x55) as u8
}

const fn linear_of_a(code: u8) -> i16 {
    let plain = code as i32 ^ 0x55;
    let (segment, interval) = (plain >> 4 & 7, plain & 0x0f);
    let magnitude = match segment {
        0 => interval << 4 | 8,
        _ => ((interval | 16) << 4 | 8) << (segment - 1),
    };
    if plain & 0x80 == 0 {
        -magnitude as i16
    } else {
        magnitude as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G.711 table 2a: decision values x1 to x128 of mu-law in 14 bit units, from the segments' ends.
    fn mu_decisions() -> Vec<i32> {
        let ends = [31, 95, 223, 479, 991, 2015, 4063, 8159];
        let mut values = vec![0, 1];
        (3..=31).step_by(2).for_each(|value| values.push(value));
        for pair in ends.windows(2) {
            let step = (pair[1] - pair[0]) / 16;
            (1..=16).for_each(|n| values.push(pair[0] + n * step));
        }
        values
    }

    /// G.711 table 1a: decision values of A-law in 13 bit units (4096 is full scale).
    fn a_decisions() -> Vec<i32> {
        let ends = [0, 64, 128, 256, 512, 1024, 2048, 4096];
        let mut values: Vec<i32> = (0..=64).step_by(2).collect();
        for pair in ends.windows(2).skip(1) {
            let step = (pair[1] - pair[0]) / 16;
            (1..=16).for_each(|n| values.push(pair[0] + n * step));
        }
        values
    }

    #[test]
    fn mu_law_codes_are_the_intervals_of_the_recommendation() {
        let decisions = mu_decisions();
        assert_eq!(decisions.len(), 129);
        for (n, pair) in decisions.windows(2).enumerate() {
            let code = 0xff - n as u8;
            for value in pair[0]..pair[1] {
                // The top interval has no upper decision value inside 16 bits.
                let sample = (value * 4).min(32767) as i16;
                assert_eq!(to_mu(sample), code, "{value}");
                assert_eq!(to_mu(-1 - sample), code & 0x7f, "-{value}");
            }
        }
        assert_eq!((to_mu(i16::MAX), to_mu(i16::MIN)), (0x80, 0x00));
    }

    #[test]
    fn mu_law_decodes_to_the_middle_of_the_interval() {
        let decisions = mu_decisions();
        assert_eq!((from_mu(0xff), from_mu(0x7f)), (0, 0));
        for (n, pair) in decisions.windows(2).enumerate().skip(1) {
            let middle = ((pair[0] + pair[1]) * 2) as i16;
            assert_eq!(
                (from_mu(0xff - n as u8), from_mu(0x7f - n as u8)),
                (middle, -middle),
                "{n}"
            );
        }
        assert_eq!(from_mu(0x80), 32124);
    }

    #[test]
    fn a_law_codes_are_the_intervals_of_the_recommendation() {
        let decisions = a_decisions();
        assert_eq!(decisions.len(), 129);
        for (n, pair) in decisions.windows(2).enumerate() {
            let code = 0xd5 ^ n as u8;
            for value in pair[0]..pair[1] {
                let sample = (value * 8) as i16;
                assert_eq!(to_a(sample), code, "{value}");
                assert_eq!(to_a(-1 - sample), code & 0x7f, "-{value}");
            }
            let middle = ((pair[0] + pair[1]) * 4) as i16;
            assert_eq!((from_a(code), from_a(code & 0x7f)), (middle, -middle), "{n}");
        }
        assert_eq!(from_a(0xaa), 32256);
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for code in 0..=255u8 {
            assert_eq!(to_a(from_a(code)), code);
            // Mu-law has two zeros; the negative one becomes the positive.
            assert_eq!(to_mu(from_mu(code)), if code == 0x7f { 0xff } else { code });
        }
        assert_eq!((to_mu(0), to_a(0)), (MU_SILENCE, A_SILENCE));
    }
}
