//! The shape of a multipart body (RFC 2046 section 5.1): how many parts, how deep. The parts themselves are not looked at.

use super::Unreadable;

/// Most parts in all (S3).
pub const MAX_PARTS: usize = 16;
/// Deepest nesting of multipart in multipart (S3).
pub const MAX_DEPTH: usize = 4;
/// RFC 2046 section 5.1.1: a boundary has at most so many characters.
const MAX_BOUNDARY: usize = 70;

/// Checks the shape of a body whose Content-Type is multipart.
///
/// # Errors
/// It has no boundary, no part or no end, or is larger than the bounds.
pub fn check(content_type: &str, body: &[u8]) -> Result<(), Unreadable> {
    let mut parts = 0;
    check_level(content_type, body, 1, &mut parts)
}

fn check_level(content_type: &str, body: &[u8], depth: usize, parts: &mut usize) -> Result<(), Unreadable> {
    if depth > MAX_DEPTH {
        return Err(Unreadable("multipart is nested too deep"));
    }
    let boundary = boundary(content_type).ok_or(Unreadable("multipart without boundary"))?;
    let mut begun: Option<usize> = None;
    for (at, line) in lines(body) {
        let Some(rest) = line
            .strip_prefix(b"--")
            .and_then(|line| line.strip_prefix(boundary.as_bytes()))
        else {
            continue;
        };
        let is_end = match rest.trim_ascii_end() {
            b"" => false,
            b"--" => true,
            _ => continue,
        };
        if let Some(from) = begun {
            *parts += 1;
            if *parts > MAX_PARTS {
                return Err(Unreadable("multipart has too many parts"));
            }
            check_part(&body[from..at], depth, parts)?;
        }
        if is_end {
            return begun.map(drop).ok_or(Unreadable("multipart without parts"));
        }
        begun = Some(at + line.len() + 1);
    }
    Err(Unreadable("multipart without end"))
}

/// A part that is multipart itself.
fn check_part(part: &[u8], depth: usize, parts: &mut usize) -> Result<(), Unreadable> {
    let mut length = 0;
    let mut kind = None;
    for (at, line) in lines(part) {
        length = (at + line.len() + 1).min(part.len());
        let line = line.trim_ascii_end();
        if line.is_empty() {
            break;
        }
        let line = String::from_utf8_lossy(line);
        if let Some((name, value)) = line.split_once(':')
            && name.trim().eq_ignore_ascii_case("content-type")
        {
            kind = Some(value.trim().to_owned());
        }
    }
    match kind {
        Some(kind) if is_multipart(&kind) => check_level(&kind, &part[length..], depth + 1, parts),
        _ => Ok(()),
    }
}

/// Whether a Content-Type is multipart.
#[must_use]
pub fn is_multipart(content_type: &str) -> bool {
    content_type
        .as_bytes()
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
}

fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1).filter_map(|one| one.split_once('='));
    let (_, value) = parameters
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let value = value
        .strip_prefix('"')
        .map_or(value, |value| value.trim_end_matches('"'));
    (!value.is_empty() && value.len() <= MAX_BOUNDARY).then_some(value)
}

/// Each line without its line feed, and where it begins.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    bytes.split(|&byte| byte == b'\n').map(move |line| {
        let begin = at;
        at += line.len() + 1;
        (begin, line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(number: usize) -> String {
        "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n".repeat(number) + "--b--\r\n"
    }

    fn nested(depth: usize) -> (String, String) {
        let mut kind = "text/plain".to_owned();
        let mut body = "x".to_owned();
        for level in 0..depth {
            body = format!("--b{level}\r\nContent-Type: {kind}\r\n\r\n{body}\r\n--b{level}--\r\n");
            kind = format!("multipart/mixed; boundary=\"b{level}\"");
        }
        (kind, body)
    }

    #[test]
    fn parts_are_counted() {
        let check = |number| check("multipart/mixed;boundary=b", parts(number).as_bytes());
        assert_eq!([check(1), check(MAX_PARTS)], [Ok(()), Ok(())]);
        assert!(check(0).is_err() && check(MAX_PARTS + 1).is_err() && check(10_000).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let check = |depth| {
            let (kind, body) = nested(depth);
            super::check(&kind, body.as_bytes())
        };
        assert_eq!([check(1), check(MAX_DEPTH)], [Ok(()), Ok(())]);
        assert!(check(MAX_DEPTH + 1).is_err() && check(1_000).is_err());
    }

    #[test]
    fn what_has_no_boundary_or_end_is_refused() {
        for (kind, body) in [
            ("multipart/mixed", "--b\r\n\r\n--b--"),
            ("multipart/mixed; boundary=", "--\r\n"),
            ("multipart/mixed; boundary=b", ""),
            ("multipart/mixed; boundary=b", "--b\r\n\r\nx"),
        ] {
            assert!(check(kind, body.as_bytes()).is_err(), "{kind} {body}");
        }
        assert!(is_multipart("Multipart/Related; x") && !is_multipart("text/plain") && !is_multipart("multi"));
    }
}
