//! `*( SEMI name [ EQUAL value ] )`, the tail of most headers.

use super::{Invalid, lex};
use std::borrow::Cow;

/// Parameters whose syntax has been checked; found by walking them, which for the few there are beats any table.
#[derive(Copy, Clone, Debug, Default)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// Reads parameters up to the end of `input`; anything else there is an error.
    pub fn parse(input: &'a [u8]) -> Result<Params<'a>, Invalid> {
        Params::parse_noting(input, []).map(|(params, [])| params)
    }

    /// What has been read before.
    pub(crate) fn checked(text: &'a [u8]) -> Params<'a> {
        Params(text)
    }

    /// The same, and the first value of each of these met on the way, as [`Params::get`] gives it. The first of them is an
    /// identifier (`tag`, `branch`): it must have a value and be there once, or two readers might take two different ones.
    pub(crate) fn parse_noting<const N: usize>(input: &'a [u8], names: [&str; N]) -> Result<Noting<'a, N>, Invalid> {
        let (mut rest, mut noted) = (input, [None; N]);
        while let Some((name, value, after)) = step(rest)? {
            rest = after;
            let Some(place) = names.iter().position(|n| n.as_bytes().eq_ignore_ascii_case(name)) else {
                continue;
            };
            if place == 0 && (value.is_none() || noted[0].is_some()) {
                return Err(Invalid("tag or branch twice or without value"));
            }
            noted[place] = noted[place].or(Some(value.unwrap_or_default()));
        }
        Ok((Params(input), noted))
    }

    /// Name as written, and value as written (quotes kept), in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (name, value, after) = step(rest).ok().flatten()?;
            rest = after;
            Some((name, value))
        })
    }

    /// The first value of that name (compared without case), as written; empty for a flag without value.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| v.unwrap_or_default())
    }

    /// The same without quotes and escapes.
    #[must_use]
    pub fn text(self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.get(name).map(lex::unquote)
    }

    /// True if a parameter of that name is there, with or without value.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All parameters as received, from the first `;` on.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Parameters, and the values of those that were asked for.
pub(crate) type Noting<'a, const N: usize> = (Params<'a>, [Option<&'a [u8]>; N]);

type Step<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

fn step(input: &[u8]) -> Result<Option<Step<'_>>, Invalid> {
    let rest = lex::skip_lws(input);
    if rest.is_empty() {
        return Ok(None);
    }
    let rest = rest
        .strip_prefix(b";")
        .ok_or(Invalid("text after the value that is no parameter"))?;
    let (name, rest) = lex::token(lex::skip_lws(rest)).ok_or(Invalid("parameter without name"))?;
    let Some(rest) = lex::separator(rest, b'=') else {
        return Ok(Some((name, None, rest)));
    };
    let (value, rest) = lex::param_value(rest).ok_or(Invalid("parameter with a broken value"))?;
    Ok(Some((name, Some(value), rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_parameters_in_any_case_and_spacing() {
        let p = Params::parse(b" ;  Branch = z9hG4bK1 ;rport; x=\"a;b=c\"").unwrap();
        assert_eq!(p.get("branch"), Some(&b"z9hG4bK1"[..]));
        assert_eq!(p.get("rport"), Some(&b""[..]));
        assert_eq!(p.text("X").as_deref(), Some(&b"a;b=c"[..]));
        assert!(!p.has("b"));
    }

    #[test]
    fn extra_separators_are_errors() {
        for text in [";;", ";", ";a;", ";a=", "a", ";a b", ";=x", ";a=\"open", ";a=b,c"] {
            assert!(Params::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
