//! Parsing, printing, and offer/answer between two devices with the switch between them.

use super::*;
use crate::plan::{Codec, LegMedia};
use proptest::prelude::*;

fn parse(text: &str) -> SessionDescription {
    SessionDescription::parse(text.as_bytes()).unwrap()
}

fn kind(text: &str) -> SdpErrorKind {
    SessionDescription::parse(text.as_bytes()).unwrap_err().kind
}

/// A description of a phone with this rest after `t=`.
fn phone(host: &str, rest: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n{}\r\n",
        rest.trim().replace('\n', "\r\n")
    )
}

const OFFER_A: &str = "
m=audio 4000 RTP/AVP 107 9 8 0 101
a=rtpmap:107 opus/48000/2
a=fmtp:107 useinbandfec=1
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=sendrecv";

mod secure;

mod grammar {
    use super::*;

    const WHOLE: &str = "v=0\r\no=alice 2890844526 2890844527 IN IP4 host.example.com\r\ns=call\r\ni=x\r\nc=IN IP6 2001:db8::1\r\nb=AS:64\r\nt=0 0\r\na=tool:x y\r\nm=audio 49170/2 RTP/AVP 0 97\r\nc=IN IP4 224.2.1.1/127/3\r\na=rtpmap:97 iLBC/8000\r\na=recvonly\r\nm=image 0 udptl t38\r\n";

    #[test]
    fn reads_what_a_switch_needs() {
        let sdp = parse(WHOLE);
        assert_eq!(
            sdp.origin.address,
            Address::Name {
                v6: false,
                host: "host.example.com".into()
            }
        );
        assert_eq!(
            sdp.connection.as_ref().unwrap().address.ip(),
            "2001:db8::1".parse().ok()
        );
        assert_eq!(sdp.attribute("tool"), Some("x y"));
        let audio = &sdp.streams[0];
        assert_eq!((audio.port, audio.port_count, audio.formats.len()), (49170, 2, 2));
        assert_eq!(sdp.address_of(audio).unwrap().ip(), "224.2.1.1".parse().ok());
        assert_eq!(sdp.direction_of(audio), Direction::RecvOnly);
        assert_eq!(sdp.direction_of(&sdp.streams[1]), Direction::SendRecv);
    }

    #[test]
    fn print_then_parse_is_the_identity() {
        let sdp = parse(WHOLE);
        assert_eq!(parse(&sdp.to_string()), sdp);
    }

    #[test]
    fn bare_line_feeds_and_what_follows_an_empty_line_are_tolerated() {
        let text = WHOLE.replace("\r\n", "\n") + "\nrubbish\n";
        assert_eq!(parse(&text), parse(WHOLE));
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n";
        for (line, expected) in [
            ("b=nocolon", SdpErrorKind::Bandwidth),
            ("b=AS:x", SdpErrorKind::Bandwidth),
            ("c=IN IP4 1.2.3.400", SdpErrorKind::Connection),
            ("c=IN IP4", SdpErrorKind::Connection),
            ("c=IN IP5 1.2.3.4", SdpErrorKind::Connection),
            ("m=audio 70000 RTP/AVP 0", SdpErrorKind::Stream),
            ("m=audio -1 RTP/AVP 0", SdpErrorKind::Stream),
            ("m=audio 4000 RTP/AVP", SdpErrorKind::Stream),
            ("m=", SdpErrorKind::Stream),
            ("a=", SdpErrorKind::Attribute),
            ("a=:x", SdpErrorKind::Attribute),
            ("o=- 1 1 IN IP4 192.0.2.1", SdpErrorKind::Origin),
            ("no line", SdpErrorKind::NotALine),
            ("a=x\ry", SdpErrorKind::NotALine),
        ] {
            let error = SessionDescription::parse(format!("{head}{line}\r\n").as_bytes()).unwrap_err();
            assert_eq!((error.kind, error.line), (expected, 4), "{line}");
        }
        assert_eq!(kind(""), SdpErrorKind::Version);
        assert_eq!(kind("v=1\r\n"), SdpErrorKind::Version);
        assert_eq!(kind("v=0\r\ns=-\r\n"), SdpErrorKind::Origin);
        assert_eq!(kind("v=0\r\no=- x 1 IN IP4 192.0.2.1\r\n"), SdpErrorKind::Origin);
        assert_eq!(kind("v=0\r\na=\0\r\n"), SdpErrorKind::NotText);
        assert_eq!(
            SessionDescription::parse(b"v=0\r\ns=\xff\r\n").unwrap_err().kind,
            SdpErrorKind::NotText
        );
    }

