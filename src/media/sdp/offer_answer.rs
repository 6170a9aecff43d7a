//! Offer/answer (RFC 3264) of one leg.
//!
//! A [`Negotiation`] belongs to one dialog with one device. Each leg negotiates on its own, about our own address. What
//! is offered comes either from the engine's codecs ([`Negotiation::offer`], [`Negotiation::answer`]) or, so that two
//! devices find a codec neither of which we decode, from the other leg's device ([`Negotiation::relay_offer`],
//! [`Negotiation::relay_answer`]). The relayed exchange runs the same way whoever offers and in whichever message:
//!
//! ```text
//! from.handle_offer(sdp)    to.relay_offer(&from) -> text     (INVITE, re-INVITE; or 200 -> 200 of a delayed offer)
//! to.handle_answer(sdp)     from.relay_answer(&to) -> text    (200 -> 200; or ACK -> ACK of a delayed offer)
//! ```
//!
//! A refused exchange is undone with [`Negotiation::rollback`] on each leg; what was agreed before still holds.

mod secure;
mod video;

use super::crypto::{Crypto, OurKeys, SrtpPolicy};
use super::{Address, Attribute, Connection, Direction, Origin, SdpFormat, SessionDescription, Stream};
use crate::codec::{OpusParameters, can_transcode, transcoded};
use crate::plan::{Codec, Format, LegMedia};
use crate::srtp::KeyPair;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use video::Video;

/// Our side of the leg's media; only [`Negotiation::move_to`] changes it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address the device is told: the external one if it is outside.
    pub address: IpAddr,
    /// Our RTP port; RTCP is one above.
    pub port: u16,
    /// `o=` session id, random.
    pub session_id: u64,
}

/// Why an exchange cannot go on. The negotiation is as it was before the call.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OfferAnswerError {
    /// No audio stream over RTP that is not refused: answer 488, warning 304.
    NoAudio,
    /// An audio stream, but no format both sides know: answer 488, warning 305.
    NoFormat,
    /// An offer came while ours is unanswered: answer 491.
    Glare,
    /// An offer came while an earlier one of the same device is unanswered: answer 500 with Retry-After.
    Pending,
    /// Keys for SRTP over signalling that anybody on the way can read: answer 488, warning 399.
    KeysInClear,
    /// Encryption without a key that we can use: answer 488, warning 399.
    NoKey,
    /// Clear RTP where the user must have SRTP, or the call had it before (it never falls back): answer 488, warning 399.
    ClearRefused,
    /// An answer without an offer, or a relay out of order: a fault of whoever called.
    Unexpected,
}

impl fmt::Display for OfferAnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OfferAnswerError::NoAudio => "no audio over RTP",
            OfferAnswerError::NoFormat => "no common codec",
            OfferAnswerError::Glare => "our own offer is unanswered",
            OfferAnswerError::Pending => "an earlier offer is unanswered",
            OfferAnswerError::KeysInClear => "keys for SRTP need encrypted signalling",
            OfferAnswerError::NoKey => "no usable key for SRTP",
            OfferAnswerError::ClearRefused => "media must be encrypted",
            OfferAnswerError::Unexpected => "no offer is outstanding",
        })
    }
}

impl std::error::Error for OfferAnswerError {}

/// What the last completed exchange agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Formats both sides take, most wanted first.
    pub formats: Vec<AgreedFormat>,
    /// What we do with the stream.
    pub direction: Direction,
    /// What the device said it does.
    pub remote_direction: Direction,
    /// Milliseconds of sound per packet the device asked for.
    pub ptime_ms: Option<u8>,
    /// The most it takes.
    pub maxptime_ms: Option<u8>,
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    rtcp_mux: bool,
    srtp: Option<Box<KeyPair>>,
    video: Option<Box<Video>>,
}

/// A format with its number in each direction (they may differ: RFC 3264 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedFormat {
    /// Name, clock, parameters the device gave; `pt` is the number we send.
    pub format: SdpFormat,
    /// The number the device sends.
    pub pt_in: u8,
}

