//! What nobody should send, on every port: it is answered or dropped, it is counted, and everything else goes on.

use crate::support::dice::{Dice, count};
use crate::support::node::Setup;
use crate::support::phone::Phone;
use crate::support::raw::Raw;
use crate::support::served::Served;
use crate::support::talk::{Talk, heard, packet};
use crate::support::{PATIENCE, http_get, wait_for};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RESIDENT: &str = "tandem_process_resident_memory_bytes";
/// Allocators keep a few pages, and answered transactions are kept for half a minute.
const SLACK_BYTES: f64 = 12e6;

/// Asks OPTIONS while others disturb.
struct Probe {
    phone: Raw,
    asked: u32,
    slow: u32,
}

impl Probe {
    fn new(served: &Served) -> Probe {
        Probe {
            phone: Raw::new(served.sip(), "1009"),
            asked: 0,
            slow: 0,
        }
    }

    fn ask(&mut self) {
        let began = Instant::now();
        let server = self.phone.server();
        let mut request = self.phone.request("OPTIONS", "");
        request.uri = format!("sip:{server}");
        request.to = format!("<sip:{server}>");
        self.phone.send(&request);
        assert_eq!(self.phone.final_answer(&request).status(), 200);
        self.asked += 1;
        self.slow += u32::from(began.elapsed() > Duration::from_millis(500));
    }

    /// One in twenty may be the fault of the machine, which other tests share.
    fn was_always_answered(&self) {
        let Probe { asked, slow, .. } = self;
        assert!(
            *asked > 0 && slow * 20 <= *asked,
            "{slow} of {asked} answers took more than 500 ms"
        );
    }
}

/// It is still the same process, and nothing in it has panicked.
fn is_well(served: &Served) {
    for name in [
        "tandem_panics_total",
        "tandem_loop_panics_total",
        "tandem_rtp_panics_total",
    ] {
        assert_eq!(served.metric(name), 0.0, "{name}");
    }
    let pid = std::fs::read_to_string(served.directory().join("pid")).unwrap();
    assert_eq!(pid.trim(), served.pid().to_string());
    assert_eq!(http_get(served.http(), "/healthz").0, 200);
}

fn registered(served: &Served, user: &str) -> Raw {
    let mut phone = Raw::new(served.sip(), user);
    assert_eq!(phone.register(3600), 200);
    phone
}

fn talk(served: &Served) -> Talk {
    Talk::between(registered(served, "1000"), registered(served, "1001"), "1001")
}

/// Both sides have sent, so the switch knows where they are. What comes before its media thread has heard of the call is
/// dropped as left over from an earlier one.
fn sound_flows(talk: &mut Talk) {
    for _ in 0..2 {
        wait_for("sound both ways", || {
            talk.caller.speak(1);
            talk.callee.speak(2);
            std::thread::park_timeout(Duration::from_millis(20));
            let (there, back) = (talk.callee.heard(), talk.caller.heard());
            (there.contains(&1) && back.contains(&2)).then_some(())
        });
    }
    // What is on its way belongs to nobody's count.
    std::thread::park_timeout(Duration::from_millis(200));
    talk.callee.heard();
    talk.caller.heard();
}

/// One packet each way, and nothing else, arrives.
fn one_is_heard(talk: &mut Talk) {
    talk.caller.speak(1);
    talk.callee.speak(2);
    let (mut there, mut back) = (Vec::new(), Vec::new());
    wait_for("a packet each way", || {
        there.extend(talk.callee.heard());
        back.extend(talk.caller.heard());
        (!there.is_empty() && !back.is_empty()).then_some(())
    });
    assert_eq!((there, back), (vec![1], vec![2]));
}

/// The messages of tests/data, and typical ones.
fn seeds(phone: &mut Raw) -> Vec<Vec<u8>> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/torture");
    let mut files: Vec<_> = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort_unstable();
    let ours = files.iter().filter(|path| path.extension().is_some_and(|e| e == "sip"));
    let mut seeds: Vec<Vec<u8>> = ours.map(|path| std::fs::read(path).unwrap()).collect();
    for method in [
        "REGISTER",
        "INVITE",
        "MESSAGE",
        "OPTIONS",
        "SUBSCRIBE",
        "BYE",
        "CANCEL",
        "ACK",
        "PRACK",
        "UPDATE",
        "FOO",
    ] {
        let request = phone.request(method, "1001").body("text/plain", "hello");
        seeds.push(phone.print(
            &request,
            "Authorization: Digest username=\"1000\", realm=\"x\", nonce=\"y\", response=\"z\"\r\n",
        ));
    }
    seeds
}

