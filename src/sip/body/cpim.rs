//! Common Presence and Instant Messaging (RFC 3862): an envelope with its own From, To and date around a MIME entity, and
//! in it what a sender wants to hear of the message (RFC 5438).

use super::Unreadable;
use super::imdn::{Mark, Marks};
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt::Write;

/// The media type.
pub const MEDIA_TYPE: &str = "message/cpim";
/// The namespace of the headers of RFC 5438.
pub const IMDN: &str = "urn:ietf:params:imdn";
/// Headers of either part: more is no message of a person.
const MAX_HEADERS: usize = 64;

/// An envelope, opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpim<'a> {
    /// `From`, as written.
    pub from: Option<Cow<'a, str>>,
    /// `To`, as written; the first if there are several.
    pub to: Option<Cow<'a, str>>,
    /// `DateTime`, as written (RFC 3339).
    pub date: Option<Cow<'a, str>>,
    /// `imdn.Message-ID`.
    pub message_id: Option<Cow<'a, str>>,
    /// `imdn.Disposition-Notification`: what the sender wants to hear.
    pub wants: Marks,
    /// Content-Type of what is inside; none means text/plain.
    pub content_type: Option<Cow<'a, str>>,
    /// `Content-Disposition: notification`: what is inside speaks about another message.
    pub is_notification: bool,
    /// What is inside.
    pub body: &'a [u8],
}

impl<'a> Cpim<'a> {
    /// Opens an envelope.
    ///
    /// # Errors
    /// It is none, has a header that must be understood and is not (section 3.3), or more than 64 of them.
    pub fn parse(body: &'a [u8]) -> Result<Cpim<'a>, Unreadable> {
        let (head, entity) = part(body).ok_or(Unreadable("CPIM without end of headers"))?;
        let mut cpim = Cpim::default();
        let mut prefix: Option<String> = None;
        for (name, value) in fields(head)? {
            match name.split_once('.') {
                _ if name == "NS" => prefix = imdn_prefix(&value).or(prefix),
                Some((space, name)) if prefix.as_deref() == Some(space) => cpim.set_imdn(name, value),
                None => cpim.set(name, value)?,
                Some(_) => {}
            }
        }
        let (head, body) = part(entity).ok_or(Unreadable("CPIM without end of MIME headers"))?;
        for (name, value) in fields(head)? {
            if name.eq_ignore_ascii_case("Content-Type") {
                cpim.content_type = Some(value);
            } else if name.eq_ignore_ascii_case("Content-Disposition") {
                cpim.is_notification = super::is(&value, "notification");
            } else if name.eq_ignore_ascii_case("Content-Transfer-Encoding") && !is_identity(&value) {
                return Err(Unreadable("CPIM with an encoded body"));
            }
        }
        cpim.body = body;
        Ok(cpim)
    }

    /// Header names are case-sensitive here (section 3.2).
    fn set(&mut self, name: &str, value: Cow<'a, str>) -> Result<(), Unreadable> {
        match name {
            "From" => self.from = Some(value),
            "To" => self.to = self.to.take().or(Some(value)),
            "DateTime" => self.date = Some(value),
            "Require" => return Err(Unreadable("CPIM that requires what is not understood")),
            _ => {}
        }
        Ok(())
    }

    fn set_imdn(&mut self, name: &str, value: Cow<'a, str>) {
        match name {
            "Message-ID" => self.message_id = Some(value),
            "Disposition-Notification" => {
                let wishes = value.split(',').map(str::trim);
                self.wants = wishes.filter_map(Mark::of_wish).fold(Marks::NONE, Marks::with);
            }
            _ => {}
        }
    }

    /// Writes the envelope.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut head = String::with_capacity(256);
        line(&mut head, "From", self.from.as_deref());
        line(&mut head, "To", self.to.as_deref());
        line(&mut head, "DateTime", self.date.as_deref());
        if self.message_id.is_some() {
            line(&mut head, "NS", Some("imdn <urn:ietf:params:imdn>"));
            line(&mut head, "imdn.Message-ID", self.message_id.as_deref());
            if self.wants != Marks::NONE {
                line(&mut head, "imdn.Disposition-Notification", Some(&self.wants.wishes()));
            }
        }
        head.push_str("\r\n");
        line(&mut head, "Content-Type", self.content_type.as_deref());
        if self.is_notification {
            line(&mut head, "Content-Disposition", Some("notification"));
        }
        let length = self.body.len().to_string();
        line(&mut head, "Content-Length", Some(&length));
        head.push_str("\r\n");
        let mut all = head.into_bytes();
        all.extend_from_slice(self.body);
        all.into()
    }
}

fn is_control(c: char) -> bool {
    c.is_ascii_control() && c != '\t'
}

/// `Name: value`, the value without line breaks and their like.
fn line(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        // Writing to a String cannot fail.
        let _ = write!(out, "{name}: {}\r\n", value.replace(is_control, " "));
    }
}

