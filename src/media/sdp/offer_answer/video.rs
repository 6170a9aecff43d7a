//! Video in offer and answer: passed on between two devices, or refused. We never look into it, so what a device says of its
//! formats is told to the other, as far as it holds with a relay between them.

use super::{AgreedFormat, Line, Negotiation, State, held_direction, is_secure, matched, renumbered, rtcp_address};
use crate::plan::{Format, LegMedia};
use crate::sdp::{Address, Attribute, Direction, SdpFormat, SessionDescription, Stream};
use std::net::SocketAddr;

/// Formats that need a second stream, or name others by number: a relay of one stream between two numberings breaks them.
const BESIDE: [&str; 5] = ["rtx", "red", "ulpfec", "flexfec", "flexfec-03"];

/// Feedback that is passed on; what a device is not promised it does not wait for.
const FEEDBACK: [&str; 4] = ["nack", "nack pli", "ccm fir", "goog-remb"];

/// The video stream of a description, or of an agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Video {
    at: usize,
    protocol: Box<str>,
    /// With the number the device sends, which may differ from the one we send.
    formats: Vec<AgreedFormat>,
    /// `a=rtcp-fb`: of which number, or of all.
    feedback: Vec<(Option<u8>, &'static str)>,
    direction: Direction,
    /// What the maker of the description does.
    remote_direction: Direction,
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    rtcp_mux: bool,
}

impl Video {
    /// The first video that can be relayed.
    pub fn offered(session: &SessionDescription) -> Option<Video> {
        (0..session.streams.len()).find_map(|at| Video::read(session, at))
    }

    fn read(session: &SessionDescription, at: usize) -> Option<Video> {
        let stream = session.streams.get(at)?;
        let clear = matches!(&*stream.protocol, "RTP/AVP" | "RTP/AVPF");
        if &*stream.kind != "video" || stream.port == 0 || !clear {
            return None;
        }
        let formats = formats_of(stream);
        let ip = session.address_of(stream).and_then(Address::ip);
        let remote = ip.filter(|ip| !ip.is_unspecified());
        let remote = remote.map(|ip| SocketAddr::new(ip, stream.port));
        let rtcp_mux = stream.attribute("rtcp-mux").is_some();
        let remote_direction = held_direction(session.direction_of(stream), ip);
        (!formats.is_empty()).then(|| Video {
            at,
            protocol: stream.protocol.clone(),
            feedback: feedback_of(stream, &formats),
            formats,
            direction: remote_direction,
            remote_direction,
            remote,
            remote_rtcp: if rtcp_mux { remote } else { rtcp_address(stream, remote) },
            rtcp_mux,
        })
    }

    /// What an answer makes of this offer of ours.
    pub fn answered(&self, answer: &SessionDescription) -> Option<Video> {
        let theirs = Video::read(answer, self.at)?;
        let formats = matched(&plain(&self.formats), &plain(&theirs.formats));
        let direction = self.direction.and(theirs.remote_direction.reversed());
        (!formats.is_empty() && theirs.protocol == self.protocol).then_some(Video {
            formats,
            direction,
            ..theirs
        })
    }

    /// This offer of a device, answered with what the other device agreed to: our answer, and the agreement.
    pub fn answer(&self, there: &Video) -> Option<(Video, Video)> {
        let offered = plain(&self.formats);
        let said: Vec<_> = there
            .formats
            .iter()
            .filter_map(|there| renumbered(&there.format, &offered))
            .map(AgreedFormat::same)
            .collect();
        let number = |pt: u8| {
            let there = there.formats.iter().find(|format| format.format.pt == pt)?;
            renumbered(&there.format, &offered).map(|format| format.pt)
        };
        let feedback = there.feedback.iter().filter_map(|&(pt, what)| match pt {
            Some(pt) => Some((Some(number(pt)?), what)),
            None => Some((None, what)),
        });
        let direction = there.remote_direction.and(self.remote_direction.reversed());
        let agreed = Video {
            direction,
            formats: said.clone(),
            ..self.clone()
        };
        let ours = Video {
            formats: said,
            feedback: feedback.collect(),
            ..agreed.clone()
        };
        (!ours.formats.is_empty()).then_some((ours, agreed))
    }

    /// The same as our offer, in the place where our description has its video.
    pub fn placed(mut self, lines: &mut Vec<Line>) -> Video {
        let known = lines.iter().position(|line| &*line.kind == "video");
        self.at = known.unwrap_or(lines.len());
        self.rtcp_mux = false;
        match lines.get_mut(self.at) {
            Some(line) => *line = self.line(),
            None => lines.push(self.line()),
        }
        self
    }