    #[test]
    fn everything_that_repeats_is_bounded() {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n";
        let with = |line: &str, n: usize| kind(&(head.to_owned() + &line.repeat(n)));
        assert_eq!(with("a=x\r\n", MAX_ATTRIBUTES + 1), SdpErrorKind::TooMany);
        assert_eq!(with("m=audio 1 RTP/AVP 0\r\n", MAX_STREAMS + 1), SdpErrorKind::TooMany);
        assert_eq!(
            kind(&format!("{head}m=audio 1 RTP/AVP{}\r\n", " 0".repeat(129))),
            SdpErrorKind::TooMany
        );
        assert_eq!(with("i=0123456789\r\n", 2000), SdpErrorKind::TooLong);
    }

    #[test]
    fn formats_without_meaning_are_left_out_and_equal_ones_ranked() {
        let text = phone(
            "192.0.2.1",
            "m=audio 4 RTP/AVP 0 0 96 97 98 72 200 x 18\na=rtpmap:97 AMR/8000\na=rtpmap:98 amr/8000\na=fmtp:98 octet-align=1\na=rtpmap:72 x/8000",
        );
        let formats = SdpFormat::read_all(&parse(&text).streams[0]);
        let seen: Vec<_> = formats
            .iter()
            .map(|f| (f.pt, &*f.name, f.rank, f.fmtp.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                (0, "PCMU", 0, None),
                (97, "AMR", 0, None),
                (98, "amr", 1, Some("octet-align=1")),
                (18, "G729", 0, None)
            ]
        );
        assert_ne!(formats[1].codec(), formats[2].codec());
    }

    proptest! {
        #[test]
        fn survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = SessionDescription::parse(&bytes);
        }

        #[test]
        fn survives_any_lines(lines in proptest::collection::vec("[a-z]=[ -~]{0,40}", 0..30)) {
            let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n{}\r\n", lines.join("\r\n"));
            if let Ok(sdp) = SessionDescription::parse(text.as_bytes()) {
                prop_assert_eq!(parse(&sdp.to_string()), sdp);
            }
        }

        #[test]
        fn survives_damage(at in 0usize..600, byte: u8, cut in 0usize..600) {
            let mut bytes = phone("192.0.2.1", OFFER_A).into_bytes();
            let index = at % bytes.len();
            bytes[index] = byte;
            let _ = SessionDescription::parse(&bytes[..cut.min(bytes.len())]);
            if let Ok(sdp) = SessionDescription::parse(&bytes) {
                prop_assert_eq!(&parse(&sdp.to_string()), &sdp);
                let (mut a, mut b) = super::relay::legs();
                if a.handle_offer(&sdp).is_ok() {
                    let offer = parse(b.relay_offer(&a).unwrap());
                    prop_assert!(!SdpFormat::read_all(&offer.streams[0]).is_empty());
                }
            }
        }
    }
}

mod relay {
    use super::*;

    pub(super) fn legs() -> (Negotiation, Negotiation) {
        let leg = |port, session_id| {
            Negotiation::new(Local {
                address: "198.51.100.1".parse().unwrap(),
                port,
                session_id,
            })
        };
        (leg(16384, 1), leg(16386, 2))
    }

    /// One whole exchange from `from` to `to`; returns what each device was sent.
    fn exchange(from: &mut Negotiation, to: &mut Negotiation, offer: &str, answer: &str) -> (String, String) {
        from.handle_offer(&parse(offer)).unwrap();
        let relayed = to.relay_offer(from).unwrap().to_owned();
        to.handle_answer(&parse(answer)).unwrap();
        let answered = from.relay_answer(to).unwrap().to_owned();
        (relayed, answered)
    }

    const ANSWER_B: &str = "m=audio 5000 RTP/AVP 8 96\na=rtpmap:96 telephone-event/8000\na=fmtp:96 0-11";

