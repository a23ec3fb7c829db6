//! Folders → a price book or a set of resources, checked as a whole: every problem of every file, or a good snapshot.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use budget::Ref;
use pricing::book::{LayerProblem, Layers};
use pricing::document::{self, Node, Place, Problem, Severity};
use pricing::{PriceBook, PriceTable};

use super::compiled::{Cache, CacheKey, Compiled, ToCompile};
use super::folder::{EXTENSIONS, load_dir};
use super::given::Given;
use crate::config::{FileProblem, seed};
use crate::resource::{self, Resource};

/// The price book of the built-in tables (with `seed`) and of the tables in `dirs`, lowest layer first, with warnings.
pub fn load_prices(dirs: &[PathBuf], seed: bool) -> Result<(PriceBook, Vec<FileProblem>), Vec<FileProblem>> {
    load_prices_with(dirs, seed, &Cache::none())
}

/// The same, by way of what `cache` has kept of these texts.
pub fn load_prices_with(
    dirs: &[PathBuf],
    seed: bool,
    cache: &Cache,
) -> Result<(PriceBook, Vec<FileProblem>), Vec<FileProblem>> {
    load_prices_and(dirs, seed, &[], cache)
}

/// The same, and over them the tables and books that came as resources.
pub fn load_prices_and(
    dirs: &[PathBuf],
    seed: bool,
    given: &[Given],
    cache: &Cache,
) -> Result<(PriceBook, Vec<FileProblem>), Vec<FileProblem>> {
    let built_in: Vec<(PathBuf, &str)> = match seed {
        true => seed::TABLES.iter().map(|(name, text)| (Path::new("built-in").join(name), *text)).collect(),
        false => Vec::new(),
    };
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for dir in dirs {
        match load_dir(dir, &EXTENSIONS) {
            Ok(loaded) => files.extend(loaded.files),
            Err(found) => problems.extend(found),
        }
    }
    match prices_by(&built_in, &files, given, cache) {
        Ok(read) if problems.is_empty() => Ok(read),
        Ok((_, warnings)) => {
            problems.extend(warnings);
            Err(problems)
        }
        Err(found) => {
            problems.extend(found);
            Err(problems)
        }
    }
}

/// The price book of files that were read already. A table of `files` replaces the built-in one of its name.
pub fn prices_from(
    built_in: &[(PathBuf, String)],
    files: &[(PathBuf, String)],
) -> Result<(PriceBook, Vec<FileProblem>), Vec<FileProblem>> {
    prices_and(built_in, files, &[])
}

/// The same, and over them the tables and books that came as resources.
pub fn prices_and(
    built_in: &[(PathBuf, String)],
    files: &[(PathBuf, String)],
    given: &[Given],
) -> Result<(PriceBook, Vec<FileProblem>), Vec<FileProblem>> {
    prices_by(built_in, files, given, &Cache::none())
}

fn prices_by<T: AsRef<str> + Sync>(
    built_in: &[(PathBuf, T)],
    files: &[(PathBuf, String)],
    given: &[Given],
    cache: &Cache,
) -> Result<(PriceBook, Vec<FileProblem>), Vec<FileProblem>> {
    let mut problems = Vec::new();
    let lowest = documents(built_in, &[], cache, Key::Name, &mut problems);
    let upper = documents(files, given, cache, Key::Text, &mut problems);
    if problems.iter().any(FileProblem::is_error) {
        return Err(problems);
    }
    let replaced =
        |table: &PriceTable| upper.tables.iter().any(|other| other.reference().name == table.reference().name);
    let mut tables: Vec<Arc<PriceTable>> = lowest.tables.into_iter().filter(|table| !replaced(table)).collect();
    tables.extend(upper.tables.iter().cloned());
    match PriceBook::layered(tables, &upper.books) {
        Ok(book) => Ok((book, problems)),
        Err(found) => {
            problems.extend(upper.placed(found));
            Err(problems)
        }
    }
}

/// What files hold, and in which file each table and book stood.
#[derive(Default)]
struct Documents<'a> {
    tables: Vec<Arc<PriceTable>>,
    books: Vec<Layers>,
    /// By name, and whether it is a table.
    files: BTreeMap<(Arc<str>, bool), (&'a Path, Place)>,
}

