//! Problems with the file they are in, printed as compilers do: `file:line:column: error: message (path)`.

use std::fmt;
use std::path::{Path, PathBuf};

use pricing::document::{Place, Problem, Severity};

/// One problem and where it is: a file, a variable of the environment, or a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The file; `METERD_…` or a flag where the text came from there.
    pub file: PathBuf,
    /// What is wrong. Line 0 means the whole of it.
    pub problem: Problem,
}

impl FileProblem {
    /// An error with a file as a whole.
    #[must_use]
    pub fn of_file(file: &Path, message: impl Into<String>, hint: Option<&str>) -> Self {
        let problem = Problem { hint: hint.map(str::to_owned), ..Problem::error(Place::default(), "", message) };
        Self { file: file.to_owned(), problem }
    }

    /// These problems, all in `file`.
    pub fn in_file(file: &Path, problems: impl IntoIterator<Item = Problem>) -> impl Iterator<Item = Self> {
        problems.into_iter().map(move |problem| Self { file: file.to_owned(), problem })
    }

    /// Is the document refused for it?
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.problem.severity == Severity::Error
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { severity, place, path, message, hint } = &self.problem;
        write!(f, "{}:", self.file.display())?;
        if place.line > 0 {
            write!(f, "{place}:")?;
        }
        write!(f, " {severity}: {message}")?;
        if !path.is_empty() {
            write!(f, " ({path})")?;
        }
        match hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot be used: every error at once. The command line prints it and exits with 78.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Errors and warnings, in the order of their places.
    pub problems: Vec<FileProblem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line = if index == 0 { "" } else { "\n" };
            write!(f, "{line}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
