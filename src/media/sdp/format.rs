//! Payload formats of an RTP stream: `m=` numbers with their `rtpmap` and `fmtp`.

use super::{Attribute, Stream};
use crate::plan::Codec;
use std::sync::Arc;

/// One payload format as a description names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpFormat {
    /// Payload type.
    pub pt: u8,
    /// Encoding name as written; case does not count. Shared: a format goes from description to description.
    pub name: Arc<str>,
    /// RTP clock rate in Hz.
    pub clock: u32,
    /// Audio channels.
    pub channels: u8,
    /// How many formats of the same name, clock and channels came before it: these differ only by `fmtp`.
    pub rank: u8,
    /// Format parameters.
    pub fmtp: Option<Arc<str>>,
}

/// Static audio payload types (RFC 3551 table 4) that phones still name without `rtpmap`.
const STATIC: [(u8, &str, u32, u8); 12] = [
    (0, "PCMU", 8_000, 1),
    (3, "GSM", 8_000, 1),
    (4, "G723", 8_000, 1),
    (5, "DVI4", 8_000, 1),
    (7, "LPC", 8_000, 1),
    (8, "PCMA", 8_000, 1),
    (9, "G722", 8_000, 1),
    (10, "L16", 44_100, 2),
    (11, "L16", 44_100, 1),
    (13, "CN", 8_000, 1),
    (15, "G728", 8_000, 1),
    (18, "G729", 8_000, 1),
];

impl SdpFormat {
    /// The formats of an RTP stream in order of preference. Numbers without meaning, repeated numbers (CVE-2023-40019 is
    /// a crash on them) and 64 to 95, which RTCP may share a port with (RFC 5761 section 4), are left out.
    #[must_use]
    pub fn read_all(stream: &Stream) -> Vec<SdpFormat> {
        let mut formats: Vec<SdpFormat> = Vec::new();
        for pt in stream.formats.iter().filter_map(|text| text.parse::<u8>().ok()) {
            if pt > 127 || (64..96).contains(&pt) || formats.iter().any(|format| format.pt == pt) {
                continue;
            }
            let Some((name, clock, channels)) = rtpmap(&stream.attributes, pt).or_else(|| fixed(pt)) else {
                continue;
            };
            let mut format = SdpFormat {
                pt,
                name: name.into(),
                clock,
                channels,
                rank: 0,
                fmtp: fmtp(stream, pt),
            };
            let equals = formats.iter().filter(|earlier| earlier.same_encoding(&format)).count();
            format.rank = u8::try_from(equals).unwrap_or(u8::MAX);
            formats.push(format);
        }
        formats
    }

    /// The format as we offer a codec of our own, with the number it usually has. `None` for [`Codec::Other`].
    #[must_use]
    pub fn of(codec: Codec) -> Option<SdpFormat> {
        let (pt, name, clock, channels, fmtp) = match codec {
            Codec::Pcmu => (0, "PCMU", 8_000, 1, None),
            Codec::Pcma => (8, "PCMA", 8_000, 1, None),
            Codec::G722 => (9, "G722", 8_000, 1, None),
            Codec::Opus => (107, "opus", 48_000, 2, Some("useinbandfec=1")),
            Codec::L16(rate) => (96, "L16", rate, 1, None),
            Codec::ComfortNoise(8_000) => (13, "CN", 8_000, 1, None),
            Codec::ComfortNoise(rate) => (98, "CN", rate, 1, None),
            Codec::TelephoneEvent(rate) => (101, "telephone-event", rate, 1, Some("0-15")),
            Codec::Other { .. } => return None,
        };
        Some(SdpFormat {
            pt,
            name: name.into(),
            clock,
            channels,
            rank: 0,
            fmtp: fmtp.map(Arc::from),
        })
    }

    /// The same name, clock and channels.
    #[must_use]
    pub fn same_encoding(&self, other: &SdpFormat) -> bool {
        self.name.eq_ignore_ascii_case(&other.name) && self.clock == other.clock && self.channels == other.channels
    }

