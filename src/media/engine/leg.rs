//! One device's media: its two streams, where they come from and go to, and its figures.

use super::input::Input;
use super::listen::Tap;
use super::output::Sending;
use super::recent::Recent;
use super::secure::Secure;
use super::tones::Tones;
use super::{EngineConfig, Forward, PACKET_BUFFER};
use crate::dtmf::{Dialer, Press, key_of};
use crate::event::{DtmfBy, Event, LegStats};
use crate::plan::{Codec, DtmfTo, Format, LegId, LegMedia, OpenLeg};
use crate::rtp::RtpHeader;
use crate::rtp::header::PacketId;
use crate::rtp::key_press::{KeyPress, KeyPresses};
use crate::rtp::latch::{RtcpLatch, RtpLatch, Verdict};
use crate::rtp::outgoing::OutgoingStream;
use crate::rtp::rtcp::{self, Report, ReportBlock, SenderInfo};
use crate::rtp::source::{Arrival, IncomingStream};
use clock::Mono;
use slab::Slab;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// No format has this number.
pub(super) const NO_FORMAT: u8 = 0xff;

/// RTCP goes out this often (RFC 3550 section 6.2), spread by half either way so that legs do not beat in time.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// A device that sends sends this often: packets of 60 ms with jitter.
const SENDS_WITHIN: Duration = Duration::from_millis(150);

/// All of a worker, by their slots. Each has memory of its own, so that none is moved when others come.
pub(super) type Legs = Slab<Box<Leg>>;

pub(super) struct Leg {
    pub id: LegId,
    pub port: u16,
    pub room: usize,
    pub media: LegMedia,
    pub outgoing: OutgoingStream,
    pub route: Route,
    pub feed: Feed,
    /// Its sound on the way into a mix, while somebody is fed one.
    pub input: Option<Box<Input>>,
    /// Somebody listens to what it sends, and to what it is sent.
    pub tap: Option<Box<Tap>>,
    pub sent_tap: Option<Box<Tap>>,
    /// What it is sent in a mix.
    pub sending: Sending,
    /// What of it was relayed last.
    pub recent: Recent,
    /// Its level is controlled.
    pub levelled: bool,
    /// It sends a codec its listener does not have: relay would be silence.
    pub transcode: bool,
    /// Where sound may go now; `None` on hold, before an address is known, or where nothing may be sent.
    pub rtp_to: Option<SocketAddr>,
    /// Keys it is yet to hear.
    pub dialer: Option<Box<Dialer>>,
    /// Where its own keys go.
    pub keys_to: DtmfTo,
    /// The present press goes on to somebody as packets.
    pub keys_pass: bool,
    /// Listens for keys in the sound, where that is wanted.
    tones: Option<Box<Tones>>,
    formats: [u8; 128],
    incoming: IncomingStream,
    rtp_latch: RtpLatch,
    rtcp_latch: RtcpLatch,
    rtcp_to: Option<SocketAddr>,
    keys: Option<Box<KeyPresses>>,
    media_timeout: Option<Duration>,
    heard_at: Mono,
    timed_out: bool,
    report_at: Mono,
    cname: u64,
    secure: Option<Box<Secure>>,
    last_sender_report: Option<(u32, Mono)>,
    sent_at_last_report: u64,
    figures: LegStats,
}

/// What becomes of a leg's sound.
pub(super) enum Route {
    /// Nobody hears it.
    Nowhere,
    /// One listener hears it and nothing else: its packets are rewritten for the leg in slot `to`.
    Relay {
        to: usize,
        /// Payload type there for each payload type here.
        pts: Box<[u8; 128]>,
    },
}

/// What a leg is sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    Nothing,
    Relay,
    Mix,
}

/// A packet of the device that is to be used.
pub(super) struct Accepted {
    pub header: RtpHeader,
    pub format: Format,
}

