//! Poisoned, cut, stale and foreign cache files change nothing; good ones are used and private.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::watch::load::load_prices_with;

const TABLE: &str = "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: t }\nspec:\n  version: \"1\"\n  \
    models:\n    - provider: p\n      id: m\n      match: { exact: [m] }\n      rates: [{ set: { input_tokens: \"3\" } }]\n";

/// A folder of tables, one of caches, and the only file in it after one load.
fn kept() -> (tempfile::TempDir, Cache, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tables")).unwrap();
    fs::write(dir.path().join("tables/t.yaml"), TABLE).unwrap();
    let cache = Cache::at(dir.path().join("cache/prices"));
    assert_eq!(load(&dir, &cache), load(&dir, &Cache::none()));
    let file = only_file(&dir);
    (dir, cache, file)
}

fn only_file(dir: &tempfile::TempDir) -> PathBuf {
    let files: Vec<_> =
        fs::read_dir(dir.path().join("cache/prices")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn got(cache: &Cache, text: &str) -> Option<Compiled> {
    cache.get(&cache.key(text), &mut Vec::new())
}

/// The digest, the canonical text and what answers for a model.
fn load(dir: &tempfile::TempDir, cache: &Cache) -> (String, String, String) {
    let (book, warnings) = load_prices_with(&[dir.path().join("tables")], false, cache).unwrap();
    assert_eq!(warnings, Vec::new());
    let table = &book.tables()[0];
    let at = "2026-11-18T10:00:00Z".parse().unwrap();
    let explained = book.explain("p", "m", at, "default", None).unwrap();
    (table.reference().digest.to_string(), table.canonical_json().to_string(), format!("{explained:?}"))
}

#[test]
fn what_was_read_once_is_kept_for_its_owner_and_used() {
    let (dir, cache, file) = kept();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(got(&cache, TABLE).unwrap().tables.len(), 1);
    assert_eq!(load(&dir, &cache), load(&dir, &Cache::none()));
    assert!(got(&cache, &TABLE.replace("\"3\"", "\"4\"")).is_none(), "another text has another key");
}

#[test]
fn a_poisoned_cut_or_stale_file_changes_nothing_and_is_written_anew() {
    let (dir, cache, file) = kept();
    let (good, truth) = (fs::read(&file).unwrap(), load(&dir, &Cache::none()));
    let other = TABLE.replace("\"3\"", "\"0\"");
    let other_dir = tempfile::tempdir().unwrap();
    let free = Cache::at(other_dir.path().to_owned());
    let (table, _) = PriceTable::parse(&other).unwrap();
    let tables: Vec<_> = table.into_iter().map(|table| (table, Place::default())).collect();
    free.put(&free.key(&other), &ToCompile { tables: &tables, problems: &[] });
    let of_another_text = fs::read(fs::read_dir(other_dir.path()).unwrap().next().unwrap().unwrap().path()).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut other_magic = good.clone();
    other_magic[0] ^= 1;
    let bad = [
        Vec::new(),
        good[..HEADER_BYTES - 1].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"x"].concat(),
        flipped,
        other_magic,
        of_another_text,
    ];
    for (number, bytes) in bad.iter().enumerate() {
        fs::write(&file, bytes).unwrap();
        assert!(got(&cache, TABLE).is_none(), "bad file {number}");
        assert_eq!(load(&dir, &cache), truth, "bad file {number}");
        assert_eq!(fs::read(&file).unwrap(), good, "bad file {number} is replaced");
    }
}

#[test]
fn a_file_that_others_may_write_and_a_link_are_not_read() {
    let (dir, cache, file) = kept();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(got(&cache, TABLE).is_none());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(got(&cache, TABLE).is_some());
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(got(&cache, TABLE).is_none());
    assert_eq!(load(&dir, &cache), load(&dir, &Cache::none()));
}

#[test]
fn a_folder_that_cannot_be_written_is_no_error_and_old_files_make_room() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tables")).unwrap();
    fs::write(dir.path().join("tables/t.yaml"), TABLE).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(load(&dir, &Cache::at(dir.path().join("file/cache"))), load(&dir, &Cache::none()));
    let many = dir.path().join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..FILES_MAX + 5 {
        fs::write(many.join(format!("{number}.bin")), "").unwrap();
    }
    load(&dir, &Cache::at(many.clone()));
    assert_eq!(fs::read_dir(&many).unwrap().count(), FILES_MAX);
}
