//! The same rows into each candidate: `store-bench STORE [ROWS] [ROWS_A_COMMIT]`; `benches/store/run` runs them all.
//!
//! A row is an event's id (16 random bytes, unique), and 300 bytes. Each commit refuses ids that are there already (but for the
//! two that are named `sequence`, which tell what that costs), writes the rows, and is durable when it returns. Printed for each tenth of the rows: rows a second, the commit's p50 and p99, time of
//! all cores a row, and how many bytes a row takes on disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

mod log;
mod others;

/// The daemon's own allocator, for every candidate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROW_BYTES: usize = 300;
/// Of /proc/self/stat, on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// One candidate.
trait Store {
    /// Commits rows whose ids are new.
    fn commit(&mut self, rows: &[Row]) -> Result<()>;
}

/// What is stored.
struct Row {
    number: u64,
    id: [u8; 16],
    body: [u8; ROW_BYTES],
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().context("which store? log, log-sequence, fjall, redb, sqlite or sqlite-sequence")?;
    let rows: u64 = arguments.next().unwrap_or_else(|| "1000000".to_owned()).parse()?;
    let at_once: u64 = arguments.next().unwrap_or_else(|| "1000".to_owned()).parse()?;
    let folder = tempfile::Builder::new().prefix("store-").tempdir_in(".")?;
    let mut store: Box<dyn Store> = match name.as_str() {
        "log" => Box::new(log::Log::open(folder.path())?),
        "log-sequence" => Box::new(log::Sequence::open(folder.path())?),
        "fjall" => Box::new(others::Fjall::open(folder.path())?),
        "redb" => Box::new(others::Redb::open(folder.path())?),
        "sqlite" => Box::new(others::Sqlite::open(folder.path(), true)?),
        "sqlite-sequence" => Box::new(others::Sqlite::open(folder.path(), false)?),
        other => bail!("no store {other}: log, log-sequence, fjall, redb, sqlite or sqlite-sequence"),
    };
    let tenth = (rows / 10).max(at_once);
    let mut next = 0;
    while next < rows {
        let (mut spent, mut commits) = (Duration::ZERO, Vec::new());
        let end = rows.min(next + tenth);
        let (first, mut core) = (next, 0.0);
        while next < end {
            let batch: Vec<Row> = (next..end.min(next + at_once)).map(row).collect();
            let (start, before) = (Instant::now(), core_seconds()?);
            store.commit(&batch)?;
            commits.push(start.elapsed());
            spent += start.elapsed();
            core += core_seconds()? - before;
            next += batch.len() as u64;
        }
        commits.sort_unstable();
        let at = |percent: usize| {
            let rank = (commits.len() * percent).div_ceil(100).saturating_sub(1);
            commits.get(rank).copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1e3
        };
        let done = (next - first) as f64;
        let (rate, core, bytes) = (done / spent.as_secs_f64(), core * 1e6 / done, size(folder.path())? / next as f64);
        println!("{name},{next},{rate:.0},{:.2},{:.2},{core:.1},{bytes:.0}", at(50), at(99));
    }
    Ok(())
}

/// Time that every thread of this process has had a core.
fn core_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("no name in /proc/self/stat")?.1.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// Bytes that the files below a folder take.
fn size(folder: &Path) -> Result<f64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file that is gone meanwhile takes none.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.blocks() as f64 * 512.0 };
    }
    Ok(bytes)
}

/// SplitMix64 twice: an id that looks random and is its number's alone.
fn row(number: u64) -> Row {
    let mix = |mut seed: u64| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        seed ^ (seed >> 31)
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(number).to_be_bytes());
    id[8..].copy_from_slice(&mix(!number).to_be_bytes());
    let mut body = [0; ROW_BYTES];
    for (index, chunk) in body.chunks_mut(8).enumerate() {
        let word = mix(number ^ ((index as u64) << 40)).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    Row { number, id, body }
}
