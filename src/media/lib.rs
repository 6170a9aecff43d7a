//! SDP, RTP, rooms and the mixer; has never heard of SIP.
