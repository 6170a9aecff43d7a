//! Two peers made of the webrtc crates talk through the engine over plain RTP: what we negotiate, relay and report must
//! mean to another implementation what it means to us. No socket and no waiting: time is counted, not spent.

#![allow(clippy::unwrap_used)] // a test

mod srtp;

use clock::Mono;
use media::plan::{Latch, Matrix, Rate};
use media::sdp::{Local, Negotiation, SessionDescription};
use media::{Engine, EngineConfig, LegId, LegStats, OpenLeg, Plan, RoomId};
use rtc::interceptor::{
    AttributedPacket, Interceptor, Packet, ReceiverReportBuilder, SenderReportBuilder, Slot, StreamInfo, TaggedPacket,
};
use rtc::media::io::sample_builder::SampleBuilder;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::SourceDescription;
use rtc::rtp::codec::g7xx::G711Payloader;
use rtc::rtp::packetizer::{Depacketizer, Packetizer, new_packetizer};
use rtc::rtp::sequence::new_fixed_sequencer;
use rtc::sdp::MediaDescription;
use rtc::sdp::description::common::{Address, ConnectionInformation};
use rtc::shared::TransportContext;
use rtc::shared::marshal::{Marshal, Unmarshal};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use webrtc::peer_connection::{RTCSessionDescription, Registry};

/// Bytes as the webrtc crates take and give them.
type Data = bytes::Bytes;

const ROOM: RoomId = RoomId(1);
const OUR_HOST: &str = "198.51.100.9";
const PORTS: [u16; 2] = [16_384, 16_386];
const PEERS: [&str; 2] = ["192.0.2.1:4000", "192.0.2.2:5000"];
const FRAME_MS: u64 = 20;

/// Packets of the first peer that are lost before they reach us.
fn is_lost(n: u64) -> bool {
    n % 10 == 7
}

/// 20 ms of PCMU, no two alike.
fn frame(n: u64) -> Vec<u8> {
    n.to_be_bytes().repeat(20)
}

struct Peer {
    address: SocketAddr,
    started: Instant,
    ssrc: u32,
    packetizer: Box<dyn Packetizer>,
    reporter: Box<dyn Interceptor>,
    samples: SampleBuilder<WholePayload>,
    /// Frames heard, in the order their sound would be played.
    heard: Vec<Data>,
    /// Of the stream we send it: SSRC, packets, and timestamp with the moment it came.
    stream: Option<(u32, u32)>,
    newest: (u32, u64),
    sent_reports: Vec<(u64, SenderReport)>,
    our_reports: Vec<Seen>,
}

/// One compound of ours as the peer read it.
struct Seen {
    ms: u64,
    sender: Option<SenderReport>,
    blocks: Vec<ReceptionReport>,
    cname: bool,
    packets_heard: u32,
    newest: (u32, u64),
}

/// G.711 has no payload header: a payload is a frame.
struct WholePayload;

impl Depacketizer for WholePayload {
    fn depacketize(&mut self, payload: &Data) -> webrtc::error::Result<Data> {
        Ok(payload.clone())
    }

    fn is_partition_head(&self, _: &Data) -> bool {
        true
    }

    fn is_partition_tail(&self, _: bool, _: &Data) -> bool {
        true
    }
}

/// What leaves a peer.
enum Sent {
    Rtp(Vec<u8>),
    Rtcp(Vec<u8>),
}

