//! Price tables and books that came as resources, from a folder or by `apply`, and where each stood. Reads no file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pricing::PriceTable;
use pricing::book::Layers;
use pricing::document::Place;

use crate::config::FileProblem;
use crate::resource::{self, Resource};

/// A table, a book, or both, and the document that it is of.
#[derive(Clone, Debug)]
pub struct Given {
    pub(super) file: PathBuf,
    pub(super) place: Place,
    pub(super) table: Option<Arc<PriceTable>>,
    pub(super) book: Option<Arc<Layers>>,
}

impl Given {
    /// The prices that a resource carries; `None` where it carries none.
    #[must_use]
    pub fn of(file: &Path, resource: &Resource) -> Option<Self> {
        let (table, book) = match resource {
            Resource::PriceTable { table, .. } => (Some(Arc::clone(table)), None),
            Resource::PriceBook { layers, .. } => (None, Some(Arc::clone(layers))),
            Resource::Model { prices: Some((table, book)), .. } => (Some(Arc::clone(table)), Some(Arc::clone(book))),
            _ => return None,
        };
        Some(Self { file: file.to_owned(), place: resource.meta().place, table, book })
    }

    /// Of a document that was applied before, under `label` in place of a file.
    pub fn of_document(label: &Path, document: &str) -> Result<Vec<Self>, Vec<FileProblem>> {
        let (resources, _) = resource::read(document).map_err(|problems| {
            let problems = FileProblem::in_file(label, problems);
            problems.collect::<Vec<_>>()
        })?;
        Ok(resources.iter().filter_map(|resource| Self::of(label, resource)).collect())
    }
}
