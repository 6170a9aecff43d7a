//! SDP, RTP, rooms and the mixer; has never heard of SIP.

/// What the control plane asks of the engine.
#[derive(Clone, Debug)]
pub enum Plan {}

/// What the engine tells the control plane.
#[derive(Clone, Debug)]
pub enum Event {}
