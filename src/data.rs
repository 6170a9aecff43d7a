//! The data directory: database, secrets and socket, for the owner of the process only.

use crate::config::Data;
use rand::Rng;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A Unix socket's path must fit into `sockaddr_un`.
const MAX_SOCKET_PATH: usize = 107;

/// The directory, made if it was not there.
#[derive(Clone, Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
}

impl DataDirectory {
    pub(crate) fn open(path: &Path) -> io::Result<DataDirectory> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let path = path.canonicalize()?;
        Ok(DataDirectory { path })
    }

    /// `url` of `[store]`, its file placed in this directory if its path is relative.
    pub(crate) fn store_url(&self, url: &str) -> String {
        match url.strip_prefix("sqlite:") {
            Some(file) => format!(
                "sqlite:{}",
                self.path.join(file.strip_prefix("//").unwrap_or(file)).display()
            ),
            None => url.to_owned(),
        }
    }

    /// The key that signs digest nonces: made once, so that challenges given before a restart can be answered after it.
    pub(crate) fn nonce_key(&self) -> io::Result<[u8; 32]> {
        let path = self.path.join("nonce.key");
        match read_key(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&path),
            other => other,
        }
    }

    /// Takes the socket of the command line. A node that lives is left alone; a socket that a dead one left is replaced.
    pub(crate) fn socket(&self) -> io::Result<(PathBuf, UnixListener)> {
        let path = self.path.join(SOCKET);
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            let text = format!(
                "the path of the socket is longer than {MAX_SOCKET_PATH} bytes: choose another [store] directory"
            );
            return Err(io::Error::other(text));
        }
        if UnixStream::connect(&path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another switch runs in this directory",
            ));
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        // Nobody else could come in between: the directory itself is closed to others.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok((path, listener))
    }
}

/// Name of the socket in the data directory.
const SOCKET: &str = "tandem.sock";

/// Where the command line finds the node of this configuration.
#[must_use]
pub fn socket_path(data: &Data) -> PathBuf {
    data.directory.join(SOCKET)
}

fn read_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(33).read_to_end(&mut bytes)?;
    let wrong = |_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "not a key of 32 bytes; remove the file to get a new one",
        )
    };
    bytes.try_into().map_err(wrong)
}

/// Written under another name first: a key is whole or not there.
fn make_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    rand::rng().fill_bytes(&mut key);
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&key)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_key_survives_and_nobody_else_can_read_it() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(&parent.path().join("a/run")).unwrap();
        let key = data.nonce_key().unwrap();
        assert_ne!(key, [0; 32]);
        assert_eq!(data.nonce_key().unwrap(), key);
        assert_eq!(mode(&data.path), 0o700);
        assert_eq!(mode(&data.path.join("nonce.key")), 0o600);
    }

    #[test]
    fn a_damaged_key_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(parent.path()).unwrap();
        for damaged in [31, 33] {
            std::fs::write(data.path.join("nonce.key"), vec![1; damaged]).unwrap();
            assert_eq!(data.nonce_key().unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_socket_is_taken_from_the_dead_but_not_from_the_living() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(parent.path()).unwrap();
        let (path, living) = data.socket().unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(data.socket().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(living);
        data.socket().unwrap();
    }

    #[test]
    fn a_relative_database_lies_in_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(parent.path()).unwrap();
        let here = data.path.display().to_string();
        assert_eq!(data.store_url("sqlite:tandem.db"), format!("sqlite:{here}/tandem.db"));
        assert_eq!(data.store_url("sqlite:/var/t.db"), "sqlite:/var/t.db");
        assert_eq!(data.store_url("sqlite:///var/t.db"), "sqlite:/var/t.db");
        assert_eq!(data.store_url("memory:"), "memory:");
    }
}
