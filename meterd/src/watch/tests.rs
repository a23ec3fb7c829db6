//! Folders on a real disk: what is read, what is refused, and when a change is told.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc;

use super::*;

const BUDGET: &str =
    "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: { name: b }\nspec: { limits: { dailyUsd: 1 } }\n";
/// Long enough for a busy machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(20);
/// Shorter than `DEBOUNCE`, to keep the tests quick.
const QUIET: Duration = Duration::from_millis(30);

fn text_of(problems: &[FileProblem], dir: &Path) -> String {
    let lines: Vec<String> = problems.iter().map(FileProblem::to_string).collect();
    lines.join("\n").replace(dir.to_str().unwrap(), "DIR")
}

#[test]
fn a_folder_is_read_in_order_and_only_its_documents() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b.yaml", "a.yml", "c.json", ".hidden.yaml", "notes.txt"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    fs::create_dir(dir.path().join("d.yaml")).unwrap();
    let loaded = load_dir(dir.path(), &EXTENSIONS).unwrap();
    let names: Vec<_> = loaded.files.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.yml", "b.yaml", "c.json"]);
    fs::write(dir.path().join("notes.txt"), "changed").unwrap();
    assert_eq!(load_dir(dir.path(), &EXTENSIONS).unwrap().digest, loaded.digest);
    fs::rename(dir.path().join("a.yml"), dir.path().join("a.yaml")).unwrap();
    assert_ne!(load_dir(dir.path(), &EXTENSIONS).unwrap().digest, loaded.digest);
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = load_dir(&dir.path().join("none"), &EXTENSIONS).unwrap_err();
    let text = text_of(&missing, dir.path());
    assert!(
        text.starts_with("DIR/none: error: the folder cannot be read: ") && text.contains("hint: create the folder"),
        "{text}"
    );
    symlink("nowhere", dir.path().join("a.yaml")).unwrap();
    fs::write(dir.path().join("b.yaml"), b"\xff").unwrap();
    let text = text_of(&load_dir(dir.path(), &EXTENSIONS).unwrap_err(), dir.path());
    assert!(
        text.contains("DIR/a.yaml: error: cannot be read: ") && text.contains("DIR/b.yaml: error: cannot be read: "),
        "{text}"
    );
}

#[test]
fn a_folder_has_bounds() {
    let dir = tempfile::tempdir().unwrap();
    for index in 0..=FILES_MAX {
        fs::write(dir.path().join(format!("{index}.yaml")), "").unwrap();
    }
    let text = text_of(&load_dir(dir.path(), &EXTENSIONS).unwrap_err(), dir.path());
    assert!(text.starts_with("DIR: error: the folder has 1025 documents; at most 1024 are read"), "{text}");
    let large = fs::File::create(dir.path().join("large")).unwrap();
    large.set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(load_file(&dir.path().join("large")).unwrap_err().to_string().contains("is longer than"));
}

#[test]
fn resources_come_with_every_problem_of_every_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), BUDGET).unwrap();
    let (resources, warnings) = load_resources(dir.path()).unwrap();
    assert_eq!((resources.len(), warnings), (1, Vec::new()));
    fs::write(dir.path().join("b.yaml"), format!("# second\n{BUDGET}")).unwrap();
    fs::write(dir.path().join("c.yaml"), "kind: Budget\n").unwrap();
    let text = text_of(&load_resources(dir.path()).unwrap_err(), dir.path());
    let expected = "DIR/b.yaml:2:1: error: Budget default/b is given twice, first in DIR/a.yaml:1:1 (metadata.name)
  hint: keep one of the two, or rename one
DIR/c.yaml:1:1: error: apiVersion is missing (apiVersion)
  hint: write apiVersion: joch.dev/v1alpha1
DIR/c.yaml:1:1: error: the resource has no name (metadata.name)
  hint: add metadata: { name: … }";
    assert_eq!(text, expected);
}

