//! The standard metrics of the process itself.
//!
//! CPU time has its fractions, and the start time does not need `/proc/stat`, which may be hidden.
//! What cannot be read is absent, never 0.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::page::Page;
use super::unix_seconds;

/// Fills in what the system says of us now.
pub(super) fn fill(page: &mut Page, started: SystemTime) {
    page.start_time.value(&[], unix_seconds(started));
    if let Ok(cpu) = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)) {
        page.cpu.value(&[], cpu.as_secs_f64());
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder being read.
        let open = open.count().saturating_sub(1);
        page.open_fds.count(&[], open as u64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.max_fds.count(&[], most);
    }
    if let Some((all, resident)) = memory() {
        page.virtual_memory.count(&[], all);
        page.resident_memory.count(&[], resident);
    }
}

/// Virtual and resident memory in bytes.
fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let page_size = rustix::param::page_size() as u64;
    let mut bytes = text
        .split_ascii_whitespace()
        .map(|pages| Some(pages.parse::<u64>().ok()? * page_size));
    Some((bytes.next()??, bytes.next()??))
}