impl Agreed {
    /// What the device wants of Opus, where that is agreed.
    fn opus(&self) -> OpusParameters {
        let opus = self.formats.iter().find(|agreed| agreed.format.codec() == Codec::Opus);
        opus.and_then(|agreed| agreed.format.fmtp.as_deref())
            .map_or_else(OpusParameters::default, OpusParameters::read)
    }

    /// The first format of sound, as `PCMU/8000`.
    #[must_use]
    pub fn codec_name(&self) -> Option<String> {
        let sound = self.formats.iter().find(|agreed| agreed.format.codec().is_sound())?;
        Some(format!("{}/{}", sound.format.name, sound.format.clock))
    }
}

/// The offer/answer state of one leg.
#[derive(Clone)]
pub struct Negotiation {
    local: Local,
    version: u64,
    text: Option<String>,
    lines: Lines,
    /// Which of them is the sound that was agreed last: a device may have offered several.
    sound_at: Option<usize>,
    numbers: Vec<SdpFormat>,
    state: State,
    agreed: Option<Agreed>,
    policy: SrtpPolicy,
    keys: Option<Box<OurKeys>>,
    /// Our line of the SRTP that is in use.
    crypto: Option<Box<Crypto>>,
    /// Where video comes in, if it may.
    video_port: Option<u16>,
}

/// Without the description, which may hold keys.
impl fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiation")
            .field("local", &self.local)
            .field("version", &self.version)
            .field("state", &self.state)
            .field("agreed", &self.agreed)
            .finish_non_exhaustive()
    }
}

/// Whose offer is open. An answered offer of ours is kept: the 200 repeats the answer of the 183, and some devices
/// change it there.
#[derive(Clone, Debug)]
enum State {
    Stable { answered: Option<Ours> },
    Offered(Ours),
    Asked(Theirs),
}

/// The lines of a description. What follows from one description has the same, most of the time.
type Lines = Arc<Vec<Line>>;

/// An `m=` line of the session, which keeps its place for ever (RFC 3264 section 8).
#[derive(Clone, Debug)]
struct Line {
    kind: Box<str>,
    protocol: Box<str>,
    formats: Vec<Box<str>>,
}

#[derive(Clone, Debug)]
struct Ours {
    at: usize,
    lines: Lines,
    formats: Vec<SdpFormat>,
    direction: Direction,
    crypto: Vec<Crypto>,
    video: Option<Box<Video>>,
}

/// Whose format parameters an answer tells: they say what is wanted of packets sent to the answerer.
#[derive(Copy, Clone)]
enum Parameters {
    /// The engine decodes.
    Ours,
    /// The device of the other leg does.
    Relayed,
}

impl Parameters {
    fn of(self, format: &SdpFormat) -> SdpFormat {
        let known = SdpFormat::of(format.codec()).filter(|_| matches!(self, Parameters::Ours));
        SdpFormat {
            fmtp: known.map_or_else(|| format.fmtp.clone(), |ours| ours.fmtp),
            ..format.clone()
        }
    }
}

/// The audio stream of a description from the device.
#[derive(Clone, Debug)]
struct Theirs {
    at: usize,
    lines: Lines,
    formats: Vec<SdpFormat>,
    direction: Direction,
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    rtcp_mux: bool,
    ptime_ms: Option<u8>,
    maxptime_ms: Option<u8>,
    /// Usable keys; empty where they may not be spoken of.
    crypto: Vec<Crypto>,
    /// What could be relayed beside.
    video: Option<Box<Video>>,
}

impl Negotiation {
    /// Nothing offered yet.
    #[must_use]
    pub fn new(local: Local) -> Negotiation {
        Negotiation {
            local,
            version: 0,
            text: None,
            lines: Lines::default(),
            sound_at: None,
            numbers: Vec::new(),
            state: State::Stable { answered: None },
            agreed: None,
            policy: SrtpPolicy::default(),
            keys: None,
            crypto: None,
            video_port: None,
        }
    }

    /// How to deal with SRTP; before the first offer. `random` is a CSPRNG in a node: our keys come from it.
    pub fn secure(&mut self, policy: SrtpPolicy, random: &mut dyn FnMut() -> u64) {
        self.policy = policy;
        self.keys = policy.allowed.then(|| Box::new(OurKeys::generate(random)));
    }

