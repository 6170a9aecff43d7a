//! XML as far as small documents of state need it: elements, text, the five entities. No DTD, no other entity, nothing
//! fetched; depth and number of elements are bounded, so no document costs more than its length.

use super::Unreadable;
use std::borrow::Cow;

/// Deepest nesting: documents of ours have four levels. Also bounds the recursion with which a tree is dropped.
pub const MAX_DEPTH: usize = 32;
/// Most elements of one document.
pub const MAX_ELEMENTS: usize = 1_024;

/// An element, its prefix cut off: namespaces are not told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'a> {
    /// Local name.
    pub name: &'a str,
    /// Attributes in order, with local names.
    pub attributes: Vec<(&'a str, Cow<'a, str>)>,
    /// All text directly inside, joined.
    pub text: String,
    /// Elements inside, in order.
    pub children: Vec<Element<'a>>,
}

impl<'a> Element<'a> {
    /// Reads a document; its root.
    ///
    /// # Errors
    /// It is not well formed, holds a DTD or is deeper or larger than the bounds.
    pub fn parse(document: &'a [u8]) -> Result<Element<'a>, Unreadable> {
        let text = std::str::from_utf8(document).map_err(|_| Unreadable("XML is not UTF-8"))?;
        Reader {
            rest: text.trim_start_matches('\u{feff}'),
            elements: 0,
        }
        .document()
    }

    /// The first element of this name inside.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Element<'a>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of this name inside, without space around it.
    #[must_use]
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }

    /// An attribute's value.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| &**value)
    }
}

struct Reader<'a> {
    rest: &'a str,
    elements: usize,
}

impl<'a> Reader<'a> {
    fn document(mut self) -> Result<Element<'a>, Unreadable> {
        let mut open: Vec<Element<'a>> = Vec::new();
        loop {
            let (text, behind) = self.rest.split_at(self.rest.find('<').unwrap_or(self.rest.len()));
            match open.last_mut() {
                Some(element) => element.text.push_str(&unescaped(text)?),
                None if !text.trim().is_empty() => return Err(Unreadable("XML has text outside of its root")),
                None => {}
            }
            self.rest = behind;
            if let Some(rest) = behind.strip_prefix("<!--") {
                self.rest = after(rest, "-->")?;
            } else if let Some(rest) = behind.strip_prefix("<?") {
                self.rest = after(rest, "?>")?;
            } else if let Some(rest) = behind.strip_prefix("<![CDATA[") {
                let end = rest.find("]]>").ok_or(Unreadable("XML ends early"))?;
                let element = open.last_mut().ok_or(Unreadable("XML has text outside of its root"))?;
                element.text.push_str(&rest[..end]);
                self.rest = &rest[end + 3..];
            } else if behind.starts_with("<!") {
                return Err(Unreadable("XML has a DTD"));
            } else if let Some(rest) = behind.strip_prefix("</") {
                let end = rest.find('>').ok_or(Unreadable("XML ends early"))?;
                let element = open.pop().ok_or(Unreadable("XML closes what is not open"))?;
                if local(rest[..end].trim_end()) != element.name {
                    return Err(Unreadable("XML closes another element than is open"));
                }
                self.rest = &rest[end + 1..];
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return self.finish(element),
                }
            } else if behind.is_empty() {
                return Err(Unreadable("XML ends early"));
            } else {
                let (element, is_empty) = self.tag()?;
                match open.last_mut() {
                    _ if !is_empty => open.push(element),
                    Some(parent) => parent.children.push(element),
                    None => return self.finish(element),
                }
                if open.len() > MAX_DEPTH {
                    return Err(Unreadable("XML is nested too deep"));
                }
            }
        }
    }

    /// Behind the root only comments and space may follow; nobody looks at them.
    fn finish(&self, root: Element<'a>) -> Result<Element<'a>, Unreadable> {
        let is_miscellaneous = |rest: &str| rest.is_empty() || rest.starts_with("<!--") || rest.starts_with("<?");
        is_miscellaneous(self.rest.trim())
            .then_some(root)
            .ok_or(Unreadable("XML has two roots"))
    }

    /// `<name a="b" c='d'>` or `<name/>`, and whether it is the latter.
    fn tag(&mut self) -> Result<(Element<'a>, bool), Unreadable> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(Unreadable("XML has too many elements"));
        }
        let mut element = Element {
            name: local(self.name(1)?),
            ..Element::default()
        };
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix("/>") {
                self.rest = rest;
                return Ok((element, true));
            }
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                return Ok((element, false));
            }
            let name = local(self.name(0)?);
            self.rest = self.rest.trim_start();
            let value = self
                .rest
                .strip_prefix('=')
                .ok_or(Unreadable("XML attribute without value"))?
                .trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let quote = quote.ok_or(Unreadable("XML attribute without quotes"))?;
            let end = value[1..].find(quote).ok_or(Unreadable("XML ends early"))?;
            element.attributes.push((name, unescaped(&value[1..=end])?));
            self.rest = &value[end + 2..];
        }
    }

    /// The name that begins so many bytes on.
    fn name(&mut self, skip: usize) -> Result<&'a str, Unreadable> {
        let rest = &self.rest[skip..];
        let is_end = |c: char| c.is_whitespace() || matches!(c, '>' | '/' | '=' | '<' | '"' | '\'' | '&');
        let end = rest.find(is_end).ok_or(Unreadable("XML ends early"))?;
        self.rest = &rest[end..];
        (end > 0)
            .then_some(&rest[..end])
            .ok_or(Unreadable("XML has no name here"))
    }
}

