//! Where a message ends: after Content-Length on a stream (RFC 3261 section 18.3), with its frame on a websocket (RFC 7118
//! section 5).

use crate::ws::frame::{self, Frame as Socket, Reader};
use bytes::{Bytes, BytesMut};
use sip::Transport;
use sip::frame::{Frame, Framer};
use std::net::SocketAddr;

/// Collects what is read from one connection.
pub(super) enum Cutter {
    Stream(Framer),
    Websocket(Reader),
}

/// What came.
pub(super) enum Piece {
    /// One whole message.
    Message(Bytes),
    /// A keep-alive, and what to send back.
    Ping(Bytes),
    /// What needs no answer.
    Nothing,
    /// The peer ends the connection, and this is the answer.
    Farewell(Bytes),
}

/// Nothing more can be read here.
pub(super) struct Broken {
    /// For the log.
    pub(super) reason: String,
    /// What to send before the end.
    pub(super) answer: Option<Bytes>,
}

impl Cutter {
    pub(super) fn new(transport: Transport) -> Cutter {
        match transport {
            Transport::Ws | Transport::Wss => Cutter::Websocket(Reader::default()),
            Transport::Udp | Transport::Tcp | Transport::Tls => Cutter::Stream(Framer::new()),
        }
    }

    pub(super) fn is_websocket(&self) -> bool {
        matches!(self, Cutter::Websocket(_))
    }

    /// The buffer to read into; append only.
    pub(super) fn buffer_mut(&mut self) -> &mut BytesMut {
        match self {
            Cutter::Stream(framer) => framer.buffer_mut(),
            Cutter::Websocket(reader) => reader.buffer_mut(),
        }
    }

    /// How many bytes wait to become a message.
    pub(super) fn buffered(&self) -> usize {
        match self {
            Cutter::Stream(framer) => framer.buffered(),
            Cutter::Websocket(reader) => reader.buffered(),
        }
    }

    /// What is complete next; `None` until more bytes come.
    pub(super) fn poll_piece(
        &mut self,
        tag: impl FnOnce() -> String,
        peer: SocketAddr,
    ) -> Result<Option<Piece>, Broken> {
        match self {
            Cutter::Stream(framer) => of_stream(framer, tag, peer),
            Cutter::Websocket(reader) => of_websocket(reader),
        }
    }
}

fn of_stream(framer: &mut Framer, tag: impl FnOnce() -> String, peer: SocketAddr) -> Result<Option<Piece>, Broken> {
    match framer.poll_frame() {
        Ok(None) => Ok(None),
        Ok(Some(Frame::Message(bytes))) => Ok(Some(Piece::Message(bytes))),
        // RFC 5626 section 4.4.1.
        Ok(Some(Frame::Ping)) => Ok(Some(Piece::Ping(Bytes::from_static(b"\r\n")))),
        Err(broken) => Err(Broken {
            reason: broken.reason.to_owned(),
            answer: broken.answer(&tag(), peer),
        }),
    }
}

fn of_websocket(reader: &mut Reader) -> Result<Option<Piece>, Broken> {
    let piece = match reader.poll_frame() {
        Ok(None) => return Ok(None),
        Ok(Some(Socket::Message(bytes))) => match &bytes[..] {
            // The keep-alive of RFC 5626 may be used here as well (RFC 7118 section 6).
            b"\r\n\r\n" => Piece::Ping(frame::message(b"\r\n")),
            b"\r\n" | b"" => Piece::Nothing,
            _ => Piece::Message(bytes),
        },
        Ok(Some(Socket::Ping(payload))) => Piece::Ping(frame::pong(&payload)),
        Ok(Some(Socket::Pong)) => Piece::Nothing,
        Ok(Some(Socket::Close(code))) => Piece::Farewell(frame::close(code)),
        Err(code) => {
            return Err(Broken {
                reason: format!("websocket frames, closed with {code}"),
                answer: Some(frame::close(code)),
            });
        }
    };
    Ok(Some(piece))
}
