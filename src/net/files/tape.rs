//! A recording on disk: a WAV file that can be played at any moment, whatever happens to the node.

use media::Recording;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// Bytes before the samples.
const HEADER: usize = 44;

/// A WAV file counts its bytes in 32 bits; 4 GB are 37 hours of a call at 8 kHz in stereo.
const MAX_BYTES: u64 = u32::MAX as u64 - HEADER as u64;

/// What a tape is written to.
pub(super) trait Disk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is on disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// A recording being written.
pub(super) struct Tape<D> {
    disk: D,
    rate: u32,
    channels: u16,
    /// Bytes of samples that are surely in the file.
    bytes: u64,
    /// Of which the header tells.
    told: u64,
    /// Samples of all channels that could not be written.
    lost: u64,
    error: Option<Box<str>>,
    scratch: Vec<u8>,
}

/// Makes the file of a recording, readable for the owner only. A file that is there already is never written over.
pub(super) fn create(directory: &Path, name: &str) -> io::Result<File> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 200 || !name.chars().all(plain) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "no name of a recording"));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(directory.join(format!("{name}.wav")))
}

impl<D: Disk> Tape<D> {
    /// An empty file with a header.
    pub(super) fn begin(disk: D, rate: u32, channels: u16) -> Tape<D> {
        let mut tape = Tape {
            disk,
            rate,
            channels,
            bytes: 0,
            told: 0,
            lost: 0,
            error: None,
            scratch: Vec::new(),
        };
        tape.tell();
        tape
    }

    /// Appends samples. What cannot be written is lost, and what comes after it is tried again: a disk may get room.
    pub(super) fn write(&mut self, samples: &[i16]) {
        self.scratch.clear();
        self.scratch
            .extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        let length = self.scratch.len() as u64;
        let written = match self.bytes + length > MAX_BYTES {
            true => Err(io::Error::new(ErrorKind::FileTooLarge, "a WAV file holds 4 GB")),
            false => self.disk.write_at(&self.scratch, HEADER as u64 + self.bytes),
        };
        match written {
            Ok(()) => self.bytes += length,
            Err(error) => {
                self.lost += samples.len() as u64;
                self.on_error(&error);
            }
        }
        if self.bytes - self.told >= self.second() {
            self.tell();
        }
    }

    /// Ends the file: true to what it says, and on disk.
    pub(super) fn finish(mut self, missing: Duration) -> Recording {
        self.tell();
        if let Err(error) = self.disk.sync() {
            self.on_error(&error);
        }
        Recording {
            length: self.time(self.bytes / 2),
            missing: missing + self.time(self.lost),
            bytes: HEADER as u64 + self.bytes,
            error: self.error,
        }
    }

    /// Something went wrong.
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Rewrites the header, so that players see what is there.
    fn tell(&mut self) {
        match self
            .disk
            .write_at(&header(self.rate, self.channels, self.bytes as u32), 0)
        {
            Ok(()) => self.told = self.bytes,
            Err(error) => self.on_error(&error),
        }
    }

    fn on_error(&mut self, error: &io::Error) {
        self.error.get_or_insert_with(|| error.to_string().into());
    }

    fn second(&self) -> u64 {
        u64::from(self.rate) * u64::from(self.channels) * 2
    }

    fn time(&self, samples: u64) -> Duration {
        let frames = samples / u64::from(self.channels.max(1));
        Duration::from_micros(frames * 1_000_000 / u64::from(self.rate.max(1)))
    }
}

