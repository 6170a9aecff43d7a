//! What SQLite says, in the store's words.

use model::StoreError;
use rusqlite::{Error, ErrorCode};

/// The kind of a failure. SQLite itself turns ENOSPC of a write into "full".
pub(super) fn kind_of(error: &Error) -> StoreError {
    match error {
        Error::SqliteFailure(failure, _) => of_code(failure.code),
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => StoreError::Corrupt,
        Error::ToSqlConversionFailure(_) => StoreError::Conflict,
        _ => StoreError::Io,
    }
}

fn of_code(code: ErrorCode) -> StoreError {
    match code {
        ErrorCode::DiskFull => StoreError::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt,
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => StoreError::Conflict,
        _ => StoreError::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn tells_full_locked_broken_and_corrupt_apart() {
        let kind = |code| kind_of(&Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!(kind(ffi::SQLITE_FULL), StoreError::Full);
        assert_eq!(kind(ffi::SQLITE_BUSY), StoreError::Locked);
        assert_eq!(kind(ffi::SQLITE_BUSY_SNAPSHOT), StoreError::Locked);
        assert_eq!(kind(ffi::SQLITE_LOCKED), StoreError::Locked);
        assert_eq!(kind(ffi::SQLITE_IOERR_FSYNC), StoreError::Io);
        assert_eq!(kind(ffi::SQLITE_IOERR_WRITE), StoreError::Io);
        assert_eq!(kind(ffi::SQLITE_READONLY), StoreError::Io);
        assert_eq!(kind(ffi::SQLITE_CANTOPEN), StoreError::Io);
        assert_eq!(kind(ffi::SQLITE_CORRUPT), StoreError::Corrupt);
        assert_eq!(kind(ffi::SQLITE_NOTADB), StoreError::Corrupt);
        assert_eq!(kind(ffi::SQLITE_CONSTRAINT_PRIMARYKEY), StoreError::Conflict);
    }
}