/// Headers and what is behind their empty line. A part without headers begins with that line.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(body) = bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n")) {
        return Some((b"", body));
    }
    let mut at = 0;
    while let Some(end) = bytes[at..].iter().position(|&byte| byte == b'\n').map(|end| at + end) {
        let behind = &bytes[end + 1..];
        if let Some(rest) = behind.strip_prefix(b"\r\n").or_else(|| behind.strip_prefix(b"\n")) {
            return Some((&bytes[..=end], rest));
        }
        at = end + 1;
    }
    None
}

/// The header lines, unfolded.
fn fields(head: &[u8]) -> Result<Vec<(&str, Cow<'_, str>)>, Unreadable> {
    let text = std::str::from_utf8(head).map_err(|_| Unreadable("CPIM headers are not UTF-8"))?;
    let mut fields: Vec<(&str, Cow<'_, str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        // Section 3: they are written as escapes. A line break alone is one of them.
        if line.contains(is_control) {
            return Err(Unreadable("CPIM header with a control character"));
        }
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut().ok_or(Unreadable("CPIM begins with a folded line"))?;
            let value = value.to_mut();
            value.push(' ');
            value.push_str(line.trim());
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(Unreadable("CPIM header without colon"))?;
        if fields.len() == MAX_HEADERS {
            return Err(Unreadable("CPIM has too many headers"));
        }
        fields.push((name.trim_end(), Cow::Borrowed(value.trim())));
    }
    Ok(fields)
}

/// The prefix that `NS: prefix <uri>` gives to the headers of RFC 5438.
fn imdn_prefix(value: &str) -> Option<String> {
    let (prefix, uri) = value.split_once('<')?;
    (uri.trim_end().strip_suffix('>')?.trim() == IMDN).then(|| prefix.trim().to_owned())
}

fn is_identity(encoding: &str) -> bool {
    ["identity", "binary", "8bit", "7bit"]
        .iter()
        .any(|known| encoding.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5438 section 6.3, and Linphone's habit of LF inside.
    const ASKING: &str = "From: Alice <im:alice@example.com>\r\nTo: Bob <im:bob@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
        imdn.Message-ID: 34jk324j\r\nDateTime: 2006-04-04T12:16:49-05:00\r\nimdn.Disposition-Notification: positive-delivery,\r\n \
        display\r\nSubject:;lang=fr Bonjour\r\n\r\nContent-type: text/plain; charset=utf-8\r\nContent-length: 12\r\n\r\nHello W\u{f6}rld";

    #[test]
    fn an_envelope_is_opened() {
        let cpim = Cpim::parse(ASKING.as_bytes()).unwrap();
        assert_eq!(cpim.from.as_deref(), Some("Alice <im:alice@example.com>"));
        assert_eq!(cpim.message_id.as_deref(), Some("34jk324j"));
        assert_eq!(cpim.date.as_deref(), Some("2006-04-04T12:16:49-05:00"));
        assert_eq!(cpim.wants, Marks::NONE.with(Mark::Delivered).with(Mark::Displayed));
        assert_eq!(cpim.content_type.as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(
            (cpim.body, cpim.is_notification),
            ("Hello W\u{f6}rld".as_bytes(), false)
        );
    }

    #[test]
    fn the_prefix_is_the_senders_choice() {
        let text = ASKING.replace("imdn.", "x.").replace("NS: imdn ", "NS: x ");
        assert_eq!(
            Cpim::parse(text.as_bytes()).unwrap().message_id.as_deref(),
            Some("34jk324j")
        );
        let text = ASKING.replace("NS: imdn ", "NS: other ");
        assert_eq!(Cpim::parse(text.as_bytes()).unwrap().message_id, None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for body in [&b"text"[..], b"", b"\r\n\r\n", b"\0\xff"] {
            let cpim = Cpim {
                from: Some("<sip:a@b>".into()),
                to: Some("<sip:c@d>".into()),
                date: Some("2026-01-01T00:00:00Z".into()),
                message_id: Some("m-1".into()),
                wants: Marks::NONE.with(Mark::Displayed).with(Mark::Failed),
                content_type: Some("text/plain".into()),
                is_notification: true,
                body,
            };
            assert_eq!(Cpim::parse(&cpim.write()), Ok(cpim));
        }
        let forged = Cpim {
            from: Some("x\r\n\r\nY: z\0".into()),
            ..Cpim::default()
        };
        assert_eq!(Cpim::parse(&forged.write()).unwrap().from.as_deref(), Some("x    Y: z"));
    }

    #[test]
    fn a_part_without_headers_is_text() {
        let cpim = Cpim::parse(b"From: <sip:a@b>\n\n\nhello").unwrap();
        assert_eq!((cpim.content_type, cpim.body), (None, &b"hello"[..]));
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        let many = "X: y\r\n".repeat(65) + "\r\n\r\n";
        for text in [
            "",
            "hello",
            "From: x\r\n",
            "From: x\r\n\r\nContent-Type: text/plain",
            "no colon\r\n\r\n\r\n",
            " folded: x\r\n\r\n\r\n",
            "Require: imdn.Foo\r\n\r\n\r\n",
            "A: b\rc\r\n\r\n\r\n",
            "A: b\0c\r\n\r\n\r\n",
            "A: b\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=",
            &many,
        ] {
            assert!(Cpim::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Cpim::parse(b"A: \xff\r\n\r\n\r\n").is_err());
    }
}
