//! Lists the seed price tables of `pricing/tables`, so that `config::seed` can embed them. Writes to OUT_DIR only.

use std::error::Error;
use std::fmt::Write as _;
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
