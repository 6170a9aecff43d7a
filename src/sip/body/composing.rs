//! Who is typing (RFC 3994).

use super::Unreadable;
use super::xml::{Element, escaped};
use std::time::Duration;

/// The media type.
pub const MEDIA_TYPE: &str = "application/im-iscomposing+xml";
/// How long `active` holds without a word (section 3.3), and at most here.
pub const REFRESH: Duration = Duration::from_secs(120);
/// Section 3.3: a refresh interval below this is not allowed.
pub const REFRESH_MIN: Duration = Duration::from_secs(60);

/// A notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composing {
    /// Typing, or no longer.
    pub is_active: bool,
    /// `active` holds so long; then it is as if `idle` had come.
    pub refresh: Duration,
    /// What is being composed, e.g. `text/plain`.
    pub content_type: Option<Box<str>>,
}

impl Composing {
    /// Reads a notice (section 4).
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Composing, Unreadable> {
        let root = Element::parse(body)?;
        if root.name != "isComposing" {
            return Err(Unreadable("no isComposing"));
        }
        let state = root
            .child_text("state")
            .ok_or(Unreadable("isComposing without state"))?;
        let refresh = root.child_text("refresh").and_then(|s| s.parse().ok());
        Ok(Composing {
            // Section 3.2: states that are not known are taken for idle.
            is_active: state == "active",
            refresh: refresh.map_or(REFRESH, |s| Duration::from_secs(s).clamp(REFRESH_MIN, REFRESH)),
            content_type: root.child_text("contenttype").map(Into::into),
        })
    }

    /// Writes a notice.
    #[must_use]
    pub fn write(&self) -> String {
        let (state, refresh) = if self.is_active {
            ("active", format!("<refresh>{}</refresh>\r\n", self.refresh.as_secs()))
        } else {
            ("idle", String::new())
        };
        let content_type = escaped(self.content_type.as_deref().unwrap_or("text/plain"));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">\r\n\
             <state>{state}</state>\r\n<contenttype>{content_type}</contenttype>\r\n{refresh}</isComposing>\r\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_back_as_it_was_written() {
        for is_active in [true, false] {
            let notice = Composing {
                is_active,
                refresh: if is_active { Duration::from_secs(90) } else { REFRESH },
                content_type: Some("text/plain".into()),
            };
            assert_eq!(Composing::parse(notice.write().as_bytes()), Ok(notice));
        }
    }

    #[test]
    fn the_refresh_interval_has_its_limits_and_odd_states_are_idle() {
        let refresh = |s: &str| {
            let text = format!("<isComposing><state>active</state><refresh>{s}</refresh></isComposing>");
            Composing::parse(text.as_bytes()).unwrap().refresh.as_secs()
        };
        assert_eq!(
            [refresh("1"), refresh("99"), refresh("99999999"), refresh("x")],
            [60, 99, 120, 120]
        );
        let odd = Composing::parse(b"<isComposing><state>asleep</state></isComposing>").unwrap();
        assert!(!odd.is_active);
    }

    #[test]
    fn what_is_no_notice_is_refused() {
        for text in ["", "<isComposing/>", "<x><state>active</state></x>"] {
            assert!(Composing::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
