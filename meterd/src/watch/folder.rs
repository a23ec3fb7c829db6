//! The files of a folder, bounded and in order, and a digest of their names and content. Never what they mean.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::{FileProblem, read_bounded};

/// Extensions of documents.
pub const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Most documents in one folder.
pub const FILES_MAX: usize = 1_024;
/// Longest document.
pub const FILE_BYTES_MAX: u64 = 33_554_432;
/// Most entries of any kind that a folder is searched through.
const ENTRIES_MAX: usize = 65_536;

/// The documents of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Path and text of each, sorted by name.
    pub files: Vec<(PathBuf, String)>,
    /// sha256 over names and content: equal digests mean equal folders.
    pub digest: [u8; 32],
}

/// Reads every file of `dir` with one of `extensions`, not below it; names that start with a dot are left out, as
/// Kubernetes keeps its own links there. Every unreadable file is named.
pub fn load_dir(dir: &Path, extensions: &[&str]) -> Result<Loaded, Vec<FileProblem>> {
    let paths = list(dir, extensions).map_err(|problem| vec![problem])?;
    let mut files = Vec::with_capacity(paths.len());
    let mut problems = Vec::new();
    for path in paths {
        match load_file(&path) {
            Ok(text) => files.push((path, text)),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut hash = Sha256::new();
    for (path, text) in &files {
        add(&mut hash, path.file_name().unwrap_or_default().as_encoded_bytes());
        add(&mut hash, text.as_bytes());
    }
    Ok(Loaded { files, digest: hash.finalize().into() })
}

/// The text of one document.
pub fn load_file(path: &Path) -> Result<String, FileProblem> {
    read_bounded(path, FILE_BYTES_MAX)
}

/// A digest of several folders; a folder that cannot be read has the digest of its problems.
pub(super) fn digest_of(dirs: &[PathBuf]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for dir in dirs {
        match load_dir(dir, &EXTENSIONS) {
            Ok(loaded) => add(&mut hash, &loaded.digest),
            Err(problems) => problems.iter().for_each(|problem| add(&mut hash, problem.to_string().as_bytes())),
        }
    }
    hash.finalize().into()
}

/// A digest of single files; one that cannot be read has the digest of its problem.
pub(super) fn digest_of_files(files: &[PathBuf]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for file in files {
        add(&mut hash, file.as_os_str().as_encoded_bytes());
        match load_file(file) {
            Ok(text) => add(&mut hash, text.as_bytes()),
            Err(problem) => add(&mut hash, problem.to_string().as_bytes()),
        }
    }
    hash.finalize().into()
}

/// With its length, so that no two lists of parts run together to the same bytes.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn list(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, FileProblem> {
    let unreadable = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => Some("create the folder, or correct its path"),
            std::io::ErrorKind::NotADirectory => Some("name the folder that holds the file"),
            std::io::ErrorKind::PermissionDenied => Some("give the daemon's user permission to list it"),
            _ => None,
        };
        FileProblem::of_file(dir, format!("the folder cannot be read: {error}"), hint)
    };
    let mut paths = Vec::new();
    for (index, entry) in std::fs::read_dir(dir).map_err(unreadable)?.enumerate() {
        if index >= ENTRIES_MAX {
            return Err(FileProblem::of_file(dir, format!("the folder has more than {ENTRIES_MAX} entries"), None));
        }
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let wanted = path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known));
        // A link that leads nowhere is kept: reading it names the problem.
        if !hidden && wanted && !path.is_dir() {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        let message = format!("the folder has {} documents; at most {FILES_MAX} are read", paths.len());
        return Err(FileProblem::of_file(dir, message, Some("put several documents in one file, divided by ---")));
    }
    paths.sort();
    Ok(paths)
}