/// Every table and book of these files and resources; two of one kind and name are an error.
fn documents<'a, T: AsRef<str> + Sync>(
    files: &'a [(PathBuf, T)],
    given: &'a [Given],
    cache: &Cache,
    key: Key,
    problems: &mut Vec<FileProblem>,
) -> Documents<'a> {
    let mut documents = Documents::default();
    for ((file, _), read) in files.iter().zip(read_all(files, cache, key)) {
        problems.extend(FileProblem::in_file(file, read.problems));
        for (table, place) in read.tables {
            documents.table(Arc::new(table), (file, place), problems);
        }
        for (book, place) in read.books {
            documents.book(book, (file, place), problems);
        }
    }
    for Given { file, place, table, book } in given {
        if let Some(table) = table {
            documents.table(Arc::clone(table), (file, *place), problems);
        }
        if let Some(book) = book {
            documents.book(book.as_ref().clone(), (file, *place), problems);
        }
    }
    documents
}

impl<'a> Documents<'a> {
    fn table(&mut self, table: Arc<PriceTable>, at: (&'a Path, Place), problems: &mut Vec<FileProblem>) {
        self.note(&table.reference().name, true, at, problems);
        self.tables.push(table);
    }

    fn book(&mut self, book: Layers, at: (&'a Path, Place), problems: &mut Vec<FileProblem>) {
        self.note(book.name(), false, at, problems);
        self.books.push(book);
    }

    fn note(&mut self, name: &Arc<str>, is_table: bool, at: (&'a Path, Place), problems: &mut Vec<FileProblem>) {
        if let Some(first) = self.files.insert((Arc::clone(name), is_table), at) {
            let what = if is_table { "price table" } else { "price book" };
            problems.push(given_twice(&format!("{what} {name}"), at, first));
        }
    }
}

impl Documents<'_> {
    /// Problems of layers, in the files of the documents that they are about.
    fn placed(&self, problems: Vec<LayerProblem>) -> Vec<FileProblem> {
        let place = |LayerProblem { resource, is_table, problem }| {
            let file = self.files.get(&(Arc::clone(&resource), is_table)).map(|(file, _)| *file);
            let file = file.unwrap_or(Path::new("built-in"));
            FileProblem { file: file.to_owned(), problem }
        };
        problems.into_iter().map(place).collect()
    }
}

/// What a file's place in the cache follows from.
#[derive(Clone, Copy)]
enum Key {
    Text,
    /// A built-in text is as old as the program, so its name is enough: its pages stay on disk.
    Name,
}

/// What one file holds.
#[derive(Default)]
struct Read {
    tables: Vec<(PriceTable, Place)>,
    books: Vec<(Layers, Place)>,
    problems: Vec<Problem>,
}

/// What each file holds, in their order: from the cache, and what that does not have is read on every core, as no file needs another.
/// The cache is asked by this thread alone, one file after the other: that takes little time, and leaves no memory behind.
fn read_all<T: AsRef<str> + Sync>(files: &[(PathBuf, T)], cache: &Cache, key: Key) -> Vec<Read> {
    let key = |file: &Path, text: &str| match key {
        Key::Text => cache.key(text),
        Key::Name => cache.key_of_built_in(file),
    };
    let mut buffer = Vec::new();
    let mut kept = |(file, text): &(PathBuf, T)| {
        let Compiled { tables, problems } = cache.get(&key(file, text.as_ref()), &mut buffer)?;
        Some(Read { tables, problems, books: Vec::new() })
    };
    let mut all: Vec<Read> = Vec::with_capacity(files.len());
    let mut missing = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let read = kept(file);
        if read.is_none() {
            missing.push((index, file));
        }
        all.push(read.unwrap_or_default());
    }
    let cores = thread::available_parallelism().map_or(1, usize::from).min(missing.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, (file, text))) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*index, read_and_keep(cache, &key(file, text.as_ref()), text.as_ref())));
        }
        done
    };
    thread::scope(|scope| {
        // Where no thread can be had, this one does what is left.
        let others: Vec<_> = (1..cores).filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mine = work();
        let joined = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        for (index, read) in joined.flatten().chain(mine) {
            if let Some(slot) = all.get_mut(index) {
                *slot = read;
            }
        }
    });
    all
}