fn after<'a>(rest: &'a str, end: &str) -> Result<&'a str, Unreadable> {
    let at = rest.find(end).ok_or(Unreadable("XML ends early"))?;
    Ok(&rest[at + end.len()..])
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// The five entities of XML 1.0 section 4.6 and character references; any other is an error, so nothing can expand.
fn unescaped(text: &str) -> Result<Cow<'_, str>, Unreadable> {
    if !text.contains('&') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let entity = &rest[at + 1..];
        let end = entity.find(';').ok_or(Unreadable("XML has a bare ampersand"))?;
        out.push(character(&entity[..end]).ok_or(Unreadable("XML has an unknown entity"))?);
        rest = &entity[end + 1..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|&c| c != '\0')
        }
    }
}

/// Text for an element or attribute in double quotes (XML 1.0 section 2.4). Characters that XML does not know become U+FFFD.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Element<'_>, Unreadable> {
        Element::parse(text.as_bytes())
    }

    #[test]
    fn elements_text_and_attributes_are_found_whatever_their_prefix() {
        let root = read(
            "\u{feff}<?xml version=\"1.0\"?><!-- c --><a:root xmlns:a='u' x = \"1 &lt; 2\">\r\n t&amp;<b/><a:c y='&#233;'>\
             in<!-- --> <![CDATA[<raw>]]></a:c ></a:root>\n<!-- end -->",
        )
        .unwrap();
        assert_eq!((root.name, root.text.trim()), ("root", "t&"));
        assert_eq!(root.attribute("x"), Some("1 < 2"));
        assert_eq!(root.child_text("c"), Some("in <raw>"));
        assert_eq!(root.child("c").unwrap().attribute("y"), Some("é"));
        assert!(root.child("b").is_some() && root.child("d").is_none());
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in [
            "",
            " ",
            "x",
            "<a>",
            "<a",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>x",
            "<a b>",
            "<a b=c/>",
            "<a b=\"c/>",
            "<a>&b;</a>",
            "<a>&</a>",
            "<a>&#0;</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<a><![CDATA[",
            "<a><!-- ",
            "< a/>",
            "<a><?x",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert!(read(&nested(MAX_DEPTH + 1)).is_err());
        assert!(read(&"<a>".repeat(100_000)).is_err());
        let wide = |number: usize| format!("<r>{}</r>", "<a/>".repeat(number));
        assert!(read(&wide(MAX_ELEMENTS - 1)).is_ok());
        assert!(read(&wide(MAX_ELEMENTS)).is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = "<&>\"' é \u{1f600}";
        let document = format!("<a b=\"{0}\">{0}</a>", escaped(text));
        let root = read(&document).unwrap();
        assert_eq!((root.text.as_str(), root.attribute("b")), (text, Some(text)));
    }
}
