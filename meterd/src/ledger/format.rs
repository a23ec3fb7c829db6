//! Bytes on disk: segment headers and batch frames. Pure encoding; opens no file.
//!
//! A segment is a header and frames. A frame is one committed batch:
//! `magic u32 · body length u32 · crc32 of the body u32 · body`, and the body is
//! `first seq u64 · count u32 · chain hash [32] · payload`, all little endian. The payload is `(length u32 · entry)*`, or, with
//! the other magic, its length and the same packed with zstd; small ones are not worth it. Entries are postcard.
//! The chain hash is sha256 over the hash before it, the first seq, the count and the payload as it is on disk.

use std::borrow::Cow;
use std::io;

use budget::Entry;
use sha2::{Digest, Sha256};

/// A sha256.
pub(super) type Hash = [u8; 32];

/// The chain begins here.
pub(super) const GENESIS: Hash = [0; 32];

const SEGMENT_MAGIC: &[u8; 8] = b"MTRDLOG1";
const FRAME_MAGIC: [u8; 4] = *b"MTB1";
/// Of a frame whose payload is packed.
const PACKED_MAGIC: [u8; 4] = *b"MTB2";
/// What both begin with.
const MAGIC_PREFIX: &[u8] = b"MTB";
/// Payloads from this on are packed.
const PACK_FROM_BYTES: usize = 2_048;
/// zstd's quickest: a quarter of the size at some hundred megabytes a second.
const PACK_LEVEL: i32 = -1;
/// Length of a segment's header.
pub(super) const HEADER_LEN: usize = 8 + 8 + 32 + 4;
/// Length of a frame before its body.
pub(super) const FRAME_HEAD_LEN: usize = 12;
const BODY_HEAD_LEN: usize = 8 + 4 + 32;
/// No frame is larger: the writer closes a batch before it, so a larger length is damage.
pub(super) const BODY_BYTES_MAX: usize = 256 << 20;

/// A segment's header: where it begins and what it chains to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub first_seq: u64,
    pub chain: Hash,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(SEGMENT_MAGIC);
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.chain);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.get(..HEADER_LEN)?.split_last_chunk::<4>()?;
        let rest = content.strip_prefix(SEGMENT_MAGIC)?;
        let (first_seq, chain) = rest.split_first_chunk::<8>()?;
        (crc32fast::hash(content) == u32::from_le_bytes(*crc))
            .then_some(Self { first_seq: u64::from_le_bytes(*first_seq), chain: chain.try_into().ok()? })
    }
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub body_len: usize,
    pub crc: u32,
    /// The payload is packed.
    pub packed: bool,
}

impl FrameHead {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.get(..FRAME_HEAD_LEN)?.split_first_chunk::<4>()?;
        let packed = *magic == PACKED_MAGIC;
        if !packed && *magic != FRAME_MAGIC {
            return None;
        }
        let (len, crc) = rest.split_first_chunk::<4>()?;
        let body_len = u32::from_le_bytes(*len) as usize;
        let crc = u32::from_le_bytes(*crc.first_chunk::<4>()?);
        (BODY_HEAD_LEN..=BODY_BYTES_MAX).contains(&body_len).then_some(Self { body_len, crc, packed })
    }
}

/// A frame's body, not yet decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    pub first_seq: u64,
    pub count: u32,
    pub chain: Hash,
    packed: bool,
    /// As it is on disk.
    payload: &'a [u8],
}

impl<'a> Body<'a> {
    pub(super) fn decode(head: FrameHead, bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() != head.body_len || crc32fast::hash(bytes) != head.crc {
            return None;
        }
        Self::checked(head, bytes)
    }

    /// The same of a body whose checksum was found right before.
    pub(super) fn checked(head: FrameHead, bytes: &'a [u8]) -> Option<Self> {
        let (first_seq, rest) = bytes.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (chain, payload) = rest.split_first_chunk::<32>()?;
        Some(Self {
            first_seq: u64::from_le_bytes(*first_seq),
            count: u32::from_le_bytes(*count),
            chain: *chain,
            packed: head.packed,
            payload,
        })
    }