    #[test]
    fn a_call_is_offered_and_answered_through_us() {
        let (mut a, mut b) = legs();
        let (offer, answer) = exchange(
            &mut a,
            &mut b,
            &phone("192.0.2.1", OFFER_A),
            &phone("192.0.2.2", ANSWER_B),
        );
        assert_eq!(
            offer,
            "v=0\r\no=- 2 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 16386 RTP/AVP 107 9 8 0 101\r\n\
             a=rtpmap:107 opus/48000/2\r\na=fmtp:107 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        assert_eq!(
            answer,
            "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 16384 RTP/AVP 8 101\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-11\r\na=sendrecv\r\n"
        );
        assert_eq!(a.agreed().unwrap().codec_name().unwrap(), "PCMA/8000");
        let media = b.leg_media().unwrap();
        assert_eq!(media.remote, "192.0.2.2:5000".parse().ok());
        assert_eq!(media.remote_rtcp, "192.0.2.2:5001".parse().ok());
        let keys = media.formats[1];
        assert_eq!(
            (keys.pt_in, keys.pt_out, keys.codec),
            (101, 96, Codec::TelephoneEvent(8000))
        );
        assert!(!media.on_hold && media.direction == Direction::SendRecv);
    }

    #[test]
    fn a_format_nobody_knows_is_relayed_with_its_number_and_parameters() {
        let (mut a, mut b) = legs();
        let offer = "m=audio 4000 RTP/AVP 100\na=rtpmap:100 X-ODD/12345/3\na=fmtp:100 a=b;c";
        let answer = "m=audio 5000 RTP/AVP 111\na=rtpmap:111 x-odd/12345/3\na=fmtp:111 d";
        let (offer, answer) = exchange(&mut a, &mut b, &phone("192.0.2.1", offer), &phone("192.0.2.2", answer));
        assert!(offer.contains("a=rtpmap:100 X-ODD/12345/3\r\na=fmtp:100 a=b;c\r\n"));
        assert!(answer.contains("a=rtpmap:100 x-odd/12345/3\r\na=fmtp:100 d\r\n"));
        let (a, b) = (a.leg_media().unwrap().formats[0], b.leg_media().unwrap().formats[0]);
        assert_eq!(
            (a.codec, a.pt_in, a.pt_out, b.pt_in, b.pt_out),
            (b.codec, 100, 100, 100, 111)
        );
    }

    #[test]
    fn holds_in_every_form_pass_through_and_back() {
        for (hold, expected, answer, back) in [
            ("a=sendonly", "a=sendonly", "a=recvonly", "a=recvonly"),
            ("a=inactive", "a=inactive", "a=inactive", "a=inactive"),
            ("c=IN IP4 0.0.0.0", "a=sendonly", "a=recvonly", "a=recvonly"),
            ("c=IN IP4 0.0.0.0\na=inactive", "a=inactive", "a=inactive", "a=inactive"),
            ("c=IN IP6 ::", "a=sendonly", "a=recvonly", "a=recvonly"),
            ("c=IN IP6 0:0:0:0:0:0:0:0", "a=sendonly", "a=recvonly", "a=recvonly"),
            // A device that ignores the hold must still not be said to send to the holder.
            ("a=sendonly", "a=sendonly", "a=sendrecv", "a=recvonly"),
        ] {
            let (mut a, mut b) = legs();
            exchange(
                &mut a,
                &mut b,
                &phone("192.0.2.1", OFFER_A),
                &phone("192.0.2.2", ANSWER_B),
            );
            let (offer, answer) = (
                format!("{OFFER_A}\n{hold}").replace("\na=sendrecv", ""),
                format!("{ANSWER_B}\n{answer}"),
            );
            let (relayed, answered) = exchange(
                &mut a,
                &mut b,
                &phone("192.0.2.1", &offer),
                &phone("192.0.2.2", &answer),
            );
            assert!(
                relayed.contains(expected) && relayed.contains("c=IN IP4 198.51.100.1"),
                "{hold}: {relayed}"
            );
            assert!(answered.contains(back), "{hold}: {answered}");
            assert!(relayed.contains("o=- 2 2 ") && answered.contains("o=- 1 2 "));
            let (a_media, b_media) = (a.leg_media().unwrap(), b.leg_media().unwrap());
            assert!(
                a_media.on_hold && !a_media.direction.sends() && !b_media.direction.receives(),
                "{hold}"
            );
            let (relayed, answered) = exchange(
                &mut a,
                &mut b,
                &phone("192.0.2.1", OFFER_A),
                &phone("192.0.2.2", ANSWER_B),
            );
            assert!(relayed.contains("a=sendrecv") && answered.contains("a=sendrecv"));
            assert!(!a.leg_media().unwrap().on_hold);
        }
    }