impl Peer {
    fn new(started: Instant, address: &str, ssrc: u32, first: u16) -> Peer {
        let sequencer = Box::new(new_fixed_sequencer(first));
        let packetizer = new_packetizer(
            started,
            1_200,
            0,
            ssrc,
            Box::new(G711Payloader::default()),
            sequencer,
            8_000,
        );
        let reports = Registry::new()
            .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
            .with(Slot::SenderReport, SenderReportBuilder::new().build());
        let mut reporter: Box<dyn Interceptor> = Box::new(reports.build());
        reporter.bind_local_stream(&stream_info(ssrc));
        Peer {
            address: address.parse().unwrap(),
            started,
            ssrc,
            packetizer: Box::new(packetizer),
            reporter,
            samples: SampleBuilder::new(16, WholePayload, 8_000),
            heard: Vec::new(),
            stream: None,
            newest: (0, 0),
            sent_reports: Vec::new(),
            our_reports: Vec::new(),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.started + Duration::from_millis(ms)
    }

    /// The offer or answer of a peer that takes PCMU, in the words of the webrtc crates.
    fn description(&self) -> String {
        let mut audio = MediaDescription::new_jsep_media_description("audio".into(), vec![]).with_codec(
            0,
            "PCMU".into(),
            8_000,
            1,
            String::new(),
        );
        audio.media_name.port.value = isize::try_from(self.address.port()).unwrap();
        audio.media_name.protos = vec!["RTP".into(), "AVP".into()];
        audio.connection_information = Some(ConnectionInformation {
            network_type: "IN".into(),
            address_type: "IP4".into(),
            address: Some(Address {
                address: self.address.ip().to_string(),
                ttl: None,
                range: None,
            }),
        });
        let session = rtc::sdp::SessionDescription::new_jsep_session_description(false);
        session
            .with_media(audio.with_property_attribute("sendrecv".into()))
            .marshal()
    }

    fn speak(&mut self, ms: u64, n: u64) -> Vec<Sent> {
        let now = self.at(ms);
        for packet in self.packetizer.packetize(now, &frame(n).into(), 160).unwrap() {
            self.reporter.handle_write(tagged(now, Packet::Rtp(packet))).unwrap();
        }
        self.reporter.handle_timeout(now).unwrap();
        let mut sent = Vec::new();
        while let Some(out) = self.reporter.poll_write() {
            match out.message.packet {
                Packet::Rtp(packet) => sent.push(Sent::Rtp(packet.marshal().unwrap().to_vec())),
                Packet::Rtcp(packets) => {
                    let report = packets.iter().find_map(|p| p.as_any().downcast_ref::<SenderReport>());
                    self.sent_reports.extend(report.map(|report| (ms, report.clone())));
                    sent.push(Sent::Rtcp(rtc::rtcp::packet::marshal(&packets).unwrap().to_vec()));
                }
                _ => {}
            }
        }
        sent
    }

    fn hear(&mut self, ms: u64, bytes: &[u8]) {
        let now = self.at(ms);
        let packet = rtc::rtp::Packet::unmarshal(&mut &bytes[..]).unwrap();
        assert_eq!((packet.header.version, packet.header.payload_type), (2, 0));
        let (ssrc, packets) = self.stream.unwrap_or((packet.header.ssrc, 0));
        assert_eq!(packet.header.ssrc, ssrc, "one stream for the whole call");
        if packets == 0 {
            self.reporter.bind_remote_stream(&stream_info(ssrc));
        }
        self.stream = Some((ssrc, packets + 1));
        self.newest = (packet.header.timestamp, ms);
        self.reporter
            .handle_read(tagged(now, Packet::Rtp(packet.clone())))
            .unwrap();
        self.samples.push(now, packet);
        while let Some(sample) = self.samples.pop(now) {
            self.heard.push(sample.data);
        }
    }

    fn hear_report(&mut self, ms: u64, bytes: &[u8]) {
        let packets = rtc::rtcp::packet::unmarshal(&mut &bytes[..]).unwrap();
        let sender = packets
            .iter()
            .find_map(|p| p.as_any().downcast_ref::<SenderReport>())
            .cloned();
        let receiver = packets.iter().find_map(|p| p.as_any().downcast_ref::<ReceiverReport>());
        let blocks = sender
            .as_ref()
            .map(|report| &report.reports)
            .or(receiver.map(|report| &report.reports));
        self.our_reports.push(Seen {
            ms,
            blocks: blocks.cloned().unwrap_or_default(),
            cname: packets.iter().any(|p| p.as_any().is::<SourceDescription>()),
            sender,
            packets_heard: self.stream.map_or(0, |(_, packets)| packets),
            newest: self.newest,
        });
        self.reporter
            .handle_read(tagged(self.at(ms), Packet::Rtcp(packets)))
            .unwrap();
        while self.reporter.poll_read().is_some() {}
    }
}

fn stream_info(ssrc: u32) -> StreamInfo {
    StreamInfo {
        ssrc,
        clock_rate: 8_000,
        mime_type: "audio/PCMU".into(),
        ..StreamInfo::default()
    }
}

fn tagged(now: Instant, packet: Packet) -> TaggedPacket {
    TaggedPacket {
        now,
        transport: TransportContext::default(),
        message: AttributedPacket::new(packet),
    }
}

struct Call {
    engine: Engine,
    peers: [Peer; 2],
    /// Packets that reached us, by peer, and the sequence number of the last.
    arrived: [(u64, u16); 2],
}

impl Call {
    /// Offer from the first peer through us to the second, answer back, and both legs in one room.
    fn set_up() -> Call {
        let started = Instant::now();
        let peers = [
            Peer::new(started, PEERS[0], 0xaaaa_0001, 65_400),
            Peer::new(started, PEERS[1], 0xbbbb_0002, 7),
        ];
        let negotiation = |at: usize| {
            let (address, session_id) = (OUR_HOST.parse().unwrap(), 7 + at as u64);
            Negotiation::new(Local {
                address,
                port: PORTS[at],
                session_id,
            })
        };
        let [mut caller, mut callee] = [negotiation(0), negotiation(1)];
        caller.handle_offer(&parsed(&peers[0].description())).unwrap();
        let offer = callee.relay_offer(&caller).unwrap().to_owned();
        is_understood(RTCSessionDescription::offer(offer).unwrap(), PORTS[1]);
        callee.handle_answer(&parsed(&peers[1].description())).unwrap();
        let answer = caller.relay_answer(&callee).unwrap().to_owned();
        is_understood(RTCSessionDescription::answer(answer).unwrap(), PORTS[0]);

        let mut random = 0u64;
        let random = move || {
            random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            random
        };
        let mut engine = Engine::new(EngineConfig::default(), Box::new(random));
        let (matrix, rate) = (Matrix::Everyone, Rate::Narrow);
        engine.apply(
            Mono(0),
            Plan::OpenRoom {
                room: ROOM,
                matrix,
                rate,
            },
        );
        for (at, negotiation) in [caller, callee].into_iter().enumerate() {
            let open = OpenLeg {
                leg: LegId(at as u64),
                room: ROOM,
                port: PORTS[at],
                media: negotiation.leg_media().unwrap(),
                latch: Latch::SdpHost,
                media_timeout: None,
            };
            engine.apply(Mono(0), Plan::OpenLeg(Box::new(open)));
        }
        let arrived = [(0, 0); 2];
        Call { engine, peers, arrived }
    }

