//! A real softphone: Debian's baresip, scripted over its TCP control port, its sound from and to WAV files.

use super::{tone, wait_for};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One running baresip with one account.
pub struct Baresip {
    child: Child,
    home: tempfile::TempDir,
    control: TcpStream,
}

/// What a phone is told at its start.
pub struct Account<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub server: SocketAddr,
    /// What it plays into a call.
    pub tone_hz: f64,
    /// Answers calls by itself.
    pub answers: bool,
    /// Whom its messages go to.
    pub writes_to: &'a str,
    /// How it speaks.
    pub speech: Speech,
}

/// A codec, and whether it comes encrypted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Speech {
    /// As baresip names it: `PCMU/8000/1`.
    pub codec: &'static str,
    /// SRTP with keys in the SDP, and nothing else.
    pub srtp: bool,
    /// Shows a picture in VP8 too, of [`PICTURE`].
    pub video: bool,
}

/// Width and height of what phones with video show.
pub const PICTURE: (u32, u32) = (176, 144);

impl Speech {
    /// G.711 without encryption: what every phone has.
    pub const PLAIN: Speech = Speech {
        codec: "PCMU/8000/1",
        srtp: false,
        video: false,
    };

    /// Samples per second of its microphone and speaker. baresip's way from 8 to 16 kHz has a filter made for 48 kHz: what lies
    /// above 1.3 kHz would leave a G.722 phone 30 dB too soft.
    fn rate_hz(self) -> u32 {
        if self.codec.starts_with("G722") { 16_000 } else { 8_000 }
    }
}

impl Baresip {
    /// Starts it and waits until its control port answers. Registration is waited for with [`Baresip::registered`].
    pub fn start(account: &Account<'_>) -> Baresip {
        Baresip::launch(account, |_| {})
    }

    /// The same, and it publishes whether it is there and watches whom it writes to.
    pub fn start_with_presence(account: &Account<'_>) -> Baresip {
        Baresip::launch(account, |home| {
            for (file, more) in [
                ("config", "module_app presence.so\n"),
                ("accounts", ";pubint=60\n"),
                ("contacts", ";presence=p2p\n"),
            ] {
                let text = fs::read_to_string(home.join(file)).unwrap();
                let text = if file == "config" {
                    text
                } else {
                    text.trim_end().to_owned()
                };
                fs::write(home.join(file), text + more).unwrap();
            }
        })
    }

    fn launch(account: &Account<'_>, change: impl FnOnce(&Path)) -> Baresip {
        let home = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        write_home(home.path(), account, port);
        change(home.path());
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = Command::new("stdbuf")
            .args(["-oL", "-eL", "baresip", "-f"])
            .arg(home.path())
            .current_dir(home.path()) // snapshots go there
            .stdin(Stdio::piped()) // the console, which shows messages, wants one that stays open
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .expect("baresip (package baresip-core) and stdbuf (coreutils)");
        let control = wait_for("the control port of baresip", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Baresip { child, home, control }
    }

    /// Waits for the 200 to its REGISTER.
    pub fn registered(self) -> Baresip {
        self.logged("200 OK");
        self
    }

    /// Calls a URI.
    pub fn dial(&mut self, uri: &str) {
        self.command("dial", uri);
    }

    /// Ends the call.
    pub fn hang_up(&mut self) {
        self.command("hangup", "");
    }

    /// Sends a MESSAGE to whom it writes to.
    pub fn write(&mut self, text: &str) {
        self.command("message", text);
    }

    /// Publishes that it is there, or is not.
    pub fn says_to_be_there(&mut self, is_there: bool) {
        self.command(
            if is_there {
                "presence_online"
            } else {
                "presence_offline"
            },
            "",
        );
    }

    /// Waits until it shows its contact as `Online`, `Offline` or `Busy`.
    pub fn shows_contact(&self, status: &str) {
        wait_for(&format!("the contact to be {status}"), || {
            let log = self.log();
            let last = log.lines().rfind(|line| line.contains(" changed status from "))?;
            last.split(" to ").last()?.contains(status).then_some(())
        });
    }

    /// Waits until `text` stands in its log.
    pub fn logged(&self, text: &str) {
        wait_for(&format!("{text:?} in the log of baresip:\n{}", self.log()), || {
            self.log().contains(text).then_some(())
        });
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.path().join("log")).unwrap()).into_owned()
    }

    /// What it has heard in its latest call so far: samples of one channel, and how many there are in a second.
    pub fn heard(&self) -> (Vec<i16>, u32) {
        let entries = fs::read_dir(self.home.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        // Their names begin with the time.
        let latest = paths.filter(|path| path.to_string_lossy().ends_with("-dec.wav")).max();
        // The header's length is written when the call ends; 44 bytes of header, then samples.
        let bytes = latest.map(|path| fs::read(path).unwrap()).unwrap_or_default();
        let Some((header, samples)) = bytes.split_at_checked(44) else {
            return (Vec::new(), 8_000);
        };
        let channels = usize::from(u16::from_le_bytes([header[22], header[23]])).max(1);
        let rate = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
        let first = samples.chunks_exact(2 * channels);
        (
            first.map(|frame| i16::from_le_bytes([frame[0], frame[1]])).collect(),
            rate,
        )
    }

    /// Waits until it has taken a picture of what it is shown; its width and height.
    pub fn sees(&mut self) -> (u32, u32) {
        wait_for("a picture", || {
            self.command("snapshot", "");
            let entries = fs::read_dir(self.home.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().path());
            let mut shots = names.filter(|path| path.to_string_lossy().contains("snapshot-recv"));
            let png = fs::read(shots.next()?).unwrap();
            // The first chunk of a PNG says its size.
            let number = |at: usize| Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().unwrap()));
            Some((number(16)?, number(20)?))
        })
    }

    /// Waits until half a second of what it heard is the tone of `hz`.
    pub fn hears(&self, hz: f64) {
        wait_for(&format!("a tone of {hz} Hz"), || {
            let (last, rate) = self.last_half_second()?;
            (tone::share_at(&last, rate, hz) > 0.9).then_some(())
        });
    }

    /// Waits until half a second of what it heard has these tones, and none of those.
    pub fn hears_mix(&self, tones: &[f64], silent: &[f64]) {
        wait_for(&format!("tones of {tones:?} Hz and not of {silent:?}"), || {
            let (last, rate) = self.last_half_second()?;
            let share = |hz: &f64| tone::share_at(&last, rate, *hz);
            let wanted = 0.6 / tones.len() as f64;
            let right = tones.iter().all(|hz| share(hz) > wanted) && silent.iter().all(|hz| share(hz) < 0.02);
            right.then_some(())
        });
    }

    /// Waits until half a second of what it heard is silence.
    pub fn hears_nothing(&self) {
        wait_for("silence", || {
            let (last, _) = self.last_half_second()?;
            last.iter().all(|sample| sample.unsigned_abs() <= 16).then_some(())
        });
    }

    /// Waits until nothing has come for a second: nobody speaks to it, and nothing is played.
    pub fn is_sent_no_more(&self) {
        let (mut heard, mut since) = (0, Instant::now());
        wait_for("a second without sound", || {
            let now = self.heard().0.len();
            if now != heard {
                (heard, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_secs(1)).then_some(())
        });
    }

    /// From now on it hears these tones, and for half a second none of those; what was on its way is let pass first.
    pub fn goes_on_hearing(&self, tones: &[f64], silent: &[f64]) {
        let (heard, rate) = self.heard();
        let (half, from) = (rate as usize / 2, heard.len() + rate as usize / 4);
        let judged = wait_for("half a second of sound", || {
            Some(self.heard().0.get(from..from + half)?.to_vec())
        });
        for hz in silent {
            let share = tone::share_at(&judged, rate, *hz);
            assert!(share < 0.02, "hears {hz} Hz: {share}");
        }
        self.hears_mix(tones, silent);
    }

    fn last_half_second(&self) -> Option<(Vec<i16>, u32)> {
        let (heard, rate) = self.heard();
        let length = rate as usize / 2;
        let from = heard.len().checked_sub(length).filter(|_| length > 0)?;
        Some((heard[from..].to_vec(), rate))
    }

    fn command(&mut self, command: &str, params: &str) {
        let json = serde_json::json!({ "command": command, "params": params, "token": "t" }).to_string();
        write!(self.control, "{}:{json},", json.len()).unwrap();
        // Answers and events are not read here; taking them off keeps baresip from blocking on a full socket.
        self.control.set_nonblocking(true).unwrap();
        let _ = self.control.read(&mut [0; 65_536]);
        self.control.set_nonblocking(false).unwrap();
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        // baresip 1.0.0 may hang on SIGTERM.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- baresip ---\n{}", self.log());
        }
    }
}