/// A message with one to four faults.
fn mutated(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    const PIECES: [&[u8]; 12] = [
        b"\r\n",
        b"\0",
        b"\xff\xfe",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: -1\r\n",
        b"\"",
        b"<",
        b";tag=",
        b"Via: SIP/2.0/UDP 127.0.0.1\r\n",
        b"%00",
        b",,,,",
        b"4294967296",
    ];
    let mut bytes = dice.pick(seeds).clone();
    for _ in 0..=dice.below(4) {
        let (at, end) = (dice.below(bytes.len().max(1)), dice.below(bytes.len() + 1));
        let range = at.min(end)..at.max(end).min(bytes.len());
        match dice.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(range.start..range.start, dice.pick(&PIECES).iter().copied())),
            3 => drop(bytes.drain(range)),
            4 => bytes.extend_from_within(range),
            5 => bytes.extend(dice.pick(seeds).iter()),
            6 => drop(bytes.splice(range.start..range.start, vec![b'a'; dice.below(3_000)])),
            _ => drop(bytes.splice(
                range.start..range.start,
                (0..dice.below(40)).map(|n| n as u8 ^ 0x9d).collect::<Vec<_>>(),
            )),
        }
        bytes.truncate(60_000);
    }
    bytes
}

#[test]
fn s1_mutated_messages_disturb_nothing() {
    let mutations = count("MUTATIONS", 10_000);
    let mut dice = Dice::for_test("mutated");
    let served = Served::start(Setup::new());
    let (mut talk, mut probe) = (talk(&served), Probe::new(&served));
    sound_flows(&mut talk);
    let mut attacker = Raw::new(served.sip(), "1000");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let seeds = seeds(&mut attacker);
    let (mut spoken, mut arrived, mut before) = (0, 0, 0.0);
    for number in 0..mutations {
        let _ = socket.send_to(&mutated(&mut dice, &seeds), served.sip());
        while socket.recv(&mut [0; 2048]).is_ok() {}
        if number % 20 == 0 {
            talk.caller.speak(1);
            spoken += 1;
        }
        if number % 200 == 0 {
            probe.ask();
            arrived += talk.callee.heard().len();
        }
        if number == mutations / 5 {
            before = served.metric(RESIDENT);
        }
    }
    wait_for("every packet of the call", || {
        arrived += talk.callee.heard().len();
        (arrived == spoken).then_some(())
    });
    probe.was_always_answered();
    let after = served.metric(RESIDENT);
    assert!(after < before * 1.05 + SLACK_BYTES, "{before} bytes, then {after}");
    assert!(served.metric("tandem_malformed_total") > 0.0);
    is_well(&served);
    assert_eq!(talk.caller.ask("BYE", 10), 200, "the call was still there");
}

#[test]
fn s1_garbage_on_every_port_disturbs_nothing() {
    let mut dice = Dice::for_test("garbage");
    let served = Served::start(Setup::new());
    let (mut talk, mut probe) = (talk(&served), Probe::new(&served));
    sound_flows(&mut talk);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..2_000_u32 {
        let length = *dice.pick(&[0, 1, 3, 4, 12, 13, 100, 1_500, 9_000]);
        let garbage: Vec<u8> = (0..length).map(|_| dice.next() as u8).collect();
        let rtp = talk.caller.towards;
        let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
        for at in [served.sip(), rtp, rtcp] {
            socket.send_to(&garbage, at).unwrap();
        }
        if number % 10 == 0 {
            one_is_heard(&mut talk);
        }
        if number % 100 == 0 {
            for at in [served.sip(), served.http()] {
                let _ = TcpStream::connect(at).unwrap().write_all(&garbage);
            }
            probe.ask();
        }
    }
    assert_eq!(heard(&socket).len(), 0, "nothing is sent to a stranger");
    probe.was_always_answered();
    assert!(served.metric("tandem_queue_garbage_total") > 0.0);
    is_well(&served);
}

/// What the switch says before it closes the stream.
fn said_before_close(at: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(why) if why.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(why) => panic!("not closed: {why}, {}", String::from_utf8_lossy(&said)),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn options_over_tcp(lengths: &str) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKl\r\nMax-Forwards: 70\r\n\
         From: <sip:a@b.c>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: l\r\nCSeq: 1 OPTIONS\r\n{lengths}\r\n"
    )
}

