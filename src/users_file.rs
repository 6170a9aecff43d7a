//! Edits users.toml for `tandem user`: comments stay, passwords are kept as HA1 only, and the file is whole at every moment.

use crate::config::{Config, Problem, Source, ha1};
use crate::config_users::wrong_extension;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use switch::config::Algorithm;
use toml_edit::{DocumentMut, Item, Table, value};

/// users.toml, read for editing.
pub struct UsersFile {
    source: Source,
    path: PathBuf,
    document: DocumentMut,
    /// What the configuration was before the edit, as far as it could be read.
    config: Config,
    problems: usize,
}

/// Why an edit was refused; nothing was changed.
#[derive(Debug)]
pub enum Refused {
    /// It makes no sense, in words.
    No(String),
    /// The configuration would have more problems than before.
    Problems(Vec<Problem>),
    /// The file could not be read or written.
    Io(PathBuf, io::Error),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::No(why) => f.write_str(why),
            Refused::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Refused::Problems(problems) => {
                problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))?;
                f.write_str("nothing was changed")
            }
        }
    }
}

impl std::error::Error for Refused {}

impl UsersFile {
    /// Reads the file beside the rest of its configuration, which may have problems of its own.
    ///
    /// # Errors
    /// The configuration cannot be read at all, or users.toml is no TOML.
    pub fn open(source: &Source) -> Result<UsersFile, Refused> {
        let path = source.directory.join("users.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Refused::Io(path, error)),
        };
        let (config, problems) = source.read(None);
        let document = text.parse().ok().zip(config);
        let Some((document, config)) = document else {
            return Err(Refused::Problems(problems));
        };
        let (source, problems) = (source.clone(), problems.len());
        Ok(UsersFile {
            source,
            path,
            document,
            config,
            problems,
        })
    }

    /// Adds a user at the end of the file.
    ///
    /// # Errors
    /// There is one already, or the name or a role makes no sense.
    pub fn add(&mut self, extension: &str, name: &str, roles: &[String], password: &str) -> Result<(), Refused> {
        if let Some(wrong) = wrong_extension(extension) {
            return Err(Refused::No(wrong));
        }
        if self.document.contains_key(extension) {
            return Err(Refused::No(format!(
                "there is a user {extension} already; `tandem user passwd` sets a password"
            )));
        }
        let mut table = Table::new();
        table
            .decor_mut()
            .set_prefix(if self.document.is_empty() { "" } else { "\n" });
        if !name.is_empty() {
            table.insert("name", value(name));
        }
        if !roles.is_empty() {
            table.insert("roles", value(roles.iter().collect::<toml_edit::Array>()));
        }
        self.document.insert(extension, Item::Table(table));
        self.passwd(extension, password)
    }

    /// Replaces the password, or what stood for it, by the HA1s of a new one.
    ///
    /// # Errors
    /// There is no such user.
    pub fn passwd(&mut self, extension: &str, password: &str) -> Result<(), Refused> {
        if password.is_empty() || password.chars().any(char::is_control) {
            return Err(Refused::No(
                "a password must have characters, and no control characters".to_owned(),
            ));
        }
        let realm = self.config.switch.security.realm.clone();
        let table = self.table(extension)?;
        let old = ["password", "ha1_md5", "ha1_sha256"].map(|key| table.remove_entry(key));
        let comment = old
            .iter()
            .flatten()
            .find_map(|(key, _)| key.leaf_decor().prefix().cloned());
        for (key, algorithm) in [("ha1_md5", Algorithm::Md5), ("ha1_sha256", Algorithm::Sha256)] {
            table.insert(key, value(ha1(algorithm, extension, &realm, password)));
        }
        if let Some((mut key, comment)) = table.key_mut("ha1_md5").zip(comment) {
            key.leaf_decor_mut().set_prefix(comment);
        }
        Ok(())
    }

    /// Removes a user and the comment directly above; other comments stay.
    ///
    /// # Errors
    /// There is no such user.
    pub fn remove(&mut self, extension: &str) -> Result<(), Refused> {
        let above = self
            .table(extension)?
            .decor()
            .prefix()
            .and_then(|prefix| prefix.as_str())
            .unwrap_or_default();
        let kept = above
            .rfind("\n\n")
            .map(|end| above[..end + 2].trim_start_matches('\n').to_owned())
            .unwrap_or_default();
        let order: Vec<String> = self.document.iter().map(|(name, _)| name.to_owned()).collect();
        let next = order.iter().skip_while(|name| *name != extension).nth(1);
        self.document.remove(extension);
        match next
            .and_then(|next| self.document.get_mut(next))
            .and_then(Item::as_table_mut)
        {
            Some(next) => put_before(next.decor_mut(), &kept),
            None if kept.is_empty() => {}
            None => {
                let after = self.document.trailing().as_str().unwrap_or_default().to_owned();
                self.document.set_trailing(format!("\n{kept}{after}"));
            }
        }
        Ok(())
    }

    /// Checks the whole configuration with the edit in it, and puts the new file in the place of the old one.
    ///
    /// # Errors
    /// There would be more problems than before; the file cannot be written.
    pub fn save(self) -> Result<(), Refused> {
        let text = self.document.to_string();
        let (_, problems) = self.source.read(Some(&text));
        if problems.len() > self.problems {
            return Err(Refused::Problems(problems));
        }
        replace(&self.path, &text).map_err(|error| Refused::Io(self.path, error))
    }