    fn run(&mut self, frames: u64) {
        for n in 0..frames {
            let ms = n * FRAME_MS;
            for from in 0..2 {
                for sent in self.peers[from].speak(ms, n) {
                    self.deliver(ms, from, n, sent);
                }
            }
            self.let_reports_out(ms);
        }
    }

    fn deliver(&mut self, ms: u64, from: usize, n: u64, sent: Sent) {
        let (now, source) = (Mono(ms * 1_000_000), self.peers[from].address);
        match sent {
            Sent::Rtcp(bytes) => {
                let source = SocketAddr::new(source.ip(), source.port() + 1);
                self.engine.handle_rtcp(now, PORTS[from], source, &bytes);
            }
            Sent::Rtp(_) if from == 0 && is_lost(n) => {}
            Sent::Rtp(bytes) => {
                let mut buffer = [0; media::engine::PACKET_BUFFER];
                buffer[..bytes.len()].copy_from_slice(&bytes);
                self.arrived[from] = (self.arrived[from].0 + 1, u16::from_be_bytes([bytes[2], bytes[3]]));
                let forward = self
                    .engine
                    .handle_rtp(now, PORTS[from], source, &mut buffer, bytes.len())
                    .unwrap();
                let to = 1 - from;
                assert_eq!((forward.port, forward.to), (PORTS[to], self.peers[to].address));
                self.peers[to].hear(ms, &buffer[forward.range]);
            }
        }
    }

    fn let_reports_out(&mut self, ms: u64) {
        let now = Mono(ms * 1_000_000);
        self.engine.handle_timeout(now);
        let mut buffer = [0; media::engine::PACKET_BUFFER];
        while let Some(report) = self.engine.poll_transmit(&mut buffer) {
            let to = PORTS.iter().position(|port| port + 1 == report.port).unwrap();
            assert_eq!(
                report.to,
                SocketAddr::new(self.peers[to].address.ip(), self.peers[to].address.port() + 1)
            );
            self.peers[to].hear_report(ms, &buffer[..report.len]);
        }
    }