    #[test]
    fn a_packet_length_may_be_written_with_a_fraction_and_rubbish_is_none() {
        for (written, ptime_ms, maxptime_ms) in [
            ("a=ptime:20.0\na=maxptime:40.00", 20, 40),
            ("a=ptime: 30\na=maxptime:60 ", 30, 60),
            ("a=ptime:0\na=maxptime:0.0", 0, 0),
            ("a=ptime:-20\na=maxptime:x", 0, 0),
            ("a=ptime:\na=maxptime:99999999999", 0, 0),
            ("a=ptime:NaN\na=maxptime:inf", 0, 0),
        ] {
            let (mut a, mut b) = legs();
            let offer = OFFER_A.replace("a=ptime:20", written);
            exchange(
                &mut a,
                &mut b,
                &phone("192.0.2.1", &offer),
                &phone("192.0.2.2", ANSWER_B),
            );
            let media = a.leg_media().unwrap();
            assert_eq!(
                (media.ptime_ms, media.maxptime_ms),
                (ptime_ms, maxptime_ms),
                "{written}"
            );
        }
    }

    #[test]
    fn the_version_rises_only_when_something_changed() {
        let (mut a, mut b) = legs();
        let (offer, answer) = (phone("192.0.2.1", OFFER_A), phone("192.0.2.2", ANSWER_B));
        let first = exchange(&mut a, &mut b, &offer, &answer);
        assert_eq!(exchange(&mut a, &mut b, &offer, &answer), first);
        assert_eq!(a.local_description(), Some(&*first.1));
    }

    #[test]
    fn a_delayed_offer_runs_the_same_way_back() {
        let (mut a, mut b) = legs();
        let answer = "m=audio 4000 RTP/AVP 8 101\na=rtpmap:101 telephone-event/8000";
        let (to_a, to_b) = exchange(
            &mut b,
            &mut a,
            &phone("192.0.2.2", OFFER_A),
            &phone("192.0.2.1", answer),
        );
        assert!(to_a.contains("m=audio 16384 RTP/AVP 107 9 8 0 101") && to_b.contains("m=audio 16386 RTP/AVP 8 101"));
    }

    #[test]
    fn the_200_may_repeat_the_answer_of_the_183_or_change_it() {
        let (mut a, mut b) = legs();
        exchange(
            &mut a,
            &mut b,
            &phone("192.0.2.1", OFFER_A),
            &phone("192.0.2.2", ANSWER_B),
        );
        b.handle_answer(&parse(&phone("192.0.2.7", ANSWER_B))).unwrap();
        assert_eq!(b.leg_media().unwrap().remote, "192.0.2.7:5000".parse().ok());
    }

    #[test]
    fn other_streams_are_refused_in_place() {
        let (mut a, mut b) = legs();
        let offer = format!(
            "m=video 6000 RTP/AVP 96\na=rtpmap:96 H264/90000\n{}\nm=audio 4444 RTP/SAVP 0\nm=image 7 udptl t38",
            OFFER_A.trim()
        );
        let (offer, answer) = exchange(
            &mut a,
            &mut b,
            &phone("192.0.2.1", &offer),
            &phone("192.0.2.2", ANSWER_B),
        );
        assert_eq!(offer.matches("m=").count(), 1);
        let lines: Vec<_> = answer.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(
            lines,
            [
                "m=video 0 RTP/AVP 96",
                "m=audio 16384 RTP/AVP 8 101",
                "m=audio 0 RTP/SAVP 0",
                "m=image 0 udptl t38"
            ]
        );
        // B re-offers: A's session keeps its four lines, and the sound stays in the second.
        let (offer, _) = exchange(
            &mut b,
            &mut a,
            &phone("192.0.2.2", OFFER_A),
            &phone("192.0.2.1", &format!("m=video 0 RTP/AVP 96\n{ANSWER_B}")),
        );
        assert!(
            offer.contains("m=video 0 RTP/AVP 96\r\nm=audio 16384 RTP/AVP 107 9 8 0 101\r\n"),
            "{offer}"
        );
    }

    const VIDEO_A: &str = "
m=video 6000 RTP/AVP 97 96 98
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=42801F
a=rtpmap:97 VP8/90000
a=rtpmap:98 rtx/90000
a=fmtp:98 apt=97
a=extmap:1 urn:3gpp:video-orientation
a=rtcp-fb:* nack pli
a=rtcp-fb:96 ccm fir
a=rtcp-fb:97 transport-cc";

