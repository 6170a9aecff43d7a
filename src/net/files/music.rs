//! Music on hold: the files of a class one after the other, for ever.

use super::wav::Wav;
use media::sound::DEFAULT_MUSIC;
use media::tune::Tune;
use std::path::{Path, PathBuf};

/// Files of a class at most; more are not looked at.
const MAX_FILES: usize = 1_000;

/// A class being played.
pub(super) struct Music {
    directory: PathBuf,
    rate: u32,
    /// Files of this round that are still to come, last first.
    queue: Vec<PathBuf>,
    playing: Playing,
}

enum Playing {
    Nothing,
    File(Box<Wav>),
    /// There is no file that can be played: the switch's own tune.
    Tune(Tune),
}

impl Music {
    /// Music of a class: the files of the folder of its name, sorted by name. The class `default`, and one without folder,
    /// has the files of `directory` itself.
    pub(super) fn new(directory: &Path, class: &str, rate: u32) -> Music {
        let own = super::wav::path(directory, class)
            .ok()
            .map(|path| path.with_extension(""));
        let own = own.filter(|path| class != DEFAULT_MUSIC && path.is_dir());
        Music {
            directory: own.unwrap_or_else(|| directory.to_owned()),
            rate,
            queue: Vec::new(),
            playing: Playing::Nothing,
        }
    }

    /// Appends samples until `out` has `wanted`.
    pub(super) fn read(&mut self, out: &mut Vec<i16>, wanted: usize) {
        while out.len() < wanted {
            match &mut self.playing {
                Playing::File(wav) => {
                    if !wav.read(out, wanted) {
                        self.playing = Playing::Nothing;
                    }
                }
                Playing::Tune(tune) => {
                    let start = out.len();
                    out.resize(wanted, 0);
                    tune.fill(&mut out[start..]);
                }
                Playing::Nothing => self.begin_next(),
            }
        }
    }

    /// The next file that can be played; a new round looks at the directory again, so that files may be changed while the
    /// switch runs.
    fn begin_next(&mut self) {
        let new_round = self.queue.is_empty();
        if new_round {
            self.queue = files(&self.directory);
        }
        while let Some(path) = self.queue.pop() {
            match Wav::open(&path, self.rate).map(Wav::unless_empty) {
                Ok(Some(wav)) => return self.playing = Playing::File(Box::new(wav)),
                Ok(None) => tracing::warn!(path = %path.display(), "no music in this file"),
                Err(why) => tracing::warn!(path = %path.display(), error = %why, "cannot play music"),
            }
        }
        if new_round {
            self.playing = Playing::Tune(Tune::new(self.rate));
        }
    }
}

/// WAV files of a directory, last first.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.take(MAX_FILES).filter_map(|entry| Some(entry.ok()?.path()));
    let is_wav = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("wav"))
    };
    let mut files: Vec<PathBuf> = paths.filter(is_wav).collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    files
}