impl Leg {
    pub fn new(now: Mono, open: OpenLeg, room: usize, config: &EngineConfig, random: &mut dyn FnMut() -> u64) -> Leg {
        let OpenLeg {
            leg,
            port,
            media,
            latch,
            media_timeout,
            ..
        } = open;
        let mut leg = Leg {
            id: leg,
            port,
            room,
            outgoing: OutgoingStream::new(random),
            route: Route::Nowhere,
            feed: Feed::Nothing,
            input: None,
            tap: None,
            sent_tap: None,
            sending: Sending::default(),
            recent: Recent::default(),
            levelled: false,
            transcode: false,
            rtp_to: None,
            dialer: None,
            keys_to: DtmfTo::default(),
            keys_pass: false,
            tones: media.inband_dtmf.then(Box::default),
            formats: [NO_FORMAT; 128],
            incoming: IncomingStream::default(),
            rtp_latch: RtpLatch::new(latch, media.remote),
            rtcp_latch: RtcpLatch::new(media.remote_rtcp),
            rtcp_to: None,
            keys: None,
            media_timeout,
            heard_at: now,
            timed_out: false,
            report_at: now,
            cname: random(),
            secure: Secure::renewed(None, media.srtp.as_deref()),
            last_sender_report: None,
            sent_at_last_report: 0,
            figures: LegStats::default(),
            media,
        };
        leg.schedule_report(now, random());
        leg.number_formats();
        leg.find_destinations(config);
        leg
    }

    /// After offer and answer. The streams and their SSRC go on.
    pub fn update(&mut self, now: Mono, media: LegMedia, media_timeout: Option<Duration>, config: &EngineConfig) {
        self.rtp_latch.rearm(media.remote);
        self.rtcp_latch.rearm(media.remote_rtcp);
        self.incoming.forget_previous();
        self.secure = Secure::renewed(self.secure.take(), media.srtp.as_deref());
        self.tones = media.inband_dtmf.then(|| self.tones.take().unwrap_or_default());
        (self.media, self.media_timeout) = (media, media_timeout);
        (self.heard_at, self.timed_out, self.transcode) = (now, false, false);
        self.number_formats();
        self.find_destinations(config);
    }

    /// Each number means one format; the device's own number for a format is also taken where it is free, because many
    /// devices send by the number they announced.
    fn number_formats(&mut self) {
        self.formats = [NO_FORMAT; 128];
        for (at, format) in (0..NO_FORMAT).zip(&self.media.formats) {
            self.formats[usize::from(format.pt_in & 0x7f)] = at;
        }
        for (at, format) in (0..NO_FORMAT).zip(&self.media.formats) {
            let slot = &mut self.formats[usize::from(format.pt_out & 0x7f)];
            if *slot == NO_FORMAT {
                *slot = at;
            }
        }
    }

    /// What this payload type means in packets from the device.
    pub fn format(&self, pt: u8) -> Option<Format> {
        self.media
            .formats
            .get(usize::from(self.formats[usize::from(pt & 0x7f)]))
            .copied()
    }

    /// The payload types of this leg that `to` knows under a number of its own.
    pub fn relay_numbers(&self, to: &Leg) -> Box<[u8; 128]> {
        let mut pts = Box::new([NO_FORMAT; 128]);
        for (pt, slot) in (0..128).zip(pts.iter_mut()) {
            let there = |codec: Codec| to.media.formats.iter().find(|format| format.codec == codec);
            if let Some(format) = self.format(pt).and_then(|format| there(format.codec)) {
                *slot = format.pt_out;
            }
        }
        pts
    }

    /// The format to send sound in: the first we can encode.
    pub fn sound_format(&self) -> Option<Format> {
        self.media
            .formats
            .iter()
            .find(|format| Input::decodes(format.codec))
            .copied()
    }

    /// The format for key presses that come at `clock`: the same clock if there is a choice.
    pub fn key_format(&self, clock: u32) -> Option<Format> {
        let is_key = |format: &&Format| matches!(format.codec, Codec::TelephoneEvent(_));
        let keys = || self.media.formats.iter().filter(is_key);
        let same = keys().find(|format| format.codec.clock_rate() == clock);
        same.or_else(|| keys().next()).copied()
    }

    /// The format for key presses that we make: of the clock of what the device is sent now.
    pub fn own_key_format(&self) -> Option<Format> {
        self.key_format(self.outgoing.clock())
    }

    /// The format for comfort noise beside sound of this clock (RFC 3389 section 4).
    pub fn noise_format(&self, clock: u32) -> Option<Format> {
        self.media
            .formats
            .iter()
            .find(|format| format.codec == Codec::ComfortNoise(clock))
            .copied()
    }

    /// It goes to another room: what it said before is for those it said it to.
    pub fn leave_room(&mut self) {
        (self.route, self.feed, self.sending) = (Route::Nowhere, Feed::Nothing, Sending::default());
        self.recent = Recent::default();
        if let Some(input) = &mut self.input {
            input.leave();
        }
    }