    /// The device offers. Answer with [`Negotiation::answer`] or [`Negotiation::relay_answer`].
    ///
    /// # Errors
    /// `Glare`, `Pending`, `NoAudio`, `NoFormat`.
    pub fn handle_offer(&mut self, offer: &SessionDescription) -> Result<(), OfferAnswerError> {
        match self.state {
            State::Offered(_) => return Err(OfferAnswerError::Glare),
            State::Asked(_) => return Err(OfferAnswerError::Pending),
            State::Stable { .. } => {}
        }
        let at = self.choose(offer)?;
        let mut theirs = self.read(offer, at)?;
        theirs.video = self.video_of(offer, at, !theirs.crypto.is_empty()).map(Box::new);
        self.remember(&theirs.formats);
        self.state = State::Asked(theirs);
        Ok(())
    }

    /// The device answers our offer, or repeats its answer in a later response.
    ///
    /// # Errors
    /// `Unexpected`, `NoAudio`, `NoFormat`. After the latter two the offer is still open: end the call, or roll back.
    pub fn handle_answer(&mut self, answer: &SessionDescription) -> Result<(), OfferAnswerError> {
        let (State::Offered(ours) | State::Stable { answered: Some(ours) }) = &self.state else {
            return Err(OfferAnswerError::Unexpected);
        };
        let stream = answer.streams.get(ours.at).ok_or(OfferAnswerError::NoAudio)?;
        let offered_secure = ours.lines.get(ours.at).is_some_and(|line| is_secure(&line.protocol));
        if !is_audio(stream) || is_secure(&stream.protocol) != offered_secure {
            return Err(OfferAnswerError::NoAudio);
        }
        let mut theirs = self.read(answer, ours.at)?;
        theirs.video = ours
            .video
            .as_ref()
            .and_then(|video| video.answered(answer))
            .map(Box::new);
        let (crypto, srtp) = self.answered_keys(ours, &theirs)?;
        let formats = matched(&ours.formats, &theirs.formats);
        if !formats.iter().any(|agreed| agreed.format.codec().is_sound()) {
            return Err(OfferAnswerError::NoFormat);
        }
        let direction = ours.direction.and(theirs.direction.reversed());
        self.agreed = Some(theirs.agreed(formats, direction, srtp));
        self.lines = ours.lines.clone();
        self.sound_at = Some(ours.at);
        let answered = Some(ours.clone());
        self.crypto = crypto.map(Box::new);
        self.state = State::Stable { answered };
        Ok(())
    }

    /// Our offer of these codecs, most wanted first.
    ///
    /// # Errors
    /// `Glare` if an offer is open either way.
    pub fn offer(&mut self, codecs: &[Codec], direction: Direction) -> Result<&str, OfferAnswerError> {
        let formats: Vec<_> = codecs.iter().filter_map(|&codec| SdpFormat::of(codec)).collect();
        self.send_offer(&formats, direction, None, None, None)
    }

    /// Our offer to this device of what the device of the other leg offers, and behind that of what the engine can turn into
    /// it: devices without a common codec hear each other all the same.
    ///
    /// # Errors
    /// `Unexpected` if `from` has no open offer of its device; `Glare` if an offer is open on this leg.
    pub fn relay_offer(&mut self, from: &Negotiation) -> Result<&str, OfferAnswerError> {
        let State::Asked(theirs) = &from.state else {
            return Err(OfferAnswerError::Unexpected);
        };
        let mut formats = with_transcoded(&theirs.formats);
        // Key presses cross to devices that have no packets for them, so they are offered in any case.
        if !formats.iter().any(is_key) {
            formats.extend(SdpFormat::of(Codec::TelephoneEvent(8_000)));
        }
        let may = |from: &Negotiation| from.video_port.is_some();
        let video = theirs.video.as_deref().filter(|_| may(self) && may(from)).cloned();
        self.send_offer(&formats, theirs.direction, theirs.ptime_ms, theirs.maxptime_ms, video)
    }

