//! Opus (RFC 6716) over RTP (RFC 7587), mono: decoded and encoded straight at 8, 16 or 48 kHz.

use crate::plan::Rate;
use std::fmt;

/// Longest packet: 120 ms (RFC 6716 section 3.2.5).
const MAX_PACKET_MS: usize = 120;

/// No frame of ours is longer: 60 ms at 40 kbit/s have 300 bytes, twice that for what a variable rate may take.
const MAX_FRAME: usize = 640;

/// Bits per second where the far end names no limit: RFC 7587 section 3.1.1 has 8-12, 16-20 and 28-40 kbit/s for speech.
const BITRATES: [(Rate, i32); 3] = [(Rate::Narrow, 14_000), (Rate::Wide, 24_000), (Rate::Full, 40_000)];

/// Beyond 5 of 10 speech sounds no better and costs twice as much.
const COMPLEXITY: i32 = 5;

/// Loss that in-band FEC is made for: below, the encoder spends no bits on it.
const EXPECTED_LOSS_PERCENT: i32 = 10;

/// What the far end wants of Opus packets sent to it: its `a=fmtp` (RFC 7587 section 6.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpusParameters {
    /// Samples per second it can play.
    pub max_playback_rate: u32,
    /// Bits per second; 0 if it named none.
    pub max_average_bitrate: u32,
    /// It uses in-band FEC.
    pub in_band_fec: bool,
    /// It would like no packets in silence.
    pub dtx: bool,
    /// It wants a constant bit rate.
    pub constant_bitrate: bool,
}

impl Default for OpusParameters {
    /// RFC 7587 section 6.1: what holds for a parameter that is not there.
    fn default() -> OpusParameters {
        OpusParameters {
            max_playback_rate: 48_000,
            max_average_bitrate: 0,
            in_band_fec: false,
            dtx: false,
            constant_bitrate: false,
        }
    }
}

impl OpusParameters {
    /// Reads `maxplaybackrate=16000; useinbandfec=1`. Unknown and broken parameters are ignored (RFC 7587 section 7); we send
    /// mono always, so `stereo` needs no answer.
    #[must_use]
    pub fn read(fmtp: &str) -> OpusParameters {
        let mut read = OpusParameters::default();
        for (name, value) in fmtp.split(';').filter_map(|pair| pair.split_once('=')) {
            let Ok(value) = value.trim().parse::<u32>() else {
                continue;
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "maxplaybackrate" if (8_000..=48_000).contains(&value) => read.max_playback_rate = value,
                "maxaveragebitrate" if (6_000..=510_000).contains(&value) => read.max_average_bitrate = value,
                "useinbandfec" => read.in_band_fec = value == 1,
                "usedtx" => read.dtx = value == 1,
                "cbr" => read.constant_bitrate = value == 1,
                _ => {}
            }
        }
        read
    }

    /// The highest of our rates that is worth sending.
    #[must_use]
    pub fn best_rate(&self) -> Rate {
        match self.max_playback_rate {
            0..16_000 => Rate::Narrow,
            16_000..24_000 => Rate::Wide,
            _ => Rate::Full,
        }
    }

    fn bitrate(&self, rate: Rate) -> i32 {
        let usual = BITRATES
            .iter()
            .find(|(known, _)| *known == rate)
            .map_or(40_000, |&(_, bitrate)| bitrate);
        match self.max_average_bitrate {
            0 => usual,
            limit => usual.min(i32::try_from(limit).unwrap_or(usual)),
        }
    }
}

/// A packet of discontinuous transmission: a table of contents and at most one byte (RFC 6716 section 3.1).
#[must_use]
pub fn is_dtx(payload: &[u8]) -> bool {
    payload.len() <= 2
}

/// One stream's decoder.
pub struct Decoder {
    decoder: opus::Decoder,
    rate: Rate,
}

impl Decoder {
    /// Decodes to `rate`. `None` if libopus has no memory for it.
    #[must_use]
    pub fn new(rate: Rate) -> Option<Decoder> {
        let decoder = opus::Decoder::new(rate.hz(), opus::Channels::Mono).ok()?;
        Some(Decoder { decoder, rate })
    }