    /// A packet came in the last moments, so that another will soon.
    pub fn sends(&self, now: Mono) -> bool {
        self.incoming.ssrc().is_some() && now.since(self.heard_at) < SENDS_WITHIN
    }

    /// It is mixed no more.
    pub fn end_input(&mut self) {
        if let Some(input) = self.input.take() {
            self.figures.late += input.late();
            self.figures.concealed += input.concealed;
        }
        self.sending = Sending::default();
    }

    /// Some codec of sound is known to both, so that packets can be passed on.
    pub fn shares_codec_with(&self, other: &Leg) -> bool {
        let known = |format: &Format| other.media.formats.iter().any(|there| there.codec == format.codec);
        self.media
            .formats
            .iter()
            .any(|format| format.codec.is_sound() && known(format))
    }

    fn find_destinations(&mut self, config: &EngineConfig) {
        let may = |to: &SocketAddr| config.may_send(to);
        let sends = self.media.direction.sends() && !self.media.on_hold;
        self.rtp_to = self.rtp_latch.destination().filter(|_| sends).filter(may);
        let rtcp = if self.media.rtcp_mux {
            self.rtp_latch.destination()
        } else {
            self.rtcp_latch.destination()
        };
        self.rtcp_to = rtcp.filter(may);
    }

    /// Judges and counts an RTP packet; `None` if it goes no further.
    pub fn accept(
        &mut self,
        now: Mono,
        source: SocketAddr,
        packet: &mut [u8],
        config: &EngineConfig,
        events: &mut impl Extend<Event>,
    ) -> Option<Accepted> {
        let (formats, secure) = (&self.formats, self.secure.as_deref());
        let agreed = |id: &PacketId| formats[usize::from(id.pt)] != NO_FORMAT;
        // A source is believed only if it has the key.
        let authentic = |_: &PacketId| secure.is_none_or(|secure| secure.is_authentic(packet));
        let identity = || {
            let id = PacketId::read(packet).filter(agreed).filter(authentic)?;
            Some((id.ssrc, id.sequence))
        };
        match self.rtp_latch.judge(source, identity) {
            Verdict::Held => {}
            Verdict::Latched { as_signalled } => {
                self.find_destinations(config);
                events.extend([Event::Latched {
                    leg: self.id,
                    source,
                    as_signalled,
                }]);
            }
            Verdict::Candidate | Verdict::Stranger => {
                self.figures.strangers += 1;
                return None;
            }
        }
        let packet = match &mut self.secure {
            Some(secure) => secure.open_rtp(packet, &mut self.figures)?,
            None => packet,
        };
        let accepted = RtpHeader::parse(packet).and_then(|header| {
            Some(Accepted {
                format: self.format(header.pt)?,
                header,
            })
        });
        self.figures.invalid += u64::from(accepted.is_none());
        let accepted = accepted?;
        self.hear(now);
        match self
            .incoming
            .arrive(now, &accepted.header, accepted.format.codec.clock_rate())
        {
            Arrival::Duplicate | Arrival::Stale => return None,
            Arrival::New | Arrival::Next | Arrival::Late => {}
        }
        if accepted.format.codec.is_sound() {
            self.figures.codec = Some(accepted.format.codec);
        }
        self.media.direction.receives().then_some(accepted)
    }

    /// A packet of key presses; says the press that ended with it.
    pub fn key_press(&mut self, now: Mono, accepted: &Accepted, payload: &[u8]) -> Option<Event> {
        let press = self
            .keys
            .get_or_insert_default()
            .arrive(now, &accepted.header, payload)?;
        Some(self.pressed(press))
    }

    /// A packet of sound: says the press that ended with it, if the device's keys are heard as tones.
    pub fn key_tones(&mut self, now: Mono, accepted: &Accepted, payload: &[u8]) -> Option<Event> {
        let press = self.tones.as_mut()?.hear(now, accepted, payload)?;
        self.sounded(press)
    }

    fn sounded(&self, press: Press) -> Option<Event> {
        Some(Event::Dtmf {
            leg: self.id,
            digit: key_of(press.event)?,
            duration: press.duration,
            by: DtmfBy::Tones,
            passed_on: false,
        })
    }

