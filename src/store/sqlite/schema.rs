//! How a database of any age comes to the present schema.

use super::database_error;
use super::failure::kind_of;
use crate::OpenError;
use model::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// `MIGRATIONS[n]` makes version n + 1 of version n; `PRAGMA user_version` says which a file has.
const MIGRATIONS: [&str; 9] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
];

/// `PRAGMA application_id` of our files: "TNDM".
const APPLICATION_ID: i32 = 0x544e_444d;

/// Runs what is missing, all or nothing.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let refused = |detail: String| database_error(path, StoreError::Conflict, detail);
    let failed = |why: rusqlite::Error| database_error(path, kind_of(&why), why.to_string());
    let version = version(connection).map_err(failed)?;
    if version > MIGRATIONS.len() {
        return Err(refused(format!(
            "it has schema {version}, this program knows {}",
            MIGRATIONS.len()
        )));
    }
    if is_foreign(connection).map_err(failed)? {
        return Err(refused("it is a database of another program".to_owned()));
    }
    migrate_from(connection, version).map_err(failed)
}

fn migrate_from(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    if version == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in &MIGRATIONS[version..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Whether the file has tables but not our mark.
fn is_foreign(connection: &Connection) -> rusqlite::Result<bool> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    Ok(tables > 0 && id != APPLICATION_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(connection: &Connection) -> Vec<(String, String)> {
        let mut statement = connection
            .prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")
            .unwrap();
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// A database as the program of `version` left it.
    fn old(version: usize) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        if version > 0 {
            MIGRATIONS[..version]
                .iter()
                .for_each(|sql| connection.execute_batch(sql).unwrap());
            connection
                .pragma_update(None, "application_id", APPLICATION_ID)
                .unwrap();
            connection.pragma_update(None, "user_version", version as i64).unwrap();
        }
        connection
    }

    #[test]
    fn every_old_version_comes_to_the_present_schema() {
        let present = schema(&old(MIGRATIONS.len()));
        assert!(present.iter().any(|(name, _)| name == "message"));
        for from in 0..=MIGRATIONS.len() {
            let mut connection = old(from);
            migrate(&mut connection, Path::new("x")).unwrap();
            assert_eq!(schema(&connection), present, "from version {from}");
            assert_eq!(version(&connection).unwrap(), MIGRATIONS.len());
        }
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let mut connection = old(MIGRATIONS.len());
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection, Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("it has schema 99"), "{error}");
    }

    #[test]
    fn a_database_of_another_program_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
        let error = migrate(&mut connection, Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("another program"), "{error}");
        assert_eq!(schema(&connection).len(), 1);
    }
}