    fn seeing_legs() -> (Negotiation, Negotiation) {
        let (mut a, mut b) = legs();
        a.take_video(Some(20_000));
        b.take_video(Some(20_002));
        (a, b)
    }

    #[test]
    fn video_is_offered_on_and_answered_with_the_callers_numbers() {
        let (mut a, mut b) = seeing_legs();
        let asked = format!("{}{VIDEO_A}", OFFER_A.trim());
        let said = format!(
            "{ANSWER_B}\nm=video 7000 RTP/AVP 111\na=rtpmap:111 H264/90000\na=fmtp:111 profile-level-id=428014\n\
             a=rtcp-fb:111 ccm fir\na=recvonly"
        );
        let (offer, answer) = exchange(&mut a, &mut b, &phone("192.0.2.1", &asked), &phone("192.0.2.2", &said));
        assert!(
            offer.ends_with(
                "m=video 20002 RTP/AVP 97 96\r\na=rtpmap:97 VP8/90000\r\na=rtpmap:96 H264/90000\r\n\
                 a=fmtp:96 profile-level-id=42801F\r\na=rtcp-fb:* nack pli\r\na=rtcp-fb:96 ccm fir\r\na=sendrecv\r\n"
            ),
            "{offer}"
        );
        assert!(
            answer.ends_with(
                "m=video 20000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=428014\r\n\
                 a=rtcp-fb:96 ccm fir\r\na=recvonly\r\n"
            ),
            "{answer}"
        );
        let (a, b) = (a.video_media().unwrap(), b.video_media().unwrap());
        assert_eq!(
            (a.remote, a.direction),
            ("192.0.2.1:6000".parse().ok(), Direction::RecvOnly)
        );
        assert_eq!(
            (b.remote, b.direction),
            ("192.0.2.2:7000".parse().ok(), Direction::SendOnly)
        );
        let numbers = |media: &LegMedia| (media.formats[0].pt_in, media.formats[0].pt_out);
        assert_eq!((numbers(&a), numbers(&b)), ((96, 96), (96, 111)));
        assert_eq!(a.formats[0].codec, b.formats[0].codec);
    }

    #[test]
    fn an_offer_of_our_own_ends_video_and_a_later_one_may_bring_it_back() {
        let (mut a, mut b) = seeing_legs();
        let asked = phone("192.0.2.1", &format!("{}{VIDEO_A}", OFFER_A.trim()));
        let said = phone(
            "192.0.2.2",
            &format!("{ANSWER_B}\nm=video 7000 RTP/AVP 97\na=rtpmap:97 VP8/90000"),
        );
        let (first, _) = exchange(&mut a, &mut b, &asked, &said);
        let offer = b.offer(&[Codec::Pcma], Direction::SendRecv).unwrap();
        assert!(offer.contains("\r\nm=video 0 RTP/AVP 97 96\r\n"), "{offer}");
        b.handle_answer(&parse(&phone(
            "192.0.2.2",
            &format!("{ANSWER_B}\nm=video 0 RTP/AVP 97"),
        )))
        .unwrap();
        assert_eq!(b.video_media(), None);
        let (again, answer) = exchange(&mut a, &mut b, &asked, &said);
        let video = |text: &str| text[text.find("m=video").unwrap()..].to_owned();
        assert_eq!(video(&again), video(&first));
        assert!(answer.contains("m=video 20000 RTP/AVP 97\r\n"), "{answer}");
        b.take_video(None);
        let (without, answer) = exchange(
            &mut a,
            &mut b,
            &asked,
            &phone("192.0.2.2", &format!("{ANSWER_B}\nm=video 0 RTP/AVP 97")),
        );
        assert!(
            without.contains("m=video 0 ") && answer.contains("m=video 0 "),
            "{without}{answer}"
        );
    }

    #[test]
    fn video_that_is_refused_or_encrypted_is_refused_to_the_caller() {
        for (kind, said) in [("RTP/AVP", "0"), ("RTP/SAVP", "7000")] {
            let (mut a, mut b) = seeing_legs();
            let asked = format!("{}\nm=video 6000 {kind} 97\na=rtpmap:97 VP8/90000", OFFER_A.trim());
            let said = format!("{ANSWER_B}\nm=video {said} RTP/AVP 97\na=rtpmap:97 VP8/90000");
            let (_, answer) = exchange(&mut a, &mut b, &phone("192.0.2.1", &asked), &phone("192.0.2.2", &said));
            assert!(answer.ends_with(&format!("m=video 0 {kind} 97\r\n")), "{answer}");
            assert_eq!((a.video_media(), b.video_media()), (None, None));
        }
    }

