//! Layers in force for a namespace and a team: which tables stand above the list, and the name of each pile of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::index::{Hit, Index};
use super::layers::Kind;
use super::{Match, Parts};
use crate::cost::{Call, TableRef, Target, Unpriced};
use crate::document::{Key, Node, Place, Value};
use crate::model::canonical_provider;
use crate::table::{API_GROUP_VERSION, Part, PriceTable, canonical, digest};

/// Tables above the list that may hold for one call.
pub(super) const ABOVE_MAX: usize = 8;
/// Namespaces times teams that layers may name.
const CLASSES_MAX: usize = 65_536;

/// A layer of a price book, ready.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) kind: Kind,
    /// Number of its table in the book.
    pub(super) table: usize,
    /// For these namespaces; none means all.
    pub(super) namespaces: BTreeSet<Box<str>>,
    /// And these teams; none means all.
    pub(super) teams: BTreeSet<Box<str>>,
}

/// Every layer that is not just a list price for all.
#[derive(Debug)]
pub(super) struct Scopes {
    namespaces: FxHashMap<Box<str>, usize>,
    teams: FxHashMap<Box<str>, usize>,
    /// By the numbers of namespace and team, 0 for those that no layer names: where in `piles` to look.
    classes: FxHashMap<(usize, usize), usize>,
    piles: Vec<Pile>,
}

/// The layers of some namespaces and teams.
#[derive(Debug)]
struct Pile {
    /// List prices of theirs and everybody's.
    list: Index,
    /// Contracts, then overrides, each in the order in which it applies.
    above: Vec<Index>,
    /// By the number of the list's table, or none: what the costs of these tables together are named after.
    stacks: FxHashMap<Option<usize>, Stack>,
}

/// Tables that price a call together.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) reference: TableRef,
    pub(super) json: Arc<str>,
}

/// Why layers cannot be piled up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    Above(usize),
    Classes(usize),
}

impl Scopes {
    /// `layers` in the order in which they apply; `list` are the tables that hold for all.
    pub(super) fn new(all: &[Arc<PriceTable>], list: &[usize], layers: &[Layer]) -> Result<Self, TooMany> {
        let numbers = |names: &dyn Fn(&Layer) -> &BTreeSet<Box<str>>| -> FxHashMap<Box<str>, usize> {
            let names: BTreeSet<&Box<str>> = layers.iter().flat_map(names).collect();
            names.into_iter().cloned().zip(1..).collect()
        };
        let (namespaces, teams) = (numbers(&|layer| &layer.namespaces), numbers(&|layer| &layer.teams));
        let count = namespaces.len().saturating_add(1).saturating_mul(teams.len().saturating_add(1));
        if count > CLASSES_MAX {
            return Err(TooMany::Classes(count));
        }
        let mut scopes = Self {
            namespaces: FxHashMap::default(),
            teams: FxHashMap::default(),
            classes: FxHashMap::default(),
            piles: Vec::new(),
        };
        let mut seen: FxHashMap<Vec<usize>, usize> = FxHashMap::default();
        let names = |numbers: &FxHashMap<Box<str>, usize>| -> Vec<(Option<Box<str>>, usize)> {
            let named = numbers.iter().map(|(name, number)| (Some(name.clone()), *number));
            named.chain([(None, 0)]).collect()
        };
        let team_names = names(&teams);
        for (namespace, first) in names(&namespaces) {
            for (team, second) in &team_names {
                let holds = |wanted: &BTreeSet<Box<str>>, name: &Option<Box<str>>| {
                    wanted.is_empty() || name.as_ref().is_some_and(|name| wanted.contains(name))
                };
                let held = layers
                    .iter()
                    .enumerate()
                    .filter(|(_, layer)| holds(&layer.namespaces, &namespace) && holds(&layer.teams, team));
                let held: Vec<usize> = held.map(|(index, _)| index).collect();
                if held.is_empty() {
                    continue;
                }
                let pile = match seen.get(&held) {
                    Some(pile) => *pile,
                    None => {
                        let pile = scopes.piles.len();
                        scopes.piles.push(Pile::new(all, list, layers, &held)?);
                        seen.insert(held, pile);
                        pile
                    }
                };
                scopes.classes.insert((first, *second), pile);
            }
        }
        (scopes.namespaces, scopes.teams) = (namespaces, teams);
        Ok(scopes)
    }

    fn pile(&self, namespace: &str, team: Option<&str>) -> Option<&Pile> {
        let namespace = self.namespaces.get(namespace).copied().unwrap_or(0);
        let team = team.and_then(|team| self.teams.get(team)).copied().unwrap_or(0);
        self.piles.get(*self.classes.get(&(namespace, team))?)
    }

    /// Does any layer ask for a team?
    pub(super) fn by_team(&self) -> bool {
        !self.teams.is_empty()
    }

    /// What prices a call; `None` where no layer is for its namespace and team.
    pub(super) fn lookup<'a>(
        &'a self,
        all: &'a [Arc<PriceTable>],
        call: &Call<'_>,
    ) -> Option<Result<Match<'a>, Unpriced>> {
        Some(self.pile(call.namespace, call.team)?.lookup(all, call))
    }

    /// The list prices for a namespace and a team; `None` where no layer is for them.
    pub(super) fn list_of(&self, namespace: &str, team: Option<&str>) -> Option<&Index> {
        Some(&self.pile(namespace, team)?.list)
    }

    /// Every table that some layer names, for questions of no scope.
    pub(super) fn above(&self) -> impl Iterator<Item = &Index> {
        self.piles.iter().flat_map(|pile| pile.above.iter().chain([&pile.list]))
    }

    /// The tables for a namespace and a team, the highest first; `None` where no layer is for them.
    pub(super) fn tables_of(&self, namespace: &str, team: Option<&str>) -> Option<impl Iterator<Item = usize> + '_> {
        let pile = self.pile(namespace, team)?;
        let above = pile.above.iter().rev().flat_map(Index::tables);
        Some(above.chain(pile.list.tables().iter().rev()).copied())
    }

    pub(super) fn stacks(&self) -> impl Iterator<Item = &Stack> {
        self.piles.iter().flat_map(|pile| pile.stacks.values())
    }
}

