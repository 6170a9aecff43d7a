//! The verbs that need no running switch: `check`, `version`, `user`.

use crate::config::{Config, Problem, Source};
use crate::{Refused, UsersFile, socket_path};
use cli::{Arguments, Exit, Failure, UserVerb};
use rand::Rng;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// What a verb has to say, and how it ends.
pub struct Told {
    /// For stdout; may be empty.
    pub out: String,
    /// For stderr; may be empty.
    pub err: String,
    /// The exit code.
    pub exit: Exit,
}

impl Told {
    /// All went well.
    #[must_use]
    pub fn done(out: impl Into<String>) -> Told {
        Told {
            out: out.into(),
            err: String::new(),
            exit: Exit::Done,
        }
    }

    /// It did not.
    #[must_use]
    pub fn failed(exit: Exit, err: impl std::fmt::Display) -> Told {
        Told {
            out: String::new(),
            err: err.to_string(),
            exit,
        }
    }
}

/// `tandem version`.
#[must_use]
pub fn version(json: bool) -> Told {
    let version = env!("CARGO_PKG_VERSION");
    Told::done(if json {
        json!({ "version": version }).to_string()
    } else {
        format!("tandem {version}")
    })
}

/// `tandem check`.
#[must_use]
pub fn check(source: &Source, json: bool) -> Told {
    let checked = source.load();
    let exit = if checked.is_ok() { Exit::Done } else { Exit::Refused };
    if json {
        let problems = checked.err().unwrap_or_default();
        let out = json!({ "problems": problems.iter().map(ToString::to_string).collect::<Vec<_>>() }).to_string();
        return Told {
            out,
            err: String::new(),
            exit,
        };
    }
    match checked {
        Ok(config) => Told::done(summary(&config)),
        Err(problems) => Told::failed(exit, lines(&problems)),
    }
}

/// The problems, one on each line.
#[must_use]
pub fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn summary(config: &Config) -> String {
    let (users, rules) = (config.switch.users.len(), config.switch.dialplan.len());
    let directory = config.source.directory.display();
    format!(
        "{directory}: {users} users, {rules} rules in the dial plan, {} listeners; no problems",
        config.listen.len()
    )
}

/// Where the running switch of this command line listens for commands.
///
/// # Errors
/// The configuration, which names the place, cannot be read.
pub fn socket_of(arguments: &Arguments, source: &Source) -> Result<PathBuf, Told> {
    if let Some(socket) = &arguments.socket {
        return Ok(socket.clone());
    }
    match source.read(None) {
        (Some(config), _) => Ok(socket_path(&config.data)),
        (None, problems) => Err(Told::failed(
            Exit::Usage,
            lines(&problems) + "\nor name the socket with --socket",
        )),
    }
}

/// `tandem user ...`: edits users.toml, then has the running switch read it.
#[must_use]
pub fn user(verb: &UserVerb, arguments: &Arguments, source: &Source) -> Told {
    if let UserVerb::List = verb {
        return list(source, arguments.json);
    }
    let edited = edit(verb, source);
    let generated = match edited {
        Ok(generated) => generated,
        Err(refused) => return Told::failed(Exit::Refused, refused),
    };
    let socket = match socket_of(arguments, source) {
        Ok(socket) => socket,
        Err(told) => return told,
    };
    finish(&socket, generated.as_deref(), arguments.json)
}

fn list(source: &Source, json: bool) -> Told {
    let (Some(config), _) = source.read(None) else {
        return check(source, json);
    };
    let roles = |user: &switch::config::User| -> Vec<String> {
        user.roles
            .iter()
            .map(|role| format!("{role:?}").to_lowercase())
            .collect()
    };
    let users = &config.switch.users;
    if json {
        let user = |u: &switch::config::User| json!({ "extension": u.aor.user(), "name": u.name, "roles": roles(u) });
        return Told::done(json!({ "users": users.iter().map(user).collect::<Vec<_>>() }).to_string());
    }
    let line = |u: &switch::config::User| format!("{:10} {:24} {}", u.aor.user(), u.name, roles(u).join(" "));
    Told::done(
        users
            .iter()
            .map(|user| line(user).trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

/// Changes the file; gives the password that was made up, if one was.
fn edit(verb: &UserVerb, source: &Source) -> Result<Option<String>, Refused> {
    let mut file = UsersFile::open(source)?;
    let generated = match verb {
        UserVerb::List => None,
        UserVerb::Remove { extension } => {
            file.remove(extension)?;
            None
        }
        UserVerb::Add {
            extension,
            name,
            roles,
            generate,
        } => {
            let (password, generated) = password(*generate)?;
            file.add(extension, name.as_deref().unwrap_or_default(), roles, &password)?;
            generated
        }
        UserVerb::Passwd { extension, generate } => {
            let (password, generated) = password(*generate)?;
            file.passwd(extension, &password)?;
            generated
        }
    };
    file.save()?;
    Ok(generated)
}

fn finish(socket: &Path, generated: Option<&str>, json: bool) -> Told {
    let (applied, note) = match cli::reload(socket) {
        Ok(changed) => (true, changed),
        Err(Failure::NoServer(_)) => (false, "no switch is running; the next one will use it".to_owned()),
        Err(refused) => return Told::failed(Exit::Refused, refused),
    };
    if json {
        return Told::done(json!({ "done": 1, "applied": applied, "password": generated }).to_string());
    }
    let password = generated
        .map(|password| format!("password: {password}\n"))
        .unwrap_or_default();
    Told::done(password + &note)
}

/// A password, and the same once more if it was made up here and must be shown.
fn password(generate: bool) -> Result<(String, Option<String>), Refused> {
    if generate {
        let made = made_up();
        return Ok((made.clone(), Some(made)));
    }
    let read = ask_password().map_err(|error| Refused::Io("standard input".into(), error))?;
    Ok((read, None))
}

/// 80 bits in letters and digits that cannot be mistaken for each other.
fn made_up() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    rand::rng().fill_bytes(&mut random);
    random
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}

/// One line of standard input; a terminal is asked, and does not show what is typed.
fn ask_password() -> io::Result<String> {
    let stdin = io::stdin();
    let hidden = stdin.is_terminal().then(Hidden::start).transpose()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    drop(hidden);
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(rustix::termios::Termios);

impl Hidden {
    fn start() -> io::Result<Hidden> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        let mut stderr = io::stderr();
        write!(stderr, "password: ")?;
        stderr.flush()?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        let _ = writeln!(io::stderr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_passwords_are_long_and_differ() {
        let (one, other) = (made_up(), made_up());
        assert_eq!(one.len(), 16);
        assert_ne!(one, other);
    }

    #[test]
    fn check_says_all_is_well_or_what_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::new(Some(directory.path().to_owned()), Vec::new());
        let told = check(&source, false);
        assert_eq!(told.exit, Exit::Refused);
        assert!(told.err.ends_with("switch.toml: is missing"), "{}", told.err);
        let text = "domain = \"a\"\n[[listen]]\nurl = \"udp://127.0.0.1:5060\"\n";
        std::fs::write(directory.path().join("switch.toml"), text).unwrap();
        let told = check(&source, false);
        assert_eq!(told.exit, Exit::Done);
        assert!(
            told.out
                .ends_with("0 users, 0 rules in the dial plan, 1 listeners; no problems"),
            "{}",
            told.out
        );
        assert_eq!(check(&source, true).out, "{\"problems\":[]}");
    }
}
