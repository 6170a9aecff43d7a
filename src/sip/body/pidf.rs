//! What a device publishes of its user (RFC 3863, RFC 4479, RFC 4480): whether it can be reached, what the user does, and a
//! word for people. What else such documents may hold is passed over.

use super::Unreadable;
use super::xml::Element;

/// The type of these documents.
pub const MEDIA_TYPE: &str = "application/pidf+xml";
/// Longest note taken, in characters; the rest is cut off.
pub const NOTE_MAX: usize = 64;

/// A presence document, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pidf {
    /// One tuple says open; none says anything: `None`.
    pub is_open: Option<bool>,
    /// The first activity there is, by its element's name: lower-case letters and dashes.
    pub activity: Option<Box<str>>,
    /// The first note there is, on one line.
    pub note: Box<str>,
}

impl Pidf {
    /// Reads a document.
    ///
    /// # Errors
    /// It is no XML, too deep or too large, or no presence document.
    pub fn parse(document: &[u8]) -> Result<Pidf, Unreadable> {
        let root = Element::parse(document)?;
        if root.name != "presence" {
            return Err(Unreadable("not a presence document"));
        }
        let tuples = || root.children.iter().filter(|child| child.name == "tuple");
        let basic = tuples().filter_map(|tuple| tuple.child("status")?.child_text("basic"));
        Ok(Pidf {
            is_open: basic
                .map(|basic| basic.eq_ignore_ascii_case("open"))
                .reduce(|a, b| a || b),
            // Older softphones put activities into the tuple (RFC 4480 section 3.2 has them in the person).
            activity: root.children.iter().chain([&root]).find_map(activity),
            note: notes(&root).find(|note| !note.is_empty()).unwrap_or_default(),
        })
    }
}

fn activity(element: &Element<'_>) -> Option<Box<str>> {
    let status = element.child("status");
    let inside = element.child("activities").or_else(|| status?.child("activities"))?;
    let is_name = |name: &str| name.len() <= 32 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let mut named = inside.children.iter().map(|child| child.name);
    named
        .find(|name| is_name(name) && !matches!(*name, "unknown" | "note"))
        .map(Into::into)
}

/// Of the person, then of the document, then of the tuples.
fn notes<'a>(root: &'a Element<'_>) -> impl Iterator<Item = Box<str>> + 'a {
    let of = |kind: &'static str| root.children.iter().filter(move |child| child.name == kind);
    let inside = |child: &'a Element<'_>| child.children.iter().filter(|inner| inner.name == "note");
    let persons = of("person").flat_map(inside);
    let tuples = of("tuple").flat_map(inside);
    persons.chain(of("note")).chain(tuples).map(|note| one_line(&note.text))
}

fn one_line(text: &str) -> Box<str> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .chars()
        .filter(|c| !c.is_control())
        .take(NOTE_MAX)
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> Pidf {
        let document =
            format!("<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\">{inside}</presence>");
        Pidf::parse(document.as_bytes()).unwrap()
    }

    #[test]
    fn a_person_who_is_away_can_still_be_reached() {
        let read = read(
            "<tuple id=\"x\"><status><basic>open</basic></status><contact>sip:a@b</contact></tuple>\
             <dm:person id=\"p\"><rpid:activities><rpid:unknown/><rpid:meal/></rpid:activities>\
             <dm:note>  Back\r\n at &lt;3&gt; </dm:note></dm:person>",
        );
        let expected = Pidf {
            is_open: Some(true),
            activity: Some("meal".into()),
            note: "Back at <3>".into(),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn one_open_tuple_is_enough_and_none_says_nothing() {
        let tuple = |basic| format!("<tuple id=\"x\"><status><basic>{basic}</basic></status></tuple>");
        assert_eq!(read(&(tuple("closed") + &tuple("open"))).is_open, Some(true));
        assert_eq!(read(&tuple("closed")).is_open, Some(false));
        assert_eq!(read(""), Pidf::default());
    }

    #[test]
    fn activities_and_notes_of_old_softphones_stand_in_the_tuple() {
        let read = read(
            "<tuple id=\"x\"><status><basic>open</basic><rpid:activities><rpid:on-the-phone/></rpid:activities></status>\
             <note>busy</note></tuple>",
        );
        assert_eq!((read.activity.as_deref(), &*read.note), (Some("on-the-phone"), "busy"));
    }

    #[test]
    fn other_documents_and_hostile_ones_are_refused() {
        let deep = "<a>".repeat(100_000);
        let bomb = "<!DOCTYPE a [<!ENTITY b \"cc\">]><presence>&b;</presence>";
        for wrong in [
            "",
            "hello",
            "<list/>",
            "<presence>",
            &deep,
            bomb,
            "<presence>&nothing;</presence>",
        ] {
            assert!(
                Pidf::parse(wrong.as_bytes()).is_err(),
                "{}",
                &wrong[..wrong.len().min(40)]
            );
        }
        let long = read(&format!("<note>{}</note>", "x".repeat(9_000)));
        assert_eq!(long.note.len(), NOTE_MAX);
    }
}
