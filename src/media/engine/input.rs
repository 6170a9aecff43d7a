//! A member's sound on its way into a mix: buffered, decoded, concealed, and judged to be speech or not.

use crate::codec::g711;
use crate::jitter::{JitterBuffer, Packet, Turn};
use crate::plan::Codec;
use crate::plc::Concealment;
use crate::rtp::RtpHeader;
use clock::Mono;
use std::time::Duration;

/// Mean level of samples above which a frame is sound worth mixing: some -50 dBm0.
const TALK_LEVEL: u32 = 72;

/// Frames that count as talk after the last loud one: 300 ms, so that words keep their ends.
const HANGOVER: u8 = 15;

/// Packets above the wanted depth that are dropped even from speech.
const URGENT_EXCESS: usize = 3;

pub(super) struct Input {
    jitter: JitterBuffer,
    concealment: Concealment,
    /// Decoded and not yet played; less than one packet and one frame.
    pending: Vec<i16>,
    frame: Box<[i16]>,
    ssrc: Option<u32>,
    /// Samples in a packet of this device, by the last one.
    packet_samples: usize,
    rate: u32,
    hangover: u8,
}

impl Input {
    pub fn new(rate: u32, frame: usize) -> Input {
        Input {
            jitter: JitterBuffer::default(),
            concealment: Concealment::new(rate),
            pending: Vec::with_capacity(4 * frame),
            frame: vec![0; frame].into(),
            ssrc: None,
            packet_samples: frame,
            rate,
            hangover: 0,
        }
    }

    /// Codecs that can be mixed.
    pub fn decodes(codec: Codec) -> bool {
        matches!(codec, Codec::Pcmu | Codec::Pcma)
    }

    pub fn push(&mut self, now: Mono, header: &RtpHeader, codec: Codec, payload: &[u8]) {
        if self.ssrc.replace(header.ssrc) != Some(header.ssrc) {
            self.jitter.clear();
        }
        // The static number tells the codec again when the packet's turn comes.
        let pt = if codec == Codec::Pcma { 8 } else { 0 };
        let packet = Packet {
            sequence: header.sequence,
            timestamp: header.timestamp,
            pt,
            payload,
        };
        self.jitter.push(now, packet, codec.clock_rate());
    }

    /// Makes the next frame; true if the member talks in it.
    pub fn advance(&mut self) -> bool {
        while self.pending.len() < self.frame.len() {
            self.take_turn();
        }
        let length = self.frame.len();
        self.frame.copy_from_slice(&self.pending[..length]);
        self.pending.drain(..length);
        let level: u32 = self.frame.iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
        let loud = level > TALK_LEVEL * length as u32;
        self.hangover = if loud {
            HANGOVER
        } else {
            self.hangover.saturating_sub(1)
        };
        self.talks()
    }

    pub fn talks(&self) -> bool {
        self.hangover > 0
    }

    pub fn frame(&self) -> &[i16] {
        &self.frame
    }

    fn take_turn(&mut self) {
        let turn = Duration::from_micros(self.packet_samples as u64 * 1_000_000 / u64::from(self.rate));
        let excess = self.jitter.excess(turn);
        if excess >= URGENT_EXCESS || (excess > 0 && !self.talks()) {
            self.jitter.drop_next();
        }
        let start = self.pending.len();
        match self.jitter.pop(turn) {
            Turn::Packet(packet) => {
                let decode = if packet.pt == 8 { g711::from_a } else { g711::from_mu };
                self.pending.extend(packet.payload.iter().map(|&code| decode(code)));
                self.packet_samples = packet.payload.len().max(1);
                self.concealment.heard(&mut self.pending[start..]);
            }
            Turn::Lost | Turn::Empty => {
                self.pending.resize(start + self.packet_samples, 0);
                self.concealment.conceal(&mut self.pending[start..]);
            }
            Turn::Paused => self.pending.resize(start + self.packet_samples, 0),
        }
    }
}
