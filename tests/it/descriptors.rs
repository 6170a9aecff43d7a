//! A node that has no file descriptor left: what needs none goes on, what needs one waits without costing anything, and all is
//! well when there are some again.

use crate::support::node::Setup;
use crate::support::phone::Phone;
use crate::support::served::Served;
use crate::support::{PATIENCE, http_get, wait_for};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Said each time the node cannot accept, which is then ten times a second for each of its listeners.
const PAUSED: &str = "cannot accept connections now";

fn limit(served: &Served, descriptors: u64) {
    let pid = Pid::from_raw(i32::try_from(served.pid()).unwrap());
    let limit = Rlimit {
        current: Some(descriptors),
        maximum: Some(descriptors),
    };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

fn descriptors(served: &Served) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{}/fd", served.pid())).unwrap();
    open.count() as u64
}

/// Processor time that the node has used, in clock ticks of a hundredth of a second (proc(5), fields 14 and 15).
fn ticks(served: &Served) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", served.pid())).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let times = after_name.split(' ').skip(11).take(2);
    times.map(|field| field.parse::<u64>().unwrap()).sum()
}

/// OPTIONS to the switch over a stream of its own; `None` if no answer comes within a moment.
fn asks_over_tcp(server: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let at = stream.local_addr().unwrap();
    let request = format!(
        "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/TCP {at};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\nFrom: <sip:1000@{server}>;tag=a\r\n\
         To: <sip:{server}>\r\nCall-ID: {at}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        at.port()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 4_096];
    let length = stream.read(&mut answer).ok().filter(|length| *length > 0)?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[test]
fn without_descriptors_udp_goes_on_the_accept_loop_rests_and_tcp_comes_back_with_them() {
    let served = Served::start(Setup::new());
    let mut kate = Phone::new(served.sip(), "1000");
    assert_eq!(kate.register().status(), 200);
    // A call before, so that what calls need once is there.
    assert_eq!(kate.call("9196").status(), 200);
    limit(&served, descriptors(&served) + 8);
    let streams: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(served.sip()).unwrap()).collect();
    served.logged(PAUSED);
    assert_eq!(asks_over_tcp(served.sip()), None, "it waits to be accepted");

    let (paused, used, begun) = (served.log().matches(PAUSED).count(), ticks(&served), Instant::now());
    let mut rounds = 0_u32;
    while begun.elapsed() < Duration::from_secs(3) || rounds < 20 {
        rounds += 1;
        assert_eq!(kate.register().status(), 200);
        assert_eq!(kate.call("9999").status(), 404);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let elapsed = begun.elapsed();
    let (paused, used) = (served.log().matches(PAUSED).count() - paused, ticks(&served) - used);
    assert!(paused > 0, "there was no exhaustion to speak of");
    let listeners = 2.0;
    let most = elapsed.as_secs_f64() * 10.0 * listeners + 10.0;
    assert!(
        (paused as f64) < most,
        "the accept loop spins: {paused} times in {elapsed:?}"
    );
    // One that spins takes a whole processor, if it gets one.
    assert!(
        (used as f64) < elapsed.as_secs_f64() * 60.0,
        "{used} ticks in {elapsed:?}"
    );

    drop(streams);
    let answer = wait_for("an answer over TCP", || asks_over_tcp(served.sip()));
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert_eq!(http_get(served.http(), "/healthz").0, 200);
    assert!(served.metric("tandem_tcp_accept_paused_total") >= 1.0);
}
