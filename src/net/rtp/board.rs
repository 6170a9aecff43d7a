//! The sockets of a worker, what tells of their packets, and which of them have a line.

use super::RtpCounters;
use super::line::{Course, Line};
use super::pairs::{Pairs, Place};
use super::ring::{Rest, Ring};
use crate::epoll::{Epoll, Interest};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) struct Board {
    /// Under the lines, where the kernel lets us. Dropped before the sockets that its entries name.
    pub(super) ring: Option<Ring>,
    pub(super) pairs: Pairs,
    pub(super) epoll: Epoll,
    /// Lines that may still be made: each takes a file descriptor that a call may need.
    lines: usize,
    counters: Arc<RtpCounters>,
}

impl Board {
    pub(super) fn new(pairs: Pairs, epoll: Epoll, lines: usize, counters: Arc<RtpCounters>) -> Board {
        Board {
            pairs,
            epoll,
            lines,
            ring: None,
            counters,
        }
    }

    /// Has epoll tell of a port.
    pub(super) fn watch(&mut self, place: Place) {
        let Some(ear) = self.pairs.ear_mut(place).filter(|ear| !ear.is_watched) else {
            return;
        };
        match self.epoll.add(&ear.socket, place.key(), Interest::Read) {
            Ok(()) => ear.is_watched = true,
            Err(e) => tracing::error!(port = place.port, error = %e, "cannot watch a port"),
        }
    }

    /// What comes to a port that is in no use is the kernel's to drop: a flood there must not keep us busy.
    pub(super) fn unwatch(&mut self, place: Place) {
        let Some(ear) = self.pairs.ear_mut(place) else {
            return;
        };
        ear.is_watched = false;
        if let Err(e) = self.epoll.remove(&ear.socket) {
            tracing::error!(port = place.port, error = %e, "cannot leave a port unwatched");
        }
    }

    /// Sends a packet. What the kernel does not take at once is lost, as late sound would be.
    pub(super) fn send(&mut self, port: u16, to: SocketAddr, packet: &[u8]) {
        let Some((place, ear)) = self.pairs.towards(port, to) else {
            return;
        };
        let sent = match (&mut self.ring, ear.line_to(to)) {
            (Some(ring), Some(line)) if !line.is_deaf() => ring.send(place, line.socket(), packet),
            _ => ear.send(to, packet).map(|_| ()),
        };
        match sent {
            Ok(()) => self.counters.packets_out.one(),
            Err(_) => self.counters.send_failed.one(),
        }
        // Reports are too few to be worth a line.
        if port.is_multiple_of(2)
            && ear.wants_line(to)
            && let Err(e) = self.connect(place, to)
        {
            tracing::debug!(port, error = %e, "cannot connect a port to its device");
        }
    }

    /// A ring could not send a packet of this port.
    pub(super) fn on_send_failed(&mut self, place: Place, why: i32) {
        self.counters.send_failed.one();
        let line = self.pairs.ear_mut(place).and_then(|ear| ear.line.as_mut());
        if let Some(line) = line.filter(|_| why == libc::ECONNREFUSED) {
            line.on_refused();
        }
    }

    /// Has the line of a port lead there.
    fn connect(&mut self, place: Place, to: SocketAddr) -> io::Result<()> {
        // What is queued is for the device before.
        self.ring.iter_mut().for_each(Ring::flush);
        let Some(ear) = self.pairs.ear_mut(place) else {
            return Ok(());
        };
        match &mut ear.line {
            Some(line) if line.slot.is_none() => return line.connect(to),
            None if self.lines == 0 => return Ok(()),
            _ => {}
        }
        let line = Line::new(&ear.socket, ear.line.as_ref(), to)?;
        self.epoll.add(line.socket(), place.line().key(), Interest::Read)?;
        // What comes through a ring is labelled with one device for good.
        if let Some(before) = ear.line.replace(line) {
            self.end(before, Rest::Taken);
        } else {
            self.lines -= 1;
            self.counters.ports_connected.add(1);
        }
        Ok(())
    }

    /// All that came over a line of epoll has been read, so that the ring may go on with it.
    pub(super) fn arm(&mut self, place: Place) {
        if !place.is_line {
            return;
        }
        let call = self.pairs.call(place.port);
        let (Some(ring), Some(ear)) = (&mut self.ring, self.pairs.ear_mut(place)) else {
            return;
        };
        let Some(line) = ear
            .line
            .as_mut()
            .filter(|line| line.is_settled() && line.slot.is_none())
        else {
            return;
        };
        if self.epoll.remove(line.socket()).is_ok() {
            line.slot = ring.arm(place, call, line).ok();
        }
        if line.slot.is_none() {
            self.tell_of(place);
        }
    }

    /// The ring goes on no longer with what had this slot.
    pub(super) fn disarm(&mut self, place: Place, slot: usize) {
        let line = self.pairs.ear_mut(place).and_then(|ear| ear.line.as_mut());
        if let Some(line) = line.filter(|line| line.slot == Some(slot)) {
            line.slot = None;
            self.tell_of(place);
        }
    }

    /// Lines are left to epoll from now on. What the ring had for them is lost.
    pub(super) fn leave_ring(&mut self) {
        self.ring = None;
        for place in self.pairs.places() {
            let line = self.pairs.ear_mut(place).and_then(|ear| ear.line.as_mut());
            if line.is_some_and(|line| line.slot.take().is_some()) {
                self.tell_of(place);
            }
        }
    }

    /// Has epoll tell of a line.
    fn tell_of(&mut self, place: Place) {
        let line = self.pairs.ear_mut(place).and_then(|ear| ear.line.as_ref());
        if let Some(line) = line
            && let Err(e) = self.epoll.add(line.socket(), place.line().key(), Interest::Read)
        {
            tracing::error!(port = place.port, error = %e, "cannot watch a port");
        }
    }

    #[cfg(test)]
    pub(super) fn lines_left(&self) -> usize {
        self.lines
    }

    /// The device of a pair is gone.
    pub(super) fn disconnect(&mut self, port: u16) {
        if let Some(pair) = self.pairs.get_mut(port) {
            pair.call = pair.call.wrapping_add(1);
        }
        for is_second in [false, true] {
            let Some(ear) = self.pairs.ear_mut(Place::own(port, is_second)) else {
                continue;
            };
            ear.course = Course::default();
            if let Some(line) = ear.line.take() {
                self.lines += 1;
                self.counters.ports_connected.sub(1);
                self.end(line, Rest::Dropped);
            }
        }
    }

    fn end(&mut self, line: Line, rest: Rest) {
        match (&mut self.ring, line.slot) {
            (Some(ring), Some(slot)) => ring.retire(slot, line, rest),
            _ => self.close(line),
        }
    }

    /// A line that is nobody's any more.
    pub(super) fn close(&mut self, line: Line) {
        match &mut self.ring {
            Some(ring) => ring.close(line),
            None => drop(line),
        }
    }
}
