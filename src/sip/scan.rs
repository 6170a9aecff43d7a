//! The scan: start line, header fields, empty line, body; nothing is interpreted but names and line ends.
//!
//! A fault does not stop it, so that an answer can copy what came after. The first fault wins, but for the version's.

use crate::header::lex;
use crate::message::{
    Fault, Field, MAX_HEADER_LINE, MAX_HEADERS, MAX_MESSAGE, Malformed, Message, NONE, Parts, Span, Start, span,
};
use crate::{Method, Name, validate};
use bytes::Bytes;
use memchr::{memchr, memchr2, memrchr};
use smallvec::SmallVec;

/// The fields of a message, and the first thing that was wrong.
pub(crate) fn scan(bytes: Bytes) -> Result<(Message, Option<Fault>), Malformed> {
    let too_large = bytes.len() > MAX_MESSAGE;
    let bytes = from_start_line(if too_large { bytes.slice(..MAX_MESSAGE) } else { bytes });
    let (line, line_fault) = first_line(&bytes)?;
    let start = if is_response(&bytes[..line.end]) {
        response(&bytes[..line.end])?
    } else {
        request(&bytes[..line.end])?
    };
    let mut message = Message::of(Parts {
        start: start.start,
        method: start.method,
        method_span: start.method_span,
        head: span(0, line.next).len,
        body: span(0, bytes.len()).len,
        cseq: 0,
        from_tag: Span::default(),
        to_tag: Span::default(),
        is_plain: false,
        via: None,
        from: None,
        to: None,
        transaction: None,
        first: [NONE; Name::COUNT],
        fields: SmallVec::new(),
        bytes,
    });
    let large = too_large.then_some(TOO_LARGE);
    let rest = fields(&mut message);
    Ok((message, large.or(start.fault).or(line_fault).or(rest)))
}

const TOO_LARGE: Fault = Fault {
    status: 413,
    reason: "Message over 64 KB",
};
const LINE_END: Fault = bad("Line end that is not CRLF");

const fn bad(reason: &'static str) -> Fault {
    Fault { status: 400, reason }
}

/// Empty lines before a message are keep-alives and are skipped (RFC 3261 section 7.5).
fn from_start_line(bytes: Bytes) -> Bytes {
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if blank == 0 { bytes } else { bytes.slice(blank..) }
}

/// Where a line's text ends and the next line begins.
pub(crate) struct Line {
    pub end: usize,
    pub next: usize,
    /// Lines that begin with white space belong to it.
    pub is_folded: bool,
}

fn first_line(bytes: &[u8]) -> Result<(Line, Option<Fault>), Malformed> {
    let (line, sound) = line_end(bytes, 0).ok_or(Malformed::Drop("no start line"))?;
    Ok((line, (!sound).then_some(LINE_END)))
}

/// The end of the line at `from`. A bare CR or LF ends it too, and is a fault: what other parsers take for a line end must
/// not stay inside a value.
pub(crate) fn line_end(bytes: &[u8], from: usize) -> Option<(Line, bool)> {
    let end = from + memchr2(b'\r', b'\n', &bytes[from..])?;
    let sound = bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n');
    Some((
        Line {
            end,
            next: end + 1 + usize::from(sound),
            is_folded: false,
        },
        sound,
    ))
}

struct StartLine {
    start: Start,
    method: Method,
    method_span: Span,
    fault: Option<Fault>,
}

fn is_response(line: &[u8]) -> bool {
    line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/")
}

/// `SIP/2.0 SP 3DIGIT SP reason`. The space before an empty reason may be missing, as it often is.
fn response(line: &[u8]) -> Result<StartLine, Malformed> {
    let rest = line.get(7..).filter(|_| line[..7].eq_ignore_ascii_case(b"SIP/2.0"));
    let rest = rest
        .and_then(|r| r.strip_prefix(b" "))
        .ok_or(Malformed::Drop("response of another version"))?;
    let status = rest.get(..3).and_then(lex::digits).and_then(|n| u16::try_from(n).ok());
    let ends = matches!(rest.get(3), None | Some(b' '));
    match status {
        Some(status @ 100..=699) if ends => Ok(StartLine {
            start: Start::Response {
                status,
                reason: span(line.len().min(12), line.len()),
            },
            method: Method::Other,
            method_span: Span::default(),
            fault: None,
        }),
        _ => Err(Malformed::Drop("response without a status code")),
    }
}

/// `Method SP Request-URI SP SIP-Version`, with exactly these spaces.
fn request(line: &[u8]) -> Result<StartLine, Malformed> {
    let sp = memchr(b' ', line).ok_or(Malformed::Drop("not a SIP message"))?;
    if sp == 0 || lex::token_len(&line[..sp]) != sp {
        return Err(Malformed::Drop("not a SIP message"));
    }
    let last = memrchr(b' ', line).unwrap_or(sp);
    let (uri, version) = (&line[(sp + 1).min(last)..last], lex::trim(&line[last..]));
    let fault = if version.eq_ignore_ascii_case(b"SIP/2.0") {
        (uri.is_empty() || uri.iter().any(|&b| lex::is_lws(b))).then_some(bad("Request line with extra space"))
    } else if version.len() > 4 && version[..4].eq_ignore_ascii_case(b"SIP/") {
        Some(Fault {
            status: 505,
            reason: "Version Not Supported",
        })
    } else {
        Some(bad("Request line without version"))
    };
    let uri = if fault.is_some() {
        Span::default()
    } else {
        span(sp + 1, last)
    };
    Ok(StartLine {
        start: Start::Request { uri },
        method: Method::from_bytes(&line[..sp]),
        method_span: span(0, sp),
        fault,
    })
}

