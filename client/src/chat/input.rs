//! Lines: from a terminal, with a prompt, or from a pipe.

use std::io::{self, BufRead, Read as _, Write};
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::config::Config;
use rustyline::history::MemHistory;
use rustyline::{Editor, ExternalPrinter};
use sotto_proto::limits::TEXT_MAX;
use tokio::sync::mpsc;

use super::Output;

/// Bytes of the longest line of a pipe.
const LINE: u64 = TEXT_MAX as u64 + 1024;
/// Lines of a terminal that can be called back.
const HISTORY: usize = 200;

/// Where lines come from. A thread of its own waits for them, one at a time.
#[derive(Debug)]
pub(crate) struct Input {
    prompts: mpsc::Sender<String>,
    lines: mpsc::Receiver<io::Result<String>>,
    terminal: Option<Restored>,
}

impl Input {
    /// A terminal, and where to write so that it stays above what is typed.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) fn terminal() -> io::Result<(Self, Output)> {
        let restored = Restored(tcgetattr(io::stdin())?);
        let config =
            Config::builder().auto_add_history(true).max_history_size(HISTORY).map_err(io::Error::other)?.build();
        // What was typed is kept nowhere but in memory.
        let history = MemHistory::with_config(&config);
        let mut editor: Editor<(), MemHistory> = Editor::with_history(config, history).map_err(io::Error::other)?;
        let printer = editor.create_external_printer().map_err(io::Error::other)?;
        let mut input = Self::over(move |prompt| editor.readline(prompt).ok().map(Ok))?;
        input.terminal = Some(restored);
        Ok((input, Box::new(Above(printer))))
    }

    /// Lines of a pipe or a file, without prompts.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn pipe(mut reader: impl BufRead + Send + 'static) -> io::Result<Self> {
        Self::over(move |_| read(&mut reader))
    }

    fn over(mut read: impl FnMut(&str) -> Option<io::Result<String>> + Send + 'static) -> io::Result<Self> {
        let (prompts, mut asked) = mpsc::channel::<String>(1);
        let (sender, lines) = mpsc::channel(1);
        thread::Builder::new().name("lines".to_owned()).spawn(move || {
            while let Some(prompt) = asked.blocking_recv() {
                let Some(line) = read(&prompt) else { return };
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { prompts, lines, terminal: None })
    }

    pub(super) const fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Asks for a line.
    pub(super) fn ask(&self, prompt: &str) {
        // One line is asked for at a time, so there is room; and where nobody reads any more, the lines end.
        let _ = self.prompts.try_send(prompt.to_owned());
    }

    /// The line that was asked for; nothing at the end.
    pub(super) async fn next(&mut self) -> Option<io::Result<String>> {
        self.lines.recv().await
    }
}

/// A line without its end; nothing at the end of all.
fn read(reader: &mut impl BufRead) -> Option<io::Result<String>> {
    let mut line = Vec::new();
    match reader.take(LINE).read_until(b'\n', &mut line) {
        Ok(0) => None,
        Ok(count) if count as u64 == LINE && !line.ends_with(b"\n") => {
            Some(Err(io::Error::other(format!("a line has at most {LINE} bytes"))))
        }
        Ok(_) => Some(Ok(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())),
        Err(error) => Some(Err(error)),
    }
}

/// The terminal as it was: its prompt may be waiting when all ends.
#[derive(Debug)]
struct Restored(Termios);

impl Drop for Restored {
    fn drop(&mut self) {
        // What fails here, nothing more can be done about.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Writes above the line that is being typed.
struct Above<P>(P);

impl<P: ExternalPrinter> Write for Above<P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_pipe_have_a_bound_and_need_no_last_end() {
        let mut reader = io::Cursor::new(b"one\r\ntwo".to_vec());
        let mut next = || read(&mut reader).map(Result::unwrap);
        assert_eq!((next(), next(), next()), (Some("one".to_owned()), Some("two".to_owned()), None));
        let mut long = io::Cursor::new(vec![b'a'; LINE as usize + 10]);
        assert!(read(&mut long).unwrap().is_err());
    }
}