#[test]
fn prices_name_every_problem() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), BUDGET).unwrap();
    fs::write(dir.path().join("b.yaml"), "a: [").unwrap();
    let dirs = [dir.path().to_owned(), dir.path().join("none")];
    let text = text_of(&load_prices(&dirs, false).unwrap_err(), dir.path());
    assert!(
        text.contains(
            "DIR/a.yaml:2:7: error: \"Budget\" is not a PriceTable or a PriceBook (kind)\n  hint: other kinds go to resources.dir"
        ),
        "{text}"
    );
    assert!(text.contains("DIR/b.yaml:") && text.contains("DIR/none: error: the folder cannot be read"), "{text}");
    let (book, warnings) = load_prices(&[], false).unwrap();
    assert_eq!((book.tables().len(), warnings), (0, Vec::new()));
}

/// Waits for the next call; the content at that moment is what the callback saw.
fn next(changes: &mpsc::Receiver<()>) {
    changes.recv_timeout(PATIENCE).expect("the change is told");
}

#[test]
fn a_change_is_told_and_a_rewrite_of_the_same_content_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, "1").unwrap();
    let (tell, changes) = mpsc::channel();
    let path = file.clone();
    let guard = spawn(vec![dir.path().to_owned()], QUIET, move || {
        let _ = tell.send(fs::read_to_string(&path).unwrap_or_default());
    })
    .unwrap();
    let next = || changes.recv_timeout(PATIENCE).expect("the change is told");
    // Moved over the old file, as editors do, so that no half-written file is ever seen.
    let replace = |text: &str| {
        let new = dir.path().join("a.yaml.tmp");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    replace("1");
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    replace("2");
    assert_eq!(next(), "2");
    replace("3");
    assert_eq!(next(), "3");
    fs::remove_file(&file).unwrap();
    assert_eq!(next(), "");
    drop(guard);
    replace("4");
    assert_eq!(changes.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected), "the guard ends the thread");
}

#[test]
fn a_swapped_link_as_kubernetes_does_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (version, text) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("a.yaml"), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let (tell, changes) = mpsc::channel();
    let _guard = spawn(vec![dir.path().to_owned()], QUIET, move || {
        let _ = tell.send(());
    })
    .unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    next(&changes);
    assert_eq!(load_dir(dir.path(), &EXTENSIONS).unwrap().files[0].1, "two");
}

#[test]
fn a_folder_that_is_not_there_cannot_be_watched() {
    let dir = tempfile::tempdir().unwrap();
    let error = spawn(vec![dir.path().join("none")], QUIET, || {}).unwrap_err().to_string();
    assert!(error.starts_with("cannot watch ") && error.contains("none"), "{error}");
}

fn table(name: &str, rate: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: {{ name: {name} }}
spec:
  version: \"1\"
  currency: USD
  models:
    - provider: p
      id: m
      match: {{ exact: [m] }}
      rates: [{{ set: {{ input_tokens: \"{rate}\", output_tokens: \"1\" }} }}]
"
    )
}

#[test]
fn the_built_in_tables_are_good() {
    let (book, warnings) = load_prices(&[], true).unwrap();
    assert_eq!(book.tables().len(), crate::config::seed::TABLES.len());
    assert!(!book.tables().is_empty());
    assert_eq!(warnings, Vec::new());
}

#[test]
fn a_table_replaces_the_built_in_one_of_its_name() {
    let files = |list: &[(&str, String)]| {
        list.iter().map(|(name, text)| (PathBuf::from(name), text.clone())).collect::<Vec<_>>()
    };
    let built_in = files(&[("built-in/a.yaml", table("a", "1")), ("built-in/b.yaml", table("b", "1"))]);
    let own = files(&[("a.yaml", table("a", "2")), ("c.yaml", table("c", "3"))]);
    let (book, _) = prices_from(&built_in, &own).unwrap();
    let names: Vec<_> = book.tables().iter().map(|table| table.reference().name.to_string()).collect();
    assert_eq!(names, ["b", "a", "c"], "lowest layer first");
    let (alone, _) = prices_from(&[], &own).unwrap();
    assert_eq!(book.tables()[1].reference(), alone.tables()[0].reference());
    let twice = files(&[("x.yaml", table("a", "2")), ("y.yaml", table("a", "2"))]);
    let problems = prices_from(&[], &twice).unwrap_err();
    let expected = "y.yaml:1:1: error: price table a is given twice, first in x.yaml:1:1 (metadata.name)";
    assert!(problems.iter().any(|problem| problem.to_string().starts_with(expected)), "{problems:?}");
}
