//! What a viewer says about the picture it gets (RFC 4585, RFC 5104, REMB), put into the words of who makes the picture: its
//! own SSRC and sequence numbers for ours.

use super::outgoing::OutgoingStream;
use super::rtcp::{PAYLOAD_FEEDBACK, Packets, TRANSPORT_FEEDBACK, word};
use smallvec::SmallVec;

/// Feedback for one sender.
pub type Feedback = SmallVec<[u8; MAX_FEEDBACK]>;

/// Longest feedback passed on at once: a request for 50 lost packets takes 212 bytes.
pub const MAX_FEEDBACK: usize = 256;

/// Translates the feedback of a compound about `heard`, the stream to the viewer, for whom `ours` is the SSRC we have at the
/// sender. What is no loss report, no request for a picture and no limit of the rate is left out, as is what does not fit.
pub fn translate(compound: &[u8], heard: &OutgoingStream, ours: u32) -> Feedback {
    let mut out = Feedback::new();
    let Some((source, behind)) = heard.source() else {
        return out;
    };
    for (head, body) in Packets(compound) {
        let about = |at: usize| body.get(at..at + 4).is_some_and(|bytes| word(bytes) == heard.ssrc);
        let Some(said) = body.get(8..).filter(|_| head[0] & 0x20 == 0) else {
            continue;
        };
        let mut words = Words::new();
        let is_known = match (head[1], head[0] & 0x1f) {
            (TRANSPORT_FEEDBACK, 1) if about(4) => lost(said, behind, &mut words),
            (PAYLOAD_FEEDBACK, 1) => about(4),
            (PAYLOAD_FEEDBACK, 4) => refresh(said, heard.ssrc, source, &mut words),
            (PAYLOAD_FEEDBACK, 15) => rate(said, heard.ssrc, source, &mut words),
            _ => false,
        };
        // FIR and REMB name the stream in what follows (RFC 5104 section 4.3.1.2).
        let media = if about(4) { source } else { 0 };
        if is_known && out.len() + 12 + 4 * words.len() <= MAX_FEEDBACK {
            out.extend([head[0], head[1], 0, words.len() as u8 + 2]);
            out.extend(ours.to_be_bytes().into_iter().chain(media.to_be_bytes()));
            words.iter().for_each(|word| out.extend(word.to_be_bytes()));
        }
    }
    out
}

type Words = SmallVec<[u32; MAX_FEEDBACK / 4]>;

fn words_of(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).take(MAX_FEEDBACK / 4).map(word)
}

/// Generic NACK (RFC 4585 section 6.2.1): first number and a mask of those behind it.
fn lost(said: &[u8], behind: u16, words: &mut Words) -> bool {
    words.extend(words_of(said).map(|lost| {
        let first = ((lost >> 16) as u16).wrapping_sub(behind);
        u32::from(first) << 16 | lost & 0xffff
    }));
    !words.is_empty()
}

/// Full intra request (RFC 5104 section 4.3.1): whose picture, and a number that tells a repetition from a new request.
fn refresh(said: &[u8], heard: u32, source: u32, words: &mut Words) -> bool {
    let mut requests = words_of(said);
    while let (Some(ssrc), Some(number)) = (requests.next(), requests.next()) {
        if ssrc == heard {
            words.extend([source, number]);
        }
    }
    !words.is_empty()
}

/// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03): `REMB`, rate, and whose streams.
fn rate(said: &[u8], heard: u32, source: u32, words: &mut Words) -> bool {
    let mut parts = words_of(said);
    let (Some(0x5245_4d42), Some(limit)) = (parts.next(), parts.next()) else {
        return false;
    };
    words.extend([0x5245_4d42, 1 << 24 | limit & 0xff_ffff, source]);
    parts.any(|ssrc| ssrc == heard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpHeader;
    use clock::Mono;
    use proptest::prelude::*;

    const OURS: u32 = 0x0102_0304;

    /// The stream to the viewer; its source is at SSRC 77 and sequence number 1000.
    fn stream() -> (OutgoingStream, u16) {
        let mut stream = OutgoingStream::new(&mut || 0xdead_beef_0000_2000);
        let source = RtpHeader {
            marker: false,
            pt: 96,
            sequence: 1000,
            timestamp: 5,
            ssrc: 77,
            payload: 12..20,
        };
        let sent = stream.relay(Mono(0), &source, 96, 90_000).unwrap();
        (stream, sent.sequence)
    }

    fn packet(kind: u8, format: u8, words: &[u32]) -> Vec<u8> {
        let head = u32::from_be_bytes([0x80 | format, kind, 0, words.len() as u8]);
        std::iter::once(&head)
            .chain(words)
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    #[test]
    fn a_request_for_a_picture_and_for_packets_reach_the_sender_in_its_own_numbers() {
        let (stream, sequence) = stream();
        let (viewer, heard) = (9, stream.ssrc);
        let told = |packet: &[u8]| translate(packet, &stream, OURS).to_vec();
        assert_eq!(told(&packet(206, 1, &[viewer, heard])), packet(206, 1, &[OURS, 77]));
        assert_eq!(
            told(&packet(205, 1, &[viewer, heard, u32::from(sequence) << 16 | 0x8001])),
            packet(205, 1, &[OURS, 77, 1000 << 16 | 0x8001])
        );
        assert_eq!(
            told(&packet(206, 4, &[viewer, 0, 5, 1, heard, 3 << 24])),
            packet(206, 4, &[OURS, 0, 77, 3 << 24])
        );
        assert_eq!(
            told(&packet(206, 15, &[viewer, 0, 0x5245_4d42, 0x0204_0000, 5, heard])),
            packet(206, 15, &[OURS, 0, 0x5245_4d42, 0x0104_0000, 77])
        );
    }

    #[test]
    fn feedback_about_other_streams_and_of_other_kinds_is_left_out() {
        let (stream, _) = stream();
        for packet in [
            packet(206, 1, &[9, 5]),
            packet(206, 4, &[9, 0, 5, 0]),
            packet(205, 15, &[9, stream.ssrc, 1]),
            packet(206, 15, &[9, 0, 0x5245_4d42, 0x0104_0000, 5]),
        ] {
            assert!(translate(&packet, &stream, OURS).is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic_or_write_more_than_fits(
            kind in 205u8..=206, format in 0u8..32, words in proptest::collection::vec(any::<u32>(), 0..200)
        ) {
            let (stream, _) = stream();
            let mut words = words;
            if let Some(about) = words.get_mut(1) { *about = stream.ssrc; }
            prop_assert!(translate(&packet(kind, format, &words), &stream, OURS).len() <= MAX_FEEDBACK);
        }
    }
}
