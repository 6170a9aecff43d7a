//! Finds tones in recorded sound.

/// Share of the signal's energy that lies at `hz` (Goertzel): about 1.0 for a clean tone, near 0 for silence or others.
pub fn share_at(samples: &[i16], rate_hz: u32, hz: f64) -> f64 {
    let energy: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    if energy == 0.0 {
        return 0.0;
    }
    let step = 2.0 * (std::f64::consts::TAU * hz / f64::from(rate_hz)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in samples {
        (last, before) = (f64::from(sample) + step * last - before, last);
    }
    let power = last * last + before * before - step * last * before;
    power * 2.0 / (samples.len() as f64 * energy)
}

/// A sine at half of full scale: three together are more than fits into 16 bit.
pub fn sine(rate_hz: u32, hz: f64, seconds: f64) -> Vec<i16> {
    let step = std::f64::consts::TAU * hz / f64::from(rate_hz);
    (0..(f64::from(rate_hz) * seconds) as u32)
        .map(|n| ((f64::from(n) * step).sin() * 16_000.0) as i16)
        .collect()
}

#[test]
fn finds_the_tone_that_is_there_and_no_other() {
    let tone = sine(8_000, 440.0, 1.0);
    assert!(share_at(&tone, 8_000, 440.0) > 0.99);
    assert!(share_at(&tone, 8_000, 660.0) < 0.01);
    assert_eq!(share_at(&[0; 800], 8_000, 440.0), 0.0);
}
