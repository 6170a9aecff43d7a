//! The database as a file: who may read it, and who has it.

use crate::OpenError;
use model::StoreError;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Messages and call records are private: SQLite gives its log the mode of the database.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Makes the file and the directories above it where they are missing, and closes the file to others.
pub(super) fn prepare(path: &Path) -> Result<(), OpenError> {
    make(path).map_err(|why| OpenError::File {
        path: path.to_owned(),
        why,
    })
}

fn make(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)?;
    }
    private().create(true).append(true).open(path)?;
    fs::set_permissions(path, Permissions::from_mode(FILE_MODE))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// Size of the log that a clean end leaves empty or removes; 0 if there is none.
pub(super) fn log_size(path: &Path) -> u64 {
    size(&beside(path, "-wal"))
}

/// Size of a file; 0 if there is none.
pub(super) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Keeps a second switch from the same database: two memories would each think theirs the truth. The system lets go of it
/// with the process, however that ends. It is a file of its own because closing any descriptor of the database would drop
/// SQLite's locks.
pub(super) struct Lock(#[allow(dead_code)] File);

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Lock, OpenError> {
        let name = beside(path, ".lock");
        let file = private().create(true).append(true).open(&name);
        let file = file.map_err(|why| OpenError::File {
            path: name.clone(),
            why,
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::Database {
                path: path.to_owned(),
                kind: StoreError::Locked,
                detail: "another process serves from it".to_owned(),
            }),
            Err(TryLockError::Error(why)) => Err(OpenError::File { path: name, why }),
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
