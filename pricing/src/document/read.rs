//! Text → trees: drives the YAML parser's events into a stack of open collections. Stops only where reading cannot go on.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::{DEPTH_MAX, Key, NODES_MAX, Node, PROBLEMS_MAX, Place, Problem, TEXT_BYTES_MAX, Value};

/// Below so many keys a mapping is searched for duplicates one by one; above, a set is kept.
const KEYS_SCANNED_MAX: usize = 16;

/// Reads every document of a multi-document text (`---`), or every problem found in it. Empty documents are left out.
pub fn parse(text: &str) -> Result<Vec<Node>, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the text has {} bytes; at most {TEXT_BYTES_MAX} are read", text.len());
        return Err(vec![Problem::error(Place { line: 1, column: 1 }, "", message).with_hint("split the file")]);
    }
    // The parser takes NUL for the end of its input and would drop the rest unseen.
    if let Some(place) = control_character(text) {
        let problem = Problem::error(place, "", "a control character");
        return Err(vec![problem.with_hint("remove it, or write it as an escape in double quotes")]);
    }
    let mut builder = Builder::default();
    builder.run(text);
    if builder.problems.is_empty() { Ok(builder.documents) } else { Err(builder.problems) }
}

fn control_character(text: &str) -> Option<Place> {
    let is_control = |c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r');
    for (line, content) in text.split('\n').enumerate() {
        if let Some(column) = content.chars().position(is_control) {
            return Some(Place { line: counted(line), column: counted(column) });
        }
    }
    None
}

/// From an index that counts from 0 to one that counts from 1.
fn counted(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}

fn place(marker: Marker) -> Place {
    Place { line: counted(marker.line().saturating_sub(1)), column: counted(marker.col()) }
}

/// A collection that is still open.
enum Frame {
    List {
        place: Place,
        items: Vec<Node>,
    },
    Map {
        place: Place,
        pairs: Vec<(Key, Node)>,
        seen: HashSet<String>,
        key: Option<Key>,
    },
    /// Refused, because too deep or a key: its content is read and dropped.
    Dropped,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Frame>,
    problems: Vec<Problem>,
    nodes: usize,
    too_deep: bool,
}

impl Builder {
    fn run(&mut self, text: &str) {
        let mut parser = Parser::new_from_str(text);
        while let Some(step) = parser.next_event() {
            match step {
                Ok((event, span)) => self.event(event, place(span.start)),
                Err(error) => {
                    self.refuse_syntax(&error);
                    return;
                }
            }
            if self.problems.len() >= PROBLEMS_MAX || self.nodes > NODES_MAX {
                return;
            }
        }
    }

