//! Where the log's lines go: to standard error, those of some milliseconds in one piece, since a write for each request
//! costs as much as parsing it. Warnings and errors go at once, with all that came before them.

use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others: what a kill of the process may lose.
const GATHER: Duration = Duration::from_millis(10);
/// Bytes beyond which whoever logs writes himself, so that a reader that is slow slows the gateway down, as it would
/// without this, instead of filling its memory.
const MOST_BYTES: usize = 256 << 10;

/// The lines of this process.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    gathered: Mutex<Vec<u8>>,
    has_some: Condvar,
    /// Held while something is written, and the memory for it. Taken before `gathered`, so that lines stay in order.
    output: Mutex<Vec<u8>>,
}

impl Lines {
    /// Lines, and the thread that writes them.
    pub(super) fn start() -> io::Result<Self> {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_all())?;
        Ok(lines)
    }

    /// Writes what was gathered.
    pub(super) fn flush(&self) {
        let mut output = self.0.output.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *output, &mut *self.gathered());
        // There is nobody to tell that the log can't be written.
        let _ = io::stderr().write_all(&output);
        output.clear();
        output.shrink_to(MOST_BYTES);
    }

    fn write_all(&self) {
        loop {
            let gathered = self.gathered();
            let waited = self.0.has_some.wait_while(gathered, |gathered| gathered.is_empty());
            drop(waited);
            std::thread::sleep(GATHER);
            self.flush();
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes one line.
pub(super) struct Gatherer<'a> {
    lines: &'a Lines,
    is_urgent: bool,
}

impl io::Write for Gatherer<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (is_first, size) = {
            let mut gathered = self.lines.gathered();
            let is_first = gathered.is_empty();
            gathered.extend_from_slice(line);
            (is_first, gathered.len())
        };
        if self.is_urgent || size > MOST_BYTES {
            self.lines.flush();
        } else if is_first {
            self.lines.0.has_some.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Gatherer<'a>;

    fn make_writer(&'a self) -> Gatherer<'a> {
        Gatherer { lines: self, is_urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Gatherer<'a> {
        Gatherer { lines: self, is_urgent: *metadata.level() <= Level::WARN }
    }
}
