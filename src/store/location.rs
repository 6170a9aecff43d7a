//! Where a store is: the `[store] url` of switch.toml.

use crate::backend::Backend;
use crate::memory::{Memory, Shared};
use crate::sqlite::Sqlite;
use crate::{OpenError, Reader, sqlite};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A parsed store URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A database file.
    Sqlite(PathBuf),
    /// Nothing outlives the process.
    Memory,
}

impl Location {
    pub(crate) fn open(&self, memory: &Shared) -> Result<Box<dyn Backend>, OpenError> {
        Ok(match self {
            Location::Sqlite(path) => Box::new(Sqlite::open(path)?),
            Location::Memory => Box::new(Memory::new(memory.clone())),
        })
    }

    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Location::Sqlite(path) => Some(path),
            Location::Memory => None,
        }
    }

    pub(crate) fn reader(&self, memory: &Shared) -> Result<Reader, OpenError> {
        Ok(Reader::new(match self {
            Location::Sqlite(path) => Box::new(sqlite::SqliteReader::open(path)?),
            Location::Memory => Box::new(memory.clone()),
        }))
    }
}

impl FromStr for Location {
    type Err = OpenError;

    fn from_str(url: &str) -> Result<Location, OpenError> {
        let wrong = |problem| OpenError::Url {
            url: url.to_owned(),
            problem,
        };
        let (scheme, rest) = url.split_once(':').ok_or_else(|| wrong("it has no scheme"))?;
        match (scheme, rest) {
            ("memory", "") => Ok(Location::Memory),
            ("memory", _) => Err(wrong("nothing may follow memory:")),
            ("sqlite", path) => sqlite_path(path).map(Location::Sqlite).map_err(wrong),
            _ => Err(wrong("unknown scheme")),
        }
    }
}

/// The path is made absolute, so that no name is special to SQLite (`:memory:`, `file:...`) and a later change of the working
/// directory moves nothing.
fn sqlite_path(text: &str) -> Result<PathBuf, &'static str> {
    let path = match text.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => return Err("a host has no meaning here"),
        Some(path) => path,
        None => text,
    };
    if path.is_empty() || path.ends_with('/') {
        return Err("the path names no file");
    }
    std::path::absolute(path).map_err(|_| "the working directory cannot be found")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(url: &str) -> PathBuf {
        match url.parse().unwrap() {
            Location::Sqlite(path) => path,
            Location::Memory => panic!("{url} is no file"),
        }
    }

    #[test]
    fn reads_the_three_forms() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            path("sqlite:///var/lib/tandem/t.db"),
            PathBuf::from("/var/lib/tandem/t.db")
        );
        assert_eq!(path("sqlite:/var/t.db"), PathBuf::from("/var/t.db"));
        assert_eq!(path("sqlite:run/t.db"), here.join("run/t.db"));
        assert_eq!("memory:".parse::<Location>().unwrap(), Location::Memory);
    }

    #[test]
    fn a_name_special_to_sqlite_is_an_ordinary_file() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(path("sqlite::memory:"), here.join(":memory:"));
        assert_eq!(path("sqlite:file:x?mode=memory"), here.join("file:x?mode=memory"));
    }

    #[test]
    fn says_what_is_wrong_with_other_urls() {
        for url in [
            "",
            "tandem.db",
            "mysql://x/y",
            "memory:x",
            "sqlite:",
            "sqlite://",
            "sqlite://host/x",
            "sqlite:///",
            "sqlite:dir/",
        ] {
            let error = url.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains("expected sqlite:///absolute/path"), "{error}");
        }
    }
}
