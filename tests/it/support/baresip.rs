//! A real softphone: Debian's baresip, scripted over its TCP control port, its sound from and to WAV files.

use super::{tone, wait_for};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
}

impl Baresip {
    /// Starts it and waits until its control port answers. Registration is waited for with [`Baresip::registered`].
    pub fn start(account: &Account<'_>) -> Baresip {
        let home = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        write_home(home.path(), account, port);
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = Command::new("stdbuf")
            .args(["-oL", "-eL", "baresip", "-f"])
            .arg(home.path())
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

    /// What it has heard in the call so far, 8 kHz.
    pub fn heard(&self) -> Vec<i16> {
        let recording = fs::read_dir(self.home.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().ends_with("-dec.wav"));
        // The header's length is written when the call ends; 44 bytes of header, then samples.
        let bytes = recording.map(|path| fs::read(path).unwrap()).unwrap_or_default();
        let samples = bytes.get(44..).unwrap_or_default().chunks_exact(2);
        samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    /// Waits until half a second of what it heard is the tone of `hz`.
    pub fn hears(&self, hz: f64) {
        wait_for(&format!("a tone of {hz} Hz"), || {
            let heard = self.heard();
            let last = &heard[heard.len().saturating_sub(4_000)..];
            (last.len() == 4_000 && tone::share_at(last, 8_000, hz) > 0.9).then_some(())
        });
    }

    /// Waits until half a second of what it heard has these tones, and none of those.
    pub fn hears_mix(&self, tones: &[f64], silent: &[f64]) {
        wait_for(&format!("tones of {tones:?} Hz and not of {silent:?}"), || {
            let heard = self.heard();
            let last = &heard[heard.len().saturating_sub(4_000)..];
            let share = |hz: &f64| tone::share_at(last, 8_000, *hz);
            let wanted = 0.6 / tones.len() as f64;
            let right = tones.iter().all(|hz| share(hz) > wanted) && silent.iter().all(|hz| share(hz) < 0.02);
            (last.len() == 4_000 && right).then_some(())
        });
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
    write_tone(&tone_file, account.tone_hz);
    let modules = ["stdio", "g711", "aufile", "aubridge", "sndfile"]
        .map(|m| format!("module {m}.so\n"))
        .concat();
    let config = format!(
        "sip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\ncall_local_timeout 60\naudio_player aubridge,sink\n\
         audio_alert aubridge,bell\naudio_source aufile,{}\nmodule_path /usr/lib/baresip/modules\n{modules}\
         module_tmp account.so\nmodule_app contact.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n\
         ctrl_tcp_listen 127.0.0.1:{control_port}\nsnd_path {}\n",
        tone_file.display(),
        home.display()
    );
    let mode = if account.answers { "auto" } else { "manual" };
    let accounts = format!(
        "<sip:{user}@{server}>;auth_pass={};answermode={mode}\n",
        account.password
    );
    let contacts = format!("\"Peer\" <sip:{}@{server}>\n", account.writes_to);
    for (name, text) in [("config", config), ("accounts", accounts), ("contacts", contacts)] {
        fs::write(home.join(name), text).unwrap();
    }
}

fn write_tone(path: &Path, hz: f64) {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, format).unwrap();
    for sample in tone::sine(8_000, hz, 60.0) {
        file.write_sample(sample).unwrap();
    }
    file.finalize().unwrap();
}
