//! Frames of a websocket (RFC 6455 section 5): cut out of what clients send, put around what we send. A message of SIP is a
//! message of the websocket, in one frame or in fragments (RFC 7118 section 5).

use bytes::{Buf, Bytes, BytesMut};

/// The longest message: as everywhere in SIP.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024 - 1;

/// What a control frame may carry (section 5.5).
const MAX_CONTROL: usize = 125;

/// Why a connection is closed (section 7.4.1).
pub(crate) const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const NOT_TEXT: u16 = 1007;
const TOO_BIG: u16 = 1009;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A whole message, text or binary.
    Message(Bytes),
    /// To be sent back in a Pong.
    Ping(Bytes),
    /// The answer to a Ping of ours.
    Pong,
    /// Nothing follows; with the code of our Close.
    Close(u16),
}

/// A message for a client: as text where it is text, because some pages expect nothing else.
pub(crate) fn message(bytes: &[u8]) -> Bytes {
    let kind = if std::str::from_utf8(bytes).is_ok() {
        TEXT
    } else {
        BINARY
    };
    frame(kind, bytes)
}

/// Are you there?
pub(crate) fn ping() -> Bytes {
    frame(PING, b"")
}

/// Yes.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    frame(PONG, payload)
}

/// The last frame.
pub(crate) fn close(code: u16) -> Bytes {
    frame(CLOSE, &code.to_be_bytes())
}

/// Whether a frame of ours is a Close.
pub(crate) fn is_close(frame: &[u8]) -> bool {
    frame.first() == Some(&(FIN | CLOSE))
}

/// Servers do not mask (section 5.1).
fn frame(kind: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 10);
    out.push(FIN | kind);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..=125), _) => out.push(short),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out.into()
}

/// Collects bytes and yields frames. Holds at most one message and one read: what is declared longer is refused at its
/// head.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: BytesMut,
    /// The message whose last fragment has yet to come.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    is_text: bool,
    bytes: BytesMut,
}

/// The head of a frame.
struct Head {
    length: usize,
    is_last: bool,
    kind: u8,
    mask: [u8; 4],
    payload: usize,
}

impl Reader {
    /// The buffer to read into; append only.
    pub(crate) fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// How many bytes wait to become a message.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len() + self.begun.as_ref().map_or(0, |begun| begun.bytes.len())
    }

    /// The next frame; `None` until more bytes come. After an error, the code to close with, nothing more can come.
    pub(crate) fn poll_frame(&mut self) -> Result<Option<Frame>, u16> {
        loop {
            let held = self.begun.as_ref().map(|begun| begun.bytes.len());
            let Some(head) = Head::parse(&self.buffer, held)? else {
                return Ok(None);
            };
            if self.buffer.len() < head.length + head.payload {
                return Ok(None);
            }
            self.buffer.advance(head.length);
            let mut payload = self.buffer.split_to(head.payload);
            unmask(&mut payload, head.mask);
            if let Some(frame) = self.take(&head, payload)? {
                return Ok(Some(frame));
            }
        }
    }

    /// A frame whose head is sound; `None` if it is a fragment and not the last.
    fn take(&mut self, head: &Head, payload: BytesMut) -> Result<Option<Frame>, u16> {
        match head.kind {
            CLOSE => return close_code(&payload).map(|code| Some(Frame::Close(code))),
            PING => return Ok(Some(Frame::Ping(payload.freeze()))),
            PONG => return Ok(Some(Frame::Pong)),
            _ => {}
        }
        let whole = match self.begun.take() {
            None => Begun {
                is_text: head.kind == TEXT,
                bytes: payload,
            },
            Some(mut begun) => {
                begun.bytes.extend_from_slice(&payload);
                begun
            }
        };
        if !head.is_last {
            self.begun = Some(whole);
            return Ok(None);
        }
        if whole.is_text && std::str::from_utf8(&whole.bytes).is_err() {
            return Err(NOT_TEXT);
        }
        Ok(Some(Frame::Message(whole.bytes.freeze())))
    }
}

