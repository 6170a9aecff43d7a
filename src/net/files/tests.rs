use super::music::Music;
use super::wav::{self, Wav};
use super::*;
use crate::wake::{self, Bell};
use hound::{SampleFormat, WavSpec, WavWriter};
use media::RecordingId;
use media::goertzel::level_dbm0;
use std::f64::consts::TAU;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;

/// A directory of this test alone, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("tandem-files-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Writes a sine at -10 dBm0 on every channel.
    fn sine(&self, name: &str, spec: WavSpec, hz: f64, seconds: f64) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = WavWriter::create(&path, spec).unwrap();
        let frames = (seconds * f64::from(spec.sample_rate)) as u32;
        for n in 0..frames {
            let value = 7_052.0 / 32_768.0 * (TAU * hz * f64::from(n) / f64::from(spec.sample_rate)).sin();
            for _ in 0..spec.channels {
                match spec.sample_format {
                    SampleFormat::Float => writer.write_sample(value as f32).unwrap(),
                    SampleFormat::Int => {
                        let scale = f64::from(1u32 << (spec.bits_per_sample - 1));
                        writer.write_sample((value * scale) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn spec(sample_rate: u32, channels: u16, bits_per_sample: u16) -> WavSpec {
    let sample_format = if bits_per_sample == 32 {
        SampleFormat::Float
    } else {
        SampleFormat::Int
    };
    WavSpec {
        channels,
        sample_rate,
        bits_per_sample,
        sample_format,
    }
}

fn read_all(path: &Path, rate: u32) -> Vec<i16> {
    let mut wav = Wav::open(path, rate).unwrap();
    let mut all = Vec::new();
    let mut wanted = 0;
    loop {
        wanted += 777;
        if !wav.read(&mut all, wanted) {
            return all;
        }
    }
}

#[test]
fn files_of_any_rate_width_and_channels_sound_the_same() {
    let scratch = Scratch::new("any");
    for (file_rate, channels, bits) in [
        (8_000, 1, 16),
        (8_000, 2, 8),
        (11_025, 1, 16),
        (16_000, 1, 24),
        (22_050, 2, 16),
        (44_100, 2, 16),
        (48_000, 6, 32),
        (96_000, 1, 24),
    ] {
        let path = scratch.sine("a.wav", spec(file_rate, channels, bits), 1_000.0, 2.0);
        for rate in [8_000, 16_000, 48_000] {
            let all = read_all(&path, rate);
            let what = format!("{file_rate} Hz, {channels} channels, {bits} bits at {rate}");
            assert!(
                all.len().abs_diff(2 * rate as usize) <= 1,
                "{what}: {} samples",
                all.len()
            );
            let level = level_dbm0(&all, 1_000.0, rate);
            assert!((level + 10.0).abs() < 0.3, "{what}: {level} dBm0");
            let begins = all.iter().position(|sample| sample.unsigned_abs() > 500).unwrap();
            assert!(begins < rate as usize / 500, "{what}: begins at {begins}");
        }
    }
}

#[test]
fn what_a_telephone_cannot_hear_does_not_fold_down() {
    let scratch = Scratch::new("fold");
    let path = scratch.sine("high.wav", spec(48_000, 1, 16), 7_000.0, 1.0);
    let all = read_all(&path, 8_000);
    assert!(level_dbm0(&all[800..7_200], 1_000.0, 8_000) < -60.0);
}

#[test]
fn no_name_leads_out_of_the_directory_and_only_regular_files_are_opened() {
    let scratch = Scratch::new("names");
    let names = ["", "../a", "a/../../b", "/etc/passwd", "a//b", "a.b", "a\0b", "ä"];
    assert!(names.iter().all(|name| wav::path(&scratch.0, name).is_err()));
    assert_eq!(
        wav::path(&scratch.0, "en/digits_1-a").unwrap(),
        scratch.0.join("en/digits_1-a.wav")
    );
    std::fs::create_dir(scratch.0.join("folder.wav")).unwrap();
    assert!(Wav::open(&scratch.0.join("folder.wav"), 8_000).is_err());
    std::fs::write(scratch.0.join("text.wav"), b"RIFF nonsense").unwrap();
    assert!(Wav::open(&scratch.0.join("text.wav"), 8_000).is_err());
}

#[test]
fn a_file_that_is_cut_off_is_played_as_far_as_it_goes() {
    let scratch = Scratch::new("cut");
    let path = scratch.sine("a.wav", spec(8_000, 1, 16), 1_000.0, 2.0);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let all = read_all(&path, 8_000);
    assert!((level_dbm0(&all[..7_000], 1_000.0, 8_000) + 10.0).abs() < 0.3);
    assert!(all.len() <= 16_000);
}

#[test]
fn music_plays_its_files_in_order_for_ever_and_new_ones_in_the_next_round() {
    let scratch = Scratch::new("music");
    scratch.sine("1.wav", spec(8_000, 1, 16), 500.0, 0.5);
    scratch.sine("2.wav", spec(16_000, 2, 16), 900.0, 0.5);
    scratch.sine("jazz/1.wav", spec(8_000, 1, 16), 1_500.0, 0.5);
    std::fs::write(scratch.0.join("3.wav"), b"no sound").unwrap();
    let mut music = Music::new(&scratch.0, "default", 8_000);
    let mut half_second = |hz| {
        let mut out = Vec::new();
        music.read(&mut out, 4_000);
        assert!((level_dbm0(&out[400..3_600], hz, 8_000) + 10.0).abs() < 0.3, "{hz}");
    };
    half_second(500.0);
    half_second(900.0);
    scratch.sine("0.wav", spec(8_000, 1, 16), 700.0, 0.5);
    half_second(700.0);
    half_second(500.0);
    let mut out = Vec::new();
    Music::new(&scratch.0, "jazz", 8_000).read(&mut out, 4_000);
    assert!((level_dbm0(&out, 1_500.0, 8_000) + 10.0).abs() < 0.3);
}

#[test]
fn without_files_there_is_the_own_tune() {
    let mut out = Vec::new();
    Music::new(Path::new("/nowhere"), "default", 16_000).read(&mut out, 16_000);
    let loud = out.iter().filter(|sample| sample.unsigned_abs() > 300).count();
    assert!(loud > 8_000, "{loud}");
}

#[test]
fn workers_get_their_blocks_filled_in_order_and_a_missing_prompt_ends() {
    let scratch = Scratch::new("thread");
    scratch.sine("hello.wav", spec(8_000, 1, 16), 440.0, 0.25);
    let (prompts, music) = (scratch.0.clone(), scratch.0.clone());
    let counters = Arc::<FileCounters>::default();
    let recordings = scratch.0.join("recordings");
    let settings = FileSettings {
        prompts,
        music,
        recordings,
    };
    let files = Files::start(settings, counters.clone()).unwrap();
    let (news, mut answers) = wake::channel(10, &Bell::new().unwrap());
    let door = files.door(WorkerId(3), news).unwrap();
    let rate = Rate::Narrow;
    for (n, name) in [(1, "hello"), (2, "none")] {
        let (stream, sound) = (StreamId(n), FileSound::Prompt(name.into()));
        door.submit(FileOrder::Open { stream, sound, rate }).unwrap();
        for _ in 0..2 {
            let block = Vec::with_capacity(1_500);
            door.submit(FileOrder::Read { stream, block }).unwrap();
        }
    }
    let mut got = Vec::new();
    let until = Instant::now() + Duration::from_secs(10);
    while got.len() < 4 && Instant::now() < until {
        match answers.try_recv() {
            Ok(FileNews::Read { stream, block, last }) => got.push((stream.0, block.len(), last)),
            Ok(other) => panic!("{other:?}"),
            Err(TryRecvError::Empty) => std::thread::yield_now(),
            Err(TryRecvError::Disconnected) => break,
        }
    }
    assert_eq!(got, [(1, 1_500, false), (1, 500, true), (2, 0, true), (2, 0, true)]);
    assert_eq!(counters.unreadable.value(), 1);
    drop(door);
}

#[test]
fn a_recording_is_written_beside_others_readable_for_the_owner_only_and_never_over_another() {
    let scratch = Scratch::new("record");
    let directory = scratch.0.join("deep/recordings");
    let counters = Arc::<FileCounters>::default();
    let mut writer = Writer::new(directory.clone(), counters.clone());
    let mut record = |n: u64, name: &str| {
        let (worker, recording, rate) = (WorkerId(0), RecordingId(n), Rate::Narrow);
        let name = name.into();
        let create = FileOrder::Create {
            recording,
            name,
            rate,
            channels: 2,
        };
        assert_eq!(writer.obey(worker, create), None);
        for _ in 0..4 {
            let block = vec![7; 8_000];
            let back = writer.obey(worker, FileOrder::Write { recording, block });
            assert!(matches!(back, Some(FileNews::Written { block, .. }) if block.len() == 8_000));
        }
        let missing = Duration::ZERO;
        match writer.obey(worker, FileOrder::Finish { recording, missing }) {
            Some(FileNews::Recorded { result, .. }) => *result,
            other => panic!("{other:?}"),
        }
    };
    let result = record(1, "call-1");
    assert!(
        result.is_complete() && result.length == Duration::from_secs(2),
        "{result:?}"
    );
    let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
    assert_eq!(
        (mode(&directory) & 0o777, mode(&directory.join("call-1.wav")) & 0o777),
        (0o700, 0o600)
    );
    for name in ["call-1", "../call", "a/b", "", "a.b"] {
        let result = record(2, name);
        assert!(!result.is_complete() && result.bytes == 0, "{name}: {result:?}");
    }
    assert_eq!(read_all(&directory.join("call-1.wav"), 8_000).len(), 16_000);
    assert_eq!((counters.recorded.value(), counters.recordings_failed.value()), (6, 5));
    assert_eq!(
        (counters.recordings.value(), counters.recordings_incomplete.value()),
        (0, 5)
    );
}

/// The rest of the node is not asked: a process that is killed while its writer works leaves a file that can be played.
#[test]
fn a_recording_outlives_kill_9_up_to_the_last_second() {
    const DIRECTORY: &str = "TANDEM_TEST_RECORDINGS";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let mut writer = Writer::new(directory.into(), Arc::default());
        let (worker, recording, rate) = (WorkerId(0), RecordingId(1), Rate::Narrow);
        let (name, channels) = ("killed".into(), 1);
        writer.obey(
            worker,
            FileOrder::Create {
                recording,
                name,
                rate,
                channels,
            },
        );
        for _ in 0..5 {
            let block = vec![7; 4_000];
            writer.obey(worker, FileOrder::Write { recording, block });
        }
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
    let scratch = Scratch::new("killed");
    let this = std::thread::current().name().unwrap().to_owned();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &this])
        .env(DIRECTORY, &scratch.0)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let length = read_all(&scratch.0.join("killed.wav"), 8_000).len();
    assert!((16_000..=20_000).contains(&length), "{length} samples of 20000");
}