    #[test]
    fn a_number_keeps_its_meaning_for_the_whole_session() {
        let (mut a, mut b) = legs();
        exchange(
            &mut a,
            &mut b,
            &phone("192.0.2.1", OFFER_A),
            &phone("192.0.2.2", ANSWER_B),
        );
        // B calls opus 101 and key presses 107: on A's leg they keep the numbers they had.
        let offer = "m=audio 5000 RTP/AVP 101 0 107\na=rtpmap:101 opus/48000/2\na=rtpmap:107 telephone-event/8000";
        b.handle_offer(&parse(&phone("192.0.2.2", offer))).unwrap();
        let relayed = a.relay_offer(&b).unwrap();
        assert!(
            relayed.contains("RTP/AVP 107 0 9 8 101\r\na=rtpmap:107 opus/48000/2\r\n"),
            "{relayed}"
        );
        // A new format whose number is taken gets another.
        a.rollback();
        b.rollback();
        b.handle_offer(&parse(&phone(
            "192.0.2.2",
            "m=audio 5000 RTP/AVP 107\na=rtpmap:107 speex/8000",
        )))
        .unwrap();
        assert!(
            a.relay_offer(&b)
                .unwrap()
                .contains("RTP/AVP 96 101\r\na=rtpmap:96 speex/8000\r\n")
        );
    }

    #[test]
    fn devices_without_a_common_codec_each_get_one_of_their_own_that_can_be_transcoded() {
        let (mut a, mut b) = legs();
        let keys = "a=rtpmap:101 telephone-event/8000";
        let offer = format!("m=audio 4000 RTP/AVP 18 0 101\n{keys}");
        let answer = format!("m=audio 5000 RTP/AVP 8 101\n{keys}");
        let (offer, answer) = exchange(
            &mut a,
            &mut b,
            &phone("192.0.2.1", &offer),
            &phone("192.0.2.2", &answer),
        );
        assert!(offer.contains("RTP/AVP 18 0 107 9 8 101\r\n"), "{offer}");
        assert!(answer.contains("RTP/AVP 0 101\r\n"), "{answer}");
        let names = [&a, &b].map(|leg| leg.agreed().unwrap().codec_name().unwrap());
        assert_eq!(names, ["PCMU/8000", "PCMA/8000"]);
    }

    #[test]
    fn what_cannot_be_transcoded_finds_no_codec_for_the_other_device() {
        let (mut a, mut b) = legs();
        a.handle_offer(&parse(&phone("192.0.2.1", "m=audio 4000 RTP/AVP 18")))
            .unwrap();
        let offer = b.relay_offer(&a).unwrap();
        assert!(offer.contains("RTP/AVP 18 101\r\n"), "{offer}");
        let answer = parse(&phone("192.0.2.2", "m=audio 5000 RTP/AVP 8"));
        assert_eq!(b.handle_answer(&answer), Err(OfferAnswerError::NoFormat));
    }

    #[test]
    fn an_offer_is_declined_line_by_line() {
        let offer = phone(
            "192.0.2.1",
            "m=audio 4000 RTP/AVP 0 8\nm=video 4002 RTP/AVP 96\na=rtpmap:96 H264/90000",
        );
        let answer = super::super::decline(&parse(&offer));
        assert!(
            answer.ends_with("m=audio 0 RTP/AVP 0 8\r\nm=video 0 RTP/AVP 96\r\n"),
            "{answer}"
        );
        assert_eq!(parse(&answer).streams.len(), 2);
    }

    #[test]
    fn a_refused_reoffer_leaves_the_agreement_as_it_was() {
        let (mut a, mut b) = legs();
        exchange(
            &mut a,
            &mut b,
            &phone("192.0.2.1", OFFER_A),
            &phone("192.0.2.2", ANSWER_B),
        );
        let before = (a.leg_media(), b.leg_media());
        a.handle_offer(&parse(&phone("192.0.2.9", &format!("{OFFER_A}\na=sendonly"))))
            .unwrap();
        b.relay_offer(&a).unwrap();
        assert_eq!(
            b.handle_answer(&parse(&phone("192.0.2.2", "m=audio 0 RTP/AVP 8"))),
            Err(OfferAnswerError::NoAudio)
        );
        assert_eq!(
            b.handle_answer(&parse(&phone("192.0.2.2", "m=audio 5 RTP/AVP 3"))),
            Err(OfferAnswerError::NoFormat)
        );
        a.rollback();
        b.rollback();
        assert_eq!((a.leg_media(), b.leg_media()), before);
        assert!(!a.is_open() && !b.is_open());
    }

