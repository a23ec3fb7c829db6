//! Lists the seed price tables of `pricing/tables`, so that `config::seed` can embed them, and names the sources of
//! `pricing`, so that tables compiled by other code are never taken for its own. Writes to OUT_DIR only.

use std::error::Error;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let tables = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../pricing/tables");
    // Cargo looks at the folder's own time for added and removed files, and at each file's for changes.
    println!("cargo::rerun-if-changed={}", tables.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files: Vec<PathBuf> = Vec::new();
    if tables.is_dir() {
        for entry in fs::read_dir(&tables)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    println!("cargo::rustc-env=METERD_PRICING_SOURCES={:016x}", sources()?);
    let mut list = "&[\n".to_owned();
    for path in &files {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a table's file name is not UTF-8")?;
        let whole = path.canonicalize()?;
        writeln!(list, "    ({name:?}, include_str!({:?})),", whole.to_str().ok_or("the path is not UTF-8")?)?;
    }
    list.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("seed_tables.rs"), list)?;
    Ok(())
}

/// A hash of every source file of `pricing`, of its tables, and of the libraries' versions. Not against malice: against forgetting.
fn sources() -> Result<u64, Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("..");
    let (mut folders, mut files) =
        (vec![root.join("pricing/src"), root.join("pricing/tables")], vec![root.join("Cargo.lock")]);
    while let Some(folder) = folders.pop() {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files.iter().filter(|file| file.exists()) {
        println!("cargo::rerun-if-changed={}", file.display());
        file.strip_prefix(&root)?.hash(&mut hasher);
        fs::read(file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
