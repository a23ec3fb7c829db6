//! `meterd check`: configuration, price tables and resources, every problem with its place and a hint.
//!
//! Prints problems and one closing line; the caller turns errors into exit code 78. Starts nothing.

mod references;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pricing::document::{self, Node, Place, Problem};

use self::references::references;
use crate::config::{self, FileProblem};
use crate::resource::Resource;
use crate::watch::{Cache, EXTENSIONS, Given, load_dir, load_file, load_prices_and, prices_and, resources_in};

/// What a check found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckOutcome {
    /// Errors: anything above 0 means exit code 78.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Files that were looked at.
    pub files: usize,
}

/// Checks the configuration (the built-in one with the environment when no file is named), the folders that it names,
/// and every file of `paths`; of a folder, every document in it.
pub fn run(config_file: Option<&Path>, paths: &[PathBuf], out: &mut impl io::Write) -> CheckOutcome {
    check(config_file, &config::environment(), paths, out)
}

/// The same with the environment as an argument.
pub fn check(
    config_file: Option<&Path>,
    environment: &[(String, String)],
    paths: &[PathBuf],
    out: &mut impl io::Write,
) -> CheckOutcome {
    let mut found = Found::default();
    if config_file.is_some() || paths.is_empty() {
        found.configuration(config_file, environment);
    }
    found.paths(paths);
    found.problems.sort_by(|a, b| (&a.file, a.problem.place).cmp(&(&b.file, b.problem.place)));
    found.problems.dedup();
    let errors = found.problems.iter().filter(|problem| problem.is_error()).count();
    let outcome = CheckOutcome { errors, warnings: found.problems.len() - errors, files: found.files.len() };
    // A reader that has gone away has seen enough; the outcome does not depend on it.
    let _ = print(&found.problems, outcome, out);
    outcome
}

fn print(problems: &[FileProblem], outcome: CheckOutcome, out: &mut impl io::Write) -> io::Result<()> {
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    let CheckOutcome { errors, warnings, files } = outcome;
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    writeln!(out, "{}, {} in {}", plural(errors, "error"), plural(warnings, "warning"), plural(files, "file"))
}

#[derive(Default)]
struct Found {
    problems: Vec<FileProblem>,
    files: BTreeSet<PathBuf>,
}

impl Found {
    fn configuration(&mut self, file: Option<&Path>, environment: &[(String, String)]) {
        self.files.extend(file.map(Path::to_owned));
        let config = match config::load(file, environment, &[]) {
            Ok(loaded) => {
                self.problems.extend(loaded.warnings);
                loaded.config
            }
            Err(error) => {
                self.problems.extend(error.problems);
                return;
            }
        };
        for dir in &config.prices.dirs {
            self.files
                .extend(load_dir(dir, &EXTENSIONS).into_iter().flat_map(|loaded| loaded.files).map(|(path, _)| path));
        }
        let given = match config.resources.dir.as_deref().map(|dir| load_dir(dir, &EXTENSIONS)) {
            Some(Ok(loaded)) => self.resources(&loaded.files),
            Some(Err(problems)) => {
                self.problems.extend(problems);
                Vec::new()
            }
            None => Vec::new(),
        };
        match load_prices_and(&config.prices.dirs, config.prices.seed, &given, &Cache::none()) {
            Ok((_, warnings)) => self.problems.extend(warnings),
            Err(problems) => self.problems.extend(problems),
        }
    }

    /// Files by what they hold: configuration, price tables, or resources.
    fn paths(&mut self, paths: &[PathBuf]) {
        let mut tables = Vec::new();
        let mut resources = Vec::new();
        for (path, text) in self.read(paths) {
            let documents = document::parse(&text).unwrap_or_default();
            if documents.first().is_some_and(is_configuration) {
                match config::resolve(Some((&path, &text)), &[], &[]) {
                    Ok(loaded) => self.problems.extend(loaded.warnings),
                    Err(error) => self.problems.extend(error.problems),
                }
                self.files.insert(path);
            } else if !documents.is_empty() && documents.iter().all(is_price_table) {
                tables.push((path, text));
            } else {
                resources.push((path, text));
            }
        }
        self.files.extend(tables.iter().map(|(path, _)| path.clone()));
        let given = self.resources(&resources);
        match prices_and(&[], &tables, &given) {
            Ok((_, warnings)) => self.problems.extend(warnings),
            Err(problems) => self.problems.extend(problems),
        }
    }

