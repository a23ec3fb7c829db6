//! How much would this body become? Counted on its bytes, before a decoder allocates for it.
//!
//! An empty message takes two bytes on the wire and hundreds in memory, so that a small body could fill it.

use super::span::SPANS_MAX;
use crate::ingest::BodyError;

/// Most messages (spans, attributes, events, links …) in one protobuf request.
const MESSAGES_MAX: usize = 524_288;
/// Most objects in one JSON request.
const OBJECTS_MAX: usize = 524_288;

/// Levels of the request: resource spans, scope spans, spans; the field number that leads a level down.
const PATH: [u64; 3] = [1, 2, 2];
/// Fields of a span that repeat: attributes, events, links.
const SPAN_REPEATED: [u64; 3] = [9, 11, 13];

/// Counts the messages of a protobuf trace export.
pub(super) fn protobuf(body: &[u8]) -> Result<(), BodyError> {
    let mut counts = Counts::default();
    // Bytes that are no protobuf end the count early; they are the decoder's to report.
    let _ = walk(body, 0, &mut counts);
    counts.check()
}

/// Counts what might be messages of a protobuf body whose shape does not matter here, to the depth at which records have
/// their attributes.
pub(super) fn protobuf_messages(body: &[u8]) -> Result<(), BodyError> {
    fn deep(mut bytes: &[u8], levels: u8, counts: &mut Counts) -> Option<()> {
        while !bytes.is_empty() {
            let Some((_, inner)) = field(&mut bytes)? else { continue };
            counts.message()?;
            if levels > 0 {
                // Text may look like a message; then it only counts a little early.
                let _ = deep(inner, levels.saturating_sub(1), counts);
            }
        }
        Some(())
    }
    let mut counts = Counts::default();
    let _ = deep(body, 5, &mut counts);
    counts.check()
}

/// Counts the objects of a JSON body by their opening braces; those inside of strings count too, which only errs early.
pub(super) fn json(body: &[u8]) -> Result<(), BodyError> {
    let objects = body.iter().filter(|byte| **byte == b'{').count();
    if objects > OBJECTS_MAX { Err(too_many("JSON objects", OBJECTS_MAX)) } else { Ok(()) }
}

/// Checks the number of spans.
pub(super) fn spans(count: usize) -> Result<(), BodyError> {
    if count > SPANS_MAX { Err(too_many("spans", SPANS_MAX)) } else { Ok(()) }
}

fn too_many(what: &str, most: usize) -> BodyError {
    let message = format!("more than {most} {what} in one request; lower the exporter's batch size");
    BodyError::too_large("too_many_spans", message)
}

#[derive(Default)]
struct Counts {
    spans: usize,
    messages: usize,
}

impl Counts {
    /// One more message; `None` once there are too many.
    fn message(&mut self) -> Option<()> {
        self.messages = self.messages.saturating_add(1);
        (self.messages <= MESSAGES_MAX && self.spans <= SPANS_MAX).then_some(())
    }

    fn check(&self) -> Result<(), BodyError> {
        spans(self.spans)?;
        if self.messages > MESSAGES_MAX { Err(too_many("messages", MESSAGES_MAX)) } else { Ok(()) }
    }
}

/// Walks one level; `None` where the bytes end in the middle of something or a bound is passed.
fn walk(mut bytes: &[u8], level: usize, counts: &mut Counts) -> Option<()> {
    while !bytes.is_empty() {
        let Some((field, inner)) = field(&mut bytes)? else { continue };
        if PATH.get(level) == Some(&field) {
            counts.spans = counts.spans.saturating_add(usize::from(level == 2));
            counts.message()?;
            walk(inner, level.saturating_add(1), counts)?;
        } else if level == PATH.len() && SPAN_REPEATED.contains(&field) || level > 0 && field == 1 {
            // A span's attributes, events and links; a resource or scope with its attributes. (A span's own field 1 is its
            // trace id, which counts for nothing.)
            counts.message()?;
            nested(inner, counts)?;
        }
    }
    Some(())
}

/// Counts what might be messages inside of a message whose shape does not matter here: one level, by its fields.
fn nested(mut bytes: &[u8], counts: &mut Counts) -> Option<()> {
    while !bytes.is_empty() {
        if field(&mut bytes)?.is_some() {
            counts.message()?;
        }
    }
    Some(())
}

/// The next field: its number and bytes if it has any of its own; the outer `None` where the bytes are no protobuf.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<Option<(u64, &'a [u8])>> {
    let tag = varint(bytes)?;
    match tag & 7 {
        0 => {
            varint(bytes)?;
        }
        1 => *bytes = bytes.get(8..)?,
        5 => *bytes = bytes.get(4..)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (inner, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            return Some(Some((tag >> 3, inner)));
        }
        _ => return None,
    }
    Some(None)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