    /// Answers the device's offer with the first of its formats of sound that is in `codecs`, and key presses beside it
    /// if `codecs` has them; `direction` is what we would like.
    ///
    /// # Errors
    /// `Unexpected` without an open offer; `NoFormat`.
    pub fn answer(&mut self, codecs: &[Codec], direction: Direction) -> Result<&str, OfferAnswerError> {
        let State::Asked(theirs) = &self.state else {
            return Err(OfferAnswerError::Unexpected);
        };
        let known = |format: &&SdpFormat| codecs.contains(&format.codec());
        let sound = theirs
            .formats
            .iter()
            .filter(known)
            .find(|format| format.codec().is_sound());
        let sound = sound.ok_or(OfferAnswerError::NoFormat)?;
        let beside = |format: &&SdpFormat| !format.codec().is_sound() && format.clock == sound.clock;
        let formats = std::iter::once(sound)
            .chain(theirs.formats.iter().filter(known).filter(beside))
            .cloned()
            .collect();
        let keys: Vec<SdpFormat> = theirs.formats.iter().filter(known).cloned().collect();
        let formats = with_keys(formats, &keys);
        self.send_answer(formats, Parameters::Ours, (direction, None, None), None)
    }

    /// Answers the device's offer with what the device of the other leg answered to the relayed offer; where that has none of
    /// its codecs, with the first of its own that the engine can turn into what was answered.
    ///
    /// # Errors
    /// `Unexpected` without an open offer here or an agreement there; `NoFormat`.
    pub fn relay_answer(&mut self, from: &Negotiation) -> Result<&str, OfferAnswerError> {
        let State::Asked(theirs) = &self.state else {
            return Err(OfferAnswerError::Unexpected);
        };
        let State::Stable { .. } = from.state else {
            return Err(OfferAnswerError::Unexpected);
        };
        let agreed = from.agreed.as_ref().ok_or(OfferAnswerError::Unexpected)?;
        let formats: Vec<_> = agreed
            .formats
            .iter()
            .filter_map(|there| renumbered(&there.format, &theirs.formats))
            .collect();
        let (formats, parameters) = match formats.iter().any(|format| format.codec().is_sound()) {
            true => (formats, Parameters::Relayed),
            false => {
                let ours = transcodable(&theirs.formats, formats, agreed);
                (ours.ok_or(OfferAnswerError::NoFormat)?, Parameters::Ours)
            }
        };
        let formats = with_keys(formats, &theirs.formats);
        let (direction, ptime, maxptime) = (agreed.remote_direction, agreed.ptime_ms, agreed.maxptime_ms);
        let video = theirs.video.as_ref().zip(agreed.video.as_ref());
        let video = video.and_then(|(asked, there)| asked.answer(there));
        let video = video.filter(|_| self.video_port.is_some());
        self.send_answer(formats, parameters, (direction, ptime, maxptime), video)
    }

    /// From the next description on our sound is at another port. What was agreed about the old one holds until the device
    /// has agreed to that. The old port.
    pub fn move_to(&mut self, port: u16) -> u16 {
        std::mem::replace(&mut self.local.port, port)
    }

    /// Gives up the open offer, of whichever side; what was agreed before still holds. Nothing happens without one.
    pub fn rollback(&mut self) {
        if !matches!(self.state, State::Stable { .. }) {
            self.state = State::Stable { answered: None };
        }
    }

    /// Our last description, to be repeated in a 200 after a 183.
    #[must_use]
    pub fn local_description(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// What the last completed exchange agreed.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// An offer is open, of whichever side.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Stable { .. })
    }

    /// The direction in the device's offer that waits for our answer, as the device sees it.
    #[must_use]
    pub fn asked_direction(&self) -> Option<Direction> {
        match &self.state {
            State::Asked(theirs) => Some(theirs.direction),
            _ => None,
        }
    }

    /// The device has offered and waits for our answer.
    #[must_use]
    pub fn owes_answer(&self) -> bool {
        matches!(self.state, State::Asked(_))
    }