    fn figures(&self, leg: u64) -> LegStats {
        self.engine.leg_stats(LegId(leg)).unwrap()
    }
}

fn parsed(text: &str) -> SessionDescription {
    SessionDescription::parse(text.as_bytes()).unwrap()
}

/// What the other implementation reads in a description of ours.
fn is_understood(description: RTCSessionDescription, port: u16) {
    let session = description.unmarshal().unwrap();
    let connection = session.connection_information.as_ref().and_then(|c| c.address.as_ref());
    assert_eq!(connection.unwrap().address, OUR_HOST);
    let [audio] = &session.media_descriptions[..] else {
        panic!("{session:?}")
    };
    assert_eq!(
        (&audio.media_name.media[..], audio.media_name.port.value),
        ("audio", isize::try_from(port).unwrap())
    );
    assert_eq!(audio.media_name.protos, ["RTP", "AVP"]);
    assert!(audio.has_attribute("sendrecv"), "{audio:?}");
    let codecs = audio.codecs();
    assert_eq!((&codecs[&0].name[..], codecs[&0].clock_rate), ("PCMU", 8_000));
}

#[test]
fn every_frame_that_reached_us_reaches_the_other_peer_in_order() {
    let mut call = Call::set_up();
    call.run(1_000);
    for (to, kept) in [(0, (|_| true) as fn(u64) -> bool), (1, |n| !is_lost(n))] {
        let heard = &call.peers[to].heard;
        let expected: Vec<Data> = (0..1_000).filter(|&n| kept(n)).map(|n| frame(n).into()).collect();
        // The last few wait in the peer's own buffer.
        assert!(
            heard.len() + 32 > expected.len(),
            "{} of {}",
            heard.len(),
            expected.len()
        );
        assert_eq!(heard[..], expected[..heard.len()]);
    }
}

#[test]
fn our_sender_reports_describe_the_stream_the_peer_hears() {
    let mut call = Call::set_up();
    call.run(1_500);
    let peer = &call.peers[1];
    let reports: Vec<_> = peer
        .our_reports
        .iter()
        .filter_map(|seen| Some((seen, seen.sender.as_ref()?)))
        .collect();
    assert!(reports.len() >= 4, "{} in 30 s", reports.len());
    for (seen, report) in &reports {
        assert_eq!(report.ssrc, peer.stream.unwrap().0);
        assert_eq!(
            (report.packet_count, report.octet_count),
            (seen.packets_heard, 160 * seen.packets_heard)
        );
        let (timestamp, came) = seen.newest;
        let elapsed = i64::from(report.rtp_time.wrapping_sub(timestamp)) - (seen.ms - came) as i64 * 8;
        assert!(
            elapsed.abs() <= 8,
            "the report's clock is that of the stream: {elapsed}"
        );
        assert!(seen.cname, "a compound names its source");
    }
    for pair in reports.windows(2) {
        let ntp = (u128::from(pair[1].1.ntp_time - pair[0].1.ntp_time) * 1_000) >> 32;
        assert!(ntp.abs_diff(u128::from(pair[1].0.ms - pair[0].0.ms)) <= 1, "{ntp} ms");
    }
}

#[test]
fn our_receiver_reports_tell_the_peer_what_it_lost() {
    let mut call = Call::set_up();
    call.run(1_500);
    let (last, ssrc) = (call.peers[0].our_reports.last().unwrap(), call.peers[0].ssrc);
    let [block] = &last.blocks[..] else {
        panic!("one source, one block")
    };
    assert_eq!(block.ssrc, ssrc);
    assert!(
        (20..=31).contains(&block.fraction_lost),
        "a tenth is 25 or 26: {}",
        block.fraction_lost
    );
    // Up to the report each tenth packet was lost, and the first number was 65,400: it has wrapped once.
    let sent = last.ms / FRAME_MS + 1;
    assert!(
        u64::from(block.total_lost).abs_diff(sent / 10) <= 1,
        "{} of {sent}",
        block.total_lost
    );
    let highest = 65_400 + sent - 1 - u64::from(is_lost(sent - 1));
    assert_eq!(u64::from(block.last_sequence_number), highest);
    assert!(block.jitter <= 8, "packets came in time: {}", block.jitter);
    let (ms, report) = call.peers[0]
        .sent_reports
        .iter()
        .rfind(|(ms, _)| *ms <= last.ms)
        .unwrap();
    assert_eq!(block.last_sender_report, (report.ntp_time >> 16) as u32);
    let delay = u64::from(block.delay) * 1_000 / 65_536;
    assert!(
        delay.abs_diff(last.ms - ms) <= 1,
        "{delay} ms since the peer's report at {ms}, ours at {}",
        last.ms
    );
}

#[test]
fn what_the_peers_report_becomes_our_figures() {
    let mut call = Call::set_up();
    call.run(1_500);
    let (caller, callee) = (call.figures(0), call.figures(1));
    assert_eq!((caller.received, callee.sent), (call.arrived[0].0, call.arrived[0].0));
    assert_eq!((caller.lost, callee.received, callee.lost), (150, 1_500, 0));
    assert!(
        caller.rtcp.0 >= 20 && callee.rtcp.0 >= 20,
        "the peers report each second"
    );
    assert_eq!(
        (caller.strangers, caller.invalid, callee.strangers, callee.invalid),
        (0, 0, 0, 0)
    );
    // Loss before us is a gap for the one behind us, which reports it; the way between us and the peers took no time.
    assert!((130..=150).contains(&callee.remote_lost), "{}", callee.remote_lost);
    assert_eq!(caller.remote_lost, 0);
    for figures in [caller, callee] {
        assert!(
            figures.round_trip.unwrap() < Duration::from_millis(2),
            "{:?}",
            figures.round_trip
        );
    }
}
