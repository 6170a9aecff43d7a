//! The loop with real sockets, store and media workers around a switch that does what each test wants.

use crate::eventloop::*;
use bytes::Bytes;
use clock::{Mono, Now, System};
use media::{Plan, WorkerId};
use model::{StoreOp, StoreReply};
use net::files::{FileSettings, Files};
use net::resolve::{ResolveSettings, Resolver};
use net::rtp::{RtpSettings, Workers};
use net::tcp::{Tcp, TcpSettings};
use net::udp::{Udp, UdpSettings};
use sip::peek::Class;
use sip::{Flow, Transport};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use store::Store;
use switch::{Admit, Answer, Command, Counters, Input, Notice, Output};

const LIMIT: Duration = Duration::from_secs(5);

/// Plays the switch: answers each input with what `act` says, and tells the test about it.
struct Fake {
    act: Act,
    heard: mpsc::Sender<Heard>,
    outputs: std::collections::VecDeque<Output>,
    due: Option<Mono>,
    sound: bool,
}

/// More is due, however much is done.
const ENDLESS: Option<Mono> = Some(Mono(0));

type Act = Box<dyn FnMut(&Input) -> Vec<Output> + Send>;

#[derive(Debug)]
enum Heard {
    Input(Input),
    Timeout,
    Recovered,
}

impl Core for Fake {
    fn admit(&mut self, _: Now, _: &Flow, class: Class, _: &[u8]) -> Admit {
        match class {
            Class::Ongoing => Admit::Ongoing,
            Class::Register | Class::New => Admit::New,
            Class::KeepAlive | Class::Garbage => Admit::Drop,
        }
    }
    fn note_delay(&mut self, _: Duration) {}
    fn handle_input(&mut self, now: Now, input: Input) {
        self.outputs.extend((self.act)(&input));
        if let Input::Command {
            command: Command::Drain { limit_s },
            ..
        } = &input
        {
            self.due = match limit_s {
                0 => ENDLESS,
                ms => Some(now.mono + Duration::from_millis(u64::from(*ms))),
            };
        }
        let _ = self.heard.send(Heard::Input(input));
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
    fn poll_timeout(&mut self) -> Option<Mono> {
        self.due
    }
    fn handle_timeout(&mut self, now: Now) {
        if self.due == ENDLESS {
            return;
        }
        assert!(
            self.due.take().is_some_and(|due| due <= now.mono),
            "called before its time"
        );
        let _ = self.heard.send(Heard::Timeout);
    }
    fn recover(&mut self, _: Now) {
        let _ = self.heard.send(Heard::Recovered);
    }
    fn audit(&self) -> Result<(), String> {
        if self.sound {
            Ok(())
        } else {
            Err("a leg without a call".into())
        }
    }
    fn counters(&self) -> Counters {
        Counters {
            values: vec![("calls", 3, true)],
            ..Counters::default()
        }
    }
}

struct Node {
    handle: Handle,
    heard: mpsc::Receiver<Heard>,
    udp: SocketAddr,
    tcp: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

fn node(act: impl FnMut(&Input) -> Vec<Output> + Send + 'static) -> Node {
    node_with(true, act)
}

fn node_with(sound: bool, act: impl FnMut(&Input) -> Vec<Output> + Send + 'static) -> Node {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (clock, here) = (System::start(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let (posts, inlets) = channels().unwrap();
    let udp = Udp::bind(here, UdpSettings::default(), Arc::default()).unwrap();
    let tcp = Tcp::new(
        runtime.handle().clone(),
        TcpSettings::default(),
        Arc::default(),
        posts.streams.clone(),
    );
    let (udp_at, tcp_at) = (udp.local(), tcp.listen(Transport::Tcp, here).unwrap());
    let ports = RtpSettings {
        address: here.ip(),
        second: None,
        ports: 22_000..=22_999,
        workers: 1,
        io: net::rtp::Io::Epoll,
        lines: 0,
        cores: vec![],
    };
    // Asked when a leg is opened, which is how a test breaks a worker.
    let random = |_| -> net::rtp::Random { Box::new(|| panic!("the test's own panic")) };
    let files = Files::start(FileSettings::default(), Arc::default()).unwrap();
    let media = Workers::start(
        &ports,
        Default::default(),
        random,
        clock,
        &posts.media,
        files,
        &Arc::default(),
    )
    .unwrap();
    let store = Arc::new(Store::open("memory:", posts.on_reply()).unwrap());
    let dns = Resolver::new(
        runtime.handle().clone(),
        ResolveSettings::default(),
        Arc::default(),
        posts.resolved.clone(),
    );
    let (heard, heard_in) = mpsc::channel();
    let core = Fake {
        act: Box::new(act),
        heard,
        outputs: Default::default(),
        due: None,
        sound,
    };
    let handle = start(
        core,
        Parts {
            dns,
            clock,
            udp: vec![udp],
            tcp,
            media,
            store,
            events: tokio::sync::mpsc::channel(1).0,
        },
        inlets,
    )
    .unwrap();
    Node {
        handle,
        heard: heard_in,
        udp: udp_at,
        tcp: tcp_at,
        runtime,
    }
}

impl Node {
    fn heard(&self) -> Heard {
        self.heard
            .recv_timeout(LIMIT)
            .expect("the switch should have heard something")
    }