    /// What the engine needs to know of the agreement; `None` before there is one.
    #[must_use]
    pub fn leg_media(&self) -> Option<LegMedia> {
        let agreed = self.agreed.as_ref()?;
        let plain = |there: &AgreedFormat| Format {
            pt_in: there.pt_in,
            pt_out: there.format.pt,
            codec: there.format.codec(),
        };
        Some(LegMedia {
            remote: agreed.remote,
            remote_rtcp: agreed.remote_rtcp,
            rtcp_mux: agreed.rtcp_mux,
            formats: agreed.formats.iter().map(plain).collect(),
            direction: agreed.direction,
            on_hold: !agreed.remote_direction.receives(),
            ptime_ms: agreed.ptime_ms.unwrap_or(0),
            maxptime_ms: agreed.maxptime_ms.unwrap_or(0),
            opus: agreed.opus(),
            srtp: agreed.srtp.clone(),
            video: false,
            inband_dtmf: false,
        })
    }

    fn send_offer(
        &mut self,
        wanted: &[SdpFormat],
        direction: Direction,
        ptime: Option<u8>,
        maxptime: Option<u8>,
        video: Option<Video>,
    ) -> Result<&str, OfferAnswerError> {
        if self.is_open() {
            return Err(OfferAnswerError::Glare);
        }
        if self.must_encrypt() && self.keys.is_none() {
            return Err(OfferAnswerError::KeysInClear);
        }
        let (protocol, crypto) = self.offered_keys();
        let formats = self.numbered(wanted);
        let mut all = self.lines.clone();
        let lines = Arc::make_mut(&mut all);
        let at = self.sound_at.unwrap_or(lines.len());
        let audio = Line::audio(&formats, &protocol);
        match lines.get_mut(at) {
            Some(line) => *line = audio,
            None => lines.push(audio),
        }
        self.remember(&formats);
        // RFC 5761 section 5.1.1: a later offer without it would take back what was agreed.
        let rtcp_mux = self.agreed.as_ref().is_some_and(|agreed| agreed.rtcp_mux);
        let mut stream = audio_stream(
            &lines[at],
            self.local.port,
            &formats,
            direction,
            ptime,
            maxptime,
            rtcp_mux,
        );
        stream.attributes.extend(crypto.iter().map(Crypto::attribute));
        let video = video.filter(|_| crypto.is_empty()).map(|video| video.placed(lines));
        let taken = [Some((at, stream)), self.shown(video.as_ref())];
        self.state = State::Offered(Ours {
            at,
            lines: all.clone(),
            formats,
            direction,
            crypto,
            video: video.map(Box::new),
        });
        Ok(self.describe(&all, taken))
    }

    /// RFC 3264 section 6: the offer's numbers, its lines in its order, and no direction it did not allow.
    fn send_answer(
        &mut self,
        formats: Vec<SdpFormat>,
        parameters: Parameters,
        (direction, ptime, maxptime): (Direction, Option<u8>, Option<u8>),
        video: Option<(Video, Video)>,
    ) -> Result<&str, OfferAnswerError> {
        let asked = std::mem::replace(&mut self.state, State::Stable { answered: None });
        let State::Asked(mut theirs) = asked else {
            return Err(OfferAnswerError::Unexpected);
        };
        let direction = direction.and(theirs.direction.reversed());
        let audio = Line::audio(&formats, &theirs.lines[theirs.at].protocol);
        let mut all = std::mem::take(&mut theirs.lines);
        let lines = Arc::make_mut(&mut all);
        lines[theirs.at] = audio;
        let line = &lines[theirs.at];
        let said: Vec<SdpFormat> = formats.iter().map(|format| parameters.of(format)).collect();
        let secured = self.keys.as_ref().and_then(|keys| keys.answer(&theirs.crypto));
        let (crypto, srtp) = secured.unzip();
        let mut stream = audio_stream(
            line,
            self.local.port,
            &said,
            direction,
            ptime,
            maxptime,
            theirs.rtcp_mux,
        );
        stream.attributes.extend(crypto.as_ref().map(Crypto::attribute));
        self.crypto = crypto.map(Box::new);
        let given = |format: SdpFormat| {
            let offered = theirs.formats.iter().find(|offered| offered.pt == format.pt);
            SdpFormat {
                fmtp: offered.and_then(|offered| offered.fmtp.clone()),
                ..format
            }
        };
        let agreed = formats
            .into_iter()
            .map(|format| AgreedFormat {
                pt_in: format.pt,
                format: given(format),
            })
            .collect();
        let at = theirs.at;
        let (said, video) = video.unzip();
        theirs.video = video.map(Box::new);
        said.iter().for_each(|video| video.enter(lines));
        let taken = [Some((at, stream)), self.shown(said.as_ref())];
        self.agreed = Some(theirs.agreed(agreed, direction, srtp));
        self.lines = all.clone();
        self.sound_at = Some(at);
        Ok(self.describe(&all, taken))
    }