    /// Samples per second it makes.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Appends a packet's samples; false if it is none of Opus.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> bool {
        // An empty payload would mean loss to libopus.
        !payload.is_empty() && self.run(payload, self.rate.hz() as usize * MAX_PACKET_MS / 1000, out, false)
    }

    /// Appends samples for a lost packet: of the copy in the next packet, else of what the decoder thinks went on.
    pub fn conceal(&mut self, next: Option<&[u8]>, samples: usize, out: &mut Vec<i16>) -> bool {
        // libopus conceals in units of 2.5 ms.
        let unit = self.rate.hz() as usize / 400;
        let samples = (samples / unit * unit).clamp(unit, MAX_PACKET_MS * self.rate.hz() as usize / 1000);
        match next.filter(|next| !is_dtx(next)) {
            Some(next) => self.run(next, samples, out, true),
            None => self.run(&[], samples, out, false),
        }
    }

    /// Samples in a packet; 0 if it is none of Opus.
    #[must_use]
    pub fn samples(&self, payload: &[u8]) -> usize {
        self.decoder.get_nb_samples(payload).unwrap_or(0)
    }

    fn run(&mut self, payload: &[u8], space: usize, out: &mut Vec<i16>, fec: bool) -> bool {
        let start = out.len();
        out.resize(start + space, 0);
        let made = self.decoder.decode(payload, &mut out[start..], fec);
        out.truncate(start + made.as_ref().map_or(0, |&samples| samples.min(space)));
        made.is_ok()
    }
}

/// One stream's encoder.
pub struct Encoder {
    encoder: opus::Encoder,
    rate: Rate,
    /// The next frame must not lean on the one before it.
    alone: bool,
}

impl Encoder {
    /// Encodes from `wanted` or what the far end can play, whichever is lower. `None` if libopus has no memory for it.
    #[must_use]
    pub fn new(wanted: Rate, parameters: &OpusParameters) -> Option<Encoder> {
        let rate = wanted.min(parameters.best_rate());
        let mut encoder = opus::Encoder::new(rate.hz(), opus::Channels::Mono, opus::Application::Voip).ok()?;
        encoder.set_complexity(COMPLEXITY).ok()?;
        encoder
            .set_bitrate(opus::Bitrate::Bits(parameters.bitrate(rate)))
            .ok()?;
        encoder.set_vbr(!parameters.constant_bitrate).ok()?;
        encoder.set_inband_fec(parameters.in_band_fec).ok()?;
        let loss = if parameters.in_band_fec {
            EXPECTED_LOSS_PERCENT
        } else {
            0
        };
        encoder.set_packet_loss_perc(loss).ok()?;
        encoder.set_dtx(parameters.dtx).ok()?;
        Some(Encoder {
            encoder,
            rate,
            alone: false,
        })
    }

    /// Samples per second it takes.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Appends one frame of 10, 20, 40 or 60 ms; nothing while the far end needs none.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        if std::mem::take(&mut self.alone) {
            let _ = self.encoder.set_prediction_disabled(true);
            self.write(samples, out);
            let _ = self.encoder.set_prediction_disabled(false);
        } else {
            self.write(samples, out);
        }
    }

    /// The next frame leans on none before it.
    pub fn stand_alone(&mut self) {
        self.alone = true;
    }

    /// Forgets the stream.
    pub fn begin_anew(&mut self) {
        // It fails for a bad pointer only.
        let _ = self.encoder.reset_state();
        self.alone = true;
    }

    fn write(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + MAX_FRAME, 0);
        let length = self.encoder.encode(samples, &mut out[start..]).unwrap_or(0);
        // One or two bytes say that nothing need be sent (`opus_encode`).
        out.truncate(if length > 2 { start + length } else { start });
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opus::Decoder({:?})", self.rate)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opus::Encoder({:?})", self.rate)
    }
}
