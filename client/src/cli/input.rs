//! Secrets and answers: from a terminal without echo, from a file, from standard input. Never from arguments or the
//! environment, which other processes can read.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{CliError, Exit};

/// Bytes of the longest secret that is read.
const SECRET_BYTES: u64 = 2048;
/// The path that means standard input.
const STDIN: &str = "-";

/// The code of the error by which a command in the daemon asks its caller, and that by which it asks for a secret: the
/// message is the question.
pub(super) const ASK: &str = "ask";
pub(super) const ASK_SECRET: &str = "ask_secret";

/// Somebody who can be asked.
#[derive(Debug)]
pub(super) enum Terminal {
    /// At the controlling terminal.
    Here(File),
    /// In another process: what was answered so far. A question beyond ends the command, which is run again with the
    /// answer.
    Elsewhere(VecDeque<Zeroizing<String>>),
}

/// What a read from the terminal gave.
enum Key {
    Text(u8),
    Enter,
    Back,
    Interrupt,
}

impl Terminal {
    /// The terminal of this process, if it has one.
    pub(super) fn open() -> Option<Self> {
        File::options().read(true).write(true).open("/dev/tty").ok().map(Self::Here)
    }

    /// Whoever gave these answers.
    pub(super) fn elsewhere(answers: &[Zeroizing<String>]) -> Self {
        Self::Elsewhere(answers.iter().cloned().collect())
    }

    /// Asks for a line.
    pub(super) fn ask(&mut self, question: &str) -> Result<String, CliError> {
        let file = match self {
            Self::Here(file) => file,
            Self::Elsewhere(answers) => {
                let answer = answers.pop_front().map(|answer| answer.trim().to_owned());
                return answer.ok_or_else(|| CliError::new(Exit::Failed, ASK, question));
            }
        };
        write(file, question)?;
        let mut line = String::new();
        let mut reader = io::BufReader::new((&*file).take(SECRET_BYTES));
        reader.read_line(&mut line).map_err(|error| CliError::io("read", "the terminal", &error))?;
        Ok(line.trim().to_owned())
    }

    /// Asks for a line that is not shown while it is typed.
    pub(super) fn ask_secret(&mut self, question: &str) -> Result<Zeroizing<String>, CliError> {
        let file = match self {
            Self::Here(file) => file,
            Self::Elsewhere(answers) => {
                return answers.pop_front().ok_or_else(|| CliError::new(Exit::Failed, ASK_SECRET, question));
            }
        };
        write(file, question)?;
        let line = Silence::on(file).and_then(|silence| silence.read_line());
        write(file, "\n")?;
        line.map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => CliError::new(Exit::Interrupted, "interrupted", "interrupted"),
            _ => CliError::io("read", "the terminal", &error),
        })
    }
}

fn write(terminal: &mut File, text: &str) -> Result<(), CliError> {
    let written = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
    written.map_err(|error| CliError::io("write to", "the terminal", &error))
}

/// A terminal without echo, until this is dropped. Ctrl-C arrives as a key, so that the echo comes back before the
/// process ends.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn on(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }

    fn read_line(&self) -> io::Result<Zeroizing<String>> {
        // Room for all of it, so that growing leaves no copies behind.
        let mut line = Zeroizing::new(Vec::with_capacity(SECRET_BYTES as usize));
        loop {
            match self.read_key()? {
                Key::Enter => break,
                Key::Interrupt => return Err(io::ErrorKind::Interrupted.into()),
                Key::Back => take_back(&mut line),
                Key::Text(byte) if line.len() < line.capacity() => line.push(byte),
                Key::Text(_) => return Err(io::ErrorKind::FileTooLarge.into()),
            }
        }
        let text = std::str::from_utf8(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn read_key(&self) -> io::Result<Key> {
        let mut byte = [0];
        let mut terminal = self.terminal;
        if terminal.read(&mut byte)? == 0 {
            return Ok(Key::Enter);
        }
        Ok(match byte[0] {
            b'\r' | b'\n' | 0x04 => Key::Enter,
            0x03 => Key::Interrupt,
            0x08 | 0x7f => Key::Back,
            byte => Key::Text(byte),
        })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before); // the terminal has gone away
    }
}

/// Takes back the last character, all of its bytes.
fn take_back(line: &mut Vec<u8>) {
    while let Some(byte) = line.pop() {
        if byte & 0xc0 != 0x80 {
            break;
        }
    }
}

/// The secret in a file, `-` being standard input, without the line break at its end. Says so when others can read
/// the file.
pub(super) fn read_secret(path: &Path, warn: impl FnOnce(String)) -> Result<Zeroizing<String>, CliError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            CliError::new(Exit::NotFound, "no_such_file", format!("there is no file {}", path.display()))
        }
        io::ErrorKind::InvalidData => {
            CliError::new(Exit::Failed, "not_text", format!("{} is not UTF-8 text", path.display()))
        }
        io::ErrorKind::FileTooLarge => {
            CliError::new(Exit::Failed, "too_long", format!("{} is too long for a secret", path.display()))
        }
        _ => CliError::io("read", path.display(), &error),
    };
    if path == Path::new(STDIN) {
        return read_text(io::stdin().lock()).map_err(failed);
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        warn(format!("warning: others can read {}: chmod 600 {0}", path.display()));
    }
    read_text(file).map_err(failed)
}

fn read_text(source: impl Read) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES as usize + 1));
    source.take(SECRET_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SECRET_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_line_break_at_the_end_is_not_part_of_the_secret() {
        for (file, secret) in [("a b\n", "a b"), ("a b\r\n", "a b"), ("a b", "a b"), ("a\n\n", "a\n"), ("", "")] {
            assert_eq!(*read_text(file.as_bytes()).unwrap(), secret);
        }
        assert_eq!(read_text(&[b'x'; 2049][..]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_text(&b"\xff"[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_file_that_others_can_read_is_read_with_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "secret\n").unwrap();
        for (mode, warned) in [(0o644, true), (0o600, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut warning = None;
            assert_eq!(*read_secret(&path, |text| warning = Some(text)).unwrap(), "secret");
            assert_eq!(warning.is_some(), warned);
        }
        assert_eq!(read_secret(&folder.path().join("none"), |_| {}).unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn backspace_takes_back_a_whole_character() {
        let mut line = "aé".as_bytes().to_vec();
        take_back(&mut line);
        assert_eq!(line, b"a");
        take_back(&mut line);
        take_back(&mut line);
        assert_eq!(line, b"");
    }
}
