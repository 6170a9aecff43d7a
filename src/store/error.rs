//! What can go wrong at the door.

use model::{StoreError, StoreOp};
use std::fmt;
use std::path::PathBuf;

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The URL names no store.
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file or its directory cannot be made or reached.
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        why: std::io::Error,
    },
    /// The database cannot be used.
    Database {
        /// Which.
        path: PathBuf,
        /// What kind of failure.
        kind: StoreError,
        /// What the engine said.
        detail: String,
    },
    /// The store's thread could not be started.
    Thread {
        /// What the operating system said.
        why: std::io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Url { url, problem } => write!(
                f,
                "store url {url:?}: {problem}; expected sqlite:///absolute/path, sqlite:relative/path or memory:"
            ),
            OpenError::File { path, why } => write!(f, "store {}: {why}", path.display()),
            OpenError::Database { path, kind, detail } => write!(f, "store {}: {kind}: {detail}", path.display()),
            OpenError::Thread { why } => write!(f, "store: its thread did not start: {why}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::File { why, .. } | OpenError::Thread { why } => Some(why),
            OpenError::Url { .. } | OpenError::Database { .. } => None,
        }
    }
}

/// An operation that was not queued.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The operation, given back.
    pub op: StoreOp,
    /// Why: [`StoreError::Busy`] or [`StoreError::Io`].
    pub why: StoreError,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl std::error::Error for Refused {}