fn write_home(home: &Path, account: &Account<'_>, control_port: u16) {
    let (user, server) = (account.user, account.server);
    let tone_file: PathBuf = home.join("tone.wav");
    let rate = account.speech.rate_hz();
    write_tone(&tone_file, account.tone_hz, rate);
    let sound = ["stdio", "g711", "g722", "opus", "srtp", "aufile", "aubridge", "sndfile"];
    let sight = ["vp8", "fakevideo", "snapshot"];
    let sight = sight.iter().filter(|_| account.speech.video);
    let modules: String = sound.iter().chain(sight).map(|m| format!("module {m}.so\n")).collect();
    let (width, height) = PICTURE;
    let modules = format!(
        "video_source fakevideo,nil\nvideo_display fakevideo,nil\nvideo_size {width}x{height}\nvideo_fps 10\n{modules}"
    );
    let (listen, host, six) = match server {
        SocketAddr::V4(_) => ("127.0.0.1:0", "127.0.0.1", ""),
        SocketAddr::V6(_) => ("[::1]:0", "::1", "net_prefer_ipv6 yes\n"),
    };
    let config = format!(
        "sip_listen {listen}\nnet_interface {host}\n{six}call_local_timeout 60\naudio_player aubridge,sink\n\
         audio_alert aubridge,bell\naudio_source aufile,{}\n\
         ausrc_srate {rate}\nausrc_channels 1\nauplay_srate {rate}\nauplay_channels 1\nmodule_path /usr/lib/baresip/modules\n{modules}\
         module_tmp account.so\nmodule_app contact.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n\
         ctrl_tcp_listen 127.0.0.1:{control_port}\nsnd_path {}\n",
        tone_file.display(),
        home.display()
    );
    let mode = if account.answers { "auto" } else { "manual" };
    let Speech { codec, srtp, .. } = account.speech;
    let encryption = if srtp { ";mediaenc=srtp-mand" } else { "" };
    let accounts = format!(
        "<sip:{user}@{server}>;auth_pass={};answermode={mode};audio_codecs={codec}{encryption}\n",
        account.password
    );
    let contacts = format!("\"Peer\" <sip:{}@{server}>\n", account.writes_to);
    for (name, text) in [("config", config), ("accounts", accounts), ("contacts", contacts)] {
        fs::write(home.join(name), text).unwrap();
    }
}

fn write_tone(path: &Path, hz: f64, rate: u32) {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, format).unwrap();
    for sample in tone::sine(rate, hz, 60.0) {
        file.write_sample(sample).unwrap();
    }
    file.finalize().unwrap();
}