    fn shown(&self, video: Option<&Video>) -> Option<(usize, Stream)> {
        video.zip(self.video_port).map(|(video, port)| video.stream(port))
    }

    /// Writes our description, with the streams that are taken; its version rises only when something but the version changed (RFC 3264 section 8).
    fn describe(&mut self, lines: &[Line], mut taken: [Option<(usize, Stream)>; 2]) -> &str {
        let stream = |(index, line): (usize, &Line)| {
            let mut taken = taken.iter_mut();
            let stream = taken.find_map(|stream| stream.take_if(|(at, _)| *at == index));
            stream.map_or_else(|| line.refused(), |(_, stream)| stream)
        };
        let address = Address::Ip(self.local.address);
        let (session_id, version) = (self.local.session_id.to_string(), self.version.to_string());
        let digits = "v=0\r\no=- ".len() + session_id.len() + 1;
        let digits = digits..digits + version.len();
        let session = SessionDescription {
            origin: Origin {
                username: "-".into(),
                session_id: session_id.into(),
                version: version.into(),
                address: address.clone(),
            },
            name: "-".into(),
            connection: Some(Connection { address }),
            attributes: Vec::new(),
            streams: lines.iter().enumerate().map(stream).collect(),
        };
        let mut text = session.to_string();
        if self.text.as_ref() != Some(&text) {
            self.version += 1;
            text.replace_range(digits, &self.version.to_string());
        }
        self.text.insert(text)
    }

    /// Numbers for formats on this leg: one number means one thing for the whole session (RFC 3264 section 8.3.2).
    fn numbered(&self, wanted: &[SdpFormat]) -> Vec<SdpFormat> {
        let mut numbered: Vec<SdpFormat> = Vec::with_capacity(wanted.len());
        for format in wanted {
            let known = self
                .numbers
                .iter()
                .find(|known| known.same_format(format))
                .map(|known| known.pt);
            let own = Some(format.pt).filter(|&pt| format.has_static_number() || self.is_free(pt));
            let spare = (96..128).chain(35..64).filter(|&pt| self.is_free(pt));
            let taken = |pt: u8, list: &[SdpFormat]| list.iter().any(|earlier| earlier.pt == pt);
            let pt = known
                .into_iter()
                .chain(own)
                .chain(spare)
                .find(|&pt| !taken(pt, &numbered));
            numbered.extend(pt.map(|pt| SdpFormat { pt, ..format.clone() }));
        }
        numbered
    }

    fn is_free(&self, pt: u8) -> bool {
        !self.numbers.iter().any(|known| known.pt == pt)
    }

    /// At most 128 entries: one per number.
    fn remember(&mut self, formats: &[SdpFormat]) {
        self.numbers.retain(|known| {
            !formats
                .iter()
                .any(|format| format.pt == known.pt || format.same_format(known))
        });
        self.numbers.extend_from_slice(formats);
    }
}

impl Line {
    fn audio(formats: &[SdpFormat], protocol: &str) -> Line {
        let formats = formats.iter().map(|format| format.pt.to_string().into()).collect();
        Line {
            kind: "audio".into(),
            protocol: protocol.into(),
            formats,
        }
    }

    fn of(stream: &Stream) -> Line {
        Line {
            kind: stream.kind.clone(),
            protocol: stream.protocol.clone(),
            formats: stream.formats.clone(),
        }
    }

    /// RFC 3264 section 6: a refused stream keeps its line with port 0.
    fn refused(&self) -> Stream {
        self.stream(0, Vec::new())
    }

