//! WAV files of any rate, width and number of channels, read as one channel of 16 bit at the rate that is wanted.

use hound::{SampleFormat, WavReader};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

/// Samples of a file taken at once.
const CHUNK: usize = 1_024;

/// The part of a second that the resampler looks at together: long enough that its filter is steep at 8 kHz.
const RESAMPLED: usize = 20;

/// Rates a file may have.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// A file being read.
pub(super) struct Wav {
    reader: WavReader<BufReader<File>>,
    resampler: Option<Fft<f32>>,
    /// Output samples that the resampler puts before the sound.
    skip: usize,
    /// Output samples that are still to come.
    left: usize,
    /// Made and not yet taken, last first gone by `taken`.
    ready: Vec<i16>,
    taken: usize,
}

/// The file of a prompt. Names are made of letters, digits, `-` and `_`, in folders set apart by `/`: none leads out of the
/// directory.
pub(super) fn path(directory: &Path, name: &str) -> io::Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_part = |part: &str| !part.is_empty() && part.chars().all(plain);
    if !name.split('/').all(is_part) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "no name of a prompt"));
    }
    Ok(directory.join(format!("{name}.wav")))
}

impl Wav {
    /// Opens a file, to be read at `rate` samples per second.
    pub(super) fn open(path: &Path, rate: u32) -> io::Result<Wav> {
        // A pipe would hold up the thread for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "no regular file"));
        }
        let reader = WavReader::open(path).map_err(invalid)?;
        let spec = reader.spec();
        if !RATES.contains(&spec.sample_rate) || spec.channels == 0 {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "a rate or a number of channels nobody uses",
            ));
        }
        let (from, to) = (spec.sample_rate as usize, rate as usize);
        let resampler = (from != to)
            .then(|| {
                Fft::new_custom(
                    from,
                    to,
                    from / RESAMPLED,
                    1,
                    1,
                    WindowFunction::BlackmanHarris2,
                    FixedSync::Input,
                )
            })
            .transpose()
            .map_err(invalid)?;
        let frames = u64::from(reader.duration());
        Ok(Wav {
            skip: resampler.as_ref().map_or(0, Resampler::output_delay),
            left: usize::try_from(frames * to as u64 / from as u64).unwrap_or(usize::MAX),
            reader,
            resampler,
            ready: Vec::new(),
            taken: 0,
        })
    }

    /// The file, if it has any sound.
    pub(super) fn unless_empty(self) -> Option<Wav> {
        (self.left > 0).then_some(self)
    }

    /// Appends samples until `out` has `wanted`; false when the file is over.
    pub(super) fn read(&mut self, out: &mut Vec<i16>, wanted: usize) -> bool {
        while out.len() < wanted && self.left > 0 {
            if self.taken == self.ready.len() && !self.decode() {
                self.left = 0;
                break;
            }
            let skipped = self.skip.min(self.ready.len() - self.taken);
            (self.skip, self.taken) = (self.skip - skipped, self.taken + skipped);
            let rest = &self.ready[self.taken..];
            let count = rest.len().min(wanted - out.len()).min(self.left);
            out.extend_from_slice(&rest[..count]);
            (self.taken, self.left) = (self.taken + count, self.left - count);
        }
        self.left > 0
    }

    /// Decodes the next chunk; false if that failed. Beyond the end there is silence, which the resampler needs to give
    /// back its last samples; a file that is cut off is silent from there.
    fn decode(&mut self) -> bool {
        let wanted = self.resampler.as_ref().map_or(CHUNK, Resampler::input_frames_next);
        let mut chunk = self.mono(wanted);
        chunk.resize(wanted, 0.0);
        if let Some(resampler) = &mut self.resampler {
            let made = InterleavedSlice::new(&chunk, 1, wanted)
                .ok()
                .map(|input| resampler.process(&input, None));
            let Some(Ok(made)) = made else { return false };
            chunk = made.take_data();
        }
        self.ready.clear();
        // Casting saturates.
        self.ready
            .extend(chunk.iter().map(|sample| (sample * 32_768.0).round() as i16));
        self.taken = 0;
        true
    }

    /// Up to `frames` samples as the mean of all channels, from -1 to 1.
    fn mono(&mut self, frames: usize) -> Vec<f32> {
        let spec = self.reader.spec();
        let channels = usize::from(spec.channels);
        let count = frames * channels;
        let scale = 1.0 / (1u64 << (spec.bits_per_sample.clamp(1, 32) - 1)) as f32;
        let samples: Vec<f32> = match spec.sample_format {
            SampleFormat::Int => {
                let samples = self.reader.samples::<i32>().take(count);
                samples
                    .map_while(Result::ok)
                    .map(|sample| sample as f32 * scale)
                    .collect()
            }
            SampleFormat::Float => self.reader.samples::<f32>().take(count).map_while(Result::ok).collect(),
        };
        samples
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            .collect()
    }
}

fn invalid(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_string())
}
