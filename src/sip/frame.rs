//! Cutting a byte stream into messages (RFC 3261 section 18.3), with the keep-alives of RFC 5626 between them.
//!
//! Header lines are read by the code that parses messages, so that no two parts of the switch can see different lengths.

use crate::header::lex;
use crate::message::{MAX_HEADERS, MAX_MESSAGE, Malformed, Message};
use crate::{Name, Writer, scan};
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use std::net::SocketAddr;

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`Message::parse`].
    Message(Bytes),
    /// A double CRLF: the peer wants one CRLF back (RFC 5626 section 4.4.1).
    Ping,
}

/// A stream that cannot be cut any further: answer if possible, and close.
#[derive(Clone, Debug)]
pub struct Broken {
    /// 400 or 413.
    pub status: u16,
    /// What was wrong.
    pub reason: &'static str,
    head: Bytes,
}

impl Broken {
    /// The answer to send before closing, if what came was a request with a Via. `to_tag` is any fresh tag.
    #[must_use]
    pub fn answer(&self, to_tag: &str, source: SocketAddr) -> Option<Bytes> {
        let message = match Message::parse(self.head.clone()) {
            Ok(message) if message.is_request() && message.method() != crate::Method::Ack => message,
            Err(Malformed::Answer { message, .. }) => *message,
            _ => return None,
        };
        Some(Writer::response(&message, self.status, self.reason, to_tag, source).finish())
    }
}

/// Collects bytes and yields messages. Feed at most 64 KB, then ask [`Framer::poll_frame`] until it has no more: so it never
/// holds more than 128 KB.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// No end of the header before this.
    searched: usize,
    /// Length of the whole message, once its header is there.
    total: Option<usize>,
    /// One CRLF came since the last message or ping.
    half_ping: bool,
}

/// The most that is held: one message that is not whole yet, and one read.
pub const MAX_BUFFERED: usize = 2 * (MAX_MESSAGE + 1);

impl Framer {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Takes what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer to read into directly; append only.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// How many bytes wait to become a message.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next message or ping; `None` until more bytes come. After an error nothing more can come of this stream.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, Broken> {
        if self.total.is_none() {
            if self.skip_blank()? {
                return Ok(Some(Frame::Ping));
            }
            self.total = self.find_total()?;
        }
        match self.total {
            Some(total) if total <= self.buffer.len() => Ok(Some(self.cut(total))),
            _ => Ok(None),
        }
    }

    fn cut(&mut self, total: usize) -> Frame {
        (self.searched, self.total) = (0, None);
        Frame::Message(self.buffer.split_to(total).freeze())
    }

    /// Takes CRLFs before a message away; true at every second one.
    fn skip_blank(&mut self) -> Result<bool, Broken> {
        while self.searched == 0 {
            match self.buffer.as_ref() {
                [b'\r', b'\n', ..] => {
                    let _ = self.buffer.split_to(2);
                    self.half_ping = !self.half_ping;
                    if !self.half_ping {
                        return Ok(true);
                    }
                }
                [] | [b'\r'] => return Ok(false),
                [first, ..] if lex::is_token(*first) => {
                    self.half_ping = false;
                    return Ok(false);
                }
                _ => return Err(self.broken(400, "Not a SIP message")),
            }
        }
        Ok(false)
    }

    fn find_total(&mut self) -> Result<Option<usize>, Broken> {
        let Some(at) = memmem::find(&self.buffer[self.searched..], b"\r\n\r\n") else {
            // The last three bytes may be the first three of the mark.
            self.searched = self.buffer.len().saturating_sub(3);
            let too_long = self.buffer.len() >= MAX_MESSAGE;
            return if too_long {
                Err(self.broken(413, "Header over 64 KB"))
            } else {
                Ok(None)
            };
        };
        let head = self.searched + at + 4;
        let length = content_length(&self.buffer[..head]).map_err(|reason| self.broken(400, reason))?;
        let total = usize::try_from(length).ok().and_then(|length| head.checked_add(length));
        match total {
            Some(total) if total <= MAX_MESSAGE => Ok(Some(total)),
            _ => Err(self.broken(413, "Message over 64 KB")),
        }
    }

    fn broken(&self, status: u16, reason: &'static str) -> Broken {
        let end = memmem::find(&self.buffer, b"\r\n\r\n").map_or(self.buffer.len(), |at| at + 4);
        Broken {
            status,
            reason,
            head: Bytes::copy_from_slice(&self.buffer[..end.min(MAX_MESSAGE)]),
        }
    }
}