    #[test]
    fn what_cannot_be_anchored_is_refused_and_changes_nothing() {
        for (rest, error) in [
            ("m=image 7 udptl t38", OfferAnswerError::NoAudio),
            ("m=audio 0 RTP/AVP 0", OfferAnswerError::NoAudio),
            ("m=audio 5000 RTP/SAVP 0", OfferAnswerError::KeysInClear),
            (
                "m=audio 5000 RTP/AVP 101\na=rtpmap:101 telephone-event/8000",
                OfferAnswerError::NoFormat,
            ),
            ("m=audio 5000 RTP/AVP 96", OfferAnswerError::NoFormat),
        ] {
            let (mut a, _) = legs();
            assert_eq!(a.handle_offer(&parse(&phone("192.0.2.1", rest))), Err(error));
            assert!(!a.is_open());
        }
    }

    #[test]
    fn offers_that_cross_are_glare_and_order_is_kept() {
        let (mut a, mut b) = legs();
        let offer = parse(&phone("192.0.2.1", OFFER_A));
        assert_eq!(b.relay_offer(&a), Err(OfferAnswerError::Unexpected));
        assert_eq!(b.handle_answer(&offer), Err(OfferAnswerError::Unexpected));
        a.handle_offer(&offer).unwrap();
        assert!(a.owes_answer());
        assert_eq!(a.handle_offer(&offer), Err(OfferAnswerError::Pending));
        assert_eq!(a.relay_answer(&b), Err(OfferAnswerError::Unexpected));
        b.relay_offer(&a).unwrap();
        assert_eq!(b.handle_offer(&offer), Err(OfferAnswerError::Glare));
        assert_eq!(a.relay_answer(&b), Err(OfferAnswerError::Unexpected));
    }

    #[test]
    fn rtcp_goes_where_the_attribute_says_or_shares_the_port() {
        let media = |rest: &str| {
            let (mut a, _) = legs();
            a.handle_offer(&parse(&phone("192.0.2.1", &format!("m=audio 4000 RTP/AVP 0\n{rest}"))))
                .unwrap();
            let text = a.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap().to_owned();
            (a.leg_media().unwrap(), text)
        };
        assert_eq!(media("a=rtcp:4009").0.remote_rtcp, "192.0.2.1:4009".parse().ok());
        assert_eq!(
            media("a=rtcp:4009 IN IP4 192.0.2.77").0.remote_rtcp,
            "192.0.2.77:4009".parse().ok()
        );
        let (shared, text) = media("a=rtcp-mux");
        assert!(shared.rtcp_mux && text.contains("a=rtcp-mux"));
        assert_eq!(shared.remote_rtcp, "192.0.2.1:4000".parse().ok());
    }

    #[test]
    fn what_was_agreed_of_port_and_profile_stands_in_our_next_offer() {
        let (mut a, _) = legs();
        let theirs = parse(&phone("192.0.2.1", "m=audio 4000 RTP/AVPF 0\na=rtcp-mux"));
        a.handle_offer(&theirs).unwrap();
        a.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap();
        let offer = a.offer(&[Codec::Pcmu], Direction::SendRecv).unwrap();
        assert!(
            offer.contains("m=audio 16384 RTP/AVPF 0") && offer.contains("a=rtcp-mux"),
            "{offer}"
        );
        let without = parse(&phone("192.0.2.1", "m=audio 4000 RTP/AVPF 0"));
        a.handle_answer(&without).unwrap();
        assert_eq!(a.leg_media().unwrap().remote_rtcp, "192.0.2.1:4001".parse().ok());
        let offer = a.offer(&[Codec::Pcmu], Direction::SendRecv).unwrap();
        assert!(!offer.contains("a=rtcp-mux"), "{offer}");
    }

    #[test]
    fn a_device_that_answers_in_another_order_has_its_own_first_choice() {
        let (mut a, _) = legs();
        a.offer(&[Codec::Pcmu, Codec::Pcma], Direction::SendRecv).unwrap();
        a.handle_answer(&parse(&phone("192.0.2.1", "m=audio 4000 RTP/AVP 8 0")))
            .unwrap();
        assert_eq!(a.agreed().unwrap().codec_name().as_deref(), Some("PCMA/8000"));
        let formats = a.leg_media().unwrap().formats;
        assert_eq!(
            formats.iter().map(|format| format.codec).collect::<Vec<_>>(),
            [Codec::Pcma, Codec::Pcmu]
        );
    }

