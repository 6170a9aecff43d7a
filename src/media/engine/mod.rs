//! What one media worker runs: packets and time in, packets and events out.
//!
//! The worker reads a packet into its buffer and calls [`Engine::handle_rtp`]; a packet to relay is rewritten in that
//! buffer and sent from it. Packets the engine itself makes (tones, mixed sound, RTCP) are asked for with
//! [`Engine::poll_transmit`] after [`Engine::handle_timeout`] or [`Engine::apply`].

use crate::event::Event;
use crate::plan::Plan;
use clock::Mono;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;

/// Bytes a packet buffer must hold: no RTP of ours is longer, and what is longer on the wire is dropped.
pub const PACKET_BUFFER: usize = 2048;

/// How an engine behaves.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct EngineConfig {
    /// Media may go to loopback addresses. Only for a node that itself listens on loopback.
    pub allow_loopback: bool,
}

/// Send `buffer[range]` from the socket of `port` to `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Our port: the source of the packet.
    pub port: u16,
    /// Where it goes.
    pub to: SocketAddr,
    /// Where in the buffer the packet is now.
    pub range: Range<usize>,
}

/// Send the first `len` bytes of the buffer from the socket of `port` to `to`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Our port: even for RTP (and RTCP multiplexed with it), odd for RTCP.
    pub port: u16,
    /// Where it goes.
    pub to: SocketAddr,
    /// Length of the packet.
    pub len: usize,
}

/// All rooms and legs of one worker.
pub struct Engine {
    config: EngineConfig,
    random: Box<dyn FnMut() -> u64 + Send>,
    events: VecDeque<Event>,
}

impl Engine {
    /// An engine without rooms. `random` gives SSRCs and first sequence numbers: a CSPRNG in a node, a seed in tests.
    #[must_use]
    pub fn new(config: EngineConfig, random: Box<dyn FnMut() -> u64 + Send>) -> Engine {
        Engine {
            config,
            random,
            events: VecDeque::new(),
        }
    }

    /// Obeys control.
    pub fn apply(&mut self, now: Mono, plan: Plan) {
        let _ = (now, plan, self.config, (self.random)());
    }

    /// A datagram of `len` bytes in `buffer` came to our even port `port`. Packets to pass on at once are rewritten in
    /// the buffer; anything else is kept or dropped and counted.
    pub fn handle_rtp(
        &mut self,
        now: Mono,
        port: u16,
        source: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Option<Forward> {
        let _ = (now, port, source, buffer, len);
        None
    }

    /// A datagram came to the RTCP port above our even port `port`.
    pub fn handle_rtcp(&mut self, now: Mono, port: u16, source: SocketAddr, packet: &mut [u8]) {
        let _ = (now, port, source, packet);
    }

    /// When to call [`Engine::handle_timeout`] next; `None` while nothing is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    /// Does what is due at `now`. Then ask [`Engine::poll_transmit`] and [`Engine::poll_event`] until both say `None`.
    pub fn handle_timeout(&mut self, now: Mono) {
        let _ = now;
    }

    /// Writes the next packet the engine made into `buffer`, which holds at least [`PACKET_BUFFER`] bytes.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        let _ = buffer;
        None
    }

    /// The next event for control.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