    /// Sequence number of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count)).saturating_sub(1)
    }

    /// Does this batch follow from `before`?
    pub(super) fn chains_to(&self, before: &Hash) -> bool {
        chain(before, self.first_seq, self.count, self.payload) == self.chain
    }

    /// The payload as it was before it was packed.
    fn unpacked(&self) -> Option<Cow<'a, [u8]>> {
        if !self.packed {
            return Some(Cow::Borrowed(self.payload));
        }
        let (len, packed) = self.payload.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        let whole = zstd::bulk::decompress(packed, Some(len).filter(|len| *len <= BODY_BYTES_MAX)?).ok()?;
        (whole.len() == len).then_some(Cow::Owned(whole))
    }

    /// The entries; `None` where the bytes are not entries of this version in the right order.
    pub(super) fn entries(&self) -> Option<Vec<Entry>> {
        let payload = self.unpacked()?;
        // The count is only believed as far as there are bytes for it.
        let mut entries = Vec::with_capacity((self.count as usize).min(payload.len() / 4));
        let mut rest = &*payload;
        let mut seq = self.first_seq;
        while !rest.is_empty() {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let len = u32::from_le_bytes(*len) as usize;
            let entry: Entry = postcard::from_bytes(after.get(..len)?).ok()?;
            if entry.seq != seq {
                return None;
            }
            entries.push(entry);
            seq = seq.checked_add(1)?;
            rest = after.get(len..)?;
        }
        (entries.len() == self.count as usize).then_some(entries)
    }
}

/// Makes frames, and keeps what it needs for that.
#[derive(Default)]
pub(super) struct Encoder {
    payload: Vec<u8>,
    packer: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

impl Encoder {
    /// Appends one batch as a frame to `buffer`; returns its chain hash.
    pub(super) fn frame(&mut self, buffer: &mut Vec<u8>, entries: &[Entry], before: &Hash) -> io::Result<Hash> {
        let too_large = || io::Error::other("the batch is too large for a frame");
        self.encode(entries).map_err(|error| io::Error::other(error.to_string()))?;
        let packed = self.pack()?;
        let payload = packed.as_deref().unwrap_or(&self.payload);
        let first_seq = entries.first().map_or(0, |entry| entry.seq);
        let count = u32::try_from(entries.len()).map_err(|_| too_large())?;
        let body_len = BODY_HEAD_LEN + payload.len();
        if body_len > BODY_BYTES_MAX || self.payload.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        let hash = chain(before, first_seq, count, payload);
        let mut crc = crc32fast::Hasher::new();
        for part in [&first_seq.to_le_bytes()[..], &count.to_le_bytes()[..], &hash[..], payload] {
            crc.update(part);
        }
        buffer.extend_from_slice(if packed.is_some() { &PACKED_MAGIC } else { &FRAME_MAGIC });
        buffer.extend_from_slice(&u32::try_from(body_len).unwrap_or(u32::MAX).to_le_bytes());
        buffer.extend_from_slice(&crc.finalize().to_le_bytes());
        buffer.extend_from_slice(&first_seq.to_le_bytes());
        buffer.extend_from_slice(&count.to_le_bytes());
        buffer.extend_from_slice(&hash);
        buffer.extend_from_slice(payload);
        Ok(hash)
    }

    fn encode(&mut self, entries: &[Entry]) -> Result<(), postcard::Error> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        for entry in entries {
            let at = payload.len();
            payload.extend_from_slice(&[0; 4]);
            payload = postcard::to_extend(entry, payload)?;
            let len = u32::try_from(payload.len() - at - 4).map_err(|_| postcard::Error::SerializeBufferFull)?;
            if let Some(slot) = payload.get_mut(at..at + 4) {
                slot.copy_from_slice(&len.to_le_bytes());
            }
        }
        self.payload = payload;
        Ok(())
    }

    /// The payload packed, with its length before it; `None` where that is not worth it.
    fn pack(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.payload.len() < PACK_FROM_BYTES {
            return Ok(None);
        }
        let packer = match &mut self.packer {
            Some(packer) => packer,
            none => none.insert(zstd::bulk::Compressor::new(PACK_LEVEL)?),
        };
        let len = u32::try_from(self.payload.len()).map_err(io::Error::other)?;
        let body = packer.compress(&self.payload)?;
        let mut packed = Vec::with_capacity(4 + body.len());
        packed.extend_from_slice(&len.to_le_bytes());
        packed.extend_from_slice(&body);
        Ok((packed.len() < self.payload.len()).then_some(packed))
    }
}

fn chain(before: &Hash, first_seq: u64, count: u32, payload: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(first_seq.to_le_bytes());
    hasher.update(count.to_le_bytes());
    hasher.update(payload);
    hasher.finalize().into()
}

/// Is there a whole frame anywhere after `offset` in `bytes`? Tells damage in the middle from a torn end.
pub(super) fn whole_frame_after(bytes: &[u8], offset: usize) -> bool {
    let mut at = offset;
    while let Some(rest) = bytes.get(at..) {
        let Some(found) = rest.windows(MAGIC_PREFIX.len()).position(|window| window == MAGIC_PREFIX) else {
            return false;
        };
        let frame = rest.get(found..).unwrap_or_default();
        let whole = FrameHead::decode(frame).is_some_and(|head| {
            frame
                .get(FRAME_HEAD_LEN..FRAME_HEAD_LEN.saturating_add(head.body_len))
                .is_some_and(|body| Body::decode(head, body).is_some())
        });
        if whole {
            return true;
        }
        at += found + 1;
    }
    false
}