/// RIFF, `fmt ` of PCM with 16 bits, and `data` with so many bytes.
fn header(rate: u32, channels: u16, bytes: u32) -> [u8; HEADER] {
    let frame = channels * 2;
    let mut header = [0; HEADER];
    let mut at = 0;
    let mut put = |part: &[u8]| {
        header[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    };
    put(b"RIFF");
    put(&(bytes + HEADER as u32 - 8).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16u32.to_le_bytes());
    put(&1u16.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&rate.to_le_bytes());
    put(&(rate * u32::from(frame)).to_le_bytes());
    put(&frame.to_le_bytes());
    put(&16u16.to_le_bytes());
    put(b"data");
    put(&bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// A disk of so many bytes that can be looked at.
    #[derive(Clone)]
    struct Small(Rc<RefCell<(Vec<u8>, usize, bool)>>);

    impl Small {
        fn new(room: usize) -> Small {
            Small(Rc::new(RefCell::new((Vec::new(), room, false))))
        }

        fn play(&self) -> (hound::WavSpec, Vec<i16>) {
            let bytes = self.0.borrow().0.clone();
            let mut reader = hound::WavReader::new(&bytes[..]).unwrap();
            (reader.spec(), reader.samples::<i16>().map(Result::unwrap).collect())
        }
    }

    impl Disk for Small {
        fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let (file, room, _) = &mut *self.0.borrow_mut();
            let end = offset as usize + bytes.len();
            // As a full disk does it: what still fits is written, and then there is the error.
            file.resize(file.len().max(end.min(*room)), 0);
            for (at, &byte) in (offset as usize..).zip(bytes).take_while(|(at, _)| *at < *room) {
                file[at] = byte;
            }
            if end > *room {
                Err(ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }

        fn sync(&mut self) -> io::Result<()> {
            self.0.borrow_mut().2 = true;
            Ok(())
        }
    }

    #[test]
    fn the_file_is_as_long_as_what_was_said_and_synced_at_the_end() {
        let disk = Small::new(usize::MAX);
        let mut tape = Tape::begin(disk.clone(), 8_000, 2);
        (0..3).for_each(|n| tape.write(&[n; 8_000]));
        let result = tape.finish(Duration::ZERO);
        assert!(result.is_complete() && disk.0.borrow().2);
        assert_eq!((result.length, result.bytes), (Duration::from_millis(1_500), 48_044));
        let (spec, samples) = disk.play();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, 8_000, 16));
        assert_eq!((samples.len(), samples[0], samples[23_999]), (24_000, 0, 2));
    }

    #[test]
    fn a_file_that_is_cut_off_can_be_played_up_to_the_last_second() {
        let disk = Small::new(usize::MAX);
        let mut tape = Tape::begin(disk.clone(), 8_000, 1);
        assert_eq!(disk.play().1.len(), 0, "from the first moment");
        for half_seconds in 1..=7 {
            tape.write(&[5; 4_000]);
            let playable = disk.play().1.len();
            assert!(
                half_seconds * 4_000 - playable <= 4_000,
                "{playable} of {half_seconds} half seconds"
            );
        }
    }

    #[test]
    fn a_full_disk_leaves_a_playable_file_and_says_what_is_missing() {
        let disk = Small::new(44 + 20_000);
        let mut tape = Tape::begin(disk.clone(), 8_000, 1);
        (0..4).for_each(|_| tape.write(&[5; 4_000]));
        assert!(tape.has_failed());
        let result = tape.finish(Duration::from_millis(20));
        assert_eq!(
            (result.length, result.missing),
            (Duration::from_secs(1), Duration::from_millis(1_020))
        );
        assert!(
            result.error.as_deref().is_some_and(|error| error.contains("storage")),
            "{result:?}"
        );
        assert_eq!(disk.play().1, [5; 8_000]);
    }

    #[test]
    fn a_disk_that_gets_room_again_is_written_on() {
        let disk = Small::new(44 + 8_000);
        let mut tape = Tape::begin(disk.clone(), 8_000, 1);
        (0..2).for_each(|_| tape.write(&[5; 4_000]));
        disk.0.borrow_mut().1 = usize::MAX;
        tape.write(&[6; 4_000]);
        let result = tape.finish(Duration::ZERO);
        assert_eq!(
            (result.length, result.missing),
            (Duration::from_secs(1), Duration::from_millis(500))
        );
        assert_eq!(disk.play().1[4_000..], [6; 4_000]);
    }
}