#[test]
fn s4_a_stream_with_a_wrong_length_is_refused_and_closed() {
    let served = Served::start(Setup::new());
    for lengths in [
        "Content-Length: 99999999\r\n",
        "Content-Length: 18446744073709551617\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x10\r\n",
        "Content-Length: 1e1\r\n",
        "Content-Length: 0\r\nContent-Length: 40\r\n",
        "Content-Length: 0\r\nl: 40\r\n",
    ] {
        let said = said_before_close(served.sip(), options_over_tcp(lengths).as_bytes());
        assert!(
            said.is_empty() || said.starts_with("SIP/2.0 4") || said.starts_with("SIP/2.0 5"),
            "{lengths}{said}"
        );
        assert_eq!(said.matches("SIP/2.0 200").count(), 0, "{lengths}{said}");
    }
    is_well(&served);
}

#[test]
fn s4_a_stream_may_break_at_any_byte() {
    let served = Served::start(Setup::new());
    let message = options_over_tcp("Content-Length: 0\r\n");
    for end in 0..message.len() {
        let mut stream = TcpStream::connect(served.sip()).unwrap();
        stream.write_all(&message.as_bytes()[..end]).unwrap();
        if end % 2 == 0 {
            // A close with linger 0 is a reset.
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
    }
    wait_for("the end of all streams", || {
        (served.metric("tandem_tcp_connections") == 0.0).then_some(())
    });
    is_well(&served);
}

#[test]
fn s4_who_drips_a_message_is_closed_and_nobody_waits() {
    let served = Served::start(Setup::new());
    let mut probe = Probe::new(&served);
    let mut streams: Vec<_> = (0..50).map(|_| TcpStream::connect(served.sip()).unwrap()).collect();
    let message = options_over_tcp("X: y\r\n");
    let mut drops = message.bytes();
    wait_for("the end of all streams", || {
        let drop = drops.next().unwrap_or(b'x');
        streams.retain_mut(|stream| stream.write_all(&[drop]).is_ok());
        probe.ask();
        std::thread::park_timeout(Duration::from_millis(200));
        streams.is_empty().then_some(())
    });
    assert_eq!(served.metric("tandem_tcp_unfinished_total"), 50.0);
    probe.was_always_answered();
    is_well(&served);
}

/// Begins a request and goes on with it byte by byte, never to its end; those that the switch has not closed.
fn drip(streams: &mut Vec<TcpStream>, message: &str, at: usize) {
    let drop = message.as_bytes()[at % message.len()];
    streams.retain_mut(|stream| stream.write_all(&[drop]).is_ok());
}

#[test]
fn who_asks_over_a_stream_of_his_own_is_served_while_others_drip() {
    let served = Served::start(Setup::new());
    let mut dripping: Vec<_> = (0..90).map(|_| TcpStream::connect(served.sip()).unwrap()).collect();
    let message = options_over_tcp(&"X: y\r\n".repeat(100));
    let mut slow = 0;
    for round in 0..20 {
        drip(&mut dripping, &message, round);
        let began = Instant::now();
        let mut phone = Phone::over_tcp(served.sip(), &format!("100{}", round % 10));
        assert_eq!(phone.register().status(), 200);
        assert_eq!(phone.call("9196").status(), 200);
        slow += usize::from(began.elapsed() > Duration::from_secs(1));
    }
    // All of it happened before the first of those streams was closed for taking ten seconds.
    assert_eq!(
        (dripping.len(), served.metric("tandem_tcp_unfinished_total")),
        (90, 0.0)
    );
    assert!(
        slow <= 1,
        "{slow} of 20 took more than a second to connect, register and call"
    );
    is_well(&served);
}

/// Ticks of processor time that the node has used, a hundred in a second.
fn ticks(served: &Served) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", served.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn without_descriptors_streams_wait_their_turn_and_datagrams_do_not() {
    let served = Served::start(Setup::new());
    let mut probe = Probe::new(&served);
    let (open, limit) = (
        served.metric("tandem_process_open_fds"),
        served.metric("tandem_process_max_fds"),
    );
    let few = format!("--nofile={}:{limit}", open + 20.0);
    let lowered = std::process::Command::new("prlimit")
        .args([format!("--pid={}", served.pid()), few])
        .status()
        .unwrap();
    assert!(lowered.success());
    let mut streams: Vec<_> = (0..60).map(|_| TcpStream::connect(served.sip()).unwrap()).collect();
    served.logged("cannot accept connections now");
    let before = ticks(&served);
    for _ in 0..10 {
        probe.ask();
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let spent = ticks(&served) - before;
    assert!(spent < 50, "{spent} of 100 ticks went into accepting in vain");
    probe.was_always_answered();
    // Those that wait are let in when others have gone.
    let mut last = streams.pop().unwrap();
    streams.clear();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    last.write_all(options_over_tcp("Content-Length: 0\r\n").as_bytes())
        .unwrap();
    let mut answer = [0; 11];
    last.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"SIP/2.0 200");
    is_well(&served);
}