    fn input(&self) -> Input {
        match self.heard() {
            Heard::Input(input) => input,
            other => panic!("{other:?}"),
        }
    }

    fn command(&self, command: Command) -> Result<Answer, Unavailable> {
        self.runtime.block_on(self.handle.command(command))
    }

    /// Puts a command whose answer nobody waits for.
    fn tell(&self, command: Command) {
        let handle = self.handle.clone();
        self.runtime.spawn(async move { handle.command(command).await });
    }

    /// Puts some command, and takes note that the switch heard it.
    fn prod(&self) {
        self.tell(Command::Status);
        assert!(matches!(
            self.input(),
            Input::Command {
                command: Command::Status,
                ..
            }
        ));
    }

    fn ended(&self) -> Ended {
        self.runtime
            .block_on(async { tokio::time::timeout(LIMIT, self.handle.ended()).await })
            .unwrap()
    }

    fn stop(&self) -> Ended {
        self.runtime.block_on(self.handle.stop())
    }
}

fn phone() -> UdpSocket {
    let phone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    phone.set_read_timeout(Some(LIMIT)).unwrap();
    phone
}

fn request(method: &str) -> Bytes {
    let lines = [
        "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
        "From: <sip:a@h>;tag=1",
        "To: <sip:b@h>",
        "Call-ID: c",
    ];
    let head = lines.join("\r\n");
    Bytes::from(format!(
        "{method} sip:b@h SIP/2.0\r\n{head}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// Answers each message on its flow.
fn answering(input: &Input) -> Vec<Output> {
    match input {
        Input::Datagram { flow, .. } => vec![ok(*flow)],
        _ => vec![],
    }
}

fn ok(flow: Flow) -> Output {
    Output::Transmit {
        flow,
        bytes: Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n"),
    }
}

/// What each command asks the shell for.
fn wanting(mut want: impl FnMut() -> Vec<Output>) -> impl FnMut(&Input) -> Vec<Output> {
    move |input| {
        if matches!(input, Input::Command { .. }) {
            want()
        } else {
            vec![]
        }
    }
}

#[test]
fn a_datagram_is_answered_where_it_came_from() {
    let (node, phone) = (node(answering), phone());
    for method in ["OPTIONS", "REGISTER", "BYE"] {
        phone.send_to(&request(method), node.udp).unwrap();
        let (length, from) = phone.recv_from(&mut [0; 100]).unwrap();
        assert_eq!((length, from), (18, node.udp));
        let Input::Datagram { flow, bytes } = node.input() else {
            panic!()
        };
        assert_eq!((flow.local, flow.peer), (node.udp, phone.local_addr().unwrap()));
        assert_eq!((flow.transport, bytes), (Transport::Udp, request(method)));
    }
    assert_eq!(node.stop(), Ended::Stopped);
    assert_eq!(node.handle.counters().lanes.handled.value(), 3);
}

#[test]
fn a_burst_is_answered_message_by_message() {
    let (node, phone) = (node(answering), phone());
    for _ in 0..10 {
        for _ in 0..200 {
            phone.send_to(&request("OPTIONS"), node.udp).unwrap();
        }
        for _ in 0..200 {
            phone.recv(&mut [0; 100]).unwrap();
        }
    }
}

#[test]
fn a_stream_opens_speaks_and_closes_in_this_order() {
    let node = node(answering);
    let mut phone = TcpStream::connect(node.tcp).unwrap();
    phone.set_read_timeout(Some(LIMIT)).unwrap();
    let Input::Opened { flow, token: None } = node.input() else {
        panic!()
    };
    assert_eq!((flow.local, flow.peer), (node.tcp, phone.local_addr().unwrap()));
    phone
        .write_all(&[request("INVITE"), request("OPTIONS"), request("BYE")].concat())
        .unwrap();
    let mut answers = [0; 54];
    phone.read_exact(&mut answers).unwrap();
    drop(phone);
    for _ in 0..3 {
        assert!(matches!(node.input(), Input::Datagram { flow: on, .. } if on == flow));
    }
    assert!(matches!(node.input(), Input::Closed { flow: on } if on == flow));
}

#[test]
fn the_switch_hears_of_what_could_not_be_sent() {
    let closed = phone().local_addr().unwrap();
    let local: SocketAddr = "127.0.0.1:5060".parse().unwrap();
    let gone = Flow {
        transport: Transport::Tcp,
        local,
        peer: closed,
        connection: 99,
    };
    let unbound = Flow {
        transport: Transport::Udp,
        connection: 0,
        ..gone
    };
    let node = node(wanting(move || vec![ok(gone), ok(unbound)]));
    node.prod();
    for flow in [gone, unbound] {
        assert!(matches!(node.input(), Input::SendFailed { flow: on } if on == flow));
    }
}

#[test]
fn the_switch_hears_of_a_port_that_is_closed() {
    let mut last = None;
    let node = node(move |input| match input {
        Input::Datagram { flow, .. } => vec![ok(*last.insert(*flow))],
        Input::Command { .. } => last.map(ok).into_iter().collect(),
        _ => vec![],
    });
    let phone = phone();
    phone.send_to(&request("OPTIONS"), node.udp).unwrap();
    phone.recv(&mut [0; 100]).unwrap();
    let Input::Datagram { flow, .. } = node.input() else {
        panic!()
    };
    drop(phone);
    node.prod();
    assert!(matches!(node.input(), Input::SendFailed { flow: on } if on == flow));
}

#[test]
fn a_connect_is_answered_with_its_token() {
    let trunk = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = trunk.local_addr().unwrap();
    let connect = move |transport, token| {
        let local = (Ipv4Addr::LOCALHOST, 0).into();
        Output::Connect {
            token,
            transport,
            local,
            peer,
            name: None,
        }
    };
    let node = node(wanting(move || {
        vec![connect(Transport::Tcp, 7), connect(Transport::Tls, 8)]
    }));
    node.prod();
    let answers = [node.input(), node.input()];
    let opened = |input: &Input| matches!(input, Input::Opened { flow, token: Some(7) } if flow.peer == peer);
    assert!(answers.iter().any(opened), "{answers:?}");
    let failed = |input: &Input| matches!(input, Input::ConnectFailed { token: 8 });
    assert!(
        answers.iter().any(failed),
        "nobody is believed without certificates: {answers:?}"
    );
}

#[test]
fn what_the_store_says_comes_back_with_its_token() {
    let node = node(wanting(|| {
        vec![Output::Store {
            token: Some(5),
            op: StoreOp::LoadBindings,
        }]
    }));
    node.prod();
    let reply = node.input();
    assert!(
        matches!(&reply, Input::Stored { token: 5, reply: StoreReply::Bindings(b) } if b.is_empty()),
        "{reply:?}"
    );
}

#[test]
fn plans_reach_the_worker_and_its_events_the_switch() {
    let node = node(wanting(|| {
        vec![Output::Media(WorkerId(0), Plan::BindPorts { count: 3 })]
    }));
    node.prod();
    let event = node.input();
    let Input::Media(media::Event::PortsBound {
        worker: WorkerId(0),
        ports,
    }) = event
    else {
        panic!("{event:?}")
    };
    assert_eq!(ports.len(), 3);
}

#[test]
fn a_plan_for_a_worker_that_is_not_there_ends_the_node() {
    let node = node(wanting(|| {
        vec![Output::Media(WorkerId(9), Plan::BindPorts { count: 3 })]
    }));
    node.prod();
    assert_eq!(node.ended(), Ended::Failed("media worker 9 is gone".into()));
}

#[test]
fn a_worker_that_ends_ends_the_node_although_nothing_more_is_asked_of_it() {
    let room = media::RoomId(1);
    let open = media::OpenLeg {
        leg: media::LegId(1),
        room,
        port: 22_000,
        media: media::LegMedia::default(),
        latch: media::plan::Latch::default(),
        media_timeout: None,
    };
    let node = node(wanting(move || {
        let (matrix, rate) = (media::plan::Matrix::Everyone, media::plan::Rate::Narrow);
        let legs = (0..3).map(|_| Plan::OpenLeg(Box::new(open.clone())));
        let plans = std::iter::once(Plan::OpenRoom { room, matrix, rate }).chain(legs);
        plans.map(|plan| Output::Media(WorkerId(0), plan)).collect()
    }));
    node.prod();
    assert_eq!(node.ended(), Ended::Failed("media worker 0 has ended".into()));
}

#[test]
fn deadlines_are_met_and_not_before_their_time() {
    let node = node(|_| vec![]);
    for _ in 0..3 {
        node.tell(Command::Drain { limit_s: 20 });
        node.input();
        assert!(matches!(node.heard(), Heard::Timeout));
    }
}

#[test]
fn timers_without_end_keep_no_message_waiting() {
    let (node, phone) = (node(answering), phone());
    node.tell(Command::Drain { limit_s: 0 });
    node.input();
    for _ in 0..10 {
        phone.send_to(&request("BYE"), node.udp).unwrap();
        assert_eq!(phone.recv(&mut [0; 100]).unwrap(), 18);
    }
    assert_eq!(node.stop(), Ended::Stopped);
    let turns = &node.handle.counters().turns;
    assert!(
        turns.timeouts.value() > turns.turns.value(),
        "a turn has time for more than one step of them"
    );
}

#[test]
fn a_command_gets_the_answer_that_carries_its_token() {
    let node = node(|input| match input {
        Input::Command { token, .. } => vec![Output::Notice(Notice::Answer {
            token: *token,
            answer: Answer::Done(*token),
        })],
        _ => vec![],
    });
    assert_eq!(node.command(Command::Calls), Ok(Answer::Done(1)));
    assert_eq!(node.command(Command::Calls), Ok(Answer::Done(2)));
    assert_eq!(
        node.command(Command::Trace(true)),
        Ok(Answer::Done(1)),
        "answered by the loop itself"
    );
    assert_eq!(
        node.runtime.block_on(node.handle.figures()).unwrap().values,
        [("calls", 3, true)]
    );
    assert_eq!(node.stop(), Ended::Stopped);
    assert_eq!(node.command(Command::Calls), Err(Unavailable::Ended));
    assert_eq!(node.stop(), Ended::Stopped, "a second time it is so already");
}

#[test]
fn the_end_of_draining_is_told() {
    let node = node(wanting(|| vec![Output::Notice(Notice::Drained)]));
    node.prod();
    node.runtime
        .block_on(async { tokio::time::timeout(LIMIT, node.handle.drained()).await })
        .unwrap();
}

/// Answers, but panics at every MESSAGE: as a fault in the middle of a verb would.
fn faulty(input: &Input) -> Vec<Output> {
    assert!(
        !matches!(input, Input::Datagram { bytes, .. } if bytes.starts_with(b"MESSAGE")),
        "a fault of the switch"
    );
    answering(input)
}

#[test]
fn a_panic_costs_one_message_and_the_switch_recovers() {
    let (node, phone) = (node(faulty), phone());
    phone.send_to(&request("MESSAGE"), node.udp).unwrap();
    assert!(matches!(node.heard(), Heard::Recovered));
    phone.send_to(&request("OPTIONS"), node.udp).unwrap();
    phone.recv(&mut [0; 100]).unwrap();
    assert_eq!(node.handle.counters().turns.panics.value(), 1);
}

#[test]
fn three_panics_within_a_minute_end_the_node() {
    let (node, phone) = (node(faulty), phone());
    for _ in 0..3 {
        phone.send_to(&request("MESSAGE"), node.udp).unwrap();
    }
    assert_eq!(node.ended(), Ended::Failed("3 panics within a minute".into()));
}

#[test]
fn a_switch_that_is_unsound_after_a_panic_ends_the_node() {
    let (node, phone) = (node_with(false, faulty), phone());
    phone.send_to(&request("MESSAGE"), node.udp).unwrap();
    assert_eq!(
        node.ended(),
        Ended::Failed("after a panic: a leg without a call".into())
    );
}