    /// The same format on two legs whose descriptions were made from each other.
    #[must_use]
    pub fn same_format(&self, other: &SdpFormat) -> bool {
        self.same_encoding(other) && self.rank == other.rank
    }

    /// The number is this encoding's by RFC 3551, in every session.
    #[must_use]
    pub fn has_static_number(&self) -> bool {
        fixed(self.pt).is_some_and(|(name, clock, channels)| {
            name.eq_ignore_ascii_case(&self.name) && clock == self.clock && channels == self.channels
        })
    }

    /// What the engine calls it.
    #[must_use]
    pub fn codec(&self) -> Codec {
        let is = |name: &str| self.rank == 0 && self.name.eq_ignore_ascii_case(name);
        match (self.clock, self.channels) {
            (8_000, 1) if is("PCMU") => Codec::Pcmu,
            (8_000, 1) if is("PCMA") => Codec::Pcma,
            (8_000, 1) if is("G722") => Codec::G722,
            (48_000, 2) if is("opus") => Codec::Opus,
            (rate @ (8_000 | 16_000 | 48_000), 1) if is("L16") => Codec::L16(rate),
            (rate, 1) if is("CN") => Codec::ComfortNoise(rate),
            (rate, 1) if is("telephone-event") => Codec::TelephoneEvent(rate),
            (clock, _) => Codec::Other {
                id: self.digest(),
                clock,
            },
        }
    }

    /// FNV-1a over what makes two formats the same. A peer that finds two names of one digest mislabels its own call.
    fn digest(&self) -> u32 {
        let name = self.name.bytes().map(|b| b.to_ascii_lowercase());
        let rest = self
            .clock
            .to_be_bytes()
            .into_iter()
            .chain([0, self.channels, self.rank]);
        name.chain(rest).fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    }

    /// `a=rtpmap` and, if there are parameters, `a=fmtp`.
    pub(super) fn write(&self, pt: u8, attributes: &mut Vec<Attribute>) {
        let SdpFormat {
            name, clock, channels, ..
        } = self;
        let map = match channels {
            1 => format!("{pt} {name}/{clock}"),
            _ => format!("{pt} {name}/{clock}/{channels}"),
        };
        attributes.push(Attribute::value("rtpmap", map));
        if let Some(fmtp) = &self.fmtp {
            attributes.push(Attribute::value("fmtp", format!("{pt} {fmtp}")));
        }
    }
}

fn fixed(pt: u8) -> Option<(&'static str, u32, u8)> {
    STATIC
        .iter()
        .find(|entry| entry.0 == pt)
        .map(|&(_, name, clock, channels)| (name, clock, channels))
}

/// `a=rtpmap:97 opus/48000/2`. A clock of 0 or above 384 kHz is nobody's.
fn rtpmap(attributes: &[Attribute], pt: u8) -> Option<(&str, u32, u8)> {
    let value = numbered(attributes, "rtpmap", pt)?;
    let mut parts = value.trim().split('/');
    let name = parts
        .next()
        .filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()))?;
    let clock = parts
        .next()?
        .parse()
        .ok()
        .filter(|clock| (1..=384_000).contains(clock))?;
    let channels = parts
        .next()
        .map_or(Some(1), |text| text.parse().ok())
        .filter(|&channels| channels > 0)?;
    Some((name, clock, channels))
}

fn fmtp(stream: &Stream, pt: u8) -> Option<Arc<str>> {
    numbered(&stream.attributes, "fmtp", pt).map(|value| value.trim().into())
}

/// The rest of `a=name:pt rest`.
fn numbered<'a>(attributes: &'a [Attribute], name: &str, pt: u8) -> Option<&'a str> {
    attributes
        .iter()
        .filter(|attribute| &*attribute.name == name)
        .find_map(|attribute| {
            let (number, rest) = attribute.value.as_deref()?.trim_start().split_once(' ')?;
            (number.parse() == Ok(pt)).then_some(rest)
        })
}