    fn pressed(&self, press: KeyPress) -> Event {
        let clock = self.media.formats.iter().find_map(|format| match format.codec {
            Codec::TelephoneEvent(rate) => Some(rate),
            _ => None,
        });
        let micros = u64::from(press.duration) * 1_000_000 / u64::from(clock.unwrap_or(8_000).max(1));
        Event::Dtmf {
            leg: self.id,
            digit: press.digit,
            duration: Duration::from_micros(micros),
            by: DtmfBy::Packets,
            passed_on: self.keys_pass,
        }
    }

    fn hear(&mut self, now: Mono) {
        (self.heard_at, self.timed_out) = (now, false);
    }

    /// RTCP ends here: what the device reports becomes figures. True if it was the device's.
    pub fn accept_rtcp(&mut self, now: Mono, source: SocketAddr, packet: &[u8], config: &EngineConfig) -> bool {
        if !self.knows_rtcp_source(source, packet) {
            self.figures.strangers += 1;
            return false;
        }
        // In place, but of a copy: reports are rare, and the caller's packet stays as it came.
        let mut copy = [0; PACKET_BUFFER];
        let Some(copy) = copy.get_mut(..packet.len()) else {
            return false;
        };
        copy.copy_from_slice(packet);
        let packet = match &mut self.secure {
            Some(secure) => match secure.open_rtcp(copy, &mut self.figures) {
                Some(compound) => compound,
                None => return false,
            },
            None => copy,
        };
        let Some(reports) = rtcp::parse(packet) else {
            self.figures.invalid += 1;
            return false;
        };
        self.hear(now);
        self.figures.rtcp.0 += 1;
        self.find_destinations(config);
        for report in reports {
            if let Report::Sender { info, .. } = report {
                self.last_sender_report = Some((rtcp::middle(info.ntp), now));
            }
            if let Report::Sender { blocks, .. } | Report::Receiver { blocks, .. } = report {
                let ours = self.outgoing.ssrc;
                blocks
                    .filter(|block| block.ssrc == ours)
                    .for_each(|block| self.learn(now, &block));
            }
        }
        true
    }

    /// Writes feedback of this picture's viewer, behind an empty report (RFC 4585 section 3.1). Returns port, destination and
    /// length.
    pub fn write_feedback(&mut self, feedback: &[u8], buffer: &mut [u8]) -> Option<(u16, SocketAddr, usize)> {
        let to = self.rtcp_to?;
        let at = rtcp::write(buffer, self.outgoing.ssrc, None, None, self.cname);
        buffer.get_mut(at..at + feedback.len())?.copy_from_slice(feedback);
        let port = if self.media.rtcp_mux { self.port } else { self.port + 1 };
        Some((port, to, at + feedback.len()))
    }

    fn knows_rtcp_source(&mut self, source: SocketAddr, packet: &[u8]) -> bool {
        let rtp = self.rtp_latch.source();
        if self.media.rtcp_mux {
            return rtp == Some(source);
        }
        let (ssrc, secure) = (self.incoming.ssrc(), self.secure.as_deref());
        self.rtcp_latch.judge(source, || {
            let maker = || rtcp::parse(packet).and_then(|mut reports| reports.next()?.ssrc());
            let same_host = rtp.is_some_and(|rtp| rtp.ip() == source.ip());
            same_host
                && match secure {
                    Some(secure) => secure.is_authentic_report(packet),
                    None => ssrc.is_some() && maker() == ssrc,
                }
        })
    }

    fn learn(&mut self, now: Mono, block: &ReportBlock) {
        let clock = self
            .media
            .formats
            .first()
            .map_or(8_000, |format| format.codec.clock_rate())
            .max(1);
        self.figures.remote_lost = u64::from(block.lost);
        self.figures.remote_jitter = Duration::from_micros(u64::from(block.jitter) * 1_000_000 / u64::from(clock));
        if block.last_sr != 0 {
            let trip = rtcp::middle(rtcp::ntp(now))
                .wrapping_sub(block.last_sr)
                .wrapping_sub(block.delay);
            // A device that reports a delay longer than the time since our report gives a huge number here.
            if trip < 60 << 16 {
                self.figures.round_trip = Some(Duration::from_nanos((u64::from(trip) * 1_000_000_000) >> 16));
            }
        }
    }

