//! The dial plan: ordered rules, the first that matches wins. A dialled string is only compared, never evaluated (S18).

use crate::config::{Pattern, Rule};

/// What the plan does in this context with a dialled string (the unescaped user part of the Request-URI); `None` when no
/// rule matches.
#[must_use]
pub(crate) fn rule<'c>(rules: &'c [Rule], context: &str, dialled: &str) -> Option<&'c Rule> {
    let is_there = |rule: &Rule| rule.contexts.iter().any(|known| **known == *context);
    rules
        .iter()
        .find(|rule| matches(&rule.matches, dialled) && is_there(rule))
}

/// Whether a rule is for this dialled string. An empty string is for nobody.
#[must_use]
pub(crate) fn matches(pattern: &Pattern, dialled: &str) -> bool {
    !dialled.is_empty()
        && match pattern {
            Pattern::Exact(text) => **text == *dialled,
            Pattern::Prefix(text) => dialled.starts_with(&**text),
            Pattern::Digits(pattern) => digits(pattern.as_bytes(), dialled.as_bytes()),
            Pattern::Any => true,
        }
}

/// Asterisk's notation, read left to right. No step looks back, so the cost is one pass whatever was dialled.
fn digits(mut pattern: &[u8], mut dialled: &[u8]) -> bool {
    while let Some((&element, rest)) = pattern.split_first() {
        if element == b'.' {
            return !dialled.is_empty();
        }
        let Some((&digit, dialled_rest)) = dialled.split_first() else {
            return false;
        };
        let (fits, rest) = match element {
            b'X' => (digit.is_ascii_digit(), rest),
            b'Z' => (matches!(digit, b'1'..=b'9'), rest),
            b'N' => (matches!(digit, b'2'..=b'9'), rest),
            b'[' => set(rest, digit),
            literal => (literal == digit, rest),
        };
        if !fits {
            return false;
        }
        (pattern, dialled) = (rest, dialled_rest);
    }
    dialled.is_empty()
}

/// `[1-57]`: whether the digit is in the set, and the pattern after `]`. A set that never closes fits nothing.
fn set(pattern: &[u8], digit: u8) -> (bool, &[u8]) {
    let Some(end) = pattern.iter().position(|&b| b == b']') else {
        return (false, &[]);
    };
    let (mut members, mut fits) = (&pattern[..end], false);
    while let Some((&first, rest)) = members.split_first() {
        let (last, rest) = match rest {
            [b'-', last, rest @ ..] => (*last, rest),
            _ => (first, rest),
        };
        fits |= (first..=last).contains(&digit);
        members = rest;
    }
    (fits, &pattern[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Action;
    use crate::config::trunks::INTERNAL;

    fn digits_match(pattern: &str, dialled: &str) -> bool {
        matches(&Pattern::Digits(pattern.into()), dialled)
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let plan = [
            Rule::new(Pattern::Exact("9196".into()), Action::Echo),
            Rule::new(Pattern::Prefix("91".into()), Action::Reject(403)),
            Rule::new(Pattern::Any, Action::User(None)),
        ];
        let action = |plan, dialled| rule_of(plan, INTERNAL, dialled);
        assert_eq!(action(&plan, "9196"), Some(&Action::Echo));
        assert_eq!(action(&plan, "9197"), Some(&Action::Reject(403)));
        assert_eq!(action(&plan, "1001"), Some(&Action::User(None)));
        assert_eq!(action(&plan, ""), None);
        assert_eq!(action(&plan[..2], "1001"), None);
    }

    #[test]
    fn a_rule_is_there_only_in_its_contexts() {
        let mut plan = [
            Rule::new(Pattern::Exact("9196".into()), Action::Echo),
            Rule::new(Pattern::Any, Action::User(None)),
        ];
        plan[1].contexts = vec!["outside".into(), INTERNAL.into()];
        assert_eq!(rule_of(&plan, INTERNAL, "9196"), Some(&Action::Echo));
        assert_eq!(rule_of(&plan, "outside", "9196"), Some(&Action::User(None)));
        assert_eq!(rule_of(&plan, "elsewhere", "9196"), None);
    }

    fn rule_of<'c>(plan: &'c [Rule], context: &str, dialled: &str) -> Option<&'c Action> {
        rule(plan, context, dialled).map(|rule| &rule.action)
    }

    #[test]
    fn x_z_and_n_stand_for_digits() {
        assert!(digits_match("2XXX", "2099"));
        assert!(!digits_match("2XXX", "209"));
        assert!(!digits_match("2XXX", "20999"));
        assert!(!digits_match("2XXX", "2a99"));
        assert!(digits_match("ZN", "12") && !digits_match("ZN", "02") && !digits_match("ZN", "11"));
    }

    #[test]
    fn brackets_hold_ranges_and_single_digits() {
        assert!(digits_match("3[0-25]XX", "3099") && digits_match("3[0-25]XX", "3500"));
        assert!(!digits_match("3[0-25]XX", "3300"));
        assert!(!digits_match("3[0-2", "31"), "a set that never closes fits nothing");
        assert!(!digits_match("3[]", "3]"));
        assert!(digits_match("[-1]", "-") && digits_match("[1-]", "-"));
    }

    #[test]
    fn a_dot_takes_one_or_more_of_anything() {
        assert!(digits_match("*99.", "*991000") && !digits_match("*99.", "*99"));
        assert!(digits_match(".", "alice"));
    }

    #[test]
    fn hostile_strings_are_only_compared() {
        for dialled in ["${EXTEN}", "`id`", "1001' OR '1'='1", "\u{0}", "[1-9]", "X"] {
            assert!(!digits_match("XXXX", dialled));
            assert!(matches(&Pattern::Any, dialled));
        }
    }
}