/// Reads fields up to the empty line, which sets where the body begins.
fn fields(message: &mut Message) -> Option<Fault> {
    // Out of the message while it grows; a clone would cost two atomic operations.
    let bytes = std::mem::take(&mut message.bytes);
    let fault = fields_of(&bytes, &mut *message);
    message.bytes = bytes;
    let has_nul = memchr(0, &message.bytes[..usize::from(message.body)]).is_some();
    message.is_plain &= !has_nul;
    fault.or_else(|| if has_nul { stray_nul(message) } else { None })
}

fn fields_of(bytes: &[u8], message: &mut Parts) -> Option<Fault> {
    let (mut at, mut fault) = (usize::from(message.head), None);
    message.is_plain = true;
    loop {
        let Some((line, sound)) = logical_line(bytes, at) else {
            return fault.or(Some(bad("No empty line after the header")));
        };
        if !sound {
            fault = fault.or(Some(LINE_END));
        }
        message.is_plain &= !line.is_folded;
        if line.end == at {
            message.body = span(0, line.next).len;
            return fault;
        }
        if message.fields.len() == MAX_HEADERS {
            return fault.or(Some(bad("More than 255 header fields")));
        }
        if let Err(wrong) = field(bytes, at, line.end).and_then(|field| push(message, field)) {
            fault = fault.or(Some(wrong));
        }
        at = line.next;
    }
}

/// A line with the continuation lines that begin with white space (section 7.3.1).
#[inline]
pub(crate) fn logical_line(bytes: &[u8], from: usize) -> Option<(Line, bool)> {
    let (mut line, mut sound) = line_end(bytes, from)?;
    while line.end > from && matches!(bytes.get(line.next), Some(b' ' | b'\t')) {
        let (next, next_sound) = line_end(bytes, line.next)?;
        (line, sound) = (next, sound && next_sound);
        line.is_folded = true;
    }
    Some((line, sound))
}

/// `name HCOLON value`. Spaces and tabs may stand before the colon; any other byte that is no token character, control
/// characters first of all, makes the line a fault and never a field of the name it resembles.
#[inline(always)] // as a call its result would come back through memory, piece by piece, and stall
pub(crate) fn field(bytes: &[u8], at: usize, end: usize) -> Result<Field, Fault> {
    let line = &bytes[at..end];
    let colon = colon(line).ok_or(bad("Header line without a sound name"))?;
    let text = before_colon(&line[..colon]);
    let name = Name::from_bytes(text);
    if name == Name::Other && (text.is_empty() || lex::token_len(text) != text.len()) {
        return Err(bad("Header line without a sound name"));
    }
    if line.len() > MAX_HEADER_LINE {
        return Err(bad("Header line over 8 KB"));
    }
    let value = lex::trim(&line[colon + 1..]);
    let value_at = if value.is_empty() {
        end
    } else {
        value.as_ptr() as usize - bytes.as_ptr() as usize
    };
    Ok(Field {
        name_at: span(0, at).len,
        name_len: u8::try_from(text.len()).map_err(|_| bad("Header name over 255 characters"))?,
        name,
        value: span(value_at, value_at + value.len()),
    })
}

/// Eight bytes at a time: names are so short that a call of `memchr` costs more than the search.
fn colon(line: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = line.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let differing = u64::from_le_bytes(*word) ^ (ONES * b':' as u64);
        // The lowest byte that is zero gets its high bit set, and only bytes above it may get theirs wrongly.
        let zeros = differing.wrapping_sub(ONES) & !differing & (ONES << 7);
        if zeros != 0 {
            return Some(8 * i + zeros.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|&b| b == b':')?;
    Some(line.len() - rest.len() + at)
}

fn before_colon(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Two of a field that may be there once mean that two readers could see two messages.
#[allow(clippy::cast_possible_truncation)] // MAX_HEADERS is 255
fn push(message: &mut Parts, field: Field) -> Result<(), Fault> {
    let place = message.fields.len() as u8;
    message.fields.push(field);
    let repeats = match message.first.get_mut(field.name as usize) {
        Some(first) if *first == NONE => {
            *first = place;
            false
        }
        known => known.is_some(),
    };
    let is_request = matches!(message.start, Start::Request { .. });
    if repeats && !validate::may_repeat(field.name, is_request) {
        return Err(bad("Header that may be there once is there twice"));
    }
    Ok(())
}

/// NUL may stand in a header only as a quoted pair (RFC 4475 section 3.1.1.2).
fn stray_nul(message: &Message) -> Option<Fault> {
    let head = &message.bytes[..usize::from(message.body)];
    let escaped = |value: &[u8]| {
        let (mut rest, mut sound) = (value, true);
        while let Some(at) = memchr2(b'"', 0, rest) {
            (rest, sound) = match lex::quoted(&rest[at..]) {
                Some((_, after)) if rest[at] == b'"' => (after, sound),
                _ => (&rest[at + 1..], sound && rest[at] != 0),
            };
        }
        sound
    };
    let in_start_line = memchr(0, &head[..usize::from(message.head)]).is_some();
    let sound = !in_start_line && message.fields().all(|(_, _, value)| escaped(value));
    (!sound).then_some(bad("NUL in a header"))
}