/// The one Content-Length. On a stream it must be there (section 18.3), and the header around it must be sound: another
/// reader might find another one in it.
fn content_length(head: &[u8]) -> Result<u64, &'static str> {
    let (start, sound) = scan::line_end(head, 0).ok_or("No start line")?;
    let (mut at, mut length, mut fields) = (start.next, None, 0);
    if !sound {
        return Err("Line end that is not CRLF");
    }
    loop {
        let (line, sound) = scan::logical_line(head, at).ok_or("No empty line after the header")?;
        if !sound {
            return Err("Line end that is not CRLF");
        }
        if line.end == at {
            return length.ok_or("Missing Content-Length");
        }
        let field = scan::field(head, at, line.end).map_err(|fault| fault.reason)?;
        if field.name == Name::ContentLength {
            let value = &head[usize::from(field.value.at)..][..usize::from(field.value.len)];
            let number = lex::digits(value).ok_or("Content-Length is not a number")?;
            if length.replace(number).is_some() {
                return Err("Two Content-Lengths");
            }
        }
        fields += 1;
        if fields > MAX_HEADERS {
            return Err("More than 255 header fields");
        }
        at = line.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(headers: &str, body: &str) -> String {
        format!(
            "MESSAGE sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 MESSAGE\r\n{headers}\r\n{body}"
        )
    }

    fn all(framer: &mut Framer) -> Result<Vec<Frame>, Broken> {
        let mut frames = Vec::new();
        while let Some(frame) = framer.poll_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn fed(text: &str) -> Result<Vec<Frame>, Broken> {
        let mut framer = Framer::new();
        framer.feed(text.as_bytes());
        all(&mut framer)
    }

    fn status(text: &str) -> u16 {
        fed(text).expect_err("broken").status
    }

    #[test]
    fn cuts_messages_that_follow_one_another() {
        let (one, two) = (message("Content-Length: 5\r\n", "a\r\n\r\n"), message("l :\t0\r\n", ""));
        let frames = fed(&format!("{one}{two}")).unwrap();
        assert_eq!(
            frames,
            [Frame::Message(Bytes::from(one)), Frame::Message(Bytes::from(two))]
        );
    }

    #[test]
    fn a_double_crlf_is_a_ping_and_a_single_one_is_nothing() {
        let one = message("Content-Length: 0\r\n", "");
        let m = Frame::Message(Bytes::from(one.clone()));
        assert_eq!(fed("\r\n\r\n").unwrap(), [Frame::Ping]);
        assert_eq!(
            fed(&format!("\r\n{one}\r\n\r\n\r\n{one}")).unwrap(),
            [m.clone(), Frame::Ping, m]
        );
    }

    #[test]
    fn a_length_that_cannot_be_trusted_breaks_the_stream() {
        for length in [
            "",
            "Content-Length: -1\r\n",
            "Content-Length: 1x\r\n",
            "Content-Length:\r\n",
            "l: 3, 3\r\n",
        ]
        .into_iter()
        .chain([
            "Content-Length: 0\r\nl: 0\r\n",
            "Content-Length: 4\r\n 2\r\n",
            "Content-Length\u{b}: 4\r\n",
        ])
        .chain(["X: a\nContent-Length: 1\r\n", "Content-Length: 0\rX: 1\r\n"])
        {
            assert_eq!(status(&message(length, "")), 400, "{length:?}");
        }
        for length in [
            "65536",
            "4294967296",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            assert_eq!(
                status(&message(&format!("Content-Length: {length}\r\n"), "")),
                413,
                "{length}"
            );
        }
    }

    #[test]
    fn a_broken_request_can_be_answered_and_garbage_cannot() {
        let source = "192.0.2.1:5060".parse().unwrap();
        let broken = fed(&message("", "body")).unwrap_err();
        let answer = broken.answer("t1", source).unwrap();
        assert!(answer.starts_with(b"SIP/2.0 400 Missing Content-Length\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1"));
        assert!(fed("\u{1}\u{2}").unwrap_err().answer("t1", source).is_none());
        let response = message("", "").replace("MESSAGE sip:b@h SIP/2.0", "SIP/2.0 200 OK");
        assert!(fed(&response).unwrap_err().answer("t1", source).is_none());
    }

    #[test]
    fn never_holds_more_than_its_bound() {
        let mut framer = Framer::new();
        framer.feed(b"MESSAGE sip:b@h SIP/2.0\r\n");
        let chunk = [b'x'; 4096];
        let mut most = 0;
        let broken = loop {
            framer.feed(&chunk);
            most = most.max(framer.buffered());
            match framer.poll_frame() {
                Ok(frame) => assert_eq!(frame, None),
                Err(broken) => break broken,
            }
        };
        assert!(broken.status == 413 && most < MAX_BUFFERED, "{most}");
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_makes_no_difference(cuts in prop::collection::vec(1..200usize, 0..40)) {
            let text = format!(
                "\r\n\r\n{}{}\r\n\r\n{}",
                message("Content-Length: 13\r\n", "\r\n\r\nl: 99\r\n\r\n"),
                message("l: 0\r\n", ""),
                message("X: \u{e9}\r\n folded\r\nContent-Length: 3\r\n", "abc"),
            );
            let whole = fed(&text).unwrap();
            let (mut framer, mut frames, mut rest) = (Framer::new(), Vec::new(), text.as_bytes());
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                framer.feed(now);
                frames.extend(all(&mut framer).unwrap());
                rest = later;
            }
            prop_assert_eq!(frames, whole);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut framer = Framer::new();
            framer.feed(&bytes);
            let _ = all(&mut framer);
        }
    }

    #[test]
    fn every_byte_may_be_the_last_of_a_read() {
        let text = message("Content-Length: 4\r\n", "\r\n\r\n");
        for cut in 0..text.len() {
            let mut framer = Framer::new();
            framer.feed(&text.as_bytes()[..cut]);
            assert_eq!(all(&mut framer).unwrap(), [], "{cut}");
            framer.feed(&text.as_bytes()[cut..]);
            assert_eq!(all(&mut framer).unwrap().len(), 1, "{cut}");
        }
    }
}