    #[test]
    fn we_answer_with_the_first_codec_we_share() {
        let (mut a, _) = legs();
        a.handle_offer(&parse(&phone("192.0.2.1", OFFER_A))).unwrap();
        let codecs = [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent(8000)];
        let answer = a.answer(&codecs, Direction::SendRecv).unwrap();
        assert!(answer.contains("m=audio 16384 RTP/AVP 8 101\r\n"), "{answer}");
        let (mut a, _) = legs();
        a.handle_offer(&parse(&phone("192.0.2.1", "m=audio 4 RTP/AVP 18")))
            .unwrap();
        assert_eq!(a.answer(&codecs, Direction::SendRecv), Err(OfferAnswerError::NoFormat));
        assert!(a.owes_answer());
    }

    #[test]
    fn we_offer_our_own_codecs_to_a_device() {
        let (mut a, _) = legs();
        let offer = a
            .offer(
                &[Codec::Opus, Codec::Pcma, Codec::TelephoneEvent(8000)],
                Direction::SendRecv,
            )
            .unwrap();
        assert!(
            offer.contains("m=audio 16384 RTP/AVP 107 8 101\r\na=rtpmap:107 opus/48000/2\r\n"),
            "{offer}"
        );
        a.handle_answer(&parse(&phone("192.0.2.2", ANSWER_B))).unwrap();
        assert_eq!(a.agreed().unwrap().codec_name().as_deref(), Some("PCMA/8000"));
    }

    #[test]
    fn a_host_name_or_no_address_leaves_the_device_to_latching() {
        let (mut a, _) = legs();
        let text = phone("192.0.2.1", OFFER_A).replace("c=IN IP4 192.0.2.1", "c=IN IP4 phone.example.com");
        a.handle_offer(&parse(&text)).unwrap();
        a.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap();
        assert_eq!(
            (a.leg_media().unwrap().remote, a.leg_media().unwrap().on_hold),
            (None, false)
        );
    }
}

/// What is wanted of Opus packets goes by who decodes them.
mod opus {
    use super::*;
    use crate::codec::OpusParameters;

    const OFFER: &str = "m=audio 4 RTP/AVP 98 13\na=rtpmap:98 opus/48000/2\n\
                         a=fmtp:98 maxplaybackrate=16000; stereo=0; maxaveragebitrate=20000; usedtx=1\na=maxptime:40";

    #[test]
    fn an_answer_of_ours_says_what_we_decode_and_heeds_what_the_device_wants() {
        let (mut a, _) = relay::legs();
        a.handle_offer(&parse(&phone("192.0.2.1", OFFER))).unwrap();
        let codecs = [Codec::Opus, Codec::ComfortNoise(8_000)];
        let answer = a.answer(&codecs, Direction::SendRecv).unwrap();
        assert!(answer.contains("a=fmtp:98 useinbandfec=1\r\n"), "{answer}");
        let media = a.leg_media().unwrap();
        let wanted = OpusParameters {
            max_playback_rate: 16_000,
            max_average_bitrate: 20_000,
            dtx: true,
            ..OpusParameters::default()
        };
        assert_eq!((media.opus, media.maxptime_ms), (wanted, 40));
    }

    #[test]
    fn a_relayed_answer_says_what_the_other_device_decodes() {
        let (mut a, mut b) = relay::legs();
        a.handle_offer(&parse(&phone("192.0.2.1", OFFER))).unwrap();
        let offer = b.relay_offer(&a).unwrap();
        assert!(offer.contains("maxaveragebitrate=20000"), "{offer}");
        let answer = "m=audio 5 RTP/AVP 98\na=rtpmap:98 opus/48000/2\na=fmtp:98 cbr=1";
        b.handle_answer(&parse(&phone("192.0.2.2", answer))).unwrap();
        let answer = a.relay_answer(&b).unwrap();
        assert!(answer.contains("a=fmtp:98 cbr=1\r\n"), "{answer}");
        assert!(b.leg_media().unwrap().opus.constant_bitrate && !a.leg_media().unwrap().opus.constant_bitrate);
    }
}
