//! Sockets: UDP, TCP and the RTP workers.
