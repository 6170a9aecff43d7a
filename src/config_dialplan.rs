//! dialplan.toml: ordered rules, first match wins.

use crate::config_section::{At, Section, Setting, did_you_mean};
use crate::config_toml::{Kind, Place};
use crate::config_trunks::mode;
use switch::config::trunks::{INTERNAL, Mode};
use switch::config::{Action, Outside, Pattern, Rule};

/// A rule and its place, for the checks of the whole.
pub(crate) struct RuleEntry {
    pub(crate) rule: Rule,
    pub(crate) place: Place,
    /// It says how its calls go; otherwise its trunk does.
    pub(crate) has_mode: bool,
}

/// Reads every `[[rule]]`; a rule with a mistake is on record and left out.
pub(crate) fn read(mut top: Section<'_>) -> Vec<RuleEntry> {
    let rules: Vec<RuleEntry> = top.list("rule").into_iter().filter_map(rule).collect();
    for (i, later) in rules.iter().enumerate() {
        let everywhere = |earlier: &Rule| {
            later
                .rule
                .contexts
                .iter()
                .all(|context| earlier.contexts.contains(context))
        };
        let hides =
            |earlier: &&RuleEntry| hides(&earlier.rule.matches, &later.rule.matches) && everywhere(&earlier.rule);
        if let Some(earlier) = rules[..i].iter().find(hides) {
            let text = format!("this rule is never reached: the one at {} matches first", earlier.place);
            top.problem(&later.place, text);
        }
    }
    rules
}

/// Whether everything that `later` matches is matched by `earlier`, where that is plain to see.
fn hides(earlier: &Pattern, later: &Pattern) -> bool {
    match (earlier, later) {
        (Pattern::Any, _) => true,
        (Pattern::Prefix(short), Pattern::Prefix(long) | Pattern::Exact(long)) => long.starts_with(&**short),
        _ => earlier == later,
    }
}

fn rule(mut section: Section<'_>) -> Option<RuleEntry> {
    let place = section.place();
    let matches = pattern(&mut section);
    let action = action(&mut section);
    let (contexts, right) = (contexts(&mut section), section.read::<String>("right"));
    let mode = mode(&mut section);
    let is_emergency = section.or("emergency", false);
    let mut rule = Rule::new(matches?, action?);
    rule.contexts = contexts;
    rule.is_emergency = is_emergency;
    rule.right = right_of(&rule, right);
    rule.mode = mode.unwrap_or_default();
    let goes_elsewhere = matches!(rule.action, Action::User(_) | Action::Trunk(_));
    if rule.mode == Mode::Proxy && !goes_elsewhere {
        let text = "`mode`: what the switch answers itself cannot be passed on by proxy".to_owned();
        section.problem(&place, text);
    }
    let has_mode = mode.is_some();
    Some(RuleEntry { rule, place, has_mode })
}

/// `context`, one or several; without it the rule is for users.
fn contexts(section: &mut Section<'_>) -> Vec<Box<str>> {
    let Some(value) = section.take("context") else {
        return vec![INTERNAL.into()];
    };
    let found: Result<Vec<String>, String> = match &value.kind {
        Kind::Text(one) => Ok(vec![one.clone()]),
        _ => Setting::read(&value),
    };
    match found {
        Ok(names) if !names.is_empty() => names.into_iter().map(Into::into).collect(),
        Ok(_) => {
            section.problem(&value.place, "`context`: name at least one".to_owned());
            Vec::new()
        }
        Err(wrong) => {
            section.problem(&value.place, format!("`context`: {wrong}"));
            Vec::new()
        }
    }
}

/// Calls outside cost money: who is to make them needs a right even where the rule does not say which. To call for help nobody
/// needs any.
fn right_of(rule: &Rule, said: Option<String>) -> Option<Box<str>> {
    match (said, &rule.action) {
        (Some(right), _) => (!right.is_empty()).then(|| right.into()),
        (None, Action::Trunk(_)) if !rule.is_emergency => Some(OUTSIDE.into()),
        (None, _) => None,
    }
}

/// The right to dial outside, unless a rule names another.
const OUTSIDE: &str = "outside";

fn pattern(section: &mut Section<'_>) -> Option<Pattern> {
    section.later(&["regex"], "matching by regular expression");
    let exact: Option<At<String>> = section.read("match");
    let prefix: Option<At<String>> = section.read("prefix");
    match (exact, prefix) {
        (Some(found), None) => match parse_match(&found.value) {
            Ok(pattern) => Some(pattern),
            Err(wrong) => {
                section.problem(&found.place, format!("`match`: {wrong}"));
                None
            }
        },
        (None, Some(found)) if !found.value.is_empty() => Some(Pattern::Prefix(found.value.into())),
        (None, Some(found)) => {
            section.problem(
                &found.place,
                "`prefix` is empty; match = \"_.\" matches everything".to_owned(),
            );
            None
        }
        (Some(_), Some(found)) => {
            section.problem(
                &found.place,
                "`match` and `prefix` in one rule: keep one of them".to_owned(),
            );
            None
        }
        (None, None) => {
            let text = "which numbers? add match = \"9196\", match = \"_10XX\" or prefix = \"00\"".to_owned();
            section.problem(&section.place(), text);
            None
        }
    }
}

