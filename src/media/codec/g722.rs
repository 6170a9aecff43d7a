//! G.722 at 64 kbit/s: 16 kHz samples in two bands, each an adaptive differential code; a byte for two samples.
//!
//! Names in brackets are the blocks of the Recommendation (sections 3 to 6 of ITU-T G.722), whose integer arithmetic this
//! follows to the bit. A stream's state is 300 bytes and can be copied, so that one stream can go on as two.

/// Half of the 24 coefficients of the quadrature mirror filters (table 11); the other half is their mirror image.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band's quantizer [QUANTL], in 1/4096 of the scale factor.
const LOW_LEVELS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
    1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// The one decision level of the higher band's quantizer [QUANTH].
const HIGH_LEVEL: i32 = 564;

/// Quantized differences of the lower band by all six bits [INVQBL], sign by sign.
const LOW_OUTPUT: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576,
    -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040,
    -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

/// The same by the upper four bits, with which the predictor is adapted [INVQAL].
const LOW_ADAPT: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
];

/// How the lower band's scale factor moves, by the upper four bits [LOGSCL].
const LOW_STEP: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];

/// Quantized differences of the higher band [INVQAH].
const HIGH_OUTPUT: [i32; 4] = [-7408, -1616, 7408, 1616];

/// How the higher band's scale factor moves [LOGSCH].
const HIGH_STEP: [i32; 4] = [798, -214, 798, -214];

/// 2048 times the powers of two from 0 to 31/32 [SCALEL, SCALEH].
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025,
    3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// Limits of the logarithmic scale factors.
const LOW_MAX: i32 = 18_432;
const HIGH_MAX: i32 = 22_528;

/// Both bands' predictors and what the filters still hold.
#[derive(Clone, Debug)]
struct Stream {
    low: Band,
    high: Band,
    /// The last 24 samples (encoder), or sums and differences of the bands (decoder).
    line: [i32; 24],
}

/// One band: its scale factor and its predictor of two poles and six zeros.
#[derive(Clone, Debug, Default)]
struct Band {
    /// Prediction of the next sample.
    predicted: i32,
    zero_part: i32,
    log_scale: i32,
    scale: i32,
    /// Reconstructed samples and partly reconstructed ones, newest first.
    signal: [i32; 2],
    partial: [i32; 2],
    difference: [i32; 6],
    poles: [i32; 2],
    zeros: [i32; 6],
}

impl Default for Stream {
    fn default() -> Stream {
        let band = |scale| Band {
            scale,
            ..Band::default()
        };
        Stream {
            low: band(32),
            high: band(8),
            line: [0; 24],
        }
    }
}

/// One stream's decoder.
#[derive(Clone, Debug, Default)]
pub struct Decoder(Stream);

impl Decoder {
    /// Appends two samples for each byte.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        for &code in payload {
            out.extend(self.0.decode(code));
        }
    }
}

/// One stream's encoder.
#[derive(Clone, Debug, Default)]
pub struct Encoder(Stream);

impl Encoder {
    /// Appends a byte for each two samples.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        out.extend(samples.chunks_exact(2).map(|pair| self.0.encode(pair[0], pair[1])));
    }
}

impl Stream {
    fn decode(&mut self, code: u8) -> [i16; 2] {
        let (low, high) = (usize::from(code & 0x3f), usize::from(code >> 6));
        let low_sample = limited(self.low.predicted + ((self.low.scale * LOW_OUTPUT[low]) >> 15));
        self.low.adapt_low(low >> 2);
        let high_sample = limited(self.high.predicted + ((self.high.scale * HIGH_OUTPUT[high]) >> 15));
        self.high.adapt_high(high);
        let (odd, even) = self.filter(low_sample + high_sample, low_sample - high_sample);
        [saturated(even >> 11) as i16, saturated(odd >> 11) as i16]
    }

    fn encode(&mut self, first: i16, second: i16) -> u8 {
        let (odd, even) = self.filter(i32::from(first), i32::from(second));
        let low = self.low.quantize_low((even + odd) >> 14);
        self.low.adapt_low(usize::from(low >> 2));
        let high = self.high.quantize_high((even - odd) >> 14);
        self.high.adapt_high(usize::from(high));
        high << 6 | low
    }

    /// Moves the delay line on by two and sums both halves of the mirror filter.
    fn filter(&mut self, first: i32, second: i32) -> (i32, i32) {
        self.line.copy_within(2.., 0);
        (self.line[22], self.line[23]) = (first, second);
        let pairs = self.line.chunks_exact(2);
        let odd = pairs.clone().zip(QMF).map(|(pair, factor)| pair[0] * factor).sum();
        let even = pairs.zip(QMF.iter().rev()).map(|(pair, factor)| pair[1] * factor).sum();
        (odd, even)
    }
}

impl Band {
    fn quantize_low(&self, sample: i32) -> u8 {
        let difference = saturated(sample - self.predicted);
        let magnitude = if difference < 0 { !difference } else { difference };
        let above = |level: &&i32| magnitude >= (**level * self.scale) >> 12;
        let interval = LOW_LEVELS.iter().take_while(above).count() as u8;
        // Codes count down from the loudest; the two softest negative ones stand apart, for 0 is never sent.
        match (difference < 0, interval) {
            (false, _) => 61 - interval,
            (true, 0) => 63,
            (true, 1) => 62,
            (true, _) => 33 - interval,
        }
    }