    fn read(&mut self, paths: &[PathBuf]) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                match load_dir(path, &EXTENSIONS) {
                    Ok(loaded) if loaded.files.is_empty() => {
                        let problem = Problem::warning(Place::default(), "", "the folder has no documents")
                            .with_hint("documents end in .yaml, .yml or .json; folders below it are not read");
                        self.problems.push(FileProblem { file: path.clone(), problem });
                    }
                    Ok(loaded) => files.extend(loaded.files),
                    Err(problems) => self.problems.extend(problems),
                }
            } else {
                match load_file(path) {
                    Ok(text) => files.push((path.clone(), text)),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
        files
    }

    /// What these files say of prices, after all else of them was checked.
    fn resources(&mut self, files: &[(PathBuf, String)]) -> Vec<Given> {
        self.files.extend(files.iter().map(|(path, _)| path.clone()));
        match resources_in(files) {
            Ok((placed, warnings)) => {
                self.problems.extend(warnings);
                let given = placed.iter().filter_map(|(file, resource)| Given::of(file, resource)).collect();
                let resources: Vec<Resource> = placed.into_iter().map(|(_, resource)| resource).collect();
                self.problems.extend(selectors(files, &resources));
                self.problems.extend(references(files, &resources));
                given
            }
            Err(problems) => {
                self.problems.extend(problems);
                Vec::new()
            }
        }
    }
}

fn is_price_table(node: &Node) -> bool {
    matches!(node.get("kind").and_then(Node::text), Some("PriceTable" | "PriceBook"))
}

/// No kind and no apiVersion, but a key of the configuration.
fn is_configuration(node: &Node) -> bool {
    let top = |path: &'static str| path.split('.').next().unwrap_or(path);
    node.get("kind").is_none()
        && node.get("apiVersion").is_none()
        && config::keys().any(|(path, _)| node.get(top(path)).is_some())
}

/// A budget whose scope names what none of the files has binds nothing, which nobody would notice. Only kinds that the
/// files have at all are compared: the others may live elsewhere.
fn selectors(files: &[(PathBuf, String)], resources: &[Resource]) -> Vec<FileProblem> {
    let named = |kind: &str| -> BTreeSet<Arc<str>> {
        let of_kind = resources.iter().map(Resource::meta).filter(|meta| meta.kind.as_ref() == kind);
        of_kind.map(|meta| meta.id.name.clone()).collect()
    };
    let known = [
        ("agents", "Agent", named("Agent")),
        ("teams", "Team", named("Team")),
        ("environments", "Environment", named("Environment")),
    ];
    let mut problems = Vec::new();
    for resource in resources {
        let Resource::Budget { meta, budget } = resource else { continue };
        let scope = &budget.scope;
        let selected = [&scope.agents, &scope.teams, &scope.environments];
        for ((field, kind, names), selected) in known.iter().zip(selected) {
            let missing = selected.iter().filter(|name| !names.is_empty() && !names.contains(*name));
            for name in missing {
                let path = format!("spec.scope.{field}");
                let message = format!("no {kind} here is named {name:?}, so the budget may bind nothing");
                let hint = crate::resource::nearest::did_you_mean(name, names.iter().map(AsRef::as_ref));
                let (file, place) = place_of(files, meta, &path, name);
                problems
                    .push(FileProblem { file, problem: Problem { hint, ..Problem::warning(place, path, message) } });
            }
        }
    }
    problems
}

/// Where a budget's scope names something: its file and place. The texts were read before, so they parse.
fn place_of(files: &[(PathBuf, String)], meta: &crate::resource::Meta, path: &str, name: &str) -> (PathBuf, Place) {
    for (file, text) in files {
        for node in document::parse(text).unwrap_or_default() {
            let metadata = |key: &str| node.get("metadata").and_then(|metadata| metadata.get(key)).and_then(Node::text);
            let same = node.get("kind").and_then(Node::text) == Some(meta.kind.as_ref())
                && metadata("name") == Some(meta.id.name.as_ref())
                && metadata("namespace").unwrap_or(crate::event::DEFAULT_NAMESPACE) == meta.id.namespace.as_ref();
            if same {
                let list = path.split('.').try_fold(&node, |node, key| node.get(key)).and_then(Node::as_list);
                let names = |item: &&Node| item.text().or_else(|| item.get("name")?.text()) == Some(name);
                let one = path.split('.').try_fold(&node, |node, key| node.get(key));
                let item = list.and_then(|items| items.iter().find(names)).or(one);
                return (file.clone(), item.map_or(node.place, |item| item.place));
            }
        }
    }
    (PathBuf::new(), meta.place)
}

#[cfg(test)]
mod tests;
