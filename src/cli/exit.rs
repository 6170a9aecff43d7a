//! How a command ends, for scripts.

/// Exit codes of `tandem`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: refused, or something is wrong; it stands on stderr.
    Refused,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: no server answers.
    NoServer,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> std::process::ExitCode {
        std::process::ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::NoServer => 3,
        })
    }
}