    fn event(&mut self, event: Event<'_>, at: Place) {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::Alias(_) => {
                self.refuse(at, "aliases are not read", "write the value out");
                self.add(Node { place: at, value: Value::Null });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decorations(at, anchor, tag.is_some());
                self.scalar(&text, style, at);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decorations(at, anchor, tag.is_some());
                self.start(Frame::List { place: at, items: Vec::new() }, at);
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decorations(at, anchor, tag.is_some());
                self.start(Frame::Map { place: at, pairs: Vec::new(), seen: HashSet::new(), key: None }, at);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(at),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Place) {
        let quoted = style != ScalarStyle::Plain;
        let is_null = !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL");
        if self.expects_key() {
            self.key(text, quoted, is_null, at);
        } else {
            let value = if is_null { Value::Null } else { Value::Scalar { text: text.to_owned(), quoted } };
            self.add(Node { place: at, value });
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Frame::Map { key: None, .. }))
    }

    fn key(&mut self, text: &str, quoted: bool, is_null: bool, at: Place) {
        if is_null {
            self.refuse(at, "a key without text", "give the key a name");
        } else if text == "<<" && !quoted {
            self.refuse(at, "merge keys are not read", "write the merged keys out");
        }
        let Some(Frame::Map { pairs, seen, key, .. }) = self.open.last_mut() else { return };
        let duplicate = if is_null {
            false
        } else if pairs.len() < KEYS_SCANNED_MAX {
            pairs.iter().any(|(known, _)| known.name == text)
        } else {
            if seen.is_empty() {
                seen.extend(pairs.iter().map(|(known, _)| known.name.clone()));
            }
            !seen.insert(text.to_owned())
        };
        let first = pairs.iter().find(|(known, _)| duplicate && known.name == text).map(|(known, _)| known.place);
        *key = Some(Key { place: at, name: text.to_owned() });
        if let Some(first) = first {
            let message = format!("the key is given twice, first on line {}", first.line);
            self.refuse(at, message, "keep one of the two");
        }
    }

    fn start(&mut self, frame: Frame, at: Place) {
        let is_key = self.expects_key();
        if is_key {
            self.refuse(at, "a key that is not text", "use plain text as the key");
            if let Some(Frame::Map { key, .. }) = self.open.last_mut() {
                *key = Some(Key { place: at, name: String::new() });
            }
        }
        let too_deep = self.open.len() >= DEPTH_MAX;
        if too_deep && !self.too_deep {
            self.too_deep = true;
            self.refuse(at, format!("nested deeper than {DEPTH_MAX} levels"), "flatten the document");
        }
        // A key that is a collection leaves its mapping waiting for a value, which follows.
        if is_key {
            self.open.push(Frame::Dropped);
        } else if too_deep {
            self.add(Node { place: at, value: Value::Null });
            self.open.push(Frame::Dropped);
        } else if matches!(self.open.last(), Some(Frame::Dropped)) {
            self.open.push(Frame::Dropped);
        } else {
            self.open.push(frame);
        }
    }

    fn end(&mut self, at: Place) {
        match self.open.pop() {
            Some(Frame::List { place, items }) => self.add(Node { place, value: Value::List(items) }),
            Some(Frame::Map { place, pairs, key, .. }) => {
                debug_assert!(key.is_none(), "the parser closes a mapping after a value, at {at}");
                self.add(Node { place, value: Value::Map(pairs) });
            }
            Some(Frame::Dropped) | None => {}
        }
    }

    fn add(&mut self, node: Node) {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes == NODES_MAX.saturating_add(1) {
            self.refuse(node.place, format!("more than {NODES_MAX} values"), "split the file");
        }
        match self.open.last_mut() {
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { pairs, key, .. }) => {
                if let Some(key) = key.take() {
                    pairs.push((key, node));
                }
            }
            Some(Frame::Dropped) => {}
            None if node.is_null() => {}
            None => self.documents.push(node),
        }
    }

    fn refuse_decorations(&mut self, at: Place, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.refuse(at, "anchors are not read", "remove the &name and write the value out where it is needed");
        }
        if tagged {
            self.refuse(at, "tags are not read", "remove the tag; quote the value to make it text");
        }
    }

    fn refuse(&mut self, at: Place, message: impl Into<String>, hint: &str) {
        let path = self.path();
        self.problems.push(Problem::error(at, path, message).with_hint(hint));
    }

    fn refuse_syntax(&mut self, error: &ScanError) {
        let info = error.info();
        let hint = if info.contains("tab") {
            "indent with spaces"
        } else if info.contains("anchor") {
            "aliases are not read; write the value out"
        } else {
            "check the indentation and the quotes here and on the line before"
        };
        let path = self.path();
        let problem = Problem::error(place(*error.marker()), path, format!("not YAML: {info}"));
        self.problems.push(problem.with_hint(hint));
    }

    /// The key path of what is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.open {
            match frame {
                Frame::List { items, .. } => path.push_str(&format!("[{}]", items.len())),
                Frame::Map { key: Some(key), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&key.name);
                }
                Frame::Map { key: None, .. } | Frame::Dropped => {}
            }
        }
        path
    }
}
