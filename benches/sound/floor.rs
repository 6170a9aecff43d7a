//! The floor: as many sockets, one packet in and one out of each in 20 ms, and nothing else. One thread with an absolute
//! tick and plain non-blocking calls on connected sockets, the cheapest of what libraries.md measured without io_uring.

use std::io::Write;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);
/// Reads a second packet from each socket once in so many ticks, so that a burst does not stay in the kernel for good.
const SWEEP: u64 = 25;

struct Leg {
    socket: UdpSocket,
    connected: bool,
}

pub fn serve(legs: usize) {
    let mut legs: Vec<Leg> = (0..legs).map(|_| Leg::bind()).collect();
    let mut out = std::io::stdout().lock();
    for (at, leg) in legs.iter().enumerate() {
        writeln!(out, "{at} {}", leg.socket.local_addr().unwrap()).unwrap();
    }
    writeln!(out, "ready").unwrap();
    out.flush().unwrap();
    let mut due = Instant::now() + TICK;
    for tick in 0u64.. {
        let reads = if tick % SWEEP == 0 { 2 } else { 1 };
        for leg in &mut legs {
            (0..reads).for_each(|_| leg.pass());
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += TICK;
    }
}

impl Leg {
    fn bind() -> Leg {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Leg {
            socket,
            connected: false,
        }
    }

    fn pass(&mut self) {
        let mut packet = [0; 1_500];
        if !self.connected {
            let Ok((_, peer)) = self.socket.peek_from(&mut packet) else {
                return;
            };
            self.connected = self.socket.connect(peer).is_ok();
        }
        if let Ok(length) = self.socket.recv(&mut packet) {
            let _ = self.socket.send(&packet[..length]);
        }
    }
}
