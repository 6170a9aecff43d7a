//! Instant message disposition notifications (RFC 5438): what became of a message at its reader.

use super::Unreadable;
use super::xml::{Element, escaped};

/// The media type.
pub const MEDIA_TYPE: &str = "message/imdn+xml";

/// Something that can happen to a message.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// A device of the reader has it.
    Delivered,
    /// The reader has seen it.
    Displayed,
    /// Nobody will get it.
    Failed,
}

/// All marks in the order of their bits.
pub const MARKS: [Mark; 3] = [Mark::Delivered, Mark::Displayed, Mark::Failed];

/// A set of [`Mark`]s.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks(pub u8);

impl Marks {
    /// The empty set.
    pub const NONE: Marks = Marks(0);

    /// With this one in it.
    #[must_use]
    pub fn with(self, mark: Mark) -> Marks {
        Marks(self.0 | 1 << mark as u8)
    }

    /// Whether this one is in it.
    #[must_use]
    pub fn has(self, mark: Mark) -> bool {
        self.0 & 1 << mark as u8 != 0
    }

    /// What is in both.
    #[must_use]
    pub fn both(self, other: Marks) -> Marks {
        Marks(self.0 & other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn without(self, other: Marks) -> Marks {
        Marks(self.0 & !other.0)
    }

    /// As `Disposition-Notification` has it (section 6.4).
    #[must_use]
    pub fn wishes(self) -> String {
        let wishes = MARKS.into_iter().filter(|mark| self.has(*mark)).map(Mark::wish);
        wishes.collect::<Vec<_>>().join(", ")
    }
}

impl Mark {
    /// Section 6.4: by what name a sender asks for it.
    #[must_use]
    pub fn wish(self) -> &'static str {
        match self {
            Mark::Delivered => "positive-delivery",
            Mark::Displayed => "display",
            Mark::Failed => "negative-delivery",
        }
    }

    /// `processing` is for relays that answer before they deliver; nobody is told of it here.
    pub(super) fn of_wish(wish: &str) -> Option<Mark> {
        MARKS.into_iter().find(|mark| mark.wish() == wish)
    }
}

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of which message: its `imdn.Message-ID`.
    pub message_id: Box<str>,
    /// What became of it; `None`: something that is no news, as `processed` or `forbidden`.
    pub mark: Option<Mark>,
}

impl Report {
    /// Reads a notification (section 7.2).
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Report, Unreadable> {
        let root = Element::parse(body)?;
        if root.name != "imdn" {
            return Err(Unreadable("no IMDN"));
        }
        let message_id = root.child_text("message-id").filter(|id| !id.is_empty());
        let message_id = message_id.ok_or(Unreadable("IMDN without message-id"))?.into();
        let says = |notification: &str, status: &str| {
            let said = root.child(notification).and_then(|one| one.child("status"));
            said.is_some_and(|said| said.child(status).is_some())
        };
        let mark = if says("delivery-notification", "delivered") {
            Some(Mark::Delivered)
        } else if says("display-notification", "displayed") {
            Some(Mark::Displayed)
        } else if says("delivery-notification", "failed") || says("delivery-notification", "error") {
            Some(Mark::Failed)
        } else {
            None
        };
        Ok(Report { message_id, mark })
    }
}

/// Writes a notification. `datetime` is the message's, `recipient` the URI it was sent to.
#[must_use]
pub fn write(message_id: &str, datetime: &str, recipient: &str, mark: Mark) -> String {
    let (notification, status) = match mark {
        Mark::Delivered => ("delivery", "delivered"),
        Mark::Displayed => ("display", "displayed"),
        Mark::Failed => ("delivery", "failed"),
    };
    let (message_id, datetime, recipient) = (escaped(message_id), escaped(datetime), escaped(recipient));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\r\n\
         <message-id>{message_id}</message-id>\r\n<datetime>{datetime}</datetime>\r\n\
         <recipient-uri>{recipient}</recipient-uri>\r\n\
         <{notification}-notification><status><{status}/></status></{notification}-notification>\r\n</imdn>\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_read_back_as_it_was_written() {
        for mark in MARKS {
            let text = write("34<jk>&", "2006-04-04T12:16:49-05:00", "sip:a@b", mark);
            let report = Report::parse(text.as_bytes()).unwrap();
            assert_eq!((&*report.message_id, report.mark), ("34<jk>&", Some(mark)));
            assert_eq!(Mark::of_wish(mark.wish()), Some(mark));
        }
    }

    #[test]
    fn what_says_nothing_new_has_no_mark() {
        for status in [
            "processing-notification><status><processed/",
            "display-notification><status><forbidden/",
        ] {
            let end = status.split('>').next().unwrap();
            let text = format!("<imdn><message-id>x</message-id><{status}></status></{end}></imdn>");
            assert_eq!(Report::parse(text.as_bytes()).unwrap().mark, None, "{text}");
        }
    }

    #[test]
    fn what_is_no_notification_is_refused() {
        for text in [
            "",
            "<imdn/>",
            "<other><message-id>x</message-id></other>",
            "<imdn><message-id> </message-id></imdn>",
        ] {
            assert!(Report::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn marks_are_a_set() {
        let both = Marks::NONE.with(Mark::Delivered).with(Mark::Failed);
        assert!(both.has(Mark::Failed) && !both.has(Mark::Displayed));
        assert_eq!(both.wishes(), "positive-delivery, negative-delivery");
        assert_eq!(
            both.without(Marks::NONE.with(Mark::Failed)),
            Marks::NONE.with(Mark::Delivered)
        );
        assert_eq!(
            both.both(Marks::NONE.with(Mark::Failed)),
            Marks::NONE.with(Mark::Failed)
        );
    }
}