    /// Puts our answer into its place.
    pub fn enter(&self, lines: &mut [Line]) {
        if let Some(line) = lines.get_mut(self.at) {
            *line = self.line();
        }
    }

    fn line(&self) -> Line {
        let number = |format: &AgreedFormat| format.format.pt.to_string().into();
        Line {
            kind: "video".into(),
            protocol: self.protocol.clone(),
            formats: self.formats.iter().map(number).collect(),
        }
    }

    /// What our description says, and where.
    pub fn stream(&self, port: u16) -> (usize, Stream) {
        let mut attributes = Vec::with_capacity(self.formats.len() * 2 + self.feedback.len() + 2);
        for AgreedFormat { format, .. } in &self.formats {
            format.write(format.pt, &mut attributes);
        }
        attributes.extend(self.feedback.iter().map(|(pt, what)| {
            let pt = pt.map_or_else(|| "*".into(), |pt| pt.to_string());
            Attribute::value("rtcp-fb", format!("{pt} {what}"))
        }));
        attributes.extend(self.rtcp_mux.then(|| Attribute::flag("rtcp-mux")));
        attributes.push(Attribute::flag(self.direction.name()));
        (self.at, self.line().stream(port, attributes))
    }

    fn media(&self) -> LegMedia {
        let plain = |there: &AgreedFormat| Format {
            pt_in: there.pt_in,
            pt_out: there.format.pt,
            codec: there.format.codec(),
        };
        LegMedia {
            remote: self.remote,
            remote_rtcp: self.remote_rtcp,
            rtcp_mux: self.rtcp_mux,
            formats: self.formats.iter().map(plain).collect(),
            direction: self.direction,
            on_hold: !self.remote_direction.receives(),
            video: true,
            ..LegMedia::default()
        }
    }
}

impl AgreedFormat {
    /// The same number both ways.
    fn same(format: SdpFormat) -> AgreedFormat {
        AgreedFormat {
            pt_in: format.pt,
            format,
        }
    }
}

impl Negotiation {
    /// Our port for video, with RTCP above it; `None` refuses video from now on. Before [`Negotiation::relay_offer`].
    pub fn take_video(&mut self, port: Option<u16>) {
        self.video_port = port;
    }

    /// The device's open offer has video that can be relayed.
    #[must_use]
    pub fn asks_video(&self) -> bool {
        self.asked_video().is_some()
    }

    /// What the engine needs to know of the video that was agreed; `None` without.
    #[must_use]
    pub fn video_media(&self) -> Option<LegMedia> {
        self.agreed.as_ref()?.video.as_deref().map(Video::media)
    }

    /// The video of the open offer, where it can be passed on.
    pub(super) fn asked_video(&self) -> Option<&Video> {
        match &self.state {
            State::Asked(theirs) => theirs.video.as_deref(),
            _ => None,
        }
    }

    /// The video of an offer. Beside sound that is encrypted there is none: it would be in the clear.
    pub(super) fn video_of(&self, offer: &SessionDescription, audio: usize, keyed: bool) -> Option<Video> {
        let secure = offer
            .streams
            .get(audio)
            .is_some_and(|stream| is_secure(&stream.protocol));
        Video::offered(offer).filter(|_| !secure && !keyed && !self.must_encrypt())
    }
}

fn plain(formats: &[AgreedFormat]) -> Vec<SdpFormat> {
    formats.iter().map(|agreed| agreed.format.clone()).collect()
}

fn formats_of(stream: &Stream) -> Vec<AgreedFormat> {
    let alone = |format: &SdpFormat| !BESIDE.iter().any(|name| format.name.eq_ignore_ascii_case(name));
    let formats = SdpFormat::read_all(stream).into_iter().filter(alone);
    formats.map(AgreedFormat::same).collect()
}

/// At most one entry for each attribute of the stream, which the parser has bounded.
fn feedback_of(stream: &Stream, formats: &[AgreedFormat]) -> Vec<(Option<u8>, &'static str)> {
    let values = stream
        .attributes
        .iter()
        .filter(|attribute| &*attribute.name == "rtcp-fb");
    let read = |value: &str| {
        let (pt, what) = value.split_once(' ')?;
        let what = FEEDBACK
            .into_iter()
            .find(|known| what.trim().eq_ignore_ascii_case(known))?;
        Some((if pt == "*" { None } else { Some(pt.parse().ok()?) }, what))
    };
    let known = |pt: &Option<u8>| pt.is_none_or(|pt| formats.iter().any(|format| format.pt_in == pt));
    values
        .filter_map(|attribute| read(attribute.value.as_deref()?))
        .filter(|(pt, _)| known(pt))
        .collect()
}