    /// What is due this second besides reports.
    pub fn watch(&mut self, now: Mono, events: &mut impl Extend<Event>) {
        if let Some(press) = self.keys.as_mut().and_then(|keys| keys.overdue(now)) {
            events.extend([self.pressed(press)]);
        }
        if let Some(press) = self.tones.as_mut().and_then(|tones| tones.overdue(now)) {
            events.extend(self.sounded(press));
        }
        let should_send = self.media.direction.receives() && !self.media.on_hold;
        let silent = |limit| now.since(self.heard_at) >= limit;
        if should_send && !self.timed_out && self.media_timeout.is_some_and(silent) {
            self.timed_out = true;
            events.extend([Event::MediaTimeout { leg: self.id }]);
        }
    }

    /// A report is due and somebody is there to read it; the next is scheduled.
    pub fn report_is_due(&mut self, now: Mono, random: u64) -> bool {
        let due = now >= self.report_at;
        if due {
            self.schedule_report(now, random);
        }
        due && self.rtcp_to.is_some()
    }

    fn schedule_report(&mut self, now: Mono, random: u64) {
        let spread = random % 1_000;
        self.report_at = now + REPORT_INTERVAL / 2 + REPORT_INTERVAL * u32::try_from(spread).unwrap_or(0) / 1_000;
    }

    /// Writes our report: SR if we have sent since the last one, else RR. Returns port, destination and length.
    pub fn write_report(&mut self, now: Mono, buffer: &mut [u8]) -> Option<(u16, SocketAddr, usize)> {
        let to = self.rtcp_to?;
        let sent = self.outgoing.packets > self.sent_at_last_report;
        self.sent_at_last_report = self.outgoing.packets;
        let info = sent.then(|| SenderInfo {
            ntp: rtcp::ntp(now),
            timestamp: self.outgoing.timestamp_now(now),
            packets: self.outgoing.packets as u32,
            bytes: self.outgoing.bytes as u32,
        });
        let (last_sr, at) = self.last_sender_report.unwrap_or((0, now));
        let delay = rtcp::middle(rtcp::ntp(Mono(now.since(at).as_nanos() as u64)));
        let block = self.incoming.report(last_sr, delay);
        let len = rtcp::write(buffer, self.outgoing.ssrc, info, block, self.cname);
        let len = match &mut self.secure {
            Some(secure) => secure.protect_rtcp(buffer, len)?,
            None => len,
        };
        self.figures.rtcp.1 += 1;
        let port = if self.media.rtcp_mux { self.port } else { self.port + 1 };
        Some((port, to, len))
    }

    /// Encrypts an RTP packet to the device in the first `len` bytes, where that was agreed; its length then. `None`: it must
    /// not be sent.
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        match &mut self.secure {
            Some(secure) => secure.protect_rtp(buffer, len),
            None => Some(len),
        }
    }

    /// The same for a packet that is passed on.
    pub fn sealed(&mut self, forward: Forward, buffer: &mut [u8]) -> Option<Forward> {
        let start = forward.range.start;
        let length = self.protect(buffer.get_mut(start..)?, forward.range.len())?;
        let range = start..start + length;
        Some(Forward { range, ..forward })
    }

    /// A packet nobody could use: RTCP on the RTP port, too short, or of a codec its listener does not have.
    pub fn count_invalid(&mut self) {
        self.figures.invalid += 1;
    }

    pub fn stats(&self) -> LegStats {
        let mut stats = LegStats {
            received: self.incoming.received,
            received_bytes: self.incoming.bytes,
            sent: self.outgoing.packets,
            sent_bytes: self.outgoing.bytes,
            lost: self.incoming.lost(),
            duplicates: self.incoming.duplicates,
            jitter: self.incoming.jitter(),
            ..self.figures.clone()
        };
        if let Some(input) = self.input.as_deref() {
            stats.late += input.late();
            stats.concealed += input.concealed;
        }
        stats.mos = stats.estimate_mos();
        stats
    }
}

impl EngineConfig {
    /// Whether media may go there at all (CVE-2020-26262): a device must not make us talk to ourselves, to a group, or to
    /// the link's own services.
    fn may_send(&self, to: &SocketAddr) -> bool {
        let host = to.ip().to_canonical();
        let never = host.is_unspecified() || host.is_multicast() || is_link_local(host) || to.port() == 0;
        !never && (self.allow_loopback || !host.is_loopback())
    }
}

fn is_link_local(host: IpAddr) -> bool {
    match host {
        IpAddr::V4(host) => host.is_link_local() || host.is_broadcast(),
        IpAddr::V6(host) => host.is_unicast_link_local(),
    }
}