/// `9196` is one number; `_10XX` a pattern in Asterisk's notation; `_.` everything.
pub(crate) fn parse_match(text: &str) -> Result<Pattern, String> {
    match text.strip_prefix('_') {
        Some(".") => Ok(Pattern::Any),
        Some(pattern) => wrong_pattern(pattern).map_or_else(|| Ok(Pattern::Digits(pattern.into())), Err),
        None if text.is_empty() => Err("is empty".to_owned()),
        None => Ok(Pattern::Exact(text.into())),
    }
}

fn wrong_pattern(pattern: &str) -> Option<String> {
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '[' => match rest.find(']').filter(|end| is_set(&rest[1..*end])) {
                Some(end) => end + 1,
                None => {
                    return Some(format!(
                        "in _{pattern}: expected a set of digits like [1-5] at {rest:?}"
                    ));
                }
            },
            '.' if rest.len() > 1 => {
                return Some(format!("in _{pattern}: `.` matches the rest, so it must stand last"));
            }
            'X' | 'Z' | 'N' | '0'..='9' | '*' | '#' | '+' | '.' => 1,
            _ => {
                let known = "X (0-9), Z (1-9), N (2-9), [1-5], digits, * # + and a last `.`";
                return Some(format!("in _{pattern}: {c:?} means nothing; known are {known}"));
            }
        };
        rest = &rest[length..];
    }
    pattern.is_empty().then(|| "the pattern after _ is empty".to_owned())
}

/// Digits and rising ranges: `1-5`, `135`, `1-37`.
fn is_set(inside: &str) -> bool {
    let mut chars = inside.chars().peekable();
    let mut any = false;
    while let Some(low) = chars.next() {
        any = true;
        if chars.next_if_eq(&'-').is_some() && !chars.next().is_some_and(|high| high.is_ascii_digit() && low <= high) {
            return false;
        }
        if !low.is_ascii_digit() {
            return false;
        }
    }
    any
}

const ACTIONS: [&str; 9] = [
    "user", "group", "trunk", "room", "echo", "tone", "music", "digits", "reject",
];
const LATER: [&str; 2] = ["voicemail", "rewrite"];

fn action(section: &mut Section<'_>) -> Option<Action> {
    let name: At<String> = section.need("action")?;
    match name.value.as_str() {
        "user" => Some(Action::User(section.read::<String>("user").map(Into::into))),
        "group" => Some(Action::Group(section.read::<String>("group").map(Into::into))),
        "trunk" => Some(Action::Trunk(Outside {
            trunk: section.need::<String>("trunk")?.into(),
            strip: section.within("strip", 0, 0..=64),
            prepend: section.or("prepend", String::new()).into(),
        })),
        "room" => Some(Action::Room(section.read::<String>("room").map(Into::into))),
        "echo" => Some(Action::Echo),
        "tone" => Some(Action::Tone(section.within("hz", 1004, 20..=3_900))),
        "music" => Some(Action::Music(section.read::<String>("class").map(Into::into))),
        "digits" => Some(Action::Digits),
        "reject" => Some(Action::Reject(section.within("status", 403, 400..=699))),
        later if LATER.contains(&later) => {
            section.problem(&name.place, format!("`action`: {later:?} is not built yet"));
            None
        }
        other => {
            let hint = did_you_mean(other, ACTIONS.into_iter());
            let text = format!("`action`: expected {}, found {other:?}{hint}", ACTIONS.join(" or "));
            section.problem(&name.place, text);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_checked_letter_by_letter() {
        for good in ["10XX", "[1-5]X.", "NXXNXXXXXX", "*98X", "[135]", "."] {
            assert_eq!(wrong_pattern(good), None, "{good}");
        }
        for bad in ["", "10x", ".X", "[5-1]", "[]", "[1-", "1[a]", "é"] {
            assert!(wrong_pattern(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_rule_after_one_that_takes_all_its_numbers_is_hidden() {
        let exact = Pattern::Exact("9196".into());
        assert!(hides(&Pattern::Any, &exact));
        assert!(hides(&exact, &exact));
        assert!(hides(&Pattern::Prefix("9".into()), &exact));
        assert!(!hides(&exact, &Pattern::Prefix("9".into())));
    }
}
