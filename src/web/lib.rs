//! HTTP API and metrics; sends commands, gets notices, never builds a SIP message.