impl Pile {
    fn new(all: &[Arc<PriceTable>], list: &[usize], layers: &[Layer], held: &[usize]) -> Result<Self, TooMany> {
        let of = |is_list: bool| {
            let held = held.iter().filter_map(|index| layers.get(*index));
            held.filter(move |layer| (layer.kind == Kind::List) == is_list)
        };
        let own = of(true).map(|layer| layer.table);
        let list = Index::new(all, list.iter().copied().chain(own).collect());
        let above: Vec<(Kind, usize)> = of(false).map(|layer| (layer.kind, layer.table)).collect();
        if above.len() > ABOVE_MAX {
            return Err(TooMany::Above(above.len()));
        }
        let mut stacks = FxHashMap::default();
        let bases =
            list.tables().iter().copied().filter(|base| above.iter().any(|(_, table)| meet(all, *base, *table)));
        for base in bases.map(Some).chain([None]).filter(|_| !above.is_empty()) {
            let tables = base.map(|base| (Kind::List, base)).into_iter().chain(above.iter().copied());
            let tables = tables.filter_map(|(kind, table)| Some((kind, all.get(table)?.reference())));
            stacks.insert(base, Stack::of(&tables.collect::<Vec<_>>()));
        }
        let above = above.into_iter().map(|(_, table)| Index::new(all, vec![table])).collect();
        Ok(Self { list, above, stacks })
    }

    fn lookup<'a>(&'a self, all: &'a [Arc<PriceTable>], call: &Call<'_>) -> Result<Match<'a>, Unpriced> {
        let base = self.list.find(all, call.target, call.at);
        let mut parts: Vec<Part<'a>> = Vec::new();
        let mut answer = None;
        for above in &self.above {
            if let Some(hit) = find_above(above, all, call, base.as_ref().ok()) {
                parts.push(hit.part);
                answer = answer.or(hit.answer);
            }
        }
        if parts.is_empty() {
            return base.map(Match::alone);
        }
        let (number, answer) = match base {
            Ok(hit) => {
                parts.insert(0, hit.part);
                (Some(hit.table), hit.answer)
            }
            Err(_) => (None, answer),
        };
        let stack = self.stacks.get(&number).ok_or(Unpriced::UnknownModel)?;
        Ok(Match { parts: Parts::Many(parts), reference: &stack.reference, answer })
    }
}

/// By the names that the call has, else by the id of the list's entry: a contract for a model holds for every name that
/// the list has for it.
fn find_above<'a>(
    above: &'a Index,
    all: &'a [Arc<PriceTable>],
    call: &Call<'_>,
    base: Option<&Hit<'a>>,
) -> Option<Hit<'a>> {
    above.find(all, call.target, call.at).ok().or_else(|| {
        let Target::Model { .. } = call.target else { return None };
        let entry = base?.part.entry;
        above.model(all, &entry.provider, &entry.id, None, Some(call.at)).ok()
    })
}

/// May both tables have a part in one price?
fn meet(all: &[Arc<PriceTable>], left: usize, right: usize) -> bool {
    let (Some(left), Some(right)) = (all.get(left), all.get(right)) else { return false };
    let common = |provider| canonical_provider(provider).unwrap_or(provider);
    (left.approval().is_some() && right.approval().is_some())
        || (left.has_tools() && right.has_tools())
        || left.providers().any(|one| right.providers().any(|other| common(one) == common(other)))
}

impl Stack {
    /// Named after its tables, identified by their digests.
    fn of(tables: &[(Kind, &TableRef)]) -> Self {
        let joined = |part: &dyn Fn(&TableRef) -> Arc<str>| {
            let parts: Vec<Arc<str>> = tables.iter().map(|(_, table)| part(table)).collect();
            Arc::<str>::from(parts.join(" + "))
        };
        let (name, version) = (joined(&|table| table.name.clone()), joined(&|table| table.version.clone()));
        let layers = tables.iter().map(|(kind, table)| {
            map([("layer", text(kind.as_str())), ("priceTable", text(&table.name)), ("digest", text(&table.digest))])
        });
        let spec = canonical(&map([("layers", node(Value::List(layers.collect())))]));
        let digest = Arc::from(digest(&spec.to_json()));
        let whole = map([
            ("apiVersion", text(API_GROUP_VERSION)),
            ("kind", text("PriceBook")),
            ("metadata", map([("name", text(&name))])),
            ("spec", spec),
        ]);
        Self { reference: TableRef::new(name, version, digest), json: Arc::from(whole.to_json()) }
    }
}

fn node(value: Value) -> Node {
    Node { place: Place::default(), value }
}

fn text(text: &str) -> Node {
    node(Value::Scalar { text: text.to_owned(), quoted: true })
}

fn map<const N: usize>(pairs: [(&str, Node); N]) -> Node {
    let pairs = pairs.into_iter().map(|(name, value)| (Key { place: Place::default(), name: name.to_owned() }, value));
    node(Value::Map(pairs.collect()))
}