#[test]
fn s13_a_flood_costs_no_memory() {
    let requests = count("FLOOD", 50_000);
    let served = Served::start(Setup::new());
    let (mut attacker, mut probe) = (Raw::new(served.sip(), "1000"), Probe::new(&served));
    let (mut answered, mut before) = (0, 0.0);
    for number in 0..requests {
        let method = ["REGISTER", "INVITE", "MESSAGE"][number % 3];
        let request = attacker.request(method, "1001").body("text/plain", "spam");
        attacker.send_bytes(&attacker.print(&request, ""));
        if number % 50 == 49 {
            // Whoever floods does not wait; the socket of this test would overflow.
            while answered < number + 1 {
                let Some(answer) = attacker.receive_within(PATIENCE) else {
                    panic!("{answered} of {number} answered")
                };
                assert_eq!(answer.status(), 401);
                answered += 1;
            }
        }
        if number % 1_000 == 0 {
            probe.ask();
        }
        if number == requests / 10 {
            before = served.metric(RESIDENT);
        }
    }
    for name in [
        "tandem_nonces",
        "tandem_dialogs",
        "tandem_legs",
        "tandem_messages_under_way",
    ] {
        assert_eq!(served.metric(name), 0.0, "{name}");
    }
    // Each answered probe is a transaction of its own for a while (Timer J).
    assert!(served.metric("tandem_transactions") <= f64::from(probe.asked));
    let after = served.metric(RESIDENT);
    assert!(after < before * 1.05 + SLACK_BYTES, "{before} bytes, then {after}");
    probe.was_always_answered();
    is_well(&served);
}

/// Sends requests of each kind to the switch as fast as it can, until told to stop; how many.
fn flood(server: SocketAddr, stop: &AtomicBool) -> u32 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut attacker = Raw::new(server, "1000");
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for method in ["INVITE", "REGISTER", "OPTIONS", "BYE", "MESSAGE"] {
            let request = attacker.request(method, "1001").body("text/plain", "spam");
            sent += u32::from(socket.send_to(&attacker.print(&request, ""), server).is_ok());
        }
        while socket.recv(&mut [0; 2048]).is_ok() {}
    }
    sent
}

#[test]
fn a_flood_of_requests_costs_a_call_none_of_its_sound() {
    let served = Served::start(Setup::new());
    let mut talk = talk(&served);
    sound_flows(&mut talk);
    let (stop, packets) = (AtomicBool::new(false), 400);
    let (mut there, mut back) = (0, 0);
    let flooded = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(served.sip(), &stop));
        for _ in 0..packets {
            talk.caller.speak(1);
            talk.callee.speak(2);
            std::thread::park_timeout(Duration::from_millis(5));
            there += talk.callee.heard().len();
            back += talk.caller.heard().len();
        }
        stop.store(true, Ordering::Relaxed);
        flooding.join().unwrap()
    });
    wait_for("every packet of both sides", || {
        there += talk.callee.heard().len();
        back += talk.caller.heard().len();
        ((there, back) == (packets, packets)).then_some(())
    });
    assert!(flooded > 5_000, "{flooded} requests are no flood");
    assert_eq!(talk.caller.ask("BYE", 10), 200);
    is_well(&served);
}

#[test]
fn s14_a_stranger_neither_hears_nor_speaks() {
    let served = Served::start(Setup::new());
    let mut talk = talk(&served);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    sound_flows(&mut talk);
    for number in 0..200 {
        for side in [&talk.caller, &talk.callee] {
            // Also with the SSRC of the victim, and a number ahead of his.
            stranger.send_to(&packet(number, 0x5eed, 9), side.towards).unwrap();
            stranger.send_to(&packet(number, 0xbad, 9), side.towards).unwrap();
            let rtcp = SocketAddr::new(side.towards.ip(), side.towards.port() + 1);
            stranger.send_to(&[0x81, 201, 0, 1, 0, 0, 0x5e, 0xed], rtcp).unwrap();
            stranger.send_to(&[0x81], rtcp).unwrap();
        }
        if number % 10 == 0 {
            one_is_heard(&mut talk);
        }
    }
    let mut buffer = [0; 2048];
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut buffer).is_err(), "a stranger got a packet");
    is_well(&served);
}