    fn table(&mut self, extension: &str) -> Result<&mut Table, Refused> {
        let none = || Refused::No(format!("no user {extension:?} in users.toml"));
        self.document
            .get_mut(extension)
            .and_then(Item::as_table_mut)
            .ok_or_else(none)
    }
}

fn put_before(decor: &mut toml_edit::Decor, kept: &str) {
    let own = decor.prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let prefix = match kept {
        "" => own.to_owned(),
        _ => format!("{kept}{}", own.trim_start_matches('\n')),
    };
    decor.set_prefix(prefix);
}

/// Writes beside the old file and renames: whoever reads sees the old text or the new one. Owner and mode stay; a new file
/// is for its owner only.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("toml.new");
    let mut file = File::create(&new)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    if let Ok(old) = std::fs::metadata(path) {
        // Only root may give a file away; anybody else is its owner already.
        let _ = chown(&new, Some(old.uid()), Some(old.gid()));
        file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCH: &str = "domain = \"127.0.0.1\"\n[[listen]]\nurl = \"udp://127.0.0.1:5060\"\n";
    const USERS: &str = "\
# The people.

# Alice's phone
[1000]
name = \"Alice\" # the boss
# given by letter
password = \"old\"
im = false

[1001]
password = \"other\"
# the end
";

    struct Subject(tempfile::TempDir);

    impl Subject {
        fn new(users: &str) -> Subject {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("switch.toml"), SWITCH).unwrap();
            std::fs::write(directory.path().join("users.toml"), users).unwrap();
            Subject(directory)
        }

        fn source(&self) -> Source {
            Source::new(Some(self.0.path().to_owned()), Vec::new())
        }

        fn edit(&self, edit: impl FnOnce(&mut UsersFile) -> Result<(), Refused>) -> Result<(), Refused> {
            let mut file = UsersFile::open(&self.source())?;
            edit(&mut file)?;
            file.save()
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.0.path().join("users.toml")).unwrap()
        }
    }

    #[test]
    fn a_new_password_leaves_everything_else_as_it_was() {
        let s = Subject::new(USERS);
        s.edit(|file| file.passwd("1000", "new")).unwrap();
        let md5 = ha1(Algorithm::Md5, "1000", "127.0.0.1", "new");
        let sha256 = ha1(Algorithm::Sha256, "1000", "127.0.0.1", "new");
        let now = s.text();
        assert!(!now.contains("old") && !now.contains("new"), "{now}");
        let hashes = format!("# given by letter\nha1_md5 = \"{md5}\"\nha1_sha256 = \"{sha256}\"\n");
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(
            lines(&now),
            lines(&USERS.replace("# given by letter\npassword = \"old\"\n", &hashes))
        );
        assert!(
            now.contains(&format!("# given by letter\nha1_md5 = \"{md5}\"")),
            "{now}"
        );
        let user = &s.source().load().unwrap().switch.users[0];
        assert_eq!(user.ha1_sha256.as_deref(), Some(sha256.as_str()));
    }

    #[test]
    fn a_new_user_comes_last_and_works() {
        let s = Subject::new(USERS);
        s.edit(|file| file.add("1042", "Ada \"L\"", &["admin".to_owned()], "secret"))
            .unwrap();
        assert!(
            s.text().starts_with(USERS.trim_end_matches("# the end\n")),
            "{}",
            s.text()
        );
        let config = s.source().load().unwrap();
        let user = &config.switch.users[2];
        assert_eq!(
            (user.aor.user(), &*user.name, user.roles.len()),
            ("1042", "Ada \"L\"", 1)
        );
    }

    #[test]
    fn a_removed_user_takes_only_their_own_comment_along() {
        let s = Subject::new(USERS);
        s.edit(|file| file.remove("1000")).unwrap();
        assert_eq!(s.text(), "# The people.\n\n[1001]\npassword = \"other\"\n# the end\n");
        s.edit(|file| file.remove("1001")).unwrap();
        assert!(s.text().contains("# The people."), "{}", s.text());
        assert!(s.source().load().unwrap().switch.users.is_empty());
    }

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        let s = Subject::new(USERS);
        assert!(s.edit(|file| file.add("1000", "", &[], "x")).is_err());
        assert!(s.edit(|file| file.add("10 00", "", &[], "x")).is_err());
        assert!(s.edit(|file| file.add("1042", "", &["boss".to_owned()], "x")).is_err());
        assert!(s.edit(|file| file.add("1042", "", &[], "")).is_err());
        assert!(s.edit(|file| file.passwd("1042", "x")).is_err());
        assert!(s.edit(|file| file.remove("1042")).is_err());
        assert_eq!(s.text(), USERS);
    }

    #[test]
    fn a_configuration_with_problems_can_still_be_mended() {
        let s = Subject::new("[1000]\npassword = \"demo-1000\"\n[1001]\npassword = \"demo-1001\"\n");
        let open = SWITCH.replace("127.0.0.1:5060", "192.0.2.1:5060");
        std::fs::write(s.0.path().join("switch.toml"), open).unwrap();
        assert!(s.source().load().is_err());
        s.edit(|file| file.passwd("1000", "own")).unwrap();
        s.edit(|file| file.remove("1001")).unwrap();
        assert!(s.source().load().is_ok());
    }

    #[test]
    fn mode_stays_and_a_new_file_is_private() {
        let s = Subject::new(USERS);
        let path = s.0.path().join("users.toml");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        s.edit(|file| file.remove("1001")).unwrap();
        assert_eq!(mode(), 0o640);
        std::fs::remove_file(&path).unwrap();
        s.edit(|file| file.add("1042", "", &[], "x")).unwrap();
        assert_eq!(mode(), 0o600);
    }
}
