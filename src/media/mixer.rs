//! Summing a room: everybody hears everybody else, once, in 32 bit, brought into 16 bit at the very end.

use crate::limiter::Limiter;

/// What one tick of a room delivers.
#[derive(Debug)]
pub enum Mixed<'a> {
    /// The sum of all who talk: what every member who does not talk hears. Said once, first.
    All(Sum<'a>),
    /// What the member at this index hears, who talks: the sum without itself.
    Without(usize, Sum<'a>),
}

/// What a listener is to hear, in 32 bit. The sum it is made of stays: one member's loudness is no other's.
#[derive(Debug)]
pub struct Sum<'a> {
    sum: &'a [i32],
    own: &'a [i16],
    out: &'a mut [i16],
}

impl<'a> Sum<'a> {
    /// In 16 bit, through the limiter of this listener, or of all who hear the same.
    pub fn through(self, limiter: &mut Limiter) -> &'a [i16] {
        let Sum { sum, own, out } = self;
        if own.is_empty() {
            limiter.limit(out, sum.iter().copied());
        } else {
            limiter.limit(out, sum.iter().zip(own).map(|(&sum, &own)| sum - i32::from(own)));
        }
        out
    }
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

    /// All that was added.
    pub fn all(&mut self) -> Sum<'_> {
        self.without(&[])
    }

    /// All but a frame that was added.
    pub fn without<'a>(&'a mut self, own: &'a [i16]) -> Sum<'a> {
        let MixBuffer { sum, out } = self;
        Sum { sum, own, out }
    }
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
                Mixed::All(sum) => heard.push((None, sum.through(&mut Limiter::default()).to_vec())),
                Mixed::Without(index, sum) => {
                    heard.push((Some(index), sum.through(&mut Limiter::default()).to_vec()));
                }
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
    fn too_loud_for_one_listener_is_as_it_was_for_another() {
        let heard = run(&[
            (0, vec![30_000, -30_000]),
            (1, vec![30_000, -30_000]),
            (2, vec![-30_000, 30_000]),
        ]);
        assert_eq!(heard[0].1, [30_000, -30_000]);
        assert_eq!(heard[1].1, [0, 0]);
        assert!(heard[3].1[0] > 32_000 && heard[3].1[1] < -32_000, "{heard:?}");
    }

    #[test]
    fn a_silent_room_is_silence() {
        assert_eq!(run(&[]), [(None, vec![0, 0])]);
    }
}
