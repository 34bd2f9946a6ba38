//! The terminal, in the state that drawing needs, and back again whatever happens.

use std::io::{self, Stdout, Write as _};
use std::sync::Once;

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;

/// A terminal that is drawn on. Dropping it gives it back as it was.
#[derive(Debug)]
pub(super) struct Terminal(ratatui::Terminal<CrosstermBackend<Stdout>>);

impl Terminal {
    /// Takes the terminal. A panic gives it back before anything is said about it.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let say = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                say(info);
            }));
        });
        enable_raw_mode()?;
        let taken = execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)
            .and_then(|()| ratatui::Terminal::new(CrosstermBackend::new(io::stdout())));
        taken.map(Self).inspect_err(|_| restore())
    }

    /// Draws.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }

    /// Forgets what is there: the next drawing begins anew.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }

    /// Something came.
    pub(super) fn bell(&mut self) -> io::Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(b"\x07")?;
        stdout.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. What fails here, nothing more can be done about.
fn restore() {
    let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