    fn stream(&self, port: u16, attributes: Vec<Attribute>) -> Stream {
        Stream {
            kind: self.kind.clone(),
            port,
            port_count: 1,
            protocol: self.protocol.clone(),
            formats: self.formats.clone(),
            connection: None,
            attributes,
        }
    }
}

impl Theirs {
    fn read(session: &SessionDescription, at: usize) -> Result<Theirs, OfferAnswerError> {
        let stream = session.streams.get(at).ok_or(OfferAnswerError::NoAudio)?;
        let formats = SdpFormat::read_all(stream);
        if !formats.iter().any(|format| format.codec().is_sound()) {
            return Err(OfferAnswerError::NoFormat);
        }
        let ip = session.address_of(stream).and_then(Address::ip);
        let remote = ip
            .filter(|ip| !ip.is_unspecified())
            .map(|ip| SocketAddr::new(ip, stream.port));
        let rtcp_mux = stream.attribute("rtcp-mux").is_some();
        Ok(Theirs {
            at,
            lines: Arc::new(session.streams.iter().map(Line::of).collect()),
            formats,
            direction: held_direction(session.direction_of(stream), ip),
            remote,
            remote_rtcp: if rtcp_mux { remote } else { rtcp_address(stream, remote) },
            rtcp_mux,
            ptime_ms: milliseconds(stream, "ptime"),
            maxptime_ms: milliseconds(stream, "maxptime"),
            crypto: Vec::new(),
            video: None,
        })
    }

    fn agreed(self, formats: Vec<AgreedFormat>, direction: Direction, srtp: Option<KeyPair>) -> Agreed {
        Agreed {
            formats,
            direction,
            remote_direction: self.direction,
            ptime_ms: self.ptime_ms,
            maxptime_ms: self.maxptime_ms,
            remote: self.remote,
            remote_rtcp: self.remote_rtcp,
            rtcp_mux: self.rtcp_mux,
            srtp: srtp.map(Box::new),
            video: self.video,
        }
    }
}

/// The answer to an offer of which nothing is taken: each stream keeps its line, with port 0 (RFC 3264 section 6).
#[must_use]
pub fn decline(offer: &SessionDescription) -> String {
    let address = Address::Ip(std::net::Ipv4Addr::UNSPECIFIED.into());
    let answer = SessionDescription {
        origin: Origin {
            username: "-".into(),
            session_id: "0".into(),
            version: "0".into(),
            address: address.clone(),
        },
        name: "-".into(),
        connection: Some(Connection { address }),
        attributes: Vec::new(),
        streams: offer.streams.iter().map(|stream| Line::of(stream).refused()).collect(),
    };
    answer.to_string()
}

/// Sound over RTP; the profiles with F differ only in when feedback may be sent.
fn is_audio(stream: &Stream) -> bool {
    let clear = || matches!(&*stream.protocol, "RTP/AVP" | "RTP/AVPF");
    &*stream.kind == "audio" && stream.port != 0 && (clear() || is_secure(&stream.protocol))
}

fn is_secure(protocol: &str) -> bool {
    matches!(protocol, "RTP/SAVP" | "RTP/SAVPF")
}

/// 0.0.0.0 is the hold of RFC 2543: the maker does not receive.
fn held_direction(direction: Direction, ip: Option<IpAddr>) -> Direction {
    let held = ip.is_some_and(|ip| ip.is_unspecified());
    Direction::new(direction.sends(), direction.receives() && !held)
}

/// RFC 3605: `a=rtcp:port [IN IP4 address]`; without it one above RTP.
fn rtcp_address(stream: &Stream, remote: Option<SocketAddr>) -> Option<SocketAddr> {
    let Some(value) = stream.attribute("rtcp") else {
        return remote.map(|rtp| SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)));
    };
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok().filter(|&port| port != 0)?;
    let ip = words
        .nth(2)
        .and_then(|text| text.parse().ok())
        .filter(|ip: &IpAddr| !ip.is_unspecified());
    Some(SocketAddr::new(ip.or(remote.map(|rtp| rtp.ip()))?, port))
}

/// Some write fractions (`a=ptime:20.0`); beyond 200 ms nobody sends.
fn milliseconds(stream: &Stream, name: &str) -> Option<u8> {
    let whole = stream.attribute(name)?.trim().split('.').next()?;
    whole.parse().ok().filter(|ms| (1..=200).contains(ms))
}

