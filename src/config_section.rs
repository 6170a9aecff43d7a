//! Strict reading: a section hands out its keys, and what nobody asked for is an error with the nearest known key.

use crate::config_toml::{Kind, Place, Problem, Table, Value};
use std::cell::RefCell;
use std::ops::RangeInclusive;

/// Problems found so far; shared by all sections that are being read.
pub(crate) type Problems = RefCell<Vec<Problem>>;

/// A value that a setting can be read as. The error says what was expected.
pub(crate) trait Setting: Sized {
    fn read(value: &Value) -> Result<Self, String>;
    /// As an operator would write it.
    fn shown(&self) -> String;
}

/// A value with its place, for checks that come later.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) place: Place,
    pub(crate) value: T,
}

/// One table while it is read. When it is dropped, what is left in it is reported as unknown.
pub(crate) struct Section<'p> {
    table: Table,
    problems: &'p Problems,
    known: Vec<&'static str>,
}

impl<'p> Section<'p> {
    pub(crate) fn new(table: Table, problems: &'p Problems) -> Section<'p> {
        let known = Vec::new();
        Section { table, problems, known }
    }

    /// Where the section begins.
    pub(crate) fn place(&self) -> Place {
        self.table.place.clone()
    }

    /// The value of `key`; `None` if it is absent or wrong (which is then on record).
    pub(crate) fn read<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let value = self.take(key)?;
        let wrong = match T::read(&value) {
            Ok(read) => return Some(read),
            Err(wrong) => wrong,
        };
        self.problem(&value.place, format!("`{key}`: {wrong}"));
        None
    }

    /// The value of `key`, or `default`.
    pub(crate) fn or<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        self.read(key).unwrap_or(default)
    }

    /// The value of `key`, or `default`; outside `range` it is a problem.
    pub(crate) fn within<T: Setting + PartialOrd>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let Some(found) = self.read::<At<T>>(key) else {
            return default;
        };
        if !range.contains(&found.value) {
            let (low, high) = (range.start().shown(), range.end().shown());
            let text = format!("`{key}`: {} is not between {low} and {high}", found.value.shown());
            self.problem(&found.place, text);
        }
        found.value
    }

    /// The value of `key`, which must be there.
    pub(crate) fn need<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.problem(&self.place(), format!("`{key}` is missing"));
        }
        self.read(key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.entries.contains_key(key)
    }

    /// The table under `key`; an empty one if it is absent.
    pub(crate) fn inner(&mut self, key: &'static str) -> Section<'p> {
        match self.take(key) {
            Some(value) => self.section_of(key, value),
            None => self.same_problems(Table::empty(self.place())),
        }
    }

    /// The tables of `[[key]]`.
    pub(crate) fn list(&mut self, key: &'static str) -> Vec<Section<'p>> {
        let Some(Value { place, kind }) = self.take(key) else {
            return Vec::new();
        };
        let Kind::List(items) = kind else {
            self.problem(
                &place,
                format!("`{key}`: expected a list of tables [[{key}]], found {}", kind.name()),
            );
            return Vec::new();
        };
        items.into_iter().map(|item| self.section_of(key, item)).collect()
    }

    /// All that is left, as tables by name, in the order of their names.
    pub(crate) fn named(&mut self) -> Vec<(At<String>, Section<'p>)> {
        let entries = std::mem::take(&mut self.table.entries);
        let named = |(value, (place, inner)): (String, (Place, Value))| {
            let section = self.section_of(&value, inner);
            (At { place, value }, section)
        };
        entries.into_iter().map(named).collect()
    }

    /// A raw value, taken out for a reader of its own.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.entries.remove(key).map(|(_, value)| value)
    }

    /// `keys` belong to `feature`, which is not built yet: a clear error where one is used.
    pub(crate) fn later(&mut self, keys: &[&'static str], feature: &str) {
        for key in keys {
            if let Some((place, _)) = self.table.entries.remove(*key) {
                self.problem(&place, format!("`{key}`: {feature} is not built yet"));
            }
        }
    }

    pub(crate) fn problem(&self, place: &Place, text: String) {
        let place = place.clone();
        self.problems.borrow_mut().push(Problem { place, text });
    }

    /// A section of its own for a table that was taken out by hand.
    pub(crate) fn same_problems(&self, table: Table) -> Section<'p> {
        Section::new(table, self.problems)
    }

    fn section_of(&self, key: &str, value: Value) -> Section<'p> {
        let table = match value.kind {
            Kind::Table(table) => table,
            other => {
                self.problem(
                    &value.place,
                    format!("`{key}`: expected a table, found {}", other.name()),
                );
                Table::empty(value.place)
            }
        };
        self.same_problems(table)
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for (key, (place, _)) in &self.table.entries {
            let hint = did_you_mean(key, self.known.iter().copied());
            self.problem(place, format!("unknown key `{key}`{hint}"));
        }
    }
}

/// ` (did you mean ...?)` with the nearest of `known`; empty when none is near.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = |known: &&str| match strsim::osa_distance(word, known) {
        ..=1 => 1.0,
        _ => strsim::jaro_winkler(word, known),
    };
    let best = known.max_by(|a, b| near(a).total_cmp(&near(b)));
    match best.filter(|best| near(best) >= 0.8) {
        Some(best) => format!(" (did you mean `{best}`?)"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_toml::parse;

    fn problems(text: &str, read: impl FnOnce(&mut Section<'_>)) -> Vec<String> {
        let mut syntax = Vec::new();
        let table = parse(&"f.toml".into(), text, &mut syntax);
        let problems = Problems::new(syntax);
        read(&mut Section::new(table, &problems));
        let mut found = problems.into_inner();
        found.sort();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_nobody_asked_for_is_reported_with_the_nearest_known_key() {
        let found = problems("prots = 1\nzebra = 2\n[calls]\nring = 3\n", |section| {
            section.or("ports", 7_u16);
            section.inner("calls").or("ring_timeout", 7_u16);
        });
        assert_eq!(
            found,
            [
                "f.toml:1:1: unknown key `prots` (did you mean `ports`?)",
                "f.toml:2:1: unknown key `zebra`",
                "f.toml:4:1: unknown key `ring` (did you mean `ring_timeout`?)",
            ]
        );
    }

    #[test]
    fn says_what_was_expected_and_what_was_found() {
        let found = problems("a = true\nb = 70000\nc = 5\nd = 1\ne = 1\n", |section| {
            section.or("a", 7_u16);
            section.or("b", 7_u16);
            section.within("c", 7_u16, 10..=20);
            section.inner("d");
            section.list("e");
            section.need::<u16>("f");
        });
        assert_eq!(
            found,
            [
                "f.toml:1:5: `a`: expected a whole number from 0 to 65535, found true or false",
                "f.toml:2:5: `b`: expected a whole number from 0 to 65535, found 70000",
                "f.toml:3:5: `c`: 5 is not between 10 and 20",
                "f.toml:4:5: `d`: expected a table, found a whole number",
                "f.toml:5:5: `e`: expected a list of tables [[e]], found a whole number",
                "f.toml: `f` is missing",
            ]
        );
    }

    #[test]
    fn a_key_of_a_feature_that_is_not_built_says_so() {
        let found = problems("mailbox = 1\n", |section| section.later(&["mailbox"], "voicemail"));
        assert_eq!(found, ["f.toml:1:1: `mailbox`: voicemail is not built yet"]);
    }
}