    fn quantize_high(&self, sample: i32) -> u8 {
        let difference = saturated(sample - self.predicted);
        let magnitude = if difference < 0 { !difference } else { difference };
        let loud = magnitude >= (HIGH_LEVEL * self.scale) >> 12;
        match (difference < 0, loud) {
            (false, false) => 3,
            (false, true) => 2,
            (true, false) => 1,
            (true, true) => 0,
        }
    }

    fn adapt_low(&mut self, code: usize) {
        let difference = (self.scale * LOW_ADAPT[code]) >> 15;
        self.rescale(LOW_STEP[code], LOW_MAX, 8);
        self.predict(difference);
    }

    fn adapt_high(&mut self, code: usize) {
        let difference = (self.scale * HIGH_OUTPUT[code]) >> 15;
        self.rescale(HIGH_STEP[code], HIGH_MAX, 10);
        self.predict(difference);
    }

    /// [LOGSCL, SCALEL]: the scale factor leaks 1/128 and moves by a step, in the logarithmic domain.
    fn rescale(&mut self, step: i32, max: i32, shift: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + step).clamp(0, max);
        let power = POWERS[(self.log_scale >> 6 & 31) as usize];
        let down = shift - (self.log_scale >> 11);
        self.scale = if down < 0 { power << -down } else { power >> down } << 2;
    }

    /// Takes in a quantized difference and predicts the next sample.
    fn predict(&mut self, difference: i32) {
        let signal = saturated(self.predicted + difference);
        let partial = saturated(self.zero_part + difference);
        self.adapt_poles(partial);
        self.adapt_zeros(difference);
        self.difference.copy_within(..5, 1);
        self.difference[0] = difference;
        (self.signal, self.partial) = ([signal, self.signal[0]], [partial, self.partial[0]]);
        let term = |factor: i32, value: i32| (factor * saturated(2 * value)) >> 15;
        let pole_part = saturated(term(self.poles[0], self.signal[0]) + term(self.poles[1], self.signal[1]));
        let terms = self
            .zeros
            .iter()
            .zip(self.difference)
            .map(|(&zero, value)| term(zero, value));
        self.zero_part = saturated(terms.sum());
        self.predicted = saturated(pole_part + self.zero_part);
    }

    /// [UPPOL2, UPPOL1]: by the signs of the partly reconstructed signal alone.
    fn adapt_poles(&mut self, partial: i32) {
        let alike = |earlier: i32| (partial < 0) == (earlier < 0);
        let first = saturated(4 * self.poles[0]);
        let turned = if alike(self.partial[0]) { -first } else { first }.min(32_767) >> 7;
        let kept = if alike(self.partial[1]) { 128 } else { -128 };
        let second = (turned + kept + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        let push = if alike(self.partial[0]) { 192 } else { -192 };
        let limit = saturated(15_360 - second);
        let first = saturated(push + ((self.poles[0] * 32_640) >> 15)).clamp(-limit, limit);
        self.poles = [first, second];
    }

    /// [UPZERO]
    fn adapt_zeros(&mut self, difference: i32) {
        let push = if difference == 0 { 0 } else { 128 };
        for (zero, earlier) in self.zeros.iter_mut().zip(self.difference) {
            let step = if (difference < 0) == (earlier < 0) { push } else { -push };
            *zero = saturated(step + ((*zero * 32_640) >> 15));
        }
    }
}

fn saturated(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

/// [LIMIT]: a band has 15 bits.
fn limited(value: i32) -> i32 {
    value.clamp(-16_384, 16_383)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a second at 16 kHz of a sweep, noise, full-scale steps, silence and two tones; its code and what that code decodes
    /// to, both by ffmpeg's G.722, which shares no source with ours (docs/decisions/0007).
    const INPUT: &[u8] = include_bytes!("../tests/g722/input.s16");
    const ENCODED: &[u8] = include_bytes!("../tests/g722/encoded.g722");
    const DECODED: &[u8] = include_bytes!("../tests/g722/decoded.s16");

    fn samples(bytes: &[u8]) -> Vec<i16> {
        bytes
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    #[test]
    fn decodes_what_an_independent_encoder_wrote_to_the_same_samples() {
        let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
        ENCODED
            .chunks(160)
            .for_each(|packet| decoder.decode(packet, &mut heard));
        assert_eq!(heard.len(), samples(DECODED).len());
        let apart = heard
            .iter()
            .zip(samples(DECODED))
            .map(|(a, b)| (i32::from(*a) - i32::from(b)).abs());
        assert_eq!(apart.max(), Some(0));
    }

    #[test]
    fn encodes_to_the_same_bytes_as_an_independent_encoder() {
        let (mut encoder, mut written) = (Encoder::default(), Vec::new());
        samples(INPUT)
            .chunks(320)
            .for_each(|frame| encoder.encode(frame, &mut written));
        let different = written.iter().zip(ENCODED).filter(|(a, b)| a != b).count();
        assert_eq!((written.len(), different), (ENCODED.len(), 0));
    }
}