impl Head {
    /// `held`: the bytes of the fragments before it, if a message has been begun. An error is found as soon as the bytes
    /// that show it are there.
    fn parse(bytes: &[u8], held: Option<usize>) -> Result<Option<Head>, u16> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let (is_last, kind) = (first & FIN != 0, first & 0x0f);
        let is_control = kind >= CLOSE;
        // Reserved bits belong to extensions, and none was agreed on (section 5.2); clients mask (section 5.1).
        let is_sound = first & 0x70 == 0 && second & 0x80 != 0;
        let is_in_place = match kind {
            CONTINUATION => held.is_some(),
            TEXT | BINARY => held.is_none(),
            CLOSE | PING | PONG => is_last,
            _ => false,
        };
        if !is_sound || !is_in_place {
            return Err(PROTOCOL_ERROR);
        }
        let short = second & 0x7f;
        let (extended, payload) = match (short, rest) {
            (126, [a, b, ..]) => (2, u64::from(u16::from_be_bytes([*a, *b]))),
            (127, [a, b, c, d, e, f, g, h, ..]) => (8, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
            (126 | 127, _) => return Ok(None),
            _ => (0, u64::from(short)),
        };
        // The shortest way to write a length is the only one (section 5.2).
        let is_long_winded = extended == 2 && payload < 126 || extended == 8 && payload <= u64::from(u16::MAX);
        if is_long_winded || is_control && short > MAX_CONTROL as u8 {
            return Err(PROTOCOL_ERROR);
        }
        let payload = usize::try_from(payload).map_err(|_| TOO_BIG)?;
        if payload > MAX_MESSAGE - if is_control { 0 } else { held.unwrap_or(0) } {
            return Err(TOO_BIG);
        }
        let Some(mask) = rest.get(extended..extended + 4) else {
            return Ok(None);
        };
        Ok(Some(Head {
            length: 2 + extended + 4,
            is_last,
            kind,
            mask: [mask[0], mask[1], mask[2], mask[3]],
            payload,
        }))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// What to close with in answer to a Close (section 7.1.5): the same code, if it is one that may be sent.
fn close_code(payload: &[u8]) -> Result<u16, u16> {
    match payload {
        [] => Ok(1000),
        [a, b, ..] => match u16::from_be_bytes([*a, *b]) {
            code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(code),
            _ => Err(PROTOCOL_ERROR),
        },
        [_] => Err(PROTOCOL_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let ours = frame(first & 0x0f, payload);
        let head = ours.len() - payload.len();
        let mask = [0x5a, 0xa5, 0x01, 0xff];
        let mut out = ours[..head].to_vec();
        (out[0], out[1]) = (first, out[1] | 0x80);
        out.extend_from_slice(&mask);
        let at = out.len();
        out.extend_from_slice(payload);
        unmask(&mut out[at..], mask);
        out
    }

    fn text(payload: &str) -> Vec<u8> {
        masked(FIN | TEXT, payload.as_bytes())
    }

    fn read(bytes: &[u8]) -> Result<Vec<Frame>, u16> {
        let mut reader = Reader::default();
        reader.buffer_mut().extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = reader.poll_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn whole(payload: &[u8]) -> Frame {
        Frame::Message(Bytes::copy_from_slice(payload))
    }

    #[test]
    fn text_and_binary_of_every_length_are_messages() {
        for length in [0, 1, 125, 126, 127, 65_535] {
            let payload = vec![b'x'; length];
            for kind in [TEXT, BINARY] {
                assert_eq!(
                    read(&masked(FIN | kind, &payload)).unwrap(),
                    [whole(&payload)],
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn fragments_are_one_message_and_control_frames_come_between() {
        let bytes = [
            masked(TEXT, b"one "),
            masked(FIN | PING, b"p"),
            masked(CONTINUATION, b"and "),
            masked(FIN | PONG, b""),
            masked(FIN | CONTINUATION, b"the same"),
        ]
        .concat();
        let expected = [
            Frame::Ping(Bytes::from_static(b"p")),
            Frame::Pong,
            whole(b"one and the same"),
        ];
        assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn every_byte_may_be_the_last_of_a_read() {
        let bytes = [
            masked(BINARY, b"ab"),
            masked(FIN | CONTINUATION, &[7; 200]),
            text("next"),
        ]
        .concat();
        let expected = read(&bytes).unwrap();
        for cut in 0..bytes.len() {
            let (mut reader, mut frames) = (Reader::default(), Vec::new());
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.buffer_mut().extend_from_slice(part);
                while let Some(frame) = reader.poll_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!((frames, reader.buffered()), (expected.clone(), 0), "cut at {cut}");
        }
    }

    #[test]
    fn too_long_a_message_is_refused_at_its_head() {
        let head = |first: u8, length: u64| [&[first, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
        assert_eq!(read(&head(FIN | TEXT, 65_536)), Err(TOO_BIG));
        assert_eq!(read(&head(FIN | TEXT, u64::MAX)), Err(TOO_BIG));
        let fragments = [masked(TEXT, &[b'x'; 65_000]), masked(FIN | CONTINUATION, &[b'x'; 536])].concat();
        assert_eq!(read(&fragments), Err(TOO_BIG));
    }

    #[test]
    fn what_breaks_the_protocol_closes_with_1002() {
        let unmasked = frame(TEXT, b"x").to_vec();
        let reserved = masked(FIN | 0x40 | TEXT, b"x");
        let unknown = masked(FIN | 3, b"x");
        let lonely = masked(FIN | CONTINUATION, b"x");
        let interrupted = [masked(TEXT, b"x"), text("y")].concat();
        let fragmented_ping = masked(PING, b"");
        let long_ping = masked(FIN | PING, &[0; 126]);
        let long_winded = [FIN | TEXT, 0x80 | 126, 0, 5, 0, 0, 0, 0].to_vec();
        let short_close = masked(FIN | CLOSE, b"x");
        let no_such_code = masked(FIN | CLOSE, &1005u16.to_be_bytes());
        let all = [
            unmasked,
            reserved,
            unknown,
            lonely,
            interrupted,
            fragmented_ping,
            long_ping,
            long_winded,
            short_close,
            no_such_code,
        ];
        for (at, bytes) in all.iter().enumerate() {
            assert_eq!(read(bytes), Err(PROTOCOL_ERROR), "case {at}");
        }
        assert_eq!(read(&masked(FIN | TEXT, b"\xff")), Err(NOT_TEXT));
    }

    #[test]
    fn a_close_is_answered_with_its_own_code() {
        assert_eq!(read(&masked(FIN | CLOSE, b"")).unwrap(), [Frame::Close(1000)]);
        assert_eq!(
            read(&masked(FIN | CLOSE, &4000u16.to_be_bytes())).unwrap(),
            [Frame::Close(4000)]
        );
        assert!(is_close(&close(1000)) && !is_close(&ping()));
    }

    #[test]
    fn text_is_sent_as_text_and_all_else_as_binary() {
        assert_eq!(&message(b"abc")[..], b"\x81\x03abc");
        assert_eq!(&message(b"\xff")[..], b"\x82\x01\xff");
        assert_eq!(message(&[b'x'; 65_536])[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_its_bound() {
        let mut state = 1u64;
        for _ in 0..2_000 {
            let mut reader = Reader::default();
            for _ in 0..40 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                reader.buffer_mut().extend_from_slice(&state.to_le_bytes()[3..]);
                if reader.poll_frame().is_err() {
                    break;
                }
                assert!(reader.buffered() <= MAX_MESSAGE + 200);
            }
        }
    }
}
