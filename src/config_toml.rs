//! The only file that knows TOML: turns a file into values that remember where they stood, and lays `--set KEY=VALUE`
//! over them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a value came from, as a problem report names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A place in a file; line and column count from 1, the column in characters.
    At {
        /// The file as the operator named it.
        file: Arc<str>,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A file as a whole.
    File(Arc<str>),
    /// `--set` with this key.
    Set(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::At { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::File(file) => f.write_str(file),
            Place::Set(key) => write!(f, "--set {key}"),
        }
    }
}

/// One thing that is wrong, shown as `file:line:column: problem`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what was expected.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A value and where it stood.
#[derive(Clone, Debug)]
pub struct Value {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// The kinds of value that a setting can have. Dates have no use here and count as `Other`.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Value>),
    Table(Table),
    Other,
}

impl Kind {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Text(_) => "a text",
            Kind::Integer(_) => "a whole number",
            Kind::Boolean(_) => "true or false",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::Other => "a fraction or date",
        }
    }
}

/// Keys with their values and the places of both.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) place: Place,
    pub(crate) entries: BTreeMap<String, (Place, Value)>,
}

impl Table {
    pub(crate) fn empty(place: Place) -> Table {
        let entries = BTreeMap::new();
        Table { place, entries }
    }
}

/// Reads one file's text. All syntax errors are reported; what could be read is returned beside them.
pub(crate) fn parse(file: &Arc<str>, text: &str, problems: &mut Vec<Problem>) -> Table {
    let source = Source::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    problems.extend(errors.iter().map(|e| source.problem(e)));
    source.table(table.get_ref(), Place::File(file.clone()))
}

/// A file's text, to turn byte offsets into lines and columns.
struct Source<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    /// Where each line begins: a file of a million users has ten million places.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(file: &'a Arc<str>, text: &'a str) -> Source<'a> {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Source { file, text, lines }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let at = span.start.min(self.text.len());
        let line = self.lines.partition_point(|begin| *begin <= at);
        let begin = self.lines[line - 1];
        Place::At {
            file: self.file.clone(),
            line,
            column: self.text.get(begin..at).map_or(0, |before| before.chars().count()) + 1,
        }
    }

    fn problem(&self, error: &toml::de::Error) -> Problem {
        let end = self.text.len()..self.text.len();
        Problem {
            place: self.place(&error.span().unwrap_or(end)),
            text: error.message().to_owned(),
        }
    }

    fn table(&self, table: &DeTable<'_>, place: Place) -> Table {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            (name.to_string(), (self.place(&key.span()), self.value(value)))
        };
        let entries = table.iter().map(entry).collect();
        Table { place, entries }
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        let place = self.place(&value.span());
        let kind = match value.get_ref() {
            DeValue::String(text) => Kind::Text(text.to_string()),
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).map_or(Kind::Other, Kind::Integer),
            DeValue::Boolean(b) => Kind::Boolean(*b),
            DeValue::Array(items) => Kind::List(items.iter().map(|item| self.value(item)).collect()),
            DeValue::Table(table) => Kind::Table(self.table(table, place.clone())),
            DeValue::Float(_) | DeValue::Datetime(_) => Kind::Other,
        };
        Value { place, kind }
    }
}

/// Lays `value` over `path` in `table`: tables on the way are made, a list of tables is replaced as a whole. The value is
/// read as TOML where it is TOML, and is a plain text otherwise, so that `switch.http.listen=127.0.0.1:0` needs no quotes.
pub(crate) fn set(table: &mut Table, path: &[&str], value: &str, key: &Arc<str>) -> Result<(), Problem> {
    let place = Place::Set(key.clone());
    let [first, rest @ ..] = path else {
        let text = "names a file but no key in it".to_owned();
        return Err(Problem { place, text });
    };
    if rest.is_empty() {
        let value = value_of_set(value, &place);
        table.entries.insert((*first).to_owned(), (place, value));
        return Ok(());
    }
    let new = || {
        let kind = Kind::Table(Table::empty(place.clone()));
        (
            place.clone(),
            Value {
                place: place.clone(),
                kind,
            },
        )
    };
    let (_, inner) = table.entries.entry((*first).to_owned()).or_insert_with(new);
    match &mut inner.kind {
        Kind::Table(inner) => set(inner, rest, value, key),
        _ => Err(Problem {
            place,
            text: format!("`{first}` is not a table"),
        }),
    }
}

fn value_of_set(text: &str, place: &Place) -> Value {
    let (parsed, errors) = DeValue::parse_recoverable(text);
    let file: Arc<str> = "--set".into();
    let mut value = Source::new(&file, text).value(&parsed);
    if !errors.is_empty() || matches!(value.kind, Kind::Other) {
        value.kind = Kind::Text(text.to_owned());
    }
    replace_places(&mut value, place);
    value
}

fn replace_places(value: &mut Value, place: &Place) {
    value.place = place.clone();
    match &mut value.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| replace_places(item, place)),
        Kind::Table(table) => {
            table.place = place.clone();
            for (key_place, item) in table.entries.values_mut() {
                *key_place = place.clone();
                replace_places(item, place);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Table, Vec<String>) {
        let mut problems = Vec::new();
        let table = parse(&"f.toml".into(), text, &mut problems);
        (table, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_remember_line_and_column_in_characters() {
        let (table, problems) = parsed("a = 1\n['é'.b]\n  \"ü\" = { c = [true, 'x'] }\n");
        assert_eq!(problems, Vec::<String>::new());
        let Kind::Table(inner) = &table.entries["é"].1.kind else {
            panic!()
        };
        let Kind::Table(inner) = &inner.entries["b"].1.kind else {
            panic!()
        };
        assert_eq!(inner.entries["ü"].0.to_string(), "f.toml:3:3");
        let Kind::Table(inner) = &inner.entries["ü"].1.kind else {
            panic!()
        };
        let Kind::List(items) = &inner.entries["c"].1.kind else {
            panic!()
        };
        assert_eq!(items[1].place.to_string(), "f.toml:3:22");
    }

    #[test]
    fn reports_every_syntax_error_with_its_place() {
        let (_, mut problems) = parsed("a = \nb = 1\nc = [1,\n");
        problems.sort();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("f.toml:1:"), "{problems:?}");
        assert!(problems[1].starts_with("f.toml:3:"), "{problems:?}");
    }

    #[test]
    fn a_set_value_is_toml_or_else_text() {
        let key: Arc<str> = "switch.x.y".into();
        let kind = |text: &str| {
            let mut table = Table::empty(Place::File("f".into()));
            set(&mut table, &["x", "y"], text, &key).unwrap();
            let Kind::Table(inner) = &table.entries["x"].1.kind else {
                panic!()
            };
            format!("{:?}", inner.entries["y"].1.kind)
        };
        assert_eq!(kind("7"), "Integer(7)");
        assert_eq!(kind("false"), "Boolean(false)");
        assert_eq!(kind("127.0.0.1:0"), "Text(\"127.0.0.1:0\")");
        assert_eq!(kind("1979-05-27"), "Text(\"1979-05-27\")");
        assert_eq!(kind("\"7\""), "Text(\"7\")");
    }

    #[test]
    fn a_set_below_something_that_is_no_table_is_refused() {
        let (mut table, _) = parsed("a = 1\n");
        let refused = set(&mut table, &["a", "b"], "1", &"switch.a.b".into()).unwrap_err();
        assert_eq!(refused.to_string(), "--set switch.a.b: `a` is not a table");
    }
}