/// The formats of an answer that we offered, in the answer's order.
fn matched(ours: &[SdpFormat], theirs: &[SdpFormat]) -> Vec<AgreedFormat> {
    let mut matched: Vec<AgreedFormat> = Vec::with_capacity(theirs.len());
    for theirs in theirs {
        let free = |ours: &&SdpFormat| ours.same_encoding(theirs) && !matched.iter().any(|m| m.pt_in == ours.pt);
        let same_number = ours.iter().filter(free).find(|ours| ours.pt == theirs.pt);
        let Some(ours) = same_number.or_else(|| ours.iter().find(free)) else {
            continue;
        };
        let format = SdpFormat {
            rank: ours.rank,
            ..theirs.clone()
        };
        matched.push(AgreedFormat { pt_in: ours.pt, format });
    }
    matched
}

/// The formats of one device, with those behind its last format of sound that the engine can make from one of them.
fn with_transcoded(theirs: &[SdpFormat]) -> Vec<SdpFormat> {
    let mut formats = theirs.to_vec();
    let Some(last) = theirs.iter().rposition(|format| format.codec().is_sound()) else {
        return formats;
    };
    if theirs.iter().any(|format| can_transcode(format.codec())) {
        let can = transcoded().iter().filter(|&&codec| can_transcode(codec));
        let own = can.filter_map(|&codec| SdpFormat::of(codec));
        let new = own.filter(|own| !theirs.iter().any(|known| known.same_encoding(own)));
        formats.splice(last + 1..last + 1, new);
    }
    formats
}

/// The first format of this device that the engine can turn into what the other agreed to, and `beside` it what is no sound.
fn transcodable(theirs: &[SdpFormat], beside: Vec<SdpFormat>, agreed: &Agreed) -> Option<Vec<SdpFormat>> {
    let can = |format: &&SdpFormat| can_transcode(format.codec());
    agreed.formats.iter().map(|there| &there.format).find(can)?;
    let sound = theirs.iter().find(can)?;
    let same_clock = beside.into_iter().filter(|format| format.clock == sound.clock);
    Some(std::iter::once(sound.clone()).chain(same_clock).collect())
}

/// The formats of an answer with key presses beside them, if the device has packets for those: of the clock of its sound
/// where there is a choice. They cross to the other side whatever it takes.
fn with_keys(mut formats: Vec<SdpFormat>, theirs: &[SdpFormat]) -> Vec<SdpFormat> {
    let sound = formats.iter().find(|format| format.codec().is_sound());
    let clock = sound.map(|format| format.clock);
    if !formats.iter().any(is_key) {
        let keys = || theirs.iter().filter(|format| is_key(format));
        let same = keys().find(|format| Some(format.clock) == clock);
        formats.extend(same.or_else(|| keys().next()).cloned());
    }
    formats
}

fn is_key(format: &SdpFormat) -> bool {
    matches!(format.codec(), Codec::TelephoneEvent(_))
}

/// The same format under the number it has in `here`.
fn renumbered(format: &SdpFormat, here: &[SdpFormat]) -> Option<SdpFormat> {
    let pt = here.iter().find(|known| known.same_format(format))?.pt;
    Some(SdpFormat { pt, ..format.clone() })
}

fn audio_stream(
    line: &Line,
    port: u16,
    formats: &[SdpFormat],
    direction: Direction,
    ptime: Option<u8>,
    maxptime: Option<u8>,
    rtcp_mux: bool,
) -> Stream {
    let mut attributes = Vec::with_capacity(formats.len() * 2 + 4);
    formats
        .iter()
        .for_each(|format| format.write(format.pt, &mut attributes));
    attributes.extend(ptime.map(|ms| Attribute::value("ptime", ms.to_string())));
    attributes.extend(maxptime.map(|ms| Attribute::value("maxptime", ms.to_string())));
    attributes.extend(rtcp_mux.then(|| Attribute::flag("rtcp-mux")));
    attributes.push(Attribute::flag(direction.name()));
    line.stream(port, attributes)
}
