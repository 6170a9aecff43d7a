//! Summing a room: everybody hears everybody else, once, in 32 bit, saturated at the very end.

/// What one tick of a room delivers.
#[derive(Debug, PartialEq, Eq)]
pub enum Mixed<'a> {
    /// The sum of all who talk: what every member who does not talk hears. Said once, first.
    All(&'a [i16]),
    /// What the member at this index hears, who talks: the sum without itself.
    Without(usize, &'a [i16]),
}

/// Buffers of one tick, reused for ever.
#[derive(Debug)]
pub struct MixBuffer {
    sum: Vec<i32>,
    out: Vec<i16>,
}

impl MixBuffer {
    /// For frames of up to `samples` samples.
    #[must_use]
    pub fn new(samples: usize) -> MixBuffer {
        MixBuffer {
            sum: vec![0; samples],
            out: vec![0; samples],
        }
    }

    /// Begins a frame of `samples` samples, at most those of `new`.
    pub fn clear(&mut self, samples: usize) {
        self.sum.truncate(samples);
        self.sum.fill(0);
        self.sum.resize(samples, 0);
        self.out.resize(samples, 0);
    }

    /// Adds a frame as loud as it is.
    pub fn add(&mut self, frame: &[i16]) {
        for (sum, &sample) in self.sum.iter_mut().zip(frame) {
            *sum += i32::from(sample);
        }
    }

    /// Adds a frame at `gain` / 256.
    pub fn add_scaled(&mut self, frame: &[i16], gain: i32) {
        for (sum, &sample) in self.sum.iter_mut().zip(frame) {
            *sum += (i32::from(sample) * gain) >> 8;
        }
    }

    /// The sum, saturated.
    pub fn all(&mut self) -> &[i16] {
        for (out, &sum) in self.out.iter_mut().zip(&self.sum) {
            *out = saturate(sum);
        }
        &self.out
    }

    /// The sum without a frame that was added, saturated. The sum itself stays: one member's clipping is no other's.
    pub fn without(&mut self, own: &[i16]) -> &[i16] {
        for ((out, &sum), &own) in self.out.iter_mut().zip(&self.sum).zip(own) {
            *out = saturate(sum - i32::from(own));
        }
        &self.out
    }
}

fn saturate(sum: i32) -> i16 {
    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// One tick of a room where everybody hears everybody else: `talkers` are the members who talk, by index, with their
/// frames; `extra` are sounds all hear. Costs two passes over each talker's samples and nothing for the silent.
pub fn mix_once<'a>(
    buffer: &mut MixBuffer,
    samples: usize,
    talkers: impl Iterator<Item = (usize, &'a [i16])> + Clone,
    extra: impl Iterator<Item = (&'a [i16], i32)>,
    mut deliver: impl FnMut(Mixed<'_>),
) {
    buffer.clear(samples);
    extra.for_each(|(frame, gain)| buffer.add_scaled(frame, gain));
    talkers.clone().for_each(|(_, frame)| buffer.add(frame));
    deliver(Mixed::All(buffer.all()));
    for (index, frame) in talkers {
        deliver(Mixed::Without(index, buffer.without(frame)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(talkers: &[(usize, Vec<i16>)]) -> Vec<(Option<usize>, Vec<i16>)> {
        let mut heard = Vec::new();
        let frames = talkers.iter().map(|(index, frame)| (*index, &frame[..]));
        mix_once(
            &mut MixBuffer::new(2),
            2,
            frames,
            std::iter::empty(),
            |mixed| match mixed {
                Mixed::All(frame) => heard.push((None, frame.to_vec())),
                Mixed::Without(index, frame) => heard.push((Some(index), frame.to_vec())),
            },
        );
        heard
    }

    #[test]
    fn each_hears_the_others_and_not_itself() {
        let heard = run(&[(0, vec![1, 2]), (4, vec![10, 20]), (7, vec![100, 200])]);
        assert_eq!(
            heard,
            [
                (None, vec![111, 222]),
                (Some(0), vec![110, 220]),
                (Some(4), vec![101, 202]),
                (Some(7), vec![11, 22])
            ]
        );
    }

    #[test]
    fn clipping_of_the_sum_does_not_leak_into_other_listeners() {
        let heard = run(&[
            (0, vec![30_000, -30_000]),
            (1, vec![30_000, -30_000]),
            (2, vec![-30_000, 30_000]),
        ]);
        assert_eq!(heard[0].1, [30_000, -30_000]);
        assert_eq!(heard[1].1, [0, 0]);
        assert_eq!(heard[3].1, [32_767, -32_768]);
    }

    #[test]
    fn a_silent_room_is_silence() {
        assert_eq!(run(&[]), [(None, vec![0, 0])]);
    }
}