/// What a text says. Kept are tables that nothing is wrong with; books are short.
fn read_and_keep(cache: &Cache, key: &CacheKey, text: &str) -> Read {
    let read = read(text);
    let is_refused = read.problems.iter().any(|problem| problem.severity == Severity::Error);
    if !is_refused && read.books.is_empty() && !read.tables.is_empty() {
        cache.put(key, &ToCompile { tables: &read.tables, problems: &read.problems });
    }
    read
}

fn read(text: &str) -> Read {
    let mut read = Read::default();
    let nodes = match document::parse(text) {
        Ok(nodes) => nodes,
        Err(problems) => return Read { problems, ..read },
    };
    for node in &nodes {
        if node.get("kind").and_then(Node::text) == Some("PriceBook") {
            match Layers::from_node(node) {
                Ok(book) => read.books.push((book, node.place)),
                Err(found) => read.problems.extend(found),
            }
            continue;
        }
        if let Some(kind) = node.get("kind").filter(|kind| kind.text().is_some_and(|kind| kind != "PriceTable")) {
            let message = format!("{:?} is not a PriceTable or a PriceBook", kind.text().unwrap_or_default());
            let found = Problem::error(kind.place, "kind", message).with_hint("other kinds go to resources.dir");
            read.problems.push(found);
            continue;
        }
        match PriceTable::from_node(node) {
            Ok((table, warnings)) => {
                read.problems.extend(warnings);
                read.tables.push((table, node.place));
            }
            Err(found) => read.problems.extend(found),
        }
    }
    read
}

fn given_twice(what: &str, (file, place): (&Path, Place), (other, first): (&Path, Place)) -> FileProblem {
    let message = format!("{what} is given twice, first in {}:{first}", other.display());
    let problem = Problem::error(place, "metadata.name", message).with_hint("keep one of the two, or rename one");
    FileProblem { file: file.to_owned(), problem }
}

/// The resources of a folder, with warnings.
pub fn load_resources(dir: &Path) -> Result<(Vec<Resource>, Vec<FileProblem>), Vec<FileProblem>> {
    resources_from(&load_dir(dir, &EXTENSIONS)?.files)
}

/// The resources of files that were read already; two of one kind and name are an error.
pub fn resources_from(files: &[(PathBuf, String)]) -> Result<(Vec<Resource>, Vec<FileProblem>), Vec<FileProblem>> {
    let (placed, warnings) = resources_in(files)?;
    Ok((placed.into_iter().map(|(_, resource)| resource).collect(), warnings))
}

/// Resources, each with its file, and warnings; or every problem of them.
pub type Placed = Result<(Vec<(PathBuf, Resource)>, Vec<FileProblem>), Vec<FileProblem>>;

/// The resources of a folder, each with its file, and warnings.
pub fn load_resources_in(dir: &Path) -> Placed {
    resources_in(&load_dir(dir, &EXTENSIONS)?.files)
}

/// The same of files that were read already.
pub fn resources_in(files: &[(PathBuf, String)]) -> Placed {
    let mut resources: Vec<(PathBuf, Resource)> = Vec::new();
    let mut problems = Vec::new();
    let mut places: BTreeMap<(Arc<str>, Ref), (&Path, Place)> = BTreeMap::new();
    for (file, text) in files {
        match resource::read(text) {
            Err(found) => problems.extend(FileProblem::in_file(file, found)),
            Ok((read, warnings)) => {
                problems.extend(FileProblem::in_file(file, warnings));
                for resource in read {
                    let meta = resource.meta();
                    let key = (meta.kind.clone(), meta.id.clone());
                    if let Some(first) = places.insert(key, (file, meta.place)) {
                        let what = format!("{} {}", meta.kind, meta.id);
                        problems.push(given_twice(&what, (file, meta.place), first));
                    }
                    resources.push((file.clone(), resource));
                }
            }
        }
    }
    let refused = problems.iter().any(|found| found.problem.severity == Severity::Error);
    if refused { Err(problems) } else { Ok((resources, problems)) }
}
