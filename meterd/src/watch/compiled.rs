//! Compiled price tables, kept: what a text was read to, so that the next start need not read it again.
//!
//! A cache and nothing more. Its files are named after the text and the code that read it; one that is missing, cut,
//! changed, of another text or of another build, or that someone else may write, is as good as none, and the text is read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use pricing::PriceTable;
use pricing::document::{Place, Problem};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How a file begins.
const MAGIC: &[u8; 16] = b"meterd compiled\n";
/// Digest of the sources that read and compile tables, and of the built-in ones: another build's files are never read.
const BUILD: &str = env!("METERD_PRICING_SOURCES");
/// Magic, key and checksum.
const HEADER_BYTES: usize = 16 + 32 + 32;
/// Under what something is kept.
pub(super) type CacheKey = [u8; 32];
/// The largest file; a table whose form is larger is read anew each time.
const FILE_BYTES_MAX: u64 = 67_108_864;
/// All files together; beyond, the oldest go.
const ALL_BYTES_MAX: u64 = 268_435_456;
/// And their number.
const FILES_MAX: usize = 2_048;

/// What one text holds: its tables where they stood, and warnings.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Compiled {
    pub(super) tables: Vec<(PriceTable, Place)>,
    pub(super) problems: Vec<Problem>,
}

/// The same, to be written: the order of the fields is that of [`Compiled`].
#[derive(Serialize)]
pub(super) struct ToCompile<'a> {
    pub(super) tables: &'a [(PriceTable, Place)],
    pub(super) problems: &'a [Problem],
}

/// A folder of compiled price tables, or none.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    dir: Option<PathBuf>,
}

impl Cache {
    /// Nothing is kept.
    #[must_use]
    pub const fn none() -> Self {
        Self { dir: None }
    }

    /// Kept in this folder, which is made when there is something to keep.
    #[must_use]
    pub const fn at(dir: PathBuf) -> Self {
        Self { dir: Some(dir) }
    }

    /// Kept for this user: `meterd/prices` in `XDG_CACHE_HOME`, or in `.cache` of the home folder.
    #[must_use]
    pub fn of_user() -> Self {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        Self { dir: base.map(|base| base.join("meterd/prices")) }
    }

    /// The key of a text.
    pub(super) fn key(&self, text: &str) -> CacheKey {
        self.key_of(b"", text)
    }

    /// The key of a text that is built in, and named so.
    pub(super) fn key_of_built_in(&self, file: &Path) -> CacheKey {
        self.key_of(b"built-in\n", &file.to_string_lossy())
    }

    fn key_of(&self, kind: &[u8], text: &str) -> CacheKey {
        let mut hash = Sha256::new();
        // Without a cache nobody asks for it.
        if self.dir.is_some() {
            [&MAGIC[..], BUILD.as_bytes(), kind, text.as_bytes()].iter().for_each(|part| hash.update(part));
        }
        hash.finalize().into()
    }

    /// What was kept under a key; `buffer` is used for its bytes.
    pub(super) fn get(&self, key: &CacheKey, buffer: &mut Vec<u8>) -> Option<Compiled> {
        let dir = self.dir.as_ref()?;
        read(&dir.join(name(key)), buffer)?;
        let (head, payload) = buffer.split_at_checked(HEADER_BYTES)?;
        (head == header(key, payload)).then_some(())?;
        let (compiled, rest) = postcard::take_from_bytes(payload).ok()?;
        rest.is_empty().then_some(compiled)
    }

    /// Keeps under a key what a text was read to. Not to be able to is no error: the text can be read again.
    pub(super) fn put(&self, key: &CacheKey, compiled: &ToCompile<'_>) {
        let Some(dir) = &self.dir else { return };
        let kept = write(dir, key, compiled);
        if let Err(error) = kept {
            tracing::debug!(dir = %dir.display(), %error, "compiled price tables are not kept");
        }
    }
}

fn name(key: &[u8; 32]) -> String {
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.bin")
}

fn header(key: &[u8; 32], payload: &[u8]) -> Vec<u8> {
    let checksum: [u8; 32] = Sha256::digest(payload).into();
    [&MAGIC[..], key, &checksum].concat()
}

/// A file of this user's that nobody else may write.
fn read(path: &Path, bytes: &mut Vec<u8>) -> Option<()> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).ok()?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let meta = file.metadata().ok()?;
    let is_ours = meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if !is_ours || !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return None;
    }
    bytes.clear();
    bytes.reserve_exact(usize::try_from(meta.len()).ok()?);
    file.take(FILE_BYTES_MAX).read_to_end(bytes).ok()?;
    Some(())
}

/// Whole or not at all: written beside and renamed. Not synced, as the checksum tells what a crash left.
fn write(dir: &Path, key: &[u8; 32], compiled: &ToCompile<'_>) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let payload = postcard::to_allocvec(compiled).map_err(io::Error::other)?;
    let bytes = [header(key, &payload), payload].concat();
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    make_room(dir, bytes.len() as u64)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let beside = dir.join(format!("{}.{number}.new", std::process::id()));
    let put = || -> io::Result<()> {
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        fs::rename(&beside, dir.join(name(key)))
    };
    put().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// Removes the oldest files until one more of that size fits.
fn make_room(dir: &Path, bytes: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_file() {
            files.push((meta.modified()?, meta.len(), entry.path()));
        }
    }
    files.sort();
    let mut all: u64 = files.iter().map(|(_, len, _)| len).sum();
    let mut count = files.len();
    for (_, len, path) in &files {
        if all.saturating_add(bytes) <= ALL_BYTES_MAX && count < FILES_MAX {
            break;
        }
        fs::remove_file(path)?;
        all = all.saturating_sub(*len);
        count -= 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
